"""What has happened: drills as they were signed, runs of runbooks as their journals tell, backups as they are kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from drills.evidence.chain import Record
from drills.evidence.results import Kind, Told, read
from inventories.errors import BadInput
from runbooks.backups import postgresql, tdengine
from runbooks.engine import journal
from runbooks.engine.history import NO_RUNS, History, read_history
from runbooks.hosts import Estate
from runbooks.probes.tdengine import backups as td_backups


class What(StrEnum):
    DRILLS = "drills"
    RUNS = "runs"
    BACKUPS = "backups"


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
    for path in (*folder.glob(f"*/{journal.FILE_NAME}"), *folder.glob(f"**/runbooks/*/{journal.FILE_NAME}")):
        with suppress(BadInput, KeyError, ValueError):
            past = read_history(path.parent)
            if past and past.procedure not in NO_RUNS:
                yield _run(past, path.parent.relative_to(folder).as_posix())


def backups(estate: Estate) -> Iterator[Entry]:
    """Those that are kept now, of every store. Raises DrError when the backup host does not answer."""
    for one in postgresql.look(estate).backups:
        yield _backup(estate.name, f"{one.store} {one.kind}", one)
    if td_backups.is_there(estate):
        for ticks in tdengine.look(estate).backups:
            yield _backup(estate.name, f"tdengine {ticks.kind}", ticks)


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
    outcome = "abandoned" if past.abandoned else past.outcome.value if past.outcome else ""
    says = f"{len(past.done)} of {len(past.steps)} steps, {folder}"
    return Entry(began, What.RUNS, past.procedure, past.estate, outcome, (ended - began).total_seconds(), says)


def _backup(estate: str, name: str, one: postgresql.Listed | tdengine.Listed) -> Entry:
    proven = f"proven {_utc(one.proven_at)}" if one.proven_at else "never proven"
    outcome = "damaged" if one.trouble else "passed"
    at = datetime.fromtimestamp(one.ended_at, UTC)
    says = f"{one.label}: {one.trouble or proven}"
    return Entry(at, What.BACKUPS, name, estate, outcome, one.ended_at - one.started_at, says)


def _utc(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"
