"""The shape of databases.yaml: SQLite files, their tables, keys, references and audit trails."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from inventories.catalog.base import Entry, Identifier, Label, contradiction
from inventories.catalog.recovery import Retention

AUDIT = ("event_type", "old_values", "new_values", "timestamp")  # what a table must have to take an audit trail
Names = Annotated[tuple[Identifier, ...], Field(min_length=1, strict=False)]
Reference = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$")]


class Kind(str, Enum):
    TRADING = "trading"
    OUTBOX = "outbox"


class Protect(str, Enum):
    """STREAM: every transaction leaves the host as it happens. SNAPSHOTS: what was written since the last is here."""

    STREAM = "stream"
    SNAPSHOTS = "snapshots"


class Column(Entry):
    """`values` are the only ones that it may have; `default` is an SQL expression."""

    name: Identifier
    type: Literal["integer", "real", "text", "blob"]
    nullable: bool = False
    unique: bool = False
    values: Annotated[tuple[str, ...], Field(strict=False)] = ()
    default: str | None = None


class Table(Entry):
    name: Identifier
    columns: Annotated[tuple[Column, ...], Field(min_length=1, strict=False)]
    key: Names
    references: Annotated[dict[Identifier, Reference], Field(default_factory=dict)]
    indexes: Annotated[tuple[Names, ...], Field(strict=False)] = ()
    audit: Identifier | None = None

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)

    @model_validator(mode="after")
    def _names_its_own_columns(self) -> Self:
        names = [column.name for column in self.columns]
        if len(set(names)) < len(names):
            raise contradiction("columns", ", ".join(names), "a column is named twice", "Remove one.")
        named = [("key", self.key), ("references", tuple(self.references)), *(("indexes", one) for one in self.indexes)]
        for field, columns in named:
            for name in columns:
                if name not in names:
                    raise contradiction(field, name, "the table has no such column", "Name a declared column.")
        for column in self.columns:
            if column.values and column.type != "text":
                at = f"columns.{column.name}.values"
                raise contradiction(at, column.type, "only a text has values to choose", "Remove values.")
        return self


class Database(Entry):
    """One file; `path` is where it lies on the application host."""

    name: Identifier
    kind: Annotated[Kind, Field(strict=False)]
    path: Annotated[str, StringConstraints(pattern=r"^/[\w./-]+\.db$")]
    owner: Label
    protect: Annotated[Protect, Field(strict=False)]
    tables: Annotated[dict[Identifier, Table], Field(default_factory=dict)]

    @model_validator(mode="before")
    @classmethod
    def _name_tables(cls, raw: object) -> object:
        return named(raw, "tables")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if bool(self.tables) != (self.kind is Kind.TRADING):
            why = "an outbox makes its own tables" if self.tables else "it would be an empty file"
            raise contradiction("tables", sorted(self.tables), why, "Declare tables for kind: trading alone.")
        for name, table in self.tables.items():
            for column, target in table.references.items():
                other, _, key = target.partition(".")
                if other not in self.tables or self.tables[other].key != (key,):
                    at = f"tables.{name}.references.{column}"
                    raise contradiction(at, target, "that is no table's key", "Name a table and its key column.")
            if table.audit is not None:
                self._check_audit(name, table.audit)
        return self

    def _check_audit(self, name: str, audit: str) -> None:
        at = f"tables.{name}.audit"
        trail = self.tables.get(audit)
        if trail is None or audit == name:
            raise contradiction(at, audit, "it is no other table of this database", "Declare it, or take audit out.")
        wanted = (*AUDIT, *self.tables[name].key)
        lacking = [column for column in wanted if trail.column(column) is None]
        if lacking:
            raise contradiction(at, audit, f"that table has no column {lacking[0]}", f"Give it {', '.join(wanted)}.")


class Keeping(Retention):
    """Retention as of every store; every snapshot of the last `every_days` stays, of older ones one a day."""

    every_days: Annotated[int, Field(ge=1)]


class Databases(Entry):
    """The whole of databases.yaml, in the order of the file."""

    version: Literal[1]
    retention: Keeping
    databases: Annotated[dict[Identifier, Database], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _name_databases(cls, raw: object) -> object:
        return named(raw, "databases")

    @model_validator(mode="after")
    def _are_files_of_their_own(self) -> Self:
        seen: dict[str, str] = {}
        for name, database in self.databases.items():
            other = seen.setdefault(database.path, name)
            if other != name:
                at = f"databases.{name}.path"
                raise contradiction(at, database.path, f"{other} is that file", "Give each database a file of its own.")
        return self


def named(raw: object, field: str) -> object:
    """The entries below `field`, each with its key as its name."""
    entries = raw.get(field) if isinstance(raw, dict) else None
    if not isinstance(raw, dict) or not isinstance(entries, dict):
        return raw
    for name, entry in entries.items():
        if isinstance(entry, dict) and "name" in entry:
            raise contradiction(f"{field}.{name}.name", entry["name"], "the key is the name", "Remove name.")
    return {**raw, field: {k: {"name": k, **v} if isinstance(v, dict) else v for k, v in entries.items()}}
