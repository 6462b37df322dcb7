"""What the estate's doors show: tables and sentences, nothing decided here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from doors.support import screen
from runbooks.judge import marks, monitoring, record, roles, validation
from runbooks.judge.objectives import Finding, Loss, duration, size
from runbooks.judge.tdengine import taken_at
from runbooks.look.status import Status
from runbooks.probes.app import Outbox
from runbooks.probes.jobs import Job
from runbooks.probes.sqlite.databases import Glance
from runbooks.probes.tdengine import servers


def status_screen(status: Status, found: Sequence[Finding], degraded: Sequence[str], loss: Loss) -> Group:
    """One screen: nodes, backup and outbox, what is degraded, possible loss, what is not as promised."""
    parts: list[Table | Text] = [_nodes(status)]
    if status.tdengine:
        parts.append(_servers(status))
    parts.append(_facts(status))
    parts += [Text(f"DEGRADED  {line}", style="yellow") for line in degraded]
    parts.append(Text(f"Possible loss now: {loss.sentence}", style="" if loss.wal_bytes == 0 else "yellow"))
    if found:
        parts.append(_findings(found))
    else:
        parts.append(Text("Every objective and limit is met.", style="green"))
    return Group(*parts)


def matrix(title: str, cells: Mapping[str, Sequence[str]], hosts: Sequence[str], mark: str) -> Table:
    """Rows: what; columns: hosts; a cell says `mark` where the row concerns the host."""
    table = Table(title, *hosts)
    for row, concerned in cells.items():
        table.add_row(row, *(mark if host in concerned else "" for host in hosts))
    return table


def width() -> int:
    """Columns of the terminal."""
    return screen().width


def show(*parts: object) -> None:
    console = screen()
    for part in parts:
        console.print(part, highlight=False)


def _nodes(status: Status) -> Table:
    table = Table(*roles.HEADINGS, title=f"estate {status.estate}")
    for node in status.nodes:
        table.add_row(node.name, *roles.cells(status, node))
    return table


def _servers(status: Status) -> Table:
    table = Table("TDengine", "state", "manages", "leads", "copies", "version")
    speaker = servers.speaker(status.tdengine)
    for server in status.tdengine:
        leads = copies = ""
        if speaker:
            held = [(g, r) for g in speaker.vgroups for r in g.replicas if speaker.numbers.get(server.name) == r.node]
            leads = str(sum(replica.role == "leader" for _, replica in held))
            there = [group for group, replica in held if replica.serves and group.id in server.held]
            copies = f"{len(there)} of {len(held)}"
        manages = speaker.mnodes.get(server.name, "") if speaker else ""
        state = speaker.dnodes.get(server.name, "not joined") if speaker and server.online else server.role
        table.add_row(server.name, state, manages, leads, copies, server.version)
    return table


def _facts(status: Status) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2))
    table.add_row("estate record", record.sentence(status))
    table.add_row("last backup", _backup(status))
    table.add_row("archive", _archive(status))
    table.add_row("promotion", _promotions(status))
    table.add_row("jobs", _jobs(status))
    if status.marks is not None:
        table.add_row("marks", marks.sentence(status.marks, status.at))
    if status.monitoring is not None:
        table.add_row("monitoring", monitoring.sentence(status.monitoring))
    if status.validations is not None:
        table.add_row("validation", validation.sentence(status.validations, status.at))
    table.add_row("outbox", _outbox(status.outbox, status.unknown.get("outbox", "")))
    for host, units in status.work.items():
        for unit, begun in units.items():
            waits = f"; {begun.way_on} waits for it" if begun.way_on else ""
            table.add_row("work under way", f"{unit} on {host}, begun by {begun.owner} for {begun.run}{waits}")
    for part, why in status.unknown.items():
        if part.startswith("work on "):
            table.add_row("work under way", f"unknown: {why}")
    if status.tdengine_backups is not None:
        table.add_row("TDengine's backup", _tdengine_backup(status.tdengine_backups, status.at))
    if status.tdengine_outbox is not None:
        table.add_row("TDengine's shadow", _shadow(status.tdengine_outbox, status.at))
        table.add_row("TDengine's outbox", _outbox(status.tdengine_outbox, ""))
    for host, ones in status.sqlite.items():
        for one in ones:
            table.add_row("SQLite", f"{one.name} on {host}: {_sqlite(one)}")
    if status.tracker_outbox is not None:
        table.add_row("tracker's outbox", _outbox(status.tracker_outbox, ""))
    if status.tracker:
        said = ", ".join(f"{at or 'no database'} on {name}" for name, at in status.tracker.items())
        table.add_row("tracker's revision", said)
    if said := servers.abilities(status.tdengine):
        table.add_row("edition", said)
    return table


def _backup(status: Status) -> str:
    if status.repository is None:
        return f"unknown: {status.unknown['repository']}"
    newest = status.repository.newest
    if newest is None:
        return "none"
    return f"{newest.type}, {duration(status.at - newest.stopped_at)} old, timeline {newest.timeline} ({newest.label})"


def _sqlite(one: Glance) -> str:
    if not one.there:
        return f"there is no {one.path}"
    kept = "by snapshots alone" if not one.streamed else "every commit" if one.protected else f"NOT: {one.why}"
    age = "never" if one.snapshot_age_s is None else f"{duration(one.snapshot_age_s)} old"
    return f"protected: {kept}; snapshot {age}"


def _tdengine_backup(labels: Sequence[str], at: float) -> str:
    if not labels:
        return "none"
    kind = "incr" if "_" in labels[-1] else "full"
    return f"{kind}, {duration(at - taken_at(labels[-1]))} old ({labels[-1]}), {len(labels)} in all"


def _shadow(box: Outbox, at: float) -> str:
    if box.shadow_bytes is None:
        return "none is kept"
    oldest = f", oldest {duration(at - box.shadow_since)}" if box.shadow_since else ""
    return f"{size(box.shadow_bytes)}{oldest}"


def _jobs(status: Status) -> str:
    """`full 2.1 h ago, verify FAILED 5 min ago, prove runs, expire never`: what became of each last run."""
    if status.jobs is None:
        return f"unknown: {status.unknown.get('jobs', '')}"
    return ", ".join(f"{job.name} {_outcome(job, status.at)}" for job in status.jobs.jobs)


def _outcome(job: Job, now: float) -> str:
    if job.running_since is not None:
        return f"runs for {duration(now - job.running_since)}"
    if job.ended_at is None:
        return "never ran"
    ago = f"{duration(now - job.ended_at)} ago"
    return ago if job.outcome == "passed" else f"{(job.outcome or '').upper()} {ago}"


def _archive(status: Status) -> str:
    archiver = status.archiving.get(status.primary.name) if status.primary else None
    if archiver is None:
        return "unknown: no primary answers"
    newest = archiver.last_archived or "nothing"
    return f"lag {duration(archiver.oldest_waiting_s or 0)}, {archiver.waiting} segments wait, newest {newest}"


def _promotions(status: Status) -> str:
    """`pg2: nothing but replay, its archive answers in 0.1 s`: each standby's outlook; the findings say more."""
    told = []
    for node in status.nodes:
        outlook = status.promotions.get(node.name)
        if outlook is None or not outlook.standby:
            continue
        found = ", ".join(one.kind for one in outlook.hindrances) or "nothing but replay"
        asked = f", its archive answers in {outlook.asked_s:.1f} s" if outlook.asked_s is not None else ""
        told.append(f"{node.name}: {found}{asked}")
    return "; ".join(told) or "unknown: no standby answers"


def _outbox(box: Outbox | None, why: str) -> str:
    if box is None:
        return f"unknown: {why}"
    oldest = f", oldest {duration(box.oldest_age_s)}" if box.oldest_age_s is not None else ""
    replayer = "replayer runs" if box.replayer_running else "no replayer"
    held = f", {box.held_records} records of them for {', '.join(box.held)}" if box.held else ""
    left = f", empty in {duration(box.empty_in_s)}" if box.empty_in_s is not None else ""
    return f"{box.pending_rows} rows wait{oldest}{held}{left}; {box.dead_rows} dead; {size(box.size_bytes)}; {replayer}"


def _findings(found: Sequence[Finding]) -> Table:
    table = Table("not as promised", "measured", "limit", "what to run", style="red")
    for finding in found:
        table.add_row(finding.objective, finding.measured, finding.limit, finding.hint)
    return table
