"""What of a SQLite database's backups goes, and when nothing does."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from agents.jobs.proofs import Proof
from agents.sqlite.expire import Going, Law, plan
from agents.sqlite.shelf import Shelf

LAW = Law(full_copies=2, days=28, every_days=2)
NOW = 1_800_000_000.0
DAY, HOUR = 86400.0, 3600.0


def snapshot(age_s: float, stream: str = "S1", epoch: int = 1, now: float = NOW) -> dict[str, Any]:
    at = now - age_s
    label = time.strftime("%Y%m%d-%H%M%S", time.gmtime(at)) + "F"
    return {"label": label, "taken_at": at, "at": at, "bytes": 4096, "stream": stream, "epoch": epoch}


def hourly(days: int, stream: str = "S1") -> list[dict[str, Any]]:
    """Oldest first, each of an epoch of its own."""
    hours = days * 24
    return [snapshot(hour * HOUR, stream, hours - hour) for hour in range(hours - 1, -1, -1)]


def proven(*labels: str, passed: bool = True) -> dict[str, Proof]:
    return {label: Proof(label, NOW, passed) for label in labels}


def labels(manifests: list[dict[str, Any]], going: Going) -> list[str]:
    return [one["label"] for one in manifests if one["label"] not in going.snapshots]


def test_of_a_month_of_hours_two_days_stay_whole_and_of_each_day_before_one() -> None:
    found = hourly(40)
    going = plan(found, ["S1"], proven(found[-1]["label"]), LAW, NOW)
    stays = labels(found, going)
    ages = [(NOW - one["taken_at"]) / DAY for one in found if one["label"] in stays]
    assert 28 <= max(ages) < 29.1
    assert sum(age < 2 for age in ages) == 48
    assert 26 <= sum(age >= 2 for age in ages) <= 28
    first = next(one for one in found if one["label"] == stays[0])
    assert going.epochs == {"S1": first["epoch"]} and going.streams == ()


def test_nothing_goes_before_a_newer_one_was_restored_and_found_whole() -> None:
    found = hourly(40)
    for proofs in ({}, proven(found[0]["label"]), proven(found[-1]["label"], passed=False)):
        assert plan(found, ["S1"], proofs, LAW, NOW).snapshots == ()


def test_changes_go_with_the_last_snapshot_that_they_lead_on_from_and_the_newest_stream_never() -> None:
    old, new = [snapshot(60 * DAY, "S1"), snapshot(50 * DAY, "S2")], [snapshot(d * DAY, "S3") for d in (29, 20, 0)]
    going = plan([*old, *new], ["S1", "S2", "S3", "S4"], proven(new[-1]["label"]), LAW, NOW)
    assert going.snapshots == tuple(one["label"] for one in old)
    assert going.streams == ("S1", "S2")


@pytest.mark.parametrize("wrong", [-400 * DAY, 400 * DAY])
def test_a_clock_that_is_wrong_lets_nothing_go(wrong: float) -> None:
    found = hourly(40)
    going = plan(found, ["S1"], proven(found[-1]["label"]), LAW, NOW + wrong)
    assert going.snapshots == () and "clock" in going.why


def shelf(folder: Path) -> tuple[Shelf, list[dict[str, Any]]]:
    """Of a database that was protected for two months: a snapshot a day, each the first of an epoch."""
    found = [snapshot(age * DAY, "20260101-000000S", 61 - age, time.time()) for age in range(60, -1, -1)]
    for one in found:
        place = folder / "snapshots" / one["label"]
        place.mkdir(parents=True)
        (place / "manifest.json").write_text(json.dumps(one))
        (place / "data").write_bytes(b"locked")
    stream = folder / "streams" / "20260101-000000S"
    stream.mkdir(parents=True)
    made = Shelf(folder, 1 << 30, LAW)
    for one in found:
        (stream / f"{one['epoch']:010d}.wal").write_bytes(b"changes")
    return made, found


def prove(made: Shelf, label: str, ok: bool = True) -> None:
    made.answer({"do": "proven", "label": label, "ok": ok, "sentence": "", "seconds": 1.0}, b"")


def kept(folder: Path) -> tuple[int, int]:
    return len(list(folder.glob("snapshots/2*"))), len(list(folder.glob("streams/*/*.wal")))


def test_the_shelf_lets_go_when_a_proof_has_passed(tmp_path: Path) -> None:
    made, found = shelf(tmp_path)
    prove(made, found[-1]["label"], ok=False)
    assert kept(tmp_path) == (61, 61)
    prove(made, found[-1]["label"])
    assert kept(tmp_path) == (29, 29)
    assert not list(tmp_path.rglob(".gone-*"))


def test_the_shelf_keeps_all_of_it_while_somebody_restores(tmp_path: Path) -> None:
    made, found = shelf(tmp_path)
    made.answer({"do": "read", "label": found[0]["label"], "offset": 0}, b"")
    prove(made, found[-1]["label"])
    assert kept(tmp_path) == (61, 61)
    assert "restores" in made.answer({"do": "list"}, b"")[0]["retention"]


def test_without_a_law_nothing_expires(tmp_path: Path) -> None:
    made, found = shelf(tmp_path)
    made = Shelf(tmp_path, 1 << 30)
    prove(made, found[-1]["label"])
    assert kept(tmp_path)[0] == 61
