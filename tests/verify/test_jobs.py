"""Scheduled jobs on the backup host: cron entries as the catalogue has them, records that postgres keeps, a runner."""

from __future__ import annotations

import json

import pytest

from inventories.catalog import load_recovery
from tests.verify.subject import Seen, Subject

CRON = "/etc/cron.d/mystocks-backup"
SETTINGS = "/etc/mystocks-dr/jobs.json"
TDENGINE = "/etc/mystocks-dr/td-backup.json"  # there where a package was deployed
PGBACKREST = {"differential": "diff", "incremental": "incr"}


def _wanted(whole: Seen) -> dict[str, str]:
    """Job -> cron expression; without an off-site host nothing is copied there, TDengine is backed up where it is."""
    stores = load_recovery().stores
    there = bool(whole.estate.groups.get("offsite"))
    wanted = {
        PGBACKREST.get(kind, kind): time
        for kind, time in stores["postgresql"].schedule.items()
        if there or kind != "offsite"
    }
    if whole.estate.groups.get("tdengine") and whole.estate.backup.run(f"test -e {TDENGINE}", expect=None).rc == 0:
        wanted |= {f"td-{PGBACKREST.get(kind, kind)}": time for kind, time in stores["tdengine"].schedule.items()}
    return wanted


def _commands(repository: Subject) -> list[list[str]]:
    """The lines of the cron file as [five fields or @reboot, user, command]."""
    text = repository.machine.file(CRON).content_string
    lines = [line for line in text.splitlines() if "agents.jobs.runner" in line and not line.startswith("#")]
    found = []
    for line in lines:
        fields = 1 if line.startswith("@") else 5
        words = line.split(maxsplit=fields + 1)
        found.append([" ".join(words[:fields]), *words[fields:]])
    return found


@pytest.mark.operators
def test_every_job_of_the_catalogue_is_called_by_cron_as_postgres(repository: Subject, whole: Seen) -> None:
    found = _commands(repository)
    assert {user for _, user, _ in found} == {"postgres"}
    runs = ((time, command) for time, _, command in found if " run " in command)
    called = {command.split("agents.jobs.runner run ")[1].split()[0]: time for time, command in runs}
    assert called == _wanted(whole)
    assert all(command.endswith("--scheduled") for _, _, command in found if " run " in command)


def test_what_was_missed_is_caught_up_at_boot_and_every_hour(repository: Subject) -> None:
    times = [time for time, _, command in _commands(repository) if command.endswith("catch-up")]
    assert "@reboot" in times
    assert [time.split()[1:] for time in times if time != "@reboot"] == [["*"] * 4]


def test_no_failure_is_talked_away(repository: Subject) -> None:
    file = repository.machine.file(CRON)
    assert (file.user, oct(file.mode)) == ("root", oct(0o644))
    assert "|| true" not in file.content_string
    assert {"TZ=UTC", "CRON_TZ=UTC"} <= set(file.content_string.splitlines())


@pytest.mark.operators
def test_settings_are_the_catalogues_and_closed_to_others(repository: Subject, whole: Seen) -> None:
    file = repository.machine.file(SETTINGS)
    assert (file.user, file.group, oct(file.mode)) == ("root", "postgres", oct(0o640))
    said = json.loads(file.content_string)
    recovery = load_recovery()
    assert {name: job["schedule"] for name, job in said["jobs"].items()} == _wanted(whole)
    assert said["retention"] == recovery.stores["postgresql"].retention.model_dump()
    asked = {host.name for host in whole.estate.postgres if not host.entry.delay_s}  # what is behind is never promoted
    assert {host["name"] for host in said["database"]["hosts"]} == asked
    assert (said["offsite"] is not None) == bool(whole.estate.groups.get("offsite"))


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        ("/var/lib/mystocks-dr/jobs", 0o755),
        ("/var/lib/mystocks-dr/leases", 0o755),
        ("/var/lib/mystocks-dr/native", 0o700),
        ("/var/lib/mystocks-dr/proofs.jsonl", 0o644),
        ("/var/log/mystocks-dr/jobs", 0o750),
    ],
)
def test_records_are_kept_by_postgres(repository: Subject, path: str, mode: int) -> None:
    found = repository.machine.file(path)
    assert (found.user, found.group, oct(found.mode)) == ("postgres", "postgres", oct(mode))


def test_the_backup_host_may_watch_read_and_copy_the_databases_and_write_nothing(repository: Subject) -> None:
    file = repository.machine.file("/var/lib/postgresql/.mystocks.pgpass")
    assert (file.user, oct(file.mode)) == ("postgres", oct(0o600))
    users = {line.split(":")[3] for line in file.content_string.splitlines()}
    assert users == {"monitor", "reader", "replicator"}


@pytest.mark.operators
def test_runner_knows_every_job_and_counts_for_it(repository: Subject, whole: Seen) -> None:
    command = "cd /opt/mystocks-dr && python3 -m agents.jobs.runner status"
    said = repository.host.run(command, user="postgres").json()
    assert {job["job"] for job in said["jobs"]} == set(_wanted(whole))
    assert all(job["armed_at"] for job in said["jobs"])
