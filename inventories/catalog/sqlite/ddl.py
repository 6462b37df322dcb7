"""SQLite statements from the catalogue; every one may be run again without effect."""

from __future__ import annotations

from inventories.catalog.sqlite.databases import Column, Database, Table

# What became of a position, by the row before and after: the events of the seed.
_EVENTS = {"INSERT": "'opened'", "DELETE": "'removed'"}
_CHANGED = (
    "CASE WHEN NEW.status IN ('closed', 'liquidated') AND NEW.status <> OLD.status THEN NEW.status "
    "WHEN abs(NEW.quantity) < abs(OLD.quantity) THEN 'reduced' "
    "WHEN abs(NEW.quantity) > abs(OLD.quantity) THEN 'increased' ELSE 'changed' END"
)
_NOW = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"


def schema(database: Database) -> tuple[str, ...]:
    """Tables, indexes, then triggers, in the order of the catalogue; nothing for a file that makes its own."""
    tables = database.tables.values()
    return (
        *(_table(table) for table in tables),
        *(index for table in tables for index in _indexes(table)),
        *(trigger for table in tables if table.audit for trigger in _triggers(table, table.audit)),
    )


def _table(table: Table) -> str:
    # A key that is one integer is SQLite's row number, which it gives out by itself and never a second time.
    counted = [c.name for c in table.columns if (c.name,) == table.key and c.type == "integer"]
    lines = [_column(column, counted) for column in table.columns]
    if not counted:
        lines.append(f"PRIMARY KEY ({_list(table.key)})")
    for column, target in table.references.items():
        other, _, key = target.partition(".")
        lines.append(f'FOREIGN KEY ("{column}") REFERENCES "{other}" ("{key}")')
    return f'CREATE TABLE IF NOT EXISTS "{table.name}" ({", ".join(lines)})'


def _column(column: Column, counted: list[str]) -> str:
    if column.name in counted:
        return f'"{column.name}" INTEGER PRIMARY KEY AUTOINCREMENT'
    words = [f'"{column.name}"', column.type.upper()]
    words += [] if column.nullable else ["NOT NULL"]
    words += ["UNIQUE"] if column.unique else []
    words += [f"DEFAULT {column.default}"] if column.default is not None else []
    if column.values:
        chosen = ", ".join(f"'{value}'" for value in column.values)
        words.append(f'CHECK ("{column.name}" IN ({chosen}))')
    return " ".join(words)


def _indexes(table: Table) -> list[str]:
    return [
        f'CREATE INDEX IF NOT EXISTS "{table.name}_{"_".join(columns)}" ON "{table.name}" ({_list(columns)})'
        for columns in table.indexes
    ]


def _triggers(table: Table, trail: str) -> list[str]:
    """One for each way in which a row changes: nobody who writes can forget the audit trail, or leave it out."""
    return [_trigger(table, trail, change) for change in ("INSERT", "UPDATE", "DELETE")]


def _trigger(table: Table, trail: str, change: str) -> str:
    before = "NULL" if change == "INSERT" else _json(table, "OLD")
    after = "NULL" if change == "DELETE" else _json(table, "NEW")
    event = _EVENTS.get(change) or (_CHANGED if _tells(table) else "'changed'")
    row = "OLD" if change == "DELETE" else "NEW"
    keys = ", ".join(f'{row}."{name}"' for name in table.key)
    return (
        f'CREATE TRIGGER IF NOT EXISTS "{table.name}_{change.lower()}_audit" AFTER {change} ON "{table.name}" BEGIN '
        f'INSERT INTO "{trail}" ({_list(table.key)}, "event_type", "old_values", "new_values", "timestamp") '
        f"VALUES ({keys}, {event}, {before}, {after}, {_NOW}); END"
    )


def _tells(table: Table) -> bool:
    """Whether a change of it can be told as one of a position."""
    return table.column("status") is not None and table.column("quantity") is not None


def _json(table: Table, row: str) -> str:
    return "json_object(" + ", ".join(f"'{c.name}', {row}.\"{c.name}\"" for c in table.columns) + ")"


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in names)
