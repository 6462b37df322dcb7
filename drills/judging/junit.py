"""junit.xml of a drill: one testcase a check, objectives and rows included, for the CI that reads nothing
else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree as Xml

from drills.judging.result import CheckOutcome, DrillResult, Outcome, write_whole
from drills.judging.verdict import objectives

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Case:
    group: str
    name: str
    outcome: CheckOutcome
    message: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Suite:
    """What the cases were found in; `classname` is what those of them begin with."""

    name: str
    classname: str
    host: str
    started_at: datetime
    duration_s: float


def cases(result: DrillResult) -> tuple[Case, ...]:
    """The verdict, the rows of each table, each objective and each check; never empty."""
    return (*_verdict(result), *_rows(result), *_objectives(result), *_checks(result))


def write_junit(result: DrillResult, folder: Path) -> Path:
    """Write folder/junit.xml."""
    suite = Suite(result.name, f"drill.{result.scenario}", result.host, result.started_at, result.duration_s)
    return write_suite(suite, cases(result), folder)


def write_suite(told: Suite, every: Sequence[Case], folder: Path) -> Path:
    """Write folder/junit.xml, whole or not at all."""
    counts = {
        "tests": str(len(every)),
        "failures": str(sum(case.outcome is CheckOutcome.FAILED for case in every)),
        "errors": "0",
        "skipped": str(sum(case.outcome is CheckOutcome.SKIPPED for case in every)),
        "time": f"{told.duration_s:.3f}",
    }
    root = Xml.Element("testsuites", counts)
    suite = Xml.SubElement(
        root,
        "testsuite",
        {
            "name": _clean(told.name),
            "timestamp": told.started_at.isoformat(timespec="seconds"),
            "hostname": _clean(told.host),
        }
        | counts,
    )
    for case in every:
        _add(suite, told, case)
    Xml.indent(root)
    return write_whole(
        folder / "junit.xml", Xml.tostring(root, encoding="unicode", xml_declaration=False) + "\n"
    )


def _add(suite: Xml.Element, told: Suite, case: Case) -> None:
    where = f"{told.classname}.{case.group}"
    element = Xml.SubElement(
        suite,
        "testcase",
        {"classname": _clean(where), "name": _clean(case.name), "time": f"{case.seconds:.3f}"},
    )
    if case.outcome is CheckOutcome.FAILED:
        Xml.SubElement(element, "failure", {"message": _clean(case.message)}).text = _clean(case.message)
    if case.outcome is CheckOutcome.SKIPPED:
        Xml.SubElement(element, "skipped", {"message": _clean(case.message)})


def _verdict(result: DrillResult) -> tuple[Case, ...]:
    passed = result.outcome is Outcome.PASSED
    message = "" if passed else f"{result.outcome}: " + " ".join(result.reasons)
    return (Case("verdict", "the drill passed", _held(passed), message, result.duration_s),)


def _rows(result: DrillResult) -> tuple[Case, ...]:
    found = []
    for table in result.tables:
        found.append(
            Case(
                "rows",
                f"no row of {table.table} is lost",
                _held(not table.lost),
                f"{table.lost} lost: {table.lost_ids}",
            )
        )
        if result.rolled_back or result.returned:
            message = f"{table.returned} are there: {table.returned_ids}"
            name = f"no row of {table.table} from after the restore's target is there"
            found.append(Case("rows", name, _held(not table.returned), message))
        if table.duplicates_forbidden:
            message = f"{table.duplicated} duplicated"
            found.append(
                Case("rows", f"no row of {table.table} is duplicated", _held(not table.duplicated), message)
            )
    return tuple(found)


def _objectives(result: DrillResult) -> tuple[Case, ...]:
    return tuple(
        Case("objectives", promise.label, _held(promise.met), promise.failure)
        for promise in objectives(result)
    )


def _checks(result: DrillResult) -> tuple[Case, ...]:
    return tuple(
        Case(
            "verify",
            f"{check.host}: {check.name}" if check.host else check.name,
            check.outcome,
            check.detail,
            check.seconds,
        )
        for check in result.checks
    )


def _held(held: bool) -> CheckOutcome:
    return CheckOutcome.PASSED if held else CheckOutcome.FAILED


def _clean(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
