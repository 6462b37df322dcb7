"""A backup is proven by restoring it, and one with a flipped bit is not, and is named."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from inventories.errors import TargetFailed
from runbooks.actions import backup as actions
from runbooks.hosts import Estate, Host
from runbooks.long_work.work import Asker
from runbooks.probes.postgresql import proofs
from tests.drills import side_kit as kit

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
CHECKS = ("pages", "restored", "structure", "rows", "amcheck", "checksums")


@pytest.fixture(scope="module")
def label(estate_lab: Estate) -> str:
    """A full backup of a database with rows, taken through the runner."""
    host = kit.primary(estate_lab)
    stamp = int(time.time())
    host.execute(
        "insert into system_config select g, 'k' || g, 'v', null, now() "
        f"from generate_series({stamp}, {stamp} + 99) g on conflict do nothing",
        kit.DATABASE,
    )
    return kit.take(estate_lab, "full")


@pytest.fixture
def backup(estate_lab: Estate, label: str) -> Iterator[Host]:
    yield estate_lab.backup
    assert kit.processes(estate_lab.backup) == []
    assert estate_lab.backup.run("ls -d /var/lib/postgresql/17/side-proof* 2>/dev/null || true").text == ""
    leases = estate_lab.backup.run("cd /opt/mystocks-dr && python3 -m agents.jobs.leases list", user="postgres").json()
    assert [one for one in leases if one["id"].startswith("prove-")] == []


def newest(backup: Host) -> proofs.Proof:
    found = proofs.newest(backup)
    assert found is not None
    return found


def failed_details(proof: proofs.Proof) -> str:
    return "; ".join(check.detail for check in proof.checks if not check.ok)


def test_a_sound_backup_passes_every_check_and_is_recorded(backup: Host, label: str) -> None:
    actions.prove(backup, label, Asker.door("a test"))
    proof = newest(backup)
    assert proof.passed, failed_details(proof)
    assert proof.label == label
    assert tuple(check.name for check in proof.checks) == CHECKS
    assert proof.restore_bytes > 1 << 20
    assert proof.restore_s > 0
    assert "lie between the counts" in next(check.detail for check in proof.checks if check.name == "rows")


def test_what_was_never_tried_comes_first(estate_lab: Estate, backup: Host) -> None:
    fresh = kit.take(estate_lab, "incr")
    actions.prove(backup, "", Asker.door("a test"))
    assert newest(backup).label == fresh


def test_a_flipped_bit_is_found_and_named(backup: Host, label: str) -> None:
    bundle = kit.repository_file(backup, f"backup/main/{label}/bundle/*")
    with kit.damaged(backup, bundle), pytest.raises(TargetFailed, match="NOT proven"):
        actions.prove(backup, label, Asker.door("a test"))
    proof = newest(backup)
    assert not proof.passed
    assert any(f"{label}/bundle/" in name for name in proof.damaged)
    actions.prove(backup, label, Asker.door("a test"))
    assert newest(backup).passed


def test_rows_that_the_backup_does_not_hold_are_missed(backup: Host, label: str) -> None:
    """The twin of the rows check: told that there were more, it must not pass."""
    info = backup.run("pgbackrest --stanza=main --set=%s --output=json info", label, user="postgres").json()
    kept = info[0]["backup"][0]["annotation"]
    annotate = "pgbackrest --stanza=main --set=%s --annotation=%s --annotation=%s annotate"
    told = {name: [count[0] + 7, *count[1:]] for name, count in json.loads(kept["rows-before"]).items()}
    text = json.dumps(told, separators=(",", ":"))
    try:
        backup.run(annotate, label, f"rows-before={text}", f"rows-after={text}", user="postgres")
        with pytest.raises(TargetFailed, match="were there before the backup"):
            actions.prove(backup, label, Asker.door("a test"))
    finally:
        backup.run(
            annotate, label, f"rows-before={kept['rows-before']}", f"rows-after={kept['rows-after']}", user="postgres"
        )
    actions.prove(backup, label, Asker.door("a test"))


def test_the_key_is_known_by_its_fingerprint_only(backup: Host, label: str) -> None:
    info = backup.run("pgbackrest --stanza=main --set=%s --output=json info", label, user="postgres").json()
    annotation = info[0]["backup"][0]["annotation"]
    assert len(annotation["key-id"]) == 12
    cipher = backup.run("sed -n 's/^repo1-cipher-pass=//p' /etc/pgbackrest.conf").text
    assert cipher not in json.dumps(info)
    assert set(json.loads(annotation["versions"])) == {"postgresql", "timescaledb", "pgbackrest"}
