"""The figures of an estate: what `./dr status` saw and judged, and nothing that it does not know."""

from __future__ import annotations

from collections.abc import Iterator

from inventories.catalog.recovery import Limits
from runbooks.figures.kinds import Reading, Sample
from runbooks.figures.names import OF_STATUS
from runbooks.judge import blind, objectives
from runbooks.judge.tdengine import taken_at
from runbooks.look.status import Status
from runbooks.probes.app import Outbox
from runbooks.probes.jobs import Jobs
from runbooks.probes.monitoring import Monitoring
from runbooks.probes.postgresql.server import Node
from runbooks.probes.validations import Outcome

_UNKNOWN_HINT = "./dr status asks again"


def unseen(at: float, why: str, hint: str) -> Reading:
    """Of an estate that could not be looked at; no other figure of it was read."""
    says = f"The estate cannot be looked at: {why.rstrip('.')}"
    return Reading(at, (Sample("seen", 0, says=says, hint=hint or _UNKNOWN_HINT),), frozenset({"seen"}))


def reading(status: Status, limits: Limits) -> Reading:
    """Of one look, dated by the clock of whoever looked."""
    blinded = tuple(("finding", {"part": part}) for part in sorted(blind.parts(status)))
    return Reading(status.at, tuple(_samples(status, limits)), OF_STATUS, blinded)


def _samples(status: Status, limits: Limits) -> Iterator[Sample]:
    yield Sample("seen", 1)
    yield Sample("look_timestamp_seconds", status.at)
    yield Sample("look_seconds", status.seconds)
    yield from _judged(status, limits)
    yield from _roles(status)
    for node in status.nodes:
        yield from _node(node)
    yield from _archives(status)
    yield from _backups(status)
    yield from _sqlite(status)
    if status.monitoring is not None:
        yield from _monitoring(status.monitoring, status.at)
    if status.jobs is not None:
        yield from _jobs(status.jobs)
    for store, box in status.outboxes.items():
        yield from _outbox(store, box, status.at)
    yield from _surroundings(status)


def _judged(status: Status, limits: Limits) -> Iterator[Sample]:
    """Two findings of one objective are one sample with both sentences: a name stands once. Of a part of which nobody
    can tell that nothing was found is no 0.
    """
    parts, untold = objectives.by_part(status, limits), blind.parts(status)
    told = {one.measured for found in parts.values() for one in found}
    for part, found in parts.items():
        if found or part not in untold:
            yield Sample("findings", len(found), {"part": part})
        for objective in dict.fromkeys(one.objective for one in found):
            same = [one for one in found if one.objective == objective]
            says = "; ".join(f"{one.measured}, promised {one.limit}" for one in same)
            yield Sample("finding", 1, {"part": part, "objective": objective}, f"{objective}: {says}", same[0].hint)
    for part, why in status.unknown.items():
        if why in told:
            continue  # what is silent is a finding already
        yield Sample("unknown", 1, {"part": part}, f"{part} is unknown: {why.rstrip('.')}", _UNKNOWN_HINT)


def _roles(status: Status) -> Iterator[Sample]:
    if status.primaries or not any(node.is_unknown for node in status.nodes):
        yield Sample("hosts_taking_writes", len(status.primaries))
    lost = objectives.possible_loss(status).wal_bytes
    yield Sample("possible_loss_known", lost is not None)
    if lost is not None:
        yield Sample("possible_loss_bytes", lost)
    primary = status.primary
    if primary is None:
        return
    yield Sample("replication_synchronous", primary.synchronous)
    ours = {node.name for node in status.nodes}
    yield Sample("replication_standbys_streaming", sum(one.streams for one in primary.standbys if one.name in ours))
    for standby in primary.standbys:
        behind = objectives.lag_bytes(primary, standby.replayed)
        if standby.name in ours and behind is not None:
            yield Sample("replication_lag_bytes", behind, {"host": standby.name})


def _node(node: Node) -> Iterator[Sample]:
    labels = {"host": node.name}
    yield Sample("server_known", not node.is_unknown, labels)
    if node.is_unknown:
        return
    yield Sample("server_up", node.online, labels)
    yield Sample("server_primary", node.is_primary, labels)
    if node.timeline is not None:
        yield Sample("server_timeline", node.timeline, labels)


def _archives(status: Status) -> Iterator[Sample]:
    for host, archiver in status.archiving.items():
        labels = {"host": host}
        yield Sample("archive_waiting_segments", archiver.waiting, labels)
        yield Sample("archive_failing", archiver.failing, labels)
        if archiver.oldest_waiting_s is not None:
            since = status.at - archiver.oldest_waiting_s
            yield Sample("archive_oldest_waiting_timestamp_seconds", since, labels)


def _backups(status: Status) -> Iterator[Sample]:
    """None at all is known, too; a newest one there is only of some."""
    if status.repository is not None and not status.repository.trouble:
        labels, newest = {"store": "postgresql"}, status.repository.newest
        yield Sample("backups", len(status.repository.backups), labels)
        if newest is not None:
            yield Sample("backup_newest_timestamp_seconds", newest.stopped_at, labels)
    if status.tdengine_backups is not None:
        labels = {"store": "tdengine"}
        yield Sample("backups", len(status.tdengine_backups), labels)
        if status.tdengine_backups:
            yield Sample("backup_newest_timestamp_seconds", taken_at(status.tdengine_backups[-1]), labels)


def _monitoring(monitoring: Monitoring, at: float) -> Iterator[Sample]:
    yield Sample("monitoring_up", not monitoring.trouble)
    labels = {"store": "monitoring"}
    yield Sample("backups", len(monitoring.backups), labels)
    if monitoring.backups:
        yield Sample("backup_newest_timestamp_seconds", at - monitoring.backups[-1].age_s, labels)


def _sqlite(status: Status) -> Iterator[Sample]:
    """Of the application hosts that answered; of the others nobody knows."""
    for host, ones in status.sqlite.items():
        for one in ones:
            labels = {"host": host, "database": one.name}
            yield Sample("sqlite_protected", one.protected, labels)
            if one.snapshot_age_s is not None:
                yield Sample("sqlite_snapshot_timestamp_seconds", status.at - one.snapshot_age_s, labels)


def _jobs(jobs: Jobs) -> Iterator[Sample]:
    for job in jobs.jobs:
        labels = {"job": job.name}
        yield Sample("job_failed", job.broken, labels)
        if job.last_success_at is not None:
            yield Sample("job_success_timestamp_seconds", job.last_success_at, labels)
    late = {one.what for one in jobs.late}
    for what in dict.fromkeys((*(job.name for job in jobs.jobs), *late)):
        yield Sample("job_late", what in late, {"job": what})


def _outbox(store: str, box: Outbox, at: float) -> Iterator[Sample]:
    labels = {"store": store}
    yield Sample("outbox_rows", box.pending_rows, labels)
    for lane, rows in box.lanes.items():
        yield Sample("outbox_lane_rows", rows, {**labels, "lane": lane})
    if box.oldest_age_s is not None:
        yield Sample("outbox_oldest_timestamp_seconds", at - box.oldest_age_s, labels)
    yield Sample("outbox_dead_rows", box.dead_rows, labels)
    yield Sample("outbox_fill_ratio", box.fill, labels)
    yield Sample("outbox_size_bytes", box.size_bytes, labels)
    yield Sample("outbox_replayer_up", box.replayer_running, labels)
    if box.shadow_bytes is not None:
        yield Sample("shadow_bytes", box.shadow_bytes, labels)


def _surroundings(status: Status) -> Iterator[Sample]:
    for host, disks in status.disks.items():
        for disk in disks:
            labels = {"host": host, "mount": disk.mount}
            yield Sample("disk_size_bytes", disk.total_bytes, labels)
            yield Sample("disk_free_bytes", disk.free_bytes, labels)
    for host, ahead in status.clocks.items():
        yield Sample("clock_offset_seconds", ahead, {"host": host})
    for host, certificates in status.certificates.items():
        for one in certificates:
            if one.file_ends is not None:
                labels = {"host": host, "service": one.service}
                yield Sample("certificate_end_timestamp_seconds", one.file_ends, labels)
    for last in status.validations or ():
        labels = {"store": last.store}
        yield Sample("validation_failed", last.outcome is not Outcome.WHOLE, labels)
        yield Sample("validation_seconds", last.seconds, labels)
        if last.sound_at is not None:
            yield Sample("validation_sound_timestamp_seconds", last.sound_at, labels)
    for host, word in status.watches.items():
        yield Sample("watch_up", word == "active", {"host": host})
