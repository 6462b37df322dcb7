"""The monitoring database's own backup, its proof, and its loss: history comes back, and a twin that must lack some."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from agents.base.errors import AgentError
from agents.base.locks import held
from agents.jobs import proofs
from agents.monitor import backup
from agents.monitor.backup import Busy, Shelf
from agents.monitor.content import differences
from agents.monitor.shipping import ship
from agents.monitor.spool import Spool
from agents.monitor.take import take
from tests.unit.monitor_kit import NAME, Monitoring, operation, run


@pytest.fixture
def shelf(db: Monitoring, tmp_path: Path) -> Shelf:
    return Shelf(f"host=127.0.0.1 port={db.server.port} user=postgres", tmp_path / "backups")


def lose(db: Monitoring) -> None:
    db.server.sql(f"DROP DATABASE {NAME} WITH (FORCE)", database="postgres")


def lines(first: int, last: int) -> list[str]:
    return [operation(str(n)) for n in range(first, last)]


def test_a_backup_is_proven_by_a_restore_beside(db: Monitoring, shelf: Shelf) -> None:
    db.put([*lines(0, 300), run("r", 1, "passed")])
    taken = shelf.take()
    db.put(lines(300, 310))  # after it: a proof compares with the moment of the backup
    proof = shelf.prove()
    assert proof.passed and proof.label == taken.label and len(proof.checks) == 3
    assert proofs.read(shelf.folder / "proofs.jsonl")[0].passed
    left = f"select count(*) from pg_database where datname = '{backup.SIDE}'"
    assert db.server.sql(left, database="postgres") == [(0,)]


@pytest.mark.parametrize("damage", ["dump", "manifest"])
def test_a_damaged_backup_is_found_and_the_one_before_it_is_taken(db: Monitoring, shelf: Shelf, damage: str) -> None:
    db.put(lines(0, 100))
    shelf.take("20261128-010000")
    db.put(lines(100, 200))
    newest = shelf.folder / shelf.take("20261128-020000").label
    if damage == "dump":
        raw = bytearray((newest / "dump").read_bytes())
        raw[len(raw) // 2] ^= 1
        (newest / "dump").write_bytes(bytes(raw))
    else:
        told = json.loads((newest / "manifest.json").read_text())
        told["tables"]["runs"] = [1, 5]
        (newest / "manifest.json").write_text(json.dumps(told))
    proof = shelf.prove()
    assert not proof.passed and proof.damaged
    lose(db)
    assert shelf.restore()["label"] == "20261128-010000"
    assert db.one("select count(*) from operation_logs") == 100


def test_an_empty_database_proves_nothing(db: Monitoring, shelf: Shelf) -> None:
    db.sql("delete from kinds", "delete from schema_migrations", "delete from incarnation")
    shelf.take()
    assert not shelf.prove().passed


def test_nothing_to_restore_from_is_a_sentence(shelf: Shelf) -> None:
    with pytest.raises(AgentError, match="has no backup that counts"):
        shelf.prove()


def test_two_do_not_restore_beside_at_once(db: Monitoring, shelf: Shelf) -> None:
    db.put(lines(0, 3))
    shelf.take()
    with held(shelf.folder / "side.lock", AgentError("", "")), pytest.raises(Busy, match="is under way"):
        shelf.prove()


def test_what_a_new_database_was_told_before_the_restore_stays(db: Monitoring, shelf: Shelf) -> None:
    """Hosts ship every half minute, and a backup is taken every day: they find the new one before anybody restores."""
    told = lines(0, 2600)
    db.put([*told[:2500], run("r", 1, None), "garbage"])
    shelf.take("20261128-010000")
    lose(db)
    db.fresh()
    db.put([*told[2490:], run("r", 2, "passed")])
    shelf.take("20261129-010000")
    assert shelf.restore()["added"] == 2490 + len(["garbage"])
    assert db.one("select count(*) from operation_logs") == 2600
    assert db.sql("select outcome from runs") == [("passed",)]
    assert db.sql("select line from rejected") == [("garbage",)]
    assert shelf.restore()["added"] == 0


def test_each_database_that_there_was_gives_what_it_had(db: Monitoring, shelf: Shelf) -> None:
    db.put(lines(0, 10))
    shelf.take("20261127-010000")
    db.fresh()
    db.put(lines(10, 20))
    shelf.take("20261128-010000")
    lose(db)
    told = shelf.restore()
    assert (told["label"], told["added"]) == ("20261128-010000", 10)
    assert db.one("select count(*) from operation_logs") == 20


def test_months_that_are_kept_no_more_do_not_come_back(db: Monitoring, shelf: Shelf) -> None:
    old = datetime.now(UTC).replace(day=1) - timedelta(days=70)
    db.put([operation("old", old.isoformat()), operation("new")])
    shelf.take()
    db.fresh()
    db.sql("update kinds set keep_months = 1 where kind = 'operation'")
    db.put([run("r", 1, None)])
    assert shelf.restore()["added"] == 1
    assert db.sql("select operation_id from operation_logs") == [("new",)]


def test_old_backups_go_and_the_newest_proven_one_never(
    db: Monitoring, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "KEEP", 2)
    db.put(lines(0, 3))
    shelf.take("20261101-000000")
    shelf.prove()
    for day in (2, 3, 4):
        shelf.take(f"202611{day:02}-000000")
    assert [one.label[:8] for one in shelf.backups()] == ["20261101", "20261103", "20261104"]


def test_the_newest_of_each_database_never_goes(
    db: Monitoring, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "KEEP", 1)
    shelf.take("20261101-000000")
    db.fresh()
    for day in (2, 3):
        shelf.take(f"202611{day:02}-000000")
    assert [one.label[:8] for one in shelf.backups()] == ["20261101", "20261103"]


@pytest.mark.parametrize("twin", [False, True])
def test_of_a_lost_database_the_whole_history_comes_back(
    db: Monitoring, shelf: Shelf, tmp_path: Path, twin: bool
) -> None:
    """What came after the backup is in the spools. The twin, a restore that says nothing of itself, lacks just that."""
    kept, deliver = Spool(tmp_path / "spool"), partial(take, db.dsn())
    kept.put(lines(0, 600))
    ship(kept, deliver)
    shelf.take()
    kept.put([*lines(600, 900), run("after", 1, "passed")])
    ship(kept, deliver)
    lose(db)
    kept.put(lines(900, 1000))
    with pytest.raises(AgentError):
        ship(kept, deliver)  # and production does not notice
    shelf.restore(incarnate=not twin)
    ship(kept, deliver)
    number, runs = db.one("select count(*) from operation_logs"), db.one("select count(*) from runs")
    assert (number, runs) == ((700, 0) if twin else (1000, 1))
    assert db.one("select count(distinct operation_id) from operation_logs") == number


def test_a_difference_names_its_table() -> None:
    wanted, found = {"a": (1, 5), "b": (2, 6), "c": (3, 7)}, {"a": (1, 9), "b": (4, 6), "d": (0, 0)}
    assert differences(wanted, found) == [
        "a has as many rows, and others", "b has 4 rows and not 2", "c is missing", "d is one too many",
    ]  # fmt: skip
