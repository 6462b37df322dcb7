"""The watch's bench fails, with its reasons, where a drill did not pass or its cost is not proven."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import doors.bench
from drills import by_watch
from drills.beats import BEAT
from drills.benches import account, noise, pages, watching
from drills.benches import headline as measuring
from drills.benches.headline import Bench, Figure
from drills.judging.result import Outcome
from drills.looking import Word
from inventories.errors import BadInput, TargetFailed, VerificationFailed


@pytest.fixture
def estate(monkeypatch: pytest.MonkeyPatch) -> Any:
    toy = SimpleNamespace(backup=None, groups={}, name="toy")
    monkeypatch.setattr(watching.prepare, "estate", lambda *_: None)
    monkeypatch.setattr(watching.prepare, "settled", lambda *_: None)
    monkeypatch.setattr(watching.hosts, "load", lambda _: toy)
    monkeypatch.setattr(watching.gather, "versions", lambda _: {})
    monkeypatch.setattr(by_watch, "eyes", lambda _: 3)
    return toy


def drilled(outcome: Outcome, *reasons: str) -> Any:
    seconds = dict.fromkeys(("rto_from_fault_s", "detection_s", "rto_s"), 2.0)
    return SimpleNamespace(outcome=outcome, reasons=reasons, lost=0, duplicated=0, **seconds)


def test_drill_that_did_not_pass_fails_the_bench(estate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    came = iter((drilled(Outcome.PASSED), drilled(Outcome.FAILED, "not proven: the watch has not said")))
    monkeypatch.setattr(watching, "drill", lambda *_: (next(came), Path("folder")))
    monkeypatch.setattr(watching, "_cost", lambda *_: ((), ()))
    found = watching.bench("toy", 2, lambda _: None)
    assert found.failed == ("drill 2 failed: not proven: the watch has not said",)


def test_bench_of_no_drill_is_none() -> None:
    with pytest.raises(BadInput):
        watching.bench("toy", 0, lambda _: None)


def test_noise_that_is_not_proven_fails_the_bench(estate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = noise.Noise(1, unproven=["slow disk: nothing is written"])
    monkeypatch.setattr(noise, "bench", lambda *_, **__: found)
    assert "nothing is written" in watching.noisy("toy", 1, hasty=False, say=lambda _: None).failed[0]


class Own:
    """A control group that counts what it is told to have counted."""

    within = ("sh",)

    def __init__(self, programs: tuple[str, ...] = ("python3", *("ssh",) * 8), pid: int = 7) -> None:
        self.spent = iter((10.0, 10.1))
        self.named, self.pid = programs, pid

    def seconds(self) -> float:
        return next(self.spent)

    def programs(self) -> tuple[str, ...]:
        return self.named

    def processes(self) -> tuple[int, ...]:
        return (self.pid,)

    def peak_mib(self) -> float:
        return 41.0


class Watch:
    process = SimpleNamespace(pid=7)

    def __init__(self, looks: bool = True, ended: str = "") -> None:
        self.looks, self.end = looks, ended

    def heard(self) -> tuple[Word, ...]:
        eyes = dict.fromkeys(("app1", "pg2", "the watch"), math.inf)
        return (Word(102.0, BEAT, "", eyes),) if self.looks else ()

    def ended(self) -> str:
        return self.end


def cost(monkeypatch: pytest.MonkeyPatch, own: Own, watch: Watch) -> tuple[tuple[Figure, ...], tuple[str, ...]]:
    asked: list[Any] = []

    @contextmanager
    def opened(_: str) -> Iterator[Own]:
        yield own

    @contextmanager
    def running(*_: object, own: Any) -> Iterator[Watch]:
        asked.append(own)
        yield watch

    waits: list[float] = []
    ticks = iter((100.0, 105.0))
    monkeypatch.setattr(account, "opened", opened)
    monkeypatch.setattr(by_watch, "running", running)
    monkeypatch.setattr(noise, "wait", waits.append)
    monkeypatch.setattr(watching, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    monkeypatch.setattr(watching, "new_run_dir", lambda _: Path("folder"))
    anything: Any = SimpleNamespace(backup=None)
    found = watching._cost(anything, lambda _: None)
    assert asked[0].within == own.within
    assert asked[0].environment["TMPDIR"]  # so that no SSH connection of somebody else's carries its sessions
    return found


def test_cost_is_that_of_its_control_group(estate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (cpu, memory), why = cost(monkeypatch, Own(), Watch())
    assert why == ()
    assert cpu.values[0] == pytest.approx(2.0)  # a tenth of a second of five
    assert memory.values == (41.0,)


@pytest.mark.parametrize(
    ("own", "watch", "why"),
    [
        (Own(), Watch(looks=False), "while its cost was taken"),
        (Own(), Watch(ended="the watch has ended by itself with 1"), "ended by itself"),
        (Own(programs=("python3", "ssh", "ssh")), Watch(), "holds python3, ssh, ssh"),
        (Own(pid=8), Watch(), "its control group holds"),
    ],
)
def test_cost_of_a_watch_that_was_not_counted_is_not_proven(
    estate: Any, monkeypatch: pytest.MonkeyPatch, own: Own, watch: Watch, why: str
) -> None:
    figures, reasons = cost(monkeypatch, own, watch)
    assert why in reasons[0]
    assert [figure.met for figure in figures] == [False, False]


def test_without_control_groups_the_cost_is_not_proven(estate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(_: str) -> Any:
        raise TargetFailed("no control group can be made")

    monkeypatch.setattr(account, "opened", opened)
    figures, reasons = watching._cost(estate, lambda _: None)
    assert reasons == ("the watch's cost is not proven: no control group can be made",)
    assert figures[0].values == (math.inf,)


def test_bench_that_has_failed_is_kept_and_told_and_not_written_into_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(measuring, "write", lambda document, _: kept.append(document) or "bench/x.json")
    monkeypatch.setattr(pages, "write", lambda *_: pytest.fail("a page was written"))
    figure = Figure("episodes", "", (1.0,))
    with pytest.raises(VerificationFailed, match=r"a; b; c \(and 1 more"):
        doors.bench._kept(Bench((figure,), {}, ("a", "b", "c", "d")), "watch", "title")
    assert kept[0]["failed"] == ["a", "b", "c", "d"]
