"""What has happened: drills as they were signed, runs of runbooks as their journals tell, backups as they are kept,
alarms as they were raised.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from drills.evidence.chain import Record
from drills.evidence.results import Kind, Told, read
from inventories.errors import BadInput
from runbooks.engine.history import NO_RUNS, History, read_history
from runbooks.hosts import Estate
from runbooks.monitoring import backups as of_backups
from runbooks.monitoring.runs import journals, outcome


class What(StrEnum):
    DRILLS = "drills"
    RUNS = "runs"
    BACKUPS = "backups"
    ALARMS = "alarms"


@dataclass(frozen=True)
class Entry:
    """One thing that happened. `outcome` is empty where it has none yet; `seconds` it took, None where nobody knows."""

    at: datetime
    what: What
    name: str
    estate: str
    outcome: str
    seconds: float | None
    says: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"at": self.at.isoformat(), "what": self.what.value}


def drills(records: Sequence[Record]) -> Iterator[Entry]:
    """Of a history that was read."""
    for record in records:
        if told := read(record):
            yield Entry(
                told.started_at, What.DRILLS, _name(told), told.estate, _outcome(told), told.duration_s,
                f"record {record.seq}: {_says(told)}",
            )  # fmt: skip


def runs(folder: Path) -> Iterator[Entry]:
    """Every run of a runbook, also those within drills."""
    for path in journals(folder):
        with suppress(BadInput, KeyError, ValueError):
            past = read_history(path.parent)
            if past and past.procedure not in NO_RUNS:
                yield _run(past, path.parent.relative_to(folder).as_posix())


def backups(estate: Estate) -> Iterator[Entry]:
    """Those that are kept now, of every store. Raises DrError when the backup host does not answer."""
    for one in of_backups.kept(estate):
        at = datetime.fromtimestamp(one.ended_at, UTC)
        yield Entry(at, What.BACKUPS, one.name, estate.name, one.outcome, one.seconds, one.says)


def alarms(rows: Sequence[Mapping[str, Any]], estate: str) -> Iterator[Entry]:
    """Of a listing of alarms those that fired."""
    for row in rows:
        if row["fired_at"] is not None:
            at, ended = datetime.fromtimestamp(row["first_at"], UTC), row["resolved_at"] or row["last_at"]
            acked = f"; acknowledged by {row['acked_by']}" if row["acked_by"] else ""
            says = f"{row['severity']}: {row['says']}, {row['count']} times{acked}"
            yield Entry(at, What.ALARMS, row["rule"], estate, row["state"], ended - row["first_at"], says)


def entry(told: Mapping[str, Any]) -> Entry:
    """Of the monitoring database's answer."""
    return Entry(
        datetime.fromisoformat(told["at"]), What(told["what"]), told["name"], told["estate"], told["outcome"],
        told["seconds"], told["says"],
    )  # fmt: skip


def in_order(entries: Sequence[Entry], since: datetime | None) -> list[Entry]:
    """The newest first."""
    return sorted((one for one in entries if since is None or one.at >= since), key=lambda one: one.at, reverse=True)


def _name(told: Told) -> str:
    if told.kind is Kind.ROUNDS:
        return f"rounds, twin {told.twin}" if told.twin else "rounds"
    return f"{told.scenario}, twin {told.twin}" if told.twin else told.scenario


def _outcome(told: Told) -> str:
    return told.outcome.value if told.held is None else "twin held" if told.held else "twin broken"


def _says(told: Told) -> str:
    if told.kind is Kind.RUN:
        return f"counts as {told.promise} in {told.place}" + (f"; consent: {told.consent}" if told.consent else "")
    rto = "RTO unknown" if told.rto_s is None else f"RTO {told.rto_s:.2f} s"
    lost = "rows not compared" if told.lost is None else f"{told.lost:,} of {told.acked or 0:,} rows lost"
    return f"{rto}, {lost}" + (f"; {told.reason}" if told.reason else "")


def _run(past: History, folder: str) -> Entry:
    began, ended = datetime.fromisoformat(past.opened_at), datetime.fromisoformat(past.last_at)
    says = f"{len(past.done)} of {len(past.steps)} steps, {folder}"
    return Entry(
        began, What.RUNS, past.procedure, past.estate, outcome(past), (ended - began).total_seconds(), says
    )
