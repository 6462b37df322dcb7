"""The history of drills as lines for the monitoring database: each record, and what of it was promised and measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agents.monitor.seen import Seen
from agents.monitor.spool import line
from drills.evidence.chain import Record
from drills.evidence.checking import check
from drills.evidence.files import Files
from drills.evidence.results import Kind, Told, read

_SOURCE = "drills"
_MEASURED_AS = {"rpo_rows": "lost"}
_AT_LEAST = ("rows_per_s",)


def gather(files: Files, estate: str, seen: Seen) -> Iterator[str]:
    """Of the records whose signatures hold those that are not told yet. What does not hold is told by
    `./dr evidence.verify`, and by nothing here.
    """
    known = int(seen.get(_SOURCE) or 0)
    records = check(files).records
    for record in records:
        told = read(record)
        if record.seq > known and told is not None and told.estate == estate:
            yield line("drill", _drill(record, told))
            for objective in objectives(record.hash, told, files.runs):
                yield line("objective", objective)
    seen.put(_SOURCE, max((record.seq for record in records), default=0))


def _drill(record: Record, told: Told) -> dict[str, Any]:
    return {
        "drill_id": record.hash, "seq": record.seq, "kind": told.kind.value, "estate": told.estate,
        "place": told.place, "promise": told.promise, "scenario": told.scenario, "twin": told.twin, "held": told.held,
        "outcome": told.outcome.value, "reason": told.reason, "rto_s": told.rto_s, "acked": told.acked,
        "lost": told.lost, "duplicated": told.duplicated, "told": dict(record.told),
        "started_at": told.started_at.isoformat(), "duration_s": told.duration_s,
    }  # fmt: skip


def objectives(name: str, told: Told, runs: Path) -> Iterator[dict[str, Any]]:
    """What was promised beside what was measured, by the drill's own result; where that is gone the recovery time
    alone. `kept` is None where either is unknown.
    """
    result = _result(runs / told.run / told.file) if told.kind is Kind.DRILL else {}
    fallback = {"rto_s": told.promised_rto_s} if told.kind is Kind.DRILL else {}
    measures = {"rto_s": told.rto_s, **result}
    for what, promised in (result.get("objectives") or fallback).items():
        measured = measures.get(_MEASURED_AS.get(what, what))
        if promised is None and measured is None:
            continue
        kept = None
        if promised is not None and measured is not None:
            kept = measured >= promised if what in _AT_LEAST else measured <= promised
        yield {
            "drill_id": name, "name": what, "unit": _unit(what), "promised": promised, "measured": measured,
            "kept": kept,
        }  # fmt: skip


def _result(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _unit(what: str) -> str:
    return "rows/s" if what.endswith("rows_per_s") else "rows" if what.endswith("rows") else "s"
