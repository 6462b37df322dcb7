"""Whom a watch has act: a process of its own, begun when a loss is suspected, and gone when it is suspected no more.

The runbook and all that it needs take more memory than the watch. While everything is silent and patience lasts there
is time to load them, so that nobody waits for that afterwards.
"""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from runbooks.engine.outcome import Outcome
from runbooks.hosts import Estate, Host

READY_S = 20.0  # what was begun ahead waits longer, see runbooks/begun.py
READY, ACT = b"ready\n", b"act\n"  # what it is told; the end of its input ends it
PROGRAM = (sys.executable, "-m", "runbooks.watch.failing_over")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Deed:
    """How it ended, in one sentence without its end, and what a person may do next (empty: nothing).

    `touched`: it has begun something that changes something, or nobody can tell that it has not.
    """

    outcome: Outcome
    says: str
    hint: str = ""
    touched: bool = True


class Deputy:
    """`say` hears what the runbook says. Of one thread, but for `interrupt`, which a signal's handler may call."""

    def __init__(self, estate: Estate, say: Say, program: Sequence[str] = PROGRAM) -> None:
        self._estate, self._say, self._program = estate, say, program
        self._process: subprocess.Popen[bytes] | None = None
        self._primary = ""
        self._ready_until = self._until = 0.0
        self._begun = self._interrupted = False

    def expect(self, primary: Host, now: float) -> None:
        """`primary` may be lost: have the process there and what a failover asks first begun. Never raises."""
        self._until = now + READY_S
        if now < self._ready_until and self._primary == primary.name:
            return
        with suppress(OSError):
            if self._lives(primary):
                self._tell(READY)
            else:
                self._begin(primary)
        self._primary, self._ready_until = primary.name, now + READY_S

    def rest(self, now: float) -> None:
        """Let it go where nobody has expected anything of it for a while."""
        if now >= self._until:
            self.dismiss()

    def fail_over(self, primary: Host) -> Deed:
        """Have it run the failover, and be there until it has ended. One that has died while it waited is replaced."""
        deed = None
        try:
            if self._lives(primary):
                deed = self._act()
            if deed is None:
                self._begin(primary)
                deed = self._act()
        except OSError as error:
            return Deed(Outcome.FAILED, f"no process can be begun for the failover: {error.strerror}", touched=False)
        return deed or Deed(Outcome.FAILED, "the process for the failover ended before it began", touched=False)

    def interrupt(self) -> None:
        """As an operator's Ctrl-C would, for good; where nothing is run yet, as soon as something is."""
        self._interrupted, process = True, self._process
        if self._begun and process is not None:
            process.send_signal(signal.SIGTERM)

    def dismiss(self) -> None:
        """End it. What it has begun on hosts waits for its word, ends with it, and has done nothing."""
        process, self._process = self._process, None
        self._ready_until = 0.0
        if process is not None:
            process.kill()
            _closed(process)

    def _lives(self, primary: Host) -> bool:
        return self._process is not None and self._primary == primary.name and self._process.poll() is None

    def _begin(self, primary: Host) -> None:
        self.dismiss()
        self._process, self._primary = _started(self._program), primary.name
        self._tell(pickle.dumps((self._estate, primary.name)))

    def _tell(self, words: bytes) -> None:
        assert self._process and self._process.stdin
        self._process.stdin.write(words)
        self._process.stdin.flush()

    def _act(self) -> Deed | None:
        """None where it had died before it began."""
        process, deed = self._process, None
        assert process and process.stdout
        try:
            with suppress(BrokenPipeError):
                self._tell(ACT)
            for line in process.stdout:
                word = json.loads(line)
                if "begins" in word:
                    self._begun = True
                    if self._interrupted:
                        self.interrupt()
                elif "says" in word:
                    self._say(word["says"])
                else:
                    deed = _deed(word["deed"])
        finally:
            begun, self._begun, self._process, self._ready_until = self._begun, False, None, 0.0
            _closed(process)
        if begun and deed is None:
            return Deed(Outcome.FAILED, f"the process that ran the failover has ended with {process.returncode}")
        return deed


def _deed(word: dict[str, Any]) -> Deed:
    return Deed(**{**word, "outcome": Outcome(word["outcome"])})


def _started(program: Sequence[str]) -> subprocess.Popen[bytes]:
    """In a session of its own: a Ctrl-C at the terminal is the watch's to pass on."""
    return subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)


def _closed(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):
            if pipe:
                pipe.close()
    process.wait()
