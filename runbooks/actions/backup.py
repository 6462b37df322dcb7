"""Change things on the backup host: take a backup, run a job, end what waits for a dead host."""

from __future__ import annotations

from runbooks import agent
from runbooks.engine.budgets import budget
from runbooks.hosts import Host
from runbooks.long_work.work import Asker, Work


def take(backup: Host, kind: str, asker: Asker, expects: str = "") -> str:
    """Take a backup of kind full, diff or incr, waiting for another job that has the repository; what became of it.

    A dead node must not hold it up: pgBackRest asks every node who is primary, and gives one up after io-timeout.
    """
    return run_job(backup, kind, asker, wait_s=budget("backup"), io_timeout_s=2, expects=expects)


def take_native(backup: Host, asker: Asker) -> str:
    """Take a full backup with PostgreSQL's own programs, beside the repository; what became of it."""
    return _sentence(backup, agent.work("postgresql.native", "take", on="native", kind="take"), asker)


def take_dump(backup: Host, asker: Asker) -> str:
    """Dump TDengine with its own taosdump, beside its other backups; what became of it."""
    return _sentence(backup, agent.work("tdengine.backup.dump", "take", on="td-dump", kind="take"), asker)


def prove_native(backup: Host, asker: Asker, label: str = "") -> str:
    """Restore a native backup, or the next in turn, on the backup host; what was found. Raises TargetFailed."""
    words = ["--engine", "native", *(["--set", label] if label else [])]
    return _sentence(backup, agent.work("postgresql.prove", *words, on="prove-native", kind="prove"), asker)


def prove_dump(backup: Host, asker: Asker, label: str = "") -> str:
    """Restore a dump of TDengine, or the next in turn, into a server of its own there. Raises TargetFailed."""
    words = ["prove", *([label] if label else [])]
    return _sentence(backup, agent.work("tdengine.backup.dump", *words, on="prove-dump", kind="prove"), asker)


def prove(backup: Host, label: str, asker: Asker, job: str = "prove") -> None:
    """Prove a backup by restoring it on the backup host; without a label the next in rotation.

    Raises TargetFailed when it is not proven; the probe proofs (for the job td-prove, td_backups) says what was found.
    """
    run_job(backup, job, asker, label=label)


def run_job(
    backup: Host, job: str, asker: Asker, wait_s: float = 0, io_timeout_s: float = 0, label: str = "",
    expects: str = "",
) -> str:  # fmt: skip
    """Run one of the scheduled jobs now, under the lock and with the records of a scheduled one; its sentence.

    As long work: the runner ends it after the limit of recovery.yaml, and nobody else does. Raises BadInput for a job
    that there is not, Refused when another one has the repository for longer than `wait_s` seconds, TargetFailed when
    it failed.
    """
    words: list[object] = ["run", job, "--wait", int(wait_s)]
    if io_timeout_s:
        words += ["--io-timeout", f"{io_timeout_s:g}"]
    if label:
        words += ["--set", label]
    wanted = agent.work(
        "jobs.runner", *words, on=f"job-{job}", kind="run", silent=budget("work.silent") + wait_s, queues_s=wait_s,
        expects=expects,
    )  # fmt: skip
    return _sentence(backup, wanted, asker)


def _sentence(backup: Host, wanted: Work, asker: Asker) -> str:
    return str(agent.run_work(backup, wanted, asker).json()["sentence"])
