"""Alarms that the alarm command has still to tell: a file each, on the disk before the command runs.

What it did not take goes with the next alarm, and with each hourly catch-up, until it is taken; then its file goes. An
alarm whose teller died between the two is told again. One that is raised anew while it waits is told once, as it was
said last: an age in it is no other alarm.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from agents.base import files
from agents.base.errors import AgentError
from agents.base.locks import FileLock, held

_AGE = re.compile(r"\d+\.\d+(?= [hd]\b)")
_NAME = "untold-"
_LOCK = "untold.lock"
_PUT_S, _LATE_S = 10.0, 60.0


@dataclass(frozen=True)
class Untold:
    """A line. `at`: since when it waits (unix seconds)."""

    at: float
    line: str

    @property
    def key(self) -> str:
        return hashlib.sha256(_AGE.sub("", self.line).encode()).hexdigest()[:32]


def tell(folder: Path, lines: Sequence[str], command: Callable[[str], str], within_s: float) -> str:
    """Have `command` tell these lines and all that waits in `folder`; it returns why it did not.

    Returns that, or that another alarm is still told after `within_s` seconds; empty where nothing waits any more.
    """
    telling = FileLock(folder / "telling.lock")
    try:
        for line in lines:
            _put(folder, Untold(time.time(), line))
        if not read(folder):
            return ""
        if not telling.take(within_s):
            return f"is still telling another alarm after {within_s:g} s; this one waits"
    except (OSError, AgentError):  # a full disk keeps nobody from being told now
        return command(_text([Untold(time.time(), line) for line in lines])) if lines else ""
    try:
        waits = read(folder)
        why = command(_text(waits)) if waits else ""
        if not why:
            _forget(folder, waits)
        return why
    finally:
        telling.release()


def read(folder: Path) -> list[Untold]:
    """What waits, the oldest first."""
    return sorted((one for path in folder.glob(f"{_NAME}*") if (one := _read(path))), key=lambda one: one.at)


def _read(path: Path) -> Untold | None:
    try:
        return Untold(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _put(folder: Path, new: Untold) -> None:
    path, of = folder / f"{_NAME}{new.key}", folder.stat()
    owner = (of.st_uid, of.st_gid) if os.geteuid() == 0 else None
    with held(folder / _LOCK, AgentError("What is still to be told is being written.", ""), _PUT_S):
        before = _read(path)
        kept = Untold(before.at if before else new.at, new.line)
        files.replace(path, json.dumps(asdict(kept)) + "\n", owner=owner)


def _forget(folder: Path, told: Sequence[Untold]) -> None:
    """But for one that was said in other words meanwhile. What cannot be forgotten is told again."""
    with suppress(OSError, AgentError), held(folder / _LOCK, AgentError("It is being written.", ""), _PUT_S):
        for one in told:
            path = folder / f"{_NAME}{one.key}"
            if _read(path) == one:
                path.unlink()


def _text(waits: Sequence[Untold]) -> str:
    return "".join(f"{_since(one)}{one.line}\n" for one in waits)


def _since(one: Untold) -> str:
    """Empty for one that was raised just now."""
    late = time.time() - one.at > _LATE_S
    return time.strftime("(Untold since %Y-%m-%d %H:%M UTC.) ", time.gmtime(one.at)) if late else ""
