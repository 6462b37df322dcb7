"""What older timelines left behind stays out of the archive: judged by name, and on real servers that change roles."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runbooks.actions.postgresql import server as act
from runbooks.probes.postgresql import server as probe
from runbooks.probes.postgresql.wal_left import beside, refused
from tests.unit.postgres_server import Server, folder_for_server

SEGMENT = 16 << 20


def test_what_the_history_has_and_what_is_newer_is_left_to_the_archiver() -> None:
    forks = {1: 9 * SEGMENT + 100, 2: 12 * SEGMENT}
    names = [
        probe.segment(1, 8 * SEGMENT), probe.segment(1, 9 * SEGMENT), f"{probe.segment(1, 9 * SEGMENT)}.partial",
        probe.segment(2, 11 * SEGMENT), probe.segment(2, 12 * SEGMENT), probe.segment(3, 12 * SEGMENT),
        probe.segment(4, 1 * SEGMENT), "00000003.history", "archive_status",
    ]  # fmt: skip
    assert beside(names, 3, forks) == (probe.segment(1, 9 * SEGMENT), probe.segment(2, 12 * SEGMENT))


def test_a_timeline_that_the_history_does_not_know_is_nobodys() -> None:
    stray = probe.segment(2, SEGMENT)
    assert beside([stray, probe.segment(3, SEGMENT)], 3, {1: 5 * SEGMENT}) == (stray,)


@dataclass
class Here:
    """A host that is this machine, whose cluster lies elsewhere."""

    name: str = "here"

    def run(self, command: str, *args: Any, **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", command.replace("%%", "%") % args], user="postgres" if os.geteuid() == 0 else None, check=True,
            capture_output=True, text=True, cwd="/",
        )  # fmt: skip


@dataclass(frozen=True)
class Where:
    data: str


@pytest.fixture(scope="module")
def succeeded() -> Iterator[tuple[Server, Path]]:
    """A primary that was succeeded by its standby, followed that, and is primary again; where it archives to."""
    with folder_for_server() as folder:
        archive = folder / "archive"
        archive.mkdir()
        if os.geteuid() == 0:
            shutil.chown(archive, "postgres")
        first, other = Server(folder / "first"), folder / "other"
        for made in (first.folder, other):
            made.mkdir()
            if os.geteuid() == 0:
                shutil.chown(made, "postgres")
        first._run("initdb", "-D", first.data, "-A", "trust", "-U", "postgres", "-N", "--locale=C.UTF-8")
        settings = (
            "archive_mode=on", f"archive_command='test -e {archive}/%f || cp %p {archive}/%f'", "wal_keep_size=64MB",
            f"restore_command='cp {archive}/%f %p'", "max_wal_size=64MB", "min_wal_size=32MB",
        )  # fmt: skip
        with (first.data / "postgresql.conf").open("a") as conf:
            conf.write("\n".join(settings) + "\n")
        first.start()
        second = first.standby(other)
        try:
            _switch(first, second)
            second.sql("SELECT pg_switch_wal()", "CHECKPOINT", database="postgres")
            _switch(second, first)
            yield first, archive
        finally:
            first.stop()
            second.stop()


def _switch(old: Server, new: Server) -> None:
    """As a switchover does it: the old primary ends cleanly and follows the new one, nothing is rewound."""
    old.stop("fast")
    new.promote()
    new.sql("CHECKPOINT", database="postgres")
    with (old.data / "postgresql.auto.conf").open("a") as conf:
        conf.write(f"primary_conninfo = 'host=127.0.0.1 port={new.port} user=postgres'\n")
    (old.data / "standby.signal").touch()
    if os.geteuid() == 0:
        shutil.chown(old.data / "standby.signal", "postgres")
    old.start()
    following = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
    for _ in range(200):
        if new.sql(following, database="postgres") == [(1,)]:
            return
        new.sql("SELECT pg_sleep(0.1)", database="postgres")
    pytest.fail("the old primary does not follow")


def _goes_on(server: Server, archive: Path) -> set[str]:
    """Write until the server removes what is old, and see what it archived meanwhile."""
    for _ in range(12):
        server.sql("SELECT pg_logical_emit_message(false, 'x', 'y')", "SELECT pg_switch_wal()", database="postgres")
    waits = "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'"
    for _ in range(200):
        server.sql("CHECKPOINT", database="postgres")
        if server.sql(waits, database="postgres") == [(0,)]:
            break
        server.sql("SELECT pg_sleep(0.1)", database="postgres")
    return {path.name for path in archive.iterdir()}


def test_a_former_primary_does_not_archive_where_its_successor_left_it(succeeded: tuple[Server, Path]) -> None:
    """Left to itself the server marks that segment for the archiver when it is about to remove it."""
    server, archive = succeeded
    host: Any = Here()
    where: Any = Where(str(server.data))
    timeline = 3
    text = (server.data / "pg_wal" / "00000003.history").read_text()
    rows = [line.split() for line in text.splitlines() if line.strip()]
    forks = {int(row[0]): probe.lsn(row[1]) or 0 for row in rows}
    left = beside([path.name for path in (server.data / "pg_wal").iterdir()], timeline, forks)
    mine = probe.segment(1, forks[1])
    assert mine in left, "it was never told that its last segment is nobody's"
    act.never_archive(host, where, left)
    act.never_archive(host, where, left)
    got = _goes_on(server, archive)
    assert mine not in got and f"{mine}.partial" in got, sorted(got)


def test_an_archive_that_refuses_a_last_segment_for_ever_is_led_past_it(succeeded: tuple[Server, Path]) -> None:
    """A promotion that was taken back has archived another one of that name; pgBackRest takes no second."""
    server, archive = succeeded
    status = server.data / "pg_wal" / "archive_status"
    part = next(archive.glob("*.partial")).name
    for made in (shutil.copy(archive / part, status.parent), status / f"{part}.ready"):
        Path(made).touch()
        if os.geteuid() == 0:
            shutil.chown(made, "postgres")
    refuses = "ALTER SYSTEM SET archive_command = 'case %f in *.partial) exit 1;; esac; test -e {0}/%f || cp %p {0}/%f'"
    server.sql(refuses.format(archive), "SELECT pg_reload_conf()", "SELECT pg_switch_wal()", database="postgres")
    asked: Any = SimpleNamespace(query=lambda sql: [{"name": row[0]} for row in server.sql(sql, database="postgres")])
    has: Any = SimpleNamespace(run=lambda *_, **__: SimpleNamespace(stdout="there\n"))
    lacks: Any = SimpleNamespace(run=lambda *_, **__: SimpleNamespace(stdout=""))
    for _ in range(100):
        if name := refused(asked, has, "main", 3):
            break
        server.sql("SELECT pg_sleep(0.1)", database="postgres")
    assert name == part
    assert not refused(asked, lacks, "main", 3), "what the archive does not have it may take yet"
    assert not refused(asked, has, "main", int(name[:8], 16)), "of its own timeline nothing is passed over"
    host: Any = Here()
    where: Any = Where(str(server.data))
    act.never_archive(host, where, (name,))
    _goes_on(server, archive)
    assert not list(status.glob("*.ready")), "all that waited behind it is archived"
    assert not refused(asked, has, "main", 3)
