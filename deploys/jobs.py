"""The backup host's scheduled jobs: what the runner must know, where it keeps its records, and the cron entries."""

from __future__ import annotations

from typing import Any

from pyinfra import host
from pyinfra.operations import files

from deploys import estate, offsite
from deploys.base import UPLOADS
from deploys.operations import jobs_armed
from deploys.text import MANAGED, as_file
from inventories.catalog.load import load_recovery

SETTINGS = "/etc/mystocks-dr/jobs.json"
RECORDS = "/var/lib/mystocks-dr"
AGENTS_ROOT = "/opt/mystocks-dr"
# The catalogue's words, and pgBackRest's for the same.
NAMES = {"differential": "diff", "incremental": "incr"}
CATCH_UP = "50 * * * *"
_ARCHIVE_WAIT_S = 60
_MINE: dict[str, Any] = {"user": "postgres", "group": "postgres"}


def deploy() -> None:
    """Settings, records and what the jobs need to reach the primary and the off-site host. Nothing is started."""
    for path, mode in (("jobs", "0755"), ("leases", "0755"), ("native", "0700")):
        files.directory(name=f"records: {path}", path=f"{RECORDS}/{path}", mode=mode, **_MINE)
    files.file(name="records: proofs", path=f"{RECORDS}/proofs.jsonl", mode="0644", **_MINE)
    files.directory(name="jobs' logs", path="/var/log/mystocks-dr/jobs", mode="0750", **_MINE)
    files.template(
        name="passwords of monitor, reader and replicator", src=estate.template("postgres", "pgpass.j2"),
        dest=estate.PG_PASSFILE, mode="0600", **_MINE, _temp_dir=UPLOADS,
        passwords={name: estate.secret()[name] for name in ("monitor", "reader", "replicator")},
    )  # fmt: skip
    offsite.client()
    files.put(
        name="jobs' settings", src=as_file(settings()), dest=SETTINGS, mode="0640", user="root", group="postgres"
    )


def schedule() -> None:
    """The cron entries, and from now on a job that does not succeed is missed."""
    jobs_armed(name="jobs are armed", jobs=[job for job, _ in times()], root=AGENTS_ROOT, _su_user="postgres")
    files.template(
        name="backup schedule", src=estate.template("jobs", "cron.j2"), dest="/etc/cron.d/mystocks-backup",
        mode="0644", user="root", group="root", managed=MANAGED, times=times(), catch_up=CATCH_UP, root=AGENTS_ROOT,
    )  # fmt: skip


def times() -> list[tuple[str, str]]:
    """(job, cron expression) of this estate; without an off-site host there is no such copy to schedule."""
    wanted = load_recovery().stores["postgresql"].schedule
    there = bool(estate.nodes("offsite"))
    return [(NAMES.get(kind, kind), time) for kind, time in wanted.items() if there or kind != "offsite"]


def settings() -> dict[str, Any]:
    """/etc/mystocks-dr/jobs.json, see agents/jobs_config.py."""
    recovery = load_recovery()
    store, limits = recovery.stores["postgresql"], recovery.limits
    kinds = {NAMES.get(kind, kind): one.model_dump() for kind, one in recovery.jobs.kinds.items()}
    return {
        "stanza": host.data.get("stanza"),
        "keep_logs": recovery.jobs.keep_logs,
        "wait_s": recovery.jobs.wait_s,
        "alarm_command": list(host.data.get("alarm_command") or ()),
        "jobs": {job: {"schedule": time, **kinds[job]} for job, time in times()},
        "retention": store.retention.model_dump(),
        "max_proof_age_h": limits.max_proof_age_h,
        "max_offsite_age_h": limits.max_offsite_age_h,
        "archive_wait_s": _ARCHIVE_WAIT_S,
        "database": {
            "hosts": [
                {"name": node.name, "address": node.address, "port": 5432}
                for node in estate.nodes(*estate.POSTGRES_GROUPS)
            ],
            "dbname": "postgres",  # where the monitor may close a WAL segment
            "user": "monitor",
            "sslmode": "verify-full",
            "sslrootcert": estate.CA,
            "passfile": estate.PG_PASSFILE,
        },
        "offsite": offsite.settings(),
    }
