"""Change things on the backup host: take a backup, record the replication mode."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from inventories.errors import BadInput, Refused, TargetFailed
from runbooks.hosts import Host
from runbooks.layout import MODE

_NO_SUCH_JOB, _HELD = 2, 3  # the runner's exit codes; 3: another job has the lock


def record_mode(backup: Host, mode: str, why: str) -> None:
    """Write down, outside both database hosts, whether acknowledged rows are on two hosts from now on."""
    text = json.dumps({"mode": mode, "since": datetime.now(UTC).isoformat(timespec="seconds"), "why": why})
    backup.run("printf '%%s\\n' %s > %s.new && sync %s.new && mv %s.new %s", text, MODE, MODE, MODE, MODE)


def drop_connections(backup: Host) -> None:
    """End what the repository's server is doing for other hosts; a living one simply asks again.

    A primary that lost power in the middle of archive-push leaves a process here that waits for it with the stanza's
    archive lock in its hand, for a quarter of an hour where an answer to the dead host is under way. Until it ends the
    new primary can archive nothing.
    """
    backup.run("systemctl restart pgbackrest-server", timeout=20)


def take(backup: Host, kind: str, timeout: float) -> str:
    """Take a backup of kind full, diff or incr, waiting for another job that has the repository; what became of it.

    A dead node must not hold it up: pgBackRest asks every node who is primary, and gives one up after io-timeout.
    """
    return run_job(backup, kind, timeout, wait_s=timeout, io_timeout_s=2)


def take_native(backup: Host, timeout: float) -> str:
    """Take a full backup with PostgreSQL's own programs, beside the repository; what became of it."""
    command = "cd /opt/mystocks-dr && exec python3 -m agents.postgresql.native take"
    ran = backup.run(command, user="postgres", timeout=timeout, expect=None)
    if ran.rc:
        sentence, hint = _told(ran.stderr)
        raise TargetFailed(f"{backup}: {sentence}", hint)
    return str(ran.json()["sentence"])


def take_dump(backup: Host, timeout: float) -> str:
    """Dump TDengine with its own taosdump, beside its other backups; what became of it."""
    ran = backup.run(
        "cd /opt/mystocks-dr && exec python3 -m agents.tdengine.backup.dump take",
        user="postgres", timeout=timeout, expect=None
    )
    if ran.rc:
        sentence, hint = _told(ran.stderr)
        raise TargetFailed(f"{backup}: {sentence}", hint)
    return str(ran.json()["sentence"])


def prove(backup: Host, label: str, timeout: float, job: str = "prove") -> None:
    """Prove a backup by restoring it on the backup host; without a label the next in rotation.

    Raises TargetFailed when it is not proven; the probe proofs (for the job td-prove, td_backups) says what was found.
    """
    run_job(backup, job, timeout, label=label)


def run_job(
    backup: Host, job: str, timeout: float, wait_s: float = 0, io_timeout_s: float = 0, label: str = ""
) -> str:
    """Run one of the scheduled jobs now, under the lock and with the records of a scheduled one; its sentence.

    Raises Refused when another job has the repository for longer than `wait_s` seconds, TargetFailed when it failed.
    """
    patience = f" --io-timeout {io_timeout_s:g}" if io_timeout_s else ""
    chosen, further = (" --set %s", (label,)) if label else ("", ())
    ran = backup.run(
        f"cd /opt/mystocks-dr && python3 -m agents.jobs.runner run %s --wait %s{patience}{chosen}",
        job, int(wait_s), *further, user="postgres", timeout=timeout + wait_s + 10, expect=None,
    )  # fmt: skip
    if ran.rc == 0:
        return str(ran.json()["sentence"])
    sentence, hint = _told(ran.stderr)
    if ran.rc == _NO_SUCH_JOB:
        raise BadInput(f"{backup}: {sentence}", hint)
    if ran.rc == _HELD:
        raise Refused(f"{backup}: {sentence}", hint)
    raise TargetFailed(f"{backup}: {sentence}", hint)


def _told(stderr: str) -> tuple[str, str]:
    """An agent's last sentence and its hint."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()] or ["it said nothing"]
    hint = lines.pop().removeprefix("HINT: ") if lines[-1].startswith("HINT: ") and len(lines) > 1 else ""
    return lines[-1], hint
