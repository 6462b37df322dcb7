"""What a disk, a lock, or root may do to the outbox's file: one sentence, nothing lost, and it goes on afterwards."""

from __future__ import annotations

import contextlib
import os
import resource
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.base.config import Table
from agents.base.errors import BadRow, OutboxBusy, OutboxDamaged, OutboxFull, OutboxGone
from agents.writing import outbox_file, replayer, room, sqlite_errors
from agents.writing.batch import Batch, Part
from agents.writing.outbox import Outbox
from agents.writing.room import Reserve
from tests.unit.agent_fixtures import config, orders, tables
from tests.unit.fake_store import FakeStore, until

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534
MEMORY = """
import sqlite3, sys, threading
from pathlib import Path
from agents.writing import replayer
from agents.writing.outbox import Outbox
from tests.unit.agent_fixtures import config, orders, tables
from tests.unit.fake_store import FakeStore
folder, copies = Path(sys.argv[1]), int(sys.argv[2])
settings, known = config(folder), tables(folder)
outbox, store = Outbox(settings.outbox.path, 1 << 40), FakeStore()
outbox.enqueue(orders(known, 1, 1), known, 7)
outbox._db.execute("BEGIN")
outbox._db.execute(
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < ?) INSERT INTO outbox_queue"
    " (classification, target_database, data, created_at, tables, n_rows, origin, checksum, lane)"
    " SELECT classification, target_database, data, created_at, tables, n_rows, origin, checksum, lane"
    " FROM outbox_queue, n WHERE id = 1",
    (copies - 1,),
)
outbox._db.execute("COMMIT")
replayer.backend = lambda config, name: store.backend
ours = replayer.Replayer(settings, known, outbox, threading.Event())
assert outbox.status().pending_records == copies
for _ in range(int(sys.argv[3])):
    assert ours.step(1)
assert ours.done.records > 0
# Not ru_maxrss, which a process inherits from whoever started it.
print(int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]) >> 10)
"""


@pytest.fixture
def known(tmp_path: Path) -> dict[str, Table]:
    return tables(tmp_path)


def test_a_file_that_somebody_holds_is_no_damage_and_the_batch_may_be_written_again(
    tmp_path: Path, known: dict[str, Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_file, "BUSY_S", 0.05)
    outbox = Outbox(tmp_path / "outbox.db")
    other = sqlite3.connect(outbox.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OutboxBusy) as told:
        outbox.enqueue(orders(known, 1, 10), known, 7)
    assert isinstance(told.value, OutboxFull), "whoever waits for room waits for this too"
    other.execute("ROLLBACK")
    outbox.enqueue(orders(known, 1, 10), known, 7)
    assert outbox.status().pending_rows == 10


def test_a_full_disk_acknowledges_nothing_and_keeps_what_was_acknowledged(
    tmp_path: Path, known: dict[str, Table]
) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    outbox.enqueue(orders(known, 1, 10), known, 7)
    wal = outbox.path.with_name("outbox.db-wal").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (wal + 5000, hard))
    try:
        with pytest.raises((OutboxFull, OutboxDamaged)):
            for first in range(11, 5000, 10):
                outbox.enqueue(orders(known, first, first + 9), known, 7)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    stored = outbox.status().pending_rows
    assert stored >= 10
    outbox.enqueue(orders(known, 9001, 9010), known, 7)
    assert outbox.status().pending_rows == stored + 10
    assert [one.missing for one in outbox.accounts()] == [0]


def test_a_value_beyond_all_limits_is_one_sentence(tmp_path: Path, known: dict[str, Table]) -> None:
    outbox = Outbox(tmp_path / "outbox.db", 1 << 40)
    outbox._db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 100_000)
    huge = Batch((Part("order_records", ("event_id",), 1, 1, 1, "1" * 200_000 + "\n"),))
    with pytest.raises(BadRow, match="too large"):
        outbox.enqueue(huge, known, 7)
    assert outbox.status().pending_records == 0


def test_the_reserve_is_given_back_once_and_laid_by_again(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "outbox.db", size=1 << 16)
    assert reserve.lay()
    assert reserve.path.stat().st_size == 1 << 16
    assert reserve.give()
    assert not reserve.give()
    assert reserve.lay()
    assert not Reserve(tmp_path / "none" / "outbox.db").lay()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave root's files behind")
def test_what_root_leaves_behind_belongs_to_the_folders_owner(tmp_path: Path, known: dict[str, Table]) -> None:
    """Somebody looks as root before the service has ever run: file, sidecars and locks are the service's."""
    for folder in (tmp_path, *tmp_path.parents):
        if str(folder) in ("/tmp", "/"):
            break
        folder.chmod(0o755)
    mine = tmp_path / "data"
    mine.mkdir()
    os.chown(mine, NOBODY, NOBODY)
    outbox = Outbox(mine / "outbox.db")
    outbox.enqueue(orders(known, 1, 10), known, 7)
    outbox.purge(0)
    program = (
        "import encodings.idna, os, sys; from pathlib import Path; from agents.writing.outbox import Outbox;"
        "from agents.writing.lease import Lease; os.setgroups([]); os.setgid(65534); os.setuid(65534);"
        "box = Outbox(Path(sys.argv[1])); record, = box.pending(100); box.mark_applied([record], 'pg1', 1);"
        "assert Lease(box.path).take(); assert box.purge(0) == 0; print(box.last_applied_no())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(mine / "outbox.db")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == "1\n", done.stderr
    outbox.close()


def test_the_service_waits_for_a_file_that_cannot_be_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replayer, "RETRY_MAX_S", 0.01)
    settings, stop = config(tmp_path), threading.Event()
    settings.outbox.path.write_bytes(b"this is no database" * 500)
    found: list[Outbox | None] = []
    waiting = threading.Thread(target=lambda: found.append(replayer.opened(settings, stop)))
    waiting.start()
    assert not until(lambda: bool(found), 0.2)
    settings.outbox.path.unlink()
    waiting.join(10)
    assert found
    assert found[0] is not None
    assert capsys.readouterr().err.count("is damaged") == 1


def test_memory_does_not_grow_with_what_waits(tmp_path: Path) -> None:
    used = []
    for copies in (100, 30_000):
        folder = tmp_path / str(copies)
        folder.mkdir()
        command = [sys.executable, "-c", MEMORY, str(folder), str(copies), "1"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        used.append(int(done.stdout))
    assert used[1] < 200
    assert used[1] - used[0] < 60


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB of its own; needs root, and a kernel that lets it mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_is_really_full_is_drained_all_the_same(
    small_disk: Path, tmp_path: Path, known: dict[str, Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every byte is taken, the outbox's write-ahead log included; the reserve is what the replayer works with."""
    monkeypatch.setattr(room, "RESERVE", 1 << 20)
    monkeypatch.setattr(replayer, "RETRY_MAX_S", 0.05)
    store = FakeStore()
    monkeypatch.setattr(replayer, "backend", lambda config, name: store.backend)
    settings = config(tmp_path, outbox={"path": str(small_disk / "outbox.db")})
    outbox = Outbox(settings.outbox.path)
    ours = replayer.Replayer(settings, known, outbox, threading.Event())
    ours._reserve = room.Reserve(settings.outbox.path, 1 << 20)
    ours.housekeep()
    assert ours._reserve.path.exists()
    last = 0
    with pytest.raises(OutboxFull):
        for last in range(1, 100_000, 100):
            outbox.enqueue(orders(known, last, last + 99), known, 7)
    with contextlib.suppress(OSError), (small_disk / "filler").open("ab") as filler:
        while True:
            filler.write(b"x" * 4096)
            filler.flush()
    assert os.statvfs(small_disk).f_bavail == 0
    stop = threading.Event()
    replayer.drain_once(outbox, ours, 20, stop)
    assert store.rows["order_records"] >= set(range(1, last))
    assert outbox.status().pending_rows == 0
    assert [one.missing for one in outbox.accounts()] == [0]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("database or disk is full", OutboxFull), ("database is locked", OutboxBusy),
        ("database table is locked", OutboxBusy), ("attempt to write a readonly database", OutboxDamaged),
        ("unable to open database file", OutboxDamaged), ("disk I/O error", OutboxDamaged),
        ("database disk image is malformed", OutboxDamaged), ("file is not a database", OutboxDamaged),
    ],
)  # fmt: skip
def test_where_python_tells_no_number_the_words_say_what_it_is(tmp_path: Path, words: str, kind: type) -> None:
    with pytest.raises(kind) as told_as, sqlite_errors.told(tmp_path / "outbox.db"):
        raise sqlite3.OperationalError(words)  # as of Python 3.10: without sqlite_errorcode
    assert type(told_as.value) is kind
    assert "cannot be used" not in str(told_as.value)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_was_removed_while_it_was_open_acknowledges_nothing(
    tmp_path: Path, known: dict[str, Table], replaced: bool
) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    outbox.enqueue(orders(known, 1, 1), known, 7)
    for name in ("outbox.db", "outbox.db-wal", "outbox.db-shm"):
        (tmp_path / name).rename(tmp_path / f"away-{name}")
    if replaced:
        Outbox(tmp_path / "outbox.db").close()
    with pytest.raises(OutboxGone, match="removed or replaced"):
        outbox.enqueue(orders(known, 2, 2), known, 7)
    outbox.close()


def test_the_replayer_of_a_file_that_was_replaced_ends_so_that_it_is_started_on_the_other(
    tmp_path: Path, known: dict[str, Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FakeStore()
    monkeypatch.setattr(replayer, "backend", lambda config, name: store.backend)
    monkeypatch.setattr(replayer, "PURGE_EVERY_S", 0.0)
    settings = config(tmp_path)
    outbox, stop = Outbox(settings.outbox.path), threading.Event()
    threading.Timer(10, stop.set).start()
    (tmp_path / "outbox.db").unlink()
    with pytest.raises(OutboxGone):
        replayer.serve(outbox, replayer.Replayer(settings, known, outbox, stop), stop)
