"""A backup host in a temporary directory: settings, a pgbackrest that does as it is told, the runner as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.jobs import state as jobs_state
from agents.jobs.config import Settings, load
from agents.jobs.state import State

ROOT = Path(__file__).resolve().parents[2]
# Notes how it was called; `info` says what is in info.json, everything else does what script.sh says.
_PGBACKREST = """#!/bin/sh
echo "$@" >> "{folder}/calls"
case "$*" in
  *" info") cat "{folder}/info.json";;
  version) echo "pgBackRest 2.55.1";;
  *) . "{folder}/script.sh";;
esac
"""

_PSQL = """#!/bin/sh
case "$*" in
  *clock_timestamp*) echo "$(($(date +%s) + $(cat "{folder}/ahead" 2>/dev/null || echo 0))) false";;
  *) cat > /dev/null; echo '{server}';;
esac
"""
_SERVER = {
    "in_recovery": False, "settings": {}, "prepared": 0, "prepared_age_s": None, "lost_slots": [], "collations": [],
}  # fmt: skip


@dataclass(frozen=True)
class BackupHost:
    """`folder` holds everything; `settings` are read anew each time."""

    folder: Path

    @property
    def settings(self) -> Settings:
        return load(self.folder / "jobs.json")

    @property
    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def pgbackrest(self, script: str) -> None:
        (self.folder / "script.sh").write_text(script + "\n")

    def holds(self, *labels: str) -> None:
        """What `pgbackrest info` says from now on."""
        entries = [
            {
                "label": label, "type": "incr" if "_" in label else "full",
                "timestamp": {"start": 1000 * n, "stop": 1000 * n + 5}, "info": {"repository": {"delta": 2048}},
            }
            for n, label in enumerate(labels, start=1)
        ]  # fmt: skip
        (self.folder / "info.json").write_text(json.dumps([{"backup": entries}]))

    def servers_are_ahead(self, seconds: int) -> None:
        """What the database hosts' clock says from now on."""
        (self.folder / "ahead").write_text(str(seconds))

    def change(self, **values: Any) -> None:
        """Settings of jobs.json replaced; `jobs` is merged job by job."""
        path = self.folder / "jobs.json"
        raw = json.loads(path.read_text())
        for job, limits in values.pop("jobs", {}).items():
            raw["jobs"].setdefault(job, dict(raw["jobs"]["incr"])).update(limits)
        path.write_text(json.dumps({**raw, **values}))

    def state(self, job: str) -> State:
        state = jobs_state.read(job, self.settings.states)
        assert state is not None, f"{job} has no state"
        return state

    def note(self, job: str, **values: Any) -> None:
        """The state of a job as if it had come to that."""
        jobs_state.write(State(job, **{"armed_at": 0.0, **values}), self.settings.states)

    def start(self, *words: str) -> subprocess.Popen[str]:
        path = f"{self.folder}/bin:{os.environ['PATH']}"
        return subprocess.Popen(
            [sys.executable, "-m", "agents.jobs.runner", "--config", str(self.folder / "jobs.json"), *words], cwd=ROOT,
            env={**os.environ, "PATH": path}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *words: str, code: int = 0) -> tuple[dict[str, Any], str]:
        """Its answer, and what it said on standard error. Fails unless it ends with `code`."""
        process = self.start(*words)
        out, err = process.communicate(timeout=60)
        assert process.returncode == code, (process.returncode, out, err)
        return (json.loads(out) if out.strip() else {}), err


def backup_host(folder: Path) -> BackupHost:
    """Jobs incr, full, verify and expire; everything at once and for ten seconds at most."""
    for name in ("bin", "records/jobs", "records/leases", "logs", "repository"):
        (folder / name).mkdir(parents=True)
    program = folder / "bin" / "pgbackrest"
    program.write_text(_PGBACKREST.format(folder=folder))
    program.chmod(0o755)
    psql = folder / "bin" / "psql"  # every server is a primary that nothing ails, and in step
    psql.write_text(_PSQL.format(folder=folder, server=json.dumps(_SERVER)))
    psql.chmod(0o755)
    every = {"limit_s": 10, "jitter_s": 0, "grace_s": 3600}
    raw = {
        "stanza": "main", "keep_logs": 3, "wait_s": 0, "alarm_command": [],
        "jobs": {
            "full": {"schedule": "30 18 * * 6", **every}, "incr": {"schedule": "30 8 * * *", **every},
            "verify": {"schedule": "15 20 * * *", **every}, "expire": {"schedule": "30 23 * * *", **every},
        },
        "retention": {"full_copies": 1, "days": 1}, "max_proof_age_h": 50, "max_offsite_age_h": 26,
        "archive_wait_s": 1,
        "database": {
            "hosts": [{"name": "pg1", "address": "192.0.2.21"}], "dbname": "postgres", "user": "monitor",
            "tables": str(folder / "nothing-is-counted"),
        },
        "offsite": None,
        "records": str(folder / "records"), "logs": str(folder / "logs"), "repository": str(folder / "repository"),
    }  # fmt: skip
    (folder / "jobs.json").write_text(json.dumps(raw))
    host = BackupHost(folder)
    host.pgbackrest("true")
    host.holds()
    return host
