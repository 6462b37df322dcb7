"""How far a restore is: the unit that copies files, then the server that replays WAL."""

from __future__ import annotations

from dataclasses import dataclass

from inventories.errors import TargetFailed, Unreachable
from runbooks.hosts import Host
from runbooks.layout import RESTORE_LOG, RESTORE_UNIT, Layout
from runbooks.probes.postgresql import ground
from runbooks.probes.postgresql.server import as_lsn, begins, lsn

_LOOK = """
echo "unit=$(systemctl is-active %s)"
echo "said=$(grep -hv '^HINT:' %s 2>/dev/null | tail -n1)"
"""
# The startup process waits between two rounds only when neither archive, pg_wal nor a primary has more for it.
_REPLAY = """
select pg_is_in_recovery() as recovers, pg_last_wal_replay_lsn() as replayed,
  extract(epoch from pg_last_xact_replay_timestamp()) as last_commit_at,
  (select min_recovery_end_timeline from pg_control_recovery()) as timeline,
  (select timeline_id from pg_control_checkpoint()) as checkpoint_timeline,
  coalesce((select wait_event in ('RecoveryRetrieveRetryInterval', 'RecoveryWalStream')
    from pg_stat_activity where backend_type = 'startup'), false) as waits
"""


@dataclass(frozen=True)
class Copying:
    """`running`, `done` (files are whole), or neither: it failed, was stopped, never began. `why`: its last error."""

    running: bool
    done: bool
    why: str


@dataclass(frozen=True)
class Replay:
    """A server in recovery. `replayed` is an LSN as integer; `last_commit_at` unix seconds by the old primary's clock;
    `waits`: it has looked everywhere for more WAL and found none.
    """

    recovers: bool
    replayed: int
    last_commit_at: float | None
    timeline: int
    waits: bool

    def has(self, newest: str) -> bool:
        """Whether the segment of this name, the newest of the archive, has been replayed, as far as it is complete."""
        if not newest:
            return True
        # A record that continues in the segment after it is not there, so the last position lies inside.
        return self.replayed > begins(newest)


def copying(host: Host, layout: Layout, label: str) -> Copying:
    """How far the restore of this backup is. Raises DrError when the host does not answer."""
    ran = host.run(_LOOK, RESTORE_UNIT, RESTORE_LOG)
    values = dict(line.partition("=")[::2] for line in ran.stdout.splitlines())
    if values.get("unit") in ("active", "activating"):
        return Copying(True, False, "")
    return Copying(False, ground.restored(host, layout) == label, values.get("said", ""))


def replay(host: Host) -> Replay:
    """Raises Unreachable while the server takes no connection yet."""
    try:
        row = host.query(_REPLAY, timeout=20)[0]
    except TargetFailed as error:
        raise Unreachable(f"{host.name} does not take connections yet: {error}") from error
    return Replay(
        recovers=row["recovers"],
        replayed=lsn(row["replayed"]) or 0,
        last_commit_at=row["last_commit_at"],
        timeline=max(row["timeline"] or 0, row["checkpoint_timeline"] or 0),
        waits=row["waits"],
    )


__all__ = ["Copying", "Replay", "as_lsn", "copying", "replay"]
