"""The verdict of one drill as data: result.json, frozen, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from drills.judging.compare import Comparison
from drills.measuring.fingerprint import Fingerprint
from drills.measuring.measure import Measured, Phase
from drills.measuring.pressure import Pressure, stood_still
from drills.measuring.tally import Feed, LedgerView
from inventories.errors import BadInput


class Outcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    REFUSED = "refused"
    INTERRUPTED = "interrupted"


class CheckOutcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Objectives(_Frozen):
    """What the catalogue promised; None is no promise.

    The names are those of the results they are held against.
    """

    rto_s: float | None = None
    rpo_rows: int | None = None
    rto_from_failover_s: float | None = None
    max_ack_gap_s: float | None = None
    rpo_s: float | None = None
    detection_s: float | None = None
    rows_per_s: float | None = None  # at least; the others are at most


class Verify(_Frozen):
    passed: int = 0
    failed: int = 0
    skipped: int = 0


class Check(_Frozen):
    """One testinfra check, or any other that the drill made."""

    name: str
    outcome: CheckOutcome
    host: str = ""
    detail: str = ""
    seconds: float = 0.0


class Step(_Frozen):
    """One step of a procedure as the journal tells it."""

    procedure: str
    name: str
    host: str
    outcome: str
    seconds: float
    evidence: str = ""


class Fact(_Frozen):
    """Something that the drill did or was told, in words: what a reader at 3 a.m. would otherwise look for."""

    label: str
    says: str


class TableResult(_Frozen):
    """Rows of one table. Of `acked`, `rolled_back` were acknowledged after the point that a restore went back to and
    are gone as they must be, `returned` should be gone and are there, `excused` are missing within the promised time.
    """

    table: str
    acked: int
    lost: int
    duplicated: int
    extra: int
    rolled_back: int = 0
    returned: int = 0
    excused: int = 0
    replayed: int = 0
    superseded: int = 0
    lost_ids: str = ""
    returned_ids: str = ""
    duplicates_forbidden: bool = True


class StoreResult(_Frozen):
    """One of the stores that the drill wrote to; None is not measured."""

    store: str
    acked: int
    acked_by_store: int
    acked_by_outbox: int
    replayed: int
    rto_s: float | None = None
    max_ack_gap_s: float | None = None
    rows_per_s: float | None = None
    lost: int | None = None
    duplicated: int | None = None


class NegativeTwin(_Frozen):
    """A twin holds when its fault happened and it failed for the reason it was built for."""

    name: str
    held: bool
    reason: str


class Marks(_Frozen):
    """Seconds since the drill's start, for the charts.

    `clock` is that start on the ledger's monotonic clock.
    """

    clock: float | None = None
    fault: float | None = None
    detected: float | None = None
    failover: float | None = None
    first_new_primary_ack: float | None = None
    store_gap: tuple[float, float] | None = None
    ack_gap: tuple[float, float] | None = None
    stop_asked: float | None = None

    @property
    def recovered(self) -> float | None:
        """When the store took rows again, or the alarm came, whatever was last; where neither is known, the end."""
        ends = (self.store_gap[1] if self.store_gap else None, self.first_new_primary_ack, self.detected)
        return max((at for at in ends if at is not None), default=self.stop_asked)


class DrillResult(_Frozen):
    """Begin with who and when, add what was found with the `with_...` methods, then `judge` it.

    None means not measured, never zero.
    """

    name: str
    scenario: str
    run_id: str
    lab: str
    host: str
    started_at: datetime
    outcome: Outcome = Outcome.INTERRUPTED
    reasons: tuple[str, ...] = ()
    hint: str = ""
    degraded: tuple[str, ...] = ()
    duration_s: float = 0.0
    fault_at: datetime | None = None
    rto_s: float | None = None
    rto_from_fault_s: float | None = None
    rto_from_failover_s: float | None = None
    detection_s: float | None = None
    max_ack_gap_s: float | None = None
    rpo_rows: int | None = None
    rpo_s: float | None = None  # how long before the fault the oldest missing row was acknowledged
    acked: int | None = None
    acked_by_store: int | None = None
    acked_by_outbox: int | None = None
    lost: int | None = None
    rolled_back: int | None = None
    returned: int | None = None
    excused: int | None = None
    duplicated: int | None = None
    replayed: int | None = None
    unacknowledged_extra: int | None = None
    rows_per_s: float | None = None
    promise: str = ""  # the entry of recovery.yaml that it is held against
    expects_new_timeline: bool = False
    timeline_before: int | None = None
    timeline_after: int | None = None
    timeline_changed: bool = False
    summary: str = ""
    alarm: str = ""  # what noticed the fault, in its own words
    facts: tuple[Fact, ...] = ()
    phases: tuple[Phase, ...] = ()
    marks: Marks = Marks()
    objectives: Objectives = Objectives()
    verify: Verify = Verify()
    checks: tuple[Check, ...] = ()
    steps: tuple[Step, ...] = ()
    tables: tuple[TableResult, ...] = ()
    stores: tuple[StoreResult, ...] = ()
    versions: dict[str, str] = {}
    fingerprint: Fingerprint | None = None
    negative_twin: NegativeTwin | None = None
    pressure_before: Pressure | None = None  # until the fault
    pressure: Pressure | None = None  # from the fault to the recovery; None is unknown

    @property
    def stood_still(self) -> str:
        """What shows that the machine stood still during the recovery; empty when nothing does."""
        return stood_still(self.pressure)

    def with_feed(self, view: LedgerView) -> DrillResult:
        """What the ledger counted, and what was wrong with the feed itself."""
        return self.with_feeds({"": view})

    def with_feeds(self, views: Mapping[str, LedgerView]) -> DrillResult:
        """The same of several feeds together."""
        every = tuple(views.values())
        return self.model_copy(
            update={
                "acked": sum(view.acked for view in every),
                "acked_by_store": sum(view.by_store for view in every),
                "acked_by_outbox": sum(view.by_outbox for view in every),
                "replayed": sum(view.replayed for view in every),
                "reasons": _more(self.reasons, [told for view in every for told in _feed_troubles(view)]),
            }
        )

    def with_stores(self, views: Mapping[str, LedgerView], measured: Mapping[str, Measured]) -> DrillResult:
        """Each store by itself."""
        stores = tuple(
            StoreResult(
                store=name, acked=view.acked, acked_by_store=view.by_store, acked_by_outbox=view.by_outbox,
                replayed=view.replayed, rto_s=_rounded(measured[name].rto_s),
                max_ack_gap_s=_rounded(measured[name].max_ack_gap_s), rows_per_s=_rounded(measured[name].rows_per_s),
            )
            for name, view in views.items()
        )  # fmt: skip
        return self.model_copy(update={"stores": stores})

    def with_compared_store(self, name: str, comparison: Comparison) -> DrillResult:
        """What the comparison found in one of them."""
        found = {"lost": comparison.lost, "duplicated": comparison.duplicated}
        stores = tuple(store.model_copy(update=found) if store.store == name else store for store in self.stores)
        return self.model_copy(update={"stores": stores})

    def with_measured(self, measured: Measured) -> DrillResult:
        return self.model_copy(
            update={
                "fault_at": self.started_at
                + timedelta(seconds=measured.moments.fault - measured.moments.start),
                "rto_s": _rounded(measured.rto_s),
                "rto_from_fault_s": _rounded(measured.rto_from_fault_s),
                "rto_from_failover_s": _rounded(measured.rto_from_failover_s),
                "detection_s": _rounded(measured.detection_s),
                "max_ack_gap_s": _rounded(measured.max_ack_gap_s),
                "rows_per_s": _rounded(measured.rows_per_s),
                "timeline_before": measured.timeline_before,
                "timeline_after": measured.timeline_after,
                "timeline_changed": measured.timeline_changed,
                "marks": _marks(measured),
                "reasons": _more(self.reasons, [*measured.problems, *_two_primaries(measured)]),
            }
        )

    def with_comparison(
        self,
        comparison: Comparison,
        replayed: dict[str, int] | None = None,
        may_duplicate: frozenset[str] = frozenset(),
        oldest_missing_s: float | None = None,
    ) -> DrillResult:
        """Rows per table; `replayed` counts replayed rows by table, `may_duplicate` names tables without
        that promise, `oldest_missing_s` is how long before the fault the oldest missing row was acknowledged.
        """
        tables = tuple(
            TableResult(
                table=table.table,
                acked=table.acked,
                lost=table.lost,
                duplicated=table.duplicated,
                extra=table.extra,
                superseded=table.superseded,
                rolled_back=table.rolled_back,
                returned=table.returned,
                excused=table.excused,
                lost_ids=table.lost_ids.sample(),
                returned_ids=table.returned_ids.sample(),
                replayed=(replayed or {}).get(table.table, 0),
                duplicates_forbidden=table.table not in may_duplicate,
            )
            for table in comparison.tables
        )
        return self.model_copy(
            update={
                "acked": comparison.acked,
                "lost": comparison.lost,
                "rpo_rows": comparison.lost,
                "rpo_s": _rounded(max(oldest_missing_s or 0.0, 0.0)),
                "rolled_back": sum(table.rolled_back for table in comparison.tables),
                "returned": sum(table.returned for table in comparison.tables),
                "excused": sum(table.excused for table in comparison.tables),
                "duplicated": comparison.duplicated,
                "unacknowledged_extra": comparison.unacknowledged_extra,
                "tables": tables,
            }
        )

    def with_checks(self, checks: tuple[Check, ...]) -> DrillResult:
        """Add checks to those there are, and count them all anew."""
        every = (*self.checks, *checks)
        counts = {which: sum(check.outcome is which for check in every) for which in CheckOutcome}
        verify = Verify(
            passed=counts[CheckOutcome.PASSED],
            failed=counts[CheckOutcome.FAILED],
            skipped=counts[CheckOutcome.SKIPPED],
        )
        return self.model_copy(update={"checks": every, "verify": verify})


def write_result(result: DrillResult, folder: Path) -> Path:
    """Write folder/result.json whole or not at all."""
    return write_whole(folder / "result.json", result.model_dump_json(indent=2) + "\n")


def read_result(path: Path) -> DrillResult:
    """BadInput, with the path, when the file is missing or damaged."""
    try:
        return DrillResult.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadInput(f"{path} is damaged: {where}: {first['msg']}.") from None


def write_whole(path: Path, text: str) -> Path:
    """Replace a file atomically: a reader sees the old text or the new one, and a crash leaves no half."""
    draft = path.with_name(path.name + ".new")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return draft.replace(path)


def _marks(measured: Measured) -> Marks:
    moments, new = measured.moments, measured.first_new_primary_ack

    def since(at: float | None) -> float | None:
        return None if at is None else round(at - moments.start, 4)

    def span(gap: object) -> tuple[float, float] | None:
        start, end = since(getattr(gap, "start", None)), since(getattr(gap, "end", None))
        return None if start is None or end is None else (start, end)

    return Marks(
        clock=moments.start,
        fault=since(moments.fault),
        detected=since(moments.detected),
        failover=since(moments.failover),
        first_new_primary_ack=since(new.at if new else None),
        store_gap=span(measured.store_gap),
        ack_gap=span(measured.ack_gap),
        stop_asked=since(moments.stop_asked),
    )


def _feed_troubles(view: LedgerView) -> list[str]:
    troubles = []
    if view.feed is Feed.DIED:
        troubles.append("The feed died before it was asked to stop.")
    if view.malformed:
        troubles.append(
            f"{view.malformed:,} lines of the feed could not be read; the first: {view.first_malformed}"
        )
    if view.outbox_pending:
        troubles.append(f"The outbox still held {view.outbox_pending:,} rows when the feed stopped.")
    return troubles


def _two_primaries(measured: Measured) -> list[str]:
    if not measured.stale_acks:
        return []
    return [
        f"{measured.stale_acks:,} rows were acknowledged by the old primary after the new one had begun: "
        "the fence leaked."
    ]


def _more(reasons: tuple[str, ...], new: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*reasons, *new]))


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 4)
