"""Native backups: always full, two stay and older ones until a newer one is proven, whoever left them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from agents.base import files
from agents.base.errors import AgentError
from agents.jobs import in_step, leases, proofs, second
from agents.jobs.in_step import Reading
from agents.jobs.leases import Lease
from agents.jobs.proofs import Proof
from agents.postgresql import native
from agents.postgresql.pgbackrest import Backup, Missing
from tests.unit.jobs_kit import backup_host

_BASEBACKUP = """#!/bin/sh
echo "$@" > "{folder}/asked"
while [ "$1" != -D ]; do shift; done
mkdir "$2"
echo 17 > "$2/PG_VERSION"
echo "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)" > "$2/backup_label"
echo '{{"Files": [{{"Size": 7}}], "WAL-Ranges": [{{"Start-LSN": "0/2000028", "End-LSN": "0/2000100"}}]}}' \\
  > "$2/backup_manifest"
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> native.Store:
    """A folder for backups, a pg_basebackup that brings three files, a pg_verifybackup that finds nothing wrong."""
    host = backup_host(tmp_path)
    program = tmp_path / "bin" / "pg_basebackup"
    program.write_text(_BASEBACKUP.format(folder=tmp_path))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setattr(native, "_program", lambda path, name: "true")
    monkeypatch.setattr(in_step, "ask", lambda database: [Reading("pg1", 0.0, True)])
    (tmp_path / "native").mkdir()
    return native.Store(tmp_path / "native", host.folder / "jobs.json")


def earlier(store: native.Store, label: str, **further: object) -> None:
    """A backup that is there already."""
    known = {
        "label": label, "kind": "incr" if label.endswith("I") else "full", "started_at": 1, "stopped_at": 2,
        "lsn_start": "0/1", "lsn_stop": "0/2", "wal_start": "", "wal_stop": "", "size": 1, "error": False,
        "version": 17, "archive_max": "", "annotation": {}, **further,
    }  # fmt: skip
    (store.folder / label).mkdir()
    (store.folder / f"{label}.json").write_text(json.dumps(known))


def test_a_backup_asks_the_server_for_no_summaries(store: native.Store) -> None:
    made = store.take()
    assert (made.kind, made.size, made.wal_start) == ("full", 7, "000000010000000000000002")
    assert "--incremental" not in (store.folder.parent / "asked").read_text()
    assert store.backups() == (made,)
    assert store.directory(made.label).is_dir()


def test_two_are_kept_and_nothing_else_of_the_folder_goes(
    store: native.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for label in ("20260101-000000F", "20260102-000000F"):
        earlier(store, label)
    (store.folder / "notes").mkdir()
    made = store.take()
    held = store.let_go()
    assert held.goes == (), "none was restored and found whole"
    assert "no backup was ever restored and found whole" in second.told(held)
    proofs.append(Proof(made.label, time.time(), True), store.proofs)
    leases.hold(Lease("x", "o", "a restore copies it", None, 60.0), store.config.parent / "records/leases")
    assert "a restore copies it" in second.told(store.let_go())
    leases.release("x", store.config.parent / "records/leases")
    with monkeypatch.context() as wrong:
        wrong.setattr(in_step, "ask", lambda database: [Reading("pg1", 9e6, True), Reading("pg2", 9e6)])
        assert "ahead of" in (said := second.told(store.let_go())) or "behind" in said
        wrong.setattr(in_step, "ask", lambda database: [])
        assert store.let_go().goes == (), "nor where nobody can be asked"
    assert second.told(store.let_go()) == "; let go: 20260101-000000F"
    assert [one.label for one in store.backups()] == ["20260102-000000F", made.label]
    assert not (store.folder / "20260101-000000F").exists()
    assert (store.folder / "notes").exists()


def test_incremental_ones_of_an_earlier_release_are_none_and_go_with_the_next(store: native.Store) -> None:
    earlier(store, "20260101-000000F", prior=None)
    earlier(store, "20260101-120000I", prior="20260101-000000F")
    assert [one.label for one in store.backups()] == ["20260101-000000F"]
    with pytest.raises(Missing, match="no native backup 20260101-120000I"):
        store.directory("20260101-120000I")
    store.take()
    store.let_go()
    assert sorted(path.name for path in store.folder.glob("*I*")) == []


def test_one_that_is_damaged_is_no_copy_and_stands_for_none(
    store: native.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for label in ("20260101-000000F", "20260102-000000F"):
        earlier(store, label)
    made = store.take()
    proofs.append(Proof(made.label, time.time(), True), store.proofs)
    found = ("20260102-000000F: a file is missing",)
    monkeypatch.setattr(native.Store, "damaged", lambda self, path: found if path.name in found[0] else ())
    assert store.let_go().goes == ()
    assert len(store.backups()) == 3


@pytest.mark.parametrize("days", [60, -60])
def test_the_clock_changes_nothing_of_the_order(
    store: native.Store, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """Two labelled ahead outlived everything, and each new one was let go as soon as it was taken."""
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + days * 86400)
    wrong = [store.take().label, store.take().label]
    monkeypatch.setattr(time, "time", real)
    made = store.take()
    assert [one.label for one in store.backups()] == [*wrong, made.label]
    proofs.append(Proof(made.label, real(), True), store.proofs)
    store.let_go()
    assert made.label in [one.label for one in store.backups()]


def test_a_failed_one_leaves_nothing_and_says_why(store: native.Store) -> None:
    program = store.folder.parent / "bin" / "pg_basebackup"
    program.write_text('#!/bin/sh\necho "pg_basebackup: error: no space" >&2\nexit 1\n')
    with pytest.raises(AgentError, match="took nothing: no space"):
        store.take()
    assert store.backups() == ()
    assert [path for path in store.folder.iterdir() if path.name != ".lock"] == []


def test_a_record_reads_back_as_it_was_written(store: native.Store) -> None:
    made = store.take()
    assert isinstance(made, Backup)
    assert store.backups()[-1] == made


def test_a_backup_counts_once_its_record_is_whole_and_a_record_without_one_does_not(
    store: native.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut between the two leaves what the next backup clears away."""

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(files, "publish", cut)
        store.take()
    assert [path.suffix for path in sorted(store.folder.glob("2*"))] == [".json", ".partial"]
    assert store.backups() == ()
    earlier(store, "20260101-000000F")
    (store.folder / "20260102-000000F.json").write_text("{}")
    made = store.take()
    store.let_go()
    assert {path.stem for path in store.folder.glob("2*")} == {"20260101-000000F", made.label}
