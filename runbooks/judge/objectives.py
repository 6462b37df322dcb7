"""Judge what was seen against what was promised: findings with measured and limit, degraded states as sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from inventories.catalog.load import load_recovery
from inventories.catalog.recovery import Limits
from inventories.quorum import DECLARED_ASYNCHRONOUS, NOBODY
from runbooks.judge import (
    certificates,
    clocks,
    locks,
    marks,
    monitoring,
    outbox,
    promotion,
    record,
    shadow,
    sqlite,
    tdengine,
    tracker,
    untold,
    validation,
    watch,
)  # fmt: skip
from runbooks.judge.finding import Finding as Finding
from runbooks.layout import slot as slot_of
from runbooks.look.status import SLOW, Status
from runbooks.probes.durations import span
from runbooks.probes.jobs import Late
from runbooks.probes.postgresql import server
from runbooks.probes.postgresql.server import Node, Standby

SYNCHRONOUS = ("sync", "quorum")
CLOCKS_S = 60  # by how much the operator's clock and the hosts' may differ


@dataclass(frozen=True)
class Loss:
    """What would be lost if the primary's host vanished now: WAL bytes (None: nobody can tell), as a sentence."""

    wal_bytes: int | None
    sentence: str


def findings(status: Status, limits: Limits) -> tuple[Finding, ...]:
    """Everything that is not as promised; empty when all is well."""
    return tuple(one for found in by_part(status, limits).values() for one in found)


def by_part(status: Status, limits: Limits) -> dict[str, tuple[Finding, ...]]:
    """The same by the part of the estate that it concerns, in the order in which to act; every part has its entry."""
    promised = load_recovery()
    most_s = promised.disaster_recovery.validation_age_s
    late_clocks = " ".join(one.sentence for one in _late_clocks(status))
    ticks, labels = status.tdengine_outbox, status.tdengine_backups
    found: dict[str, Iterable[Finding]] = {
        "writes": _primaries(status),
        "standbys": _servers(status),
        "promotion": promotion.findings(status.nodes, status.promotions, status.unknown),
        "replication": _replication(status, limits),
        "record": record.findings(status),
        "backups": _backups(status, limits),
        "jobs": _jobs(status),
        "alarm-command": untold.findings(status.jobs),
        "clocks": clocks.findings(status.clocks, late_clocks),
        "archive": _archive(status, limits),
        "outbox": _outbox(status, limits),
        "tdengine": tdengine.findings(status.tdengine, labels),
        "tdengine-outbox": outbox.findings(ticks, limits, outbox.TDENGINE) if ticks else (),
        "shadows": _shadows(status),
        "tdengine-backups": tdengine.backups(labels, status.jobs, status.at, limits.max_backup_age_h),
        "sqlite": sqlite.findings(status.sqlite, limits.max_sqlite_snapshot_age_h),
        "tracker": _tracker(status, limits),
        "disks": _disks(status, limits),
        "locks": locks.findings(status.locks, limits.max_locks_used_percent),
        "certificates": certificates.findings(status.certificates, status.at, limits.min_certificate_days),
        "watch": watch.findings(status.watches),
        "marks": marks.findings(status.marks, status.mark_timers, promised.marks.every_min, status.at),
        "monitoring": monitoring.findings(status.monitoring),
        "validation": validation.findings(status.validations, status.at),
        "validation-age": validation.late(status.validations, most_s, status.at),
    }
    return {part: tuple(some) for part, some in found.items()}


def _tracker(status: Status, limits: Limits) -> Iterator[Finding]:
    yield from tracker.findings(status.primary.name if status.primary else "", status.tracker)
    if status.tracker_outbox is not None:
        yield from outbox.findings(status.tracker_outbox, limits, outbox.TRACKER)


def possible_loss(status: Status) -> Loss:
    """Of the rows that the store has acknowledged; the outbox keeps its own on the application host."""
    primary = status.primary
    if primary is None:
        return Loss(None, "unknown: there is no single primary. New rows are acknowledged by the outbox.")
    streaming = [standby for standby in _ours(status, primary) if standby.streams]
    in_step = [standby.name for standby in streaming if standby.sync in SYNCHRONOUS]
    if primary.synchronous and in_step:
        waits = primary.waits_for
        which = f"on {waits.least} of" if waits and len(waits.others(primary.name)) > 1 else "on"
        return Loss(0, f"none of the acknowledged rows: each is on {primary.name} and {which} {' or '.join(in_step)}.")
    if primary.synchronous:
        return Loss(0, "none of the acknowledged rows: commits wait for a standby, and none streams, so they hang.")
    if streaming:
        behind = min((primary.written or 0) - (standby.flushed or 0) for standby in streaming)
        names = " and ".join(standby.name for standby in streaming)
        return Loss(max(0, behind), f"{size(max(0, behind))} of WAL: {names} streams, but no commit waits for it.")
    return _loss_without_standby(status, primary)


def _ours(status: Status, primary: Node) -> list[Standby]:
    """Without whoever else reads its WAL: a backup, an archive, a subscriber holds no copy that is promoted, nor
    does a delayed standby, which is behind on purpose.
    """
    names = {node.name for node in status.nodes if not node.host.entry.delay_s}
    return [standby for standby in primary.standbys if standby.name in names]


def _loss_without_standby(status: Status, primary: Node) -> Loss:
    archiver = status.archiving.get(primary.name)
    if archiver is None or archiver.open_bytes is None or archiver.last_archived_age_s is None:
        why = f"only {primary.name} has it, and no segment of its timeline is archived yet"
        return Loss(None, f"everything since the newest backup: {why}.")
    if not archiver.open_bytes:
        return Loss(0, f"none at this moment: {primary.name} stands alone, and the archive holds all of its WAL.")
    return Loss(
        archiver.open_bytes,
        f"the rows of the last {duration(archiver.last_archived_age_s)} ({size(archiver.open_bytes)} of WAL): "
        f"only {primary.name} has them, the archive ends at {archiver.last_archived}.",
    )


def degraded(status: Status) -> tuple[str, ...]:
    """States that work and protect less than they should, each as a sentence."""
    return (*_degraded(status), *tdengine.degraded(status.tdengine), *tdengine.left_out(status.jobs))


def _degraded(status: Status) -> Iterator[str]:
    for node in status.nodes:
        if node.fenced:
            yield f"{node.name} is fenced: {node.fenced}."
        if node.pending_restart:
            told = ", ".join(node.pending_restart)
            yield f"{node.name} needs a restart for {told}: ./dr switchover, and back, gives it to each in its turn."
        if node.lost_slots:
            yield f"{node.name} has slots that lost their WAL: {', '.join(node.lost_slots)}."
        if node.name in status.archiving and status.archiving[node.name].failing:
            yield f"The archiver of {node.name} failed at its last attempt."
    primary = status.primary
    if primary and not primary.synchronous and status.asynchronous:
        yield f"ASYNCHRONOUS BY CHOICE: {price(primary.name)}."
    elif primary and not primary.synchronous:
        known = record.record(status)
        why = f" It is recorded as {known.mode} since {known.since}: {known.why}." if known else ""
        yield f"Replication is asynchronous: {primary.name} acknowledges rows that nobody else has.{why}"
    if primary and _hangs(primary):
        yield f"Commits on {primary.name} wait for a standby that is not there."
    newest = status.repository.newest if status.repository else None
    if primary and newest and newest.timeline != primary.timeline:
        yield (
            f"The newest backup is of timeline {newest.timeline} and {primary.name} is on {primary.timeline}: "
            "a restore needs every segment in between."
        )
    if status.jobs and status.jobs.offsite is None:
        yield "There is no off-site copy: the inventory has no host in group offsite."
    box = status.outbox
    if box and box.pending_rows:
        yield f"The outbox holds {box.pending_rows} rows, the oldest for {duration(box.oldest_age_s or 0)}."


def price(primary: str) -> str:
    """What it costs that commits wait for nobody by declaration."""
    return (
        f"{DECLARED_ASYNCHRONOUS}. With {primary} go the rows that no standby has yet; no watch fails over by itself, "
        "./dr failover asks for --accept-loss, and ./dr reconcile sends again what the applications' shadow has kept"
    )


def _hangs(primary: Node) -> bool:
    in_step = sum(s.sync in SYNCHRONOUS and s.streams for s in primary.standbys)
    return primary.synchronous and in_step < (primary.waits_for.least if primary.waits_for else 1)


def _primaries(status: Status) -> Iterator[Finding]:
    if len(status.primaries) > 1:
        names = " and ".join(f"{node.name} (timeline {node.timeline})" for node in status.primaries)
        hint = "./dr rejoin HOST --yes for the one on the lower timeline: stops it, keeps what only it has"
        yield Finding("hosts that take writes", names, "one", hint)
    if not status.primaries:
        yield _no_primary(status)


def _no_primary(status: Status) -> Finding:
    """None that answers here; a standby that still streams knows better."""
    streaming = [node for node in status.nodes if node.streams]
    if not streaming:
        unknown = [node.name for node in status.nodes if node.is_unknown]
        measured = f"none that answers; unknown: {', '.join(unknown)}" if unknown else "none"
        return Finding("hosts that take writes", measured, "one", _way_to_a_primary(status))
    silent = " and ".join(node.name for node in status.nodes if not node.ssh)
    measured = f"none answers here; {streaming[0].name} still streams from {streaming[0].receiving_from}"
    hint = f"./dr failover, which looks whether the application still writes; if it does, mend SSH to {silent}"
    if slow := [node.name for node in status.nodes if node.slow]:
        hint = f"{server.asks_again(*slow)}; ./dr failover looks whether the application still writes"
    return Finding("hosts that take writes", measured, "one", hint)


def _way_to_a_primary(status: Status) -> str:
    """A standby that may lack rows is promoted last: where the old primary's host answers, its own disk has them."""
    down = [node for node in status.nodes if node.answer is server.Answer.DOWN]
    rest = [node for node in down if node.installed and not node.fenced]
    if rest and any(node.is_standby for node in status.nodes) and not record.vouches(status):
        names = " and ".join(node.name for node in rest)
        return f"./dr start-cluster starts {names} again, which may have rows that the standby lacks"
    return server.way_to_a_primary(status.nodes)


def _down(status: Status, node: Node) -> str:
    """What brings a server back whose host answers."""
    if not status.primaries:
        first = "./dr failover" if _may_be_promoted(status) else "./dr start-cluster"
        return f"{first} comes first, as above; then ./dr status says what is left"
    if node.standby_signal and not node.fenced:
        return f"./dr deploy --limit {node.name} starts it"
    return f"./dr rejoin {node.name} --yes"


def _hung(status: Status, node: Node) -> str:
    """What is done about a server that runs and does not answer: whatever it is, it is stopped first."""
    if status.primaries:
        return f"./dr rejoin {node.name} --yes stops it and brings it back, if it does not answer again by itself"
    if _may_be_promoted(status):
        return f"./dr failover --yes stops {node.name} over SSH and promotes the standby"
    return server.way_to_a_primary(status.nodes)


def _may_be_promoted(status: Status) -> bool:
    """Whether a standby answers that failover would take: never one that is behind, or asynchronous, by declaration."""
    return any(node.is_standby and node.host.entry.synchronous for node in status.nodes)


def _servers(status: Status) -> Iterator[Finding]:
    for node in status.nodes:
        if node.is_primary:
            continue
        if node.slow:
            yield Finding(f"{node.name} as a standby", node.why, "streaming", server.asks_again(node.name))
        elif not node.ssh:
            hint = "bring the host back"
            if status.primaries:
                hint += (
                    f", then ./dr rejoin {node.name} --yes; where it is lost with its disk, put a blank machine in its "
                    "place, and ./dr deploy clones the primary"
                )
            yield Finding(f"{node.name} as a standby", f"not reachable ({node.why})", "streaming", hint)
        elif node.opened and not node.online:
            hint = f"./dr rejoin {node.name} --yes lets it go on, when nobody reads it any more"
            yield Finding(f"{node.name} as a delayed standby", f"open as {node.opened}", "follows, and is behind", hint)
        elif node.hangs:
            yield Finding(f"{node.name} as a standby", node.why, "streaming", _hung(status, node))
        elif not node.installed:
            yield Finding(f"{node.name} as a standby", "PostgreSQL is not installed", "streaming", "./dr deploy")
        elif not node.online:
            measured = "fenced" if node.fenced else "PostgreSQL is down"
            yield Finding(f"{node.name} as a standby", measured, "streaming", _down(status, node))
        elif node.replay_paused and (node.host.entry.delay_s or node.name not in status.promotions):
            hint = f"psql -c 'select pg_wal_replay_resume()' on {node.name}"
            yield Finding(f"replay of {node.name}", "paused", "goes on", hint)
        elif not node.follows and status.primaries:
            hint = f"./dr rejoin {node.name} --yes, if it does not find its primary by itself"
            yield Finding(f"{node.name} as a standby", "does not stream", "streaming", hint)
    for node in status.nodes:
        for slot in node.lost_slots:
            ours = slot in {slot_of(other.name) for other in status.nodes}
            hint = "./dr deploy makes it again" if ours else "it is none of ours: its reader starts anew; drop it there"
            yield Finding(f"slot {slot} on {node.name}", "lost its WAL", "held", hint)
        for slot in node.logical_slots:
            hint = f"psql -c \"select pg_drop_replication_slot('{slot}')\" on {node.name}, then ./dr deploy"
            stays = "logical: it stays behind when the role moves, and keeps its host from starting with our settings"
            yield Finding(f"slot {slot} on {node.name}", stays, "no logical slot", hint)


def _replication(status: Status, limits: Limits) -> Iterator[Finding]:
    primary, loss = status.primary, possible_loss(status)
    if primary is None:
        return
    if _hangs(primary):
        left = [s.name for s in _ours(status, primary) if s.streams and s.sync in SYNCHRONOUS]
        least = primary.waits_for.least if primary.waits_for else 1
        hint = f"./dr detach lets the primary commit {'with whoever is left' if left else 'alone'}"
        few = f"only {' and '.join(left)} answers them, and {least} must" if left else "no standby answers them"
        measured = f"hang: {few}"
        yield Finding("commits", measured, "answered", hint)
    streams = any(standby.streams for standby in _ours(status, primary))
    rejoin = "; ".join(f"./dr rejoin {node.name} --yes" for node in status.nodes if node is not primary)
    hint = "./dr deploy makes commits wait for the standby" if streams else rejoin
    allowed = limits.max_loss_bytes
    if status.asynchronous:  # chosen, and said in any case; what is not chosen is a standby that falls behind
        allowed = max(allowed, limits.max_replication_lag_bytes)
        hint = f'the standby is too far behind; or wait for it: a number instead of "{NOBODY}" in synchronous_standbys'
        hint = hint if streams else rejoin
    if loss.wal_bytes is None or loss.wal_bytes > allowed:
        measured = "unbounded" if loss.wal_bytes is None else size(loss.wal_bytes)
        yield Finding("possible loss", measured, size(allowed), hint)
    for standby in _ours(status, primary):
        behind = lag_bytes(primary, standby.replayed)
        if behind is not None and behind > limits.max_replication_lag_bytes:
            hint = f"look at the load of {standby.name} and at the line between the two"
            limit = size(limits.max_replication_lag_bytes)
            yield Finding(f"replication lag of {standby.name}", size(behind), limit, hint)


def _backups(status: Status, limits: Limits) -> Iterator[Finding]:
    repository = status.repository
    if repository is None:
        yield _silent(status, "backup repository", "repository", "answers", "bring the backup host back")
        return
    if repository.status != 0:
        yield Finding("backup repository", repository.message, "ok", "./dr deploy makes what is missing of it")
    system = status.primary.system if status.primary else ""
    if system and repository.system_id and str(repository.system_id) != system:
        hint = "./dr backup.check says what helps: nothing of this primary is archived or backed up"
        yield Finding("backup repository", f"of database system {repository.system_id}", f"of {system}", hint)
    newest, limit = repository.newest, f"{limits.max_backup_age_h:g} h"
    hint = "./dr backup.run takes one now and says why it fails"
    if newest is None:
        yield Finding("age of the newest backup", "there is none", limit, "./dr deploy takes the first one")
    elif newest.error:
        yield Finding(
            "newest backup", f"{newest.label} met damaged pages", "sound", "look into its log, and verify checksums"
        )
    elif newest.stopped_at > status.at + CLOCKS_S:
        measured = f"{newest.label} ended {duration(newest.stopped_at - status.at)} from now, by a clock that was ahead"
        yield Finding("age of the newest backup", measured, limit, "set that clock; ./dr backup.run says what is left")
    elif status.at - newest.stopped_at > limits.max_backup_age_h * 3600:
        yield Finding("age of the newest backup", duration(status.at - newest.stopped_at), limit, hint)


def _silent(status: Status, objective: str, part: str, promised: str, hint: str) -> Finding:
    """A part that told nothing. One that was only slow may be on a host with too much to do, which lacks nothing."""
    why = status.unknown.get(part, "")
    busy = "./dr status asks again; is that host busy? Where it stays so, " if why == SLOW else ""
    return Finding(objective, why, promised, busy + hint)


def _jobs(status: Status) -> Iterator[Finding]:
    """Success that did not come is told, whatever the reason; a run that failed is told at once."""
    if status.repository is None:
        return  # told already: the backup host is silent
    if status.jobs is None:
        yield _silent(status, "scheduled jobs", "jobs", "answer", "./dr deploy puts the runner there")
        return
    late = {one.what for one in status.jobs.late}
    for one in status.jobs.late:
        limit = duration(one.limit_s) if one.limit_s else _LIMITS[one.what]
        yield Finding(_LATE.get(one.what, f"job {one.what}"), one.sentence, limit, _remedy(one.what))
    for job in status.jobs.jobs:
        if job.broken and job.name not in late:
            ago = duration(status.at - (job.ended_at or status.at))
            yield Finding(f"job {job.name}", f"{job.outcome} {ago} ago: {job.sentence}", "passes", _remedy(job.name))


def _late_clocks(status: Status) -> list[Late]:
    return [one for one in status.jobs.late if one.what == "clock"] if status.jobs else []


_LATE = {
    "proof": "age of the newest proof", "td-proof": "age of TDengine's newest proof",
    "full-proof": "proofs of full backups", "td-full-proof": "proofs of TDengine's full backups", "clock": "clocks",
    "offsite-copy": "age of the off-site copy", "td-rows": "rows of TDengine",
}  # fmt: skip


_LIMITS = {"td-rows": "none are missing", "clock": "in step"}


def _remedy(what: str) -> str:
    if what == "clock":
        return "`chronyc makestep` on that host sets it; jobs that waited run within the hour"
    if what == "td-rows":
        meant = "on the backup host, python3 -m agents.tdengine.backup.take accept if they are meant to be gone"
        return f"./dr tdengine-restore shows and restores them; {meant}"
    job = {
        "proof": "prove", "full-proof": "prove", "td-proof": "td-prove", "td-full-proof": "td-prove",
        "offsite-copy": "offsite",
    }.get(what, what)
    store = "--store tdengine " if job.startswith("td-") else ""
    return f"./dr backup.run {store}--type {job.removeprefix('td-')} runs it now and says why it fails"


def _archive(status: Status, limits: Limits) -> Iterator[Finding]:
    primary = status.primary
    archiver = status.archiving.get(primary.name) if primary else None
    if primary is None or archiver is None:
        return
    lag = archiver.oldest_waiting_s or 0
    if archiver.failing:
        hint = f"PostgreSQL's log on {primary.name} says why archive_command fails; is the repository's disk full?"
        measured = f"failed at its last attempt, {archiver.waiting} segments wait"
        yield Finding(f"archiver of {primary.name}", measured, "works", hint)
    if lag > limits.max_archive_lag_s:
        measured = f"{duration(lag)} ({archiver.waiting} segments wait)"
        hint = f"PostgreSQL's log on {primary.name} says why archive_command fails; is the repository's disk full?"
        yield Finding("archive lag", measured, duration(limits.max_archive_lag_s), hint)


def _outbox(status: Status, limits: Limits) -> Iterator[Finding]:
    box = status.outbox
    if box is None:
        hint = "bring the application host back; ./dr deploy puts the agents there"
        yield _silent(status, "outbox", "outbox", "answers", hint)
        return
    yield from outbox.findings(box, limits, outbox.POSTGRESQL)


def _shadows(status: Status) -> Iterator[Finding]:
    """PostgreSQL's must reach back to what the archive was last seen to hold, TDengine's to its newest backup."""
    stores = load_recovery().stores
    checked = [job for job in status.jobs.jobs if job.name == "check" and job.last_success_at] if status.jobs else []
    archive = ("the last check of the archive", checked[0].last_success_at or 0.0) if checked else None
    hint = "./dr backup.check finds out whether the archive has them; give stores.postgresql.shadow more"
    yield from shadow.findings("PostgreSQL", status.outbox, stores["postgresql"].shadow, archive, status.at, hint)
    if "tdengine" in stores:
        began = tdengine.newest_began(status.tdengine_backups, status.at)
        backup = ("TDengine's newest backup", began) if began else None
        hint = "./dr backup.run --store tdengine takes one now; give stores.tdengine.shadow more"
        kept = stores["tdengine"].shadow
        yield from shadow.findings("TDengine", status.tdengine_outbox, kept, backup, status.at, hint)


def _disks(status: Status, limits: Limits) -> Iterator[Finding]:
    for host, disks in status.disks.items():
        for disk in disks:
            if disk.used_percent > limits.max_disk_used_percent:
                measured = f"{disk.used_percent:.0f}% full, {size(disk.free_bytes)} free"
                hint = f"make room on {host}: a server that cannot write stops"
                yield Finding(f"disk {disk.mount} of {host}", measured, f"{limits.max_disk_used_percent:g}%", hint)


def lag_bytes(primary: Node, position: int | None) -> int | None:
    """WAL bytes between the primary and a position; None when either is unknown."""
    if primary.written is None or position is None:
        return None
    return max(0, primary.written - position)


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def duration(seconds: float) -> str:
    """Seconds for people: `0.4 s`, `45 s`, `12 min`, `26.5 h`."""
    return f"{seconds:.1f} s" if seconds < 10 else span(seconds)
