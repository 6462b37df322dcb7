"""The life of a backup on real hosts: what keeps it from being taken is named and lifted, damage is known to every
door, and an append-only copy gives back what nobody could take away.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from runbooks.hosts import Estate, Host
from runbooks.probes.postgresql import pgbackrest
from tests.drills.doors import dr
from tests.drills.side_kit import primary
from tests.drills.test_jobs import PROOFS, REPOSITORY, Runner, kept

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
PGBACKREST = "pgbackrest --stanza=main "


@pytest.fixture
def backup(estate_lab: Estate) -> Host:
    return estate_lab.backup


def ok(*words: str) -> str:
    done = dr(*words)
    assert done.code == 0, (words, done.out, done.err)
    return done.out + done.err


def troubles() -> dict[str, str]:
    return {one["label"]: one["trouble"] for one in json.loads(dr("backup.list", "--json").out)["backups"]}


def test_a_forgotten_stop_on_the_backup_host_is_named_and_lifted(backup: Host) -> None:
    """F14: three commands said that archive_command fails, and none said why."""
    ok("backup.check")
    backup.run(PGBACKREST + "stop", user="postgres")
    dr("backup.check").assert_told(1, "pgBackRest was stopped on this host", "main.stop", hint="./dr mend-archive")
    dr("backup.run", "--type", "incr").assert_told(1, "stop file exists")
    assert "told to stop on backup1" in ok("mend-archive", "--yes")
    ok("backup.check")


@pytest.mark.long  # the backup host's, above, is the same
def test_a_forgotten_stop_on_the_primary_is_lifted_too(estate_lab: Estate) -> None:
    host = primary(estate_lab)
    host.run(PGBACKREST + "stop", user="postgres")
    dr("backup.check").assert_told(1, "archive_command fails")
    assert f"told to stop on {host.name}" in ok("mend-archive", "--yes")
    ok("backup.check")


def test_a_history_that_nobody_knows_is_named(estate_lab: Estate, backup: Host) -> None:
    """As a server that was promoted elsewhere leaves it; pgBackRest locks it with the archive's own key."""
    path = f"archive/main/{pgbackrest.info(backup, 'main').archive_id}/00000099.history"
    push = (
        "cd /tmp && printf '1\\t0/3000000\\tno recovery target\\n' > 00000099.history && "
        "pgbackrest --stanza=main archive-push /tmp/00000099.history && rm 00000099.history"
    )
    primary(estate_lab).run(push, user="postgres", timeout=60)
    try:
        dr("backup.check").assert_told(1, "holds 00000099.history, and pg", "on timeline", hint="Find and stop it")
    finally:
        backup.run("rm %s", f"{REPOSITORY}/{path}")
    ok("backup.check")


def test_a_label_of_a_clock_that_was_ahead_is_named_and_incremental_backups_go_on(backup: Host) -> None:
    history = f"{REPOSITORY}/backup/main/backup.history"
    ahead = f"{history}/2099/20991231-000000F.manifest.gz"
    backup.run(
        "install -d -o postgres -g postgres %s && cp -p $(ls %s/2*/*F.manifest.gz | head -n1) %s",
        f"{history}/2099", history, ahead,
    )  # fmt: skip
    try:
        hint = "--set=20991231-000000F expire` lets it go"
        dr("backup.run", "--type", "full").assert_told(1, "is not later than latest backup label", hint=hint)
        ok("backup.run", "--type", "incr")
    finally:
        backup.run("rm -r %s", f"{history}/2099")
    ok("backup.run", "--type", "full")


@contextmanager
def damaged(backup: Host, file: str) -> Iterator[None]:
    with kept(backup, file):
        backup.run("printf '\\377\\376' | dd of=%s bs=1 seek=900 conv=notrunc status=none", file)
        yield


def test_what_a_verification_finds_damaged_is_so_for_every_door(backup: Host) -> None:
    ok("backup.run", "--type", "full")
    ok("prove-backup")
    newest = pgbackrest.info(backup, "main").newest
    assert newest is not None
    label = newest.label
    bundle = backup.run("find %s -name '[1-9]*' -type f | tail -n1", f"{REPOSITORY}/backup/main/{label}").text
    with damaged(backup, bundle):
        assert dr("backup.run", "--type", "verify").code == 1
        assert f"its files are damaged: {label}/" in troubles()[label]
        plan = json.loads(dr("backup.expire", "--plan", "--json").out)
        assert [one["damaged"] for one in plan["stays"] if one["label"] == label] == [True]
        pitr = dr("restore-pitr", "--to-time", "2026-01-01 00:00:00+00", "--set", label)
        assert "its files are damaged" in pitr.err or "before" in pitr.err, pitr.err
    ok("backup.run", "--type", "verify")
    assert troubles()[label] == ""
    assert json.loads(backup.run("tail -n1 %s", PROOFS).text)["kind"] == "verify"


def test_both_manifests_of_a_backup_tampered_with_is_damage(backup: Host) -> None:
    newest = pgbackrest.info(backup, "main").newest
    assert newest is not None
    folder = f"{REPOSITORY}/backup/main/{newest.label}"
    with damaged(backup, f"{folder}/backup.manifest"), damaged(backup, f"{folder}/backup.manifest.copy"):
        dr("backup.run", "--type", "verify").assert_told(1, f"backup {newest.label} is invalid")
        assert "its files are damaged" in troubles()[newest.label]
        dr("backup.run", "--type", "incr").assert_told(1, "unable to load backup manifest file")
    ok("backup.run", "--type", "verify")


def test_a_native_backup_is_proven_and_then_older_ones_go(backup: Host) -> None:
    for _ in range(2):
        ok("backup.run", "--type", "full", "--engine", "native")
    runner = Runner(backup)
    before = [one["label"] for one in runner("postgresql.native list").json()]
    assert "is proven by" in ok("prove-backup", "--engine", "native", "--set", before[-1])
    said = ok("backup.run", "--type", "full", "--engine", "native")
    assert f"let go: {before[0]}" in said
    assert before[0] not in [one["label"] for one in runner("postgresql.native list").json()]


def test_over_sftp_whoever_takes_the_backup_host_takes_the_copies_away(backup: Host) -> None:
    """The twin of the test below: the attack is one, and only what the off-site host offers stops it."""
    for _ in range(2):
        ok("backup.run", "--type", "offsite")
    runner = Runner(backup)
    assert len(runner("offsite.copies list").json()["snapshots"]) > 1
    ssh = "sftp.command=ssh -F /etc/mystocks-dr/offsite/ssh_config offsite1 -s sftp"
    attack = f"restic --repo sftp:offsite1:backups -o %s {ATTACK}"
    backup.run(attack, ssh, user="postgres", timeout=120)
    assert len(runner("offsite.copies list").json()["snapshots"]) == 1


ATTACK = "--no-cache --password-file /etc/mystocks-dr/offsite/password forget --group-by= --keep-last 1 --prune"


def test_whoever_takes_the_backup_host_cannot_take_the_copies_away(append_only: Estate, backup: Host) -> None:
    runner = Runner(backup)
    ok("prove-backup")
    for _ in range(2):
        assert "./dr backup.expire --offsite lets them go there" in ok("backup.run", "--type", "offsite")
    before = runner("offsite.copies list").json()["snapshots"]
    attack = (
        "restic --repository-file /etc/mystocks-dr/offsite/repository --cacert /etc/mystocks-dr/ca.crt " + ATTACK
    )
    refused = backup.run(attack, user="postgres", expect=None, timeout=120)
    assert refused.rc != 0
    assert "403" in refused.stderr
    listed = backup.run("printf 'ls\\n' | sftp -b - -o StrictHostKeyChecking=no -F /etc/mystocks-dr/offsite/ssh_config "
                        "offsite1", user="postgres", expect=None)  # fmt: skip
    assert listed.rc != 0, "nor by the way of before"
    assert [one["id"] for one in runner("offsite.copies list").json()["snapshots"]] == [one["id"] for one in before]

    target = "/var/lib/postgresql/restored"
    file = f"{REPOSITORY}/backup/main/backup.info"
    try:
        assert runner("offsite.copies restore --target %s --only %s", target, file).json()["files"] == 1
        backup.run("cmp %s %s", target + file, file)
    finally:
        backup.run("rm -rf %s", target)
    assert "would go" in ok("backup.expire", "--offsite", "--plan") or len(before) <= 4
    with kept(backup, PROOFS):
        backup.run(": > %s", PROOFS)
        dr("backup.expire", "--offsite", "--yes").assert_told(3, "nothing expires on offsite1: no backup that is there")
    ok("backup.expire", "--offsite", "--yes")
    left = runner("offsite.copies list").json()["snapshots"]
    assert left[-1]["id"] == before[-1]["id"], "the newest stays"
    ok("verify")
