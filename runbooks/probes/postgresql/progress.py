"""How far a server is that replays WAL."""

from __future__ import annotations

from dataclasses import dataclass

from inventories.errors import TargetFailed, Unreachable
from runbooks.hosts import Host
from runbooks.probes.postgresql.server import Node, as_lsn, begins, lsn

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


# Before a server is consistent it takes no connection, and the startup process tells in its title what it replays.
_STARTUP = "ps -C postgres -o args= | sed -n 's/.*startup recovering \\([0-9A-F]\\{24\\}\\).*/\\1/p' | head -n1"


def replayed(node: Node) -> int:
    """How far it has replayed, in bytes; 0 where neither the server nor its startup process tells."""
    if node.online:
        return node.replayed or 0
    if not node.runs:
        return 0
    segment = node.host.run(_STARTUP, expect=None).text
    return begins(segment) if segment else 0


__all__ = ["Replay", "as_lsn", "replay", "replayed"]
