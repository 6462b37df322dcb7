"""TDengine statements from the catalogue; every one may be run again without effect."""

from __future__ import annotations

from inventories.catalog.tables import Column, Store, Table, Tables

RELAXED_MS = 3000  # between two syncs of the WAL where a power cut may cost rows

def database_statement(
    name: str, *, keep_days: int, duration_days: int, replica: int, vgroups: int, durable: bool
) -> str:
    """CREATE DATABASE with what a dump forgets: `durable` syncs the WAL at every write before it is acknowledged."""
    period = 0 if durable else RELAXED_MS
    return (
        f"CREATE DATABASE IF NOT EXISTS `{name}` PRECISION 'ns' KEEP {keep_days}d DURATION {duration_days}d "
        f"REPLICA {replica} VGROUPS {vgroups} WAL_LEVEL 2 WAL_FSYNC_PERIOD {period}"
    )


def supertables(tables: Tables) -> dict[str, str]:
    """CREATE STABLE per supertable, in the order of the catalogue."""
    return {table.name: supertable_statement(table) for table in tables.of(Store.TDENGINE)}


def supertable_statement(table: Table) -> str:
    assert table.supertable is not None
    columns = ", ".join(_column(table, column) for column in table.columns)
    tags = ", ".join(f"`{tag.name}` {tag.type}" for tag in table.supertable.tags)
    return f"CREATE STABLE IF NOT EXISTS `{table.database}`.`{table.name}` ({columns}) TAGS ({tags})"


def _column(table: Table, column: Column) -> str:
    # Rows of one instant stay apart by the second column of the key; without one the later row wins.
    composite = len(table.key) > 1 and column.name == table.key[1]
    return f"`{column.name}` {column.type}{' PRIMARY KEY' if composite else ''}"
