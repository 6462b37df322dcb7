"""Judge a drill: passed only when everything promised was measured and held; each failure is a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from drills.judging.result import DrillResult, Outcome


@dataclass(frozen=True, slots=True)
class Objective:
    """One promise held against its measurement; `at_least` turns the comparison round."""

    key: str
    label: str
    unit: str
    promised: float
    measured: float | None
    at_least: bool = False
    missing: str = "was not measured"
    still: str = ""  # what shows that the machine stood still meanwhile

    @property
    def met(self) -> bool:
        if self.measured is None:
            return False
        return self.measured >= self.promised if self.at_least else self.measured <= self.promised

    @property
    def margin(self) -> float | None:
        """How much room was left, in the objective's unit; negative when it was missed."""
        if self.measured is None:
            return None
        return self.measured - self.promised if self.at_least else self.promised - self.measured

    @property
    def failure(self) -> str:
        limit = "at least" if self.at_least else "at most"
        promised = f"{limit} {self.promised:,.10g} {self.unit}"
        still = f", on a machine that stood still: {self.still}" if self.still else ""
        if self.measured is None:
            return f"{self.label} {self.missing}; promised was {promised}{still}."
        measured = f"{self.measured:,.2f}" if self.unit == "s" else f"{self.measured:,.0f}"
        return f"{self.label} was {measured} {self.unit}; promised was {promised}{still}."


_OBJECTIVES = (  # key, label, unit, at least
    ("rto_s", "Longest pause of the store (RTO)", "s", False),
    ("rto_from_failover_s", "From the start of the failover to the new primary's first row", "s", False),
    ("max_ack_gap_s", "Longest wait for any acknowledgement", "s", False),
    ("detection_s", "Time from the fault to the alarm", "s", False),
    ("rpo_rows", "Acknowledged rows lost (RPO)", "rows", False),
    ("rpo_s", "Age at the fault of the oldest row that is missing (RPO)", "s", False),
    ("rows_per_s", "Rows acknowledged a second", "rows/s", True),
)


def objectives(result: DrillResult) -> tuple[Objective, ...]:
    """Every promise that was made, in the order a reader asks for them."""
    return tuple(
        Objective(key, label, unit, promised, getattr(result, key), at_least, _missing(key), _still(key, result))
        for key, label, unit, at_least in _OBJECTIVES
        if (promised := getattr(result.objectives, key)) is not None
    )


def slow(result: DrillResult) -> frozenset[str]:
    """What of its reasons is that it took longer than promised: a busy machine does that to any drill.

    What was not measured at all is none of them, and no row is ever late.
    """
    return frozenset(
        promise.failure
        for promise in objectives(result)
        if promise.unit in ("s", "rows/s") and promise.measured is not None and not promise.met
        and not promise.key.startswith("rpo_")
    )  # fmt: skip


def _still(key: str, result: DrillResult) -> str:
    """A slow machine is no excuse, but a reason to look there first. It loses no rows."""
    return "" if key.startswith("rpo_") else result.stood_still


def _missing(key: str) -> str:
    return "is unknown, because no alarm was raised" if key == "detection_s" else "was not measured"


def judge(result: DrillResult) -> DrillResult:
    """The final result: `result.outcome` is how the procedures ended, its `reasons` what is known to be
    wrong already.

    Refused and interrupted drills keep their outcome; a passed one becomes failed when anything below does
    not hold.
    """
    if result.outcome in (Outcome.REFUSED, Outcome.INTERRUPTED):
        return result
    reasons = tuple(dict.fromkeys([*result.reasons, *_failures(result)]))
    outcome = Outcome.FAILED if reasons or result.outcome is Outcome.FAILED else Outcome.PASSED
    return result.model_copy(update={"outcome": outcome, "reasons": reasons})


def _failures(result: DrillResult) -> Iterator[str]:
    yield from _rows(result)
    if result.expects_new_timeline and not result.timeline_changed:
        before, after = result.timeline_before, result.timeline_after
        yield f"The timeline did not change (before {before}, after {after}): no failover was proven."
    promises = objectives(result)
    if not promises:
        yield "No objective was set, so none was met."
    # Lost rows are told above, with their tables; the same count as an objective would only repeat it.
    told = {"rpo_rows", "rpo_s"} if result.lost else set()
    yield from (promise.failure for promise in promises if not promise.met and promise.key not in told)
    if result.verify.failed:
        failed = ", ".join(check.name for check in result.checks if check.outcome == "failed")
        checks = "check" if result.verify.failed == 1 else "checks"
        yield f"{result.verify.failed} {checks} of the verification failed" + (
            f": {failed}." if failed else "."
        )
    if not result.verify.passed:
        yield "Nothing was verified."
    if (twin := result.negative_twin) and not twin.held:
        yield f"The negative twin {twin.name} did not fail for its reason: {twin.reason}"


def _rows(result: DrillResult) -> Iterator[str]:
    if not result.acked:
        yield "Nothing was acknowledged, so nothing was proven."
    if result.lost is None or result.duplicated is None:
        yield "The ledger was not compared with the tables."
        return
    for table in result.tables:
        if table.lost:
            share = f"{table.lost:,} of {table.acked:,} acknowledged rows"
            yield f"{share} {_are(table.lost)} lost in {table.table} (number {table.lost_ids})."
    for table in result.tables:
        if table.returned:
            share = f"{table.returned:,} {'row' if table.returned == 1 else 'rows'}"
            yield (
                f"{share} of {table.table} acknowledged after the restore's target {_are(table.returned)} there: "
                f"it did not stop where it should (number {table.returned_ids})."
            )
    for table in result.tables:
        if table.duplicated and table.duplicates_forbidden:
            rows = "row is" if table.duplicated == 1 else "rows are"
            yield f"{table.duplicated:,} {rows} in {table.table} more than once."


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
