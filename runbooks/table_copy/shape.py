"""What a table is on one server: columns, key, foreign keys, sequences, size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

# Types whose hash depends on the value alone; of all others the text is hashed.
_HASHED = frozenset({
    "smallint", "integer", "bigint", "real", "double precision", "numeric", "boolean", "text", "character varying",
    "date", "timestamp with time zone", "timestamp without time zone", "interval", "uuid", "jsonb", "name", "bytea",
})  # fmt: skip
EVENT_ID = "event_id"


class Piece(BaseModel):
    """Frozen, and kept in the journal as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(Piece):
    """`type` as format_type writes it; a generated column is computed by the server and never copied."""

    name: str
    type: str
    nullable: bool = True
    generated: bool = False
    always: bool = False  # GENERATED ALWAYS AS IDENTITY: an UPDATE may not touch it

    @property
    def hashed(self) -> str:
        """The expression of this column that two servers hash to the same number."""
        name = quoted(self.name)
        base = self.type.partition("(")[0].strip()
        return name if base in _HASHED else f"{name}::text"


class ForeignKey(Piece):
    """`child(columns)` refers to `parent(parent_columns)`; `definition` is what follows ADD CONSTRAINT name."""

    name: str
    child: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    definition: str


class Shape(Piece):
    """One table of schema public. `time_column` is None unless it is a hypertable by time; the size has indexes."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    hypertable: bool = False
    time_column: str | None = None
    foreign_keys: tuple[ForeignKey, ...] = ()
    referred_by: tuple[ForeignKey, ...] = ()
    sequences: tuple[tuple[str, str, int], ...] = ()  # column, sequence, its last value
    unlogged: bool = False
    partitioned: bool = False
    size_bytes: int = 0

    @property
    def copied(self) -> tuple[Column, ...]:
        """Columns that hold data of their own."""
        return tuple(column for column in self.columns if not column.generated)

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)


def parse(rows: Iterable[Mapping[str, Any]]) -> dict[str, Shape]:
    """Rows of runbooks/probes/postgresql/tables.py by table name."""
    return {row["name"]: Shape.model_validate(row) for row in rows}


def parents_first(shapes: Iterable[Shape]) -> tuple[str, ...]:
    """Names in an order in which every parent stands before its children; tables in a circle keep their order."""
    left = {shape.name: {fk.parent for fk in shape.foreign_keys} - {shape.name} for shape in shapes}
    found: list[str] = []
    while left:
        free = [name for name, parents in left.items() if not parents & set(left)] or [next(iter(left))]
        found += free
        for name in free:
            del left[name]
    return tuple(found)


def quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def public(table: str) -> str:
    return f"public.{quoted(table)}"


def listed(names: Iterable[str], prefix: str = "") -> str:
    return ", ".join(f"{prefix}{quoted(name)}" for name in names)


def literal(text: str) -> str:
    """A string constant; standard_conforming_strings is on."""
    return "'" + text.replace("'", "''") + "'"
