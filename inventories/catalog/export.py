"""tables.json: what the agents on the hosts need to know of one store's tables."""

from __future__ import annotations

import json

from inventories.catalog.tables import Column, Store, Table, Tables


def tables_json(tables: Tables, store: Store = Store.POSTGRESQL) -> str:
    """The text of /etc/mystocks-dr/tables.json, or of tables-tdengine.json.

    Equal catalogues give equal bytes, so that a deploy sees no change where there is none.
    """
    exported = {table.name: _exported(table) for table in tables.of(store)}
    return json.dumps({"version": 1, "tables": exported}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _exported(table: Table) -> dict[str, object]:
    return {
        "database": table.database,
        "classification": table.classification.value,
        "subclassification": table.subclassification,
        "columns": [_column(column) for column in table.columns],
        "lane": table.classification.lane,
        "key": list(table.key),
        "time_column": table.time_column,
        "on_conflict": table.on_conflict.value,
        **({"tags": [_column(tag) for tag in table.supertable.tags]} if table.supertable else {}),
    }


def _column(column: Column) -> dict[str, object]:
    return {"name": column.name, "type": column.type, "nullable": column.nullable}
