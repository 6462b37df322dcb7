"""Ship what waits in a spool, the oldest first: what was delivered twice is there once.

How far it came is written after each delivery, so that a process that was killed in between delivers that again. A
database that is another one than last time, or was restored, is told by its incarnation: then everything that is still
here is shipped once more.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.base import files
from agents.base.errors import AgentError
from agents.base.locks import held
from agents.monitor.seen import forget
from agents.monitor.spool import Spool, in_use
from agents.monitor.store import Receipt

LINES, BYTES = 500, 1 << 20  # of one delivery
KEEP_S = 48 * 3600.0  # longer than from one backup of that database to the next
STATE = "state.json"

Deliver = Callable[[Sequence[str]], Receipt]


class Busy(AgentError):  # noqa: N818
    """Another process ships from this spool."""

    exit_code = 3


@dataclass
class Shipped:
    """What was done: lines that were delivered, those of them that were new, those that nothing takes."""

    lines: int = 0
    new: int = 0
    rejected: int = 0
    began_anew: bool = False


@dataclass
class _State:
    """`at`: bytes of a segment that are delivered; `incarnation`: the database that has them."""

    incarnation: str = ""
    at: dict[str, int] = field(default_factory=dict)


def ship(spool: Spool, deliver: Deliver, keep_s: float = KEEP_S) -> Shipped:
    """Everything that waits now. Raises Busy, and what `deliver` raises: what was delivered before stays so."""
    done = Shipped()
    if not spool.folder.is_dir():
        return done
    spool.trim()
    busy = Busy(f"Another process ships from {spool.folder}.", "It goes on; nothing is lost.")
    with held(spool.folder / "ship.lock", busy):
        state = _read(spool.folder / STATE)
        while not _all(spool, state, deliver, done):
            done.began_anew = True
        _forget(spool, keep_s)
    return done


def _all(spool: Spool, state: _State, deliver: Deliver, done: Shipped) -> bool:
    """False where it was delivered to another database than before: then nothing is, and all waits again."""
    before = done.lines
    if not all(_ship_segment(spool, segment, state, deliver, done) for segment in spool.segments()):
        return False
    return done.lines > before or _is_the_same(spool, state, deliver([]))  # whoever has nothing to tell asks, too


def _ship_segment(spool: Spool, segment: Path, state: _State, deliver: Deliver, done: Shipped) -> bool:
    complete = not in_use(segment)  # asked before it is read: nothing comes after that
    for texts, end in _batches(segment, state.at.get(segment.name, 0), complete):
        receipt = deliver(texts)
        if not _is_the_same(spool, state, receipt):
            return False
        done.lines, done.new = done.lines + receipt.lines, done.new + receipt.new
        done.rejected += receipt.rejected
        state.at[segment.name] = end
        _write(spool, state)
    if complete:
        spool.shipped.mkdir(exist_ok=True, mode=0o750)
        segment.replace(spool.shipped / segment.name)
        if state.at.pop(segment.name, None) is not None:
            _write(spool, state)
    return True


def _is_the_same(spool: Spool, state: _State, receipt: Receipt) -> bool:
    """Whether the database is the one of last time. Else what was shipped to that waits again, from its beginning;
    also where nobody knows which one it was.
    """
    before, state.incarnation = state.incarnation, receipt.incarnation
    there = sorted(spool.shipped.glob("[0-9]*"))
    if before == receipt.incarnation or not (before or there):
        return True
    for segment in there:
        segment.replace(spool.folder / segment.name)
    forget(spool.folder)
    state.at.clear()
    _write(spool, state)
    return False


def _batches(segment: Path, at: int, complete: bool) -> Iterator[tuple[list[str], int]]:
    """Whole lines from byte `at` on, and where they end. A torn last line counts once nobody writes any more."""
    texts: list[str] = []
    size = 0
    with segment.open("rb") as source:
        source.seek(at)
        for raw in source:
            if not raw.endswith(b"\n") and not complete:
                break
            at += len(raw)
            size += len(raw)
            texts.append(raw.rstrip(b"\n").decode(errors="replace"))
            if len(texts) >= LINES or size >= BYTES:
                yield texts, at
                texts, size = [], 0
    if texts:
        yield texts, at


def _forget(spool: Spool, keep_s: float) -> None:
    """Of what was shipped whatever is older than that, and the oldest while there is more than may wait."""
    there = sorted(spool.shipped.glob("[0-9]*"))
    size = sum(path.stat().st_size for path in there)
    for path in there:
        found = path.stat()
        if found.st_mtime >= time.time() - keep_s and size <= spool.max_bytes:
            break
        path.unlink()
        size -= found.st_size


def _read(path: Path) -> _State:
    """What was torn counts as nothing: everything is delivered once more."""
    try:
        known: Any = json.loads(path.read_text())
        return _State(str(known["incarnation"]), {str(name): int(at) for name, at in known["at"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return _State()


def _write(spool: Spool, state: _State) -> None:
    files.replace(spool.folder / STATE, json.dumps({"incarnation": state.incarnation, "at": state.at}), 0o640)
