"""Rows that were frozen more than two billion transactions ago: their numbers seem to be of transactions to come."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from inventories.catalog import load_tables
from runbooks.validation import baseline
from runbooks.validation import copies as choosing
from runbooks.validation.content import Copies, compare
from tests.unit.postgres_server import DATABASE, Server, folder_for_server
from tests.unit.validation_kit import Validated

PER_FILE = 1 << 20  # transactions in a file of pg_xact
NAMES = ("order_records", "position_records")
BASE, OTHER = "wrapped", "wrapped_other"


class Aged(Server):
    """A server that has had as many transactions as it is told."""

    def age(self, xid: int) -> None:
        self.stop("fast")
        status = self.data / "pg_xact" / f"{xid // PER_FILE:04X}"
        status.write_bytes(bytes(PER_FILE // 4))
        shutil.copystat(self.data / "PG_VERSION", status)
        if self._user:
            shutil.chown(status, self._user)
        self._run("pg_resetwal", "-x", str(xid), "-D", self.data)
        self.start()

    def freeze(self) -> None:
        for (name,) in self.sql("SELECT datname FROM pg_database", database="postgres"):
            self.sql("VACUUM (FREEZE)", database=str(name))
        self.sql("CHECKPOINT", database="postgres")


@pytest.fixture(scope="module")
def two() -> Iterator[tuple[Validated, Validated]]:
    with folder_for_server() as folder:
        server = Aged(folder)
        server.create()
        try:
            server.sql("UPDATE pg_database SET datallowconn = true", database="postgres")
            server.sql(f"CREATE DATABASE {BASE} TEMPLATE {DATABASE}", database="postgres")
            Validated(server, BASE).fill(200)
            for xid in (1_500_000_000, 2_900_000_000):
                server.freeze()
                server.age(xid)
            server.sql(f"CREATE DATABASE {OTHER} TEMPLATE {BASE}", database="postgres")
            yield Validated(server, BASE), Validated(server, OTHER)
        finally:
            server.stop()


def found(two: tuple[Validated, Validated], follows: bool) -> list[str]:
    pair = Copies(two[0].asked, two[1].asked, follows, 60, 5)
    tables, _ = choosing.hashed(load_tables(), NAMES, pair.base, pair.other)
    looked = compare(pair, tables.values(), lambda _: None)
    assert not looked.unknown
    return [str(one).partition(", ")[0] for one in looked.differences]


def test_their_numbers_seem_to_come(two: tuple[Validated, Validated]) -> None:
    assert two[0].sql("SELECT bool_and(age(xmin) < 0) FROM order_records") == [(True,)]


def test_equal_rows_differ_in_nothing(two: tuple[Validated, Validated], tmp_path: Path) -> None:
    assert found(two, True) == found(two, False) == []
    tables, _ = choosing.hashed(load_tables(), NAMES, two[0].asked)
    kept = baseline.take(two[0].asked, "test", tables, 60)
    looked = baseline.compare(kept, two[0].asked, tables, load_tables(), 60)
    assert (looked.differences, looked.unknown, looked.number) == ((), "", 220)


@pytest.mark.parametrize("follows", [True, False])
def test_one_that_only_the_other_side_has_is_told(two: tuple[Validated, Validated], follows: bool) -> None:
    two[0].sql(f"DELETE FROM order_records WHERE event_id = {17 + follows}")
    assert f"content: order_records: row event_id={17 + follows}" in found(two, follows)
