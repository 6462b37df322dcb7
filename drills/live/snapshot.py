"""What a running drill has come to, at one moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from drills.live.course import Header
from drills.live.expected import Expected
from drills.measuring.tally import LedgerView

FAULT = "fault"
# In words for whoever watches; a scenario's own phases are words already.
WORDS: Mapping[str, str] = {
    "normal": "the feed writes", "prepare": "the scene is set", "fault": "broken, and not noticed yet",
    "detected": "noticed; recovery runs", "undetected": "recovery runs without an alarm",
    "drain": "the feed has stopped; the outbox drains", "compare": "every acknowledged row is looked for",
    "restore": "the estate is made whole", "second copy": "the standby is held to the ledger",
}  # fmt: skip


@dataclass(frozen=True)
class Rows:
    """Of one store's feed: rows acknowledged by the store and by the outbox, and those that wait for their replay."""

    store: str
    by_store: int
    by_outbox: int
    waiting: int
    writing: str  # nowhere, store or outbox


@dataclass(frozen=True)
class Snapshot:
    """`says`: what was said last; `step`: of the runbook that runs. None is what nobody can tell: the time since a
    fault that is still to come, and what is left of a drill that never passed here. `outcome`: empty while it runs.
    """

    run: str
    scenario: str
    summary: str
    phase: str
    elapsed_s: float
    since_fault_s: float | None
    rows: tuple[Rows, ...]
    left_s: float | None
    share: float | None  # of all that is to be done, 0 to 1
    says: str = ""
    step: str = ""
    outcome: str = ""
    reasons: tuple[str, ...] = field(default=())


def snapshot(
    head: Header, marks: Sequence[tuple[str, float]], views: Iterable[tuple[str, LedgerView]], known: Expected | None,
    now: float,
) -> Snapshot:  # fmt: skip
    """Of a drill that runs. `marks`: its phases as (name, moment); `views`: of each store's ledger, by its name."""
    fault = next((at for name, at in marks if name == FAULT), None)
    left = known.left(marks, now) if known else None
    return Snapshot(
        run=head.run,
        scenario=head.scenario + (f", twin {head.twin}" if head.twin else ""),
        summary=head.summary,
        phase=WORDS.get(marks[-1][0], marks[-1][0]) if marks else "it begins",
        elapsed_s=now - head.at,
        since_fault_s=None if fault is None else now - fault,
        rows=tuple(_rows(name, view) for name, view in views if view.acked),
        left_s=left.seconds if left else None,
        share=left.share if left else None,
    )


def _rows(store: str, view: LedgerView) -> Rows:
    return Rows(store, view.by_store, view.by_outbox, view.awaiting_replay, view.writing.value)
