"""The figures of the drill calendar and of the plan: what was proven, what is due, and whether it is fast enough."""

from __future__ import annotations

from collections.abc import Iterator

from drills.board.facts import Facts
from drills.calendar.due import Due
from drills.calendar.judge import Row, State
from runbooks.figures.kinds import Reading, Sample
from runbooks.figures.names import OF_DRILLS
from runbooks.judge.feasibility import Answer, Verdict

_DUE = (State.NEVER, State.FAILED, State.OVERDUE)
_OF_PLAN = frozenset({"plan_seconds", "plan_promised_seconds", "plan_kept"})


def reading(facts: Facts) -> Reading:
    """Of what `./dr page` gathered."""
    samples = tuple(_samples(facts.due))
    if facts.plan is None:
        return Reading(facts.at.timestamp(), samples, OF_DRILLS - _OF_PLAN)
    return Reading(facts.at.timestamp(), (*samples, *_plan(facts.plan)), OF_DRILLS)


def of_calendar(due: Due) -> Reading:
    """Of the calendar alone."""
    return Reading(due.at.timestamp(), tuple(_samples(due)), OF_DRILLS - _OF_PLAN)


def _samples(due: Due) -> Iterator[Sample]:
    for trouble in due.troubles:
        says = f"The history of drills does not hold: {trouble}"
        yield Sample("history_trouble", 1, {"trouble": trouble}, says, "./dr evidence.verify")
    for row in due.rows:
        yield from _drill(row, due.at.timestamp())


def _drill(row: Row, at: float) -> Iterator[Sample]:
    wanted, labels = row.wanted, {"drill": row.wanted.named, "place": row.wanted.place}
    yield Sample("drill_every_seconds", wanted.every_s, labels)
    if row.age_s is not None:
        yield Sample("drill_passed_timestamp_seconds", at - row.age_s, labels)
    if row.rtos:
        yield Sample("drill_rto_seconds", row.rtos[-1], labels)
    if row.last is not None and row.last.promised_rto_s is not None:
        yield Sample("drill_rto_promised_seconds", row.last.promised_rto_s, labels)
    where = f"{wanted.named} in {wanted.place}"
    if row.state in _DUE:
        says = f"The drill {where} is {row.state.value}: {'; '.join(row.shortly)}"
        yield Sample("drill_due", 1, labels, says, wanted.command)
    elif not row.good:
        says = f"The proof of {where} is {row.state.value}: {'; '.join(row.shortly)}"
        figure = "drill_unknown" if row.state is State.UNKNOWN else "drill_stale"
        yield Sample(figure, 1, labels, says, wanted.command)
    if row.grown:
        yield Sample("drill_slower", 1, labels, f"{where} grows slower: {row.grown}", "./dr runs")


def _plan(answers: tuple[Answer, ...]) -> Iterator[Sample]:
    for one in answers:
        labels = {"scenario": one.scenario}
        yield Sample("plan_promised_seconds", one.rto_s, labels)
        if one.total_s is not None:
            yield Sample("plan_seconds", one.total_s, labels)
        if one.verdict is not Verdict.UNKNOWN:
            yield Sample("plan_kept", one.verdict is Verdict.FITS, labels, hint=one.lever)
