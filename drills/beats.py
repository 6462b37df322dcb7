"""A watch that says of itself, several times a second, that it judges and when each pair of eyes has looked last.

    python -m drills.beats NUMBER        begun by `./dr watch --json --beat`, in the place of runbooks.watch.main
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence

from runbooks.hosts import Estate
from runbooks.watch import main as process
from runbooks.watch.handed import Handed, received
from runbooks.watch.settings import Settings
from runbooks.watch.sights import Sight
from runbooks.watch.watching import Say, Watching

BEAT, BEAT_S = "beat", 0.2


class Beating(Watching):
    """For whoever has to prove that it looked: a watch that is dead acts on nothing either.

    `beat` hears, `every_s` seconds or a judgement apart, the moment of each pair of eyes' newest look. It is told after
    a judgement and by the thread that judges, so that eyes that look for a judge who hangs prove nothing. Eyes that are
    blind have not looked, however often they were asked.
    """

    def __init__(
        self, estate: Estate, settings: Settings, act: bool, say: Say, every_s: float,
        beat: Callable[[Mapping[str, float]], None],
    ) -> None:  # fmt: skip
        super().__init__(estate, settings, act, say)
        self._every_s, self._beat, self._beat_at = every_s, beat, 0.0

    def step(self, now: float) -> None:
        super().step(now)
        if now >= self._beat_at:
            self._beat_at = now + self._every_s
            seeing = [track for track in self.seen.now() if track.sight is not Sight.BLIND]
            self._beat({track.eye: round(track.until, 4) for track in seeing})


def line(looked: Mapping[str, float]) -> dict[str, object]:
    """As `./dr watch --json` prints it; seconds of this machine's monotonic clock."""
    says = f"{len(looked)} pairs of eyes have looked"
    return {"at": round(time.monotonic(), 4), "what": BEAT, "says": says, "looked": dict(looked)}


def beating(told: Handed, say: Say) -> Beating:
    return Beating(
        told.estate, told.settings, told.act, say, told.beat, lambda looked: process.tell(line(looked))
    )


def main(arguments: Sequence[str]) -> int:
    return process.served(received(arguments[0]), beating)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
