"""Both database hosts lost with their disks, the backup host too: blank hosts get everything back, whoever interrupts.

Nothing here asserts on time. Tests run in the order in which they stand, and each leaves a whole estate.
"""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploys.run import drift
from lab import faults, state
from lab.up import up
from runbooks.engine.wait import until
from runbooks.hosts import Estate
from runbooks.layout import PROOFS
from runbooks.probes.postgresql import pgbackrest, server
from runbooks.procedures.postgresql.restore_cluster import RESTORE_CLUSTER
from tests.drills import estate as seen
from tests.drills.doors import Started, dr
from tests.drills.estate import DATA, UNIT, inside, load

pytestmark = [pytest.mark.lab, pytest.mark.destructive, pytest.mark.timeout(900)]
PASSPHRASE = {"DR_ESCROW_PASSPHRASE": "four words that nobody guesses"}


@pytest.fixture
def whole(estate_lab: Estate) -> Estate:
    return seen.make_whole(estate_lab)


def lose(estate: Estate, *hosts: str) -> None:
    """The hosts and their disks are gone, and blank ones stand in their place."""
    for host in hosts:
        seen.remove(estate, host)
    up(seen.lab_of(estate), seen.quiet)


def repository(estate: Estate) -> pgbackrest.Repository:
    return pgbackrest.info(estate.backup, "main")


def assert_back(estate: Estate, timeline: int) -> None:
    """Whole, on a new timeline, and the record knows, a backup of it taken, and nothing left for a deploy."""
    seen.assert_whole(estate)
    assert seen.timeline(estate) > timeline
    newest = repository(estate).newest
    assert newest is not None and newest.timeline == seen.timeline(estate)
    assert drift("lab").by_operation == {}


@contextmanager
def stopped(estate: Estate) -> Iterator[None]:
    """Both servers are down and their hosts are not."""
    for host in estate.postgres:
        inside(estate, host.name, f"systemctl stop {UNIT}")
    try:
        yield
    finally:
        # Whoever was the primary first: the other one finds it by itself.
        for host in estate.postgres:
            inside(estate, host.name, f"systemctl start {UNIT} || true")


def test_a_running_cluster_is_not_restored_over(whole: Estate) -> None:
    dr("restore-cluster").assert_told(3, "PostgreSQL runs on pg1 and pg2", "not lost", hint="./dr status")
    dr("restore-cluster", "--replace").assert_told(3, "PostgreSQL runs on pg1 and pg2")


def test_a_host_that_does_not_answer_may_still_write(whole: Estate) -> None:
    faults.power_off(seen.lab_of(whole), "pg2")
    try:
        dr("restore-cluster").assert_told(3, "pg2", "cannot be reached", hint="inventory")
    finally:
        seen.power_on(whole)
        inside(whole, "pg2", f"systemctl start {UNIT}")
        until(lambda: seen.whole(whole), 60, what="a whole estate", every=0.5)


def test_data_that_lie_in_the_way_are_never_overwritten_unasked(whole: Estate) -> None:
    with stopped(whole):
        ended = dr("restore-cluster")
        ended.assert_told(3, "pg1 and pg2", "holds data", hint="--replace")
    until(lambda: seen.whole(whole), 60, what="a whole estate", every=0.5)


def test_a_repository_of_another_key_is_told_from_a_lost_one(whole: Estate) -> None:
    swap = "sed -i -e 's/^repo1-cipher-pass=/&x/' /etc/pgbackrest.conf"
    with stopped(whole):
        inside(whole, "backup1", swap)
        try:
            dr("restore-cluster", "--replace").assert_told(3, "cannot be read with the key", hint="./dr keys.restore")
        finally:
            inside(whole, "backup1", swap.replace("=/&x/", "=x/repo1-cipher-pass=/"))
    until(lambda: seen.whole(whole), 60, what="a whole estate", every=0.5)


def test_keys_come_back_from_escrow_alone(whole: Estate, tmp_path: Path) -> None:
    bundle, root = tmp_path / "bundle", state.files(seen.lab_of(whole)).root
    assert dr("keys.escrow", "--out", str(bundle), env=PASSPHRASE).code == 0
    lost = tmp_path / "lost"
    lost.mkdir()
    for name in ("secrets.yaml", "pki"):
        shutil.move(root / name, lost / name)
    laid = dr("keys.restore", str(bundle), "--to", str(root), env=PASSPHRASE)
    assert laid.code == 0, laid.err
    assert (root / "secrets.yaml").read_text() == (lost / "secrets.yaml").read_text()
    assert drift("lab").by_operation == {}
    checked = dr("keys.escrow", "--check", str(bundle), env=PASSPHRASE)
    assert checked.code == 0, checked.err
    assert "opens the repository" in checked.out
    for name in ("inventory", "README.txt", "key-ids.json", "MANIFEST.sha256"):
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.long
def test_both_hosts_lost_while_rows_are_written_and_no_acknowledged_row_is_missing(
    whole: Estate, tmp_path: Path
) -> None:
    timeline = seen.timeline(whole)
    with load(whole, tmp_path, rate=500) as writing:
        writing.goes_to_store()
        writing.writes_on()
        lose(whole, "pg1", "pg2")
        writing.goes_to_outbox()
        ended = dr("restore-cluster", "--json", timeout=600)
        assert ended.code == 0, ended.err
        writing.goes_to_store()
    assert "may" in ended.err or "missing" in ended.err
    said = json.loads(ended.out)
    assert said["state"]["provision"] == ["pg1", "pg2"]
    assert said["state"]["requeued"]
    assert_back(whole, timeline)


@pytest.mark.long
def test_the_cluster_comes_back_as_it_was_at_a_mark_and_a_validation_tells_so(whole: Estate, tmp_path: Path) -> None:
    """What was altered after the mark is as it was; what had been acknowledged by then is there."""
    name, timeline = f"before-loss-{time.time_ns()}", seen.timeline(whole)
    primary = server.the_primary(server.survey(whole)).host
    with load(whole, tmp_path, rate=500) as writing:
        writing.goes_to_store()
        writing.writes_on()
        assert dr("mark", name).code == 0
    spoilt = "UPDATE order_records SET remark = 'spoilt' WHERE event_id % 7 = 0"
    primary.execute(f"{spoilt}; DELETE FROM transaction_records WHERE event_id % 5 = 0", "quant_research")
    told = dr("validate", "--store", "postgresql", "--against", name)
    assert told.code == 1 and "content: transaction_records: row event_id=" in told.out, told.out
    assert dr("backup.check").code == 0  # what came after the mark is archived, too
    lose(whole, "pg1", "pg2")
    ended = dr("restore-cluster", "--to-mark", name, "--yes", timeout=800)
    assert ended.code == 0, ended.err
    assert_back(whole, timeline)
    left = "SELECT count(*) AS n FROM order_records WHERE remark = 'spoilt'"
    assert server.the_primary(server.survey(whole)).host.query(left, "quant_research")[0]["n"] == 0
    told = dr("validate", "--store", "postgresql", "--against", name)
    assert "content: transaction_records" not in told.out and "no difference" in told.out, told.out


@pytest.mark.long
def test_a_deploy_begins_no_empty_primary_beside_the_backups(whole: Estate) -> None:
    timeline = seen.timeline(whole)
    lose(whole, "pg1", "pg2")
    dr("deploy").assert_told(3, "an empty primary is not begun", "the repository holds", hint="./dr restore-cluster")
    ended = dr("restore-cluster", timeout=600)
    assert ended.code == 0, ended.err
    assert_back(whole, timeline)


@pytest.mark.long
def test_a_damaged_backup_is_passed_over_and_replaced_data_are_kept(whole: Estate) -> None:
    newest, timeline = repository(whole).newest, seen.timeline(whole)
    assert newest is not None and len(repository(whole).backups) > 1
    proof = {
        "label": newest.label, "kind": "incr", "repo": 1, "proven_at": time.time(), "outcome": "failed", "seconds": 1,
        "restore_bytes": 0, "restore_s": 0, "wal_bytes": 0, "replay_s": 0, "checks": [], "damaged": ["base/5/16384"],
    }  # fmt: skip
    before = whole.backup.run("cat %s", PROOFS).stdout
    whole.backup.run("cat >>%s", PROOFS, stdin=json.dumps(proof) + "\n")
    try:
        for host in whole.postgres:
            inside(whole, host.name, f"systemctl stop {UNIT}")
        ended = dr("restore-cluster", "--replace", "--json", timeout=600)
    finally:
        whole.backup.run("cat >%s", PROOFS, stdin=before)
    assert ended.code == 0, ended.err
    assert f"{newest.label} is passed over: its newest proof failed: base/5/16384" in ended.err
    said = json.loads(ended.out)["state"]
    assert said["label"] != newest.label and said["passed_over"] == [newest.label]
    after = repository(whole).newest
    assert after is not None and after.type == "full"
    for host in whole.postgres:
        kept = host.run("ls -d %s.replaced-*", DATA).text
        assert host.run("test -e %s/PG_VERSION && rm -rf %s", kept, kept).rc == 0
    assert_back(whole, timeline)


@pytest.mark.long
def test_interrupted_at_every_step_it_goes_on_where_it_was(whole: Estate) -> None:
    timeline = seen.timeline(whole)
    lose(whole, "pg1", "pg2")
    count, resume = len(RESTORE_CLUSTER.steps), ()
    for nr, step in enumerate(RESTORE_CLUSTER.steps, 1):
        running = Started("restore-cluster", *resume)
        running.hears(f"{nr}/{count} {step.name}")
        if nr == 2:  # a second one meanwhile
            dr("restore-cluster").assert_told(3, "running restore-cluster")
        # An operator's Ctrl-C, or a machine that dies.
        running.send(signal.SIGINT if nr % 2 else signal.SIGKILL)
        ended = running.ends()
        if ended.code == 0:  # the last step was faster than the signal
            break
        resume = ("--resume",)
    else:
        final = dr("restore-cluster", "--resume", timeout=600)
        assert final.code == 0, final.err
    assert_back(whole, timeline)


@pytest.mark.long
def test_the_backup_host_is_lost_too_and_the_off_site_copy_brings_all_back(whole: Estate) -> None:
    copied = dr("backup.run", "--type", "offsite", timeout=300)
    assert copied.code == 0, copied.err
    timeline, labels = seen.timeline(whole), {backup.label for backup in repository(whole).backups}
    lose(whole, "pg1", "pg2", "backup1")
    dr("deploy").assert_told(3, "an empty primary is not begun", "off-site copies", hint="./dr restore-cluster")
    ended = dr("restore-cluster", "--json", timeout=600)
    assert ended.code == 0, ended.err
    assert "the off-site copy was made" in ended.err
    assert json.loads(ended.out)["state"]["offsite"]
    assert labels < {backup.label for backup in repository(whole).backups}
    assert_back(whole, timeline)
    assert server.the_primary(server.survey(whole)).name == "pg1"
