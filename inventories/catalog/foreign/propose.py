"""Every table of the trading system against our catalogue: what is new, what is there already, what differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from inventories.catalog.foreign.read import ForeignTable, read
from inventories.catalog.foreign.shape import Decision, Draft, Matter, drafted
from inventories.catalog.tables import Classification, Column, Table, Tables


@dataclass(frozen=True)
class Change:
    """What an entry of ours gets: columns more, all of them optional, and ones that are optional from then on."""

    table: str
    added: tuple[Column, ...]
    eased: tuple[str, ...]


@dataclass(frozen=True)
class Proposal:
    """`new`: entries that the catalogue lacks; `there`: tables of theirs -> ours that hold the same data already."""

    new: tuple[Draft, ...]
    there: Mapping[str, str]
    changes: tuple[Change, ...]
    decisions: tuple[Decision, ...]


def propose(tables: Tables, config: Path, recovery: Path | None = None, whole: bool = False) -> Proposal:
    """Nothing is written. `whole`: every table of theirs as they have it, as though the catalogue had none.

    Raises BadInput for a file that cannot be read.
    """
    theirs = read(config)
    of_recovery = read(recovery).tables if recovery else ()
    decisions = [
        Decision(Matter.NOT_TAKEN, config.name, f"says {key} besides its tables", "left out") for key in theirs.unread
    ]
    sources = _once(theirs.tables, decisions)
    names = {one.name: one for one in sources}
    configured = frozenset(names)
    core = {one.name for one in of_recovery}
    for one in of_recovery:
        # The two name some tables differently; only the name tells that they mean the same one.
        if one.name in names:
            decisions += _differences(names[one.name], one)
        else:
            sources.append(one)
    classes = {name: table.classification for name, table in _routes(tables).items()}
    return _sorted_out({} if whole else _routes(tables), sources, classes, core, configured, decisions)


def _routes(tables: Tables) -> dict[str, Table]:
    """Every name that leads to a table of ours."""
    found = tables.tables.values()
    return {name: table for table in found for name in (table.name, table.subclassification, *table.aliases)}


def _sorted_out(
    routes: Mapping[str, Table], sources: list[ForeignTable], classes: Mapping[str, Classification], core: set[str],
    configured: frozenset[str], decisions: list[Decision],
) -> Proposal:  # fmt: skip
    """`configured`: those of the first file, which alone gives our entries columns more."""
    new: list[Draft] = []
    changes: list[Change] = []
    there: dict[str, str] = {}
    taken = {*routes, *(source.name for source in sources)}
    for source in sources:
        # By its own name: of a classification that several of their tables have, it is one that ours holds.
        ours = routes.get(source.name)
        if ours is not None:
            there[source.name] = ours.name
            draft = drafted(source, classes, core=False)
            change = _change(ours, draft) if source.name in configured else None
            decisions += _against(ours, draft, change)
            if change is not None and (change.added or change.eased):
                changes.append(change)
            continue
        draft = drafted(source, classes, source.name in core)
        if draft.table is None:
            decisions += draft.decisions
            continue
        wanted = draft.entry["subclassification"]
        if wanted in taken and wanted != source.name:
            what = f"calls its data {wanted}, which is what another table holds"
            draft.decide(Matter.CONTRADICTS, "", what, f"routed as {source.name}")
            draft.entry["subclassification"] = source.name
        taken.add(draft.entry["subclassification"])
        decisions += draft.decisions
        new.append(draft)
    return Proposal(tuple(new), there, tuple(changes), tuple(decisions))


def _change(ours: Table, draft: Draft) -> Change | None:
    """None where it is of another store, or cannot be told."""
    if draft.table is None or draft.table.store is not ours.store:
        return None
    mine, theirs = ({column.name for column in _all(table)} for table in (ours, draft.table))
    added = [column for column in draft.table.columns if column.name not in mine]
    eased = [column for column in ours.columns if column.name not in theirs and not column.nullable]
    return Change(
        ours.name,
        tuple(column.model_copy(update={"nullable": True}) for column in added),
        tuple(column.name for column in eased if column.name not in (*ours.key, "event_id")),
    )


def _once(found: Iterable[ForeignTable], decisions: list[Decision]) -> list[ForeignTable]:
    kept: dict[str, ForeignTable] = {}
    for one in found:
        if one.name in kept:
            decisions.append(Decision(Matter.CONTRADICTS, one.name, "is there twice", "the first one"))
        else:
            kept[one.name] = one
    return list(kept.values())


def _differences(one: ForeignTable, other: ForeignTable) -> Iterable[Decision]:
    """What the two files say differently of one table."""
    if one.store != other.store:
        yield Decision(Matter.CONTRADICTS, one.name, f"is for {one.store} and for {other.store}", one.store)
    here = {column.name: column for column in one.columns}
    there = {column.name: column for column in other.columns}
    for name in [*here, *(name for name in there if name not in here)]:
        where = f"{one.name}.{name}"
        if name not in there:
            yield Decision(Matter.CONTRADICTS, where, "is not in the recovery file", "taken")
        elif name not in here:
            yield Decision(Matter.CONTRADICTS, where, "is in the recovery file alone", "left out")
        else:
            mine, yours = (_spelt(column.kind, column.size) for column in (here[name], there[name]))
            if mine != yours:
                yield Decision(Matter.CONTRADICTS, where, f"is {mine}, in the recovery file {yours}", mine)
            if here[name].tag != there[name].tag:
                yield Decision(Matter.CONTRADICTS, where, "is a tag in one of the files", "as in the first")
    if one.is_hypertable != other.is_hypertable:
        yield Decision(Matter.CONTRADICTS, one.name, "is a hypertable in one of the files", "as in the first")


def _spelt(kind: str, size: tuple[int, ...]) -> str:
    same = {"INT": "INTEGER", "DECIMAL": "NUMERIC", "BINARY": "VARCHAR", "BOOL": "BOOLEAN"}
    return same.get(kind, kind) + (f"({','.join(map(str, size))})" if size else "")


def _against(ours: Table, draft: Draft, change: Change | None) -> Iterable[Decision]:
    """What their table says differently from the entry that is there."""
    if draft.table is None:
        yield from draft.decisions
        return
    mine = {column.name: column for column in _all(ours)}
    name = draft.source.name
    if draft.table.store is not ours.store:
        yield Decision(Matter.CONTRADICTS, name, f"is for {draft.table.store.value}", f"{ours.store.value} as before")
    for column in _all(draft.table):
        if column.name == "event_id":
            continue
        found = mine.get(column.name)
        if found is None:
            added = change is not None and column.name in {one.name for one in change.added}
            what = f"is {column.type} and has no column in {ours.name}"
            taken = "added, optional" if added else "left out"
            yield Decision(Matter.DOES_NOT_FIT, f"{name}.{column.name}", what, taken)
        elif found.type != column.type:
            yield Decision(
                Matter.CONTRADICTS, f"{name}.{column.name}", f"is {column.type}", f"{found.type} as in {ours.name}"
            )
    theirs = {column.name for column in _all(draft.table)}
    for column in _all(ours):
        if column.name not in theirs and not column.nullable:
            eased = change is not None and column.name in change.eased
            what = f"is needed by {ours.name}, and their rows have none"
            taken = "optional from now on" if eased else "their rows are refused without it"
            yield Decision(Matter.CONTRADICTS, f"{name}.{column.name}", what, taken)
    if set(draft.table.key) != set(ours.key):
        what = f"would be keyed by {', '.join(draft.table.key)}"
        yield Decision(Matter.CONTRADICTS, name, what, f"{', '.join(ours.key)} as in {ours.name}")
    yield from (one for one in draft.decisions if one.matter is Matter.UNSAFE and "credential" in one.what)


def _all(table: Table) -> tuple[Column, ...]:
    return (*table.columns, *(table.supertable.tags if table.supertable else ()))
