"""A drill told as a story that a manager follows: what goes on, without a word of jargon that is not explained.

Pure: sentences of the drill in, sentences of the story out, and every number from the result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from drills.judging.result import DrillResult, Outcome
from drills.judging.verdict import Objective, objectives
from drills.page.report import count, headline, seconds

SCENARIO = "primary-power-loss"
NEXT = (
    ("./dr status", "the estate as it is now"),
    ("./dr drill --scenario bad-update", "a wrong UPDATE, taken back"),
    ("./dr scenarios", "everything else that can be broken"),
)
_BEGINS = re.compile(r"\d+/\d+ (?P<step>[a-z-]+): ")
_ENDS = re.compile(r"(?P<step>[a-z-]+): (?P<evidence>.*) \([\d.]+ s\)$")
_FAULT = "fault: "
_DETECTED = "detected: "
_COMPARING = "comparing "


@dataclass(frozen=True)
class Cast:
    """Who plays: hosts by name."""

    app: str
    primary: str
    standby: str
    backup: str


def opening(cast: Cast, rate: float) -> tuple[str, ...]:
    """What the reader is about to see."""
    return (
        f"{cast.primary} is the database. {cast.standby}, its standby, has a copy of every row before the row counts "
        f"as safe. {cast.app} writes orders, trades and prices, up to {rate:,.0f} rows a second, and this machine "
        "notes down each row that was acknowledged, outside of the database.",
        f"In a few seconds, at a moment drawn at random, {cast.primary} loses its power in the middle of a write.",
    )


def is_fault(sentence: str) -> bool:
    """Whether the drill breaks something now: the clock of the story starts."""
    return sentence.startswith(_FAULT)


def tell(sentence: str, cast: Cast) -> str:
    """The story's words for what the drill said; empty for what is told by something else."""
    if is_fault(sentence):
        return f"The plug is pulled: {cast.primary} is off."
    if sentence.startswith(_DETECTED):
        return (
            f"{cast.app} noticed. Its rows go to the outbox, a file on its own disk, and are safe there. "
            "The operator starts the runbook: ./dr failover"
        )
    if sentence.startswith(_COMPARING):
        return f"The proof: each of the {sentence.split()[1]} acknowledged rows is looked up in the database."
    if sentence.startswith("WARNING"):
        return sentence
    if begins := _BEGINS.match(sentence):
        return _tell(_BEFORE, begins["step"], cast)
    if (ends := _ENDS.match(sentence)) and not ends["evidence"].startswith("skipped"):
        return _tell(_AFTER, ends["step"], cast)
    return ""


def ending(result: DrillResult, cast: Cast) -> tuple[str, ...]:
    """The verdict in a manager's words; a drill that did not pass says so first, and why."""
    if result.outcome is not Outcome.PASSED:
        return (f"{result.outcome.upper()}. {headline(result)}",)
    return (
        f"PASSED. {count(result.acked)} rows were acknowledged, {count(result.acked_by_outbox)} of them by the outbox.",
        f"Rows lost: {count(result.lost)}. Rows written twice: {count(result.duplicated)}.",
        f"The database took rows again {seconds(result.rto_s)} after its last one; nobody who had a row to write "
        f"waited longer than {seconds(result.max_ack_gap_s)}.",
        f"{cast.standby} is the primary now, {cast.primary} its standby; {count(result.verify.passed)} checks of all "
        "hosts passed.",
    )


def promises(result: DrillResult) -> tuple[tuple[str, str, str], ...]:
    """(the promise, what was measured, of what), as the catalogue and the ledger have them."""
    rows = tuple((*_figures(promise), promise.label) for promise in objectives(result))
    return (("promised", "measured", "what"), *rows) if rows else ()


def _figures(promise: Objective) -> tuple[str, str]:
    limit = "at least" if promise.at_least else "at most"
    kept = "kept" if promise.met else "MISSED"
    promised = f"{promise.promised:,.10g} {promise.unit}"
    if promise.measured is None:
        return f"{limit} {promised}", "not measured"
    shown = seconds(promise.measured) if promise.unit == "s" else f"{promise.measured:,.0f} {promise.unit}"
    return f"{limit} {promised}", f"{shown}, {kept}"


def where(folder: Path) -> str:
    return f"{folder}/report.html"


Words = Callable[[Cast], str]
# By step of the runbooks failover and rejoin.
_BEFORE: Mapping[str, Words] = {
    "fence": lambda cast: (
        f"{cast.primary} is fenced: its power is cut for good, so that it cannot come back and take rows behind "
        "our back."
    ),
    "verify": lambda cast: "Every host is checked against what it should be.",
    "backup": lambda cast: f"A backup is taken of what {cast.standby} holds, kept on {cast.backup}.",
    "stop": lambda cast: f"{cast.primary} has power again. It is made a copy of {cast.standby}, not let loose.",
}
_AFTER: Mapping[str, Words] = {
    "fence": lambda cast: f"Proven: nobody can write to {cast.primary} any more.",
    "promote": lambda cast: f"{cast.standby} is promoted: it is the primary now.",
    "write-path": lambda cast: f"{cast.app} writes to {cast.standby}.",
    "drain-outbox": lambda cast: f"The outbox is empty: its rows are in {cast.standby}.",
    "synchronous": lambda cast: f"{cast.primary} is the standby now. Every row exists twice again.",
}


def _tell(words: Mapping[str, Words], step: str, cast: Cast) -> str:
    return words[step](cast) if step in words else ""


STEPS = tuple(dict.fromkeys((*_BEFORE, *_AFTER)))
