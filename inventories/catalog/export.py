"""tables.json: what the agents on the hosts need to know of the PostgreSQL tables."""

from __future__ import annotations

import json

from inventories.catalog.tables import Store, Table, Tables


def tables_json(tables: Tables) -> str:
    """The text of /etc/mystocks-dr/tables.json.

    Equal catalogues give equal bytes, so that a deploy sees no change where there is none.
    """
    exported = {table.name: _exported(table) for table in tables.of(Store.POSTGRESQL)}
    return json.dumps({"version": 1, "tables": exported}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _exported(table: Table) -> dict[str, object]:
    return {
        "database": table.database,
        "classification": table.classification.value,
        "subclassification": table.subclassification,
        "columns": [{"name": c.name, "type": c.type, "nullable": c.nullable} for c in table.columns],
        "key": list(table.key),
        "time_column": table.time_column,
        "on_conflict": table.on_conflict.value,
    }
