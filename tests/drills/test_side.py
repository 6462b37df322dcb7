"""Side clusters on real hosts: every kind of target is reached, and what cannot be restored is told apart."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from inventories.errors import BadInput, DrError, TargetFailed
from runbooks.actions.backup import take_native
from runbooks.actions.postgresql import side as actions
from runbooks.actions.postgresql.side import SideRequest
from runbooks.hosts import Estate, Host
from runbooks.long_work.work import Asker
from runbooks.probes.postgresql import side
from tests.drills import side_kit as kit
from tests.drills.side_kit import NAME, Points

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def points(estate_lab: Estate) -> Points:
    kit.take(estate_lab, "full")
    return kit.mark(estate_lab, f"t{int(time.time())}")


@pytest.fixture
def host(estate_lab: Estate, points: Points) -> Iterator[Host]:
    """The primary's host, without a side cluster before and after."""
    host = kit.primary(estate_lab)
    actions.drop(host, NAME, 60)
    yield host
    actions.drop(host, NAME, 60)
    assert kit.processes(host) == []
    assert host.run("ls -d /var/lib/postgresql/17/side-%s* 2>/dev/null || true", NAME).text == ""


@pytest.fixture
def backup(estate_lab: Estate, points: Points) -> Iterator[Host]:
    """The repository's host, the same."""
    actions.drop(estate_lab.backup, NAME, 60)
    yield estate_lab.backup
    actions.drop(estate_lab.backup, NAME, 60)
    assert kit.processes(estate_lab.backup) == []


def refusal(host: Host, request: SideRequest) -> DrError:
    """The sentence of a restore that must fail; nothing of it may be left but its log."""
    with pytest.raises(DrError) as raised:
        actions.restore(host, request, Asker.door("a test"))
    assert raised.value.hint
    assert kit.processes(host) == []
    assert host.run("ls -d /var/lib/postgresql/17/side-%s 2>/dev/null || true", NAME).text == ""
    return raised.value


@pytest.mark.parametrize("kind", ["time", "lsn", "xid", "name"])
def test_an_exclusive_target_has_the_row_before_it_and_not_the_bad_one(host: Host, points: Points, kind: str) -> None:
    found = kit.restore(host, SideRequest(NAME, kind, points.target(kind)))
    assert kit.rows(host, points.run) == {"before"}
    assert found.paused
    assert not found.promoted
    assert found.last_commit_at is not None
    assert found.restore_s > 0
    assert found.bytes > 1 << 20


def test_an_inclusive_target_has_what_it_names_and_nothing_later(host: Host, points: Points) -> None:
    kit.restore(host, SideRequest(NAME, "xid", points.xid, inclusive=True))
    assert kit.rows(host, points.run) == {"before", "bad"}


def test_latest_has_everything_and_immediate_has_nothing_of_it(host: Host, points: Points) -> None:
    kit.restore(host, SideRequest(NAME, "latest"))
    assert kit.rows(host, points.run) == {"before", "bad", "after"}
    kit.restore(host, SideRequest(NAME, "immediate", replace=True))
    assert kit.rows(host, points.run) == set()


def test_the_same_request_finds_what_is_there_and_another_is_refused(host: Host, points: Points) -> None:
    request = SideRequest(NAME, "xid", points.xid)
    first = kit.restore(host, request)
    actions.stop(host, NAME, 60)
    again = kit.restore(host, request)
    assert (again.running, again.paused, again.restore_s, again.lsn) == (True, True, first.restore_s, first.lsn)
    with pytest.raises(BadInput, match="another request"):
        actions.restore(host, SideRequest(NAME, "latest"), Asker.door("a test"))
    assert kit.rows(host, points.run) == {"before"}


def test_it_acts_on_nothing_and_nobody_reaches_it(host: Host, points: Points) -> None:
    found = kit.restore(host, SideRequest(NAME, "xid", points.xid))
    actions.promote(host, NAME, 60)
    settings = side.query(
        host, NAME, "postgres",
        "select current_setting('archive_mode') as archives, current_setting('listen_addresses') as listens, "
        "current_setting('timescaledb.max_background_workers') as workers, "
        "(select count(*) from pg_stat_activity where backend_type ~* 'timescale|logical|archiver') as busy",
    )[0]  # fmt: skip
    assert settings == {"archives": "off", "listens": "", "workers": "0", "busy": 0}
    assert host.run("stat -c %%a:%%U %s", found.socket).text == "700:postgres"
    assert host.run("ss -Hltn 'sport = :5433'").text == ""


def test_a_released_one_keeps_no_setting_of_the_side_and_its_history_is_archived(host: Host, points: Points) -> None:
    kit.restore(host, SideRequest(NAME, "xid", points.xid))
    with pytest.raises(TargetFailed, match="replay past its target"):
        actions.release(host, NAME, Asker.door("a test"))
    actions.promote(host, NAME, 60)
    actions.release(host, NAME, Asker.door("a test"))
    data = f"/var/lib/postgresql/17/side-{NAME}"
    assert host.run("grep -vE '^#|^$' %s/postgresql.auto.conf || true", data).text == ""
    assert host.run("ls %s | grep -E 'signal|postmaster' || true", data).text == ""
    assert host.run("ls %s/pg_wal/archive_status", data).text.endswith(".history.ready")
    assert host.run("/usr/lib/postgresql/17/bin/pg_controldata %s | grep state", data).text.endswith("shut down")
    host.run("rm -r %s", data)


def test_a_target_after_the_last_commit_names_that_commit(host: Host, points: Points) -> None:
    error = refusal(host, SideRequest(NAME, "time", "2099-01-01 00:00:00+00"))
    assert "was not reached: the last commit there is was at 20" in error.sentence


def test_a_target_before_every_backup_names_the_oldest(host: Host, points: Points) -> None:
    error = refusal(host, SideRequest(NAME, "time", "2001-01-01 00:00:00Z"))
    assert "the oldest, 20" in error.sentence


def test_a_time_without_a_zone_is_no_target(host: Host, points: Points) -> None:
    with pytest.raises(BadInput, match="no time with a zone"):
        actions.restore(host, SideRequest(NAME, "time", "2026-11-21 10:00:00"), Asker.door("a test"))


def test_a_flipped_bit_is_damage_of_that_backup(backup: Host) -> None:
    bundle = kit.repository_file(backup, "backup/main/latest/bundle/*")
    with kit.damaged(backup, bundle):
        error = refusal(backup, SideRequest(NAME))
    assert re.search(r"Backup 20\S+F is damaged: (error restoring '|zst error|unable to flush)", error.sentence)


def test_a_file_that_is_gone_is_told_by_name(backup: Host) -> None:
    bundle = kit.repository_file(backup, "backup/main/latest/bundle/*")
    with kit.damaged(backup, bundle, "remove"):
        assert "missing file" in refusal(backup, SideRequest(NAME)).sentence


def test_a_segment_that_is_gone_is_a_gap_and_not_the_end(estate_lab: Estate, backup: Host, points: Points) -> None:
    later = kit.mark(estate_lab, f"{points.run}g")
    segment = kit.repository_file(backup, f"archive/main/17-1/*/{points.segment}-*")
    with kit.damaged(backup, segment, "remove"):
        assert points.segment in refusal(backup, SideRequest(NAME, "xid", later.xid)).sentence
        assert points.segment in refusal(backup, SideRequest(NAME, "latest")).sentence


def test_a_segment_that_is_damaged_is_named(backup: Host, points: Points) -> None:
    segment = kit.repository_file(backup, f"archive/main/17-1/*/{points.segment}-*")
    # Behind its last record a segment is empty, and nothing is missed of what nobody reads.
    with kit.damaged(backup, segment, "head"):
        error = refusal(backup, SideRequest(NAME, "xid", points.xid, inclusive=True))
    assert points.segment in error.sentence
    assert "damaged" in error.sentence


def test_another_key_is_not_taken_for_damage(backup: Host) -> None:
    other = "s/^repo1-cipher-pass=.*/repo1-cipher-pass=another/"
    backup.run("sed %s /etc/pgbackrest/restore.conf > /tmp/another.conf", other)
    backup.run("chmod 0644 /tmp/another.conf")
    ran = backup.run(
        "cd /opt/mystocks-dr && python3 -m agents.postgresql.side.cluster restore --name %s --config /tmp/another.conf",
        NAME,
        user="postgres", expect=1,
    )  # fmt: skip
    assert "does not open repository 1" in ran.stderr
    assert "another" not in ran.stderr.replace("/tmp/another.conf", "")


def test_an_extension_of_another_version_is_told_before_anything_is_restored(backup: Host, estate_lab: Estate) -> None:
    name = backup.run("ls /usr/lib/postgresql/17/lib | grep -E '^timescaledb-[0-9.]+.so$'").text
    library = f"/usr/lib/postgresql/17/lib/{name}"
    with kit.damaged(backup, library, "remove"):
        began = time.monotonic()
        error = refusal(backup, SideRequest(NAME))
    assert name.removesuffix(".so") in error.sentence
    assert time.monotonic() - began < 20


def test_a_restore_that_is_interrupted_leaves_nothing_and_begins_anew(backup: Host) -> None:
    script = (
        "cd /opt/mystocks-dr; python3 -m agents.postgresql.side.cluster restore --name %s >/dev/null 2>&1 & pid=$!; "
        "for try in $(seq 100); do test -e /var/lib/postgresql/17/side-%s/base && break; sleep 0.05; done; "
        "kill -TERM $pid; wait $pid; echo $?"
    )
    assert backup.run(script, NAME, NAME, user="postgres", timeout=60).text in ("4", "0")
    assert kit.restore(backup, SideRequest(NAME)).paused


def test_a_native_backup_is_restored_as_it_ended(estate_lab: Estate, backup: Host, points: Points) -> None:
    kit.mark(estate_lab, f"{points.run}n")
    take_native(backup, Asker.door("a test"))
    found = kit.restore(backup, SideRequest(NAME, engine="native"))
    assert found.set.endswith("F")
    assert kit.rows(backup, f"{points.run}n") == {"before", "bad", "after"}
