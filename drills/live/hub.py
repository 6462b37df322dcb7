"""What all who look at the served page are told: found out once for all of them, and only while somebody looks."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from drills.live.follow import Follower, running
from drills.live.snapshot import Snapshot
from inventories.errors import DrError

LOOKS_EVERY_S = 1.0
MADE_EVERY_S = 60.0
NO_DRILL = "null"


@dataclass(frozen=True)
class Made:
    """A page, and the moment in its `data-made`."""

    html: str
    at: str


@dataclass
class Hub:
    """`make` makes the page, which asks the estate: never while a drill runs, whose times and load that would change.

    `say` hears why one could not be made; the one before stands on, and tells its age.
    """

    runs: Path
    make: Callable[[], Made]
    say: Callable[[str], None]
    page: Made
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _making: threading.Lock = field(default_factory=threading.Lock)
    _follower: Follower | None = None
    _seen: Snapshot | None = None
    _drilling: bool = False
    _looked: float = -LOOKS_EVERY_S
    _made: float = field(default_factory=time.monotonic)

    def drill(self) -> str:
        """JSON of the drill that runs, or that ended last while somebody looked; null without one."""
        with self._lock:
            if time.monotonic() - self._looked >= LOOKS_EVERY_S:
                self._look()
                self._looked = time.monotonic()
            seen, due = self._seen, self._due()
        if due:
            self._make_soon()
        if seen is None:
            return NO_DRILL
        return json.dumps({**asdict(seen), "report": f"runs/{seen.run}/report.html"})

    def _look(self) -> None:
        folder = running(self.runs)
        self._drilling = folder is not None
        if folder and (self._follower is None or self._follower.folder != folder):
            self._follower, self._seen = Follower(folder, folder.parent), None
        if self._follower and not (self._seen and self._seen.outcome):
            self._seen = self._follower.look()
            if self._seen.outcome:
                self._made = -MADE_EVERY_S  # what the drill has changed is shown as soon as no drill can be disturbed

    def _due(self) -> bool:
        return not self._drilling and time.monotonic() - self._made >= MADE_EVERY_S

    def _make_soon(self) -> None:
        if self._making.acquire(blocking=False):
            threading.Thread(target=self._make, name="page", daemon=True).start()

    def _make(self) -> None:
        try:
            self.page = self.make()
        except (DrError, OSError) as error:
            self.say(f"WARNING: the page could not be made anew: {error}")
        finally:
            self._made = time.monotonic()
            self._making.release()
