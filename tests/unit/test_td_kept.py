"""Rows that KEEP no longer allows are left out, counted, and refused by nobody."""

from __future__ import annotations

import time

import numpy as np
import pytest

from agents.tdengine.backup import kept
from agents.tdengine.backup.block import Block, Column
from agents.tdengine.backup.kept import Kept
from agents.tdengine.backup.manifest import HOUR_NS, Window
from agents.tdengine.session import TdengineError

DAY_S = 86400
NOW = 1_800_000_000 // 3600 * 3600 + 1800  # the middle of an hour


@pytest.fixture
def days() -> Kept:
    return Kept(10 * DAY_S)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: float(NOW))


def block(*seconds: float) -> Block:
    """Rows so long before the limit (negative) or after it."""
    ts = np.array([int((NOW - 10 * DAY_S + one) * 1e9) for one in seconds], "<i8")
    return Block(len(ts), (Column(9, 8, np.zeros(len(ts), bool), ts.view(np.uint8).reshape(len(ts), 8)),))


def test_hours_of_which_nothing_is_kept_are_taken_out_and_counted(days: Kept) -> None:
    edge = (NOW - 10 * DAY_S) // 3600
    wanted = {"t": {edge - 1: Window(7, "", ""), edge: Window(5, "", ""), edge + 1: Window(3, "", "")}}
    assert days.split(wanted) == 7
    assert sorted(wanted["t"]) == [edge, edge + 1]
    assert days.is_edge(edge) and not days.is_edge(edge + 1)


def test_a_row_at_the_limit_is_kept_and_one_before_it_is_not(days: Kept) -> None:
    stays, gone = days.divide(block(-1, -0.001, 0, 1), 0.0)
    assert (stays.rows, gone and gone.rows) == (2, 2)
    stays, gone = days.divide(block(5, 6), 0.0)
    assert (stays.rows, gone) == (2, None)


def test_a_server_whose_clock_is_ahead_is_given_less_try_after_try(days: Kept) -> None:
    old = block(1, 30, 100, 400)
    assert [days.divide(old, slack)[0].rows for slack in days.slacks(old)] == [4, 2, 1]
    assert len(list(days.slacks(block(kept.SLACK_S + 1)))) == 1, "only what is old is tried again"
    for code in (0x060B, 0x0115):
        assert days.may_refuse(TdengineError("out of range", "", code), 0.0)
        assert not days.may_refuse(TdengineError("out of range", "", code), kept.SLACK_S)
    assert not days.may_refuse(TdengineError("disk full", "", 0x0129), 0.0)


def test_rows_that_went_while_nobody_looked_are_not_missed_but_counted(days: Kept) -> None:
    still = days.still("t", block(-5, kept.SLACK_S - 1, kept.SLACK_S + 1))
    assert (still.rows, days.left_out) == (1, 2)
    days.forget("t", {int(block(-5).words(0)[0]) // HOUR_NS})
    assert days.left_out == 0
