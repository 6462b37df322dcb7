"""What a validation found, as lines of data quality: one for each check, and one for each table that it found wrong."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, Protocol

from agents.monitor.spool import line, utc
from runbooks.validation.difference import Check, Difference, Looked
from runbooks.validation.report import Report

_KINDS: Mapping[Check, str] = {
    Check.COMPLETENESS: "COMPLETENESS", Check.EMPTY: "COMPLETENESS", Check.FRESHNESS: "FRESHNESS",
}  # fmt: skip


class Found(Protocol):
    """What a validation of any store found; `brief` is one sentence of it."""

    @property
    def sound(self) -> bool: ...
    @property
    def brief(self) -> str: ...


def lines(found: Found, store: str, estate: str, seconds: float) -> Iterator[str]:
    """Of a report every check; of any other finding what it comes to."""
    run, at = uuid.uuid4().hex, utc(time.time())
    rows = _of_report(found) if isinstance(found, Report) else iter([_whole(found)])
    for number, row in enumerate(rows):
        yield line("quality", {
            "check_id": f"{run}:{number}", "database_type": store, "created_at": at,
            "check_duration_ms": seconds * 1000, "threshold_config": {"estate": estate}, **row,
        })  # fmt: skip


def _of_report(report: Report) -> Iterator[dict[str, Any]]:
    for looked in report.checks:
        yield _row(looked, None, () if looked.number else (looked,))
        ordered = sorted(looked.differences, key=lambda one: one.table)
        for table, differences in groupby(ordered, lambda one: one.table):
            yield _row(looked, table, tuple(differences))


def _row(looked: Looked, table: str | None, wrong: tuple[Difference | Looked, ...]) -> dict[str, Any]:
    """Of a table its differences; of the whole check whether it could look."""
    failed = bool(wrong) or (table is None and not looked.sound)
    return {
        "check_type": _KINDS.get(looked.check, "ACCURACY"), "table_name": table,
        "check_status": "FAIL" if failed else "WARNING" if looked.undecided else "PASS",
        "total_records": looked.number, "invalid_records": len(wrong) if table else len(looked.differences),
        "validation_rules": {"check": looked.check.value, "over": looked.over},
        "check_message": str(wrong[0]) if wrong else str(looked),
    }  # fmt: skip


def _whole(found: Found) -> dict[str, Any]:
    status = "PASS" if found.sound else "FAIL"
    return {"check_type": "ACCURACY", "check_status": status, "check_message": found.brief}
