"""The shape of quality.yaml: what must be true of rows, beside their types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from inventories.catalog.agreement import Agreement
from inventories.catalog.base import Entry, Identifier, Label, contradiction
from inventories.catalog.market import Calendar
from inventories.catalog.tables import Store, Table, Tables
from inventories.errors import BadInput

Share = Annotated[float, Field(gt=0, le=1)]
Hours = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Fresh(Entry):
    """The column that tells how old the newest row is."""

    column: Identifier
    max_age_h: Hours | None = None


class Expected(Entry):
    """Of one table: columns that hardly any row may lack, and how old it may be."""

    complete: Annotated[tuple[Identifier, ...], Field(strict=False)] = ()
    completeness: Share | None = None
    fresh: Fresh | None = None


class Rule(Entry):
    """Either a condition for `every` row, or a SELECT of those that break it: (key, expected, found), three texts.

    `over` is a SELECT of how many things it goes over; the rows of the table without one.
    """

    table: Identifier
    says: str
    every: str | None = None
    broken: str | None = None
    over: str | None = None
    may_be_empty: bool = False

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if (self.every is None) == (self.broken is None):
            raise contradiction(
                "", self.says, "a rule is either for every row or tells what breaks it", "Give every, or broken."
            )
        return self


class Quality(Entry):
    """The whole of quality.yaml."""

    version: Literal[1]
    completeness: Share = 0.95
    max_age_h: Hours = 24
    may_be_empty: Annotated[tuple[Identifier, ...], Field(strict=False)] = ()
    tables: Mapping[Identifier, Expected] = Field(default_factory=dict)
    rules: Mapping[Label, Rule] = Field(default_factory=dict)
    calendar: Calendar | None = None
    agreement: Agreement | None = None

    def of(self, name: str) -> Expected:
        return self.tables.get(name, Expected())

    def fits(self, tables: Tables) -> Self:
        """The same. Raises BadInput where it names what the tables do not have."""
        known = {table.name: table for table in tables.of(Store.POSTGRESQL)}
        for name in self.may_be_empty:
            _known(known, name, "may_be_empty")
        for name, expected in self.tables.items():
            table = _known(known, name, f"tables.{name}")
            for column in (*expected.complete, *((expected.fresh.column,) if expected.fresh else ())):
                if table.column(column) is None:
                    raise _unknown(f"tables.{name}", column, "that table has no such column")
        for label, rule in self.rules.items():
            _known(known, rule.table, f"rules.{label}.table")
        if self.calendar is not None:
            _fits_calendar(known, self.calendar)
        if self.agreement is not None:
            _fits_agreement(tables, self.agreement)
        return self


def _fits_calendar(known: dict[str, Table], calendar: Calendar) -> None:
    _has(_known(known, calendar.table, "calendar.table"), "calendar.table", "exchange", "calendar_date", "is_open")
    for name, held in calendar.held.items():
        at = f"calendar.held.{name}"
        _has(_known(known, name, at), at, held.column, held.symbol)
        column = known[name].column(held.column)
        if column is None or column.type not in ("date", "timestamptz"):
            raise _unknown(at, held.column, "that column is no date and no timestamptz")


def _fits_agreement(tables: Tables, agreement: Agreement) -> None:
    known = {table.name: table for table in tables.of(Store.POSTGRESQL)}
    of_both = (("orders", agreement.orders, ()), ("fills", agreement.fills, ("order",)))
    for name, one, more in of_both:
        if one is not None:
            at = f"agreement.{name}"
            columns = (one.key, one.time, agreement.symbol, *(getattr(one, field) for field in more))
            _has(_known(known, one.table, at), at, *columns)
    known = {table.name: table for table in tables.of(Store.TDENGINE)}
    for name, series in (("ticks", agreement.ticks), ("bars", agreement.bars)):
        if series is not None:
            at = f"agreement.{name}"
            table = _known(known, series.table, at, Store.TDENGINE)
            tags = [tag.name for tag in table.supertable.tags] if table.supertable else []
            if agreement.symbol not in tags:
                raise _unknown(at, agreement.symbol, f"{table.name} has no such tag")
            _has(table, at, *filter(None, [series.volume]))


def _has(table: Table, at: str, *columns: str) -> None:
    for column in columns:
        if table.column(column) is None:
            raise _unknown(at, column, f"{table.name} has no such column")


def _known(known: dict[str, Table], name: str, at: str, store: Store = Store.POSTGRESQL) -> Table:
    if name not in known:
        where = {Store.POSTGRESQL: "PostgreSQL", Store.TDENGINE: "TDengine"}[store]
        raise _unknown(at, name, f"tables.yaml has no such table in {where}")
    return known[name]


def _unknown(at: str, name: str, why: str) -> BadInput:
    said = f"inventories/catalog/quality.yaml: {at} names {name}, but {why}."
    return BadInput(said, "Correct its name, or remove it.")


