"""An episode counts where its trouble and its watch are proven; everything else fails the bench with its reason."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drills import by_watch
from drills.beats import BEAT
from drills.benches import noise
from drills.benches.noise import InForce, Noise, Scene
from drills.looking import Word
from inventories.errors import BadInput, TargetFailed, TimedOut, VerificationFailed

KIND = "30 % packet loss"
EYES = ("app1", "pg2", "the watch")
QUIET = random.Random(1)


class Watch:
    """What a watch said, which is made up, and whether it lives."""

    def __init__(self) -> None:
        self.words: list[Word] = []
        self.code: int | None = None
        self.process = SimpleNamespace(pid=0)
        self.waited: list[tuple[float, list[bool]]] = []

    def beats(self, since: float, until: float) -> None:
        at = since
        while at <= until:
            self.words.append(Word(at, BEAT, "", dict.fromkeys(EYES, at)))
            at += 0.2

    def heard(self) -> tuple[Word, ...]:
        return tuple(self.words)

    def said(self, what: str, since: float = 0.0) -> tuple[Word, ...]:
        return tuple(word for word in self.words if word.what == what and word.at >= since)

    def hears(self, wanted: Callable[[Word], bool], seconds: float, what: str, since: float = 0.0) -> Word:
        self.waited.append((since, [wanted(word) for word in self.words]))
        raise TimedOut(f"the watch has not said {what} within {seconds:g} s")

    def ended(self) -> str:
        return "" if self.code is None else f"the watch has ended by itself with {self.code}"


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def scene(watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(noise.faults, "heal", lambda *_: None)
    monkeypatch.setattr(noise, "SETTLES_S", 0.0)
    monkeypatch.setattr(by_watch, "eyes", lambda _: len(EYES))
    anything: Any = SimpleNamespace(hosts=())
    seen: Any = watch
    return Scene("toy", anything, anything, (), seen, tmp_path)


def force(watch_still: bool = False) -> InForce:
    return InForce(100.0, 103.0, watch_still)


def play(scene: Scene, monkeypatch: pytest.MonkeyPatch, episode: Callable[..., InForce]) -> Noise:
    monkeypatch.setattr(noise, "EPISODES", {KIND: episode})
    found = Noise(1)
    noise._one(scene, KIND, QUIET, found, lambda _: None)
    return found


def test_episode_that_a_living_watch_saw_counts(scene: Scene, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    watch.beats(95, 106)
    found = play(scene, monkeypatch, lambda *_: force())
    assert (found.ran, found.unproven, found.wrong(hasty=False)) == ({KIND: 1}, [], ())


def test_next_episode_waits_until_the_watch_looks_through_all_its_eyes_again(
    scene: Scene, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that was dead is heard of seconds after it was healed; a blind eye sees nothing meanwhile."""
    healed = time.monotonic()
    later = healed + 60
    watch.words = [
        Word(later, BEAT, "", {"app1": later, "pg2": later, "the watch": healed - 1}),
        Word(later, BEAT, "", {"app1": later, "the watch": later}),
        Word(later, BEAT, "", dict.fromkeys(EYES, later)),
        Word(later, "acts", "failover begins by itself: pg1 is lost"),
    ]
    play(scene, monkeypatch, lambda *_: force())
    ((since, enough),) = watch.waited
    assert healed <= since <= time.monotonic()
    assert enough == [False, False, True, True]


def test_cut_closes_the_eyes_of_the_host_that_it_cuts_off(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = [SimpleNamespace(name=name, address=name) for name in ("app1", "pg1", "pg2", "backup1")]
    toy: Any = SimpleNamespace(hosts=hosts, app=hosts[0], backup=hosts[3], postgres=hosts[1:3])
    cut: list[tuple[str, list[str]]] = []

    def blink(_: str, host: str, others: list[str], __: float) -> InForce:
        cut.append((host, others))
        return force()

    monkeypatch.setattr(noise.noise, "blink", blink)
    monkeypatch.setattr(noise.lab_state, "load", lambda _: SimpleNamespace(gateway="here"))
    there = replace(scene, estate=toy, primary=toy.postgres[0])
    closed = {kind: noise.EPISODES[f"{kind} cut off"](there, QUIET).closed for kind in (
        "application host", "backup host", "standby"
    )}  # fmt: skip
    assert closed == {"application host": 1, "backup host": 0, "standby": 1}
    assert cut[2] == ("pg2", ["app1", "pg1", "backup1", "here"])


def test_trouble_that_was_not_in_force_is_not_survived(
    scene: Scene, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> InForce:
        raise TargetFailed("not one packet was lost")

    watch.beats(95, 106)
    found = play(scene, monkeypatch, none)
    assert found.ran == {}
    assert found.wrong(hasty=False)[0] == f"not proven: {KIND}: not one packet was lost"


def test_watch_that_died_meanwhile_has_kept_no_failover_back(
    scene: Scene, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.beats(95, 106)
    watch.code = -9
    found = play(scene, monkeypatch, lambda *_: force())
    assert "has ended by itself with -9" in found.wrong(hasty=False)[0]


def test_watch_that_hangs_has_kept_no_failover_back(
    scene: Scene, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.beats(95, 101)
    found = play(scene, monkeypatch, lambda *_: force())
    assert "the watch has not said after the fault that it judges" in found.wrong(hasty=False)[0]


def test_watch_that_only_something_else_kept_from_acting_has_no_patience(
    scene: Scene, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.beats(95, 106)

    def declined(*_: object) -> InForce:
        watch.words.append(Word(102.0, "declines", "no failover by itself: maintenance is declared"))
        return force()

    found = play(scene, monkeypatch, declined)
    assert "took the primary for lost" in found.wrong(hasty=False)[0]


def test_watch_that_acted_has_failed(scene: Scene, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    def acts(*_: object) -> InForce:
        watch.words.append(Word(102.0, "acts", "failover begins by itself: pg1 is lost"))
        return force()

    found = play(scene, monkeypatch, acts)
    assert found.acted
    assert "acted while the primary served" in found.wrong(hasty=False)[0]
    assert found.wrong(hasty=True) == ()


def test_act_between_two_episodes_is_not_overlooked(
    scene: Scene, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.words.append(Word(50.0, "acts", "failover begins by itself: pg1 is lost"))
    watch.beats(95, 106)
    assert play(scene, monkeypatch, lambda *_: force()).acted


def test_twin_that_acted_where_no_trouble_was_proves_nothing(
    scene: Scene, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> InForce:
        watch.words.append(Word(102.0, "acts", "failover begins by itself: pg1 is lost"))
        raise TargetFailed("no rule loses packets")

    assert "no rule loses packets" in play(scene, monkeypatch, none).wrong(hasty=True)[0]


def test_watch_that_stood_still_has_to_say_so(scene: Scene, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    watch.beats(95, 99.9)
    watch.beats(103.1, 106)
    assert "has not noticed" in play(scene, monkeypatch, lambda *_: force(watch_still=True)).unproven[0]
    watch.words.append(Word(103.05, "stalled", "this watch stood still for 3.1 s"))
    assert not play(scene, monkeypatch, lambda *_: force(watch_still=True)).unproven


def test_bench_over_nothing_has_failed() -> None:
    assert Noise().wrong(hasty=False)
    assert Noise().wrong(hasty=True)
    assert Noise(3, {KIND: 2}).wrong(hasty=False) == ("2 of 3 episodes were proven",)
    with pytest.raises(BadInput):
        noise.bench("toy", SimpleNamespace(), 0, lambda _: None)  # type: ignore[arg-type]


def test_checkpoint_that_was_not_made_is_no_storm() -> None:
    class Primary:
        def execute(self, _: str) -> None:
            pass

        def query(self, _: str) -> list[dict[str, str]]:
            return [{"at": "0/1000"}]

    scene: Any = SimpleNamespace(primary=Primary())
    with pytest.raises(VerificationFailed, match="has made no checkpoint"):
        noise._checkpoints(scene, QUIET)


_LOOSE = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
time.sleep(60)
"""


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One that has started another, which has cut itself loose, as SSH's shared connections do."""
    made = subprocess.Popen(
        [sys.executable, "-c", _LOOSE], env={**os.environ, "DR_RUNS": by_watch.runs_of(tmp_path)}
    )
    end = time.monotonic() + 10
    while len(noise.of_run(tmp_path)) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    yield made
    for one in noise.of_run(tmp_path):
        os.kill(one, 9)
    made.wait()


def test_processes_of_a_watch_are_all_that_it_began(process: subprocess.Popen[bytes], tmp_path: Path) -> None:
    found = noise.of_run(tmp_path)
    assert process.pid in found
    assert len(found) == 2
    assert noise.of_run(tmp_path / "other") == set()


class Short(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return 0.2


def test_stalled_watch_really_stands_still(
    scene: Scene, watch: Watch, process: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    watch.process.pid = process.pid
    found = noise._stalled(scene, Short())
    assert found.watch_still
    assert found.until - found.since >= 0.2
    assert {noise._state(one) for one in noise.of_run(tmp_path)} <= {"S", "R"}


def test_watch_that_is_gone_cannot_be_stalled(scene: Scene, watch: Watch) -> None:
    watch.process.pid = 2**22 + 1
    with pytest.raises(VerificationFailed, match="does not stand still"):
        noise._stalled(scene, Short())
