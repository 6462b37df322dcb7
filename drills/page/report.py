"""One page that proves it: report.html, self-contained, for the manager first and the engineer below."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from drills.judging.result import DrillResult, Outcome, write_whole
from drills.judging.verdict import Objective, objectives
from drills.measuring.events import Event
from drills.measuring.ledger import read_ledger
from drills.measuring.pressure import FIGURES, known
from drills.page.charts import close_view, overview, phase_chart, phase_kind

_TEMPLATES = Path(__file__).resolve().parents[2] / "templates" / "report"
_SIBLINGS = (
    ("result.json", "the numbers of this page"),
    ("junit.xml", "every check, for a CI"),
    ("journal.jsonl", "each step, before and after"),
    ("course.jsonl", "each phase and sentence, as it came"),
    ("ledger.jsonl", "every acknowledgement, with its time"),
    ("ledger-tdengine.jsonl", "every acknowledgement of TDengine's rows, with its time"),
    ("logs", "what the hosts logged"),
    ("said.log", "what the drills said, with its time"),
)
WORDS = {
    Outcome.PASSED: "Passed",
    Outcome.FAILED: "Failed",
    Outcome.REFUSED: "Refused",
    Outcome.INTERRUPTED: "Interrupted",
}
NONE = "\N{EM DASH}"
_MEANS = {
    "PostgreSQL": "by a synchronously replicated commit of PostgreSQL",
    "TDengine": "by TDengine, which syncs its write-ahead log first",
}


@dataclass(frozen=True, slots=True)
class Sibling:
    name: str
    says: str


def write_report(result: DrillResult, folder: Path, events: Sequence[Event] | None = None) -> Path:
    """Write folder/report.html; the ledger is read from the folder unless its events are given."""
    return write_whole(
        folder / "report.html",
        render(result, _ledger(folder) if events is None else events, siblings(folder)),
    )


def render(result: DrillResult, events: Sequence[Event] = (), files: Sequence[Sibling] = ()) -> str:
    """The page as text. Everything in it is escaped, and nothing in it is fetched from anywhere."""
    return page(
        "report.html.j2",
        result=result,
        word=WORDS[result.outcome],
        headline=headline(result),
        objectives=objectives(result),
        overview=overview(result, events),
        close_view=close_view(result, events),
        phases=phase_chart(result),
        phase_kind=phase_kind,
        promised_by=promised_by(result),
        figures=FIGURES,
        pressure_known=known(result.pressure),
        files=files,
    )


def page(template: str, **told: object) -> str:
    """One of the report's templates, filled in."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": count,
        "seconds": seconds,
        "amount": amount,
        "margin": margin,
        "humane": humane,
    }
    return environment.get_template(template).render(**told)


def headline(result: DrillResult) -> str:
    """The verdict in one sentence: what a manager repeats."""
    if result.outcome is Outcome.PASSED:
        return "; ".join(_parts(result)) + "."
    return first_of(result.reasons) or "No reason was recorded; the journal says how far it came."


def first_of(reasons: Sequence[str]) -> str:
    """The first one as a sentence, and how many stand below; '' where there is none."""
    first = "".join(reasons[:1])
    if first and first[-1] not in ".!?":
        first += "."
    more = len(reasons) - 1
    return first + (f" {more} more reason{'s' if more > 1 else ''} below." if more > 0 else "")


def siblings(folder: Path) -> tuple[Sibling, ...]:
    """The files beside the report that are really there."""
    return tuple(Sibling(name, says) for name, says in _SIBLINGS if (folder / name).exists())


def count(value: int | None) -> str:
    return NONE if value is None else f"{value:,}"


def seconds(value: float | None) -> str:
    """0.42 s, 12.3 s, 2 min 05 s."""
    if value is None:
        return NONE
    if value >= 99.95:
        minutes, rest = divmod(round(value), 60)
        return f"{minutes} min {rest:02d} s"
    return f"{value:.2f} s" if abs(value) < 9.995 else f"{value:.1f} s"


def amount(value: float | None, objective: Objective) -> str:
    """A value in its objective's unit."""
    if value is None:
        return NONE
    if objective.unit == "s":
        return seconds(value)
    return f"{value:,.0f} {'row' if value == 1 and objective.unit == 'rows' else objective.unit}"


def margin(value: float | None, objective: Objective) -> str:
    """The room that was left, with its sign."""
    if value is None:
        return NONE
    sign = "+" if value > 0 else "\N{MINUS SIGN}" if value < 0 else ""
    return sign + amount(abs(value), objective)


def humane(name: str) -> str:
    """`primary-power-loss` as a title."""
    words = re.sub(r"[-_]+", " ", name).strip()
    return words.replace("tdengine", "TDengine") if words.startswith("tdengine") else words[:1].upper() + words[1:]


def promised_by(result: DrillResult) -> str:
    """Who acknowledges in this drill, and what that means."""
    says = [_MEANS[store.store] for store in result.stores if store.store in _MEANS] or [_MEANS["PostgreSQL"]]
    return "; ".join((*says, "or by the fsynced outbox on the application host"))


def _none(number: int | None) -> str:
    return "none" if number == 0 else count(number)


def _parts(result: DrillResult) -> Iterator[str]:
    """What a passed drill kept, what it gave up knowingly, when it was noticed, when writing went on."""
    kept = f"{_none(result.lost)} lost, {_none(result.duplicated)} duplicated"
    yield f"{count(result.acked)} rows acknowledged, {kept}"
    if result.excused:
        lost = f"{count(result.excused)} of the last {seconds(result.rpo_s)} before the fault"
        yield f"{lost} went with the hosts, within the promise"
    if result.rolled_back:
        yield f"{count(result.rolled_back)} acknowledged after the restore's target were rolled back with it"
    if result.objectives.detection_s is not None:
        yield f"the alarm came after {seconds(result.detection_s)}"
    yield _resumed(result)


def _resumed(result: DrillResult) -> str:
    pause = seconds(result.rto_s)
    if len(result.stores) > 1:
        each = (f"{store.store} took rows again after {seconds(store.rto_s)}" for store in result.stores)
        return ", ".join(each)
    if [store.store for store in result.stores] == ["TDengine"]:
        return f"TDengine took rows again after {pause}"
    if result.rolled_back and result.timeline_changed:
        return f"writing resumed on the restored cluster after {pause}"
    if result.timeline_changed:
        return f"writing resumed on the new primary after {pause}"
    return f"the store never paused for longer than {pause}"


def _ledger(folder: Path) -> tuple[Event, ...]:
    """Every store's events in order of time. A drill that was refused at its gate has none."""
    told = [event for path in sorted(folder.glob("ledger*.jsonl")) for event in read_ledger(path)]
    return tuple(sorted(told, key=lambda event: event.at))
