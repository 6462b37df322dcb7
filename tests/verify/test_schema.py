"""The catalogue's tables in the primary: columns, types, keys, hypertables, grants. The standby is its copy."""

from __future__ import annotations

import pytest

from inventories.catalog import load_tables
from inventories.catalog.postgresql.ddl import PROBE
from inventories.catalog.tables import Store, Table
from runbooks.probes.postgresql import schema
from tests.verify.subject import Seen, Subject

TABLES = load_tables().of(Store.POSTGRESQL)


@pytest.fixture(scope="module")
def live(primary: Subject, whole: Seen) -> dict[str, schema.LiveTable]:
    return schema.look(primary.host, whole.estate.data["database"])


def test_catalogue_declares_tables(primary: Subject) -> None:
    assert len(TABLES) >= 10
    assert sum(table.hypertable is not None for table in TABLES) >= 5


@pytest.mark.parametrize("table", TABLES, ids=[table.name for table in TABLES])
def test_table_is_as_declared(primary: Subject, live: dict[str, schema.LiveTable], table: Table) -> None:
    assert schema.of_table(table, live.get(table.name)) == []


def test_probe_table_takes_the_writers_proofs(primary: Subject, live: dict[str, schema.LiveTable]) -> None:
    assert PROBE in live
    assert list(schema.grants(PROBE, live[PROBE])) == []


def test_writer_can_neither_delete_nor_own(primary: Subject, whole: Seen) -> None:
    rows = primary.host.query(
        "select c.relname from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') "
        "and (has_table_privilege('writer', c.oid, 'DELETE, TRUNCATE') "
        "or pg_get_userbyid(c.relowner) in ('writer', 'reader'))",
        whole.estate.data["database"],
    )
    assert rows == []


def test_timescaledb_is_loaded(primary: Subject, whole: Seen) -> None:
    rows = primary.host.query(
        "select extversion, (select default_version from pg_available_extensions where name = 'timescaledb') as files "
        "from pg_extension where extname = 'timescaledb'",
        whole.estate.data["database"],
    )
    assert len(rows) == 1
    assert rows[0]["extversion"] == rows[0]["files"], "the installed files are of another version than the database"
