"""What is kept of SQLite databases is in the off-site copy, comes back from there, and is known to be there."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import pytest

from agents.base.errors import AgentError
from agents.base.locks import held
from agents.jobs import in_step, proofs
from agents.jobs.in_step import Reading
from agents.jobs.proofs import Proof
from agents.offsite import copies, restic, shelves
from agents.sqlite import restore
from agents.sqlite.expire import Law
from agents.sqlite.shelf import Shelf
from agents.sqlite.targets import Target
from runbooks import agent
from runbooks.actions import offsite
from runbooks.engine.outcome import Outcome
from runbooks.hosts import Ran
from runbooks.long_work.work import Work
from runbooks.procedures import checks
from tests.unit import test_sqlite_runbook as runbook
from tests.unit.jobs_kit import BackupHost, backup_host
from tests.unit.sqlite_kit import Estate, protected, trade, trades, until

LABEL, SNAPSHOT, STREAM = "20261121-183000F", "20261121-100000F", "20261121-090000S"
needs_restic = pytest.mark.skipif(shutil.which("restic") is None, reason="restic is not installed here")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BackupHost:
    """Its records are in `tmp_path`, where the kit's receiver keeps what it receives."""
    (tmp_path / "backup1").mkdir()
    host = backup_host(tmp_path / "backup1")
    password = tmp_path / "password"
    password.write_text("of the copy\n")
    offsite = {
        "host": "offsite1", "repository": str(tmp_path / "offsite1"), "ssh_config": "x", "read_days": 14,
        "password_file": str(password), "keep_last": 1, "keep_daily": 1, "keep_weekly": 1,
    }  # fmt: skip
    for name in ("jobs", "leases"):
        (tmp_path / name).mkdir()
    host.change(jobs={"offsite": {}}, offsite=offsite, records=str(tmp_path))
    host.holds(LABEL)
    now = time.time()
    host.note("verify", armed_at=now, last_success_at=now, outcome="passed")
    proofs.append(Proof(LABEL, now, True), host.settings.proofs)
    monkeypatch.setenv("PATH", f"{host.folder}/bin:/usr/bin:/bin")
    monkeypatch.setenv("MYSTOCKS_JOBS", str(host.folder / "jobs.json"))
    monkeypatch.setattr(restic, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(in_step, "ask", lambda database: [Reading("pg1", 0.0, True)])
    restic.version.cache_clear()
    return host


@pytest.fixture
def estate(tmp_path: Path, host: BackupHost) -> Iterator[Estate]:
    made = Estate(tmp_path, tmp_path / "pki")
    yield made
    made.end()


def shelf(folder: Path, snapshots: tuple[str, ...] = (SNAPSHOT,), epochs: tuple[int, ...] = (1, 2)) -> Path:
    for label in snapshots:
        place = folder / "snapshots" / label
        place.mkdir(parents=True)
        (place / "manifest.json").write_text(json.dumps({"label": label}))
        proofs.append(Proof(label, time.time(), True), folder / "proofs.jsonl")
    (folder / "streams" / STREAM).mkdir(parents=True)
    for epoch in epochs:
        (folder / "streams" / STREAM / f"{epoch:010d}.wal").write_text(f"epoch {epoch} of {folder.parent.name}")
    return folder


def lost_with_both_hosts(estate: Estate, host: BackupHost) -> None:
    """Twenty trades, protected and copied off-site; then both hosts are blank, and nothing runs."""
    with closing(estate.database()) as database:
        estate.start()
        for number in range(20):
            trade(database, number)
        protected(estate.asking())
    copies.copy(host.settings)
    estate.end()
    shutil.rmtree(estate.kept)
    shutil.rmtree(estate.path.parent)


@needs_restic
def test_both_hosts_lost_come_back_from_the_off_site_copy_to_the_last_transaction_in_it(
    estate: Estate, host: BackupHost
) -> None:
    """No empty database is begun on the blank hosts meanwhile."""
    lost_with_both_hosts(estate, host)

    estate.start()
    until(lambda: "--offsite" in estate.log("protector"), 60)
    assert not estate.path.exists()
    copies.restore(host.settings, "latest", None, str(host.settings.sqlite / "app1-trading"))
    said = restore.restore(estate.settings, "trading", Target())
    assert said["rows"]["trades"] == 20 and len(trades(estate.path)) == 20
    with closing(estate.asking()) as asking:
        protected(asking, 60)


class Lost(runbook.Hosts):
    """Its hosts are this machine; the off-site host is a folder."""

    groups: ClassVar[dict[str, tuple[str, ...]]] = {"offsite": ("offsite1",)}

    @property
    def backup(self) -> runbook.Here:
        return self.host_


@needs_restic
def test_the_runbook_fetches_first_what_the_backup_host_has_lost(
    estate: Estate, host: BackupHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Both hosts are blank; one command brings the database back, protected."""
    lost_with_both_hosts(estate, host)
    estate.start()

    def work(where: runbook.Here, wanted: Work, *_: object, **__: object) -> Ran:
        module, *words = wanted.argv[2:]
        if module == "agents.offsite.copies":
            only = words[-1].replace(offsite.SQLITE, str(host.settings.sqlite))
            return Ran(0, json.dumps(copies.restore(host.settings, "latest", None, only)), "", 0.0)
        return agent.run(where, module.removeprefix("agents."), *words, timeout=60)  # type: ignore[arg-type]

    monkeypatch.setattr(agent, "run_work", work)
    monkeypatch.setattr(checks, "passed", lambda *_, **__: None)
    monkeypatch.setenv("DR_STATE", str(tmp_path / "state"))
    hosts = Lost(runbook.Here(estate))
    nothing = runbook.ran(hosts)
    assert nothing.outcome is Outcome.FAILED and "No snapshot was ever kept" in nothing.error
    found = runbook.ran(hosts, offsite=True)
    assert found.outcome is Outcome.PASSED, found.error
    assert any("and the backup host had not is back" in told for told in found.state.told)
    assert len(runbook.live(estate)) == 20 and protected(estate.asking()).based


@needs_restic
def test_what_is_there_stays_and_what_was_lost_of_it_comes_beside(estate: Estate, host: BackupHost) -> None:
    """The backup host alone was lost: the new stream goes on, and moments before it can be restored again."""
    with closing(estate.database()) as database:
        estate.start()
        trade(database, 0)
        known = protected(estate.asking())
        copies.copy(host.settings)
        estate.kill("receiver")
        shutil.rmtree(estate.kept)
        estate.start("receiver")
        trade(database, 1)
        protected(estate.asking(), 60)
        assert len(restore.listed(estate.settings, "trading")["snapshots"]) == 1
        copies.restore(host.settings, "latest", None, str(host.settings.sqlite))
        trade(database, 2)
        protected(estate.asking(), 60)
    assert len(restore.listed(estate.settings, "trading")["snapshots"]) == 2
    found = restore.restore(estate.settings, "trading", Target(at=known.at), plan=True)
    assert found["rows"]["trades"] == 1 and found["tx"] == known.tx
    assert restore.restore(estate.settings, "trading", Target(), plan=True)["rows"]["trades"] == 3


@needs_restic
def test_the_copy_says_which_databases_it_holds(host: BackupHost) -> None:
    assert copies.known_shelves(host.settings) == {"host": "offsite1", "shelves": {}}
    shelf(host.settings.sqlite / "app1-trading")
    shelf(host.settings.sqlite / "app2-trading", (SNAPSHOT, "20261121-110000F"))
    copies.copy(host.settings)
    assert copies.known_shelves(host.settings)["shelves"] == {"app1-trading": 1, "app2-trading": 2}


def test_nothing_that_is_there_is_changed_and_no_end_of_a_stream_is_made_up(tmp_path: Path) -> None:
    found = shelf(tmp_path / "copy" / "app1-trading", (SNAPSHOT, "20261121-110000F"), (1, 2, 3))
    there = shelf(tmp_path / "here" / "app1-trading", (SNAPSHOT,), (2,))
    known = (there / "proofs.jsonl").read_text()
    assert shelves.merge(found.parent, there.parent) == 2
    stream = there / "streams" / STREAM
    assert {path.name[-5:-4]: path.read_text()[-4:] for path in stream.iterdir()} == {"1": "copy", "2": "here"}
    assert sorted(path.name for path in (there / "snapshots").iterdir()) == [SNAPSHOT, "20261121-110000F"]
    assert (there / "proofs.jsonl").read_text().endswith(known)
    assert set(proofs.verdicts(proofs.read(there / "proofs.jsonl"))) == {SNAPSHOT, "20261121-110000F"}
    assert shelves.merge(found.parent, there.parent) == 0


def test_an_emptied_shelf_is_not_copied_over_the_good_copies(host: BackupHost) -> None:
    shelf(host.settings.sqlite / "app1-trading")
    shutil.rmtree(host.settings.sqlite / "app1-trading" / "snapshots")
    with pytest.raises(AgentError, match="app1-trading holds none of the snapshots") as raised:
        copies.copy(host.settings)
    assert "--only" in raised.value.hint


def test_no_copy_goes_on_the_word_of_the_other_stores_alone(host: BackupHost) -> None:
    place = shelf(host.settings.sqlite / "app1-trading", ())
    assert copies.holds(host.settings) == []
    (place / "snapshots" / SNAPSHOT).mkdir(parents=True)
    (place / "snapshots" / SNAPSHOT / "manifest.json").write_text("{}")
    proofs.append(Proof("20251121-100000F", time.time(), True), place / "proofs.jsonl")
    assert "no backup of app1-trading that is there was restored" in copies.holds(host.settings)[0]
    proofs.append(Proof(SNAPSHOT, time.time(), True), place / "proofs.jsonl")
    assert copies.holds(host.settings) == []
    proofs.append(Proof(SNAPSHOT, time.time(), False), place / "proofs.jsonl")
    assert f"{SNAPSHOT} is damaged here" in copies.holds(host.settings)[0]


def test_nothing_expires_while_it_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(Shelf, "_expire", lambda *_: asked.append("expire"))
    one = Shelf(tmp_path / "app1-trading", 1 << 30, Law(2, 28, 2))
    said = {"do": "proven", "label": SNAPSHOT, "ok": True, "sentence": "whole", "seconds": 1.0}
    with held(tmp_path / shelves.LOCK, AgentError("busy", "")):
        one.answer(said, b"")
    assert asked == []
    one.answer(said, b"")
    assert asked == ["expire"]


def test_a_stream_that_came_back_is_the_newest_where_there_was_none(tmp_path: Path) -> None:
    """A receiver that runs counts on from it, instead of from nothing."""
    one = Shelf(tmp_path / "app1-trading", 1 << 30)
    assert one.answer({"do": "state"}, b"")[0]["stream"] == ""
    (tmp_path / "app1-trading" / "streams" / STREAM).mkdir()
    assert one.answer({"do": "state"}, b"")[0]["stream"] == STREAM
