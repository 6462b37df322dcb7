"""`./dr validate`: TDengine's tables against the newest backup, its rows and its outbox against what must not be."""

from __future__ import annotations

from dataclasses import dataclass

from inventories.errors import BadInput
from runbooks.engine.budgets import budget
from runbooks.hosts import Estate
from runbooks.probes import app
from runbooks.probes.tdengine import backups, restore, servers
from runbooks.probes.tdengine.restore import Comparison
from runbooks.procedures.tdengine.common import WRITER, required
from runbooks.tdengine.selection import TdSelection, check_name


@dataclass(frozen=True)
class Validation:
    """`waiting`: rows of the outbox that are not in TDengine yet; `dead`: those that it refused for what they are."""

    comparison: Comparison
    waiting: int
    dead: int

    @property
    def sound(self) -> bool:
        return self.comparison.sound and not self.dead

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
