"""What every PostgreSQL node says of itself, in one round trip each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from inventories.errors import DrError, Refused, TargetFailed, TimedOut
from inventories.quorum import Quorum, parsed
from runbooks.engine.budgets import budget
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from runbooks.knock import Door
from runbooks.layout import CA, FENCED, PASSFILE

SEGMENT_BYTES = 16 * 2**20
_SQL = """
select json_build_object(
  'in_recovery', r.rec,
  'system', (select system_identifier::text from pg_control_system()),
  'timeline', case when r.rec
      then coalesce((select received_tli from pg_stat_wal_receiver), (select greatest(
          -- The control file lags behind by a restartpoint; the received segments tell what it is of.
          (select timeline_id from pg_control_checkpoint()), (select max(('x' || substr(name, 1, 8))::bit(32)::int)
            from pg_ls_waldir() where name ~ '^[0-9A-F]{24}$'))))
      else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int end,
  'heard', (select coalesce(max(('x' || substr(name, 1, 8))::bit(32)::int), 0) from pg_ls_waldir()
      where name ~ '^[0-9A-F]{8}\\.history$'),
  'written', case when r.rec then pg_last_wal_receive_lsn() else pg_current_wal_lsn() end,
  'replayed', case when r.rec then pg_last_wal_replay_lsn() end,
  'replay_age_s', case when r.rec then extract(epoch from now() - pg_last_xact_replay_timestamp()) end,
  -- No commit in it is later: where it has replayed none since its start, they are all in the checkpoint it began with.
  'since_s', case when r.rec then extract(epoch from now() - coalesce(pg_last_xact_replay_timestamp(),
      (select checkpoint_time from pg_control_checkpoint()))) end,
  'replay_paused', case when r.rec then pg_is_wal_replay_paused() else false end,
  'delaying', exists (select from pg_stat_activity
    where backend_type = 'startup' and wait_event = 'RecoveryApplyDelay'),
  'receiving_from', (select sender_host from pg_stat_wal_receiver where status = 'streaming'),
  'synchronous', current_setting('synchronous_standby_names') <> '',
  'names', current_setting('synchronous_standby_names'),
  'standbys', (select coalesce(json_agg(json_build_object('name', application_name, 'state', state,
      'sync', sync_state, 'flushed', flush_lsn, 'replayed', replay_lsn,
      'lag_s', extract(epoch from replay_lag))), '[]') from pg_stat_replication),
  'archived_age_s', (select extract(epoch from now() - last_archived_time) from pg_stat_archiver),
  'archive_failing', (select coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false)
    from pg_stat_archiver),
  'lost_slots', (select coalesce(json_agg(slot_name), '[]') from pg_replication_slots where wal_status = 'lost'),
  'logical_slots', (select coalesce(json_agg(slot_name order by slot_name), '[]') from pg_replication_slots
    where slot_type = 'logical' and not temporary),
  'pending_restart', (select coalesce(json_agg(name), '[]') from pg_settings where pending_restart)
) from (select pg_is_in_recovery() as rec) r;
"""
# One command, so that a node costs one round trip. psql gets a bound of its own within it: a server that hangs is told
# by a host that answers. What runs and listens is asked of the kernel, and only where no server answered.
_LOOK = """
answer=$(export PGOPTIONS=%s
  printf '%%s' %s | runuser -u postgres -- timeout -s KILL %s psql -qAtX -d postgres 2>/dev/null)
ended=$?
plain() { head -c 300 | tr -c '[:print:]' ' ' | tr '"\\\\' "'/"; }
# Somebody may have written it by hand: nothing in it may end the text that it becomes part of.
fenced=$(plain 2>/dev/null < /etc/mystocks-dr/fenced)
test -e /etc/mystocks-dr/fenced && fenced=${fenced:-no reason given}
data=/var/lib/postgresql/%s/main
standby=$(test -e $data/standby.signal && echo true || echo false)
opened=
for one in /var/lib/postgresql/%s/side-*.d/delayed; do
  test -e "$one" && opened=${one#*/side-} && opened=${opened%%.d/delayed}
done
installed=$(test -x /usr/lib/postgresql/%s/bin/postgres && echo true || echo false)
runs= error=
if test $ended -ne 0; then
  answer=
  pid=$(timeout 1 head -n1 $data/postmaster.pid 2>/dev/null)
  test -n "$pid" && test "$(cat /proc/$pid/comm 2>/dev/null)" = postgres && runs="process $pid runs"
  test -n "$runs" || { test -n "$(ss -Hltn 'sport = :5432')" && runs="somebody listens on its port"; }
  test $ended -ne 137 && test -n "$runs" &&
    error=$(runuser -u postgres -- timeout 1 psql -X -d postgres -c '' 2>&1 | plain)
fi
printf '{"standby_signal": %%s, "opened": "%%s", "installed": %%s, "fenced": "%%s", ' \\
  "$standby" "$opened" "$installed" "$fenced"
printf '"runs": "%%s", "error": "%%s", "server": %%s}\\n' \\
  "$runs" "$error" "${answer:-null}"
"""


_COMMIT = """
BEGIN;
SELECT ('x' || substr(pg_walfile_name(pg_create_restore_point('write-path')), 1, 8))::bit(32)::int
  FROM pg_current_xact_id();
COMMIT;
"""


class Answer(StrEnum):
    """What is known of a node: what nobody knows is an answer of its own, and never "not primary"."""

    PRIMARY = "primary"
    STANDBY = "standby"
    DOWN = "down"  # its host says that no server runs there
    UNKNOWN = "unknown"  # its host cannot be asked, or has a server that does not answer


@dataclass(frozen=True)
class Standby:
    """A standby as its primary sees it; positions are LSNs as integers, the lag is seconds (None: no replay)."""

    name: str
    state: str
    sync: str
    flushed: int | None
    replayed: int | None
    lag_s: float | None

    @property
    def streams(self) -> bool:
        return self.state == "streaming"


@dataclass(frozen=True)
class Node:
    """One PostgreSQL host. `online` is whether its server answered; everything below it is None or empty when not.

    `slow`: the host did not answer in time, although nothing says that it is away.
    """

    host: Host
    ssh: bool
    slow: bool = False
    why: str = ""  # why it is unknown: SSH failed, or `runs` without an answer
    runs: bool = False  # a server, whether or not it answered
    fenced: str = ""
    standby_signal: bool = False
    opened: str = ""  # the side cluster as which it is open, a delayed standby that a restore reads
    installed: bool = True
    online: bool = False
    system: str = ""  # the database system's identifier
    in_recovery: bool | None = None
    timeline: int | None = None
    written: int | None = None  # standby: received; primary: written
    replayed: int | None = None
    replay_age_s: float | None = None
    since_s: float | None = None  # no commit that it has replayed is younger
    replay_paused: bool = False
    heard: int = 0  # the newest timeline whose history it has
    delaying: bool = False  # what it would replay next is younger than recovery_min_apply_delay lets it
    receiving_from: str | None = None
    synchronous: bool = False
    waits_for: Quorum | None = None  # whom its commits wait for, where that can be told
    standbys: tuple[Standby, ...] = ()
    archived_age_s: float | None = None
    archive_failing: bool = False
    lost_slots: tuple[str, ...] = ()
    logical_slots: tuple[str, ...] = ()  # which no other host has, and with which a start needs wal_level logical
    pending_restart: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        return self.host.name

    @property
    def answer(self) -> Answer:
        if self.online:
            return Answer.STANDBY if self.in_recovery else Answer.PRIMARY
        return Answer.DOWN if self.ssh and not self.runs else Answer.UNKNOWN

    @property
    def is_primary(self) -> bool:
        """Surely. Its opposite is not: ask `is_unknown` too where a primary that nobody sees would do harm."""
        return self.answer is Answer.PRIMARY

    @property
    def is_standby(self) -> bool:
        return self.answer is Answer.STANDBY

    @property
    def is_unknown(self) -> bool:
        return self.answer is Answer.UNKNOWN

    @property
    def hangs(self) -> bool:
        """Its host answers, its server runs and does not: SSH can fence it."""
        return self.ssh and self.is_unknown

    @property
    def position(self) -> int:
        """How far its own WAL reaches, as far as it says: after a start it has replayed what it did not receive."""
        return max(self.written or 0, self.replayed or 0)

    @property
    def streams(self) -> bool:
        return self.is_standby and self.receiving_from is not None

    @property
    def follows(self) -> bool:
        """It streams, or it is a delayed standby that waits: after a start that asks for no more before it has replayed
        what it has.
        """
        return self.streams or (self.is_standby and self.host.entry.delay_s > 0 and self.delaying)

    def follows_on(self, timeline: int) -> bool:
        """The same, and onto this timeline."""
        if self.streams:
            return self.timeline == timeline
        return self.follows and max(self.timeline or 0, self.heard) == timeline


def version(estate: Estate) -> int:
    return int(estate.data["postgres_version"])


def look(host: Host, pg_version: int, timeout: float = 8) -> Node:
    """One node within `timeout` seconds; never raises because the node is down, since that is what it is asked for."""
    door = host.knock()
    if door is not Door.OPEN:
        return Node(host, ssh=False, why=host.no_answer(door))
    patience = min(budget("server.answer"), timeout / 2)
    try:
        words = (host.session, _SQL, f"{patience:.2f}", *[pg_version] * 3)
        said = host.run(_LOOK, *words, timeout=timeout).json()
    except TimedOut as error:
        return Node(host, ssh=False, slow=True, why=str(error))
    except DrError as error:
        return Node(host, ssh=False, why=str(error))
    return _node(host, said, patience)


def ask(host: Host, pg_version: int, seconds: float) -> Node:
    """`look`, and again for so long while nobody can tell what it is: a busy server does not answer at first."""
    try:
        return until(
            lambda: look(host, pg_version), seconds, what=f"{host} to say what it is",
            accept=lambda node: not node.is_unknown, every=0.2,
        )  # fmt: skip
    except TimedOut:
        return look(host, pg_version)


def listens(host: Host, port: int = 5432) -> bool:
    """Whether anything listens on this port of the host, by the host's own word: no line between here and there."""
    return bool(host.run("ss -Hltn %s", f"sport = :{port}").text)


@dataclass(frozen=True)
class Size:
    """Bytes of all databases, and the directories of tablespaces."""

    bytes: int
    tablespaces: tuple[str, ...]


def size(host: Host) -> Size:
    """How large a copy of this server is, and where parts of it lie. Raises DrError."""
    row = host.query(
        "select (select sum(pg_database_size(oid)) from pg_database)::bigint as bytes, array(select "
        "pg_tablespace_location(oid) from pg_tablespace where pg_tablespace_location(oid) <> '') as tablespaces",
        timeout=30,
    )[0]
    return Size(row["bytes"], tuple(row["tablespaces"]))


def mark(host: Host) -> int:
    """Write a message into this primary's WAL that nobody waits for and that leaves no row; where it ends."""
    says = "pg_logical_emit_message(false, 'mystocks-dr', 'who follows')"
    return int(host.query(f"select pg_wal_lsn_diff({says}, '0/0')::bigint as at")[0]["at"])


def commit_from(viewer: Host, primary: Host, seconds: float) -> int:
    """Commit over the network, from `viewer` to exactly this host, as its clients do; the timeline that took it.

    As the monitor, who writes no table: a named point in the WAL and a transaction with a number of its own have to
    reach the disk all the same, and the standby where commits wait for one. Raises DrError.
    """
    dsn = (
        f"host={primary.name} hostaddr={primary.address} port=5432 user=monitor dbname=postgres "
        f"application_name=mystocks-probe sslmode=verify-full sslrootcert={CA} passfile={PASSFILE} connect_timeout=2"
    )
    ran = viewer.run(
        "timeout -s KILL %s psql -qAtX -v ON_ERROR_STOP=1 -d %s", seconds, dsn, user="postgres", stdin=_COMMIT,
        timeout=seconds + 3,
    )  # fmt: skip
    return int(ran.text)


def survey(estate: Estate, heard: Callable[[Node], object] = lambda _: None) -> tuple[Node, ...]:
    """Every PostgreSQL node at once, in the inventory's order. `heard` is told of each as soon as it has answered."""
    hosts, pg_version = estate.postgres, version(estate)

    def ask(host: Host) -> Node:
        node = look(host, pg_version)
        heard(node)
        return node

    with ThreadPoolExecutor(len(hosts)) as pool:
        return tuple(pool.map(ask, hosts))


def the_primary(nodes: Iterable[Node]) -> Node:
    """The one node that takes writes. Raises Refused when there is none, or when there are two."""
    nodes = tuple(nodes)
    primaries = [node for node in nodes if node.is_primary]
    if len(primaries) > 1:
        names = " and ".join(f"{node.name} (timeline {node.timeline})" for node in primaries)
        raise Refused(
            f"two primaries: {names}", "./dr rejoin HOST, with the host on the lower timeline, stops and rewinds it"
        )
    if not primaries:
        raise Refused(f"no PostgreSQL node takes writes ({told(nodes)})", way_to_a_primary(nodes))
    return primaries[0]


def way_to_a_primary(nodes: Iterable[Node]) -> str:
    """What to run while nobody takes writes: every refusal and every finding says the same."""
    nodes = tuple(nodes)
    if able := [node for node in nodes if node.is_standby and node.host.entry.synchronous]:
        return f"./dr failover --yes promotes the standby{' that has most' if len(able) > 1 else ''}"
    if hanging := [node.name for node in nodes if node.hangs]:
        return (
            f"see in PostgreSQL's log and on its disk what holds it up on {' and '.join(hanging)}; "
            "once it is stopped, ./dr start-cluster starts it"
        )
    if slow := [node.name for node in nodes if node.slow]:
        return asks_again(*slow)
    if any(node.ssh and node.installed for node in nodes):
        return "./dr start-cluster finds the one that was last, starts it, then its standbys"
    if any(node.ssh for node in nodes):
        return "./dr restore-cluster restores it from the repository; on an estate that is new ./dr deploy begins one"
    return (
        "power the hosts on, then ./dr start-cluster; where they are lost with their disks, put blank machines in "
        "their place in the inventory: ./dr restore-cluster"
    )


def asks_again(*slow: str) -> str:
    """What is known of a host that did not answer in time, or of several: nothing that anybody should act on."""
    there = " and ".join(f"ssh {name} uptime" for name in slow)
    return f"./dr status asks again; a host that stays so slow shows why on itself: {there}"


def told(nodes: Iterable[Node]) -> str:
    """What each node is, in the few words of a sentence's brackets."""
    return ", ".join(f"{node.name}: {_state(node)}" for node in nodes)


def _state(node: Node) -> str:
    if node.is_unknown:
        return node.why
    if not node.installed:
        return "PostgreSQL is not installed"
    if not node.online:
        return "fenced" if node.fenced else "PostgreSQL is down"
    if node.is_primary:
        return f"primary on timeline {node.timeline}"
    waits = "waits for its delay" if node.follows else "does not stream"
    return f"a standby that {'streams' if node.streams else waits}"


def lsn(text: str | None) -> int | None:
    """`0/3000060` as an integer; None stays None."""
    if text is None:
        return None
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def as_lsn(position: int) -> str:
    """The inverse of `lsn`."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def segment(timeline: int, position: int) -> str:
    """Name of the WAL segment file that holds this LSN of the timeline."""
    return f"{timeline:08X}{position >> 32:08X}{(position & 0xFFFFFFFF) // SEGMENT_BYTES:08X}"


def begins(segment_name: str) -> int:
    """The LSN at which the WAL segment file of this name begins, on whatever timeline."""
    return (int(segment_name[8:16], 16) << 32) + int(segment_name[16:24], 16) * SEGMENT_BYTES


# Of pg_controldata, which ends with 0 and prints what a damaged file holds. No server starts with one.
UNTRUSTWORTHY = "CRC checksum does not match"


@dataclass(frozen=True)
class ControlData:
    """pg_controldata of a stopped cluster: its state, timeline, last checkpoint's LSN."""

    state: str
    timeline: int
    checkpoint: int


def control_data(host: Host, pg_version: int) -> ControlData:
    """Raises TargetFailed when the cluster has none, or a damaged one: that is printed all the same."""
    ran = host.run(
        "LC_ALL=C /usr/lib/postgresql/%s/bin/pg_controldata /var/lib/postgresql/%s/main",
        pg_version,
        pg_version,
        user="postgres",
    )
    text = ran.stdout
    if UNTRUSTWORTHY in ran.stdout + ran.stderr:
        raise TargetFailed(f"{host.name}: the checksum of its control file is not that of its contents")
    said = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}
    position = lsn(said.get("Latest checkpoint location"))
    if position is None:
        raise TargetFailed(f"{host.name}: pg_controldata names no checkpoint: {text[:200]!r}")
    return ControlData(said["Database cluster state"], int(said["Latest checkpoint's TimeLineID"]), position)


def last_begun(host: Host, pg_version: int) -> int:
    """The highest timeline that a cluster has begun or heard of: a promotion that broke off leaves its history only."""
    seen = host.run(
        "ls /var/lib/postgresql/%s/main/pg_wal | grep -oE '^[0-9A-F]{8}' | sort | tail -n 1", pg_version
    ).text
    return int(seen or "0", 16)


def has_wal(host: Host, pg_version: int) -> bool:
    """Whether anything is left of a stopped cluster's WAL."""
    return host.run("test -d /var/lib/postgresql/%s/main/pg_wal", pg_version, expect=None).rc == 0


def last_timeline(host: Host, pg_version: int) -> int:
    """The highest timeline of a stopped cluster: after a promotion its WAL knows it before the control file does."""
    seen = host.run(
        "ls /var/lib/postgresql/%s/main/pg_wal | grep -E '^[0-9A-F]{24}' | cut -c1-8 | sort | tail -n 1", pg_version
    ).text
    return max(control_data(host, pg_version).timeline, int(seen or "0", 16))


def fork_points(primary: Host, pg_version: int, timeline: int) -> dict[int, int]:
    """timeline -> LSN at which its successor left it, from the primary's history file; empty on timeline 1."""
    if timeline == 1:
        return {}
    text = primary.run(
        "cat /var/lib/postgresql/%s/main/pg_wal/%s.history", pg_version, f"{timeline:08X}", user="postgres"
    ).stdout
    rows = (line.split() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return {int(row[0]): position for row in rows if (position := lsn(row[1])) is not None}


def _node(host: Host, said: dict[str, Any], patience: float = 0) -> Node:
    server = said["server"]
    common: dict[str, Any] = {
        "ssh": True, "fenced": said["fenced"].strip(), "standby_signal": said["standby_signal"],
        "opened": said.get("opened", ""),
        "installed": said["installed"], "runs": bool(said["runs"]) or server is not None,
    }  # fmt: skip
    if server is None:
        return Node(host, **common, why=_hanging(said, patience) if said["runs"] else "")
    plain = (
        "system",
        "in_recovery",
        "timeline",
        "replay_age_s",
        "since_s",
        "replay_paused",
        "heard",
        "delaying",
        "receiving_from",
        "synchronous",
        "archived_age_s",
        "archive_failing",
    )
    return Node(
        host,
        **common,
        **{key: server[key] for key in plain},
        online=True,
        waits_for=parsed(server.get("names", "")),
        written=lsn(server["written"]),
        replayed=lsn(server["replayed"]),
        standbys=tuple(_standby(row) for row in server["standbys"]),
        lost_slots=tuple(server["lost_slots"]),
        logical_slots=tuple(server["logical_slots"]),
        pending_restart=tuple(server["pending_restart"]),
    )


def _hanging(said: dict[str, Any], patience: float) -> str:
    """Why a server that runs gave no answer: it hangs, or it has said something else."""
    told = " ".join(said["error"].split()).removeprefix("psql: error: ")
    if told:
        return f"PostgreSQL does not serve ({said['runs']}): {told}"
    return f"PostgreSQL hangs ({said['runs']} and did not answer within {patience:g} s)"


def _standby(row: dict[str, Any]) -> Standby:
    return Standby(row["name"], row["state"], row["sync"], lsn(row["flushed"]), lsn(row["replayed"]), row["lag_s"])


__all__ = [
    "FENCED", "Answer", "ControlData", "Node", "Standby", "as_lsn", "ask", "commit_from", "control_data", "fork_points",
    "has_wal", "last_timeline", "listens", "look", "lsn", "segment", "survey", "the_primary", "told", "version",
]  # fmt: skip
