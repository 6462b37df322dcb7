"""Which WAL segments an archive holds, kept as runs, and what is missing between them.

A timeline's history says where it left its parent, so that the WAL from a backup to the newest segment is a chain of
pieces, one a timeline. A gap is a piece of some chain that is not there; before the oldest backup nothing is missing,
because nothing needs it. Memory grows with the number of gaps, not with the number of segments.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

SEGMENT_BYTES = 16 << 20
_SEGMENT = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})")


@dataclass(frozen=True)
class Piece:
    """Segments `first` to `last` (numbers, both included) of one timeline."""

    timeline: int
    first: int
    last: int

    @property
    def segments(self) -> int:
        return self.last - self.first + 1


@dataclass
class Run:
    """Segments without a hole between them; times are unix seconds at which the repository got first and last."""

    first: int
    last: int
    first_at: int
    last_at: int


@dataclass
class Timeline:
    """What the archive holds of one timeline. `partial`: the unfinished end of one that was left by a promotion."""

    number: int
    runs: list[Run] = field(default_factory=list)
    segments: int = 0
    bytes: int = 0
    twice: list[str] = field(default_factory=list)
    partial: list[str] = field(default_factory=list)

    def add(self, segment: int, size: int, at: int, size_bytes: int = SEGMENT_BYTES) -> None:
        """Count one in. pgBackRest lists them in the order of their names; another order costs time only."""
        self.bytes += size
        last = self.newest
        if last is None or segment > last.last + 1:
            self.runs.append(Run(segment, segment, at, at))
        elif segment == last.last + 1:
            last.last, last.last_at = segment, at
        elif any(run.first <= segment <= run.last for run in self.runs):
            self.twice.append(name(self.number, segment, size_bytes))
            return
        else:
            self._insert(Run(segment, segment, at, at))
        self.segments += 1

    def _insert(self, new: Run) -> None:
        runs: list[Run] = []
        for run in sorted([*self.runs, new], key=lambda run: run.first):
            if runs and run.first == runs[-1].last + 1:
                runs[-1].last, runs[-1].last_at = run.last, run.last_at
            else:
                runs.append(run)
        self.runs = runs

    @property
    def newest(self) -> Run | None:
        return self.runs[-1] if self.runs else None

    def missing(self, first: int, last: int) -> Iterator[Piece]:
        """What of these segments is not there."""
        wanted = first
        for run in self.runs:
            if run.last < wanted:
                continue
            if run.first > last:
                break
            if run.first > wanted:
                yield Piece(self.number, wanted, run.first - 1)
            wanted = run.last + 1
        if wanted <= last:
            yield Piece(self.number, wanted, last)


@dataclass(frozen=True)
class Base:
    """What a backup needs: WAL segments `start` to `stop` of its timeline; consistent at LSN `stop_lsn`."""

    label: str
    timeline: int
    start: int
    stop: int
    stop_lsn: int


@dataclass
class Archive:
    """Timelines by number; for each that has a history, its ancestors as (timeline, LSN at which it was left)."""

    timelines: dict[int, Timeline] = field(default_factory=dict)
    histories: dict[int, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    segment_bytes: int = SEGMENT_BYTES

    def timeline(self, number: int) -> Timeline:
        return self.timelines.setdefault(number, Timeline(number))

    def chain(self, number: int) -> tuple[Piece, ...]:
        """The pieces of WAL that lead to the newest archived segment of this timeline, from the first segment on.

        A timeline begins with the segment in which it left its parent: that one it holds as a whole.
        """
        pieces, begins = [], 0
        for parent, left_at in self.histories.get(number, ()):
            ends = left_at // self.segment_bytes
            pieces.append(Piece(parent, begins, ends - 1))
            begins = ends
        newest = self.timelines[number].newest if number in self.timelines else None
        if newest:
            pieces.append(Piece(number, begins, newest.last))
        return tuple(piece for piece in pieces if piece.first <= piece.last)

    def leads(self, base: Base, number: int) -> bool:
        """Whether recovery from this backup can reach that timeline: it ended before its own one was left."""
        if base.timeline == number:
            return True
        left = dict(self.histories.get(number, ()))
        return base.timeline in left and base.stop_lsn <= left[base.timeline]

    def wanted(self, base: Base, number: int) -> Iterator[Piece]:
        """The chain to that timeline from the backup's first segment on."""
        for piece in self.chain(number):
            if piece.last >= base.start:
                yield Piece(piece.timeline, max(piece.first, base.start), piece.last)

    def missing_of(self, base: Base) -> tuple[Piece, ...]:
        """Segments without which the backup itself is not consistent."""
        return tuple(self._there(base.timeline).missing(base.start, base.stop))

    def reach(self, base: Base, number: int) -> Piece | None:
        """The last piece that recovery from the backup gets through on the way to that timeline; None: not even to
        where the backup is consistent."""
        if self.missing_of(base) or not self.leads(base, number):
            return None
        reached = None
        for piece in self.wanted(base, number):
            hole = next(self._there(piece.timeline).missing(piece.first, piece.last), None)
            if hole is None:
                reached = piece
            else:
                return Piece(piece.timeline, piece.first, hole.first - 1) if hole.first > piece.first else reached
        return reached

    def gaps(self, bases: Iterable[Base]) -> tuple[Piece, ...]:
        """Every piece that is missing: inside a timeline, at a fork, or of what a backup needs."""
        bases = tuple(bases)
        found = {gap for line in self.timelines.values() if line.runs for gap in self._inside(line, bases)}
        for base in bases:
            found.update(self.missing_of(base))
            for number in {*self.timelines, *self.histories}:
                if self.leads(base, number):
                    for piece in self.wanted(base, number):
                        found.update(self._there(piece.timeline).missing(piece.first, piece.last))
        return _largest(found)

    def _inside(self, line: Timeline, bases: tuple[Base, ...]) -> Iterator[Piece]:
        """Holes between runs, but for those before everything that a backup needs."""
        needed = min((base.start for base in bases), default=0)
        for piece in line.missing(line.runs[0].first, line.runs[-1].last):
            if piece.last >= needed:
                yield piece

    def _there(self, number: int) -> Timeline:
        return self.timelines.get(number) or Timeline(number)


def _largest(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    """Sorted, those that touch or overlap joined."""
    joined: list[Piece] = []
    for piece in sorted(pieces, key=lambda piece: (piece.timeline, piece.first, piece.last)):
        last = joined[-1] if joined else None
        if last and last.timeline == piece.timeline and piece.first <= last.last + 1:
            joined[-1] = Piece(last.timeline, last.first, max(last.last, piece.last))
        else:
            joined.append(piece)
    return tuple(joined)


def name(timeline: int, segment: int, size_bytes: int = SEGMENT_BYTES) -> str:
    """The segment's file name."""
    per_file = (1 << 32) // size_bytes
    return f"{timeline:08X}{segment // per_file:08X}{segment % per_file:08X}"


def number(segment: str, size_bytes: int = SEGMENT_BYTES) -> tuple[int, int]:
    """(timeline, number) of a segment's file name, whatever follows it. Raises ValueError for another file's."""
    match = _SEGMENT.match(segment)
    if match is None:
        raise ValueError(f"{segment!r} names no WAL segment")
    timeline, high, low = (int(part, 16) for part in match.groups())
    return timeline, high * ((1 << 32) // size_bytes) + low


def lsn(text: str) -> int:
    """`0/3000060` as an integer."""
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def as_lsn(position: int) -> str:
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def history(text: str) -> tuple[tuple[int, int], ...]:
    """(timeline, LSN at which it was left) for each ancestor in a history file, the oldest first."""
    rows = (line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return tuple((int(row[0]), lsn(row[1])) for row in rows)


def joined(gaps: Iterable[Piece], size_bytes: int = SEGMENT_BYTES) -> list[Mapping[str, object]]:
    """Gaps as JSON values: timeline, names of first and last segment, how many."""
    return [
        {
            "timeline": gap.timeline,
            "first": name(gap.timeline, gap.first, size_bytes),
            "last": name(gap.timeline, gap.last, size_bytes),
            "segments": gap.segments,
        }
        for gap in gaps
    ]
