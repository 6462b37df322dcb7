"""What restore-cluster asks before it touches anything, and what it refuses."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inventories.errors import Refused, TargetFailed, Unreachable
from runbooks.actions.postgresql import directory
from runbooks.actions.postgresql.directory import Incoming
from runbooks.engine.context import Context
from runbooks.hosts import Ran
from runbooks.layout import Layout
from runbooks.probes.postgresql import ground, pgbackrest
from runbooks.probes.postgresql.ground import Ground, Holds
from runbooks.probes.postgresql.pgbackrest import ArchiveEnd, Backup
from runbooks.probes.postgresql.progress import Replay
from runbooks.procedures.postgresql import restore_cluster, restore_ground
from runbooks.procedures.postgresql.restore_ground import RestoreCluster, RestoreClusterOptions

GIB = 2**30
BACKUP = Backup("F", "full", 2, False, 10 * GIB, 1, "000000010000000000000004", wal_start="000000010000000000000003")


@dataclass(frozen=True)
class FakeHost:
    name: str
    answers: bool = True
    says: str = ""
    address: str = "192.0.2.1"

    def reachable(self) -> bool:
        return self.answers

    def run(self, *_: object, **__: object) -> Ran:
        return Ran(0, self.says, "", 0.0)


@dataclass(frozen=True)
class FakeEstate:
    postgres: tuple[FakeHost, ...] = (FakeHost("pg1"), FakeHost("pg2"))
    backup: FakeHost = FakeHost("backup1")
    app: FakeHost = FakeHost("app1")
    hosts: tuple[FakeHost, ...] = ()
    name: str = "fake"
    data: dict[str, Any] = field(default_factory=lambda: {"postgres_version": 17})


def context(estate: FakeEstate, **options: Any) -> Any:
    return Context(estate, RestoreClusterOptions(**options), Path("20260101T000000Z-restore-cluster"))


def seen(host: str, **more: Any) -> Ground:
    blank = Ground(FakeHost(host), Holds.EMPTY, True, False, 100 * GIB, 2, host, ())  # type: ignore[arg-type]
    return replace(blank, **more)


def survey(monkeypatch: pytest.MonkeyPatch, *found: Ground) -> None:
    monkeypatch.setattr(ground, "survey", lambda *_: found)


def test_what_a_host_says_becomes_its_ground() -> None:
    judged = '{"answer": "other"}'
    said = f"judged={judged}\nprovisioned=yes\nrunning=\nfree=1000\ncores=2\nmachine=m\nstrange= pg2 app1\n"
    found = ground.look(FakeHost("pg1", says=said), Layout(17), FakeEstate())  # type: ignore[arg-type]
    assert (found.holds, found.running, found.free_bytes) == (Holds.DATA, False, 1000)
    assert found.strange == ("pg2", "app1")
    assert not found.ready  # it knows two hosts at other addresses


def test_a_host_that_is_silent_is_named() -> None:
    restore_ground.hosts_answer(context(FakeEstate()))
    silent = FakeEstate(postgres=(FakeHost("pg1"), FakeHost("pg2", answers=False)))
    with pytest.raises(Refused, match="pg2"):
        restore_ground.hosts_answer(context(silent))


def test_a_running_server_is_refused_whatever_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    survey(monkeypatch, seen("pg1", running=True, holds=Holds.DATA), seen("pg2"))
    for replaced in (False, True):
        with pytest.raises(Refused, match="PostgreSQL runs on pg1"):
            restore_ground.nothing_runs(context(FakeEstate(), replace=replaced))


def test_data_are_moved_only_when_asked_and_where_they_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    survey(monkeypatch, seen("pg1", holds=Holds.DATA), seen("pg2", holds=Holds.UNFINISHED))
    with pytest.raises(Refused, match=r"pg1: .* holds data"):
        restore_ground.nothing_runs(context(FakeEstate()))
    asked: list[str] = []

    def would(host: FakeHost, _: object, incoming: Incoming) -> None:
        asked.append(f"{host.name}{incoming.aside}")
        if len(asked) > 1:
            raise Refused("it is a file system of its own", "by hand")

    monkeypatch.setattr(directory, "would_make_room", would)
    restore_ground.nothing_runs(context(FakeEstate(), replace=True))
    assert asked == ["pg1.replaced-20260101T000000Z"]
    with pytest.raises(Refused, match="file system of its own"):
        restore_ground.nothing_runs(context(FakeEstate(), replace=True))
    survey(monkeypatch, seen("pg1", holds=Holds.DATA, provisioned=False), seen("pg2"))
    restore_ground.nothing_runs(context(FakeEstate(), replace=True))  # nobody is there to ask before the deploy


def test_a_directory_that_is_blank_or_half_restored_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    survey(monkeypatch, seen("pg1", holds=Holds.EMPTY), seen("pg2", holds=Holds.UNFINISHED))
    restore_ground.nothing_runs(context(FakeEstate()))


def test_a_disk_must_hold_a_third_more_than_the_backup() -> None:
    restore_ground._room(BACKUP, 0, [seen("pg1", free_bytes=14 * GIB)])
    with pytest.raises(Refused, match=r"pg1 has 12\.0 GiB free .* 13\.0 GiB are needed"):
        restore_ground._room(BACKUP, 0, [seen("pg1", free_bytes=12 * GIB)])


def test_wal_is_counted_across_timelines_and_logs() -> None:
    assert restore_ground._wal(BACKUP, None) == 0
    assert restore_ground._wal(BACKUP, ArchiveEnd("000000020000000100000003", 0, 0)) == 257 * 16 * 2**20


def test_a_wrong_key_is_told_from_other_trouble() -> None:
    said = {"status": {"code": 99, "message": "other"}, "repo": [{"status": {"code": 99, "message": ""}}]}
    for message, words in (("[FormatError] unable to load info file", "cannot be read with the key"), ("x", ": x")):
        said["repo"] = [{"status": {"code": 99, "message": message}}]
        found = restore_ground._unreadable(pgbackrest._repository(said))
        assert words in str(found)


@pytest.mark.parametrize(
    ("replayed", "newest", "has"),
    [
        (0x5000000, "000000010000000000000005", False),  # it ends where the newest segment begins
        (0x5000028, "000000010000000000000005", True),
        (0x6000000, "000000010000000000000005", True),
        (0x5000028, "000000020000000000000006", False),
        (0, "", True),
    ],
)
def test_all_is_replayed_when_the_position_lies_in_the_newest_segment(replayed: int, newest: str, has: bool) -> None:
    assert Replay(True, replayed, None, 1, True).has(newest) is has


def test_the_repository_of_another_database_system_is_refused_unless_a_backup_is_named() -> None:
    repository = pgbackrest.Repository(0, "ok", "none", 7001, "17", (BACKUP,), "17-1", "", False)
    record: Any = SimpleNamespace(system_identifier="7001")
    restore_ground._require_own(context(FakeEstate()), repository, record)
    restore_ground._require_own(context(FakeEstate()), repository, None)
    record.system_identifier = "7002"
    with pytest.raises(Refused, match="database system 7001, and the lost cluster is 7002") as raised:
        restore_ground._require_own(context(FakeEstate()), repository, record)
    assert "--set" in raised.value.hint
    restore_ground._require_own(context(FakeEstate(), backup_set="F"), repository, record)


def test_a_server_that_answers_is_not_waited_for_until_systemd_calls_it_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started = threading.Event()
    monkeypatch.setattr(restore_cluster.act, "start", lambda *_: started.wait(30))
    monkeypatch.setattr(restore_cluster, "primary_of", lambda *_: FakeHost("pg1"))
    monkeypatch.setattr(restore_cluster, "layout", lambda _: Layout(17))
    asked: list[int] = []

    def answers(_: object) -> None:
        asked.append(1)
        if len(asked) < 3:
            raise Unreachable("pg1 does not take connections yet")

    monkeypatch.setattr(restore_cluster.progress, "replay", answers)
    try:
        restore_cluster.replay(context(FakeEstate()), RestoreCluster(primary="pg1"))
        assert len(asked) == 3
    finally:
        started.set()


def test_a_server_that_is_kept_from_starting_says_why_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> None:
        raise TargetFailed("start guard: refusing")

    def silent(_: object) -> None:
        raise Unreachable("nobody listens")

    monkeypatch.setattr(restore_cluster.act, "start", refuses)
    monkeypatch.setattr(restore_cluster, "primary_of", lambda *_: FakeHost("pg1"))
    monkeypatch.setattr(restore_cluster, "layout", lambda _: Layout(17))
    monkeypatch.setattr(restore_cluster.progress, "replay", silent)
    with pytest.raises(TargetFailed, match="start guard"):
        restore_cluster.replay(context(FakeEstate()), RestoreCluster(primary="pg1"))


def test_a_promotion_is_answered_ahead_where_nobody_archives_any_more() -> None:
    asks = restore_cluster._asks
    end = "00000002000000010000002A"
    assert asks(RestoreCluster(archive_end=end)) == (end, "00000003.history", "00000002.history")
    assert asks(RestoreCluster(archive_end=end.replace("02", "01", 1))) == (
        "00000001000000010000002A", "00000002.history",
    )  # fmt: skip
    assert asks(RestoreCluster()) == ()
