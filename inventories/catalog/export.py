"""tables.json: what the agents on the hosts need to know of one store's tables."""

from __future__ import annotations

import json

from inventories.catalog.tables import Column, Nan, Store, Table, Tables

_MOMENTS = ("timestamptz", "timestamp")


def tables_json(tables: Tables, store: Store = Store.POSTGRESQL, keep_days: int | None = None) -> str:
    """The text of /etc/mystocks-dr/tables.json, or of tables-tdengine.json; `keep_days` is TDengine's KEEP.

    Equal catalogues give equal bytes, so that a deploy sees no change where there is none.
    """
    exported = {
        table.name: {**_exported(table, tables.naive_times), **({"keep_days": keep_days} if keep_days else {})}
        for table in tables.of(store)
    }
    return json.dumps({"version": 1, "tables": exported}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _exported(table: Table, zone: str | None) -> dict[str, object]:
    return {
        "database": table.database,
        "classification": table.classification.value,
        "subclassification": table.subclassification,
        "aliases": list(table.aliases),
        "columns": [_column(column, zone) for column in table.columns],
        "lane": table.classification.lane,
        "key": list(table.key),
        "time_column": table.time_column,
        "on_conflict": table.on_conflict.value,
        **({"tags": [_column(tag, zone) for tag in table.supertable.tags]} if table.supertable else {}),
    }


def _column(column: Column, zone: str | None) -> dict[str, object]:
    """Rules that say nothing are left out."""
    read_in = column.zone or zone if column.type in _MOMENTS else None
    return {
        "name": column.name, "type": column.type, "nullable": column.nullable,
        **({"values": list(column.values)} if column.values else {}),
        **({"nan": column.nan.value} if column.nan is not Nan.MISSING else {}),
        **({"zone": read_in} if read_in else {}),
    }  # fmt: skip
