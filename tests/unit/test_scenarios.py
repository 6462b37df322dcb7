"""Scenarios and twins fit each other and the catalogue; what a drill left for later is undone, newest first."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from drills.scenarios.catalogue import SCENARIOS, TWINS
from drills.scenarios.parts import PACKAGE, Twin, store_lost
from drills.stage import Stage
from drills.stores import TDENGINE
from inventories.catalog.load import load_recovery
from inventories.errors import TargetFailed
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
        looked = ("bad-update", "site-power-loss", "app-power-loss", "app-disk-loss")
        assert name in looked, "its alarm is somebody who looks: nobody can promise when"


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
