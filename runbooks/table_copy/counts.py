"""What a comparison found, table by table, and the sentences that it is told in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from runbooks.table_copy.fit import Fit
from runbooks.table_copy.names import beside
from runbooks.table_copy.shape import ForeignKey, Piece, Shape

REPLACED, RESTORED = "_replaced", "_restored"


class Mode(StrEnum):
    """What becomes of the live table: missing rows inserted, its content replaced, or nothing."""

    MERGE = "merge"
    REPLACE = "replace"
    BESIDE = "beside"


class Collision(Piece):
    """Rows to be written whose values another row has, and some of them: (row, partner), each by its key."""

    rows: int
    some: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        pairs = [f"{one} meets {other}" for one, other in self.some]
        return f"{', '.join(pairs)}{', ...' if self.rows > len(pairs) else ''}"


class Counts(Piece):
    """Rows by key. `restored` are the copy's; `missing` of them are not live, `differing` are and hold other values,
    `superseded` of these were written later than the copy's; `only_live` are not in the copy.

    `elsewhere` are live rows that meet a condition which their own rows in the copy do not meet.
    `buckets` are those that differ, None where they are too many to list. `orphans` and `bereaved` count, by foreign
    key, rows to be restored whose parent is not live, and live rows that a replacement would rob of theirs.
    `collisions` are those of unique indexes and exclusion constraints, `unmet` rows that a new check would refuse.
    """

    table: str
    restored: int
    live: int = 0
    missing: int = 0
    differing: int = 0
    superseded: int = 0
    only_live: int = 0
    elsewhere: int = 0
    buckets: tuple[int, ...] | None = None
    orphans: Mapping[str, int] = {}
    bereaved: Mapping[str, int] = {}
    collisions: Mapping[str, Collision] = {}
    unmet: Mapping[str, int] = {}

    @property
    def altered(self) -> int:
        """Live rows that hold other values than the copy's and were not written later."""
        return self.differing - self.superseded

    def written(self, mode: Mode) -> int:
        """Rows that this mode writes."""
        every = {Mode.MERGE: self.missing, Mode.BESIDE: self.restored}
        return every.get(mode, self.missing + self.differing + self.only_live)


class Making(Piece):
    """How dropped tables are made again: statements before their rows and after them, all tables together."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


class TablePlan(Piece):
    """One table: both shapes (`live` None when it was dropped) and what the comparison found."""

    copied: Shape
    live: Shape | None = None
    counts: Counts | None = None
    fit: Fit | None = None  # which column goes where; None: by name
    notes: tuple[str, ...] = ()  # what the operator should know beside the counts
    lost: tuple[str, ...] = ()  # what does not come back
    referred_by: tuple[ForeignKey, ...] = ()  # foreign keys of others that were lost with it

    @property
    def name(self) -> str:
        return self.copied.name


def sentence(plan: TablePlan, mode: Mode) -> str:
    """What would happen to one table."""
    found = plan.counts
    if found is None:
        return f"{plan.name}: not compared"
    if plan.live is None and mode is Mode.BESIDE:
        return f"{plan.name}: all {found.restored} rows of the copy go to {beside(plan.name, RESTORED)}"
    if plan.live is None:
        return f"{plan.name}: was dropped; made again with its {found.restored} rows"
    seen = (
        f"{plan.name}: {found.live} rows live, {found.restored} in the copy; {found.missing} missing, "
        f"{found.differing} differing ({found.superseded} written later), {found.only_live} only live"
    )
    if found.elsewhere:
        seen += f", {found.elsewhere} that meet the condition live and not in the copy"
    if mode is Mode.BESIDE:
        return f"{seen}; all {found.restored} go to {beside(plan.name, RESTORED)}"
    if mode is Mode.MERGE:
        stays = f", {found.altered} altered rows stay as they are" if found.altered else ""
        return f"{seen}; {found.missing} are inserted{stays}"
    return f"{seen}; {found.missing} are inserted, {found.differing} overwritten, {found.only_live} deleted"


def held(found: Counts) -> str:
    """What is there after one table was written. Rows that merging left alone are no rows of the copy."""
    seen = f"{found.table}: all {found.restored} rows of the copy are there, {found.superseded} superseded since"
    return f"{seen}, {found.altered} with other values, as they were before" if found.altered else seen


def outside(keys: Iterable[ForeignKey], names: Iterable[str], end: str) -> tuple[ForeignKey, ...]:
    """Foreign keys whose parent (or child, as `end` says) is not one of these tables."""
    listed = set(names)
    return tuple(fk for fk in keys if getattr(fk, end) not in listed)


def orphaned(table: str, fk: ForeignKey, count: int) -> str:
    return f"{count} rows to be restored into {table} refer to rows of {fk.parent} that are not live ({fk.name})"


def bereaved(table: str, fk: ForeignKey, count: int) -> str:
    """With what the server would do to them, did somebody delete those rows by hand."""
    effect = f"; {fk.name} says {fk.effect}" if fk.effect else ""
    return f"{count} live rows of {fk.child} refer to rows of {table} that a replacement would delete{effect}"


def chosen_live(table: str) -> str:
    return f"rows of {table} meet the condition live and not in the copy, where they hold other values"


def collided(table: str, index: str, found: Collision) -> str:
    return f"{found.rows} rows to be restored into {table} have the values of another row in {index}: {found}"


def remarks(plan: TablePlan, mode: Mode) -> tuple[str, ...]:
    """What there is to say of one table beside the counts."""
    found = [*plan.notes, *(f"does not come back: {line}" for line in plan.lost)]
    live = plan.live
    if live is None or mode is Mode.BESIDE:
        return tuple(found)
    if mode is Mode.REPLACE:
        waiting = sorted({plan.name, *(fk.child for fk in live.referred_by)})
        found.append(f"{plan.name}: whoever writes to {', '.join(waiting)} waits until it is replaced")
    elif live.waits:
        found.append(f"{plan.name}: whoever writes to it waits while rows are inserted")
    if live.hooks:
        found.append(f"{plan.name}: what is written does not run its {', '.join(live.hooks)}")
    if live.caggs:
        found.append(
            f"{plan.name}: {', '.join(live.caggs)} has to be refreshed by hand: refresh_continuous_aggregate with "
            "force => true, as no trigger has noted what was written"
        )
    return tuple(found)
