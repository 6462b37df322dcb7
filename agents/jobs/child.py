"""Run a job's program: its output in a file of its own, its end at the limit, its last words as the result."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

_KILL_AFTER_S = 20  # from the polite signal to the other one
_BEAT_S = 5.0
_TIMED_OUT = 124
_TAIL_BYTES = 65536


@dataclass(frozen=True)
class Ended:
    """`outcome` is passed, failed or timeout; `sentence` what the program said last."""

    outcome: str
    code: int
    seconds: float
    sentence: str


def run(
    command: Sequence[str], env: Mapping[str, str], log: Path, limit_s: float, handle: int, beat: Callable[[], None]
) -> Ended:
    """Run to its end, calling `beat` meanwhile. The child inherits `handle`, the lock, and has `env` besides ours.

    timeout(1) enforces the limit, on the whole process group, so it holds even when this process is killed. A signal
    to this process ends the child first.
    """
    bounded = ["timeout", f"--kill-after={_KILL_AFTER_S}", f"{limit_s:g}", *command]
    started = time.monotonic()
    with log.open("ab") as out:
        child = subprocess.Popen(
            bounded, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            pass_fds=(handle,), env={**os.environ, **env},
        )  # fmt: skip
        stopped = _watch(child, beat)
    seconds = time.monotonic() - started
    code = child.returncode
    if code == 0:
        return Ended("passed", 0, seconds, last_words(log, passed=True) or "done")
    if code == _TIMED_OUT or (code in (137, -signal.SIGKILL) and seconds >= limit_s):
        return Ended("timeout", code, seconds, f"it was ended after its limit of {limit_s:g} s")
    if stopped:
        return Ended("failed", code, seconds, f"it was stopped by signal {stopped}")
    return Ended("failed", code, seconds, last_words(log, passed=False) or f"it ended with {code}")


def _watch(child: subprocess.Popen[bytes], beat: Callable[[], None]) -> int:
    """Wait for the end; the number of the signal that asked this process to end, 0 without one."""
    received: list[int] = []

    def forward(number: int, _: FrameType | None) -> None:
        received.append(number)
        child.terminate()

    before = {number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        while True:
            try:
                child.wait(_BEAT_S)
                return received[0] if received else 0
            except subprocess.TimeoutExpired:
                beat()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def last_words(log: Path, passed: bool) -> str:
    """The sentence of a program's last JSON object, or its last line that is no hint."""
    for line in reversed([line.strip() for line in _tail(log) if line.strip()]):
        said = _json(line)
        if isinstance(said, dict) and isinstance(said.get("sentence"), str):
            if passed:
                return str(said["sentence"])
        elif not said and not passed and not line.startswith("HINT:"):
            return re.sub(r"^\d{4}-\d\d-\d\d \S+ P\d+\s+", "", line)[:500]
    return ""


def last_hint(log: Path) -> str:
    """What helps, as the program that failed said last; empty where it said nothing of the kind."""
    try:
        hints = [line.partition("HINT: ")[2].strip() for line in _tail(log) if line.startswith("HINT: ")]
    except OSError:
        return ""
    return hints[-1] if hints else ""


def _tail(log: Path) -> list[str]:
    """The last lines that were written."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        return file.read().decode(errors="replace").splitlines()


def _json(line: str) -> object:
    try:
        return json.loads(line) if line.startswith("{") else None
    except ValueError:
        return None


def new_log(job: str, keep: int, folder: Path) -> Path:
    """A file for this run; of this job's earlier ones the newest `keep` - 1 stay."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    earlier = sorted(folder.glob(f"{job}-[0-9]*Z*.log"), key=lambda path: path.stat().st_mtime)
    for path in earlier[: max(0, len(earlier) - keep + 1)]:
        path.unlink(missing_ok=True)
    path = folder / f"{job}-{stamp}.log"
    number = 1
    while path.exists():
        number += 1
        path = folder / f"{job}-{stamp}-{number}.log"
    return path
