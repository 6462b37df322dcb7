"""How a dropped table is made again: from the catalogue, or as pg_dump read it from the copy."""

from __future__ import annotations

from inventories.catalog.postgresql import ddl
from inventories.catalog.postgresql.policies import policies_of
from inventories.catalog.tables import Table
from runbooks.table_copy.shape import listed, public, quoted


def catalogued(table: Table, with_policies: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The deploy's statements, split: before the rows and after them. Indexes are built faster over rows than under
    them, so the primary key that CREATE TABLE makes is dropped and added again.
    """
    statements = ddl.table_statements(table)
    shape, rest = statements[:1], statements[1:]
    if table.hypertable:
        shape, rest = [*shape, rest[0]], rest[1:]
    key = f"{table.name}_pkey"
    if len(key) <= 63:  # beyond that PostgreSQL shortens the name its own way
        shape.append(f"ALTER TABLE {public(table.name)} DROP CONSTRAINT {quoted(key)}")
        rest.insert(
            0, f"ALTER TABLE {public(table.name)} ADD CONSTRAINT {quoted(key)} PRIMARY KEY ({listed(table.key)})"
        )
    policies = [line for policy in policies_of(table) for line in policy.statements] if with_policies else []
    return tuple(shape), (*rest, *policies)


def probe() -> tuple[str, ...]:
    """The table that takes the mark of a commit; it may be the very one that was dropped."""
    return tuple(ddl.probe_statements())
