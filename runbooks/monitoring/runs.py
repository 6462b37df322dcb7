"""Runs of runbooks and their steps, as lines: a run that goes on is told again, with what came since."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from agents.monitor.seen import Seen
from agents.monitor.spool import line
from inventories.errors import BadInput
from runbooks.engine import journal
from runbooks.engine.history import NO_RUNS, History, read_history
from runbooks.engine.journal import Record

_NOT_TOLD = ("state",)  # what a resumed run goes on with: of no use to a reader, and larger than all else


def journals(folder: Path) -> Iterator[Path]:
    """Of every run, also those within drills."""
    yield from folder.glob(f"*/{journal.FILE_NAME}")
    yield from folder.glob(f"**/runbooks/*/{journal.FILE_NAME}")


def gather(folder: Path, estate: str, seen: Seen) -> Iterator[str]:
    """Of each journal of this estate that has grown since it was seen; one that is damaged tells nothing."""
    for path in journals(folder):
        known, size = seen.get(str(path)), path.stat().st_size
        if known == size:
            continue
        with suppress(BadInput, KeyError, ValueError):
            past = read_history(path.parent)
            if past and past.estate == estate and past.procedure not in NO_RUNS:
                yield from _lines(past, path.parent.relative_to(folder).as_posix())
        seen.put(str(path), size)


def _lines(past: History, folder: str) -> Iterator[str]:
    records = journal.read(past.run_dir).records
    machine = socket.gethostname()
    name = past.run or f"{machine}:{folder}"
    yield line("run", {
        "run_id": name, "estate": past.estate, "procedure": past.procedure, "folder": folder, "machine": machine,
        "outcome": outcome(past) or None, "steps_done": len(past.done), "steps_all": len(past.steps),
        "options": dict(past.options), "began_at": past.opened_at, "last_at": past.last_at,
        "revision": records[-1].seq,
    })  # fmt: skip
    yield from _steps(name, records)


def outcome(past: History) -> str:
    """Empty while nobody knows."""
    return "abandoned" if past.abandoned else past.outcome.value if past.outcome else ""


def _steps(name: str, records: Sequence[Record]) -> Iterator[str]:
    for one in records:
        told = {key: value for key, value in one.data.items() if key not in _NOT_TOLD}
        about = {"run_id": name, "seq": one.seq, "step": one.step, "event": one.event, "at": one.at}
        yield line("step", {**about, "data": told})
