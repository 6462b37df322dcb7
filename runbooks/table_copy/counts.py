"""What a comparison found, table by table, and the sentences that it is told in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from runbooks.table_copy.shape import ForeignKey, Piece, Shape


class Mode(StrEnum):
    """What becomes of the live table: missing rows inserted, its content replaced, or nothing."""

    MERGE = "merge"
    REPLACE = "replace"
    BESIDE = "beside"


class Counts(Piece):
    """Rows by key. `restored` are the copy's; `missing` of them are not live, `differing` are and hold other values,
    `superseded` of these were written later than the copy's; `only_live` are not in the copy.

    `buckets` are those that differ, None where they are too many to list. `orphans` and `bereaved` count, by foreign
    key, rows to be restored whose parent is not live, and live rows that a replacement would rob of theirs.
    """

    table: str
    restored: int
    live: int = 0
    missing: int = 0
    differing: int = 0
    superseded: int = 0
    only_live: int = 0
    buckets: tuple[int, ...] | None = None
    orphans: Mapping[str, int] = {}
    bereaved: Mapping[str, int] = {}

    @property
    def altered(self) -> int:
        """Live rows that hold other values than the copy's and were not written later."""
        return self.differing - self.superseded

    def written(self, mode: Mode) -> int:
        """Rows that this mode writes."""
        every = {Mode.MERGE: self.missing, Mode.BESIDE: self.restored}
        return every.get(mode, self.missing + self.differing + self.only_live)


class TablePlan(Piece):
    """One table: both shapes (`live` None when it was dropped) and what the comparison found."""

    copied: Shape
    live: Shape | None = None
    counts: Counts | None = None
    before: tuple[str, ...] = ()  # DDL that makes a dropped table, before its rows and after them
    after: tuple[str, ...] = ()
    dumped: bool = False  # that DDL is pg_dump's, which tells the table's own foreign keys too
    referred_by: tuple[ForeignKey, ...] = ()  # foreign keys of others that were lost with it

    @property
    def name(self) -> str:
        return self.copied.name


def sentence(plan: TablePlan, mode: Mode) -> str:
    """What would happen to one table."""
    found = plan.counts
    if found is None:
        return f"{plan.name}: not compared"
    if plan.live is None and mode is not Mode.BESIDE:
        return f"{plan.name}: was dropped; made again with its {found.restored} rows"
    seen = (
        f"{plan.name}: {found.live} rows live, {found.restored} in the copy; {found.missing} missing, "
        f"{found.differing} differing ({found.superseded} written later), {found.only_live} only live"
    )
    if mode is Mode.BESIDE:
        return f"{seen}; all {found.restored} go to {plan.name}_restored"
    if mode is Mode.MERGE:
        stays = f", {found.altered} altered rows stay as they are" if found.altered else ""
        return f"{seen}; {found.missing} are inserted{stays}"
    return f"{seen}; {found.missing} are inserted, {found.differing} overwritten, {found.only_live} deleted"


def unfit(copied: Shape, columns: Mapping[str, str]) -> str:
    """Why rows of the copy cannot go into a table of these columns (name -> type); empty when they can."""
    for column in copied.copied:
        if column.name not in columns:
            return f"{copied.name}.{column.name} was there at the target and is not in the table now"
        if columns[column.name] != column.type:
            return f"{copied.name}.{column.name} was {column.type} at the target and is {columns[column.name]} now"
    return ""


def outside(keys: Iterable[ForeignKey], names: Iterable[str], end: str) -> tuple[ForeignKey, ...]:
    """Foreign keys whose parent (or child, as `end` says) is not one of these tables."""
    listed = set(names)
    return tuple(fk for fk in keys if getattr(fk, end) not in listed)
