"""Everything in a TDengine database is told: tables of both kinds, definitions, and what cannot be read."""

from __future__ import annotations

from typing import Any

import pytest

from agents.tdengine.backup import schema
from agents.tdengine.backup.manifest import Subtable
from agents.tdengine.session import TdengineError

# As TDengine 3.3.7.5 answers.
STABLES = (
    ["stable_name", "db_name", "table_comment", "isvirtual", "keep"],
    [("all_t", "d", None, False, -1), ("noted", "d", "hello", False, 144000), ("vst", "d", None, True, -1),
     ("odd", "d", None, False, -1)],
)  # fmt: skip
PLAIN = (["table_name", "db_name", "ttl", "table_comment", "type"], [("表'q", "d", 7, "c", "NORMAL_TABLE")])
VIRTUAL = (PLAIN[0], [("vt", "d", None, None, "VIRTUAL_NORMAL_TABLE")])
TOPICS = (["topic_name", "db_name", "sql"], [("tp1", "d", "create topic tp1 as select * from plain")])
TS = ("ts", "TIMESTAMP", 8, "", "delta-i", "lz4", "medium")
DESCRIBED = {
    "`all_t`": [TS, ("id", "BIGINT", 8, "COMPOSITE KEY", "simple8b", "lz4", "medium"),
                ("d", "DECIMAL(18, 4)", 8, "", "disabled", "zstd", "medium"),
                ("b", "BLOB", 4, "", "disabled", "zstd", "medium"),
                ("g", "GEOMETRY", 100, "", "disabled", "lz4", "medium"),
                ("j", "JSON", 4095, "TAG", "disabled", "disabled", "disabled")],
    "`noted`": [TS, ("v", "VARBINARY", 20, "", "disabled", "zstd", "medium"), ("k", "VARCHAR", 5, "TAG")],
    "`表'q`": [TS, ("v", "INT", 4, "", "simple8b", "lz4", "medium")],
    "`odd`": [TS, ("v", "HYPERCUBE", 4, ""), ("k", "INT", 4, "TAG")],
}  # fmt: skip


class Server:
    """Answers as a server does: the process boundary."""

    def names_and_rows(self, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        if "ins_streams" in sql:
            raise TdengineError("Invalid column name: db_name", "", 0x2602)
        known = {"ins_stables": STABLES, "NORMAL_TABLE": PLAIN, "VIRTUAL": VIRTUAL, "topics": TOPICS}
        return next((answer for part, answer in known.items() if part in sql), (["view_name"], []))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        if sql.startswith("DESCRIBE"):
            return next(rows for name, rows in DESCRIBED.items() if name in sql)
        if "SHOW CREATE VTABLE `d`.`vt`" in sql:
            return [("vt", "CREATE VTABLE `vt` (`ts` TIMESTAMP)")]
        if "SHOW CREATE STABLE" in sql:
            raise TdengineError("no such thing", "", 0x2600)
        if "ins_topics" in sql:
            return [(TOPICS[1][0][2],)]
        if sql.startswith("SELECT TAGS tbname, `j` FROM `d`.`all_t`"):
            return [("c2", None), ("c1", b"\x01\xff")]
        return [("c2", 5, "x")] if "CHILD_TABLE" in sql else []


@pytest.fixture
def server() -> Any:
    return Server()


def test_plain_tables_and_every_type_are_told_and_what_is_not_understood_is_named(server: Any) -> None:
    found = schema.look(server, "d")
    assert sorted(found.tables) == ["all_t", "noted", "表'q"]
    assert found.tables["all_t"]["columns"] == [
        ["ts", "TIMESTAMP", True], ["id", "BIGINT", True], ["d", "DECIMAL(18, 4)", False], ["b", "BLOB", False],
        ["g", "GEOMETRY(100)", False],
    ]  # fmt: skip
    assert found.tables["all_t"]["tags"] == [["j", "JSON"]]
    assert found.tables["表'q"]["tags"] == []
    assert found.left_out["odd"] == (
        "its column v is of the type HYPERCUBE, another column type than this version of mystocks-dr knows"
    )


def test_how_a_table_was_made_is_told(server: Any) -> None:
    found = schema.tables(server, "d")
    assert found["noted"]["options"]["comment"] == "hello" and found["noted"]["options"]["keep"] == 144000
    assert "keep" not in found["all_t"]["options"] and "comment" not in found["all_t"]["options"]
    assert found["表'q"]["options"] == {
        "ttl": 7, "comment": "c", "packing": [["delta-i", "lz4", "medium"], ["simple8b", "lz4", "medium"]]
    }  # fmt: skip


def test_what_has_no_rows_of_its_own_is_kept_as_its_definition(server: Any) -> None:
    found = schema.look(server, "d")
    assert found.definitions == {
        "vt": ["virtual table", "CREATE VTABLE `vt` (`ts` TIMESTAMP)"],
        "tp1": ["topic", "create topic tp1 as select * from plain"],
    }
    assert found.left_out["vst"].startswith("its definition cannot be read: no such thing")


def test_a_subtable_is_told_with_its_tags_and_a_plain_table_is_its_own(server: Any) -> None:
    tables = {name: shape for name, shape in schema.tables(server, "d").items() if name in ("all_t", "表'q")}
    assert schema.subtables(server, "d", tables) == [
        Subtable("c1", "all_t", ["01ff"]), Subtable("c2", "all_t", [None], 5, "x"), Subtable("表'q", "表'q", []),
    ]  # fmt: skip


def test_tables_are_alike_by_their_columns_and_tags() -> None:
    one = {"columns": [["ts", "TIMESTAMP", True]], "tags": [], "options": {"ttl": 1}}
    assert schema.alike(one, {**one, "options": {}})
    assert not schema.alike(one, {**one, "tags": [["k", "INT"]]})
    assert not schema.alike(None, one)
