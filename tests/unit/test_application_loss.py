"""The drill of a lost application host waits for what can come back, and for nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from drills.course import Course, Plan
from drills.measuring.tally import LedgerView, Writing
from drills.scenarios import application
from inventories.errors import TimedOut, VerificationFailed


class Ledger:
    """What one feed has said so far."""

    def __init__(self, now: LedgerView) -> None:
        self.now = now

    def view(self) -> LedgerView:
        return self.now

    def wait_for(self, accept: Callable[[LedgerView], bool], seconds: float, what: str) -> LedgerView:
        if not accept(self.now):
            raise TimedOut(f"Waited {seconds:g} s for {what}", "")
        return self.now


def stage(monkeypatch: pytest.MonkeyPatch, copy: str, adopted: int = 0) -> Any:
    """A stage on which 300 of 500 rows of the outbox were replayed before it was lost."""
    monkeypatch.setenv(application.OPTION, copy)
    monkeypatch.setattr(application, "deploy", lambda *_: None)
    monkeypatch.setattr(application.act, "adopt", lambda *_: adopted)
    ledger = Ledger(LedgerView(acked=900, by_store=400, by_outbox=500, replayed=300, writing=Writing.STORE))
    feed = SimpleNamespace(ledger=ledger, go_on=lambda: None)
    return SimpleNamespace(
        feed=feed, running={"PostgreSQL": feed}, gone=0, estate=SimpleNamespace(app=SimpleNamespace(name="app1")),
        say=lambda _: None, fact=lambda *_: None, run=lambda *_: None, replace_hosts=lambda: None,
    )  # fmt: skip


def run_on(on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Course, "_sleep", lambda *_: None)
    nothing: Any = None
    Course(nothing, None, Plan(), on, random.Random(1), nothing)._run_on()


def test_nobody_waits_for_rows_that_are_lost_with_their_file(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = stage(monkeypatch, "")
    application._replaced(lost)
    assert lost.gone == 200
    run_on(lost, monkeypatch)


def test_every_row_of_which_there_is_a_copy_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = stage(monkeypatch, "required", adopted=7)
    application._replaced(kept)
    with pytest.raises(TimedOut):
        run_on(kept, monkeypatch)
    with pytest.raises(VerificationFailed):
        application._replaced(stage(monkeypatch, "required"))
