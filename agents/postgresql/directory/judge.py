"""What may become of a data directory: three answers, from what lies in it and what is known of the estate.

EMPTY       nothing lies in it, or a cluster that initdb made and nobody has used
UNFINISHED  provably a restore of ours that did not come to its end: nothing in it that the repository has not
OTHER       anything else. It is moved aside, on the operator's word, and never deleted

A claim says that a restore of ours began in this very directory. It is believed only as far as the files bear it out:
they must be what such a restore leaves, and reach no further than the archive did when it began.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any

from agents.base import files
from agents.postgresql.directory.facts import LOST_FOUND, Seen


class Answer(str, Enum):
    """See the module."""

    EMPTY = "empty"
    UNFINISHED = "unfinished"
    OTHER = "other"


@dataclass(frozen=True)
class Judged:
    """`why` is the rest of a sentence that begins with the directory's path."""

    answer: Answer
    why: str


@dataclass(frozen=True)
class Claim:
    """A restore of ours that began: in which directory, of which backup, of which system (empty: any).

    `timeline` and `end` say how far the archive reached then. `wal`: where pg_wal led and is to lead again. `done`: all
    files have come. `started`: the start guard has let a server start in it since; the guard says so.
    """

    path: str
    inode: int
    label: str = ""
    system: str = ""
    timeline: int = 0
    end: int = 0
    wal: str = ""
    done: bool = False
    started: bool = False

    def covers(self, seen: Seen) -> bool:
        """Whether it speaks of this directory and this system."""
        same = self.path == str(seen.path) and self.inode == seen.inode
        return same and (not self.system or not seen.system or self.system == seen.system)

    def has_come(self, seen: Seen) -> bool:
        """Whether all files of its backup came into this directory; what was done with them since is another matter."""
        return self.done and self.covers(seen) and seen.control is not None


def judge(seen: Seen, claim: Claim | None, known: str = "") -> Judged:
    """`known`: the system identifier that the estate record names on this host, where it does."""
    if seen.is_nothing:
        return Judged(Answer.EMPTY, "is empty")
    if seen.names == (LOST_FOUND,):
        return Judged(Answer.EMPTY, f"holds {LOST_FOUND} and nothing else")
    if seen.is_unused and seen.system != known:
        unused = "holds a cluster that nobody has used since initdb"
        if seen.strangers:
            return Judged(Answer.OTHER, f"{unused}, and beside it {', '.join(seen.strangers)}")
        return Judged(Answer.EMPTY, unused)
    if claim is None or not claim.covers(seen):
        return Judged(Answer.OTHER, f"holds {seen}")
    restore = f"the restore of {claim.label or 'the newest backup'}"
    # Of one that came to its end, or was started, a control file that is gone now is a loss, and no beginning.
    begun = not (claim.done or claim.started or seen.has_old_label)
    if seen.control is None and not seen.trouble and begun:
        return Judged(Answer.UNFINISHED, f"holds {restore}, cut short")
    # PostgreSQL renames backup_label at its very first start, and no backup has what it is renamed to.
    if seen.has_label and not seen.has_old_label and seen.state == "in production":
        return Judged(Answer.UNFINISHED, f"holds {restore}, never started")
    if seen.in_recovery and seen.timeline <= claim.timeline and 0 < seen.reaches <= claim.end:
        return Judged(Answer.UNFINISHED, f"holds {restore}, started, with nothing that is not in the archive")
    return Judged(Answer.OTHER, f"holds {seen}, which is not what {restore} brought")


@dataclass(frozen=True)
class Successor:
    """The primary that lives: its system, its timeline, and how far it had written, where that is known.

    What it left behind may be rebuilt from it in place.
    """

    system: str
    timeline: int
    at: int = 0

    def has_left(self, seen: Seen) -> bool:
        """Whether the directory is of an older timeline of that system, or of a standby of it that is not ahead."""
        if seen.control is None or not self.system or seen.system != self.system:
            return False
        if seen.timeline == self.timeline:
            # A primary that came back from a snapshot is behind its own standby, which alone has what was acknowledged.
            return seen.in_recovery and not (self.at and seen.has_been_at > self.at)
        return seen.timeline < self.timeline


def read_claim(path: Path) -> Claim | None:
    """None where there is none, and for one that cannot be read."""
    try:
        said = json.loads(path.read_text())
        return Claim(**{name.name: said.get(name.name, name.default) for name in fields(Claim)})
    except (OSError, ValueError, AttributeError, TypeError):
        return None


def write_claim(path: Path, claim: Claim) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, json.dumps(asdict(claim)) + "\n", 0o644)


def as_json(seen: Seen, judged: Judged) -> dict[str, Any]:
    """For whoever asks from elsewhere."""
    return {
        "answer": judged.answer.value, "why": judged.why, "system": seen.system, "timeline": seen.timeline,
        "state": seen.state, "mounted": seen.mounted, "unmounted": seen.unmounted, "worker": seen.worker,
        "wal": seen.wal, "tablespaces": dict(seen.tablespaces),
    }  # fmt: skip
