"""Which column of a copy goes into which of the live table, when the table was altered since the copy's moment.

The copy is the same database at another time: while the table is the same one, a column keeps its number whatever it
is called. What was made again is found by its name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from runbooks.table_copy.names import quoted
from runbooks.table_copy.shape import Column, Piece, Shape


class Fitted(Piece):
    """Values of the copy's column `source` go into the live `name`, as `type` where that is another one."""

    name: str
    source: str
    type: str = ""

    @property
    def expression(self) -> str:
        """What the copy is asked for."""
        return f"{quoted(self.source)}::{self.type}" if self.type else quoted(self.source)


class Fit(Piece):
    """`added`: live columns that the copy does not fill. `told` says all, `lost` what of it does not come back.

    `refused` says why nothing can be written at all; empty when something can.
    """

    columns: tuple[Fitted, ...]
    added: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    refused: str = ""

    @property
    def same(self) -> bool:
        """Whether the copy can be read as it stands."""
        return all(one.name == one.source and not one.type for one in self.columns)


@dataclass(frozen=True)
class Change:
    """A column of the copy whose values have to be looked at: of another `type` now, or gone where that is empty."""

    source: str
    was: str
    type: str = ""

    @property
    def lost(self) -> str:
        """Which of its values do not come back, as a condition."""
        name = quoted(self.source)
        if not self.type or zone_decides(self.was, self.type):
            return f"{name} IS NOT NULL"
        return f"({name}::{self.type})::{self.was}::text IS DISTINCT FROM {name}::text"


def zone_decides(was: str, now: str) -> bool:
    """Whether the time zone of whoever altered the table has decided what became of its values."""
    both = all(one.startswith(("timestamp", "date", "time ", "time(")) for one in (was, now))
    return both and ("with time zone" in was) != ("with time zone" in now)


def changes(copied: Shape, live: Shape) -> tuple[Change, ...]:
    pairs = _pairs(copied, live)
    kept = {was.name for _, was in pairs if was}
    altered = [
        Change(was.name, was.type, now.type)
        for now, was in pairs if was and now.type != was.type and not now.generated
    ]
    return (*altered, *(Change(column.name, column.type) for column in copied.copied if column.name not in kept))


def fit(copied: Shape, live: Shape, losses: Mapping[str, int | None]) -> Fit:
    """`losses`: of each change the values that would not survive, None where the server knows no way."""
    columns, added, told, lost, refused = [], [], [], [], ""
    for now, was in _pairs(copied, live):
        if now.generated:
            if was and not was.generated:
                told.append(f"{live.name}.{now.name} is computed by the server now")
            continue
        if was is None:
            added.append(now.name)
            told.append(f"{live.name}.{now.name} is new since: rows that are inserted get its default or NULL")
            refused = refused or _needs(live, now)
            continue
        left = losses.get(was.name, 0) if now.type != was.type else 0
        if now.type != was.type and left != 0:
            added.append(now.name)
            why = f"{left} values do not fit" if left else "not every value can be converted"
            if zone_decides(was.type, now.type):
                why = "which moment that is depends on the time zone in which it was altered"
            lost.append(f"{live.name}.{now.name} was {was.type} and is {now.type} now: {why}, so none comes back")
            refused = refused or _needs(live, now)
            continue
        missing = [label for label in was.labels if label not in now.labels] if now.labels else []
        if missing:
            which = ", ".join(repr(label) for label in missing)
            told_of = f"{now.type}, of {live.name}.{now.name}"
            refused = refused or f"{told_of}, has other values than at the target: no {which}"
        columns.append(Fitted(name=now.name, source=was.name, type=now.type if now.type != was.type else ""))
        if now.type != was.type:
            told.append(f"{live.name}.{now.name} was {was.type} and is {now.type} now: every value fits")
        if now.name != was.name:
            told.append(f"{live.name}.{was.name} is called {now.name} now, and is restored into it")
    for change in changes(copied, live):
        if not change.type:
            count = losses.get(change.source)
            told_of = f"{live.name}.{change.source} is not in the table now"
            (lost if count else told).append(f"{told_of}: its {count} values do not come back" if count else told_of)
    absent = [name for name in live.key if name not in {one.name for one in columns} and not _computed(live, name)]
    if absent:
        refused = f"{live.name} cannot be compared: the copy has nothing for {', '.join(absent)} of its key"
    return Fit(columns=tuple(columns), added=tuple(added), told=tuple(told), lost=tuple(lost), refused=refused)


def other_labels(copied: Shape, live: Shape) -> tuple[str, ...]:
    """Columns whose enum no longer has every value that the copy may hold."""
    return tuple(
        was.name for now, was in _pairs(copied, live) if was and now.labels and not set(was.labels) <= set(now.labels)
    )  # fmt: skip


def as_text(copied: Shape, columns: Collection[str]) -> Fit:
    """Every column as it is, but for those that no type of today can hold."""
    return Fit(
        columns=tuple(
            Fitted(name=column.name, source=column.name, type="text" if column.name in columns else "")
            for column in copied.columns
        )
    )


def _pairs(copied: Shape, live: Shape) -> list[tuple[Column, Column | None]]:
    """Every live column with the copy's, by number in the same table, else by name."""
    numbers = {column.number: column for column in copied.columns} if copied.oid == live.oid and live.oid else {}
    found = {column.name: numbers.get(column.number) for column in live.columns}
    left = {column.name: column for column in copied.columns}
    for was in found.values():
        if was:
            left.pop(was.name, None)
    return [(column, found[column.name] or left.get(column.name)) for column in live.columns]


def _computed(live: Shape, name: str) -> bool:
    column = live.column(name)
    return column is not None and column.generated


def _needs(live: Shape, now: Column) -> str:
    if now.nullable or now.filled:
        return ""
    return f"{live.name}.{now.name} must have a value and has no default, and the copy has none for it"
