"""The watch on a whole estate: it acts on a lost primary and on nothing less, and never beside anybody."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drills import by_watch
from drills.benches import noise
from drills.judging.result import Outcome
from drills.run import Plan, drill
from drills.scenarios.catalogue import scenario
from inventories.catalog.load import load_recovery
from lab import faults, state
from runbooks.engine.wait import until
from runbooks.hosts import Estate
from runbooks.watch.desk import call
from tests.drills.doors import dr
from tests.drills.estate import lab_of, make_whole, power_on, quiet, rejoin, roles, runs, timeline

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]


@pytest.fixture
def estate(estate_lab: Estate) -> Iterator[Estate]:
    whole = make_whole(estate_lab)
    by_watch.forget(whole.backup)
    yield whole
    call(whole.backup, "end", {})
    by_watch.forget(whole.backup)


def new_folder(name: str) -> Path:
    folder = runs() / f"watch-{name}-{time.monotonic_ns()}"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.destructive
def test_nobody_awake_the_watch_fails_over_and_no_row_is_lost(estate: Estate) -> None:
    plan = Plan(rate=1000.0, by=by_watch.WATCH)  # it is about who acts, and when
    result, folder = drill(scenario("primary-power-loss"), lab_of(estate), quiet, plan, runs=new_folder("drill"))
    assert result.outcome is Outcome.PASSED, result.reasons
    assert (result.lost, result.duplicated) == (0, 0)
    assert result.detection_s is not None
    assert load_recovery().watch.patience_s <= result.detection_s < 8
    assert result.timeline_changed
    assert any(fact.label == "who acted" and "the watch" in fact.says for fact in result.facts)
    assert (folder / "logs" / "watch.jsonl").exists()


@pytest.mark.destructive
def test_declared_maintenance_keeps_it_from_acting_and_the_command_is_said(estate: Estate) -> None:
    primary, _ = roles(estate)
    before = timeline(estate)
    assert dr("watch.maintenance", "--for", "5min", "--reason", "a new disk").code == 0
    with by_watch.begun(new_folder("maintenance"), "doors.main", "watch", "--json", "--act", "failover") as watcher:
        faults.power_off(lab_of(estate), primary)
        said = watcher.hears(lambda word: word.what == "declines", 30, "that it declines")
        assert "a new disk" in said.says
        assert "./dr failover --yes" in said.says
        power_on(estate)
        assert not watcher.said("acts")
    assert "Maintenance for" in dr("watch.status").out
    assert dr("start-cluster", "--yes").code == 0
    assert timeline(estate) == before


@pytest.mark.destructive
@pytest.mark.long  # the loop's unit tests hold the same, without the minute on a lab
def test_second_failover_within_the_hour_is_for_a_person(estate: Estate) -> None:
    """Also for a watch that was started anew, and for another one: the backup host remembers."""
    primary, standby = roles(estate)
    folder = new_folder("cooldown")
    with by_watch.running(estate.backup, folder, "--act", "failover") as watcher:
        faults.power_off(lab_of(estate), primary)
        watcher.hears(lambda word: word.what == "acted", 120, "that it acted")
    power_on(estate)
    rejoin(estate)
    make_whole(estate)
    with by_watch.begun(folder, "doors.main", "watch", "--json", "--act", "failover") as anew:
        faults.power_off(lab_of(estate), standby)  # the primary by now
        said = anew.hears(lambda word: word.what == "declines", 30, "that it declines")
        assert "within the last 60 minutes" in said.says
        power_on(estate)
        assert not anew.said("acts")
    assert dr("start-cluster", "--yes").code == 0


@pytest.mark.destructive
@pytest.mark.long  # the loop's unit tests hold the same, without the minute on a lab
def test_noise_moves_nobody_and_would_move_a_watch_without_patience(estate: Estate) -> None:
    lab = lab_of(estate)
    patient = noise.bench(lab, estate, len(noise.EPISODES), quiet, seed=1)
    assert not patient.acted
    assert patient.wrong(hasty=False) == ()  # each proves that its trouble was there, and that the watch looked
    make_whole(estate)
    hasty = noise.bench(lab, estate, 3 * len(noise.EPISODES), quiet, seed=1, hasty=True)
    assert hasty.acted
    assert hasty.wrong(hasty=True) == ()
    make_whole(estate)


def test_partition_is_a_cut_and_no_loss(estate: Estate) -> None:
    primary, standby = roles(estate)
    lab = lab_of(estate)
    others = (state.load(lab).gateway, estate.host(standby).address, estate.backup.address)
    with by_watch.running(estate.backup, new_folder("cut"), "--act", "failover") as watcher:
        faults.isolate(lab, primary, others)
        try:
            said = watcher.hears(lambda word: word.what == "sees" and "cut off" in word.says, 30, "the cut")
            assert estate.app.name in said.says
        finally:
            faults.heal(lab, primary)
        watcher.hears(lambda word: word.what == "sees" and word.says.endswith(" serves"), 60, "that it serves", said.at)
        assert not watcher.said("acts")


def test_one_word_ends_it(estate: Estate) -> None:
    with by_watch.running(estate.backup, new_folder("stop")) as watcher:
        assert "only looks" in dr("watch.status").out
        ended = dr("watch.stop")
        assert (ended.code, "has ended" in ended.out) == (0, True)
        assert watcher.process.wait(10) == 0
    assert "No watch runs" in dr("watch.status").out


def test_watch_that_is_killed_leaves_nothing_on_the_hosts(estate: Estate) -> None:
    with by_watch.running(estate.backup, new_folder("killed")) as watcher:
        os.kill(watcher.process.pid, signal.SIGKILL)
    for host in estate.hosts:
        until(
            lambda host=host: host.run("pgrep -f '[a]gents.watch.eye|[g]uard.notes serve' || true").text, 30,  # type: ignore[misc]
            what=f"no eye on {host}", accept=lambda text: not text,
        )  # fmt: skip
