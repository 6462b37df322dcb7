from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, cast

import pytest

from inventories.catalog import load_tables
from inventories.catalog.postgresql.ddl import PROBE
from inventories.catalog.tables import Store, Table
from runbooks.hosts import Host
from runbooks.probes.postgresql import schema
from runbooks.probes.postgresql.schema import LiveColumn, LiveTable
from tests.unit.postgres_server import DATABASE, Server

DECLARED = load_tables().of(Store.POSTGRESQL)
GRANTS = {"writer": schema.WRITER, "reader": schema.READER}


def as_declared(table: Table) -> LiveTable:
    columns = tuple(LiveColumn(c.name, schema.canonical(c.type), c.nullable) for c in table.columns)
    return LiveTable(table.name, columns, table.key, table.time_column, GRANTS)


LIVE = {table.name: as_declared(table) for table in DECLARED} | {PROBE: LiveTable(PROBE, (), (), None, GRANTS)}
ORDERS = LIVE["order_records"]


def told(**changes: object) -> list[str]:
    return schema.differences(load_tables(), {**LIVE, "order_records": replace(ORDERS, **changes)})  # type: ignore[arg-type]


def test_what_is_as_declared_differs_in_nothing() -> None:
    assert len(LIVE) > 10
    assert schema.differences(load_tables(), LIVE) == []


def test_empty_database_misses_every_table() -> None:
    assert len(schema.differences(load_tables(), {})) == len(DECLARED) + 1


def test_changed_missing_and_extra_columns_are_told() -> None:
    first, *rest = ORDERS.columns
    wider = replace(first, type="text")
    assert told(columns=(wider, *rest)) == ["order_records.event_id is text not null, declared is bigint not null"]
    assert told(columns=tuple(rest)) == ["order_records.event_id is missing, declared is bigint not null"]
    extra = LiveColumn("by_hand", "text", True)
    assert told(columns=(*ORDERS.columns, extra)) == ["order_records.by_hand is not in the catalogue"]


def test_nullable_column_is_told() -> None:
    first, *rest = ORDERS.columns
    assert told(columns=(replace(first, nullable=True), *rest)) == [
        "order_records.event_id is bigint, declared is bigint not null"
    ]


def test_order_of_columns_is_no_difference() -> None:
    assert told(columns=tuple(reversed(ORDERS.columns))) == []


def test_other_key_and_lost_hypertable_are_told() -> None:
    assert told(key=("order_id",)) == ["order_records: primary key is (order_id), declared is (event_id, order_time)"]
    assert told(time_column=None) == ["order_records: a plain table, declared is hypertable by order_time"]


def test_more_and_fewer_privileges_are_told() -> None:
    more = GRANTS | {"writer": schema.WRITER | {"DELETE"}}
    assert told(grants=more) == [
        "order_records: writer may DELETE, INSERT, SELECT, UPDATE, declared is INSERT, SELECT, UPDATE"
    ]
    assert told(grants={"writer": schema.WRITER}) == ["order_records: reader may nothing, declared is SELECT"]


@pytest.mark.parametrize(
    ("declared", "shown"),
    [
        ("varchar(20)", "character varying(20)"),
        ("timestamptz", "timestamp with time zone"),
        ("numeric(18,4)", "numeric(18,4)"),
    ],
)
def test_types_are_compared_as_postgresql_writes_them(declared: str, shown: str) -> None:
    assert schema.canonical(declared) == shown


class Local:
    """A host whose own server is this one."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def query(self, sql: str, database: str, timeout: float | None = None) -> list[dict[str, Any]]:
        rows = self.server.sql(f"select row_to_json(q)::text from ({sql}) q", database=database)
        return [json.loads(str(row[0])) for row in rows]


def test_a_database_without_timescaledb_has_plain_tables_and_every_hypertable_is_told(copying_server: Server) -> None:
    """PostgreSQL's regression database: no dropped table came back, as the view of the dimensions is not there."""
    live = schema.look(cast(Host, Local(copying_server)), DATABASE)
    hypertables = [table for table in DECLARED if table.hypertable]
    assert hypertables
    plain = [line for line in schema.differences(load_tables(), live) if "a plain table, declared is hyper" in line]
    assert len(plain) == len(hypertables)
    assert live["order_records"].key == ("event_id", "order_time")
