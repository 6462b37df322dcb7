"""databases.yaml: a mistake is one sentence, and the statements that come of it may be run again."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from inventories.catalog.load import DATABASES, load_databases
from inventories.catalog.sqlite.ddl import schema
from inventories.catalog.sqlite.export import exported
from inventories.errors import BadInput


def test_the_schema_may_be_made_again_and_is_what_was_declared() -> None:
    declared = load_databases().databases["trading"]
    connection = sqlite3.connect(":memory:")
    for statement in (*schema(declared), *schema(declared)):
        connection.execute(statement)
    for table in declared.tables.values():
        found = [row[1] for row in connection.execute(f'PRAGMA table_info("{table.name}")')]
        assert found == [column.name for column in table.columns]
    triggers = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'trigger'").fetchone()
    assert triggers == (3,)


def test_the_seeds_tables_are_there_and_the_outboxes_are_stores_of_this_kind() -> None:
    found = exported(load_databases())
    assert set(found["trading"]["tables"]) >= {"trades", "positions", "signals", "position_history", "backup_metadata"}
    assert [one["path"] for one in found.values() if one["kind"] == "outbox"] == [
        "/var/lib/mystocks-dr/outbox.db", "/var/lib/mystocks-dr/outbox-tdengine.db",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("audit: position_history", "audit: signals", "that table has no column event_type"),
        ("audit: position_history", "audit: nowhere", "no other table of this database"),
        ("signal_id: signals.id", "signal_id: signals.asset", "no table's key"),
        ("key: [asset]", "key: [nothing]", "no such column"),
        ("type: integer, nullable: true}", "type: money, nullable: true}", "'money'"),
        ("/var/lib/mystocks-dr/outbox.db", "/var/lib/mystocks-dr/trading/trading.db", "trading is that file"),
        (
            "kind: outbox\n    path: /var/lib/mystocks-dr/outbox.db",
            "kind: trading\n    path: /x/outbox.db",
            "empty file",
        ),
        ("protect: stream\n", "protect: never\n", "'never'"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, before: str, after: str, said: str) -> None:
    text = DATABASES.read_text()
    assert before in text
    path = tmp_path / "databases.yaml"
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(BadInput, match=said):
        load_databases(path)
