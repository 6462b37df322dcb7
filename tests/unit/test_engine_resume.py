"""Resuming: after kill -9 at every moment, after failure, with a torn journal; and what is not resumed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ConfigDict, SecretStr

from inventories.errors import BadInput, Refused, TargetFailed, VerificationFailed
from runbooks.engine import journal, runner
from runbooks.engine.context import Context, Options
from runbooks.engine.history import open_run
from runbooks.engine.journal import FILE_NAME, Event, Journal
from runbooks.engine.outcome import Outcome, StepOutcome
from runbooks.engine.procedure import Procedure, replace_step
from runbooks.engine.result import RunResult
from runbooks.engine.runner import run
from runbooks.engine.step import Evidence
from tests.unit.engine_kit import BUDGETS, NAMES, Bench, Trail, World, acts, happened, procedure, step

KILLED = 9


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("DR_STATE", str(tmp_path / "state"))
    return Bench(World(tmp_path / "world"), tmp_path / "runs")


def in_child(act: Callable[[], object]) -> int:
    """Run it in a child process, which has no chance to clean up; the child's exit code."""
    pid = os.fork()
    if pid == 0:
        try:
            act()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def start(bench: Bench, wanted: Procedure[Any]) -> RunResult[Any]:
    return run(wanted, bench.context(open_run(wanted, "toy", runs=bench.runs)), budgets=BUDGETS)


def resume(bench: Bench, wanted: Procedure[Any], options: Options | None = None) -> RunResult[Any]:
    run_dir = open_run(wanted, "toy", resume=True, runs=bench.runs)
    return run(wanted, bench.context(run_dir, options), resume=True, budgets=BUDGETS)


def dies_before_the_action(name: str) -> Procedure[Trail]:
    def action(_context: Context[Any, Any], _state: Trail) -> Trail:
        os._exit(KILLED)

    return replace_step(procedure(), name, action=action)


def dies_after_the_action(name: str) -> Procedure[Trail]:
    def action(context: Context[Any, Any], state: Trail) -> Trail:
        acts(name)(context, state)
        os._exit(KILLED)

    return replace_step(procedure(), name, action=action)


def dies_in_the_evidence(name: str) -> Procedure[Trail]:
    def holds(_context: Context[Any, Any], _state: Trail) -> None:
        os._exit(KILLED)

    return replace_step(procedure(), name, evidence=Evidence("never seen", holds))


@pytest.mark.parametrize("moment", [dies_before_the_action, dies_after_the_action, dies_in_the_evidence])
@pytest.mark.parametrize("name", NAMES)
def test_a_run_killed_at_any_step_resumes_there(
    bench: Bench, name: str, moment: Callable[[str], Procedure[Trail]]
) -> None:
    assert in_child(lambda: start(bench, moment(name))) == KILLED
    before = bench.world.words
    result = resume(bench, procedure())
    assert result.outcome is Outcome.PASSED
    assert result.state.done == NAMES
    assert bench.world.words == [*before, *NAMES[NAMES.index(name) :]], "what was proved is not done again"
    assert [found.name for found in result.steps] == list(NAMES)
    assert any("is taken over" in sentence for sentence in bench.heard), "the dead owner's lock"


@pytest.mark.parametrize("count", range(1, 10))
def test_a_run_killed_after_any_record_resumes_to_the_same_end(bench: Bench, count: int) -> None:
    class Dying(journal.Journal):
        def write(self, *args: Any, **data: Any) -> None:
            super().write(*args, **data)
            if self._seq == count:
                os._exit(KILLED)

    def victim() -> None:
        vars(runner)["Journal"] = Dying  # only in the child
        start(bench, procedure())

    assert in_child(victim) == KILLED
    result = resume(bench, procedure())
    assert (result.outcome, result.state.done) == (Outcome.PASSED, NAMES)
    assert len(bench.world.words) <= len(NAMES) + 1, "at most the step in flight is repeated"


@pytest.mark.parametrize("lost", [1, 7, 60])
def test_a_torn_last_line_is_tolerated(bench: Bench, lost: int) -> None:
    assert in_child(lambda: start(bench, dies_before_the_action("promote"))) == KILLED
    path = next(bench.runs.glob(f"*/{FILE_NAME}"))
    path.write_bytes(path.read_bytes()[:-lost])
    result = resume(bench, procedure())
    assert result.outcome is Outcome.PASSED
    assert [json.loads(line)["seq"] for line in path.read_text().splitlines()] == sorted(
        record.seq for record in journal.read(result.run_dir).records
    )


def test_a_journal_damaged_in_the_middle_is_not_resumed(bench: Bench) -> None:
    in_child(lambda: start(bench, dies_before_the_action("promote")))
    path = next(bench.runs.glob(f"*/{FILE_NAME}"))
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:2], "{half\n", *lines[3:]]))
    with pytest.raises(BadInput, match="damaged at line 3"):
        run(procedure(), bench.context(path.parent), resume=True, budgets=BUDGETS)
    assert "promote" not in bench.world.words


def failing(name: str) -> Procedure[Trail]:
    def fails(_context: Context[Any, Any], _state: Trail) -> Trail:
        raise TargetFailed("pg2 answered: no")

    return replace_step(procedure(), name, action=fails)


def test_a_failed_run_resumes_at_the_step_that_failed_without_asking_the_gate_again(bench: Bench) -> None:
    assert start(bench, failing("promote")).outcome is Outcome.FAILED
    bench.world = replace(bench.world, closed=True)
    result = resume(bench, procedure())
    assert result.outcome is Outcome.PASSED
    assert bench.world.words == list(NAMES)
    assert [phase.name for phase in result.phases] == ["promote"]


def test_a_run_killed_at_the_gate_asks_the_gate_when_resumed(bench: Bench) -> None:
    def dies(_context: Context[Any, Any]) -> None:
        os._exit(KILLED)

    gate = replace(procedure().gate[0], check=dies)
    assert in_child(lambda: start(bench, replace(procedure(), gate=(gate,)))) == KILLED
    bench.world = replace(bench.world, closed=True)
    assert resume(bench, procedure()).outcome is Outcome.REFUSED


def test_a_skipped_step_stays_skipped(bench: Bench) -> None:
    skipped = step("fence", when=lambda _context, _state: False, when_says="the old primary answers")
    stopped = procedure(step("assess"), skipped, failing("promote").steps[2])
    start(bench, stopped)
    result = resume(bench, procedure())
    assert result.steps[1].outcome is StepOutcome.SKIPPED
    assert bench.world.words == ["assess", "promote"]


def test_a_passed_run_leaves_nothing_to_resume(bench: Bench) -> None:
    start(bench, procedure())
    with pytest.raises(BadInput, match="nothing to resume"):
        resume(bench, procedure())


def test_an_older_failure_is_not_resumed_past_a_newer_success(bench: Bench) -> None:
    start(bench, failing("fence"))
    start(bench, procedure())
    with pytest.raises(BadInput, match="passed"):
        resume(bench, procedure())


def test_without_any_run_there_is_nothing_to_resume(bench: Bench) -> None:
    with pytest.raises(BadInput, match="nothing to resume"):
        resume(bench, procedure())


def test_a_run_refused_by_its_gate_leaves_nothing_to_resume(bench: Bench) -> None:
    bench.world = replace(bench.world, closed=True)
    start(bench, procedure())
    with pytest.raises(BadInput, match="nothing to resume"):
        resume(bench, procedure())


def test_a_newer_run_overtakes_whatever_became_of_it(bench: Bench) -> None:
    """Finding 6: the newer one was refused because a primary lived, and the older one went on beside that."""

    def refuses(_context: Context[Any, Any], _state: Trail) -> Trail:
        raise Refused("pg1 takes writes")

    looks = replace(step("assess"), observes=True)
    killed = procedure(looks, step("fence"), step("promote"))
    assert in_child(lambda: start(bench, replace_step(killed, "promote", action=_dies))) == KILLED
    assert start(bench, replace_step(killed, "assess", action=refuses)).outcome is Outcome.REFUSED
    with pytest.raises(Refused, match="has overtaken it") as refused:
        resume(bench, killed)
    assert "./dr runbook.abandon" in refused.value.hint
    assert "promote" not in bench.world.words


@pytest.mark.parametrize("what", ["deploy", "record-settle"])
def test_what_is_no_runbook_overtakes_too(bench: Bench, what: str) -> None:
    start(bench, failing("promote"))
    acted(bench, what)
    with pytest.raises(Refused, match=f"{what} has acted on toy since"):
        resume(bench, procedure())


def test_breaking_the_lock_of_a_run_overtakes_nothing(bench: Bench) -> None:
    start(bench, failing("promote"))
    acted(bench, "lock-break")
    assert resume(bench, procedure()).outcome is Outcome.PASSED


def acted(bench: Bench, what: str) -> None:
    folder = open_run(procedure(name=what), "toy", runs=bench.runs)
    with Journal(folder) as written:
        written.write(Event.OPENED, procedure=what, estate="toy", steps=[what], options={})
        written.write(Event.FINISHED, outcome="passed", error="", hint="")


def test_a_run_that_is_too_old_is_refused_and_so_is_one_from_the_future(bench: Bench) -> None:
    start(bench, failing("promote"))
    path = next(bench.runs.glob(f"*/{FILE_NAME}"))
    for hours in (-13, 13):
        at = (datetime.now(UTC) + timedelta(hours=hours)).isoformat()
        lines = [json.dumps({**json.loads(line), "at": at}) for line in path.read_text().splitlines()]
        path.write_text("\n".join(lines) + "\n")
        with pytest.raises(Refused, match="counts for 12 h"):
            open_run(procedure(), "toy", resume=True, runs=bench.runs, max_age_s=12 * 3600)
    assert "promote" not in bench.world.words


def test_a_run_is_not_resumed_by_a_clock_that_was_set_back(bench: Bench) -> None:
    """What was done after it looks older, and would not overtake it."""
    start(bench, failing("promote"))
    path = next(bench.runs.glob(f"*/{FILE_NAME}"))
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    lines = [json.dumps({**json.loads(line), "at": later}) for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n")
    acted(bench, "deploy")
    with pytest.raises(Refused, match="was set back") as refused:
        open_run(procedure(), "toy", resume=True, runs=bench.runs, max_age_s=12 * 3600)
    assert "afresh" in refused.value.hint


def test_an_abandoned_run_leaves_nothing_to_resume(bench: Bench) -> None:
    result = start(bench, failing("promote"))
    with Journal(result.run_dir) as written:
        written.write(Event.ABANDONED, by="another run")
    with pytest.raises(BadInput, match="was abandoned"):
        resume(bench, procedure())


class Door:
    """Whether what a step has proved is so still."""

    def __init__(self) -> None:
        self.open, self.asked = False, 0

    def guard(self) -> Evidence[Trail]:
        def holds(_context: Context[Any, Any], _state: Trail) -> None:
            self.asked += 1
            if self.open:
                raise VerificationFailed("pg1 takes writes")

        return Evidence("nobody takes writes", holds)


@pytest.mark.parametrize("opened", [False, True])
def test_guards_of_the_steps_that_are_done_are_proved_again(bench: Bench, opened: bool) -> None:
    door = Door()
    guarded = procedure(step("assess"), step("fence", still=door.guard()), step("promote"))
    start(bench, replace_step(guarded, "promote", action=failing("promote").steps[2].action))
    assert door.asked == 0, "a run that is not resumed has just seen it"
    door.open = opened
    result = resume(bench, guarded)
    assert door.asked == 1
    if not opened:
        assert (result.outcome, result.state.done) == (Outcome.PASSED, NAMES)
        assert "fence: still nobody takes writes" in bench.heard
        return
    assert result.outcome is Outcome.REFUSED
    assert "what fence had proved is not so any more: pg1 takes writes" in result.error
    assert result.hint
    assert bench.world.words == ["assess", "fence"], "nothing was touched"
    door.open = False
    assert resume(bench, guarded).outcome is Outcome.PASSED, "it is so again, and nobody has acted since"


def test_guard_of_a_step_that_is_still_ahead_is_not_asked(bench: Bench) -> None:
    door = Door()
    guarded = procedure(step("assess"), step("fence"), step("promote", still=door.guard()))
    start(bench, replace_step(guarded, "promote", action=failing("promote").steps[2].action))
    assert resume(bench, guarded).outcome is Outcome.PASSED
    assert door.asked == 0


def test_a_guard_that_answers_instead_of_raising_is_a_defect(bench: Bench) -> None:
    silent: Any = Evidence("nothing", lambda _context, _state: False)
    guarded = procedure(step("assess", still=silent), step("fence"), step("promote"))
    start(bench, replace_step(guarded, "promote", action=failing("promote").steps[2].action))
    result = resume(bench, guarded)
    assert result.outcome is Outcome.FAILED and "answers instead of raising" in result.error
    with pytest.raises(ValueError, match="asks nobody"):
        step("assess", still=Evidence("nothing"))


def _dies(_context: Context[Any, Any], _state: Trail) -> Trail:
    os._exit(KILLED)


def test_a_run_of_another_estate_is_not_resumed(bench: Bench) -> None:
    result = start(bench, failing("fence"))
    bench.world = replace(bench.world, name="other")
    with pytest.raises(BadInput, match="nothing to resume"):
        open_run(procedure(), "other", resume=True, runs=bench.runs)
    with pytest.raises(BadInput, match="was of toy"):
        run(procedure(), bench.context(result.run_dir), resume=True, budgets=BUDGETS)


def test_another_procedure_in_between_is_a_refusal(bench: Bench) -> None:
    start(bench, failing("promote"))
    start(bench, procedure(name="toy-rejoin"))
    with pytest.raises(Refused, match="toy-rejoin has acted on toy since"):
        resume(bench, procedure())


def test_the_journal_of_another_version_is_refused(bench: Bench) -> None:
    start(bench, failing("fence"))
    with pytest.raises(Refused, match="another version"):
        resume(bench, procedure(step("assess"), step("fence"), step("announce")))
    assert bench.world.words == ["assess"]


def test_a_state_that_the_new_version_cannot_read_is_refused(bench: Bench) -> None:
    class Counted(BaseModel):
        model_config = ConfigDict(frozen=True)
        bytes_lost: int

    start(bench, failing("fence"))
    result = resume(bench, procedure(initial=lambda _context: Counted(bytes_lost=0)))
    assert result.outcome is Outcome.REFUSED
    assert "cannot read" in result.error


def test_resuming_asks_for_consent_again_for_what_is_still_ahead(bench: Bench) -> None:
    start(bench, failing("promote"))
    ahead = procedure(step("assess"), step("fence"), step("promote", destructive=True))
    with pytest.raises(Refused, match="promote"):
        resume(bench, ahead, Options())
    behind = procedure(step("assess", destructive=True), step("fence"), step("promote"))
    assert resume(bench, behind, Options()).outcome is Outcome.PASSED


def test_a_run_can_be_resumed_more_than_once(bench: Bench) -> None:
    start(bench, failing("fence"))
    assert resume(bench, failing("promote")).outcome is Outcome.FAILED
    assert resume(bench, procedure()).state.done == NAMES


def test_a_secret_in_the_state_comes_back_from_initial_and_not_from_the_journal(bench: Bench) -> None:
    class Keyed(BaseModel):
        model_config = ConfigDict(frozen=True)
        password: SecretStr
        used: tuple[str, ...] = ()

    def uses(_context: Context[Any, Any], state: Keyed) -> Keyed:
        return state.model_copy(update={"used": (*state.used, str(len(state.password.get_secret_value())))})

    def stops(_context: Context[Any, Any], _state: Keyed) -> Keyed:
        raise TargetFailed("no")

    itself: Any = Evidence("itself")
    first, second = (step(name, action=uses, evidence=itself) for name in ("assess", "fence"))
    wanted = procedure(first, second, initial=lambda _context: Keyed(password=SecretStr("hunter2-hunter2")))
    start(bench, replace_step(wanted, "fence", action=stops))
    assert resume(bench, wanted).state.used == ("15", "15")
    assert "hunter2" not in next(bench.runs.glob(f"*/{FILE_NAME}")).read_text()


def test_evidence_of_the_kit_can_fail() -> None:
    assert happened("never").holds is not None


class Switched(Options):
    added_later: ClassVar[frozenset[str]] = frozenset({"swap"})
    only_if_said: ClassVar[frozenset[str]] = frozenset({"mode"})
    swap: bool = False
    target: str = ""
    mode: str = "merge"


SWITCHED = procedure(step("assess"), step("fence", option="swap"), step("promote", option="swap"))


def begun(bench: Bench, said: Switched, at: str = "fence") -> None:
    """Killed before that step."""
    dying = replace_step(SWITCHED, at, action=_dies)
    run_dir = open_run(SWITCHED, "toy", runs=bench.runs)
    assert in_child(lambda: run(dying, bench.context(run_dir, said), budgets=BUDGETS)) == KILLED


def test_a_resumed_run_keeps_what_it_was_told_but_not_its_consent(bench: Bench) -> None:
    """Without that, --resume alone would skip the rest of a swap and call it passed."""
    begun(bench, Switched(swap=True, target="before the mistake", yes=True))
    heard: list[Options] = []
    looking = replace_step(SWITCHED, "promote", action=lambda context, state: heard.append(context.options) or state)
    result = resume(bench, replace_step(looking, "promote", evidence=Evidence("seen")), Switched())
    assert result.outcome is Outcome.PASSED
    assert bench.world.words == ["assess", "fence"]
    assert heard == [Switched(swap=True, target="before the mistake", yes=False)]


@pytest.mark.parametrize(
    ("own", "now", "words"),
    [
        (Switched(swap=True, target="ten"), Switched(target="eleven", yes=True), "target ten, not with eleven"),
        (Switched(swap=True), Switched(target="eleven"), "target empty, not with eleven"),
        (Switched(swap=True, mode="replace"), Switched(mode="merge"), "mode replace, not with merge"),
    ],
)
def test_a_resumed_run_takes_no_other_target(bench: Bench, own: Switched, now: Switched, words: str) -> None:
    """Finding 11: restored to the old one, put in the primary's place, and passed."""
    begun(bench, own)
    before = bench.world.words
    with pytest.raises(BadInput, match=words) as refused:
        resume(bench, SWITCHED, now)
    assert "afresh" in refused.value.hint
    assert bench.world.words == before, "nothing was touched"
    assert resume(bench, SWITCHED, Switched()).outcome is Outcome.PASSED


def test_the_runs_own_words_may_be_said_again_and_others_be_added(bench: Bench) -> None:
    begun(bench, Switched(target="ten", mode="merge"), at="assess")
    result = resume(bench, SWITCHED, Switched(target="ten", mode="merge", swap=True, yes=True))
    assert result.outcome is Outcome.PASSED
    assert bench.world.words == list(NAMES)
