"""When nobody is awake: only what can lose nothing is begun, and whatever is declined says what a person may run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from runbooks.record.types import Change, Copy, Known, Mode, Record, Unknown
from runbooks.watch.deciding import declines
from runbooks.watch.desk import Kept
from runbooks.watch.failing_over import OPTIONS
from tests.unit.record_kit import a_record


def kept(record: Record | None = None, **more: Any) -> Kept:
    return Kept(Known(record or a_record(), "backup1", 1), **more)


def why(found: Kept, may_act: bool = True) -> str:
    declined = declines(found, "pg1", ["pg2"], may_act, 3600)
    assert declined is not None
    assert "./dr " in declined.command
    assert declined.command in declined.says
    return declined.why


def test_record_that_vouches_for_the_standby_lets_it_act() -> None:
    assert declines(kept(), "pg1", ["pg2"], True, 3600) is None


def test_any_standby_that_has_every_row_will_do() -> None:
    assert declines(kept(a_record(synchronous=("pg3",))), "pg1", ["pg2", "pg3"], True, 3600) is None


def test_watch_that_only_looks_does_nothing() -> None:
    assert "only looks" in why(kept(), may_act=False)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (kept(a_record(mode=Mode.DEGRADED, synchronous=(), why="failover")), "may be lost"),
        (kept(a_record(synchronous=("pg9",))), "may be lost"),
        (kept(a_record(primary="pg2", synchronous=("pg1",))), "calls pg2 the primary"),
        (kept(a_record(changing=Change(procedure="switchover", run="r", to="pg2"))), "switchover to pg2"),
        (Kept(Unknown("it is damaged")), "it is damaged"),
        (Kept(Copy(a_record(), "pg2", "backup1 is away")), "is a copy"),
        (Kept(Known(a_record(), "pg2", 1, carry=True)), "is a copy"),
        (replace(kept(), why="backup1 does not tell"), "backup1 does not tell"),
        (kept(acting={"owner": "eve@ops", "procedure": "deploy"}), "eve@ops is running deploy"),
        (kept(maintenance={"by": "eve@ops", "reason": "a new disk", "left_s": 60}), "a new disk"),
        (kept(acted={"age_s": 3599.0, "by": "watch@backup1"}), "within the last 60 minutes"),
    ],
)
def test_what_keeps_it_from_acting(found: Kept, says: str) -> None:
    assert says in why(found)


def test_an_hour_later_it_may_act_again() -> None:
    assert declines(kept(acted={"age_s": 3601.0, "by": "watch@backup1"}), "pg1", ["pg2"], True, 3600) is None


def test_nothing_is_ever_accepted() -> None:
    said = OPTIONS.model_dump()
    assert said.pop("yes") is True
    assert not any(said.values()), said
