"""A mark on a real PostgreSQL under load: a restore to its LSN holds what was committed before it, and nothing more."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from agents.writing.outbox import Outbox
from doors.main import DrProgram, arguments
from inventories.errors import BadInput, ExitCode, Refused, TargetFailed
from runbooks import hosts
from runbooks.engine.wait import until
from runbooks.hosts import Estate
from runbooks.marks import asking, keeping, taking
from runbooks.probes.postgresql import pgbackrest
from runbooks.probes.postgresql import server as nodes
from runbooks.probes.postgresql.pgbackrest import Backup, Repository
from runbooks.probes.postgresql.server import Node
from tests.unit import sqlite_kit, td_kit
from tests.unit.agent_fixtures import config_file, orders, tables
from tests.unit.marks_kit import estate, host
from tests.unit.postgres_server import Server, folder_for_server
from tests.unit.test_tasks_support import run

ARCHIVE = "cp %p {0}/.%f && mv {0}/.%f {0}/%f"
RECOVERY = """
restore_command = 'cp {archive}/%f %p'
recovery_target_lsn = '{lsn}'
recovery_target_inclusive = off
recovery_target_timeline = '{timeline}'
recovery_target_action = promote
archive_mode = off
"""


class Archived(Server):
    """A server whose WAL goes to `archive`."""

    @property
    def archive(self) -> Path:
        return self.folder / "archive"

    def create(self) -> None:
        self.archive.mkdir()
        shutil.chown(self.archive, "postgres") if self._user else None
        super().create()
        self.sql(
            "ALTER SYSTEM SET archive_mode = on",
            f"ALTER SYSTEM SET archive_command = '{ARCHIVE.format(self.archive)}'",
        )
        self.stop("fast")
        self.start()
        self.sql("CREATE TABLE counted (n bigint PRIMARY KEY)")

    def base(self, folder: Path) -> Server:
        """A copy that a restore begins with; it was never started."""
        copy = Server(folder)
        self._run(
            "pg_basebackup", "-d", f"host=127.0.0.1 port={self.port} user=postgres", "-D", copy.data, "-c", "fast"
        )
        return copy

    def close_segment(self) -> None:
        """Every WAL record of now is in the archive when this returns."""
        [[name]] = self.sql("SELECT pg_walfile_name(pg_switch_wal())")
        until(lambda: (self.archive / str(name)).exists(), 30, what="the segment in the archive")


def restored(server: Archived, copy: Server, lsn: str, timeline: int) -> list[int]:
    """The numbers that a restore to it holds."""
    settings = RECOVERY.format(archive=server.archive, lsn=lsn, timeline=timeline)
    with (copy.data / "postgresql.auto.conf").open("a") as out:
        out.write(settings)
    (copy.data / "recovery.signal").touch()
    copy.start()
    try:
        until(
            lambda: copy.sql("SELECT pg_is_in_recovery()")[0][0], 30, what="the end of recovery",
            accept=lambda recovers: not recovers,
        )  # fmt: skip
        return [int(str(n)) for (n,) in copy.sql("SELECT n FROM counted ORDER BY n")]
    finally:
        copy.stop()


@pytest.fixture(scope="module")
def server() -> Iterator[Archived]:
    with folder_for_server() as folder:
        made = Archived(folder)
        try:
            made.create()
            yield made
        finally:
            made.stop()


@pytest.fixture
def here(server: Archived, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Estate:
    """One primary, an application host and a backup host; who is primary was found out."""
    config_file(tmp_path, shadow={"path": str(tmp_path / "shadow")})
    made = estate(host("pg1", tmp_path, server), host("app1", tmp_path), host("backup1", tmp_path))
    node = Node(made.host("pg1"), ssh=True, online=True, in_recovery=False, timeline=1)
    monkeypatch.setattr(nodes, "survey", lambda _: (node,))
    return made


class Writer:
    """Commits one number after the other; knows when each was begun and acknowledged."""

    def __init__(self, server: Server, first: int) -> None:
        self.begun: dict[int, float] = {}
        self.acknowledged: dict[int, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, args=(server, first), daemon=True)
        self._thread.start()

    def _write(self, server: Server, n: int) -> None:
        connection = psycopg2.connect(host="127.0.0.1", port=server.port, user="postgres", dbname="quant_research")
        connection.autocommit = True
        with connection.cursor() as cursor:
            while not self._stop.is_set():
                self.begun[n] = time.monotonic()
                cursor.execute("INSERT INTO counted VALUES (%s)", (n,))
                self.acknowledged[n] = time.monotonic()
                n += 1
        connection.close()

    def ends(self) -> None:
        self._stop.set()
        self._thread.join(30)


def test_under_load_a_restore_to_a_mark_holds_what_was_acknowledged_before_it_and_nothing_begun_after(
    server: Archived, here: Estate
) -> None:
    with folder_for_server() as folder:
        copy = server.base(folder)
        writer = Writer(server, 1_000_000)
        until(lambda: len(writer.acknowledged) > 50, 30, what="rows")
        before = time.monotonic()
        taken = taking.take(here, "under-load")
        after = time.monotonic()
        until(lambda: any(at > after for at in list(writer.acknowledged.values())), 30, what="rows after it")
        writer.ends()
        server.close_segment()
        held = set(restored(server, copy, taken.mark.lsn, taken.mark.timeline))
    must = {n for n, at in writer.acknowledged.items() if at < before}
    never = {n for n, at in writer.begun.items() if at > after}
    assert must and never
    assert must <= held
    assert not never & held


def test_the_lsn_is_where_the_restore_point_ends_so_that_the_next_commit_is_not_in_it(
    server: Archived, here: Estate
) -> None:
    with folder_for_server() as folder:
        copy = server.base(folder)
        server.sql("DELETE FROM counted", "INSERT INTO counted SELECT generate_series(1, 3)")
        mark = taking.take(here, "after-three").mark
        server.sql("INSERT INTO counted VALUES (4)")
        server.close_segment()
        assert restored(server, copy, mark.lsn, mark.timeline) == [1, 2, 3]
    [[system]] = server.sql("SELECT system_identifier::text FROM pg_control_system()")
    assert (mark.system, mark.timeline, mark.estate, mark.primary) == (system, 1, "here", "pg1")
    assert abs(mark.at - time.time()) < 60


def test_the_outbox_is_asked_before_the_restore_point_and_tdengine_after_it(
    server: Archived, here: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def noted(name: str, real: Any) -> Any:
        def done(*words: Any) -> Any:
            order.append(name)
            return real(*words)

        return done

    for name in ("position", "point", "windows"):
        monkeypatch.setattr(asking, name, noted(name, getattr(asking, name)))
    taking.take(here, "in-order")
    assert order == ["position", "point", "windows"]


def test_a_mark_binds_the_outboxs_numbers_and_says_what_is_absent(here: Estate, tmp_path: Path) -> None:
    first = taking.take(here, "unused").mark
    assert [(one.outbox, one.shadow) for one in first.positions] == [(None, {})]
    known, outbox = tables(tmp_path), Outbox(tmp_path / "outbox.db")
    last = outbox.enqueue(orders(known, 1, 5), known, 7)
    outbox.close()
    mark = taking.take(here, "used").mark
    [one] = mark.positions
    assert one.outbox and (one.outbox.newest, one.outbox.pending_rows) == (last, 5)
    assert (mark.tdengine, mark.databases, mark.lacks) == (None, (), ())
    assert mark.stores == ("postgresql", "outbox of postgresql")
    kept = keeping.look(here.backup)
    assert [one.name for one in kept.marks] == ["unused", "used"]
    assert kept.marks[-1] == mark


def test_with_tdengine_its_outbox_and_its_newest_backups_hashes_are_bound_too(
    here: Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = td_kit.place(tmp_path)
    told = {name: str(getattr(settings, name)) for name in ("folder", "cipher", "proofs", "tdengine", "database")}
    (tmp_path / "td-backup.json").write_text(json.dumps({**told, "zstd_level": 1}))
    monkeypatch.setenv("MYSTOCKS_TD_BACKUP", str(tmp_path / "td-backup.json"))
    shutil.copy(tmp_path / "agent.json", tmp_path / "agent-tdengine.json")
    tsdb = host("tsdb1", tmp_path)
    both = replace(here, hosts=(*here.hosts, tsdb), groups={**here.groups, "tdengine": ("tsdb1",)})
    assert taking.take(both, "no-backup").mark.tdengine is None
    label = td_kit.holds(settings, "20261121-100000F").label
    mark = taking.take(both, "with-backup").mark
    assert [one.store for one in mark.positions] == ["postgresql", "tdengine"]
    assert mark.tdengine and (mark.tdengine.label, mark.tdengine.tables["tick_data"][2]) == (label, 1)
    assert keeping.look(both.backup).marks[-1] == mark
    manifest = settings.folder / label / "manifest.json"
    manifest.write_text(manifest.read_text().replace("market_data", "market_date"))
    edited = taking.take(both, "edited").mark
    assert edited.tdengine is None
    [lack] = edited.lacks
    assert "was edited, or sealed with another key" in lack


def test_with_sqlite_databases_the_transaction_that_is_protected_is_bound_too(
    here: Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit = sqlite_kit.Estate(tmp_path, tmp_path / "pki")
    monkeypatch.setenv("MYSTOCKS_SQLITE", str(kit.config))
    both = replace(here, data={**here.data, "sqlite_databases": ["trading"]})
    try:
        with closing(kit.database()) as database:
            kit.start()
            sqlite_kit.trade(database, 1)
            known = sqlite_kit.protected(kit.asking())
        mark = taking.take(both, "with-sqlite").mark
        [bound] = mark.databases
        assert (bound.host, bound.database, bound.stream, bound.tx) == ("app1", "trading", known.stream, known.tx)
        assert mark.lacks == () and "sqlite trading" in mark.stores
        assert keeping.look(both.backup).marks[-1] == mark
        kit.kill("protector")
        unprotected = taking.take(both, "unprotected").mark
    finally:
        kit.end()
    assert unprotected.databases == ()
    assert unprotected.lacks[0].startswith("SQLite database trading on app1: The protector at")


def test_an_application_host_that_is_away_is_what_the_mark_lacks(here: Estate, tmp_path: Path) -> None:
    app = host("app1", tmp_path, away=True)
    away = replace(here, hosts=(here.host("pg1"), app, here.backup))
    mark = taking.take(away, "without-app").mark
    assert mark.positions == ()
    [lack] = mark.lacks
    assert lack.startswith("PostgreSQL's outbox on app1: ")


def test_nothing_is_written_for_a_name_that_is_none_or_stands(server: Archived, here: Estate) -> None:
    taking.take(here, "once")
    [[before]] = server.sql("SELECT pg_current_wal_insert_lsn()::text")
    with pytest.raises(Refused, match="a mark once stands already"):
        taking.take(here, "once")
    with pytest.raises(BadInput, match="no name of a mark"):
        taking.take(here, "'); drop table counted; --")
    [[written]] = server.sql("SELECT pg_current_wal_insert_lsn()::text")
    points = server.sql(f"SELECT '{written}'::pg_lsn - '{before}'::pg_lsn")
    assert int(str(points[0][0])) < 1000, "no restore point and no commit"


def test_a_server_that_is_a_standby_by_now_takes_no_restore_point_and_nothing_is_kept(
    server: Archived, here: Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with folder_for_server() as folder:
        standby = server.standby(folder)
        try:
            node = Node(host("pg1", tmp_path, standby), ssh=True, online=True, in_recovery=False, timeline=1)
            monkeypatch.setattr(nodes, "survey", lambda _: (node,))
            with pytest.raises(TargetFailed, match="recovery is in progress"):
                taking.take(here, "on-a-standby")
        finally:
            standby.stop()
    assert keeping.look(here.backup).marks == ()


def test_the_task_keeps_a_mark_and_lets_go_of_what_no_backup_leads_to(
    server: Archived, here: Estate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hosts, "load", lambda *_: here)
    old = taking.take(here, "old").mark
    server.close_segment()
    server.sql("INSERT INTO counted VALUES (-1)")
    [[wal_stop]] = server.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
    backup = Backup("full", "full", 0, False, 0, 0, str(wal_stop))
    repository = Repository(0, "ok", "aes", int(old.system), "15", (backup,), "15-1", "", False)
    monkeypatch.setattr(pgbackrest, "info", lambda *_: repository)
    DrProgram(name="dr", binary="./dr").run(arguments(["mark", "new", "--json"]))
    told = json.loads(capsys.readouterr().out)
    assert (told["name"], told["expired"], told["tdengine"], told["databases"]) == ("new", ["old"], None, [])
    assert [one.name for one in keeping.look(here.backup).marks] == ["new"]


def test_a_mark_that_lacks_something_is_kept_and_the_task_ends_with_1(
    here: Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "outbox.db").write_bytes(b"no database" * 1000)
    monkeypatch.setattr(hosts, "load", lambda *_: here)
    monkeypatch.setattr(pgbackrest, "info", lambda *_: Repository(0, "", "", None, "", (), "", "", False))
    code, out, err = run(capsys, "mark", "lacking")
    assert code == ExitCode.FAILED
    assert out.startswith("mark lacking: ")
    assert "SQLite databases: none" in out
    assert "WARNING: PostgreSQL's outbox on app1: " in err
    [kept] = keeping.look(here.backup).marks
    assert len(kept.lacks) == 1
