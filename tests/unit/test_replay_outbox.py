"""The runbook drains, keeps a pace, and ends with an account that a single row can spoil."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from inventories.errors import BadInput, Refused, VerificationFailed
from runbooks.engine.context import Context
from runbooks.hosts import Host, Run
from runbooks.probes import outbox
from runbooks.probes.app import Outbox
from runbooks.probes.outbox import POSTGRESQL, Account, Accounts, Box, Proof
from runbooks.procedures import replay_outbox as runbook
from runbooks.procedures.replay_outbox import ReplayOutbox, ReplayOutboxOptions

EMPTY = Outbox(0, 0, 0, None, None, 4096, 1 << 30, True)
WAITS = replace(EMPTY, pending_records=10, pending_rows=100, oldest_age_s=30.0, rows_per_s=50.0, lanes={"0": 100})
EVEN = Account("order_records", 0, enqueued=100, applied=90, dead=4, pending=5, discarded=1, missing=0)


class _Application:
    name = "app1"

    def __str__(self) -> str:
        return self.name

    def must_answer(self) -> None:
        """It does."""


BOX = Box(cast(Host, _Application()), POSTGRESQL)


class Scene:
    """What the outbox says, look by look, and what was told to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.looks: Iterator[Outbox] = iter(())
        self.last = EMPTY
        self.accounts = Accounts((EVEN,), 7)
        self.proof = Proof(90, 0, 0, ())
        self.paces: list[tuple[float, bool]] = []
        self.asked_after: list[int] = []
        self.said: list[str] = []
        self._folder = tmp_path
        monkeypatch.setattr(runbook, "LOOK_EVERY_S", 0.001)
        monkeypatch.setattr(runbook, "SAY_EVERY_S", 0.0)
        monkeypatch.setattr(outbox, "boxes", lambda estate, store="": (BOX,) if store in ("", POSTGRESQL) else ())
        monkeypatch.setattr(outbox, "status", lambda box, timeout=10.0: self._status())
        monkeypatch.setattr(outbox, "accounts", lambda box, timeout: self.accounts)
        monkeypatch.setattr(outbox, "prove", lambda box, after, timeout: self._prove(after))
        monkeypatch.setattr(runbook.act, "pace", lambda box, rate, gentle: self.paces.append((rate, gentle)))

    def context(self, **options: Any) -> Run:
        return cast(
            Run, Context(cast(Any, _Estate()), ReplayOutboxOptions(**options), self._folder, say=self.said.append)
        )

    def _status(self) -> Outbox:
        self.last = next(self.looks, self.last)
        return self.last

    def _prove(self, after: int) -> Proof:
        self.asked_after.append(after)
        return self.proof


class _Estate:
    name, inventory = "lab", "lab"


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Scene:
    return Scene(monkeypatch, tmp_path)


def test_the_plan_says_what_waits_by_lane_and_table_and_how_long_it_takes(scene: Scene) -> None:
    scene.last = WAITS
    state = runbook.assess(scene.context(), ReplayOutbox())
    assert dict(state.after) == {"app1/postgresql": 7}
    assert "100 rows in 10 records, the oldest for 30 s, about 2 s at 50 rows/s" in scene.said[0]
    assert scene.said[1] == "  lane 0: 5 rows of order_records"


def test_a_resumed_run_proves_from_where_the_first_one_began(scene: Scene) -> None:
    state = ReplayOutbox(after={"app1/postgresql": 3}, dead_before={"app1/postgresql": 0})
    state = runbook.assess(scene.context(), state)
    runbook.reconcile(scene.context(), state)
    assert scene.asked_after == [3]


def test_the_replayers_are_kept_to_a_pace_and_watched_until_nothing_is_ready(scene: Scene) -> None:
    scene.looks = iter([WAITS, WAITS, replace(WAITS, pending_rows=40, pending_records=4), EMPTY])
    runbook.replay(scene.context(rate=500.0), ReplayOutbox())
    assert scene.paces == [(500.0, True)]
    assert any("40 rows wait, 50 rows/s, 1 s to go" in line for line in scene.said)


def test_at_full_speed_nobody_is_yielded_to(scene: Scene) -> None:
    scene.looks = iter([WAITS, EMPTY])
    runbook.replay(scene.context(at_full_speed=True), ReplayOutbox())
    assert scene.paces == [(0.0, False)]


def test_without_a_replayer_nothing_is_waited_for(scene: Scene) -> None:
    scene.last = replace(WAITS, replayer_running=False)
    with pytest.raises(Refused, match="no replayer"):
        runbook.replay(scene.context(), ReplayOutbox())


def test_what_waits_for_a_table_is_named_and_does_not_hold_the_run_up(scene: Scene) -> None:
    scene.last = replace(WAITS, held_records=10, held={"system_config": "it does not exist"})
    state = runbook.replay(scene.context(), ReplayOutbox(after={"app1/postgresql": 0}))
    state = runbook.reconcile(scene.context(), state)
    assert state.degraded == (
        "PostgreSQL's outbox on app1: system_config takes nothing, its rows wait: it does not exist",
    )


def test_the_account_is_told_when_it_is_even(scene: Scene) -> None:
    state = runbook.reconcile(scene.context(), ReplayOutbox(after={"app1/postgresql": 0}))
    assert state.told == (
        "PostgreSQL's outbox on app1: 100 enqueued = 90 applied + 4 dead + 5 pending + 1 given up; "
        "90 rows found in the store by event id",
    )


def test_one_row_that_nobody_accounts_for_fails_the_run(scene: Scene) -> None:
    scene.accounts = Accounts((replace(EVEN, pending=4, missing=1),), 7)
    with pytest.raises(VerificationFailed, match="1 are nowhere"):
        runbook.reconcile(scene.context(), ReplayOutbox())


def test_one_applied_row_that_the_store_has_not_fails_the_run(scene: Scene) -> None:
    scene.proof = Proof(89, 1, 0, ("event 5 of order_records",))
    with pytest.raises(VerificationFailed, match="event 5 of order_records"):
        runbook.reconcile(scene.context(), ReplayOutbox())


def test_new_dead_letters_are_said(scene: Scene) -> None:
    scene.last = replace(EMPTY, dead_rows=3)
    state = runbook.reconcile(scene.context(), ReplayOutbox(dead_before={"app1/postgresql": 1}))
    assert "2 rows were refused" in state.degraded[0]


def test_a_store_that_there_is_not_is_one_sentence(scene: Scene) -> None:
    with pytest.raises(BadInput, match="no store 'oracle'"):
        runbook.boxes(scene.context(store="oracle"))
    with pytest.raises(BadInput, match="has no tdengine"):
        runbook.boxes(scene.context(store="tdengine"))
