"""A program that stays on a host and answers lines of JSON, over one SSH session that is kept open.

No new process a question: several a second would cost more than everything else that a watch does.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from inventories.errors import TargetFailed
from runbooks.hosts import telling_line

RETRY_S = 3.0
HANGS_S = 6.0  # a session that owes an answer for so long is given up: by then SSH itself has noticed, too
Json = dict[str, Any]


class Channel:
    """`begin` starts the program. One question at a time; may be used by several threads, one after the other."""

    def __init__(self, begin: Callable[[], subprocess.Popen[bytes]], clock: Callable[[], float] = time.monotonic):
        self._begin, self._clock = begin, clock
        self._process: subprocess.Popen[bytes] | None = None
        self._text = b""
        self._number = 0
        self._owed: float | None = None  # since when a question is not answered
        self._again_at = 0.0
        self._turn = threading.Lock()

    def ask(self, question: Mapping[str, Any], seconds: float) -> Json | None:
        """The answer; None when it has not come within these seconds. Raises TargetFailed when nobody can be asked.

        An answer to an earlier question is no answer to this one. What came while this machine was too busy to look
        counts as come.
        """
        with self._turn:
            self._ready()
            self._number += 1
            self._put({**question, "n": self._number})
            return self._heard(self._clock() + seconds)

    def late(self) -> Json | None:
        """The answer to the newest question, if it has come by now."""
        with self._turn:
            return self._heard(self._clock()) if self._process else None

    def close(self) -> None:
        with self._turn:
            self._end()

    def _ready(self) -> None:
        if self._owed is not None and self._clock() - self._owed > HANGS_S:
            self._end()
        if self._process is not None:
            return
        if self._clock() < self._again_at:
            raise TargetFailed("its session has ended and is begun again in a moment")
        self._again_at = self._clock() + RETRY_S
        try:
            self._process = self._begin()
        except OSError as error:
            raise TargetFailed(f"SSH cannot be run: {error.strerror}") from error
        self._text, self._owed = b"", None

    def _put(self, question: Json) -> None:
        assert self._process and self._process.stdin
        try:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._ended() from error
        self._owed = self._owed or self._clock()

    def _heard(self, end: float) -> Json | None:
        assert self._process and self._process.stdout
        descriptor = self._process.stdout.fileno()
        while True:
            left = end - self._clock()
            if select.select([descriptor], [], [], max(left, 0))[0]:
                read = os.read(descriptor, 65536)
                if not read:
                    raise self._ended()
                *lines, self._text = (self._text + read).split(b"\n")
                for line in lines:
                    said = self._answer(line)
                    if said is not None:
                        return said
            elif left <= 0:
                return None

    def _answer(self, line: bytes) -> Json | None:
        """Of the newest question; any answer says that the session lives."""
        try:
            said = json.loads(line)
        except ValueError as error:
            raise self._ended() from error
        self._owed = None
        return said if isinstance(said, dict) and said.get("n") == self._number else None

    def _ended(self) -> TargetFailed:
        """Why the session is over, in the other end's words."""
        said = b""
        if self._process and self._process.stderr and self._process.poll() is not None:
            said = self._process.stderr.read()
        self._end()
        return TargetFailed(telling_line(said.decode(errors="replace")) if said.strip() else "its session has ended")

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout, process.stderr):
            with suppress(OSError):
                if pipe:
                    pipe.close()
        process.wait()
