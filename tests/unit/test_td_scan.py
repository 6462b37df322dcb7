"""What a server says of days and rows: where sums tell nothing, the day is looked at; a name is never a statement."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import pytest

from agents.tdengine.backup import scan
from agents.tdengine.backup.block import Block, Column, encode, hashes
from agents.tdengine.backup.manifest import HOUR_NS, Subtable
from agents.tdengine.backup.raw import ahead
from agents.tdengine.backup.sums import seed
from agents.tdengine.session import TdengineError

DAY_NS = 24 * HOUR_NS
COLUMNS = [["ts", "TIMESTAMP", True], ["v`w", "DOUBLE", False], ["n", "INT", False], ["d", "DECIMAL(9, 2)", False]]
SHAPE = {"columns": COLUMNS, "tags": []}
NUMBERLESS = {"columns": [COLUMNS[0], COLUMNS[3]], "tags": []}


class Server:
    """Answers queries of sums: by what is asked."""

    def __init__(self, odd: bool = False) -> None:
        self.asked: list[str] = []
        self.odd = odd

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        self.asked.append(sql)
        if "CRC32" in sql:
            if self.odd:
                raise TdengineError("Invalid parameter data type : crc32", "", 0x2802)
            return [(day * DAY_NS, 5, 5, 1.0) for day in (1, 2, 3)]
        if "COUNT(`v``w`)" in sql:
            return [(1 * DAY_NS, 5, 5), (2 * DAY_NS, 5, 0), (3 * DAY_NS, 5, 5)]
        return [(1 * DAY_NS, 5, 1.5, 7), (2 * DAY_NS, 5, None, 7), (3 * DAY_NS, 5, None, 7)]


def days(server: Any, shape: dict[str, Any] = SHAPE) -> dict[int, str]:
    return scan.days(server, "d`b", "t'1", shape)


def test_a_day_without_a_sum_is_unseen_where_there_are_values_and_seen_where_there_are_none() -> None:
    """NaN and infinities have no sum; neither has a column of which every value is NULL."""
    found = days(Server())
    assert found[3] == scan.UNSEEN and scan.UNSEEN not in (found[1], found[2])
    assert found[1] != found[2]


def test_a_type_that_the_server_cannot_check_makes_every_day_unseen_and_leaves_nothing_out() -> None:
    assert set(days(Server(odd=True), NUMBERLESS).values()) == {scan.UNSEEN}


def test_texts_are_read_only_where_no_number_tells() -> None:
    with_numbers, without = Server(), Server()
    days(with_numbers)
    days(without, NUMBERLESS)
    assert not any("CRC32" in sql for sql in with_numbers.asked)
    assert any("SUM(CRC32(`d`) * CAST(`ts` AS BIGINT))" in sql for sql in without.asked)


def test_names_are_quoted() -> None:
    server = Server()
    days(server)
    assert all("FROM `d``b`.`t'1`" in sql for sql in server.asked)
    assert "SUM(`v``w`)" in server.asked[0]


def text(*values: bytes) -> Column:
    held = np.frombuffer(b"".join(values), np.uint8)
    return Column(8, 200, np.zeros(len(values), bool), held, np.cumsum([len(one) for one in values]))


def block(*rows: tuple[bytes, int]) -> Block:
    stamps = np.array([ts for _, ts in rows], "<i8").view(np.uint8).reshape(len(rows), 8)
    return Block(len(rows), (text(*(name for name, _ in rows)), Column(9, 8, np.zeros(len(rows), bool), stamps)))


class Rows:
    def __init__(self, *blocks: Block) -> None:
        self._blocks, self.asked = blocks, list[str]()

    def blocks(self, sql: str) -> Iterator[bytes]:
        self.asked.append(sql)
        return iter([encode(one) for one in self._blocks])


ONE, TWO = (Subtable(name, "t", []) for name in ("子-'1", "two"))


def test_each_row_is_hashed_with_the_seed_of_its_subtable_in_whatever_order_they_come() -> None:
    first, other = 5 * HOUR_NS, 6 * HOUR_NS
    mixed = block((ONE.name.encode(), first), (b"two", first + 1), (b"unknown", first + 2), (ONE.name.encode(), other))
    server: Any = Rows(mixed, block((b"two", other + 3)))
    seeds = {one.name: seed(one) for one in (ONE, TWO)}
    found = scan.hashed(server, "d", "t", [["ts", "TIMESTAMP", True]], seeds, [(5, 7)], part=True)

    def digest(*rows: tuple[Subtable, int]) -> str:
        total = sum(int(hashes(Block(1, block((b"x", ts)).columns[1:]), seed(one))[0]) for one, ts in rows)
        return f"{total % 2**64:016x}"

    assert found == {
        5: (2, digest((ONE, first), (TWO, first + 1))), 6: (2, digest((ONE, other), (TWO, other + 3)))
    }  # fmt: skip
    even: Any = Rows(block(*((name, at) for at, name in enumerate((b"aaa", b"two", b"two", b"bbb", b"two", b"aaa")))))
    assert scan.hashed(even, "d", "t", [["ts", "TIMESTAMP", True]], seeds, [(0, 1)]) == {
        0: (3, digest((TWO, 1), (TWO, 2), (TWO, 4)))
    }
    assert server.asked == [
        "SELECT tbname, `ts` FROM `d`.`t` WHERE _rowts >= 18000000000000 AND _rowts < 25200000000000 "
        "AND TBNAME IN ('子-\\'1','two')"
    ]


def test_blocks_come_ahead_in_their_order_and_an_error_after_those_before_it() -> None:
    def failing() -> Generator[bytes, None, None]:
        yield b"1"
        yield b"2"
        raise TdengineError("gone", "", 1)

    got = []
    with pytest.raises(TdengineError, match="gone"):
        for one in ahead(failing()):
            got.append(one)
    assert got == [b"1", b"2"]


def test_who_stops_early_leaves_no_query_open() -> None:
    closed = []

    def endless() -> Generator[bytes, None, None]:
        try:
            while True:
                yield b"x"
        finally:
            closed.append(True)

    blocks = ahead(endless())
    assert next(blocks) == b"x"
    blocks.close()
    assert closed == [True]


def test_the_rows_of_a_range_come_by_subtable_in_their_order() -> None:
    names = (b"aaa", b"two", b"two", b"bbb", b"two", b"aaa")
    server: Any = Rows(block(*((name, at) for at, name in enumerate(names))), block((b"two", 6), (b"longer", 7)))
    shape = {"columns": [["ts", "TIMESTAMP", True]], "tags": [["s", "INT"]]}
    found = {name: part.words(0).tolist() for name, part in scan.of_range(server, "d", "t", shape, (0, 1))}
    assert found == {"aaa": [0, 5], "two": [1, 2, 4, 6], "bbb": [3], "longer": [7]}


def test_few_rows_of_many_subtables_never_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_PENDING_NAMES", 2)
    server: Any = Rows(*(block((name, 1), (b"same", 2)) for name in (b"a", b"b", b"c")))
    found = [name for name, _ in scan.of_range(server, "d", "t", {"columns": [["ts", "TIMESTAMP", True]]}, (0, 1))]
    assert [set(found[at : at + 2]) for at in (0, 2, 4)] == [{name, "same"} for name in "abc"]


def test_named_subtables_come_with_their_rows_and_one_alone_is_named_twice() -> None:
    server: Any = Rows(block((b"o'h", 1), (b"two", 2), (b"o'h", 3)))
    shape = {"columns": [["ts", "TIMESTAMP", True]], "tags": [["s", "INT"]]}
    found = {name: part.words(0).tolist() for name, part in scan.of_subtables(server, "d", "t", shape, ["o'h", "two"])}
    assert found == {"o'h": [1, 3], "two": [2]}
    assert list(scan.of_subtables(Rows(), "d", "t", shape, ["x"])) == []  # type: ignore[arg-type]
    assert server.asked == ["SELECT tbname, `ts` FROM `d`.`t` WHERE TBNAME IN ('o\\'h','two')"]


@pytest.mark.parametrize(
    ("subtables", "rows", "at_once"),
    [(40, 50_000_000, 1), (100, 5, 1), (101, 5, 1000), (100_000, 500_000, 1000), (100_000, 0, 1000),
     (100_000, 100_000_000, 200), (100_000, 300_000_000, 1)],
)  # fmt: skip
def test_many_subtables_of_few_rows_are_asked_for_together(subtables: int, rows: int, at_once: int) -> None:
    class Counted:
        asked = 0

        def rows(self, sql: str) -> list[tuple[int]]:
            assert sql == "SELECT COUNT(*) FROM `d`.`t`"
            self.asked += 1
            return [(rows,)] if rows else []

    server: Any = Counted()
    assert scan.at_once(server, "d", "t", subtables) == at_once
    assert server.asked == (subtables > 100), "few subtables cost no question"
