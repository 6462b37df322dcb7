"""Am I safe: yes, no, or nobody can tell; why, and which command changes that. Pure, of facts that were gathered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from drills.board.facts import Facts
from drills.calendar.due import worst_first
from drills.calendar.judge import Row, State
from inventories.catalog.recovery import LAB
from runbooks.judge.feasibility import Answer, Verdict


class Colour(StrEnum):
    """What the page shows in words, in a sign and in a colour: never in a colour alone."""

    GOOD = "good"
    BAD = "bad"
    UNKNOWN = "unknown"


WORDS = {Colour.GOOD: "Safe", Colour.BAD: "Not safe", Colour.UNKNOWN: "Nobody can tell"}
STATES = {
    State.FRESH: Colour.GOOD, State.STALE: Colour.UNKNOWN, State.UNKNOWN: Colour.UNKNOWN,
    State.OVERDUE: Colour.BAD, State.FAILED: Colour.BAD, State.NEVER: Colour.BAD,
}  # fmt: skip
VERDICTS = {Verdict.FITS: Colour.GOOD, Verdict.TOO_SLOW: Colour.BAD, Verdict.UNKNOWN: Colour.UNKNOWN}


@dataclass(frozen=True)
class Cause:
    """One reason why the answer is not yes. `commands` is what to run, or a sentence that says what to do."""

    colour: Colour
    says: str
    commands: tuple[str, ...] = ()


@dataclass(frozen=True)
class Safe:
    """The answer in a word and a sentence, and every cause: what is bad first, in the order in which to act."""

    colour: Colour
    sentence: str
    causes: tuple[Cause, ...]

    @property
    def word(self) -> str:
        return WORDS[self.colour]


def answer(facts: Facts) -> Safe:
    """Of everything that is known; what nobody told is a cause of its own."""
    causes = (*_now(facts), *_history(facts), *_plan(facts), *_drills(facts))
    ordered = tuple(sorted(causes, key=lambda cause: cause.colour is not Colour.BAD))
    if not ordered:
        return Safe(Colour.GOOD, _whole(facts), ())
    bad = [cause for cause in ordered if cause.colour is Colour.BAD]
    first = (bad or ordered)[0]
    more = len(ordered) - 1
    rest = f" {more} more reason{'s' if more > 1 else ''} below." if more else ""
    return Safe(first.colour, f"{first.says}.{rest}", ordered)


def _cause(colour: Colour, says: str, *commands: str) -> Cause:
    return Cause(colour, says.rstrip("."), tuple(filter(None, commands)))


def _whole(facts: Facts) -> str:
    loss = facts.now.loss.sentence if facts.now else ""
    return f"Every objective is met, and every promise was drilled in time. Possible loss now: {loss}"


def _now(facts: Facts) -> Iterator[Cause]:
    if facts.now is None:
        yield _cause(Colour.UNKNOWN, f"The estate was not seen: {facts.why_not_seen}", "./dr status")
        return
    for one in facts.now.findings:
        yield _cause(Colour.BAD, f"{one.objective}: {one.measured}, promised {one.limit}", one.hint)
    told = {one.measured for one in facts.now.findings}
    for part, why in facts.now.status.unknown.items():
        if why in told:
            continue  # what is silent is a finding already
        yield _cause(Colour.UNKNOWN, f"{part} is unknown: {why}", "./dr status")
    if facts.now.loss.wal_bytes is None and not facts.now.findings:
        yield _cause(Colour.UNKNOWN, f"What would be lost now is {facts.now.loss.sentence}".rstrip("."), "./dr status")


def _history(facts: Facts) -> Iterator[Cause]:
    for trouble in facts.due.troubles:
        yield _cause(Colour.BAD, f"The history of drills does not hold: {trouble}", "./dr evidence.verify")
    if not facts.due.rows:
        yield _cause(Colour.BAD, "The drill calendar is empty, so nothing was proven", "./dr drills.due")


def _plan(facts: Facts) -> Iterator[Cause]:
    if facts.plan is None:
        why = facts.why_no_plan
        yield _cause(Colour.UNKNOWN, f"Whether recovery is fast enough today is unknown: {why}", "./dr plan")
        return
    slow = [one for one in facts.plan if one.verdict is Verdict.TOO_SLOW]
    for one in slow:
        yield _cause(Colour.BAD, f"{one.scenario} would take {_seconds(one)}, promised {one.rto_s:g} s", one.lever)
    unknown = [one.scenario for one in facts.plan if one.verdict is Verdict.UNKNOWN]
    if unknown:
        names = ", ".join(unknown[:3]) + (f" and {len(unknown) - 3} more" if len(unknown) > 3 else "")
        says = f"Nothing was measured that says whether recovery is fast enough today: {names}"
        yield _cause(Colour.UNKNOWN, says, "./dr plan")


def _seconds(one: Answer) -> str:
    return "an unknown time" if one.total_s is None else f"{one.total_s:.1f} s"


def _drills(facts: Facts) -> Iterator[Cause]:
    """One for each state that is not good, promises before twins: what is wrong with many drills is said once."""
    groups: dict[tuple[bool, State], list[Row]] = {}
    for one in worst_first(facts.due):
        groups.setdefault((one.wanted.twin, one.state), []).append(one)
    for (twin, state), rows in groups.items():
        commands = [one.wanted.command for one in rows[:_COMMANDS]]
        yield _cause(STATES[state], _group(rows, _OF_TWINS[state] if twin else _OF_DRILLS[state]), *commands)
    for one in facts.due.grown:
        yield _cause(Colour.UNKNOWN, f"{one.wanted.named} in {one.wanted.place} grows slower: {one.grown}", "./dr runs")


_COMMANDS = 3
_NAMED = 4  # of a group
_OF_DRILLS = {
    State.FAILED: "failed the last time", State.NEVER: "never drilled", State.OVERDUE: "not drilled in time",
    State.UNKNOWN: "of which nobody can tell whether they still count",
    State.STALE: "proven with other code, another catalogue or other versions than there are now",
}  # fmt: skip
_OF_TWINS = {**_OF_DRILLS, State.FAILED: "did not fail for their reason"}


def _group(rows: Sequence[Row], what: str) -> str:
    """`3 drills never drilled: a, b and 1 more`; of one alone its reason."""
    kind = "negative twin" if rows[0].wanted.twin else "promise"
    many = f"{len(rows)} {kind}s" if len(rows) > 1 else f"1 {kind}"
    names = ", ".join(_placed(one) for one in rows[:_NAMED])
    more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
    why = f" ({rows[0].why[0]})" if len(rows) == 1 and rows[0].why and rows[0].state is not State.NEVER else ""
    return f"{many} {what}: {names}{more}{why}"


def _placed(one: Row) -> str:
    return one.wanted.scenario if one.wanted.place == LAB else f"{one.wanted.named} in {one.wanted.place}"
