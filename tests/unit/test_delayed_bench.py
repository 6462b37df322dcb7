"""The bench of a delayed standby: its moments go forward, and one late opening is told though the median is good."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from drills.benches import delayed
from drills.benches.moments import Aim, Commit, History, Hit
from inventories.errors import BadInput

BEGIN = datetime(2026, 11, 29, 2, 0, tzinfo=UTC)


def history(commits: int) -> History:
    made = [Commit(4096 + 512 * n, 1000 + n, BEGIN + timedelta(milliseconds=n)) for n in range(commits)]
    return History(1, made, {commit.xid: n for n, commit in enumerate(made)})


@pytest.mark.parametrize("seed", range(20))
def test_each_target_has_a_commit_between_it_and_the_one_before(seed: int) -> None:
    """A standby that stands at one cannot go back, and tells which commit is the last before the next."""
    aims = delayed.forward(history(60), 20, random.Random(seed))
    before = [aimed.before for aimed in aims]
    assert len(aims) == 20 and before == sorted(set(before))


def hit(open_s: float, wrong: str = "") -> Hit:
    return Hit(Aim("xid", "1000", 1), open_s + 2, wrong, open_s)


def test_one_late_opening_and_one_wrong_moment_miss_their_targets() -> None:
    def met(*hits: Hit) -> list[bool | None]:
        found = delayed.figures(5.0, delayed.Measured(hits, tuple(1.0 for _ in hits), (hit(60.0),)))
        return [figure.met for figure in found if figure.target is not None]

    assert met(hit(3.0), hit(4.0), hit(5.0)) == [True, True, True]
    assert met(hit(3.0), hit(4.0), hit(10.1)) == [False, True, True]
    assert met(hit(3.0), hit(4.0, "2 marks are missing"), hit(5.0)) == [True, False, True]
    assert met(hit(3.0), hit(float("inf"), "refused"), hit(5.0)) == [False, False, True]


@pytest.mark.parametrize(
    ("gib", "targets", "delay", "nodes", "hint"),
    [
        (0.0, 20, "1h", "3", "--gib 5"),
        (5.0, 0, "1h", "3", "--targets 20"),
        (5.0, 20, "", "3", "DR_LAB_DELAY=1h ./dr bench --delayed"),
        (5.0, 20, "1h", "2", "DR_LAB_POSTGRES=3 DR_LAB_DELAY=1h"),
        (5.0, 20, "1h", "6", "It is 2 to 5"),
        (5.0, 20, "an hour", "3", '"apply_delay": "1h"'),
        (5.0, 20, "0h", "3", '"apply_delay": "1h"'),
    ],
)
def test_what_would_measure_nothing_is_refused_before_a_lab_is_made(
    monkeypatch: pytest.MonkeyPatch, gib: float, targets: int, delay: str, nodes: str, hint: str
) -> None:
    monkeypatch.setattr(delayed, "own_lab", lambda *_: pytest.fail("a lab is made"))
    monkeypatch.setenv("DR_LAB_DELAY", delay)
    monkeypatch.setenv("DR_LAB_POSTGRES", nodes)
    with pytest.raises(BadInput) as told:
        delayed.bench("toy", gib, targets, lambda _: None)
    assert hint in told.value.hint
