"""One silence is no answer: what decides after a deed asks a busy server again, and does nothing that nobody knows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inventories.errors import Refused, VerificationFailed
from runbooks.actions.postgresql import server as act
from runbooks.judge import roles as judge_roles
from runbooks.probes.postgresql import server
from runbooks.probes.postgresql.server import Standby
from runbooks.procedures.postgresql import (
    abandon,
    detach,
    pitr_swap,
    recording,
    rejoin,
    roles,
    start_cluster,
    streaming,
    switchover,
)
from runbooks.procedures.postgresql.abandon import Abandon
from runbooks.procedures.postgresql.abandon_choice import Back
from runbooks.procedures.postgresql.detach import Detach, DetachOptions
from runbooks.procedures.postgresql.pitr_state import RestorePitr, RestorePitrOptions
from runbooks.procedures.postgresql.rejoin import Rejoin, RejoinOptions
from runbooks.procedures.postgresql.roles import Roles
from runbooks.procedures.postgresql.start_cluster import StartCluster
from runbooks.procedures.postgresql.switchover import Switchover, SwitchoverOptions
from runbooks.procedures.postgresql.targets import Target
from tests.unit.record_kit import ESTATE, Desk
from tests.unit.record_kit import desk as desk
from tests.unit.test_objectives import WHOLE
from tests.unit.test_record_protocol import PRIMARY, ROLES, Moments, context
from tests.unit.test_record_protocol import moments as moments

SILENT = server.Node(ESTATE.host("pg1"), ssh=True, runs=True, why="PostgreSQL does not answer within 2 s")


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> list[server.Node]:
    """The primary, which says nothing the first time that it is looked at."""
    answers = [SILENT]
    monkeypatch.setattr(server, "look", lambda *_: answers.pop() if answers else PRIMARY)
    return answers


def test_a_busy_primary_is_asked_again_before_the_record_goes_without_it(
    desk: Desk, moments: Moments, busy: list[server.Node]
) -> None:
    run = context(desk, DetachOptions(), "detach")
    state = detach.note(run, Detach(primary="pg1", other="pg2", timeline=1))
    assert recording.recorded(run, state, (), "alone") and not busy


def test_a_role_is_not_given_back_beside_a_server_that_says_nothing(
    desk: Desk, moments: Moments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "look", lambda *_: SILENT)
    monkeypatch.setattr(roles, "budget", lambda name: {"promote.look": 0.3}[name])
    run = context(desk, SwitchoverOptions(), "switchover")
    with pytest.raises(VerificationFailed, match="does not say what it is"):
        switchover.step_up_again(run, Switchover(**ROLES))
    with pytest.raises(VerificationFailed, match="does not say what it is"):
        abandon.give_back(run, Abandon(primary="pg1", other="pg2", back=Back.FENCE))
    with pytest.raises(VerificationFailed, match="does not say what it is"):
        start_cluster.start(run, StartCluster(primary="pg1", other="pg2"))
    assert moments.names == []


def test_a_busy_primary_is_taken_for_what_it_is_by_a_swap_and_its_undo(
    desk: Desk, moments: Moments, busy: list[server.Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = context(desk, RestorePitrOptions(), "restore-pitr")
    with pytest.raises(Refused, match="takes writes on timeline 1 already"):
        state = RestorePitr(**{**ROLES, "primary": "pg1"}, timeline=1, target=Target(kind="lsn", value="0/3000060"))
        pitr_swap.put_back(run, state)
    assert moments.names == [] and not busy


def test_what_a_standby_lacks_is_not_nothing_because_its_primary_is_busy(
    desk: Desk, moments: Moments, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = 10 * server.SEGMENT_BYTES
    turned: list[int] = []

    def look(*_: object) -> server.Node:
        at = 0 if len(turned) < 3 else far
        standby = Standby("pg2", "streaming", "sync", at, at, None)
        if turned:
            turned.append(1)
        return SILENT if len(turned) == 2 else replace(PRIMARY, written=far, standbys=(standby,))

    monkeypatch.setattr(server, "look", look)
    monkeypatch.setattr(act, "synchronous_on", lambda *_: turned.append(1))
    run = context(desk, DetachOptions(), "rejoin")
    streaming.now_synchronous(run, Roles(primary="pg1", other="pg2"))
    assert len(turned) > 3


def test_a_host_that_is_slow_is_not_said_to_be_without_power(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = server.Node(ESTATE.host("pg2"), ssh=False, slow=True, why="pg2 did not finish psql within 8 s")
    monkeypatch.setattr(server, "survey", lambda _: (PRIMARY, slow))
    with pytest.raises(Refused, match="pg2 did not answer in time") as refused:
        rejoin.assess(context(desk, RejoinOptions(), "rejoin"), Rejoin())
    assert "./dr status asks again" in refused.value.hint
    assert judge_roles.cells(replace(WHOLE, nodes=(PRIMARY, slow)), slow)[0] == "unknown"
    assert judge_roles.cells(WHOLE, replace(slow, slow=False))[0] == "unreachable"
