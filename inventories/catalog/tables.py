"""The shape of tables.yaml: stores, classifications, columns, keys, hypertables and supertables."""

from __future__ import annotations

import re
from enum import Enum
from typing import Annotated, Any, Literal, Self
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from inventories.catalog.base import Entry, Identifier, Label, contradiction


class Store(str, Enum):
    POSTGRESQL = "postgresql"
    TDENGINE = "tdengine"


class Classification(str, Enum):
    """The five classes of the seeds."""

    MARKET_DATA = "market_data"
    REFERENCE_DATA = "reference_data"
    DERIVED_DATA = "derived_data"
    TRANSACTION_DATA = "transaction_data"
    META_DATA = "meta_data"

    @property
    def lane(self) -> int:
        """What leaves an outbox first: orders and positions, what steers the system, then what could be had again."""
        return _LANES.index(self)


_LANES = (
    Classification.TRANSACTION_DATA, Classification.META_DATA, Classification.REFERENCE_DATA,
    Classification.DERIVED_DATA, Classification.MARKET_DATA,
)  # fmt: skip


class OnConflict(str, Enum):
    """What a second write of one key does: `ignore` keeps the first, `newest` keeps the greater event id."""

    IGNORE = "ignore"
    NEWEST = "newest"


POSTGRESQL_TYPE = re.compile(
    r"smallint|integer|bigint|real|double precision|boolean|text|date|timestamptz|jsonb"
    r"|varchar\([1-9][0-9]{0,3}\)|numeric\([1-9][0-9]?,[0-9]{1,2}\)"
)
TDENGINE_TYPE = re.compile(
    r"timestamp|bool|tinyint|smallint|int|bigint|float|double|(binary|nchar)\([1-9][0-9]{0,4}\)"
)
TYPES = {Store.POSTGRESQL: POSTGRESQL_TYPE, Store.TDENGINE: TDENGINE_TYPE}
TEXT_TYPES = ("text", "varchar", "binary", "nchar")
TIME_TYPES = ("date", "timestamptz", "timestamp")

Interval = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]* (hour|day|week|month|year)s?$")]
Days = Annotated[int, Field(gt=0)]
Names = Annotated[tuple[Identifier, ...], Field(min_length=1, strict=False)]


class Nan(str, Enum):
    """What NaN is in a column: a missing value, a value to keep, or wrong."""

    MISSING = "missing"
    KEEP = "keep"
    REFUSE = "refuse"


def _is_zone(name: str) -> str:
    """A machine without tzdata knows no zone at all, and then only the look of the name can be judged."""
    known = available_timezones()
    if name not in known and (known or not re.fullmatch(r"[A-Z]\w+(/[A-Z][\w+-]*)*", name)):
        raise ValueError("no such time zone, it is one like Asia/Shanghai")
    return name


Zone = Annotated[str, AfterValidator(_is_zone)]


class Column(Entry):
    """`values` are the only ones it may have, if any are given. A time without a zone is read in `zone`, else in that
    of the whole file (`naive_times`), else it is refused.
    """

    name: Identifier
    type: str
    nullable: bool = False
    values: Annotated[tuple[str, ...], Field(strict=False)] = ()
    nan: Annotated[Nan, Field(strict=False)] = Nan.MISSING
    zone: Zone | None = None


class Hypertable(Entry):
    time_column: Identifier
    chunk_interval: Interval


class Supertable(Entry):
    tags: Annotated[tuple[Column, ...], Field(min_length=1, strict=False)]


class Index(Entry):
    columns: Names


class Table(Entry):
    """One table; `name` is its key in the file."""

    name: Identifier
    store: Annotated[Store, Field(strict=False)]
    database: Identifier
    classification: Annotated[Classification, Field(strict=False)]
    subclassification: Identifier
    # Older names of its classification, which route here too.
    aliases: Annotated[tuple[Identifier, ...], Field(strict=False)] = ()
    owner: Label
    core: bool = False
    columns: Annotated[tuple[Column, ...], Field(min_length=1, strict=False)]
    key: Names
    on_conflict: Annotated[OnConflict, Field(strict=False)]
    hypertable: Hypertable | None = None
    supertable: Supertable | None = None
    indexes: Annotated[tuple[Index, ...], Field(strict=False)] = ()
    retention_days: Days | None = None
    compress_after_days: Days | None = None

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)

    @property
    def time_column(self) -> str | None:
        """The column that orders rows in time, if the store partitions by one."""
        if self.supertable is not None:
            return self.columns[0].name
        return self.hypertable.time_column if self.hypertable else None

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        self._check_store()
        self._check_columns()
        self._check_key()
        self._check_hypertable()
        self._check_lifetime()
        return self

    def _check_columns(self) -> None:
        everything = [*self.columns, *(self.supertable.tags if self.supertable else [])]
        seen: set[str] = set()
        for column in everything:
            if column.name in seen:
                raise contradiction(
                    "columns", column.name, "a column of that name is there already", "Remove one."
                )
            seen.add(column.name)
            if not TYPES[self.store].fullmatch(column.type):
                raise contradiction(
                    f"columns.{column.name}.type",
                    column.type,
                    f"we use no such type in {self.store.value}",
                    "See POSTGRESQL_TYPE and TDENGINE_TYPE in inventories/catalog/tables.py.",
                )
            self._check_rules(column)
        for index in self.indexes:
            for name in index.columns:
                if name not in seen:
                    raise contradiction(
                        "indexes", name, "the table has no such column", "Name a declared column."
                    )

    @staticmethod
    def _check_rules(column: Column) -> None:
        at = f"columns.{column.name}"
        if column.values and not column.type.startswith(TEXT_TYPES):
            raise contradiction(f"{at}.values", column.type, "only a text has values to choose", "Remove values.")
        if column.nan is Nan.KEEP and column.type not in ("real", "double precision"):
            why = f"{column.type} does not hold it soundly"
            raise contradiction(f"{at}.nan", "keep", why, "Use missing or refuse.")
        if column.zone is not None and column.type not in ("timestamptz", "timestamp"):
            raise contradiction(f"{at}.zone", column.zone, f"{column.type} is no moment in time", "Remove zone.")

    def _check_key(self) -> None:
        for name in self.key:
            column = self.column(name)
            if column is None:
                raise contradiction("key", name, "the table has no such column", "Name a declared column.")
            if column.nullable:
                raise contradiction("key", name, "a key column cannot be nullable", "Remove nullable: true.")
        if len(set(self.key)) < len(self.key):
            raise contradiction(
                "key", ", ".join(self.key), "a column is named twice", "Name each column once."
            )

    def _check_store(self) -> None:
        if self.store is Store.POSTGRESQL:
            self._check_postgresql()
        elif self.supertable is None:
            raise contradiction(
                "supertable", None, "every TDengine table of ours is a supertable", "Give its tags."
            )
        elif self.columns[0].type != "timestamp" or self.key[0] != self.columns[0].name:
            raise contradiction(
                "columns",
                self.columns[0].name,
                "a supertable needs its timestamp first",
                "Put the timestamp column first, in columns and in key.",
            )
        elif len(self.key) > 2 or (len(self.key) == 2 and self.key[1] != self.columns[1].name):
            raise contradiction(
                "key",
                ", ".join(self.key),
                "TDengine keys by the timestamp and at most the second column",
                "Put that column second, or key by the timestamp alone.",
            )
        elif self.hypertable is not None or self.indexes:
            raise contradiction(
                "hypertable" if self.hypertable else "indexes", "set", "TDengine has none", "Remove it."
            )

    def _check_postgresql(self) -> None:
        if self.supertable is not None:
            raise contradiction(
                "supertable", "set", "PostgreSQL has none", "Remove it, or use store: tdengine."
            )
        event_id = self.column("event_id")
        if event_id is None or event_id.type != "bigint" or event_id.nullable:
            raise contradiction(
                "columns.event_id",
                event_id and event_id.type,
                "every PostgreSQL table needs it as bigint, not null",
                "Add {name: event_id, type: bigint}.",
            )
        if self.on_conflict is OnConflict.IGNORE and "event_id" not in self.key:
            raise contradiction(
                "on_conflict",
                "ignore",
                "the key lacks event_id, so a newer row would be dropped",
                "Use newest, or put event_id into the key.",
            )

    def _check_hypertable(self) -> None:
        if self.hypertable is None:
            return
        name = self.hypertable.time_column
        column = self.column(name)
        if column is None or column.type not in TIME_TYPES:
            raise contradiction(
                "hypertable.time_column",
                name,
                "the table has no date or timestamptz column of that name",
                "Name a declared time column.",
            )
        if name not in self.key:
            raise contradiction(
                "hypertable.time_column",
                name,
                "it is not part of the key, which TimescaleDB requires",
                f"Add {name} to key.",
            )

    def _check_lifetime(self) -> None:
        for field in ("retention_days", "compress_after_days"):
            days = getattr(self, field)
            if days is None:
                continue
            if self.classification is not Classification.DERIVED_DATA:
                raise contradiction(
                    field, days, f"{self.classification.value} cannot be computed again", "Remove it."
                )
            if self.hypertable is None:
                raise contradiction(
                    field, days, "only hypertables have chunks to drop or compress", "Remove it."
                )
        if (self.compress_after_days or 0) >= (self.retention_days or float("inf")):
            raise contradiction(
                "compress_after_days",
                self.compress_after_days,
                f"rows are dropped after {self.retention_days} days already",
                "Compress earlier or keep longer.",
            )


class Tables(Entry):
    """The whole of tables.yaml. `tables` keeps the order of the file, `kept_years` is what settings that grow with the
    rows of tables without retention leave room for.
    """

    version: Literal[1]
    naive_times: Zone | None = None
    kept_years: Annotated[int, Field(ge=1, le=100)] = 12
    tables: Annotated[dict[Identifier, Table], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _name_tables(cls, raw: Any) -> Any:
        tables = raw.get("tables") if isinstance(raw, dict) else None
        if not isinstance(tables, dict):
            return raw
        for name, table in tables.items():
            if isinstance(table, dict) and "name" in table:
                raise contradiction(
                    f"tables.{name}.name", table["name"], "the key is the name", "Remove name."
                )
        named = {k: {"name": k, **v} if isinstance(v, dict) else v for k, v in tables.items()}
        return {**raw, "tables": named}

    @model_validator(mode="after")
    def _routes_are_clear(self) -> Self:
        """A name leads to one table: that of its table, of its classification, or an older one of that."""
        leads: dict[str, str] = {name: name for name in self.tables}
        for name, table in self.tables.items():
            for alias in (table.subclassification, *table.aliases):
                if leads.setdefault(alias, name) != name:
                    raise contradiction(
                        f"tables.{name}.{'aliases' if alias in table.aliases else 'subclassification'}",
                        alias,
                        f"that name leads to {leads[alias]}",
                        "Give each classification one table.",
                    )
        return self

    def of(self, store: Store) -> tuple[Table, ...]:
        """The tables of one store, in the order of the file."""
        return tuple(table for table in self.tables.values() if table.store is store)

    @property
    def core(self) -> tuple[Table, ...]:
        """The tables that the disaster-recovery configuration names, in the order of the file."""
        return tuple(table for table in self.tables.values() if table.core)

    def __getitem__(self, name: str) -> Table:
        return self.tables[name]
