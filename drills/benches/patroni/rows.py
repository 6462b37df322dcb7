"""A client that tries every host at the same time, so that no search of its own counts: which row was taken when."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field

import psycopg2

from inventories.errors import TargetFailed, TimedOut

EVERY_S = 0.02
_ENDS_S = 10.0
_MADE = "create table if not exists crashes (n bigint primary key)"
_ROW = "insert into crashes (n) values (%s)"
_THERE = "select n from crashes"


@dataclass(frozen=True)
class Taken:
    """One row that a host has acknowledged, and when by this machine's monotonic clock."""

    at: float
    host: str
    number: int


@dataclass
class Rows:
    """What was acknowledged so far; any thread may ask."""

    taken: list[Taken] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, row: Taken) -> None:
        with self._changed:
            self.taken.append(row)
            self._changed.notify_all()

    def first(self, host: str, since: float, seconds: float) -> Taken:
        """The first that this host acknowledged after `since`. Raises TimedOut."""

        def found() -> Taken | None:
            return next((row for row in self.taken if row.host == host and row.at >= since), None)

        with self._changed:
            self._changed.wait_for(lambda: found() is not None, seconds)
            row = found()
        if row is None:
            raise TimedOut(f"{host} has taken no row within {seconds:g} s")
        return row

    def of(self, host: str) -> frozenset[int]:
        with self._changed:
            return frozenset(row.number for row in self.taken if row.host == host)


def connect(address: str, password: str) -> psycopg2.extensions.connection:
    """To that host alone; one that is gone is given up after two seconds. Raises psycopg2.Error."""
    made = psycopg2.connect(
        host=address, port=5432, user="postgres", password=password, dbname="postgres", connect_timeout=2,
        tcp_user_timeout=2000, options="-c statement_timeout=5000",
    )  # fmt: skip
    made.autocommit = True
    return made


def make_table(address: str, password: str) -> None:
    """Raises TargetFailed."""
    _run(address, password, _MADE)


def there(address: str, password: str) -> frozenset[int]:
    """Every number that a host has. Raises TargetFailed."""
    return frozenset(int(row[0]) for row in _run(address, password, _THERE))


def _run(address: str, password: str, sql: str) -> list[tuple[int]]:
    try:
        with closing(connect(address, password)) as line, line.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []
    except psycopg2.Error as error:
        raise TargetFailed(f"{address} does not do what it is asked: {error}") from error


@contextmanager
def writing(hosts: Mapping[str, str], password: str, numbers: Iterator[int] | None = None) -> Iterator[Rows]:
    """Rows go to each of these hosts (name: address), whether it takes them or not, until the block ends."""
    rows, over = Rows(), threading.Event()
    counted = numbers if numbers is not None else itertools.count(time.time_ns())
    threads = [
        threading.Thread(target=_writes, args=(name, address, password, counted, rows, over), daemon=True)
        for name, address in hosts.items()
    ]
    for thread in threads:
        thread.start()
    try:
        yield rows
    finally:
        over.set()
        for thread in threads:
            thread.join(_ENDS_S)


def _writes(
    name: str, address: str, password: str, numbers: Iterator[int], rows: Rows, over: threading.Event,
    open_: Callable[[str, str], psycopg2.extensions.connection] = connect,
) -> None:  # fmt: skip
    """A standby refuses each row at once and keeps the connection: its first row after promotion waits for nothing."""
    line: psycopg2.extensions.connection | None = None
    while not over.is_set():
        try:
            if line is None or line.closed:
                line = open_(address, password)
            number = next(numbers)
            with line.cursor() as cursor:
                cursor.execute(_ROW, (number,))
            rows.take(Taken(time.monotonic(), name, number))
        except psycopg2.Error:
            pass
        over.wait(EVERY_S)
    if line is not None:
        with suppress(psycopg2.Error):
            line.close()
