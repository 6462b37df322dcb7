"""What the catalogue asks TimescaleDB's Community edition to do by itself; the Apache edition has no such jobs."""

from __future__ import annotations

from dataclasses import dataclass

from inventories.catalog.tables import Table


@dataclass(frozen=True)
class Policy:
    """A background job of TimescaleDB's Community edition: its table, its procedure, what makes it."""

    table: str
    procedure: str
    statements: tuple[str, ...]


def policies_of(table: Table) -> tuple[Policy, ...]:
    """What the catalogue asks to drop and to compress, as the jobs that do it."""
    name, found = f"public.{table.name}", []
    if table.compress_after_days:
        candidates = ("symbol", "model_id", "strategy_id")
        by = next((column.name for column in table.columns if column.name in candidates), None)
        segments = f", timescaledb.compress_segmentby = '{by}'" if by else ""
        after = f"INTERVAL '{table.compress_after_days} days'"
        compress = (
            f"ALTER TABLE {name} SET (timescaledb.compress{segments})",
            f"SELECT add_compression_policy('{name}', {after}, if_not_exists => true)",
        )
        found.append(Policy(table.name, "policy_compression", compress))
    if table.retention_days:
        after = f"INTERVAL '{table.retention_days} days'"
        retain = (f"SELECT add_retention_policy('{name}', {after}, if_not_exists => true)",)
        found.append(Policy(table.name, "policy_retention", retain))
    return tuple(found)
