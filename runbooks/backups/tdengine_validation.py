"""`./dr validate`: TDengine's tables against the newest backup, its rows and its outbox against what must not be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from inventories.catalog import load_tables
from inventories.catalog.tables import OnConflict, Store
from inventories.errors import BadInput, DrError
from runbooks.engine.budgets import budget
from runbooks.engine.lock import state_dir
from runbooks.hosts import Estate
from runbooks.marks import holding
from runbooks.probes import outbox
from runbooks.probes.outbox import TDENGINE
from runbooks.probes.tdengine import backups, restore, servers
from runbooks.probes.tdengine.restore import Comparison
from runbooks.procedures.postgresql import targets
from runbooks.procedures.tdengine.common import required
from runbooks.tdengine.selection import TdSelection, check_name
from runbooks.validation import samples, td_samples, td_structure, times
from runbooks.validation.difference import Check, Difference, Looked


@dataclass(frozen=True)
class Validation:
    """`waiting`: rows of the outboxes that are not in TDengine yet; `dead`: those that it refused for what they are.

    Of `growing` tables no row is written again. `acknowledged`: what became of those that had been acknowledged by the
    time of a mark. `sampled`: the sample queries, `ms` their milliseconds. `structure`: what is there at all.
    """

    comparison: Comparison
    waiting: int
    dead: int
    acknowledged: Looked | None = None
    sampled: Looked | None = None
    structure: Looked | None = None
    growing: frozenset[str] = frozenset()
    ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def looked(self) -> tuple[Looked, ...]:
        """The checks beside the comparison."""
        return tuple(one for one in (self.structure, self.acknowledged, self.sampled) if one is not None)

    @property
    def sound(self) -> bool:
        return self.comparison.sound and not (self.dead or self.wrong) and all(one.sound for one in self.looked)

    @property
    def wrong(self) -> tuple[str, ...]:
        """Sentences of what the comparison counts and does not judge: rows that are otherwise in a table of which no
        row is ever written again, and none at all.
        """
        found = self.comparison
        nothing = [] if any(one.rows for one in found.tables) else ["no row was compared, which proves nothing"]
        said = [
            f"{one.other:,} rows of {one.table} are not what they were, and nobody writes a row of it again"
            for one in found.tables if one.other and one.table in self.growing
        ]  # fmt: skip
        return (*said, *nothing)

    @property
    def brief(self) -> str:
        """One sentence."""
        dead = f"; {self.dead:,} dead letters" if self.dead else ""
        refused = sum(len(one.differences) for one in self.looked)
        more = f"; {refused:,} differences beside, the first: {self._first}" if refused else ""
        return f"{'; '.join((self.comparison.sentence, *self.wrong))}{dead}{more}"

    @property
    def _first(self) -> Difference:
        return next(one for check in self.looked for one in check.differences)

    @property
    def warns(self) -> str:
        """Nothing of TDengine's ends by a calendar."""
        return ""

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "growing": sorted(self.growing), "wrong": self.wrong, "sound": self.sound}

    def render(self) -> str:
        """A line for each supertable, then a sentence."""
        found = self.comparison
        lines = [
            f"{one.table}: {one.rows:,} rows in {found.label}, {one.missing:,} missing, {one.other:,} with other "
            f"content, {one.live:,} live in the same hours"
            for one in found.tables
        ]
        lines.append(f"{found.sentence[0].upper()}{found.sentence[1:]}, compared in {found.seconds:.1f} s.")
        lines += [f"NOT as it was: {one}." for one in self.wrong]
        lines.append(f"TDengine's outbox: {self.waiting:,} rows wait, {self.dead:,} dead letters.")
        for one in self.looked:
            lines += [*map(str, one.differences), str(one)]
        if found.lost:
            lines.append("HINT: ./dr tdengine-restore shows what it would write, and writes it with --yes.")
        elif any(one.other for one in found.tables if one.table in self.growing):
            lines.append("HINT: ./dr tdengine-restore --mode overwrite, with --yes, takes the backup's rows.")
        return "\n".join(lines)


def validate(estate: Estate, selection: TdSelection, kept: Path | None = None, save: bool = False) -> Validation:
    """Nothing is written but what sample queries took, where that is to be saved: in `kept`, the estate's own file
    without one. Raises BadInput where no TDengine is deployed or the selection fits no backup, DrError.
    """
    check_name(selection.into)
    if not servers.hosts(estate) or not backups.is_there(estate):
        raise BadInput(
            f"estate {estate.name} has no TDengine with backups",
            "--store postgresql validates PostgreSQL; ./dr deploy with tdengine_package deploys TDengine",
        )
    found = restore.compare(estate.backup, selection, budget("restore.compare"), required())
    seen = [outbox.status(box) for box in outbox.boxes(estate, TDENGINE)]
    kept = kept or state_dir() / "baselines" / f"{quote(estate.name, safe='')}.tdengine.json"
    sampled, ms = _sampled(estate, found.database, selection.tables, times.took(kept, estate.name))
    if save:
        times.save(kept, estate.name, ms)
    waiting, dead = sum(one.pending_rows for one in seen), sum(one.dead_rows for one in seen)
    growing = frozenset(one.name for one in load_tables().of(Store.TDENGINE) if one.on_conflict is OnConflict.IGNORE)
    # Of a part, and of another database than the declared one, it says nothing.
    whole = not (selection.is_part or selection.into)
    structure = td_structure.look(estate, [one.table for one in found.tables]) if whole else None
    return Validation(found, waiting, dead, sampled=sampled, structure=structure, growing=growing, ms=ms)


def _sampled(
    estate: Estate, database: str, tables: tuple[str, ...], before: Mapping[str, float]
) -> tuple[Looked | None, Mapping[str, float]]:
    """The check of the sample queries, none where no table of theirs is looked at, and their milliseconds."""
    names = td_samples.fitting(load_tables(), tables)
    if not names:
        return None, {}
    try:
        asked = td_samples.ask(estate.backup, database, names, budget("validate.look"))
    except DrError as error:
        nobody = Difference(Check.SAMPLE, td_samples.TICKS, "all of them", "answers", str(error))
        return Looked(Check.SAMPLE, "queries", 0, "", (nobody,)), {}
    return samples.judge(asked, before, (), td_samples.SAMPLES), asked.ms


def against_mark(
    estate: Estate, selection: TdSelection, name: str, kept: Path | None = None, save: bool = False
) -> Validation:
    """Against the backup that a mark bound, and what had been acknowledged by then. Raises BadInput, Refused, DrError.

    Symbols, a time and another database narrow the backup's part alone.
    """
    held = holding.find(estate, name, TDENGINE)
    label = holding.backup_of(estate, held.mark)
    found = validate(estate, selection.model_copy(update={"label": label}), kept, save)
    since = targets.moment(selection.since).timestamp() if selection.since else 0.0
    return replace(found, acknowledged=holding.looked(held, since, selection.tables))
