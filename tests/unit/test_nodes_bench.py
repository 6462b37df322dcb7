"""What further nodes cost: measured by turns on one estate, and only while as many standbys stream as are meant."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drills.benches import nodes
from inventories.errors import BadInput, Refused, VerificationFailed


class Toy:
    """Three nodes of which those in `down` do not stream; each measurement takes what `rates` says next."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int = 3) -> None:
        names = [f"pg{nr}" for nr in range(1, count + 1)]
        monkeypatch.setenv("DR_LAB_POSTGRES", str(count))
        self.estate: Any = SimpleNamespace(candidates=names, least=1, data={"postgres_version": 17})
        self.down: set[str] = set()
        self.measured: list[tuple[str, ...]] = []
        self.dies = False

        def survey(_: object) -> tuple[Any, ...]:
            return tuple(
                SimpleNamespace(name=name, host=name, streams=name != names[0] and name not in self.down)
                for name in names
            )

        def rows(*_: object) -> float:
            self.measured.append(tuple(name for name in names if name not in self.down))
            if self.dies:
                self.down.add(names[1])
            return 20000.0 if len(self.measured[-1]) == 2 else 19000.0

        monkeypatch.setattr(nodes.server, "survey", survey)
        monkeypatch.setattr(nodes, "rows_per_s", rows)
        monkeypatch.setattr(nodes.act, "stop", lambda host, _: self.down.add(host))
        monkeypatch.setattr(nodes.act, "start", lambda host, _: self.down.discard(host))
        monkeypatch.setattr(nodes.prepare, "estate", lambda *_: None)
        monkeypatch.setattr(nodes.prepare, "settled", lambda *_: None)
        monkeypatch.setattr(nodes.gather, "caught_up", lambda _: ())
        monkeypatch.setattr(nodes.gather, "versions", lambda _: {})
        monkeypatch.setattr(nodes.hosts, "load", lambda _: self.estate)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "new_run_dir", lambda _: tmp_path)


def test_two_and_three_take_turns_and_who_is_first_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy(monkeypatch)
    found = nodes.bench("toy", 2, lambda _: None)
    two, three = ("pg1", "pg2"), ("pg1", "pg2", "pg3")
    assert toy.measured == [two, three, three, two]
    assert toy.down == set()
    assert found.figures[-1].values == pytest.approx((5.0, 5.0))
    assert found.figures[-1].met


def test_five_nodes_are_held_to_two_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy(monkeypatch, 5)
    nodes.bench("toy", 1, lambda _: None)
    assert [len(those) for those in toy.measured] == [2, 5]


def test_more_than_a_tenth_is_too_much() -> None:
    assert nodes.figures(3, [(20000.0, 17000.0)])[-1].met is False


def test_standby_that_was_lost_meanwhile_was_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy(monkeypatch)
    toy.dies = True
    with pytest.raises(VerificationFailed, match="no standby streamed, and it was to be 1"):
        nodes.bench("toy", 1, lambda _: None)
    assert "pg3" not in toy.down, "what was stopped is started again"


def test_two_nodes_are_not_compared_with_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    Toy(monkeypatch, 2)
    with pytest.raises(Refused, match="2 PostgreSQL hosts") as refused:
        nodes.bench("toy", 1, lambda _: None)
    assert "DR_LAB_POSTGRES=3" in refused.value.hint


def test_no_lab_of_two_is_made_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would stay, and be of no use."""
    Toy(monkeypatch, 2)
    made: list[object] = []
    monkeypatch.setattr(nodes.prepare, "estate", lambda *words: made.append(words))
    with pytest.raises(Refused, match="lab toy has 2 PostgreSQL hosts"):
        nodes.bench("toy", 1, lambda _: None)
    assert made == []


def test_commits_that_wait_for_both_would_hang_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy(monkeypatch)
    toy.estate.least = 2
    with pytest.raises(Refused, match="waiting for 2"):
        nodes.bench("toy", 1, lambda _: None)
    assert toy.measured == []


def test_bench_of_no_round_is_none() -> None:
    with pytest.raises(BadInput):
        nodes.bench("toy", 0, lambda _: None)
