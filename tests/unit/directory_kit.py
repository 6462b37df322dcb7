"""Data directories with real clusters in them, for the tests of the program that deletes, fills and moves them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from agents.base.errors import AgentError
from agents.postgresql.directory import change, facts
from agents.postgresql.directory.change import Place
from agents.postgresql.directory.judge import Answer, Claim, write_claim
from tests.unit.postgres_server import Server, folder_for_server, programs

ASIDE = ".replaced-20260101T000000Z"


class Made(Server):
    """A server whose data directory is called as the main cluster's is."""

    def __init__(self, folder: Path, name: str = "main") -> None:
        super().__init__(folder)
        self.data = folder / name

    def start(self) -> None:
        """Its files are a copy's own from now on."""
        own = self.data.with_name(f"{self.data.name}.own")
        subprocess.run(["cp", "-a", self.data, own], check=True)
        shutil.rmtree(self.data)
        own.rename(self.data)
        super().start()

    def initdb(self, *more: str) -> None:
        words = ("-A", "trust", "-U", "postgres", "-N", "--locale=C.UTF-8", "--wal-segsize=1", *more)
        self._run("initdb", "-D", self.data, *words)

    def copied(self, name: str, *more: str) -> Made:
        """As a restore brings it: whole, never started, a standby."""
        copy = Made(self.folder, name)
        source = f"host=127.0.0.1 port={self.port} user=postgres"
        self._run("pg_basebackup", "-d", source, "-D", copy.data, "-R", "-c", "fast", *more)
        return copy

    def where(self) -> tuple[int, int]:
        """Its timeline, and where its WAL ends."""
        rows = self.sql("select timeline_id from pg_control_checkpoint()", database="postgres")
        lsn = self.sql("select pg_current_wal_insert_lsn()", database="postgres")
        return int(str(rows[0][0])), facts.position(str(lsn[0][0]))


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """Directories to be copied: `unused` as initdb leaves it, `used` with a table and a row, `copy` a backup of it, and
    `side` the same promoted; all of them down.
    """
    with folder_for_server() as folder:
        Made(folder, "unused").initdb()
        server = Made(folder, "used")
        copied(folder / "unused", server.data)
        server.start()
        try:
            server.sql("CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (1)", "CHECKPOINT", database="postgres")
            server.copied("copy")
        finally:
            server.stop("fast")
        side = Made(folder, "side")
        copied(folder / "copy", side.data)
        side.start()
        side.promote()
        side.sql("CHECKPOINT", database="postgres")
        side.stop("fast")
        yield folder


def copied(source: Path, target: Path) -> None:
    """By links, but for the files that tests write into."""
    subprocess.run(["cp", "-al", source, target], check=True)
    for name in ("global/pg_control", "postgresql.auto.conf"):
        subprocess.run(["cp", "-a", "--remove-destination", source / name, target / name], check=True)


@pytest.fixture
def folder(made: Path) -> Iterator[Path]:
    with folder_for_server() as one:
        yield one


@pytest.fixture
def place(folder: Path) -> Place:
    notes = folder / "notes"
    return Place(folder / "main", programs(), claims=notes, record=notes / "estate.json", patience_s=0)


@pytest.fixture
def unused(folder: Path, made: Path) -> Made:
    server = Made(folder)
    copied(made / "unused", server.data)
    return server


@pytest.fixture
def used(folder: Path, made: Path) -> Iterator[Made]:
    """A primary that has a table with a row, down."""
    server = Made(folder)
    copied(made / "used", server.data)
    yield server
    server.stop()


@pytest.fixture
def running(used: Made) -> Made:
    used.start()
    return used


@pytest.fixture
def copy(used: Made, made: Path) -> Path:
    """A backup of the primary, as a restore brings it, beside it."""
    copied(made / "copy", used.folder / "copy")
    return used.folder / "copy"


def answer(place: Place) -> Answer:
    return change.seen_and_judged(place)[1].answer


def claimed(place: Place, path: Path, timeline: int = 0, end: int = 0, system: str = "") -> None:
    write_claim(place.claim, Claim(str(place.path), path.stat().st_ino, "LABEL", system, timeline, end))


def everything(path: Path) -> set[str]:
    return {str(one.relative_to(path)) for one in path.rglob("*")}


def recorded(place: Place, **said: object) -> None:
    place.record.parent.mkdir(exist_ok=True)
    place.record.write_text(json.dumps({"record": said}))


def wal_elsewhere(server: Made) -> Path:
    """Its pg_wal, moved to where a link leads."""
    wal = server.folder / "wal"
    (server.data / "pg_wal").rename(wal)
    (server.data / "pg_wal").symlink_to(wal)
    return wal


class Ran:
    """What would have been run; as a restore it leaves `files` of the place."""

    def __init__(self, left: Path | None = None, fails: str = "") -> None:
        self.commands: list[list[str]] = []
        self._left, self._fails = left, fails

    def __call__(self, command: Sequence[str | Path], lock: int) -> None:
        self.commands.append([str(word) for word in command])
        if self._left is not None:
            shutil.copytree(self._left, self.commands[-1][2].partition("=")[2], dirs_exist_ok=True, symlinks=True)
        if self._fails:
            raise AgentError(self._fails)
