"""The statements that make a database again: tables of both kinds, odd names, tags of every type, definitions."""

from __future__ import annotations

from typing import Any

import pytest

from agents.tdengine.backup import making, schema
from agents.tdengine.backup.manifest import Manifest, Subtable
from agents.tdengine.session import TdengineError
from agents.tdengine.sql import MAX_BYTES

SHAPE = {
    "columns": [["ts", "TIMESTAMP", True], ["n", "INT", True], ["价 格", "DOUBLE", False]],
    "tags": [["symbol", "VARCHAR(20)"], ["big", "BOOL"]],
    "options": {"comment": "it's", "keep": 144000, "packing": [["delta-i", "lz4", "medium"], [], []]},
}
PLAIN = {"columns": [["ts", "TIMESTAMP", True], ["v", "INT", False]], "tags": [], "options": {"ttl": 7}}


class Server:
    """Takes statements, but for those that begin as said."""

    def __init__(self, refuses: dict[str, int] | None = None) -> None:
        self.taken: list[str] = []
        self._refuses = refuses or {}

    def execute(self, sql: str) -> int:
        for part, code in self._refuses.items():
            if part in sql:
                raise TdengineError(f"no {part}", "", code)
        self.taken.append(sql)
        return 0

    def rows(self, sql: str) -> list[tuple[int]]:
        return [(1,)]


def manifest(**told: Any) -> Manifest:
    options = {"precision": "ns", "keep": "10d", "duration": "1d", "replica": "1", "vgroups": "2"}
    tables = {"st-1": SHAPE, "plain": PLAIN}
    subtables = [Subtable("子-1", "st-1", ["O'H", True], 5, "x"), Subtable("plain", "plain", [])]
    return Manifest(
        "20261121-100000F", "full", None, 1.0, 2.0, "3.3.7.5", "market_data", options, tables, subtables, {}, {}, {},
        {}, {}, 10, 10, 100, "key", 1.0, **told,
    )  # fmt: skip


def test_a_supertable_is_made_as_it_was() -> None:
    assert making.table("d", "st-1", SHAPE) == (
        "CREATE STABLE IF NOT EXISTS `d`.`st-1` (`ts` TIMESTAMP ENCODE 'delta-i' COMPRESS 'lz4' LEVEL 'medium', "
        "`n` INT PRIMARY KEY, `价 格` DOUBLE) TAGS (`symbol` VARCHAR(20), `big` BOOL) COMMENT 'it\\'s' KEEP 144000m"
    )
    assert making.table("d", "a`b", PLAIN) == (
        "CREATE TABLE IF NOT EXISTS `d`.`a``b` (`ts` TIMESTAMP, `v` INT) TTL 7"
    )


def test_what_is_there_is_left_and_a_plain_table_is_no_subtable() -> None:
    server: Any = Server()
    made = manifest()
    making.make(server, "d", made, ["st-1", "plain"], {"plain": PLAIN}, made.subtables)
    assert [sql.split(" (")[0] for sql in server.taken[1:2]] == ["CREATE STABLE IF NOT EXISTS `d`.`st-1`"]
    assert server.taken[2:] == [
        "CREATE TABLE IF NOT EXISTS `d`.`子-1` USING `d`.`st-1` (`symbol`, `big`) TAGS ('O\\'H', True) "
        "TTL 5 COMMENT 'x'",
        "USE `d`",
    ]


def test_a_tag_that_is_gone_stays_behind_and_a_new_one_is_null() -> None:
    server: Any = Server()
    made = manifest()
    now = {**SHAPE, "tags": [["colour", "INT"], ["symbol", "VARCHAR(30)"]]}
    making.make(server, "d", made, ["st-1"], {"st-1": now, "plain": PLAIN}, made.subtables)
    assert "`子-1` USING `d`.`st-1` (`symbol`) TAGS ('O\\'H')" in server.taken[1]


def test_a_server_that_packs_otherwise_makes_the_table_all_the_same() -> None:
    server: Any = Server({"ENCODE": 0x2600})
    made = manifest()
    making.make(server, "d", made, ["st-1"], {"plain": PLAIN}, [])
    assert "ENCODE" not in server.taken[1] and "`价 格` DOUBLE" in server.taken[1]
    with pytest.raises(TdengineError):
        making.make(Server({"CREATE STABLE": 0x0334}), "d", made, ["st-1"], {}, [])  # type: ignore[arg-type]


def test_definitions_are_made_in_the_order_in_which_they_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """A view on a view may come before it; a topic is told and not made."""
    monkeypatch.setattr(schema, "defined", lambda session, database: iter([("view", "there", "")]))
    told = {
        "there": ["view", "CREATE VIEW there AS SELECT 1"],
        "v2": ["view", "CREATE VIEW v2 AS SELECT * FROM v1"],
        "v1": ["view", "CREATE VIEW v1 AS SELECT * FROM `market_data`.`t`"],
        "vt": ["virtual table", "CREATE VTABLE `vt` (`a` FROM `market_data`.`plain`.`v`)"],
        "tp": ["topic", "create topic tp as select 1"],
    }

    class Needing(Server):
        def execute(self, sql: str) -> int:
            if "FROM v1" in sql and not any("VIEW v1" in one for one in self.taken):
                raise TdengineError("no v1", "", 0x2603)
            return super().execute(sql)

    server: Any = Needing()
    assert making.define(server, "side", manifest(definitions=told)) == {
        "tp": "a topic is not made again by itself; it was create topic tp as select 1"
    }
    assert [sql.split(" AS ")[0].split(" (")[0] for sql in server.taken] == [
        "USE `side`", "CREATE VIEW v1", "CREATE VTABLE `vt`", "CREATE VIEW v2",
    ]  # fmt: skip
    assert "FROM `side`.`plain`.`v`" in server.taken[2] and "FROM `side`.`t`" in server.taken[1]


@pytest.mark.parametrize(
    ("value", "kind", "written"),
    [
        ("O'Hare", "VARCHAR(20)", r"'O\'Hare'"),
        ('引号"\\', "NCHAR(20)", '\'引号"\\\\\''),
        (7, "INT", "7"),
        (None, "VARCHAR(20)", "NULL"),
        (True, "BOOL", "True"),
        (18446744073709551615, "BIGINT UNSIGNED", "18446744073709551615"),
        ("0102ff", "VARBINARY(20)", r"'\x0102ff'"),
        ('{"a":"x\\"y"}', "JSON", r"""'{"a":"x\\"y"}'"""),
        ("0101000000000000000000f03f0000000000000040", "GEOMETRY(100)", "'POINT (1.0 2.0)'"),
    ],
)
def test_tags_are_written_as_they_are(value: object, kind: str, written: str) -> None:
    assert making.literal(value, kind) == written


@pytest.mark.parametrize(("subtables", "tag", "statements"), [(2500, 6, 3), (300, 12_000, 5)])
def test_many_subtables_are_made_by_few_statements_that_a_server_takes(
    subtables: int, tag: int, statements: int
) -> None:
    server: Any = Server()
    every = [Subtable(f"t_{n}", "st-1", ["x" * tag, True]) for n in range(subtables)]
    making.make(server, "d", manifest(), [], {}, every)
    made = [sql for sql in server.taken if sql.startswith("CREATE TABLE IF")]
    assert len(made) == statements and all(len(sql) < MAX_BYTES + 100 for sql in made)
    assert sum(sql.count(" USING ") for sql in made) == subtables
