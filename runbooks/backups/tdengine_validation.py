"""`./dr validate`: TDengine's tables against the newest backup, its rows and its outbox against what must not be."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from inventories.errors import BadInput
from runbooks.engine.budgets import budget
from runbooks.hosts import Estate
from runbooks.marks import holding
from runbooks.probes import app
from runbooks.probes.outbox import TDENGINE
from runbooks.probes.tdengine import backups, restore, servers
from runbooks.probes.tdengine.restore import Comparison
from runbooks.procedures.postgresql import targets
from runbooks.procedures.tdengine.common import WRITER, required
from runbooks.tdengine.selection import TdSelection, check_name
from runbooks.validation.difference import Looked


@dataclass(frozen=True)
class Validation:
    """`waiting`: rows of the outbox that are not in TDengine yet; `dead`: those that it refused for what they are.

    `acknowledged`: what became of those that had been acknowledged by the time of a mark.
    """

    comparison: Comparison
    waiting: int
    dead: int
    acknowledged: Looked | None = None

    @property
    def sound(self) -> bool:
        held = self.acknowledged is None or self.acknowledged.sound
        return self.comparison.sound and not self.dead and held

    @property
    def brief(self) -> str:
        """One sentence."""
        dead = f"; {self.dead:,} dead letters" if self.dead else ""
        return f"{self.comparison.sentence}{dead}"

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
        if self.acknowledged is not None:
            lines += [*map(str, self.acknowledged.differences), str(self.acknowledged)]
        if found.lost:
            lines.append("HINT: ./dr tdengine-restore shows what it would write, and writes it with --yes.")
        return "\n".join(lines)


def validate(estate: Estate, selection: TdSelection) -> Validation:
    """Nothing is written. Raises BadInput where no TDengine is deployed or the selection fits no backup, DrError."""
    check_name(selection.into)
    if not servers.hosts(estate) or not backups.is_there(estate):
        raise BadInput(f"estate {estate.name} has no TDengine with backups", "./dr deploy with tdengine_package")
    found = restore.compare(estate.backup, selection, budget("restore.compare"), required())
    box = app.outbox(estate.app, settings=WRITER)
    return Validation(found, box.pending_rows, box.dead_rows)


def against_mark(estate: Estate, selection: TdSelection, name: str) -> Validation:
    """Against the backup that a mark bound, and what had been acknowledged by then. Raises BadInput, Refused, DrError.

    Symbols, a time and another database narrow the backup's part alone.
    """
    held = holding.find(estate, name, TDENGINE)
    label = holding.backup_of(estate, held.mark)
    found = validate(estate, selection.model_copy(update={"label": label}))
    since = targets.moment(selection.since).timestamp() if selection.since else 0.0
    return replace(found, acknowledged=holding.acknowledged(held, since, selection.tables))
