"""The number of a feed's run: newer than whatever was saved on its host, whatever the clock says."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.feed.feeder import new_run
from agents.writing import clock as module
from agents.writing.clock import Clock

NOW = 1_800_000_000
SIXTY_DAYS = 60 * 86_400


def at(monkeypatch: pytest.MonkeyPatch, unix_s: float) -> None:
    monkeypatch.setattr(module.time, "time_ns", lambda: int(unix_s * 10**9))


def test_a_run_is_newer_than_all_before_it_also_when_the_clock_was_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    for moved in (0, SIXTY_DAYS, 0, -SIXTY_DAYS):
        at(monkeypatch, NOW + moved)
        runs.append(new_run(tmp_path / "clock"))
    assert runs == sorted(set(runs))
    assert NOW <= runs[0] <= NOW + 2


def test_no_row_that_a_client_saves_has_an_id_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(tmp_path / "clock", 5)
    for fraction in (0.0, 0.4, 0.999_999):
        at(monkeypatch, NOW + 100 * fraction)
        before, run, after = clock.reserve(1), new_run(clock.path), clock.reserve(1)
        assert before[0] >> 32 < run < after[0] >> 32
