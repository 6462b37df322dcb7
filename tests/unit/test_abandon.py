"""Abandoning: which run, whose role, what is refused; and the record says it before anybody writes again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inventories.errors import BadInput, Refused, VerificationFailed
from runbooks.actions.postgresql import permit
from runbooks.actions.postgresql import server as act
from runbooks.engine import history
from runbooks.engine.context import Context
from runbooks.engine.journal import Event, Journal
from runbooks.probes.postgresql import server, stopped
from runbooks.probes.postgresql.server import ControlData
from runbooks.procedures.postgresql import abandon, abandon_choice
from runbooks.procedures.postgresql.abandon_choice import Abandon, AbandonOptions, Back, assess
from runbooks.record.settle import Settled, Settlement
from runbooks.record.types import Known
from tests.unit.record_kit import Desk, a_record
from tests.unit.record_kit import desk as desk
from tests.unit.start_kit import primary, standby
from tests.unit.test_record_protocol import PRIMARY, Moments
from tests.unit.test_record_protocol import context as acting
from tests.unit.test_record_protocol import moments as moments
from tests.unit.test_walk import CRASHED, HELD, NEW, STANDBY_DOWN
from tests.unit.walk_kit import ESTATE, RUN, Eyes, Pg, World

find_unfinished, find_run = history.find_unfinished, history.find_run


@pytest.fixture
def eyes(monkeypatch: pytest.MonkeyPatch) -> Eyes:
    looking = Eyes()
    looking.put_on(monkeypatch)
    return looking


@pytest.fixture
def journals(eyes: Eyes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of this machine are read after all."""
    monkeypatch.setattr(history, "find_unfinished", find_unfinished)
    monkeypatch.setattr(history, "find_run", find_run)


def looks(folder: Path, **words: Any) -> Any:
    heard: list[str] = []
    return Context(ESTATE, AbandonOptions(yes=True, **words), folder / "own", say=heard.append)


def ran(folder: Path, name: str, procedure: str, *steps: str, ended: str = "failed") -> Path:
    """A run that has begun these steps."""
    (folder / name).mkdir()
    with Journal(folder / name) as written:
        written.write(Event.OPENED, procedure=procedure, estate="walk", steps=list(steps), options={})
        for step in steps:
            written.write(Event.STEP_STARTED, step, observes=False)
        written.write(Event.FINISHED, outcome=ended, error="", hint="")
    return folder / name


FAILED_OVER = World(pg1=HELD, pg2=Pg(), changing="failover")
STEPPED_DOWN = World(pg1=Pg(up=False, stepped_down=True), pg2=Pg(streams=False), changing="switchover")


@pytest.mark.parametrize(("begun", "hold"), [(("assess", "fence"), False), (("assess", "fence", "promote"), True)])
def test_the_other_one_is_held_down_where_its_promotion_may_have_begun(
    eyes: Eyes, journals: None, tmp_path: Path, begun: tuple[str, ...], hold: bool
) -> None:
    eyes.world = FAILED_OVER
    ran(tmp_path, RUN, "failover", *begun)
    found = assess(looks(tmp_path), Abandon())
    assert (found.run, found.back, found.primary, found.other) == (RUN, Back.FENCE, "pg1", "pg2")
    assert (found.hold, found.synchronous) == (hold, True)


def test_a_run_of_another_machine_is_known_by_the_record(eyes: Eyes, tmp_path: Path) -> None:
    eyes.world = FAILED_OVER
    found = assess(looks(tmp_path), Abandon())
    assert (found.run, found.procedure, found.journal) == (RUN, "failover", "")
    assert (found.back, found.hold) == (Back.FENCE, True)


def test_half_a_switchover_is_given_back_too(eyes: Eyes, tmp_path: Path) -> None:
    eyes.world = STEPPED_DOWN
    found = assess(looks(tmp_path), Abandon())
    assert (found.back, found.primary) == (Back.FENCE, "pg1")


def test_while_somebody_takes_writes_no_role_is_given_back(eyes: Eyes, tmp_path: Path) -> None:
    eyes.world = World(pg1=HELD, pg2=NEW, changing="failover")
    found = assess(looks(tmp_path), Abandon())
    assert found.back is Back.NOTHING and "pg2 takes writes" in found.told[-1]


def test_a_host_that_this_run_does_not_hold_down_is_left_alone(
    eyes: Eyes, journals: None, tmp_path: Path
) -> None:
    eyes.world = World(pg1=HELD, pg2=STANDBY_DOWN)
    ran(tmp_path, "20260101T000000Z-rejoin", "rejoin", "assess", "stop")
    found = assess(looks(tmp_path), Abandon())
    assert found.back is Back.NOTHING and "no host is held down by it" in found.told[-1]
    eyes.world = World(pg1=CRASHED, pg2=STANDBY_DOWN, changing="switchover")
    assert assess(looks(tmp_path), Abandon()).back is Back.NOTHING


@pytest.mark.parametrize(
    ("world", "words"),
    [
        (replace(FAILED_OVER, backup=False), "may not be the newest"),
        (replace(FAILED_OVER, pg2=Pg(on=False)), "nobody can look at it"),
        (replace(FAILED_OVER, pg2=Pg(data="blank", up=False)), "do not say whether it ended"),
        (replace(FAILED_OVER, pg2=replace(NEW, up=False)), "pg2 knows timeline 2"),
        (replace(FAILED_OVER, pg2=Pg(up=False, timeline=2)), "pg2 knows timeline 2"),
        (replace(FAILED_OVER, pg1=replace(HELD, timeline=2)), "pg1 is not the primary on timeline 1"),
        (replace(FAILED_OVER, pg1=replace(HELD, data="foreign")), "pg1 is not the primary on timeline 1"),
        (replace(FAILED_OVER, pg1=replace(HELD, data="damaged")), "its control file cannot be read"),
    ],
)
def test_what_nobody_can_prove_is_not_given_back(eyes: Eyes, tmp_path: Path, world: World, words: str) -> None:
    eyes.world = world
    with pytest.raises(Refused, match=words) as refused:
        assess(looks(tmp_path), Abandon())
    assert refused.value.hint


def test_a_host_that_another_operator_may_have_promoted_is_looked_at(
    eyes: Eyes, journals: None, tmp_path: Path
) -> None:
    """This run's own promotion had not begun; who else acted while the arbiter was away nobody here knows."""
    eyes.world = replace(FAILED_OVER, pg2=Pg(on=False))
    ran(tmp_path, RUN, "failover", "assess", "fence")
    with pytest.raises(Refused, match="pg2 may have been promoted since"):
        assess(looks(tmp_path), Abandon())


def test_the_copy_of_the_record_is_believed_on_the_operators_word(eyes: Eyes, tmp_path: Path) -> None:
    eyes.world = replace(FAILED_OVER, backup=False)
    assert assess(looks(tmp_path, accept_no_arbiter=True), Abandon()).back is Back.FENCE


def test_a_restore_that_exchanged_directories_is_put_back_by_its_own_undo(
    eyes: Eyes, journals: None, tmp_path: Path
) -> None:
    eyes.world = World(pg1=replace(HELD, timeline=2), pg2=Pg(up=False, fenced=True), noted="degraded")
    ran(tmp_path, RUN, "restore-pitr", "assess", "fence-main", "swap")
    assert assess(looks(tmp_path), Abandon()).back is Back.SWAP


@pytest.mark.parametrize(
    ("other", "words"),
    [(Pg(on=False), "pg2 may have been promoted since"), (replace(NEW, up=False), "pg2 knows timeline 2")],
)
def test_no_restore_is_put_back_beside_one_that_may_have_been_promoted(
    eyes: Eyes, journals: None, tmp_path: Path, other: Pg, words: str
) -> None:
    """It starts past the start guard, which would have asked."""
    eyes.world = World(pg1=HELD, pg2=other, noted="degraded")
    ran(tmp_path, RUN, "restore-pitr", "assess", "fence-main")
    with pytest.raises(Refused, match=words):
        assess(looks(tmp_path), Abandon())


def test_of_a_run_that_is_named_another_one_may_have_begun_the_promotion(
    eyes: Eyes, journals: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record says so: an operator elsewhere went on where this one stopped."""
    eyes.world = FAILED_OVER
    ran(tmp_path, RUN, "failover", "assess", "fence")
    assert not assess(looks(tmp_path, run=RUN), Abandon()).hold
    answer = eyes.pages().answer
    assert isinstance(answer, Known) and answer.record.changing
    theirs = answer.record.changing.model_copy(update={"run": "20260101T010000Z-failover"})
    later = replace(answer, record=answer.record.model_copy(update={"changing": theirs}))
    monkeypatch.setattr(abandon_choice, "read", lambda *_: later)
    assert assess(looks(tmp_path, run=RUN), Abandon()).hold


@pytest.mark.parametrize("word", ["", "no-such-run", "passed"])
def test_nothing_to_abandon_is_bad_input(eyes: Eyes, journals: None, tmp_path: Path, word: str) -> None:
    ran(tmp_path, "passed", "failover", "assess", ended="passed")
    with pytest.raises(BadInput) as refused:
        assess(looks(tmp_path, run=word), Abandon())
    assert refused.value.hint


def test_the_one_that_is_named_is_meant(eyes: Eyes, journals: None, tmp_path: Path) -> None:
    eyes.world = FAILED_OVER
    ran(tmp_path, "20260101T000000Z-rejoin", "rejoin", "assess", "stop")
    ran(tmp_path, RUN, "failover", "assess", "fence")
    assert assess(looks(tmp_path), Abandon()).run == RUN
    assert assess(looks(tmp_path, run="20260101T000000Z-rejoin"), Abandon()).run == "20260101T000000Z-rejoin"


# ---- the order of things

ROLES: dict[str, Any] = {
    "primary": "pg1", "other": "pg2", "old_timeline": 1, "timeline": 1, "run": RUN, "back": Back.FENCE,
}  # fmt: skip


@pytest.fixture
def down(moments: Moments, monkeypatch: pytest.MonkeyPatch) -> Moments:
    """The primary is down, its failover under way; what is done to it is noted."""
    for name in ("as_primary", "unfence", "forget_names", "start"):
        monkeypatch.setattr(act, name, moments.at(name))
    monkeypatch.setattr(permit, "grant", moments.at("permit"))
    monkeypatch.setattr(permit, "withdraw", lambda *_: None)
    files = (primary("pg1", 90), standby("pg2", 90))
    monkeypatch.setattr(stopped, "survey", lambda hosts, *_: files[: len(hosts)])
    monkeypatch.setattr(server, "look", lambda host, *_: replace(PRIMARY, host=host, online=False))
    return moments


@pytest.mark.parametrize("synchronous", [True, False])
def test_a_role_is_given_back_as_it_was(desk: Desk, down: Moments, synchronous: bool) -> None:
    if not synchronous:
        desk.everywhere(a_record(revision=2, mode="degraded", synchronous=()))
    run = acting(desk, AbandonOptions(yes=True), "abandon")
    abandon.give_back(run, Abandon(**ROLES, synchronous=synchronous))
    names = ["write_names"] if synchronous else []
    assert down.names == [*names, "as_primary", "unfence", "permit", "start"]
    assert {loss for _, loss in down.seen} == ({0} if synchronous else {None})


def test_without_the_one_that_is_held_down_it_is_recorded_as_alone_before_it_starts(
    desk: Desk, down: Moments
) -> None:
    run = acting(desk, AbandonOptions(yes=True), "abandon")
    state = Abandon(**ROLES, hold=True, synchronous=True)
    abandon.hold_down(run, state)
    abandon.give_back(run, state)
    assert down.names == ["fence", "forget_names", "as_primary", "unfence", "permit", "start"]
    assert {loss for _, loss in down.seen[1:]} == {None}


def test_one_that_was_promoted_after_all_is_not_succeeded_by_the_old_one(
    desk: Desk, down: Moments, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = acting(desk, AbandonOptions(yes=True), "abandon")
    abandon.was_never_promoted(run, Abandon(**ROLES))
    monkeypatch.setattr(server, "control_data", lambda *_: ControlData("in production", 2, 90))
    with pytest.raises(VerificationFailed, match="has been promoted after all"):
        abandon.was_never_promoted(run, Abandon(**ROLES))


def test_the_run_cannot_be_resumed_any_more(
    desk: Desk, moments: Moments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled: Callable[..., Any] = lambda *_: Settlement(Settled.KEPT, "it says it")  # noqa: E731
    monkeypatch.setattr(abandon, "settle", settled)
    monkeypatch.setattr(server, "survey", lambda _: (replace(PRIMARY, fenced=f"failover, run {RUN}"),))
    folder = ran(tmp_path, RUN, "failover", "assess", "fence")
    run = acting(desk, AbandonOptions(yes=True), "abandon")
    done = abandon.end(run, Abandon(**ROLES, journal=str(folder), procedure="failover"))
    past = history.read_history(folder)
    assert past is not None and past.abandoned and past.over
    assert "pg1 stays fenced until ./dr rejoin pg1 --yes" in done.told
