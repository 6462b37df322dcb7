"""The loop: look, keep what it says, send. No trouble of one of them ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from inventories.catalog.load import load_recovery
from inventories.errors import DrError
from runbooks.alarms import moving
from runbooks.alarms.evaluating import Seen, evaluate
from runbooks.alarms.heartbeat import Heartbeat
from runbooks.alarms.moving import Desk
from runbooks.alarms.sending import Sender
from runbooks.figures import alarms as own
from runbooks.figures import estate as of_estate
from runbooks.figures.kinds import Reading, together
from runbooks.hosts import Estate
from runbooks.look import status

Source = Callable[[], Reading]
Tell = Callable[[Reading], None]


def estate_source(estate: Estate) -> Source:
    """What `./dr status` sees and judges; an estate that cannot be looked at is a reading, too."""

    def read() -> Reading:
        try:
            return of_estate.reading(status.look(estate), load_recovery().limits)
        except DrError as error:
            return of_estate.unseen(time.time(), str(error), error.hint)
        except Exception as error:  # a defect of ours must not look like peace
            return of_estate.unseen(time.time(), f"{type(error).__name__}: {error}", "")

    return read


class Alarming:
    """One estate's alarms. `sources` are asked at each look, the estate first; `tell` hears what they said."""

    def __init__(
        self, desk: Desk, sources: Sequence[Source], sender: Sender, heartbeat: Heartbeat, say: Callable[[str], None],
        tell: Tell | None = None,
    ) -> None:  # fmt: skip
        self._desk, self._sources, self._sender, self._heartbeat, self._say = desk, sources, sender, heartbeat, say
        self._tell = tell

    def once(self) -> Seen:
        """One look: what it says is in the spool before anybody is told, and a sign of life follows it.

        Raises TargetFailed where the spool takes nothing: without it there is no sign of life either.
        """
        asked = [source() for source in self._sources]
        now = time.time()
        reading = together(now, (*asked, own.reading(self._desk.spool, self._desk.routes, now)))
        seen = evaluate(self._desk.alarms, reading)
        moving.take(self._desk, seen)
        self._sender.start()
        self._heartbeat.beat(now)
        if self._tell:
            self._tell(reading)
        return seen

    def run(self, over: threading.Event) -> None:
        """Until `over`. What cannot be kept is at least said, for the journal."""
        while not over.is_set():
            began = time.monotonic()
            try:
                self.once()
            except DrError as error:
                self._say(f"ALARM: {error} {error.hint}")
                self._sender.start()
            over.wait(max(0.5, self._desk.alarms.every_s - (time.monotonic() - began)))

    def settle(self, seconds: float) -> bool:
        """Wait for what is being sent; whether every channel is through."""
        through = self._sender.wait(seconds)
        self._heartbeat.wait(1.0)
        return through
