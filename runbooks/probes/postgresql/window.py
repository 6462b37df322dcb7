"""What a delayed standby can give: from which moment on, and where in its WAL a target lies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runbooks import agent
from runbooks.hosts import Host
from runbooks.probes.postgresql.archive import Commit
from runbooks.probes.postgresql.server import as_lsn, lsn
from runbooks.table_copy.names import literal, qualified

# A checkpoint's time is one of whole seconds, rounded down: commits of the same second may be in it.
_SQL = """
select pg_last_wal_replay_lsn()::text as replayed, pg_snapshot_xmax(pg_current_snapshot())::text as next_xid,
  extract(epoch from coalesce(pg_last_xact_replay_timestamp(),
    (select checkpoint_time + interval '1 s' from pg_control_checkpoint()))) as since
"""
# A table with what is read along with it: its partitions or chunks, their indexes and what is kept beside their rows.
_RELATIONS = """
with recursive named(oid) as (values {values}),
family(oid) as (
  select oid from named union select i.inhrelid from pg_inherits i join family f on i.inhparent = f.oid
)
select oid::bigint as oid, oid in (select oid from named) as itself from family
union select indexrelid::bigint, false from pg_index join family on indrelid = family.oid
union select reltoastrelid::bigint, false from pg_class join family using (oid) where reltoastrelid <> 0
"""
LOCKED = """
select distinct relation::bigint as oid from pg_locks where mode = 'AccessExclusiveLock' and granted
  and locktype = 'relation' and relation is not null
"""


@dataclass(frozen=True)
class Window:
    """`replayed`: the LSN up to which it has replayed; `since`: no commit in it is later, unix seconds; `next_xid`: no
    transaction in it has this number or a greater one, all 64 bits.
    """

    replayed: int
    since: float
    next_xid: int = 0

    def may_hold(self, xid: int) -> bool:
        """Whether the WAL before it, which has 32 bits of a number, can mean this one."""
        return abs(xid - self.next_xid) < 1 << 31


@dataclass(frozen=True)
class Family:
    """What is read of a table: `itself` and everything that goes with it, by number; both are empty where it is not."""

    itself: frozenset[int] = frozenset()
    whole: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Lock:
    """A relation locked against reading at the stop, where that was done, and the commits between that and the stop."""

    position: int
    xid: int
    database: int
    relation: int
    commits: int


@dataclass(frozen=True)
class Place:
    """Where recovery is to stop, `stop` None where the target is not in the standby's WAL; commits on either side."""

    stop: int | None
    times: int = 0
    before: Commit | None = None
    after: Commit | None = None
    locks: tuple[Lock, ...] = ()


def look(host: Host) -> Window:
    """Raises DrError while its server does not answer."""
    row = host.query(_SQL)[0]
    return Window(lsn(row["replayed"]) or 0, float(row["since"]), int(row["next_xid"]))


def locate(
    host: Host, replayed: int, timeline: int, version: int, kind: str, value: str, inclusive: bool, timeout: float
) -> Place:
    """Where the target lies in the WAL that this standby has still to replay. Raises DrError."""
    words = ["--from", as_lsn(replayed), "--timeline", timeline, "--type", kind, f"--target={value}"]
    said = agent.ask(
        host, "postgresql.side.window", *words, *(["--inclusive"] if inclusive else []), "--version", version,
        timeout=timeout,
    )  # fmt: skip
    return Place(
        stop=lsn(said["stop"]), times=said["times"], before=_commit(said["before"]), after=_commit(said["after"]),
        locks=tuple(Lock(lsn(one["lsn"]) or 0, one["xid"], one["database"], one["relation"], one["commits"])
                    for one in said["locks"]),
    )  # fmt: skip


def _commit(said: dict[str, Any] | None) -> Commit | None:
    return Commit(lsn(said["lsn"]) or 0, said["xid"], datetime.fromisoformat(said["at"])) if said else None


def relations(host: Host, database: str, names: Sequence[str]) -> tuple[dict[str, Family], int]:
    """Each table's relations by its name, and the database's number."""
    number = host.query("select oid::bigint as oid from pg_database where datname = current_database()", database)
    return families(lambda sql: host.query(sql, database), names), int(number[0]["oid"])


def families(query: Callable[[str], list[dict[str, Any]]], names: Sequence[str]) -> dict[str, Family]:
    """The same of whatever answers this query."""
    found = {}
    for name in names:
        rows = query(_RELATIONS.format(values=f"(to_regclass({literal(qualified(name))})::oid)"))
        there = [row for row in rows if row["oid"]]
        found[name] = Family(
            frozenset(row["oid"] for row in there if row["itself"]), frozenset(row["oid"] for row in there)
        )
    return found
