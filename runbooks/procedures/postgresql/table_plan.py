"""How each table is to come back: into which columns, made again by which statements, or why not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from inventories.errors import BadInput, Refused, TargetFailed
from runbooks.probes.postgresql import table_copy, tables
from runbooks.probes.postgresql.tables import Server
from runbooks.table_copy import definition
from runbooks.table_copy import write as sql
from runbooks.table_copy.counts import RESTORED, Making, Mode, TablePlan
from runbooks.table_copy.fit import Fit, as_text, changes, fit, other_labels
from runbooks.table_copy.meetings import new_checks
from runbooks.table_copy.names import beside, shown, split
from runbooks.table_copy.pair import Pair
from runbooks.table_copy.shape import ForeignKey, Shape, parents_first

DUMP_S = 300.0
_OF_SEQUENCES = ("CREATE SEQUENCE", "ALTER SEQUENCE")  # one that no column owns is dumped only while it is away


@dataclass(frozen=True)
class Planner:
    """Both servers, the mode, and the folder of pg_dump; `timeout` for whatever reads a whole table."""

    live: Server
    copy: Server
    mode: Mode
    bin_folder: str
    timeout: float

    def plan(self, names: Sequence[str]) -> tuple[tuple[TablePlan, ...], Making]:
        """Every table as both servers have it, parents first. Raises BadInput, Refused."""
        copied = tables.shapes(self.copy, names)
        absent = [name for name in names if name not in copied]
        if absent:
            raise BadInput(
                f"the copy has no table {absent[0]!r} at that point", nearest(absent[0], tables.names(self.copy))
            )
        near = {
            name for shape in copied.values() for fk in (*shape.foreign_keys, *shape.referred_by)
            for name in (fk.parent, fk.child, fk.whole.child)
        }  # fmt: skip
        there = tables.shapes(self.live, {*names, *near})
        _require_parents(names, copied, there)
        ordered = [copied[name] for name in parents_first(copied[name] for name in names)]
        plans = [self._one(shape, there.get(shape.name)) for shape in ordered]
        making, lost = self._making([plan.copied for plan in plans if plan.live is None])
        return tuple(
            plan.model_copy(
                update={
                    "referred_by": _left_behind(plan, there, names),
                    "lost": (*plan.lost, *lost.get(plan.name, ())),
                }
            )
            for plan in plans
        ), making  # fmt: skip

    def _one(self, copied: Shape, there: Shape | None) -> TablePlan:
        why = _unlike(copied) or (there and there.foreign and "is a foreign table now")
        if why:
            raise Refused(f"{copied.name} {why}", "tables that are logged and lie in this database can be restored")
        unheld = sorted({*copied.unheld, *(there.unheld if there else ())})
        if unheld:
            held = [name for name in copied.partitions if name not in unheld]
            raise Refused(
                f"no backup holds the rows of {', '.join(unheld)}, which {copied.name} consists of: "
                "they are unlogged, or on another server",
                f"restore its other partitions by name{': --tables ' + ','.join(held[:20]) if held else ''}",
            )
        keyless = not copied.key or (there is not None and not there.key)
        if keyless and (not copied.columns or (there and self.mode is not Mode.BESIDE)):
            raise Refused(
                f"{copied.name} has no primary key and no other that is unique: its rows cannot be compared",
                "./dr restore-pitr leaves a side cluster open to copy from by hand",
            )
        aside = as_text(copied, other_labels(copied, there)) if there else None
        if self.mode is Mode.BESIDE:
            self._can_lie_beside(copied, aside)
        if there is None:
            now = tables.called(self.live, copied.oid)
            told = f"{copied.name} is called {now} now, which stays as it is: it is made a second time"
            renamed = (told,) if now else ()
            return TablePlan(copied=copied, notes=(*renamed, *_large_objects(copied)))
        if keyless:
            return TablePlan(copied=copied, notes=(f"{copied.name} has no key: not compared",))
        fitted = self._fit(copied, there)
        wrong = fitted.refused or _other_key(copied, there, fitted)
        if wrong and self.mode is Mode.BESIDE:
            return TablePlan(copied=copied, fit=aside, notes=(f"{wrong}: not compared",))
        if wrong:
            raise Refused(wrong, f"--mode beside leaves the copy as {beside(copied.name, RESTORED)}")
        if self.mode is Mode.BESIDE:  # in the copy's own columns, whatever the live ones are
            return TablePlan(copied=copied, live=there, fit=fitted, notes=_large_objects(copied))
        there, notes = self._readable(Pair(copied, there, fit=fitted), there)
        return TablePlan(
            copied=copied, live=there, fit=fitted, lost=fitted.lost,
            notes=(*fitted.told, *notes, *_large_objects(copied), *_lost_partitions(copied, there)),
        )  # fmt: skip

    def _fit(self, copied: Shape, there: Shape) -> Fit:
        altered = changes(copied, there)
        return fit(copied, there, table_copy.losses(self.copy, copied, altered, self.timeout) if altered else {})

    def _readable(self, pair: Pair, live: Shape) -> tuple[Shape, tuple[str, ...]]:
        """The live table without those constraints that the copy's rows cannot be held against beforehand."""
        known = {index.definition for index in pair.copy.uniques} if pair.fit and pair.fit.same else set()
        left, notes = [], []
        for index in live.uniques:
            asked = [expression for expression, _ in index.elements] + ([index.predicate] if index.predicate else [])
            if index.definition in known or self._has(pair, asked):
                left.append(index)
            else:
                notes.append(f"{live.name}: whether rows collide in {index.name} shows when they are written")
        new = new_checks(pair)
        checks = [check for check in live.checks if check not in new or self._has(pair, [check.expression])]
        notes += [f"{live.name}: whether rows meet {check.name} shows when they are written"
                  for check in live.checks if check not in checks]  # fmt: skip
        return live.model_copy(update={"uniques": tuple(left), "checks": tuple(checks)}), tuple(notes)

    def _has(self, pair: Pair, expressions: Sequence[str]) -> bool:
        try:
            table_copy.accepts(self.copy, pair.origin, f"ROW({', '.join(f'({one})' for one in expressions)})")
        except TargetFailed:
            return False
        return True

    def _can_lie_beside(self, copied: Shape, aside: Fit | None) -> None:
        failed = table_copy.rehearsed(self.live, [sql.beside_table(Pair(copied, None, fit=aside))], DUMP_S)
        for why in failed.values():
            raise Refused(
                f"{beside(copied.name, RESTORED)} cannot be made: {why}",
                "./dr restore-pitr leaves a side cluster open to copy from by hand",
            )

    def _making(self, made: Sequence[Shape]) -> tuple[Making, dict[str, list[str]]]:
        """pg_dump's statements for dropped tables, tried on the live server; and what of them does not come back."""
        if not made or self.mode is Mode.BESIDE:
            return Making(), {}
        whole = definition.making(*self._dumped(self.copy, made), made)
        failed = table_copy.rehearsed(self.live, (*whole.before, *whole.after), DUMP_S)
        for statement, why in failed.items():
            if definition.essential(statement):
                raise Refused(
                    f"{' and '.join(shape.name for shape in made)} cannot be made again as it was: {why}",
                    f"make what is missing, or rename what is in the way, first; "
                    f"it was tried: {' '.join(statement.split())[:200]}",
                )
        told = [f"{why} ({' '.join(line.split())[:160]})" for line, why in failed.items() if definition.says(line)]
        lost = {made[0].name: told}
        for shape in made:
            gone = [one for one in tables.absent(self.live, shape.hanging) if not _made_too(one, made)]
            lost.setdefault(shape.name, []).extend(
                f"{kind} {identity}, which was dropped with {shape.name}" for kind, identity in gone
            )
            lost[shape.name] += [f"continuous aggregate {name} of {shape.name}" for name in shape.caggs]
        return definition.without(whole, failed), lost

    def _dumped(self, server: Server, made: Sequence[Shape]) -> tuple[str, str]:
        names = [name for shape in made for name in (shape.name, *shape.partitions)]
        used = {one.name for shape in made for one in shape.sequences}
        names += sorted(used - tables.sequences(self.live)) if used else []
        return table_copy.definitions(server, self.bin_folder, tuple(dict.fromkeys(names)), DUMP_S)

    def difference(self, making: Making, made: Sequence[Shape], live: Mapping[str, Shape]) -> tuple[str, ...]:
        """What the tables that were made again lack of their definition, and what they have too much."""
        there = [live[shape.name] for shape in made if shape.name in live]
        dumped = table_copy.definitions(
            self.live, self.bin_folder, [name for shape in made for name in (shape.name, *shape.partitions)], DUMP_S
        )
        again = definition.told(definition.making(*dumped, there))
        wanted = definition.told(making)
        return tuple(sorted(line for line in wanted ^ again if not line.startswith(_OF_SEQUENCES)))


def _made_too(thing: tuple[str, str], made: Sequence[Shape]) -> bool:
    kind, identity = thing
    return kind == "table" and shown(*split(identity)) in {
        name for shape in made for name in (shape.name, *shape.partitions)
    }


def nearest(name: str, there: frozenset[str] | set[str]) -> str:
    """A hint with the names that are nearest, and all others."""
    near = get_close_matches(name, there, n=3, cutoff=0.6)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    return f"{meant}the tables are {', '.join(sorted(there)[:40])}{', ...' if len(there) > 40 else ''}"


def _unlike(copied: Shape) -> str:
    if copied.unlogged:
        return "is unlogged: no backup holds its rows"
    return "is a foreign table: its rows lie on another server" if copied.foreign else ""


def _other_key(copied: Shape, live: Shape, fitted: Fit) -> str:
    names = {one.source: one.name for one in fitted.columns}
    if {names.get(name, name) for name in copied.key} == set(live.key):
        return ""
    return f"{copied.name} has another key than at the target: ({', '.join(copied.key)}), now ({', '.join(live.key)})"


def _large_objects(copied: Shape) -> tuple[str, ...]:
    return tuple(
        f"{copied.name}.{column.name} may hold numbers of large objects: those themselves are not restored"
        for column in copied.copied if column.type in ("oid", "lo")
    )  # fmt: skip


def _lost_partitions(copied: Shape, live: Shape) -> tuple[str, ...]:
    gone = sorted(set(copied.partitions) - set(live.partitions))
    if not live.partitioned or not gone:
        return ()
    return (f"{live.name} has lost its partitions {', '.join(gone)}: restore those first (--tables {','.join(gone)})",)


def _require_parents(names: Sequence[str], copied: Mapping[str, Shape], there: Mapping[str, Shape]) -> None:
    """Raises Refused for a dropped table whose parent was dropped too and is not restored with it."""
    for name in names:
        lost = sorted({fk.parent for fk in copied[name].foreign_keys} - {*there, *names})
        if lost and name not in there:
            raise Refused(
                f"{name} refers to {' and '.join(lost)}, which was dropped as well",
                f"restore it too: --tables {','.join([*lost, *names])}",
            )


def _left_behind(plan: TablePlan, there: Mapping[str, Shape], names: Sequence[str]) -> tuple[ForeignKey, ...]:
    """Foreign keys of living tables that a DROP ... CASCADE of this one took along."""
    has = {(fk.child, fk.name) for shape in there.values() for fk in shape.foreign_keys}
    lost = {(fk.child, fk.name): fk for fk in (one.whole for one in plan.copied.referred_by) if fk.child in there}
    return tuple(fk for key, fk in lost.items() if key not in has)
