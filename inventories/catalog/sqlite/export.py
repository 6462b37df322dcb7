"""What the agents on the hosts need to know of the SQLite databases: the part `databases` of sqlite.json."""

from __future__ import annotations

from typing import Any

from inventories.catalog.sqlite.databases import Databases
from inventories.catalog.sqlite.ddl import schema


def exported(databases: Databases) -> dict[str, dict[str, Any]]:
    """{name: {"path", "kind", "protect", "tables", "schema": [statement]}}, see agents/sqlite/settings.py."""
    return {
        name: {
            "path": one.path,
            "kind": one.kind.value,
            "protect": one.protect.value,
            "tables": list(one.tables),
            "schema": list(schema(one)),
        }
        for name, one in databases.databases.items()
    }
