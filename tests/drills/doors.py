"""What an operator types, and what they are told: `./dr` as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code and both outputs."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> str:
        """The sentence before the hint, on its own."""
        lines = self.err.strip().splitlines()
        return lines[-2] if len(lines) > 1 else ""

    @property
    def hint(self) -> str:
        lines = self.err.strip().splitlines()
        return lines[-1].removeprefix("HINT: ") if lines and lines[-1].startswith("HINT: ") else ""

    def assert_told(self, code: int, *words: str, hint: str = "") -> None:
        """It ended with `code`, one sentence that holds these words, and a hint; never with a traceback."""
        everything = f"{self.out}\n{self.err}"
        assert "Traceback" not in everything, everything
        assert self.code == code, everything
        assert self.hint, everything
        missing = [word for word in words if word not in self.told]
        assert not missing, f"{missing} not in {self.told!r}"
        assert hint in self.hint, self.hint


def command(*words: str) -> list[str]:
    """The same as ./dr, which would first make a virtual environment."""
    return [sys.executable, "-m", "doors.main", *words]


def dr(*words: str, env: Mapping[str, str] | None = None, timeout: float = 300) -> Ended:
    """Run it to its end; `env` is added to this process's environment."""
    done = subprocess.run(
        command(*words), cwd=ROOT, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=timeout,
        check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr)


class Started:
    """A command on its way; what it says is heard line by line."""

    def __init__(self, *words: str, env: Mapping[str, str] | None = None) -> None:
        # What the tests were started with may ignore signals (nohup, a shell's background), and a child keeps that.
        self.process = subprocess.Popen(
            ["env", "--default-signal", *command(*words)], cwd=ROOT, env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def hears(self, words: str, seconds: float = 120) -> None:
        """Return as soon as a line that holds `words` is said."""
        with self._changed:
            heard = self._changed.wait_for(
                lambda: any(words in line for line in self._lines) or not self._reader.is_alive(), seconds
            )
            assert heard and any(words in line for line in self._lines), "".join(self._lines)

    def send(self, number: int) -> None:
        """A signal to this process alone."""
        self.process.send_signal(number)

    def ends(self, seconds: float = 300) -> Ended:
        """Wait for its end."""
        assert self.process.stdout is not None
        out = self.process.stdout.read()
        code = self.process.wait(seconds)
        self._reader.join(10)
        return Ended(code, out, "".join(self._lines))
