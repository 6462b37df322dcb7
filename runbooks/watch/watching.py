"""The watch itself: listen to the eyes, say what has changed, raise the alarm, and act where it may."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from inventories.errors import BadInput, DrError
from runbooks.engine.outcome import Outcome
from runbooks.hosts import Estate, Host
from runbooks.record.types import Unknown
from runbooks.watch.alarms import Alarms
from runbooks.watch.deciding import BY_HAND, declines
from runbooks.watch.deputy import Deed, Deputy
from runbooks.watch.desk import Desk
from runbooks.watch.eyes import OWED_S, Eyes
from runbooks.watch.notes import Notes
from runbooks.watch.settings import Settings
from runbooks.watch.sights import Kind, Look, Track, followed
from runbooks.watch.verdict import ACT_ON, Patience, Verdict, Word, judge

AGAIN_S = 1.0  # what keeps it from acting is looked at so often while the primary is lost


class What(StrEnum):
    """What is told, for whoever reads it by program."""

    LOOKS = "looks"
    SEES = "sees"
    STALLED = "stalled"
    DECLINES = "declines"
    ACTS = "acts"
    ACTED = "acted"
    RUNBOOK = "runbook"
    WARNING = "warning"


Say = Callable[[What, str], None]


def patience_of(settings: Settings) -> Patience:
    return Patience(settings.patience_s, settings.restart_s, settings.blind_s)


@dataclass
class Seen:
    """What every pair of eyes has seen of one primary; threads add to it, the watch judges a copy.

    What was asked before the last time that this process itself stood still has seen nothing.
    """

    tracks: dict[str, Track] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)
    changed: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, at: str, look: Look) -> None:
        with self._lock:
            if look.asked >= self.since:
                self.tracks[at] = followed(self.tracks.get(at), look)
        self.changed.set()

    def forget(self) -> None:
        with self._lock:
            self.tracks, self.since = {}, time.monotonic()

    def now(self) -> tuple[Track, ...]:
        with self._lock:
            return tuple(self.tracks.values())


class Watching:
    """`say` hears what has changed. `act` is whether a failover may be run by itself."""

    def __init__(self, estate: Estate, settings: Settings, act: bool, say: Say) -> None:
        self.estate, self.settings, self.act, self._say = estate, settings, act, say
        self.verdict: Verdict | None = None
        self.primary: Host | None = None
        self.seen = Seen()
        self.acting = False
        self.acts: Callable[[], None] = lambda: None  # hears at once that `acting` has changed
        self._patience = patience_of(settings)
        self._desk = Desk(estate.backup, self.seen.changed.set)
        self._eyes = Eyes(estate, settings, lambda: self.primary, self.seen.add)
        self._alarms = Alarms(estate.backup, lambda sentence: say(What.WARNING, sentence))
        self._notes = Notes(self._desk, self._runbook)
        self._deputy = Deputy(estate, self._runbook)
        self._declined = ""
        self._tried = False  # in this loss: what the runbook refused once is not begun again by itself
        self._look_again_at = 0.0

    def run(self, over: threading.Event) -> None:
        """Until `over`. Raises BadInput where there are no three pairs of eyes."""
        require_eyes(self.estate)
        self._desk.refresh()
        self._follow()
        self._desk.begin()
        self._eyes.begin()
        self._say(What.LOOKS, self._beginning())
        last = time.monotonic()
        try:
            while not over.is_set():
                self.seen.changed.wait(self.settings.every_s)
                self.seen.changed.clear()
                now = time.monotonic()
                if now - last > self.settings.stall_s:
                    self._stalled(now - last)
                self.step(now)
                last = time.monotonic()
        finally:
            self._eyes.end()
            self._desk.end()
            self._deputy.dismiss()
            self._alarms.end()

    def interrupt(self) -> None:
        """The failover, where one is run; a signal's handler may call it."""
        self._deputy.interrupt()

    def step(self, now: float) -> None:
        """Judge what is seen at `now`, and act on it."""
        self._follow()
        if self.primary is None:
            return
        found = judge(self.primary.name, self.seen.now(), now, self._patience, self.seen.since)
        if found is not None and found != self.verdict:
            self._told(found)
        if found is None and self.act and not self._tried:
            self._expect(self.primary, now)
        lost = self.verdict is not None and self.verdict.word in ACT_ON and found is not None
        if lost and not self._tried and now >= self._look_again_at:
            self._consider(self.primary)
        self._deputy.rest(now)

    def _expect(self, primary: Host, now: float) -> None:
        """Everything is silent: whoever acts is begun, and makes ready what a failover asks while patience lasts."""
        none = replace(self._patience, silence_s=0.0, restart_s=0.0)
        found = judge(primary.name, self.seen.now(), now, none, self.seen.since)
        if found is not None and found.word in ACT_ON:
            self._deputy.expect(primary, now)

    def _told(self, found: Verdict) -> None:
        before, self.verdict = self.verdict, found
        self._say(What.SEES, found.says)
        before = before or Verdict(Word.SERVES, "")
        if Word.SERVES is not found.word or Word.SERVES is not before.word or found.blind != before.blind:
            self._alarms.ring(found.says)
        if found.word in (Word.SERVES, Word.MOVED):  # a loss is over, and not before
            self._declined, self._tried, self._look_again_at = "", False, 0.0

    def _consider(self, primary: Host) -> None:
        """Run the failover, or say once why not. Raises KeyboardInterrupt where a signal has interrupted it."""
        self._notes.settle()
        standbys = [host.name for host in self.estate.postgres if host.name != primary.name]
        declined = declines(self._desk.refresh(1.0), primary.name, standbys, self.act, self.settings.cooldown_s)
        if declined:
            self._look_again_at = time.monotonic() + AGAIN_S
            self._decline(declined.says)
            return
        try:
            token = self._notes.act(primary.name, self.settings.cooldown_s)
        except DrError as error:
            self._look_again_at = time.monotonic() + AGAIN_S
            self._decline(f"no failover by itself: {error}; a person may run {error.hint or BY_HAND}")
            return
        self._tried = True
        self._acts(True)
        self._say(What.ACTS, f"failover begins by itself: {self.verdict.says if self.verdict else ''}")
        try:
            deed = self._deputy.fail_over(primary)
        finally:
            self._acts(False)
        self._notes.judge(token, deed)
        self._done(deed)
        if deed.outcome is Outcome.INTERRUPTED:
            raise KeyboardInterrupt(deed.says)

    def _acts(self, acting: bool) -> None:
        self.acting = acting
        self.acts()

    def _done(self, deed: Deed) -> None:
        if deed.outcome is Outcome.REFUSED:
            self._decline(f"no failover by itself: {deed.says}; a person may run {_for_a_person(deed)}")
        else:
            self._say(What.ACTED, f"{deed.says}{f'; {deed.hint}' if deed.hint else ''}")
            self._alarms.ring(f"{deed.says}{f'; {deed.hint}' if deed.hint else ''}")
        self._desk.refresh()
        self.seen.forget()

    def _decline(self, says: str) -> None:
        if says != self._declined:
            self._declined = says
            self._say(What.DECLINES, says)
            self._alarms.ring(says)

    def _runbook(self, sentence: str) -> None:
        self._say(What.RUNBOOK, sentence)

    def _stalled(self, seconds: float) -> None:
        """Whatever was due meanwhile was not looked at: silence of that time is this process's own."""
        self.seen.forget()
        self._say(What.STALLED, f"this watch stood still for {seconds:.1f} s: what it saw before counts no more")

    def _follow(self) -> None:
        """Look at whom the record calls the primary; where nobody knows, at whoever takes writes now."""
        answer = self._desk.kept.answer
        name = "" if isinstance(answer, Unknown) else answer.record.primary
        if not name and self.primary is None:
            name = _survey(self.estate)
        if not name or (self.primary is not None and self.primary.name == name):
            return
        if self.primary is not None:
            self._say(What.LOOKS, f"{name} is primary by the estate record now, and no more {self.primary}")
        try:
            self.primary = self.estate.host(name)
        except BadInput as error:
            self._say(What.WARNING, str(error))
            return
        self.seen.forget()
        self.verdict = None

    def _beginning(self) -> str:
        looks = f"looks at {self.primary or 'nobody: who is primary is not known'} through {' and '.join(self.names())}"
        may = "may run failover" if self.act else "only looks"
        return f"{looks} every {self.settings.every_s:g} s; patience {self.settings.patience_s:g} s; {may}"

    def names(self) -> list[str]:
        """Through whom it looks."""
        primary = self.primary.name if self.primary else ""
        kinds = ((glass.kind(primary), glass.host.name) for glass in self._eyes.glasses)
        return ["its own eyes" if kind is Kind.OWN else name for kind, name in kinds]

    def as_json(self) -> dict[str, Any]:
        """What is seen now, for a status."""
        return {
            "primary": self.primary.name if self.primary else None,
            "word": str(self.verdict.word) if self.verdict else None,
            "says": self.verdict.says if self.verdict else "it has just begun to look",
            "eyes": {track.eye: str(track.sight) for track in self.seen.now()},
            "acting": self.acting,
        }


def _for_a_person(deed: Deed) -> str:
    return deed.hint or BY_HAND


def _survey(estate: Estate) -> str:
    from runbooks.probes.postgresql import server  # asked where there is no record, and never otherwise

    try:
        return server.the_primary(server.survey(estate)).name
    except DrError:
        return ""


def require_eyes(estate: Estate) -> None:
    """Raises BadInput unless an application host, a standby and the watch's own line can be told apart."""
    standbys = len(estate.postgres) - 1
    if standbys < 1:
        raise BadInput(
            "a watch looks through an application host, a standby and its own line, and there is no standby",
            "add a host to pg_standby and deploy it",
        )
    estate.group("app")


__all__ = ["OWED_S", "Say", "Watching", "What", "patience_of", "require_eyes"]
