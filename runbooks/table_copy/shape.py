"""What a table is on one server: columns, key, constraints, foreign keys, sequences, triggers, size."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from runbooks.table_copy.names import qualified, quoted, shown

# Types of which two equal values are written alike and every bit is hashed, so that the hash of the value tells; of
# others the text is hashed, or what is sent: 1.0 and 1.00 are equal, and so are a day and 24 hours, 0 and -0. Of
# numerics the server hashes no sign, 5 and -5 are one, and of what has 64 bits it hashes 32: 0 and 4294967297 are one.
# As a text, xml has a declaration (<?xml version="1.0"?>) that no output of it shows, and that pg_dump, COPY and what
# travels here leave out.
_HASHED = frozenset({
    "smallint", "integer", "boolean", "text", "character varying", "date", "uuid", "name", "bytea",
})  # fmt: skip
_SENT = {
    "bigint": "int8send", "numeric": "numeric_send", "real": "float4send", "double precision": "float8send",
    "timestamp with time zone": "timestamptz_send", "timestamp without time zone": "timestamp_send",
    "interval": "interval_send", "xml": "xml_send",
}  # fmt: skip
_WHOLE = ("smallint", "integer", "bigint", "numeric")
EVENT_ID = "event_id"
FIRST_OF_OURS = 16384  # what initdb made has lower numbers, the same on every server
UNSENDABLE = ("aclitem", "pg_node_tree")  # of those the ones that have no binary form
ACTIONS = {"c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}


class Piece(BaseModel):
    """Frozen, and kept in the journal as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(Piece):
    """`type` as format_type writes it; a generated column is computed by the server and never copied."""

    name: str
    type: str
    number: int = 0
    type_id: int = 0
    nullable: bool = True
    generated: bool = False
    always: bool = False  # GENERATED ALWAYS AS IDENTITY
    filled: bool = False  # a default, or an identity
    folds: bool = False  # its collation takes different texts for the same
    domain: bool = False
    labels: tuple[str, ...] = ()  # of its enum, or of that it has arrays of

    @property
    def base(self) -> str:
        return self.type.partition("(")[0].strip()

    @property
    def plain(self) -> str:
        """The type without what stands in brackets, wherever they stand: timestamp(3) with time zone."""
        return re.sub(r"\(.*?\)", "", self.type)

    def hashed(self, alias: str) -> str:
        """The expression of this column that two servers hash to the same number."""
        name = f"{alias}.{quoted(self.name)}"
        if self.type.endswith("[]"):
            return f"{name}::text"
        if self.folds:
            return f'{name}::text COLLATE "C"'
        if self.domain:  # as its base is written, which a cast to text may not be: xml is one
            return f"ROW({name})::text"
        if self.plain in _SENT:
            return f"{_SENT[self.plain]}({name})"
        return name if self.base in _HASHED else f"{name}::text"


class ForeignKey(Piece):
    """`child(columns)` refers to `parent(parent_columns)`; `definition` is what follows ADD CONSTRAINT name.

    `on_delete` and `on_update` are the server's letters; `full` is MATCH FULL. A table that others inherit from is
    `..._alone` in its keys: their rows are no part of it.
    """

    name: str
    child: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    definition: str
    on_delete: str = "a"
    on_update: str = "a"
    full: bool = False
    inherited: bool = False  # a partition has it from `top_child`, where it is called and says what `top_...` tells
    top_child: str = ""
    top_name: str = ""
    top_definition: str = ""
    child_alone: bool = False
    parent_alone: bool = False

    @property
    def whole(self) -> ForeignKey:
        """That of the partitioned table, or to one; without it no partition has one."""
        if not self.inherited:
            return self
        top = {"child": self.top_child, "name": self.top_name, "definition": self.top_definition}
        return self.model_copy(update={**top, "inherited": False})

    @property
    def children(self) -> str:
        """The rows that refer, for SQL."""
        return f"{'ONLY ' if self.child_alone else ''}{qualified(self.child)}"

    @property
    def parents(self) -> str:
        return f"{'ONLY ' if self.parent_alone else ''}{qualified(self.parent)}"

    @property
    def label(self) -> str:
        """Of several that refer to one table: names of constraints are a table's own."""
        return f"{self.child}: {self.name}"

    @property
    def effect(self) -> str:
        """What the server would do to children, in words; empty where it refuses."""
        said = [
            f"ON {verb} {ACTIONS[letter]}"
            for verb, letter in (("DELETE", self.on_delete), ("UPDATE", self.on_update)) if letter in ACTIONS
        ]
        return " ".join(said)

    def missing(self, alias: str) -> str:
        """The condition under which a child of this alias needs a parent."""
        tests = [f"{alias}.{quoted(name)} IS NOT NULL" for name in self.columns]
        return f"({' OR '.join(tests)})" if self.full else " AND ".join(tests)


class Index(Piece):
    """A unique index or an exclusion constraint: (expression, operator) each, as the server writes them."""

    name: str
    elements: tuple[tuple[str, str], ...]
    predicate: str = ""
    nulls_equal: bool = False
    deferred: bool = False
    definition: str = ""

    def alike(self, ours: Sequence[str], theirs: Sequence[str]) -> str:
        """The condition under which two rows cannot both be there, given the elements of each."""
        tests = []
        for one, other, (_, operator) in zip(ours, theirs, self.elements, strict=True):
            equal = f"{one} {operator} {other}"
            tests.append(f"({equal} OR ({one} IS NULL AND {other} IS NULL))" if self.nulls_equal else equal)
        return " AND ".join(tests)


class Check(Piece):
    """What every row must meet: a check constraint, or a column that may not be NULL."""

    name: str
    expression: str
    valid: bool = True  # else rows that were there before it may not meet it


class Hook(Piece):
    """A trigger or a rule; `enabled` is the server's letter: O (origin), R (replica) or A (always).

    `table` is empty for the table's own; of a partition the triggers that are its own or fire otherwise.
    """

    name: str
    table: str = ""
    enabled: str = "O"


class Numbers(Piece):
    """What a column takes its numbers from; `last` is None until it has given one out."""

    name: str  # for regclass
    column: str
    last: int | None = None
    start: int = 1
    step: int = 1
    low: int = 1
    high: int = 2**63 - 1
    cycles: bool = False


class Shape(Piece):
    """One table. `time_column` is None unless it is a hypertable by time; the size has indexes.

    `uniques` are those beside the key. `deferred`: the key may be violated until a transaction ends.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    oid: int = 0
    deferred: bool = False
    uniques: tuple[Index, ...] = ()
    checks: tuple[Check, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    referred_by: tuple[ForeignKey, ...] = ()
    sequences: tuple[Numbers, ...] = ()
    triggers: tuple[Hook, ...] = ()
    chunk_triggers: tuple[Hook, ...] = ()  # those that fire otherwise than for whoever writes; each chunk has its own
    rules: tuple[Hook, ...] = ()
    hanging: tuple[tuple[str, str], ...] = ()  # what a DROP ... CASCADE takes along: (type, identity)
    partitions: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()  # statements of what pg_dump leaves out: statistics, publications
    hypertable: bool = False
    time_column: str | None = None
    facts: tuple[str, ...] = ()  # statements that make it a hypertable again, before its rows and after them
    policies: tuple[str, ...] = ()
    caggs: tuple[str, ...] = ()  # continuous aggregates over it
    undeletable: bool = False  # it publishes deletions and has nothing to tell its rows apart by
    unlogged: bool = False
    unheld: tuple[str, ...] = ()  # partitions whose rows are in no backup: unlogged, or on another server
    partitioned: bool = False
    foreign: bool = False
    size_bytes: int = 0

    @property
    def copied(self) -> tuple[Column, ...]:
        """Columns that hold data of their own."""
        return tuple(column for column in self.columns if not column.generated)

    @property
    def rows(self) -> str:
        """What to read and to write, without the tables that inherit from it."""
        return qualified(self.name) if self.partitioned or self.hypertable else f"ONLY {qualified(self.name)}"

    @property
    def hooks(self) -> tuple[str, ...]:
        """Triggers and rules by name."""
        kinds = (("trigger", self.triggers), ("rule", self.rules))
        own = [
            f"{kind} {hook.name}{f' of {hook.table}' if hook.table else ''}" for kind, hooks in kinds for hook in hooks
        ]
        return tuple(dict.fromkeys([*own, *(f"trigger {hook.name}" for hook in self.chunk_triggers)]))

    @property
    def stubborn(self) -> bool:
        """Whether triggers or rules fire in a session that only replays what another has done."""
        return any(hook.enabled != "O" for hook in (*self.triggers, *self.chunk_triggers, *self.rules))

    @property
    def waits(self) -> bool:
        """Whether rows can be inserted only while nobody else writes.

        A row that comes in between is passed over with ON CONFLICT, which asks for a key that is checked at once and
        a table without rules.
        """
        return self.deferred or bool(self.rules) or self.stubborn

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)


def whole_numbers(column: Column | None) -> bool:
    return column is not None and column.base in _WHOLE


def parse(rows: Iterable[Mapping[str, Any]]) -> dict[str, Shape]:
    """Rows of runbooks/probes/postgresql/tables.py by table name."""
    return {shape.name: shape for shape in (Shape.model_validate(_named(row)) for row in rows)}


def _named(value: Any) -> Any:
    """Every {schema, table} of an answer as one name."""
    if isinstance(value, Mapping):
        if set(value) == {"schema", "table"}:
            return shown(value["schema"], value["table"])
        return {name: _named(one) for name, one in value.items()}
    return [_named(one) for one in value] if isinstance(value, list) else value


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


