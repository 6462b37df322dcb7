"""The backup host's scheduled jobs: what the runner must know, where it keeps its records, and the cron entries."""

from __future__ import annotations

from typing import Any

from pyinfra import host
from pyinfra.facts.files import File

from deploys import estate, offsite
from deploys.placed import Place, folder, placed, rendered
from deploys.postgresql.operations import jobs_armed
from deploys.tdengine import server
from deploys.text import MANAGED, as_file
from inventories.catalog.load import load_recovery

SETTINGS = "/etc/mystocks-dr/jobs.json"
RECORDS = "/var/lib/mystocks-dr"
AGENTS_ROOT = "/opt/mystocks-dr"
# The catalogue's words, and pgBackRest's for the same.
NAMES = {"differential": "diff", "incremental": "incr"}
TDENGINE = "td-"  # before the names of that store's jobs
TD_SETTINGS = f"{server.ETC}/td-backup.json"
CATCH_UP = "50 * * * *"
WANTED = "*/10 * * * *"  # a shadow that fills in an hour leaves a backup twenty minutes
_ARCHIVE_WAIT_S = 60


def deploy() -> None:
    """Settings, records and what the jobs need to reach the primary and the off-site host. Nothing is started."""
    placed(
        name="records of the jobs",
        places=[
            *records(),
            folder("/var/log/mystocks-dr", "0755"),
            folder("/var/log/mystocks-dr/jobs", "0750", "postgres"),
        ],
    )
    # To find the primary and force a segment, to count rows, and for pg_basebackup.
    passwords = {name: estate.secret()[name] for name in ("monitor", "reader", "replicator")}
    placed(
        name="settings of the jobs",
        places=[
            Place(SETTINGS, "0640", "root", as_file(settings()).getvalue(), group="postgres"),
            Place(estate.PG_PASSFILE, "0600", "postgres", rendered("postgres", "pgpass.j2", passwords=passwords)),
        ],
    )
    offsite.client()


def records() -> list[Place]:
    """What the jobs, who are postgres, keep in a folder that is root's: they may write each and make none."""
    return [
        folder(f"{RECORDS}/jobs", "0755", "postgres"),
        folder(f"{RECORDS}/leases", "0755", "postgres"),
        folder(f"{RECORDS}/native", "0700", "postgres"),
        Place(f"{RECORDS}/proofs.jsonl", "0644", "postgres"),
        Place(f"{RECORDS}/native-proofs.jsonl", "0644", "postgres"),
    ]


def schedule() -> None:
    """The cron entries, and from now on a job that does not succeed is missed."""
    jobs_armed(name="jobs are armed", jobs=[job for job, _ in times()], root=AGENTS_ROOT, _su_user="postgres")
    wanted = WANTED if has_tdengine() else ""
    text = rendered(
        "jobs", "cron.j2", managed=MANAGED, times=times(), catch_up=CATCH_UP, wanted=wanted, root=AGENTS_ROOT
    )
    placed(name="backup schedule", places=[Place("/etc/cron.d/mystocks-backup", "0644", text=text)])


def times() -> list[tuple[str, str]]:
    """(job, cron expression) of this estate; without an off-site host there is no such copy to schedule."""
    stores = load_recovery().stores
    there = bool(estate.nodes("offsite"))
    found = [
        (NAMES.get(kind, kind), time) for kind, time in stores["postgresql"].schedule.items()
        if there or kind != "offsite"
    ]  # fmt: skip
    if has_tdengine():
        found += [(TDENGINE + NAMES.get(kind, kind), time) for kind, time in stores["tdengine"].schedule.items()]
    return found


def has_tdengine() -> bool:
    """Also when this deploy was given no package: what backs up a store that is there is not taken away unasked."""
    return bool(estate.nodes("tdengine")) and (server.is_named() or bool(host.get_fact(File, path=TD_SETTINGS)))


def settings() -> dict[str, Any]:
    """/etc/mystocks-dr/jobs.json, see agents/jobs/config.py."""
    recovery = load_recovery()
    store, limits = recovery.stores["postgresql"], recovery.limits
    kinds = {NAMES.get(kind, kind): one.model_dump() for kind, one in recovery.jobs.kinds.items()}
    return {
        "stanza": host.data.get("stanza"),
        "keep_logs": recovery.jobs.keep_logs,
        "wait_s": recovery.jobs.wait_s,
        "alarm_command": list(host.data.get("alarm_command") or ()),
        "jobs": {job: {"schedule": time, **kinds[job.removeprefix(TDENGINE)]} for job, time in times()},
        "retention": store.retention.model_dump(),
        "td_retention": recovery.stores["tdengine"].retention.model_dump() if has_tdengine() else None,
        "max_proof_age_h": limits.max_proof_age_h,
        "max_full_proof_age_d": limits.max_full_proof_age_d,
        "max_offsite_age_h": limits.max_offsite_age_h,
        "max_promotion_delay_s": limits.max_promotion_delay_s,
        "archive_wait_s": _ARCHIVE_WAIT_S,
        "database": {
            "hosts": [
                {"name": node.name, "address": node.address, "port": 5432}
                for node in estate.nodes(*estate.POSTGRES_GROUPS)
                if node not in estate.delayed()  # neither primary nor ever promoted
            ],
            "dbname": "postgres",  # where the monitor may close a WAL segment
            "user": "monitor",
            "sslmode": "verify-full",
            "sslrootcert": estate.CA,
            "passfile": estate.PG_PASSFILE,
        },
        "offsite": offsite.settings(),
    }
