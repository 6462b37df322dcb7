"""A run whose lock was broken ends where it finds out: whoever acts now decides about the hosts."""

from __future__ import annotations

import pytest

from runbooks.actions.postgresql import server as act
from runbooks.engine.lock import LockLost
from runbooks.procedures.postgresql import streaming, switchover
from runbooks.procedures.postgresql.switchover import Switchover, SwitchoverOptions
from runbooks.record import keep
from tests.unit.record_kit import Desk
from tests.unit.record_kit import desk as desk
from tests.unit.test_record_protocol import ROLES, Moments, context
from tests.unit.test_record_protocol import moments as moments


def _lost(*_: object, **__: object) -> None:
    raise LockLost("the lock of this run was broken")


def test_a_standby_is_not_fenced_beside_whoever_acts_now(
    desk: Desk, moments: Moments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(act, "start", moments.at("start"))
    monkeypatch.setattr(streaming, "follows_soon", lambda *_: None)
    monkeypatch.setattr(streaming, "now_synchronous", _lost)
    run = context(desk, SwitchoverOptions(), "switchover")
    state = switchover.step_down(run, Switchover(**ROLES, was_synchronous=True))
    with pytest.raises(LockLost):
        switchover.take_back(run, state)
    assert moments.names[2:] == ["fence", "make_primary_again", "start"]


def test_the_old_primary_is_not_started_beside_whoever_acts_now(
    desk: Desk, moments: Moments, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = context(desk, SwitchoverOptions(), "switchover")
    state = switchover.step_down(run, Switchover(**ROLES))
    monkeypatch.setattr(keep.Keeper, "unchanged", _lost)
    with pytest.raises(LockLost):
        switchover.step_up_again(run, state)
    assert "make_primary_again" not in moments.names
