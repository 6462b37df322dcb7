"""Commands that were begun ahead of their time: logged in, started, and waiting there for their standard input.

Whoever has to wait for something else first (a fence, its proof) pays for login and start-up meanwhile. Only what does
nothing before it has read its input may be begun: where it is never sent, or where the connection or this process
ends, the command ends with it and has done nothing.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

LASTS_S = 30.0  # what was begun longer ago belongs to a step that has ended otherwise


@dataclass(frozen=True)
class _Begun:
    process: subprocess.Popen[str]
    at: float

    @property
    def usable(self) -> bool:
        return time.monotonic() - self.at < LASTS_S and self.process.poll() is None

    def drop(self) -> None:
        with self.process:
            self.process.kill()


_waiting: dict[tuple[str, ...], _Begun] = {}
_lock = threading.Lock()


def begin(argv: Sequence[str]) -> None:
    """Start it, its input withheld, unless one of these very words waits already. Never raises."""
    found = _taken(tuple(argv))
    with suppress(OSError):
        _keep(tuple(argv), found or _Begun(_started(argv), time.monotonic()))


def run(argv: Sequence[str], stdin: str, limit: float) -> subprocess.CompletedProcess[str]:
    """Send the input to what was begun with these very words, else start it now. Raises subprocess.TimeoutExpired."""
    found = _taken(tuple(argv))
    if found is None:
        return subprocess.run(
            argv, input=stdin, capture_output=True, text=True, errors="replace", timeout=limit, check=False
        )
    with found.process as process:
        try:
            out, err = process.communicate(stdin, timeout=limit)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(list(argv), process.returncode, out, err)


def drop() -> None:
    """End all that waits."""
    with _lock:
        left = list(_waiting.values())
        _waiting.clear()
    for one in left:
        one.drop()


def _started(argv: Sequence[str]) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, text=True, errors="replace")


def _keep(words: tuple[str, ...], new: _Begun) -> None:
    with _lock:
        before = _waiting.get(words)
        _waiting[words] = new
    if before:
        before.drop()


def _taken(words: tuple[str, ...]) -> _Begun | None:
    """What waits under these words; whatever has ended or is too old is put away."""
    with _lock:
        over = [_waiting.pop(key) for key in [key for key, one in _waiting.items() if not one.usable]]
        found = _waiting.pop(words, None)
    for one in over:
        one.drop()
    return found
