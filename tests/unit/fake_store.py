"""A store that keeps rows in memory and goes wrong in every way that one can, for the replayer's tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.base.config import Table
from agents.base.deadline import DeadlineExceeded
from agents.base.failures import Kind, Refusal
from agents.tdengine.session import TdengineError
from agents.tdengine.store import kind_of, refusal
from agents.writing.backend import Backend
from agents.writing.batch import EVENT_ID, Part
from agents.writing.separating import separate

TOO_LONG, NO_TABLE, ODD, GONE, TOOK_FEWER = 0x2653, 0x2603, 0x9999, 0x000B, 0



@dataclass
class Place:
    name: str = "pg1"
    host: str = "192.0.2.1"
    timeline: int = 1


@dataclass
class FakeStore:
    """`poison`: event id -> code; `missing`: tables, until so many writes were tried where `made_after` says so;
    `kills`: event ids whose write ends the session, until so many writes were tried where `back_after` says so;
    `apart`: event ids that go to a part of the store of their own.
    """

    rows: dict[str, set[int]] = field(default_factory=dict)
    poison: dict[int, int] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    made_after: int = 0
    kills: set[int] = field(default_factory=set)
    back_after: int = 0
    apart: set[int] = field(default_factory=set)
    locked: set[str] = field(default_factory=set)  # a write of these hangs until its deadline
    unlucky: int = 0
    down: bool = False
    rows_per_s: float = 0.0  # 0: at once
    writes: int = 0
    sessions: int = 0
    closed: bool = False
    primary: Place = field(default_factory=Place)
    order: list[int] = field(default_factory=list)

    @property
    def backend(self) -> Backend:
        return Backend(self._connect, self._open, self._open, has_rivals=False, compares=True, place=self._place)

    def _place(self, part: Part, table: Table) -> str:
        return f"{part.table} {part.first in self.apart}"

    def _connect(self, timeout_s: float, stop: threading.Event | None) -> Place:
        self.sessions += 1
        self.closed = False
        return self.primary

    def _open(self, place: Any, tables: Mapping[str, Table]) -> Any:
        return self

    def write(self, parts: Iterable[Part], deadline_s: float) -> None:
        self.writes += 1
        parts = list(parts)
        if self.down:
            self.closed = True
            raise TdengineError("the server went away", "", GONE)
        if self.unlucky:
            self.unlucky -= 1
            raise TdengineError("took 0 of 1 rows", "", TOOK_FEWER)
        if self.rows_per_s and sum(part.n for part in parts) / self.rows_per_s > deadline_s:
            self.closed = True
            raise DeadlineExceeded("no answer in time")
        if self.locked & {part.table for part in parts}:
            self.closed = True
            raise DeadlineExceeded("no answer in time")
        for part in parts:
            if part.table in self.missing and not 0 < self.made_after < self.writes:
                raise TdengineError(f"{part.table} does not exist", "", NO_TABLE)
        found = [(part.table, event) for part in parts for event in ids(part)]
        for _, event in found:
            if event in self.kills and not 0 < self.back_after < self.writes:
                self.closed = True
                raise OSError("the session has ended")
        for _, event in found:
            if event in self.poison:
                raise TdengineError(f"event {event} is refused", "", self.poison[event])
        for table, event in found:
            self.rows.setdefault(table, set()).add(event)
            self.order.append(event)

    def write_sound_rows(
        self, parts: Iterable[Part], deadline_s: float
    ) -> tuple[list[Part], list[tuple[Part, Refusal]]]:
        def tried(part: Part) -> Refusal | None:
            try:
                self.write([part], deadline_s)
            except TdengineError as error:
                if kind_of(error) is not Kind.REFUSED:
                    raise
                return refusal(error)
            return None

        return separate(parts, tried)

    def absent(self, part: Part, deadline_s: float) -> list[int]:
        return [event for event in ids(part) if event not in self.rows.get(part.table, set())]

    def ping(self, deadline_s: float) -> None:
        if self.down:
            raise OSError("gone")

    def abandon(self) -> None:
        """Never hangs."""

    def close(self) -> None:
        self.closed = True


def ids(part: Part) -> list[int]:
    at = part.columns.index(EVENT_ID)
    return [int(line.split("\t")[at]) for line in part.text.split("\n")[:-1]]


def until(done: Any, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if done():
            return True
        time.sleep(0.01)
    return False
