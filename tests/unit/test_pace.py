"""The replayer's pace: a limit, and a share that shrinks while others use the store."""

from __future__ import annotations

from pathlib import Path

from agents.writing.outbox import Outbox
from agents.writing.pace import LEAST_SHARE, Pace, Paced, tell


def test_a_limit_is_kept_on_average() -> None:
    pace = Pace(1000.0)
    assert pace.wait_s(500, 0.1) == 0.4
    assert pace.wait_s(500, 0.9) == 0.0
    assert Pace(0.0).wait_s(500, 0.1) == 0.0


def test_gently_it_rests_ever_longer_while_rows_cost_more_and_comes_back() -> None:
    pace = Pace(0.0, gentle=True)
    assert pace.wait_s(1000, 0.1) == 0.0
    rests = [pace.wait_s(1000, 0.3) for _ in range(5)]
    assert rests == sorted(rests)
    assert rests[0] > 0.2
    assert pace.share == LEAST_SHARE
    for _ in range(12):
        last = pace.wait_s(1000, 0.1)
    assert last < 1e-9


def test_small_transactions_tell_nothing_of_others() -> None:
    pace = Pace(0.0, gentle=True)
    pace.wait_s(1000, 0.1)
    assert pace.wait_s(1, 0.1) == 0.0
    assert pace.share == 1.0


def test_what_was_told_holds_until_nothing_waits(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    paced = Paced(outbox, 0.0)
    tell(outbox, 100.0, False)
    assert paced.wait_s(100, 0.0) == 1.0
    paced.emptied()
    assert Paced(outbox, 0.0).wait_s(100, 0.0) == 0.0
