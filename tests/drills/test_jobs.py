"""Scheduled jobs on a real backup host: backups, verification, the off-site copy and its restore, retention by proof.

What a test changes of the host's own settings goes into a copy of jobs.json that only its own commands read.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from runbooks.actions import lease
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host, Ran
from runbooks.probes.postgresql import pgbackrest
from tests.drills.doors import Ended, dr

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
SETTINGS = "/etc/mystocks-dr/jobs.json"
STATES = "/var/lib/mystocks-dr/jobs"
PROOFS = "/var/lib/mystocks-dr/proofs.jsonl"
REPOSITORY = "/var/lib/pgbackrest"


@dataclass(frozen=True)
class Runner:
    """The agents of the backup host, under settings of their own where `settings` names a file."""

    host: Host
    settings: str = SETTINGS

    def __call__(self, words: str, *args: object, expect: int | None = 0) -> Ran:
        command = f"cd /opt/mystocks-dr && MYSTOCKS_JOBS=%s python3 -m agents.{words}"
        return self.host.run(command, self.settings, *args, user="postgres", timeout=200, expect=expect)


@pytest.fixture
def backup(estate_lab: Estate) -> Host:
    return estate_lab.backup


@pytest.fixture
def runner(backup: Host) -> Runner:
    return Runner(backup)


@contextmanager
def other_settings(backup: Host, **values: Any) -> Iterator[Runner]:
    """A runner with some values of jobs.json replaced; `jobs` is merged job by job and left out where it is None."""
    raw = backup.run("cat %s", SETTINGS).json()
    for job, limits in values.pop("jobs", {}).items():
        if limits is None:
            del raw["jobs"][job]
        else:
            raw["jobs"][job].update(limits)
    path = "/var/lib/postgresql/jobs-test.json"
    backup.run("cat > %s && chown postgres: %s", path, path, stdin=json.dumps({**raw, **values}))
    try:
        yield Runner(backup, path)
    finally:
        backup.run("rm -f %s", path)


@contextmanager
def kept(backup: Host, path: str) -> Iterator[None]:
    """Whatever happens to the file meanwhile, it is as it was afterwards."""
    backup.run("cp -a %s %s.kept", path, path)
    try:
        yield
    finally:
        backup.run("mv %s.kept %s", path, path)


@contextmanager
def held(backup: Host) -> Iterator[None]:
    """The repository's lock is somebody else's; it ends with its input."""
    lock = f"{REPOSITORY}/.backup.lock"
    holder = backup.start("exec flock %s cat", lock, user="postgres")
    try:
        until(lambda: backup.run("flock -n %s true", lock, expect=None).rc == 1, 10, what="the lock to be held")
        yield
    finally:
        assert holder.stdin is not None
        holder.stdin.close()
        holder.wait(10)


def state(backup: Host, job: str) -> dict[str, Any]:
    found = backup.run("cat %s", f"{STATES}/{job}.json").json()
    assert isinstance(found, dict)
    return found


def labels(backup: Host) -> list[str]:
    return [one.label for one in pgbackrest.info(backup, "main").backups]


def findings(ended: Ended) -> dict[str, dict[str, str]]:
    return {one["objective"]: one for one in json.loads(ended.out)["findings"]}


def test_a_backup_by_hand_is_recorded_like_a_scheduled_one(backup: Host) -> None:
    before = labels(backup)
    done = dr("backup.run", "--type", "incr")
    assert done.code == 0, done.err
    (new,) = set(labels(backup)) - set(before)
    found = state(backup, "incr")
    assert new in done.out
    assert new in found["sentence"]
    assert found["outcome"] == "passed"
    assert backup.run("test -s %s && stat -c %%U %s", found["log"], found["log"]).text == "postgres"


def test_the_archive_holds_a_segment_that_is_forced_now(backup: Host) -> None:
    done = dr("backup.run", "--type", "check")
    assert done.code == 0, done.err
    assert "was in the archive after" in done.out


def test_verify_finds_a_byte_that_flipped(backup: Host) -> None:
    assert dr("backup.run", "--type", "verify").code == 0
    newest = backup.run("find %s/backup/main/*F/ -name '[1-9]*' -type f | tail -n1", REPOSITORY).text
    with kept(backup, newest):
        backup.run("printf '\\377\\376' | dd of=%s bs=1 seek=900 conv=notrunc status=none", newest)
        dr("backup.run", "--type", "verify").assert_told(1, "is invalid", newest.split("/main/")[1][:16])
        told = findings(dr("status", "--json"))
        assert "job verify" in told
        assert "--type verify" in told["job verify"]["hint"]
    assert dr("backup.run", "--type", "verify").code == 0
    assert "job verify" not in findings(dr("status", "--json"))


def test_the_offsite_copy_gives_back_what_it_was_given(backup: Host, runner: Runner) -> None:
    done = dr("backup.run", "--type", "offsite")
    assert done.code == 0, done.err
    snapshots = runner("offsite.copies list").json()["snapshots"]
    assert f"snapshot {snapshots[-1]['id'][:8]}" in done.out
    target = "/var/lib/postgresql/restored"
    file = f"{REPOSITORY}/backup/main/backup.info"
    try:
        said = runner("offsite.copies restore --target %s --only %s", target, file).json()
        assert said["snapshot"] == snapshots[-1]["id"]
        assert said["files"] == 1
        backup.run("cmp %s %s", target + file, file)
    finally:
        backup.run("rm -rf %s", target)


def test_an_offsite_copy_is_never_restored_over_backups(runner: Runner) -> None:
    refused = runner("offsite.copies restore", expect=1)
    assert "holds backups, and nothing is restored over them" in refused.stderr
    assert "HINT: " in refused.stderr


def test_a_wrong_password_of_the_copy_is_one_sentence(backup: Host) -> None:
    wrong = "/var/lib/postgresql/wrong"
    backup.run("echo nonsense > %s", wrong)
    raw = backup.run("cat %s", SETTINGS).json()["offsite"]
    try:
        with other_settings(backup, offsite={**raw, "password_file": wrong}) as runner:
            refused = runner("offsite.copies list", expect=1)
        assert "secret `restic` does not open the repository" in refused.stderr
    finally:
        backup.run("rm %s", wrong)


def test_nothing_expires_without_a_proof_nor_under_a_lease(backup: Host) -> None:
    """Asked for one full backup and no days: all but the newest may go, if that one is proven."""
    assert dr("backup.run", "--type", "full").code == 0
    there = labels(backup)
    newest = there[-1]
    with kept(backup, PROOFS), other_settings(backup, retention={"full_copies": 1, "days": 0}) as runner:
        backup.run(": > %s", PROOFS)
        unproven = runner("jobs.runner run expire").json()
        assert "no backup was ever restored and found whole" in unproven["sentence"]
        assert labels(backup) == there

        proof = {"label": newest, "kind": "full", "repo": 1, "proven_at": time.time(), "outcome": "passed"}
        backup.run("cat >> %s", PROOFS, stdin=json.dumps(proof) + "\n")
        plan = runner("postgresql.expire plan").json()
        assert [one["label"] for one in plan["stays"]] == [newest]

        lease.hold(backup, "test-jobs", "a test", "restore-pitr is being tested", 60)
        assert "restore-pitr is being tested" in runner("jobs.runner run expire").json()["sentence"]
        assert labels(backup) == there
        lease.release(backup, "test-jobs")

        assert f"expired: {there[0]}" in runner("jobs.runner run expire").json()["sentence"]
        assert labels(backup) == [newest]
    runner = Runner(backup)
    assert runner("postgresql.wal.archive").json()["gaps"] == []


def test_a_job_that_finds_another_one_refuses_and_names_it(backup: Host) -> None:
    with held(backup):
        dr("backup.run", "--type", "incr").assert_told(3, "incr cannot run", "holds")
    assert dr("backup.run", "--type", "incr", "--wait", "60").code == 0


def test_a_job_is_ended_at_its_limit_and_the_next_one_is_well(backup: Host) -> None:
    with kept(backup, f"{STATES}/full.json"):
        backup.run("rm -f %s", f"{STATES}/full.json")  # else the limit would be twice what the last one took
        with other_settings(backup, jobs={"full": {"limit_s": 0.5}}) as runner:
            ended = runner("jobs.runner run full", expect=1)
        assert json.loads(ended.stdout)["outcome"] == "timeout"
        assert "limit of 0.5 s" in ended.stderr
        assert backup.run("pgrep -u postgres -f 'pgbackrest.* backup'", expect=None).rc == 1
    assert dr("backup.run", "--type", "incr").code == 0


def test_what_was_missed_is_caught_up_and_told_meanwhile(backup: Host) -> None:
    told = "/var/lib/postgresql/told"
    without = dict.fromkeys(("full", "prove", "verify", "offsite", "expire", "check"))
    old = {**state(backup, "incr"), "armed_at": 0, "last_success_at": 0}
    settings = other_settings(backup, jobs=without, alarm_command=["tee", told], offsite=None)
    with kept(backup, f"{STATES}/incr.json"), settings as runner:
        backup.run("cat > %s", f"{STATES}/incr.json", stdin=json.dumps(old))
        late = {one["what"] for one in runner("jobs.runner status").json()["late"]}
        assert late == {"incr"}
        ran = runner("jobs.runner catch-up").json()["ran"]
        assert [(one["job"], one["outcome"]) for one in ran] == [("incr", "passed")]
        assert runner("jobs.runner status").json()["late"] == []
        # Nothing is late any more, so nobody was told; a job that cannot succeed is told of.
        assert backup.run("test -e %s", told, expect=None).rc == 1
        backup.run("cat > %s", f"{STATES}/incr.json", stdin=json.dumps(old))
        with held(backup):
            assert runner("jobs.runner catch-up").json()["ran"][0]["outcome"] == "skipped"
        assert "incr has not succeeded since" in backup.run("cat %s && rm %s", told, told).text
        journal = backup.run("journalctl -p err -t mystocks-dr -o cat --since=-2min --no-pager").text
        assert "ALARM: incr has not succeeded since" in journal
    assert dr("backup.run", "--type", "incr").code == 0


def test_status_tells_a_success_that_did_not_come(backup: Host) -> None:
    with kept(backup, f"{STATES}/verify.json"):
        old = {**state(backup, "verify"), "armed_at": 0, "last_success_at": 0, "outcome": "passed"}
        backup.run("cat > %s", f"{STATES}/verify.json", stdin=json.dumps(old))
        told = findings(dr("status", "--json"))
        assert "verify has not succeeded since 1970" in told["job verify"]["measured"]
    assert "job verify" not in findings(dr("status", "--json"))
