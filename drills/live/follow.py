"""A drill that another process runs, followed by what it writes: its course, its ledgers, its runbooks' journals."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from drills.judging.result import read_result
from drills.live import course
from drills.live.course import Header
from drills.live.expected import Expected, expected
from drills.live.snapshot import Snapshot, snapshot
from drills.measuring.events import parse_line
from drills.measuring.tally import Tally
from drills.stores import STORES
from inventories.errors import BadInput
from runbooks.engine import journal

_NEWEST = 3  # runs that are looked at for one that goes on
_ENDED = "it ended without a result: its process is gone"


def running(runs: Path) -> Path | None:
    """The folder of the newest drill whose process lives, alone or as one of several rounds; None without one. While
    that process lives another drill may follow, even if this one has ended.
    """
    for folder in _newest(runs):
        if (head := header(folder)) and course.alive(head):
            return folder
    return None


def _newest(runs: Path) -> Iterator[Path]:
    """Folder names begin with their time."""
    alone = sorted(runs.glob("*-drill-*"), reverse=True)[:_NEWEST]
    rounds = sorted(runs.glob("*-rounds*"), reverse=True)[:1]
    within = sorted(rounds[0].glob("*-drill-*"), reverse=True)[:_NEWEST] if rounds else []
    yield from sorted((*alone, *within), key=lambda folder: folder.name, reverse=True)


def header(folder: Path) -> Header | None:
    """None for a folder without one, as drills of before this release left."""
    try:
        with (folder / course.FILE).open(encoding="utf-8") as file:
            return Header(**json.loads(file.readline()))
    except (OSError, ValueError, TypeError):
        return None


@dataclass
class _Lines:
    """Whole lines of a file that grows, each once."""

    path: Path
    offset: int = 0

    def new(self) -> list[str]:
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                read = file.read()
        except OSError:
            return []
        whole = read[: read.rfind(b"\n") + 1]
        self.offset += len(whole)
        return whole.decode(errors="replace").splitlines()


@dataclass
class _Feed:
    name: str
    lines: _Lines
    tally: Tally = field(default_factory=Tally)

    def read(self) -> None:
        for line in self.lines.new():
            self.tally.take(parse_line(line, 0.0))


class Follower:
    """Of one drill's folder. `look` reads what is new, and is cheap."""

    def __init__(self, folder: Path, runs: Path) -> None:
        """Raises BadInput for a folder in which no drill runs or ran."""
        head = header(folder)
        if head is None:
            raise BadInput(f"no drill can be followed in {folder}", "./dr runs lists past drills")
        self.folder, self._head = folder, head
        self._known: Expected | None = expected(runs, head.scenario)
        self._course = _Lines(folder / course.FILE)
        self._feeds = [_Feed(store.name, _Lines(folder / store.ledger)) for store in STORES]
        self._marks: list[tuple[str, float]] = []
        self._says = ""

    def look(self) -> Snapshot:
        self._read()
        views = [(feed.name, feed.tally.view) for feed in self._feeds]
        seen = replace(snapshot(self._head, self._marks, views, self._known, time.monotonic()), says=self._says)
        outcome, reasons = self._outcome()
        if outcome:
            return replace(seen, outcome=outcome, reasons=reasons, left_s=None, share=1.0)
        return replace(seen, step=_step(self.folder))

    def _read(self) -> None:
        for line in self._course.new():
            told = _object(line)
            if "mark" in told:
                self._marks.append((str(told["mark"]), float(told["at"])))
            self._says = str(told.get("says", self._says))
        for feed in self._feeds:
            feed.read()

    def _outcome(self) -> tuple[str, tuple[str, ...]]:
        """Empty while it runs."""
        path = self.folder / "result.json"
        if path.exists():
            try:
                result = read_result(path)
            except BadInput as error:
                return "failed", (str(error),)
            twin = result.negative_twin
            word = ("twin held" if twin.held else "twin broken") if twin else result.outcome.value
            return word, result.reasons
        return ("", ()) if course.alive(self._head) else ("interrupted", (_ENDED,))


def _object(line: str) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _step(folder: Path) -> str:
    """Of the runbook that runs; empty between two of them."""
    paths = sorted(folder.glob(f"runbooks/*/{journal.FILE_NAME}"))
    if not paths:
        return ""
    try:
        records = journal.read(paths[-1].parent).records
    except BadInput:
        return ""
    if not records or records[-1].event == journal.Event.FINISHED:
        return ""
    name, steps = records[0].data.get("procedure", ""), records[0].data.get("steps", ())
    begun = [record.step for record in records if record.event == journal.Event.STEP_STARTED]
    if not begun:
        return f"{name}: gate"
    nr = f" {steps.index(begun[-1]) + 1} of {len(steps)}" if begun[-1] in steps else ""
    return f"{name}{nr}: {begun[-1]}"
