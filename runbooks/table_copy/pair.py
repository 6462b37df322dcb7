"""A table of the copy and the live one: what both are asked, so that the same row gives the same hash."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runbooks.table_copy import rowhash
from runbooks.table_copy.fit import Fit
from runbooks.table_copy.names import listed, quoted
from runbooks.table_copy.rowchain import chained
from runbooks.table_copy.shape import EVENT_ID, FIRST_OF_OURS, UNSENDABLE, Column, ForeignKey, Shape
from runbooks.table_copy.source import Source

PARTS, DAY_BITS = 1024, 6  # buckets of a plain table; bits of those of each day of a hypertable
DAY_PARTS = 1 << DAY_BITS


@dataclass(frozen=True)
class Pair:
    """A table of the copy and the live one to compare it with, which may have another name, or not be there.

    `parents` and `children` are the foreign keys to check: those whose other table is not restored in the same run.
    """

    copy: Shape
    live: Shape | None
    where: str = ""
    parents: tuple[ForeignKey, ...] = ()
    children: tuple[ForeignKey, ...] = ()
    since_xid: int | None = None  # live rows written by a later transaction supersede the copy's
    fit: Fit | None = None  # None: columns of the same name

    @property
    def alone(self) -> Pair:
        """The copy without the live table: in its own columns, but for those that nothing can hold now."""
        return Pair(self.copy, None, self.where, fit=None if self.live else self.fit)

    @property
    def columns(self) -> tuple[str, ...]:
        """What the copy fills, by the live table's names."""
        if self.fit:
            return tuple(one.name for one in self.fit.columns)
        there = {column.name for column in self.live.columns} if self.live else None
        return tuple(c.name for c in self.copy.copied if there is None or c.name in there)

    @property
    def staged(self) -> tuple[str, ...]:
        """Those, and what of the key the server computes."""
        return (*self.columns, *(name for name in self.key if name not in self.columns))

    @property
    def asked(self) -> frozenset[str]:
        """Columns that both servers can be asked for."""
        return frozenset((*self.columns, *(column.name for column in self.copy.columns if column.generated)))

    @property
    def added(self) -> tuple[str, ...]:
        """Live columns that keep their values in rows that are written again."""
        return self.fit.added if self.fit else ()

    @property
    def key(self) -> tuple[str, ...]:
        return (self.live or self.copy).key

    @property
    def versioned(self) -> bool:
        return EVENT_ID in self.columns

    @property
    def origin(self) -> str:
        """The copy's rows, with the live table's column names and types, called t."""
        if self.fit is None or self.fit.same:
            return f"{self.copy.rows} AS t"
        shown = [f"{one.expression} AS {quoted(one.name)}" for one in self.fit.columns]
        taken = set(self.columns)
        shown += [quoted(column.name) for column in self.copy.columns if column.generated and column.name not in taken]
        return f"(SELECT {', '.join(shown)} FROM {self.copy.rows}) AS t"

    @property
    def format(self) -> str:
        """How rows travel: a type of somebody's own may have another number elsewhere, or no binary form."""
        columns = (*self.copy.columns, *(self.live.columns if self.live else ()))
        own = any(c.type_id >= FIRST_OF_OURS or c.base.removesuffix("[]") in UNSENDABLE for c in columns)
        return "text" if own else "binary"

    def column(self, name: str) -> Column | None:
        """As it is live; different texts are told apart where either side would take them for the same."""
        there, was = self.live and self.live.column(name), self.copy.column(self.source(name))
        if there and was and was.folds:
            return there.model_copy(update={"folds": True})
        return there or was

    def source(self, name: str) -> str:
        """What the copy calls this column."""
        return next((one.source for one in self.fit.columns if one.name == name), name) if self.fit else name


def row_hash(pair: Pair, alias: str = "t") -> str:
    return _hash(pair, pair.columns, alias)


def bucket(pair: Pair, alias: str = "t") -> str:
    """An integer; days since 2000 times DAY_PARTS, plus a part, for a table that is ordered by time."""
    part = _hash(pair, pair.key or pair.columns, alias)
    if not _time(pair):
        return f"({part} & {PARTS - 1})"
    day = rowhash.day(f"{alias}.{quoted(_time(pair))}")
    return f"({day} * {DAY_PARTS} + ({part} & {DAY_PARTS - 1}))"


def days(pair: Pair, first: str, last: str) -> str:
    """The days that buckets span, as a condition that keeps other chunks from being read."""
    if not _time(pair):
        return ""
    return rowhash.between(f"t.{quoted(_time(pair))}", first, last)


def _time(pair: Pair) -> str:
    """The column that both sides are ordered by; empty without one."""
    ordered = (pair.live or pair.copy).time_column or ""
    return ordered if ordered in pair.columns else ""


def _hash(pair: Pair, names: Iterable[str], alias: str) -> str:
    return chained([column for name in names if (column := pair.column(name))], alias)


def filtered(*conditions: str) -> str:
    """WHERE and its conditions, empty without any."""
    given = [f"({condition})" for condition in conditions if condition]
    return f" WHERE {' AND '.join(given)}" if given else ""


def rows(pair: Pair, *conditions: str) -> str:
    """What the copy is asked for."""
    return f"SELECT {listed(pair.staged, 't.')} FROM {pair.origin}{filtered(pair.where, *conditions)}"


def not_chosen(nr: int, pair: Pair, live: Shape, source: Source) -> str:
    """elsewhere_N: the keys of those of the copy's rows that the condition leaves out."""
    query = f"SELECT {listed(pair.key, 't.')} FROM {pair.origin} WHERE ({pair.where}) IS NOT TRUE"
    return (
        f"CREATE TEMP TABLE elsewhere_{nr} ON COMMIT DROP AS SELECT {listed(pair.key)} FROM {live.rows} AS t "
        "WITH NO DATA;\n"
        + source.fetch(f"elsewhere_{nr}", query, pair.format)
        + f"ANALYZE elsewhere_{nr};\n"
    )


def match(one: str, columns: Iterable[str], other: str, others: Iterable[str]) -> str:
    return " AND ".join(f"{one}.{quoted(a)} = {other}.{quoted(b)}" for a, b in zip(columns, others, strict=True))
