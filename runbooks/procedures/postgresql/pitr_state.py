"""What restore-pitr is told, and what it knows on its way."""

from __future__ import annotations

from typing import ClassVar

from inventories.errors import VerificationFailed
from runbooks.engine.context import Options
from runbooks.hosts import Run
from runbooks.probes.postgresql import side
from runbooks.probes.postgresql.server import as_lsn
from runbooks.procedures.postgresql import beside, targets
from runbooks.procedures.postgresql.roles import Roles
from runbooks.procedures.postgresql.targets import Target

SIDE = "pitr"  # the side cluster's name


class RestorePitrOptions(Options):
    """One of the four targets, exclusive unless `inclusive`. Empty `backup_set` chooses the backup, `timeline` 0
    follows the primary's own. `on`: the host to restore on, empty for the inventory's `side_host`. `swap`: put the side
    cluster in the primary's place. `replace`: drop an open side cluster of another request. `hurry`: give way to
    nobody. `drop_replaced`: delete the replaced data directory once everything is verified. `source`: "delayed" for a
    delayed standby alone, "repository" for a backup alone; empty takes the first where it can give the target.
    """

    added_later: ClassVar[frozenset[str]] = frozenset({"swap", "replace", "drop_replaced", "hurry"})
    only_if_said: ClassVar[frozenset[str]] = frozenset({"repo"})
    to_time: str = ""
    to_lsn: str = ""
    to_xid: str = ""
    to_name: str = ""
    inclusive: bool = False
    backup_set: str = ""
    repo: int = 1
    timeline: int = 0
    on: str = ""
    replace: bool = False
    hurry: bool = False
    swap: bool = False
    drop_replaced: bool = False
    source: str = ""


class RestorePitr(Roles):
    """`goal`: the timeline that recovery follows; `was_synchronous`: commits waited for the standby; `covered`: the
    archive holds a commit of the living primary that is later than the target; `located`: LSN of a transaction's end or
    a restore point; `told`: what the operator reads.
    """

    target: Target
    side: str = SIDE  # the side cluster's name
    at: str = ""  # the host that it is on; empty: the primary's own
    served: bool = False  # the database hosts may read it from another host
    goal: int = 0
    was_synchronous: bool = True
    covered: bool = False
    located: int | None = None
    delayed: str = ""  # the delayed standby that is opened; empty: a backup is restored
    stop_lsn: int = 0  # before the record at which it stops
    label: str = ""
    skipped: tuple[str, ...] = ()
    side_lsn: int = 0
    restore_s: float = 0.0
    replay_s: float = 0.0
    bytes: int = 0
    wal_bytes: int = 0
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    discarded_bytes: int = 0
    replaced: str = ""
    replaced_bytes: int = 0
    rebuilt: bool = False
    told: tuple[str, ...] = ()

    @property
    def stop(self) -> Target:
        """What recovery is told. A name may stand twice in the WAL and PostgreSQL stops at the first; of a transaction
        id it reads half, and of a part of a transaction nothing: the position of what was found means one thing.
        """
        if self.delayed:
            return Target(kind="lsn", value=as_lsn(self.stop_lsn))
        if self.located is None:
            return self.target
        inclusive = self.target.kind == "name" or self.target.inclusive
        return Target(kind="lsn", value=as_lsn(self.located), inclusive=inclusive)


def wanted(context: Run) -> RestorePitr:
    """The target as the operator gave it. Raises BadInput."""
    given = context.options
    target = targets.parse(
        to_time=given.to_time, to_lsn=given.to_lsn, to_xid=given.to_xid, to_name=given.to_name,
        inclusive=given.inclusive,
    )  # fmt: skip
    return RestorePitr(target=target)


def lease_of(context: Run) -> str:
    return context.run_dir.name


def is_same(there: side.SideCluster, state: RestorePitr) -> bool:
    """Whether the side cluster was restored for this very target, from this backup."""
    asked, target = there.target, state.stop
    return asked is not None and (asked.kind, asked.value, asked.inclusive, asked.timeline, there.set) == (
        target.kind, target.value, target.inclusive, str(state.goal), state.label,
    )  # fmt: skip


def side_of(context: Run, state: RestorePitr) -> side.SideCluster:
    """Raises VerificationFailed when it is gone."""
    host = beside.host_of(context, state)
    seen = side.look(host, state.side)
    if seen is None:
        raise VerificationFailed(f"{host} has no side cluster {state.side}", "start afresh, without --resume")
    return seen
