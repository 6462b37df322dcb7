"""/etc/mystocks-dr/jobs.json: what runs on the backup host, when, for how long at most, and what counts as too late.

    {"stanza": "main", "keep_logs": 20, "wait_s": 3600, "alarm_command": [],
     "jobs": {"full": {"schedule": "30 18 * * 6", "limit_s": 14400, "jitter_s": 60, "grace_s": 21600}, ...},
     "retention": {"full_copies": 2, "days": 28}, "td_retention": null | {"full_copies": 2, "days": 28},
     "max_proof_age_h": 50, "max_full_proof_age_d": 14, "max_offsite_age_h": 26, "max_promotion_delay_s": 2,
     "archive_wait_s": 60,
     "database": {"hosts": [{"name": "pg1", "address": "192.0.2.21", "port": 5432}], "dbname": "postgres",
                  "user": "monitor", "sslmode": "verify-full", "sslrootcert": "...", "passfile": "..."},
     "offsite": null | {"host": "offsite1", "repository": "sftp:offsite1:backups", "ssh_config": "...",
                        "password_file": "...", "keep_last": 4, "keep_daily": 14, "keep_weekly": 8, "read_days": 14,
                        "repository_file": "...", "ca_file": "...", "append_only": false},
     "records": "/var/lib/mystocks-dr", "logs": "/var/log/mystocks-dr/jobs", "repository": "/var/lib/pgbackrest"}

The last three, td_retention (TDengine's) and the last three of offsite (a rest-server's) may be left out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.base.config import LIBPQ, Config, Host, OutboxSettings
from agents.base.errors import BadConfig
from agents.jobs import cron

VARIABLE = "MYSTOCKS_JOBS"  # names another file, for this program and those that it starts
PATH = Path(os.environ.get(VARIABLE) or "/etc/mystocks-dr/jobs.json")
_HINT = "./dr deploy writes it from inventories/catalog/recovery.yaml."


@dataclass(frozen=True)
class Job:
    """One job: cron expression in UTC; seconds after which it is killed, within which it starts, and after which its
    success is missed.
    """

    name: str
    schedule: str
    limit_s: float
    jitter_s: float
    grace_s: float


@dataclass(frozen=True)
class Retention:
    """Full backups to keep, and days back to which a restore must reach."""

    full_copies: int
    days: int


@dataclass(frozen=True)
class Offsite:
    """The restic repository on the off-site host, how long its snapshots are kept, and in how many days all is read.

    `repository_file` and `ca_file`: the address of a rest-server with this host's account, and whose certificate it
    shows; None where the host is reached over sftp. `append_only`: from here no snapshot can be let go.
    """

    host: str
    repository: str
    ssh_config: Path
    password_file: Path
    keep_last: int
    keep_daily: int
    keep_weekly: int
    read_days: float
    repository_file: Path | None = None
    ca_file: Path | None = None
    append_only: bool = False


@dataclass(frozen=True)
class Settings:
    stanza: str
    jobs: Mapping[str, Job]
    keep_logs: int
    wait_s: float
    alarm_command: tuple[str, ...]
    retention: Retention
    max_proof_age_h: float
    max_offsite_age_h: float
    archive_wait_s: float
    database: Config  # where the primary is, as the agents of the application host have it
    offsite: Offsite | None
    records: Path
    logs: Path
    repository: Path
    max_promotion_delay_s: float = 2.0
    max_full_proof_age_d: float = 14.0  # each full backup in use is restored again within so long
    td_retention: Retention | None = None  # of TDengine's backups; None where the estate has none
    path: Path = PATH  # where this was read, for the programs that a job starts

    @property
    def states(self) -> Path:
        return self.records / "jobs"

    @property
    def leases(self) -> Path:
        return self.records / "leases"

    @property
    def proofs(self) -> Path:
        return self.records / "proofs.jsonl"

    @property
    def td_proofs(self) -> Path:
        return self.records / "td-proofs.jsonl"

    @property
    def full_backups(self) -> tuple[Path, Path]:
        """Where each backup of PostgreSQL, and of TDengine, is a folder of its label's name."""
        return self.repository / "backup" / self.stanza, self.td_folders[0]

    @property
    def td_lost(self) -> Path:
        """What a TDengine backup found missing, as long as it is: {"label", "since", "sentence"}."""
        return self.states / "td-lost"

    @property
    def td_left_out(self) -> Path:
        """What TDengine's newest backup has nothing of, where there is any: {name: why}."""
        return self.states / "td-left-out"

    @property
    def td_folders(self) -> tuple[Path, ...]:
        """TDengine's backups, and those of the second engine."""
        return self.records / "tdengine", self.records / "td-dumps"

    @property
    def sqlite(self) -> Path:
        """What agents/sqlite/receiver.py keeps: a shelf for each database of each application host."""
        return self.records / "sqlite"

    @property
    def repository_lock(self) -> Path:
        return self.repository / ".backup.lock"

    def job(self, name: str) -> Job:
        """Raises BadConfig naming the jobs there are."""
        if name not in self.jobs:
            raise BadConfig(f"There is no job {name!r} here.", f"The jobs are {', '.join(self.jobs)}.")
        return self.jobs[name]


def load(path: Path = PATH) -> Settings:
    """Read jobs.json. Raises BadConfig."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfig(f"{path} cannot be read: {error.strerror}.", _HINT) from error
    except ValueError as error:
        raise BadConfig(f"{path} is no JSON: {error}.", _HINT) from error
    try:
        return _settings(raw, path)
    except KeyError as error:
        raise BadConfig(f"{path}: {error.args[0]} is missing.", _HINT) from error
    except (TypeError, ValueError, AttributeError) as error:
        raise BadConfig(f"{path}: {error}.", _HINT) from error


def _settings(raw: dict[str, Any], path: Path) -> Settings:
    jobs = {
        name: Job(name, str(one["schedule"]), float(one["limit_s"]), float(one["jitter_s"]), float(one["grace_s"]))
        for name, one in raw["jobs"].items()
    }
    for job in jobs.values():
        cron.parse(job.schedule)
    if not jobs:
        raise ValueError("jobs is empty")
    return Settings(
        stanza=str(raw["stanza"]),
        jobs=jobs,
        keep_logs=int(raw["keep_logs"]),
        wait_s=float(raw["wait_s"]),
        alarm_command=tuple(map(str, raw["alarm_command"])),
        retention=_retention(raw["retention"]),
        td_retention=_retention(raw["td_retention"]) if raw.get("td_retention") else None,
        max_proof_age_h=float(raw["max_proof_age_h"]),
        max_offsite_age_h=float(raw["max_offsite_age_h"]),
        max_promotion_delay_s=float(raw.get("max_promotion_delay_s", Settings.max_promotion_delay_s)),
        max_full_proof_age_d=float(raw.get("max_full_proof_age_d", Settings.max_full_proof_age_d)),
        archive_wait_s=float(raw["archive_wait_s"]),
        database=_database(raw["database"]),
        offsite=_offsite(raw["offsite"]) if raw["offsite"] else None,
        records=Path(raw.get("records", "/var/lib/mystocks-dr")),
        logs=Path(raw.get("logs", "/var/log/mystocks-dr/jobs")),
        repository=Path(raw.get("repository", "/var/lib/pgbackrest")),
        path=path,
    )


def _retention(raw: dict[str, Any]) -> Retention:
    return Retention(int(raw["full_copies"]), int(raw["days"]))


def _database(raw: dict[str, Any]) -> Config:
    return Config(
        hosts=tuple(Host(one["name"], one.get("address"), int(one.get("port", 5432))) for one in raw["hosts"]),
        dbname=str(raw["dbname"]),
        user=str(raw["user"]),
        tables=Path(raw.get("tables", "/etc/mystocks-dr/tables.json")),
        outbox=OutboxSettings(Path("/dev/null")),  # nothing is written from here
        libpq={key: str(raw[key]) for key in LIBPQ if key in raw},
    )


def _offsite(raw: dict[str, Any]) -> Offsite:
    return Offsite(
        host=str(raw["host"]),
        repository=str(raw["repository"]),
        ssh_config=Path(raw["ssh_config"]),
        password_file=Path(raw["password_file"]),
        keep_last=int(raw["keep_last"]),
        keep_daily=int(raw["keep_daily"]),
        keep_weekly=int(raw["keep_weekly"]),
        read_days=float(raw["read_days"]),
        repository_file=Path(raw["repository_file"]) if raw.get("repository_file") else None,
        ca_file=Path(raw["ca_file"]) if raw.get("ca_file") else None,
        append_only=bool(raw.get("append_only", False)),
    )
