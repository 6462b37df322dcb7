"""Change things on the backup host: take a backup, record the replication mode."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from runbooks import agent
from runbooks.hosts import Host
from runbooks.layout import MODE


def record_mode(backup: Host, mode: str, why: str) -> None:
    """Write down, outside both database hosts, whether acknowledged rows are on two hosts from now on."""
    text = json.dumps({"mode": mode, "since": datetime.now(UTC).isoformat(timespec="seconds"), "why": why})
    backup.run("printf '%%s\\n' %s > %s.new && sync %s.new && mv %s.new %s", text, MODE, MODE, MODE, MODE)


def take(backup: Host, kind: str, timeout: float) -> str:
    """Take a backup of kind full, diff or incr, waiting for another job that has the repository; what became of it.

    A dead node must not hold it up: pgBackRest asks every node who is primary, and gives one up after io-timeout.
    """
    return run_job(backup, kind, timeout, wait_s=timeout, io_timeout_s=2)


def take_native(backup: Host, timeout: float) -> str:
    """Take a full backup with PostgreSQL's own programs, beside the repository; what became of it."""
    return str(agent.ask(backup, "postgresql.native", "take", timeout=timeout)["sentence"])


def take_dump(backup: Host, timeout: float) -> str:
    """Dump TDengine with its own taosdump, beside its other backups; what became of it."""
    return str(agent.ask(backup, "tdengine.backup.dump", "take", timeout=timeout)["sentence"])


def prove(backup: Host, label: str, timeout: float, job: str = "prove") -> None:
    """Prove a backup by restoring it on the backup host; without a label the next in rotation.

    Raises TargetFailed when it is not proven; the probe proofs (for the job td-prove, td_backups) says what was found.
    """
    run_job(backup, job, timeout, label=label)


def run_job(
    backup: Host, job: str, timeout: float, wait_s: float = 0, io_timeout_s: float = 0, label: str = ""
) -> str:
    """Run one of the scheduled jobs now, under the lock and with the records of a scheduled one; its sentence.

    Raises BadInput for a job that there is not, Refused when another one has the repository for longer than `wait_s`
    seconds, TargetFailed when it failed.
    """
    words: list[object] = ["run", job, "--wait", int(wait_s)]
    if io_timeout_s:
        words += ["--io-timeout", f"{io_timeout_s:g}"]
    if label:
        words += ["--set", label]
    return str(agent.ask(backup, "jobs.runner", *words, timeout=timeout + wait_s + 10)["sentence"])
