"""Whether the off-site copy of this backup host holds a shelf that is empty here: asked beside, as it takes seconds."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from threading import Lock, Thread
from typing import Any

from agents.base.errors import AgentError
from agents.jobs.config import PATH

COMMAND = (sys.executable, "-m", "agents.offsite.copies", "shelves")
_FRESH_S = 60.0
_LIMIT_S = 600.0


class Elsewhere:
    """For all connections. An answer counts for a minute."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._asking: Thread | None = None
        self._said: dict[str, Any] | None = None
        self._why, self._at = "", 0.0

    def has(self, shelf: str) -> dict[str, Any]:
        """{"snapshots", "host"} of it there, or {"asking": True}: ask again. Raises AgentError where nobody knows."""
        if not PATH.exists():
            return {"snapshots": 0, "host": ""}  # no jobs run here, so nothing was ever copied
        with self._lock:
            if self._asking is not None and self._asking.is_alive():
                return {"asking": True}
            if not self._at or time.monotonic() - self._at > _FRESH_S:
                self._asking = Thread(target=self._ask, daemon=True)
                self._asking.start()
                return {"asking": True}
            if self._said is None:
                raise AgentError(f"whether the off-site copy has it is unknown: {self._why}")
            return {"snapshots": int(self._said["shelves"].get(shelf, 0)), "host": self._said["host"]}

    def _ask(self) -> None:
        try:
            done = subprocess.run(COMMAND, capture_output=True, text=True, check=False, timeout=_LIMIT_S)
            said = json.loads(done.stdout) if done.returncode == 0 else None
            why = " ".join(done.stderr.split())[-400:].rstrip(".")
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            said, why = None, str(error)
        with self._lock:
            self._said, self._why, self._at = said, why, time.monotonic()
