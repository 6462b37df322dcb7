"""`./dr validate`: TDengine's tables against the newest backup, its rows and its outbox against what must not be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from inventories.catalog import load_tables
from inventories.errors import BadInput, DrError
from runbooks.engine.budgets import budget
from runbooks.engine.lock import state_dir
from runbooks.hosts import Estate
from runbooks.marks import holding
from runbooks.probes import app
from runbooks.probes.outbox import TDENGINE
from runbooks.probes.tdengine import backups, restore, servers
from runbooks.probes.tdengine.restore import Comparison
from runbooks.procedures.postgresql import targets
from runbooks.procedures.tdengine.common import WRITER, required
from runbooks.tdengine.selection import TdSelection, check_name
from runbooks.validation import samples, td_samples, times
from runbooks.validation.difference import Check, Difference, Looked


@dataclass(frozen=True)
class Validation:
    """`waiting`: rows of the outbox that are not in TDengine yet; `dead`: those that it refused for what they are.

    `acknowledged`: what became of those that had been acknowledged by the time of a mark. `sampled`: the sample
    queries, `ms` their milliseconds.
    """

    comparison: Comparison
    waiting: int
    dead: int
    acknowledged: Looked | None = None
    sampled: Looked | None = None
    ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def looked(self) -> tuple[Looked, ...]:
        """The checks beside the comparison."""
        return tuple(one for one in (self.acknowledged, self.sampled) if one is not None)

    @property
    def sound(self) -> bool:
        return self.comparison.sound and not self.dead and all(one.sound for one in self.looked)

    @property
    def brief(self) -> str:
        """One sentence."""
        dead = f"; {self.dead:,} dead letters" if self.dead else ""
        refused = sum(len(one.differences) for one in self.looked)
        more = f"; {refused:,} differences beside, the first: {self._first}" if refused else ""
        return f"{self.comparison.sentence}{dead}{more}"

    @property
    def _first(self) -> Difference:
        return next(one for check in self.looked for one in check.differences)

    @property
    def warns(self) -> str:
        """Nothing of TDengine's ends by a calendar."""
        return ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> str:
        """A line for each supertable, then a sentence."""
        found = self.comparison
        lines = [
            f"{one.table}: {one.rows:,} rows in {found.label}, {one.missing:,} missing, {one.other:,} with other "
            f"content, {one.live:,} live in the same hours"
            for one in found.tables
        ]
        lines.append(f"{found.sentence[0].upper()}{found.sentence[1:]}, compared in {found.seconds:.1f} s.")
        lines.append(f"TDengine's outbox: {self.waiting:,} rows wait, {self.dead:,} dead letters.")
        for one in self.looked:
            lines += [*map(str, one.differences), str(one)]
        if found.lost:
            lines.append("HINT: ./dr tdengine-restore shows what it would write, and writes it with --yes.")
        return "\n".join(lines)


def validate(estate: Estate, selection: TdSelection, kept: Path | None = None, save: bool = False) -> Validation:
    """Nothing is written but what sample queries took, where that is to be saved: in `kept`, the estate's own file
    without one. Raises BadInput where no TDengine is deployed or the selection fits no backup, DrError.
    """
    check_name(selection.into)
    if not servers.hosts(estate) or not backups.is_there(estate):
        raise BadInput(f"estate {estate.name} has no TDengine with backups", "./dr deploy with tdengine_package")
    found = restore.compare(estate.backup, selection, budget("restore.compare"), required())
    box = app.outbox(estate.app, settings=WRITER)
    kept = kept or state_dir() / "baselines" / f"{quote(estate.name, safe='')}.tdengine.json"
    sampled, ms = _sampled(estate, found.database, selection.tables, times.took(kept, estate.name))
    if save:
        times.save(kept, estate.name, ms)
    return Validation(found, box.pending_rows, box.dead_rows, sampled=sampled, ms=ms)


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
    return replace(found, acknowledged=holding.acknowledged(held, since, selection.tables))
