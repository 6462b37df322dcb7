"""Scenarios and twins fit each other and the catalogue; what a drill left for later is undone, newest first."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from drills.feed import Feed
from drills.measuring.events import Event, Started, StoreDown, StoreUp
from drills.measuring.ledger import read_ledger
from drills.measuring.tally import LedgerView, tally
from drills.scenarios.catalogue import SCENARIOS, TWINS
from drills.scenarios.parts import PACKAGE, Twin, store_lost
from drills.stage import Stage
from drills.stores import TDENGINE
from inventories.catalog.load import load_recovery
from inventories.errors import TargetFailed, TimedOut
from runbooks.hosts import Estate, Host

BACKUPS = (
    "dropped-table", "bad-update", "cluster-loss", "offsite-only", "silent-archive-failure", "damaged-backup",
    "disk-full", "app-power-loss", "app-disk-loss", "backup-power-loss", "offsite-loss",
)  # fmt: skip


def stage(said: list[str]) -> Stage:
    nobody = cast(Host, None)
    return Stage("lab", cast(Estate, None), nobody, nobody, "192.0.2.1", Path(), said.append)


@pytest.mark.parametrize("name", SCENARIOS)
def test_an_alarm_is_promised_exactly_where_the_store_does_not_fall_silent(name: str) -> None:
    scenario, promise = SCENARIOS[name], load_recovery().scenarios[SCENARIOS[name].promise]
    if promise.detect_s is not None:
        assert scenario.detect not in (None, store_lost)
    elif scenario.detect not in (None, store_lost):
        looked = (
            "bad-update", "bad-update-delayed", "site-power-loss", "app-power-loss", "app-disk-loss",
            "sqlite-host-loss",
        )  # fmt: skip
        assert name in looked, "its alarm is somebody who looks: nobody can promise when"


def quick_feed(folder: Path, *after: Event) -> Feed:
    """One whose outages are over when somebody looks."""
    told = (Started(1.0, 1790000000, 100.0, ("ticks",)), *after)
    path = folder / "ledger.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in map(said_as, told)))
    view = tally(read_ledger(path)).view

    def wait_for(enough: Callable[[LedgerView], bool], seconds: float, what: str) -> LedgerView:
        if not enough(view):
            raise TimedOut(what)
        return view

    return cast(Feed, SimpleNamespace(ledger=SimpleNamespace(path=path, wait_for=wait_for)))


def said_as(event: Event) -> dict[str, object]:
    match event:
        case Started():
            return {"at": event.at, "kind": "start", "run": event.run, "rate": event.rate, "tables": ["ticks"]}
        case StoreDown():
            return {"at": event.at, "kind": "store_down", "why": event.why}
        case StoreUp():
            return {"at": event.at, "kind": "store_up", "host": "tsdb1", "timeline": 1}
    raise AssertionError(event)


def test_a_store_that_is_back_before_anybody_looks_was_lost_all_the_same(tmp_path: Path) -> None:
    """Three nodes elect another leader while the lost one's container is still being removed."""
    slow, lost, draining = (StoreDown(2.0, "slow"), StoreDown(5.0, "no leader"), StoreDown(6.0, "being drained"))
    made = stage([])
    made.running["tdengine"] = quick_feed(tmp_path, slow, StoreUp(3.0, "", 1), lost, StoreUp(5.5, "", 1), draining,
                                          StoreUp(7.0, "", 1))  # fmt: skip
    made.outages = {"tdengine": 1}
    assert store_lost(made) == "rows go to the outbox: no leader"
    made.outages = {"tdengine": 3}
    with pytest.raises(TimedOut, match="the feed to notice the fault"):
        store_lost(made)


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_belongs_to_a_scenario_and_changes_something(name: str) -> None:
    twin = TWINS[name]
    assert twin.scenario in SCENARIOS
    assert twin.recover or twin.detect or twin.forge_ledger or twin.prepare


@pytest.mark.parametrize("name", [name for name, known in SCENARIOS.items() if TDENGINE in known.stores])
def test_a_scenario_of_tdengine_has_a_twin_and_is_skipped_by_name_without_a_package(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert name in {twin.scenario for twin in TWINS.values()}
    monkeypatch.setenv(PACKAGE, "/packages/tdengine.tar.gz")
    assert SCENARIOS[name].skipped == ""
    monkeypatch.delenv(PACKAGE)
    assert SCENARIOS[name].skipped == f"{name} is skipped, because TDENGINE_PACKAGE names no TDengine package"


def test_a_scenario_of_postgresql_is_never_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PACKAGE, raising=False)
    assert {name for name, known in SCENARIOS.items() if known.skipped} == {
        name for name, known in SCENARIOS.items() if TDENGINE in known.stores
    }


@pytest.mark.parametrize("name", BACKUPS)
def test_every_drill_of_backups_has_a_twin(name: str) -> None:
    sharing = {"offsite-only": "cluster-loss"}  # the same runbook, from another repository
    assert sharing.get(name, name) in {twin.scenario for twin in TWINS.values()}


def test_a_twin_holds_when_every_reason_is_its_own() -> None:
    twin = Twin("a", "b", r"1 of |the fence leaks", "primary-crash")
    assert twin.is_why(["1 of 7 rows is lost", "the fence leaks here"])
    assert not twin.is_why([])
    assert not twin.is_why(["1 of 7 rows is lost", "11 of 7 rows are lost"])


def test_a_twin_whose_runbook_is_fooled_leaves_the_finding_to_the_ledger() -> None:
    assert TWINS["leaky-fence"].runbook_fails
    assert not TWINS["inclusive-target"].runbook_fails
    assert not TWINS["deaf-alarm"].runbook_fails


def test_what_was_left_for_later_is_undone_once_and_newest_first_whatever_fails() -> None:
    said: list[str] = []
    done: list[str] = []

    def fails() -> None:
        raise TargetFailed("no such host")

    made = stage(said)
    made.later("the disk", lambda: done.append("disk"))
    made.later("the byte", fails)
    made.later("the lie", lambda: done.append("lie"))
    made.undo_all()
    made.undo_all()
    assert done == ["lie", "disk"]
    assert said == ["WARNING: the byte failed: no such host"]


def test_the_newest_fact_of_a_label_is_told() -> None:
    made = stage([])
    made.fact("restored from", "one")
    made.fact("restored from", "two")
    assert (made.told("restored from"), made.told("nothing")) == ("two", "")
