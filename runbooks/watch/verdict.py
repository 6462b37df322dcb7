"""What all eyes together say of the primary. Pure: what was seen, and when, is all that it is given.

Silence is not loss. A host from which anybody hears anything is not lost, whatever its server does; eyes that disagree
are cut off, some of them or the primary; eyes that could not look have seen nothing, and least of all silence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from runbooks.watch.sights import Kind, Sight, Track


class Word(StrEnum):
    """What the primary is, as far as anybody can tell."""

    SERVES = "serves"
    SLOW = "slow"  # somebody hears its host, nobody has an answer of its server
    CUT_OFF = "cut off"  # some hear of it and some do not
    LOST = "lost"  # every pair of eyes has met with silence for as long as patience lasts
    STOPPED = "stopped"  # every pair of eyes finds its port closed, for longer than a restart takes
    MOVED = "moved"  # it answers, and is a standby
    BLIND = "blind"  # too few eyes see to say anything


ACT_ON = (Word.LOST, Word.STOPPED)


@dataclass(frozen=True)
class Patience:
    """Seconds: of silence until a primary is lost, of a closed port until it is stopped, until an eye is blind that
    says nothing.
    """

    silence_s: float
    restart_s: float
    blind_s: float


@dataclass(frozen=True)
class Verdict:
    """`says` is one sentence without its end, the same as long as the same is seen.

    `blind`: it serves, and nobody could tell its loss.
    """

    word: Word
    says: str
    blind: bool = False


def judge(
    primary: str, tracks: Sequence[Track], now: float, patience: Patience, since: float = -math.inf
) -> Verdict | None:
    """None while nobody can tell yet: whatever was said before still holds. `since`: when looking began."""
    seeing = [track for track in tracks if track.sight is not Sight.BLIND and now - track.until <= patience.blind_s]
    if any(track.sight is Sight.SERVES for track in seeing):
        # One look that did not come is no blindness, and neither is a session that is only being begun.
        blind = [track for track in tracks if track.sight is Sight.BLIND and track.lasts >= patience.blind_s]
        late = [track for track in tracks if now - track.until > patience.blind_s]
        able = [track for track in tracks if track not in blind and track not in late]
        missing = missing_eyes(tracks, able) if now - since >= patience.blind_s else ()
        return _serving(primary, seeing, missing, patience)
    quiet = now - max((track.served for track in tracks), default=now)
    if quiet < patience.silence_s:
        return None
    if any(track.sight is Sight.STANDBY for track in seeing):
        return Verdict(Word.MOVED, f"{primary} answers and is a standby")
    missing = missing_eyes(tracks, seeing)
    sights = {track.sight for track in seeing}
    if not seeing or (missing and sights == {Sight.SILENT}):
        if quiet < patience.blind_s:
            return None
        return Verdict(Word.BLIND, f"nobody can tell what {primary} is: {_blind(missing, seeing)}")
    if sights == {Sight.SILENT}:
        return _agreed(Word.LOST, f"{primary} is lost: {_names(seeing)} hear nothing of it", seeing, patience.silence_s)
    if sights == {Sight.DOWN} and not missing:
        says = f"{primary} is stopped: {_names(seeing)} find its port closed"
        return _agreed(Word.STOPPED, says, seeing, patience.restart_s)
    if now - since < patience.blind_s:
        return None  # sessions are only being begun: of what is no loss nothing is told yet
    deaf = [track for track in seeing if track.sight is Sight.SILENT]
    hearing = [track for track in seeing if track.sight is not Sight.SILENT]
    if deaf:
        if min(track.lasts for track in deaf) < patience.silence_s:
            return None
        says = f"{primary} is cut off: {_names(hearing)} hear its host, {_names(deaf)} hear nothing"
        return Verdict(Word.CUT_OFF, says)
    return Verdict(Word.SLOW, f"{primary} is slow: {_heard(hearing)}")


def _serving(primary: str, seeing: Sequence[Track], missing: Sequence[str], patience: Patience) -> Verdict:
    deaf = [track for track in seeing if track.sight is Sight.SILENT and track.lasts >= patience.silence_s]
    if deaf:
        serving = [track for track in seeing if track.sight is Sight.SERVES]
        return Verdict(Word.CUT_OFF, f"{primary} serves {_names(serving)} and is cut off from {_names(deaf)}")
    if missing:
        says = f"{primary} serves; its loss could not be seen, for {_blind(missing, ())}"
        return Verdict(Word.SERVES, says, blind=True)
    return Verdict(Word.SERVES, f"{primary} serves")


def _agreed(word: Word, says: str, seeing: Sequence[Track], needed: float) -> Verdict | None:
    """All have seen the same, and at the same time for long enough."""
    together = min(track.until for track in seeing) - max(track.since for track in seeing)
    return Verdict(word, says) if together >= needed else None


def missing_eyes(tracks: Sequence[Track], seeing: Sequence[Track]) -> tuple[str, ...]:
    """Whose eyes a loss cannot be told without: every application host's, the watch's own, a standby's."""
    seen = {track.eye for track in seeing}
    missing = [track.eye for track in tracks if track.kind is not Kind.STANDBY and track.eye not in seen]
    for kind, says in ((Kind.APPLICATION, "an application host"), (Kind.OWN, "the watch itself")):
        if not any(track.kind is kind for track in tracks):
            missing.append(says)
    if not any(track.kind is Kind.STANDBY for track in seeing):
        missing.append(" or ".join(track.eye for track in tracks if track.kind is Kind.STANDBY) or "a standby")
    return tuple(dict.fromkeys(missing))


def _blind(missing: Sequence[str], seeing: Sequence[Track]) -> str:
    told = f"nobody sees through {' and '.join(missing)}" if missing else "nobody looks"
    return f"{told}; {_names(seeing)} {'hears' if len(seeing) == 1 else 'hear'} nothing" if _all_deaf(seeing) else told


def _all_deaf(seeing: Sequence[Track]) -> bool:
    return bool(seeing) and all(track.sight is Sight.SILENT for track in seeing)


def _heard(hearing: Sequence[Track]) -> str:
    """As its clients see it, where they do."""
    first = min(hearing, key=lambda track: (track.kind is not Kind.APPLICATION, track.eye))
    return first.why or "its host answers, its server does not"


def _names(tracks: Sequence[Track]) -> str:
    return " and ".join(sorted(track.eye for track in tracks))
