"""The order of things: at the moment a runbook lets rows exist once, the record on the disk says so already.

Every moment at which a run may be killed is looked at with what a failover would then say of the loss.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from agents.guard import record
from inventories.errors import DrError, Refused, TargetFailed
from runbooks.actions import fencing
from runbooks.actions.postgresql import directory
from runbooks.actions.postgresql import server as act
from runbooks.engine.context import Context
from runbooks.engine.lock import this_process
from runbooks.hosts import Host
from runbooks.probes import durations
from runbooks.probes.postgresql import server
from runbooks.probes.postgresql.server import ControlData, Standby
from runbooks.procedures.postgresql import (
    detach,
    failover,
    fence_proof,
    pitr_swap,
    pitr_target,
    rebuilding,
    rejoin,
    start_cluster,
    streaming,
    switchover,
)
from runbooks.procedures.postgresql.detach import Detach, DetachOptions
from runbooks.procedures.postgresql.failover import Failover, FailoverOptions
from runbooks.procedures.postgresql.pitr_state import RestorePitr, RestorePitrOptions
from runbooks.procedures.postgresql.rejoin import Rejoin, RejoinOptions
from runbooks.procedures.postgresql.roles import Roles
from runbooks.procedures.postgresql.start_cluster import StartCluster, StartClusterOptions
from runbooks.procedures.postgresql.switchover import Switchover, SwitchoverOptions
from runbooks.procedures.postgresql.targets import Target
from runbooks.record import keep
from runbooks.record.lock import take
from runbooks.record.types import Known
from tests.unit.record_kit import ESTATE, SYSTEM, Desk, a_record
from tests.unit.record_kit import desk as desk
from tests.unit.test_record import ARBITER, STANDBY

PRIMARY = replace(STANDBY, host=ESTATE.host("pg1"), in_recovery=False, written=100, replayed=None)


@dataclass
class Moments:
    """What was done to hosts, in its order, with what a failover to pg2 would have said of the loss just then."""

    desk: Desk
    seen: list[tuple[str, int | None]] = field(default_factory=list)

    def at(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: self.seen.append((name, self.loss))

    @property
    def loss(self) -> int | None:
        return failover.possible_loss(self.desk.answer, STANDBY)[0]

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.seen]


@pytest.fixture
def moments(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Moments:
    """A steady, synchronous estate; nothing is done to hosts but noted, with the record as it was."""
    desk.everywhere(a_record())
    made = Moments(desk)
    for name in (
        "synchronous_off", "drop_walsender", "stop", "make_standby", "make_primary_again", "write_names", "fence",
    ):  # fmt: skip
        monkeypatch.setattr(act, name, made.at(name))
    monkeypatch.setattr(fencing, "power_off", made.at("power_off"))
    monkeypatch.setattr(server, "control_data", lambda *_: ControlData("shut down in recovery", 1, 90))
    monkeypatch.setattr(Host, "must_answer", lambda *_: None)
    monkeypatch.setattr(fence_proof, "look", lambda *_: None)
    monkeypatch.setattr(failover, "FRESH_S", math.inf)
    monkeypatch.setattr(server, "look", lambda host, *_: PRIMARY if host.name == "pg1" else STANDBY)
    return made


def context(desk: Desk, options: Any, procedure: str) -> Context[Any, Any]:
    owner = this_process(procedure, Path("/runs/20260101T000000Z-run"), resumes=False)
    take(ARBITER, owner, desk.heard.append)
    return Context(ESTATE, options, owner.run_dir, say=desk.heard.append, owner=owner)


WITH_APP = replace(ESTATE, groups={**ESTATE.groups, "app": ("backup1",)})
PITR: dict[str, Any] = {"primary": "pg1", "other": "pg2", "old_timeline": 1, "target": "10:00"}
# Looked at just now, whatever the clock says meanwhile.
ROLES: dict[str, Any] = {"primary": "pg2", "other": "pg1", "old_timeline": 1}


def test_a_primary_commits_alone_only_after_the_record_says_so(desk: Desk, moments: Moments) -> None:
    run = context(desk, DetachOptions(), "detach")
    state = Detach(primary="pg1", other="pg2", timeline=1)
    assert moments.loss == 0
    state = detach.alone(run, detach.note(run, state))
    assert moments.seen == [("synchronous_off", None), ("drop_walsender", None)]
    detach.confirm(run, state)
    assert moments.loss is None
    answer = desk.answer
    assert isinstance(answer, Known) and answer.record.steady


@pytest.mark.parametrize("word", [False, True])
def test_without_the_arbiter_a_primary_commits_alone_on_the_operators_word_only(
    desk: Desk, moments: Moments, word: bool
) -> None:
    run = context(desk, DetachOptions(accept_no_arbiter=word), "detach")
    desk.away = {"backup1"}
    state = Detach(primary="pg1", other="pg2", timeline=1)
    if not word:
        with pytest.raises(Refused, match="away"):
            detach.note(run, state)
        assert moments.names == []
        return
    detach.alone(run, detach.note(run, state))
    desk.away = set()
    assert moments.loss is None, "what the copies say counts as soon as both are seen"


def test_an_undone_switchover_waits_for_its_standby_before_it_starts(desk: Desk, moments: Moments) -> None:
    """F18: at every moment the standby has every acknowledged row, because nobody commits without it."""
    run = context(desk, SwitchoverOptions(), "switchover")
    state = Switchover(**ROLES, was_synchronous=True)
    state = switchover.step_down(run, state)
    switchover.step_up_again(run, state)
    assert moments.names == ["stop", "make_standby", "write_names", "make_primary_again"]
    assert {loss for _, loss in moments.seen} == {0}
    answer = desk.answer
    assert isinstance(answer, Known) and answer.record.steady and answer.record.epoch == 1


def test_an_undone_switchover_that_was_asynchronous_stays_so(desk: Desk, moments: Moments) -> None:
    desk.everywhere(a_record(revision=2, mode="degraded", synchronous=()))
    run = context(desk, SwitchoverOptions(), "switchover")
    switchover.step_up_again(run, switchover.step_down(run, Switchover(**ROLES)))
    assert "write_names" not in moments.names
    assert {loss for _, loss in moments.seen} == {None}


def test_a_role_that_is_taken_back_is_recorded_before_it_commits_alone(
    desk: Desk, moments: Moments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The standby does not come: it is fenced again, and nobody waits for it."""
    monkeypatch.setattr(act, "start", _fails)
    run = context(desk, SwitchoverOptions(), "switchover")
    state = switchover.step_down(run, Switchover(**ROLES, was_synchronous=True))
    switchover.take_back(run, state)
    assert moments.names[2:] == ["fence", "make_primary_again", "fence", "synchronous_off"]
    assert {loss for _, loss in moments.seen[3:]} == {None}
    assert any("./dr rejoin pg2 --yes" in line for line in desk.heard)


def _fails(*_: object, **__: object) -> None:
    raise TargetFailed("it does not start")


def test_a_role_that_is_taken_back_waits_for_its_standby_again(
    desk: Desk, moments: Moments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(act, "start", moments.at("start"))
    follows = replace(STANDBY, receiving_from="192.0.2.1")
    as_primary = replace(PRIMARY, standbys=(Standby("pg2", "streaming", "sync", 100, 100, 0.0),), synchronous=True)
    monkeypatch.setattr(server, "look", lambda host, *_: as_primary if host.name == "pg1" else follows)
    run = context(desk, SwitchoverOptions(), "switchover")
    state = switchover.step_down(run, Switchover(**ROLES, was_synchronous=True))
    switchover.take_back(run, state)
    assert moments.names[2:] == ["fence", "make_primary_again", "start", "write_names"]
    assert moments.loss == 0


def test_no_commit_waits_for_a_standby_that_catches_up(
    desk: Desk, moments: Moments, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = 10 * server.SEGMENT_BYTES
    lacks = [Standby("pg2", "catchup", "async", at, at, None) for at in (0, far // 2)]
    has = Standby("pg2", "streaming", "sync", far, far, None)

    def look(*_: object) -> server.Node:
        return replace(PRIMARY, written=far, standbys=(lacks.pop(0) if lacks else has,))

    monkeypatch.setattr(server, "look", look)
    monkeypatch.setattr(act, "synchronous_on", lambda *_: moments.at(f"commits wait, {len(lacks)} looks too early")())
    run = context(desk, DetachOptions(), "rejoin")
    streaming.now_synchronous(run, Roles(primary="pg1", other="pg2"))
    assert moments.names == ["commits wait, 0 looks too early"]


def test_a_standby_that_does_not_follow_again_is_given_up_soon(
    desk: Desk, moments: Moments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(act, "start", moments.at("start"))
    monkeypatch.setattr(switchover, "budget", lambda name: {"promote.wait": 0.2}[name])
    run = context(desk, SwitchoverOptions(), "switchover")
    state = switchover.step_down(run, Switchover(**ROLES, was_synchronous=True))
    began = time.monotonic()
    switchover.take_back(run, state)
    assert time.monotonic() - began < 5
    assert moments.names[-3:] == ["start", "fence", "synchronous_off"]


def test_a_standby_that_had_begun_a_timeline_is_left_to_a_rejoin(
    desk: Desk, moments: Moments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "last_begun", lambda *_: 2)
    monkeypatch.setattr(act, "start", moments.at("start"))
    run = context(desk, SwitchoverOptions(), "switchover")
    state = switchover.step_down(run, Switchover(**ROLES, was_synchronous=True))
    switchover.take_back(run, state)
    assert "start" not in moments.names and moments.names[-2:] == ["fence", "synchronous_off"]


@pytest.mark.parametrize(("options", "has"), [(RejoinOptions(), False), (DetachOptions(), True)])
def test_an_option_is_named_to_those_who_have_it(desk: Desk, moments: Moments, options: Any, has: bool) -> None:
    run = context(desk, options, "rejoin")
    desk.away = {"backup1"}
    with pytest.raises(Refused, match="backup1 keeps the estate record") as told:
        keep.changing(run, "pg1", degraded="pg2 is rebuilt")
    assert ("--accept-no-arbiter" in told.value.hint) is has and "bring backup1 back" in told.value.hint


def test_a_switchover_begins_only_when_it_is_recorded(desk: Desk, moments: Moments) -> None:
    run = context(desk, SwitchoverOptions(), "switchover")
    desk.away = {"backup1"}
    with pytest.raises(Refused):
        switchover.step_down(run, Switchover(**ROLES, was_synchronous=True))
    assert moments.names == []


@pytest.mark.parametrize(
    ("changes", "words", "hint"),
    [
        ({"primary": "pg2", "synchronous": ("pg1",), "timeline": 2}, "pg2 as primary on timeline 2", "./dr rejoin pg1"),
        ({"timeline": 9}, "pg1 as primary on timeline 9", "./dr record.settle --yes"),
        ({"primary": "pg2", "synchronous": ("pg1",)}, "knows pg2 as its primary", "./dr deploy"),
    ],
)
@pytest.mark.parametrize("what", ["switchover", "detach", "restore-pitr"])
def test_no_role_of_a_primary_that_the_record_contradicts_is_touched(
    desk: Desk, moments: Moments, monkeypatch: pytest.MonkeyPatch, what: str, changes: Any, words: str, hint: str
) -> None:
    desk.everywhere(a_record(revision=2, **changes))
    follows = ("pg2",) if what == "switchover" else ()
    monkeypatch.setattr(streaming, "following", lambda *_: follows)
    primary, standby = replace(PRIMARY, timeline=1), replace(STANDBY, receiving_from="pg1")
    monkeypatch.setattr(server, "look", lambda host, *_: primary if host.name == "pg1" else standby)
    before = desk.document("backup1").read_text()
    steps: dict[str, Callable[[], Any]] = {
        "switchover": lambda: switchover.assess(Context(WITH_APP, SwitchoverOptions(), Path("/r")), Switchover()),
        "detach": lambda: detach.assess(Context(ESTATE, DetachOptions(), Path("/r")), Detach()),
        "restore-pitr": lambda: pitr_target.assess(
            Context(ESTATE, RestorePitrOptions(timeline=3), Path("/r")),
            RestorePitr(target=Target(kind="name", value="before")),
        ),
    }
    with pytest.raises(Refused, match=words) as told:
        steps[what]()
    assert hint in told.value.hint and moments.names == [] and desk.document("backup1").read_text() == before


def test_a_switchover_refuses_what_would_keep_the_old_primary_from_starting(
    desk: Desk, moments: Moments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen on a lab: the role had moved, and the old primary ended at `wal_level` with its logical slot."""
    monkeypatch.setattr(streaming, "following", lambda *_: ("pg2",))
    primary, standby = replace(PRIMARY, logical_slots=("cdc",)), replace(STANDBY, receiving_from="pg1")
    monkeypatch.setattr(server, "look", lambda host, *_: primary if host.name == "pg1" else standby)
    with pytest.raises(Refused, match="logical slot cdc") as told:
        switchover.assess(Context(WITH_APP, SwitchoverOptions(), Path("/r")), Switchover())
    assert "pg_drop_replication_slot('cdc')" in told.value.hint and moments.names == []


def test_a_failover_is_recorded_while_it_fences_and_one_that_is_cut_there_keeps_its_word(
    desk: Desk, moments: Moments
) -> None:
    run = context(desk, FailoverOptions(yes=True), "failover")
    answer = desk.answer
    assert isinstance(answer, Known)
    failover.begin(run, Failover(**ROLES, ssh_answers=True, recorded=answer))
    now = desk.answer
    assert isinstance(now, Known) and now.record.changing and now.record.changing.to == "pg2"
    assert moments.loss == 0  # the next failover to the same standby
    assert failover.possible_loss(now, replace(STANDBY, host=Host("pg3", STANDBY.host.entry, Path("/"))))[0] is None


def test_a_failover_that_refuses_to_fence_leaves_the_record_as_it_was(desk: Desk, moments: Moments) -> None:
    run = context(desk, FailoverOptions(yes=True), "failover")
    with pytest.raises(Refused, match="cannot be fenced"):
        failover.begin(run, Failover(**ROLES))
    answer = desk.answer
    assert isinstance(answer, Known) and answer.record.steady and moments.loss == 0


@pytest.mark.parametrize("ssh_answers", [True, False], ids=["cut after the fence", "refused to fence"])
def test_a_loss_that_was_accepted_once_is_no_loss_that_nobody_knows_of_the_next_time(
    desk: Desk, moments: Moments, ssh_answers: bool
) -> None:
    desk.everywhere(a_record(revision=2, changing={"procedure": "restore-pitr", "run": "r", "to": "pg1"}))
    answer = desk.answer
    assert isinstance(answer, Known)
    loss, reason = failover.possible_loss(answer, STANDBY)
    run = context(desk, FailoverOptions(yes=True, accept_loss=True), "failover")
    state = Failover(
        **ROLES, ssh_answers=ssh_answers, recorded=answer, possible_loss_bytes=loss, loss_reason=reason
    )
    with suppress(Refused):
        failover.begin(run, state)
    assert moments.loss is None


def test_a_fence_that_fails_leaves_the_failover_under_way(
    desk: Desk, moments: Moments, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaks(*_: object) -> None:
        raise TargetFailed("something still listens")

    monkeypatch.setattr(act, "fence", leaks)
    run = context(desk, FailoverOptions(yes=True), "failover")
    with pytest.raises(TargetFailed):
        failover.begin(run, Failover(**ROLES, ssh_answers=True))
    answer = desk.answer
    assert isinstance(answer, Known) and answer.record.changing


def test_a_repeated_failover_goes_on_from_its_own_change(desk: Desk, moments: Moments) -> None:
    """Killed after `changing`, resumed: what it read before is not what is there now, and it looks again."""
    run = context(desk, FailoverOptions(yes=True), "failover")
    answer = desk.answer
    assert isinstance(answer, Known)
    state = Failover(**ROLES, ssh_answers=True, recorded=answer)
    failover.begin(run, state)
    again = Failover.model_validate_json(state.model_dump_json())
    assert again.recorded == answer
    failover.begin(run, again)
    assert moments.names == ["fence", "fence"]


ALONE = {"revision": 2, "mode": "degraded", "synchronous": (), "why": "detached"}


@pytest.mark.parametrize("seen", ["the arbiter's", "a copy"])
def test_record_that_says_otherwise_by_now_is_believed_and_nobody_is_promoted(
    desk: Desk, moments: Moments, seen: str
) -> None:
    """Another operator has ended a detach since it was read, or the arbiter was away for a moment."""
    run = context(desk, FailoverOptions(yes=True, accept_no_arbiter=seen == "a copy"), "failover")
    answer = desk.answer
    assert isinstance(answer, Known)
    record.swap(desk.folder("backup1"), {
        "token": run.owner.token if run.owner else "", "expect": 1, "record": a_record(**ALONE).model_dump(mode="json"),
    })  # fmt: skip
    state = Failover(**ROLES, ssh_answers=True, recorded=answer if seen == "the arbiter's" else None)
    with pytest.raises(TargetFailed, match=r"pg1 is fenced, .* commits have not waited for pg2"):
        failover.begin(run, state)
    now = desk.answer
    assert isinstance(now, Known) and now.record.steady


def test_after_a_promotion_the_old_record_counts_for_nothing(desk: Desk, moments: Moments) -> None:
    """Killed between promotion and confirmation: the timeline is a new one, so nobody is promoted in ignorance."""
    run = context(desk, FailoverOptions(yes=True), "failover")
    failover.begin(run, Failover(**ROLES, ssh_answers=True))
    rejoined = replace(STANDBY, host=ESTATE.host("pg1"), timeline=2)  # pg1 follows pg2 on timeline 2
    assert failover.possible_loss(desk.answer, rejoined)[0] is None


def test_nothing_is_fenced_for_a_restore_before_the_record_says_why(desk: Desk, moments: Moments) -> None:
    run = context(desk, SwitchoverOptions(), "restore-pitr")
    pitr_swap._fence_both(run, RestorePitr.model_construct(**PITR))
    assert moments.seen == [("fence", None), ("fence", None)]


@pytest.fixture
def rebuilt(moments: Moments, monkeypatch: pytest.MonkeyPatch) -> Moments:
    """What replaces the data of a standby is only noted."""
    room, coming = directory.Room("", "", True), directory.Incoming(host="pg2", system=SYSTEM, timeline=1)
    monkeypatch.setattr(act, "checkpoint", moments.at("checkpoint"))
    monkeypatch.setattr(act, "hold_wal", moments.at("hold_wal"))
    monkeypatch.setattr(rebuilding, "incoming", lambda *_: coming)
    monkeypatch.setattr(rebuilding, "would_make_room", lambda *_: room)
    monkeypatch.setattr(durations, "restore", lambda *_: "")
    monkeypatch.setattr(directory, "recloning", lambda *_: False)
    monkeypatch.setattr(directory, "reclone", lambda *_: moments.at("reclone")() or room)
    monkeypatch.setattr(directory, "rewind", moments.at("rewind"))
    return moments


@pytest.mark.parametrize("way", ["reclone", "rewind"])
def test_a_standby_is_no_copy_any_more_before_its_data_are_replaced(desk: Desk, rebuilt: Moments, way: str) -> None:
    """Commits waited for it all the time that it was out, so that the record named it still."""
    run = context(desk, RejoinOptions(reclone=way == "reclone"), "rejoin")
    assert rebuilt.loss == 0
    rejoin.rebuild(run, Rejoin(primary="pg1", other="pg2", timeline=1))
    assert (way, None) in rebuilt.seen and (way, 0) not in rebuilt.seen
    known = desk.answer
    assert isinstance(known, Known) and known.record.steady and known.record.synchronous == ()
    assert known.record.why == "20260101T000000Z-run replaces the data of pg2"


def test_nothing_is_replaced_where_the_record_goes_on_naming_it(desk: Desk, rebuilt: Moments) -> None:
    run = context(desk, RejoinOptions(reclone=True), "rejoin")
    desk.away = {"backup1"}
    with pytest.raises(Refused, match="away"):
        rejoin.rebuild(run, Rejoin(primary="pg1", other="pg2", timeline=1))
    assert "reclone" not in rebuilt.names


def test_the_record_of_others_stays_as_it_was_when_a_host_is_rebuilt(desk: Desk, rebuilt: Moments) -> None:
    run = context(desk, RejoinOptions(), "rejoin")
    before = desk.document("pg1").read_text()
    rejoin.rebuild(run, Rejoin(primary="pg2", other="pg1", timeline=1))
    assert desk.document("pg1").read_text() == before and rebuilt.loss == 0


def test_a_cluster_that_is_started_alone_is_recorded_first(desk: Desk, moments: Moments) -> None:
    run = context(desk, StartClusterOptions(), "start-cluster")
    start_cluster.alone(run, StartCluster(primary="pg1", other="pg2", old_timeline=1, timeline=1))
    assert moments.seen == [("synchronous_off", None)]


def test_a_confirmation_that_cannot_be_written_is_said_and_fails_nothing(
    desk: Desk, moments: Moments, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise DrError("no")

    run = context(desk, DetachOptions(), "detach")
    detach.note(run, Detach(primary="pg1", other="pg2", timeline=1))
    monkeypatch.setattr(keep.Keeper, "settled", fails)
    detach.confirm(run, Detach(primary="pg1", other="pg2", timeline=1))
    assert any("does not say yet what is so" in line for line in desk.heard)
    assert moments.loss is None


def test_another_estates_record_is_not_touched_by_a_transition_of_ours(desk: Desk, moments: Moments) -> None:
    """An inventory that names the backup host of another estate."""
    run = context(desk, SwitchoverOptions(), "switchover")
    before = desk.document("backup1").read_text()
    with pytest.raises(Refused, match="of the database system"):
        switchover.step_down(run, Switchover(**ROLES, system="42"))
    assert desk.document("backup1").read_text() == before and moments.names == []
