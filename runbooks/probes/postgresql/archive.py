"""What the repository's archive holds, where it has gaps, how far each backup leads, and what its WAL says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from inventories.errors import TargetFailed
from runbooks.hosts import Host
from runbooks.probes.postgresql.server import as_lsn, lsn

_ARCHIVE = "cd /opt/mystocks-dr && exec python3 -m agents.postgresql.wal.archive --stanza %s --repo %s"
_COMMITS = (
    "cd /opt/mystocks-dr && exec python3 -m agents.postgresql.wal.records "
    "--stanza %s --repo %s --timeline %s --lsn %s "
    "--before %s --after %s"
)
_PLACES = (
    "cd /opt/mystocks-dr && exec python3 -m agents.postgresql.wal.places "
    "--stanza %s --repo %s --timeline %s --patience %s --{}=%s"
)
LOOK_S = 120.0
_SEARCH_SHARE = 0.5  # of the time there is, to look for a second restore point of a name


@dataclass(frozen=True)
class Gap:
    """Segments `first` to `last` (names) of a timeline that are not there, although something needs them."""

    timeline: int
    first: str
    last: str
    segments: int

    def __str__(self) -> str:
        if self.segments == 1:
            return f"WAL segment {self.first} of timeline {self.timeline} is missing"
        return f"{self.segments} WAL segments of timeline {self.timeline} are missing, {self.first} to {self.last}"


@dataclass(frozen=True)
class Line:
    """What the archive holds of one timeline: segments, bytes, the oldest and the newest one and when that arrived
    (unix seconds); `twice` are segments that it holds with two contents.
    """

    timeline: int
    segments: int
    bytes: int
    first: str
    last: str
    last_at: int
    twice: tuple[str, ...]


@dataclass(frozen=True)
class Reach:
    """How far the WAL is whole: its last segment, that one's end as an LSN, when it arrived (None: nobody noted)."""

    segment: str
    end: int
    at: int | None


@dataclass(frozen=True)
class Covered:
    """One backup and the WAL that it needs, from `start_lsn` to `stop_lsn`, where it is consistent; `reach` is by
    timeline, times are unix seconds.
    """

    label: str
    kind: str
    timeline: int
    stop_lsn: int
    stopped_at: int
    error: bool
    missing: tuple[Gap, ...]
    reach: Mapping[int, Reach]
    start_lsn: int
    started_at: int


@dataclass(frozen=True)
class Archive:
    """Everything that one repository holds of the newest database of a stanza."""

    archive_id: str
    segment_bytes: int
    lines: tuple[Line, ...]
    histories: Mapping[int, tuple[tuple[int, int], ...]]
    backups: tuple[Covered, ...]
    gaps: tuple[Gap, ...]

    def line(self, timeline: int) -> Line | None:
        return next((line for line in self.lines if line.timeline == timeline), None)

    @property
    def newest_timeline(self) -> int:
        """The highest that is known, whether or not a segment of it is there yet."""
        return max([line.timeline for line in self.lines] + list(self.histories), default=0)

    def end(self, timeline: int) -> Reach | None:
        """The newest segment that leads to the end of this timeline; None when nothing of it is archived."""
        line = self.line(timeline)
        if line is not None:
            return Reach(line.last, self._end(line.last), line.last_at)
        parents = [self.end(parent) for parent, _ in reversed(self.histories.get(timeline, ()))]
        return next((parent for parent in parents if parent), None)

    def holds(self, segment: str) -> bool:
        """Whether the archive has come as far as this segment; gaps are told elsewhere."""
        line = self.line(int(segment[:8], 16))
        return line is not None and line.first <= segment <= line.last

    def _end(self, segment: str) -> int:
        return (int(segment[8:16], 16) << 32) + (int(segment[16:24], 16) + 1) * self.segment_bytes


@dataclass(frozen=True)
class Commit:
    """One commit record: where it begins, its transaction, and when it was, by the clock of its server."""

    lsn: int
    xid: int
    at: datetime

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S.%f+00} transaction {self.xid} at {as_lsn(self.lsn)}"


@dataclass(frozen=True)
class Neighbours:
    """Commits next to a position, both in the order in which they happened."""

    before: tuple[Commit, ...]
    after: tuple[Commit, ...]


@dataclass(frozen=True)
class Place:
    """Where a restore point (`what` RESTORE_POINT) or the end of a transaction (COMMIT, ABORT) lies, and when it was
    written, by the clock of its server; `xid` has all 64 bits.
    """

    lsn: int
    timeline: int
    segment: str
    what: str
    at: datetime | None
    xid: int

    def __str__(self) -> str:
        return f"LSN {as_lsn(self.lsn)}{f' of {self.at:%Y-%m-%d %H:%M:%S.%f+00}' if self.at else ''}"


@dataclass(frozen=True)
class Places:
    """Newest first. `alike`: transactions whose ids end in the same 32 bits, which is all that WAL holds of them.
    `left`: segments in which nobody looked: older ones than the first that was found, or damaged ones.
    """

    found: tuple[Place, ...]
    alike: tuple[Place, ...]
    left: int


def look(host: Host, stanza: str, repository: int = 1, timeout: float = LOOK_S) -> Archive:
    """Ask the agent on the backup host. Raises DrError."""
    return parse(host.run(_ARCHIVE, stanza, repository, user="postgres", timeout=timeout).json())


def around(
    host: Host, stanza: str, timeline: int, position: int, before: int = 3, after: int = 3, repository: int = 1,
    timeout: float = LOOK_S,
) -> Neighbours:  # fmt: skip
    """Commits around a position on the way to the end of this timeline, as far as it is archived. Raises DrError."""
    words = (stanza, repository, timeline, as_lsn(position), before, after)
    said = host.run(_COMMITS, *words, user="postgres", timeout=timeout).json()
    return Neighbours(tuple(map(_commit, said["before"])), tuple(map(_commit, said["after"])))


def places(
    host: Host, stanza: str, timeline: int, *, name: str = "", xid: int = 0, repository: int = 1, timeout: float
) -> Places:
    """Where restore points of a name, or the end of a transaction, lie in the WAL that leads to a timeline's end."""
    option, value = ("name", name) if name else ("xid", str(xid))
    words = (stanza, repository, timeline, f"{timeout * _SEARCH_SHARE:.0f}", value)
    said = host.run(_PLACES.format(option), *words, user="postgres", timeout=timeout).json()
    try:
        return Places(tuple(map(_place, said["found"])), tuple(map(_place, said["alike"])), said["left"])
    except (KeyError, TypeError, ValueError) as error:
        raise TargetFailed(f"no places in the WAL: {error!r}", "./dr deploy brings the agents") from error


def parse(said: dict[str, Any]) -> Archive:
    """The agent's JSON. Raises TargetFailed when it is something else."""
    try:
        return Archive(
            archive_id=said["archive_id"],
            segment_bytes=said["segment_bytes"],
            lines=tuple(_line(one) for one in said["timelines"] if one["runs"]),
            histories={
                int(key): tuple((parent, _lsn(left)) for parent, left in value)
                for key, value in said["histories"].items()
            },
            backups=tuple(_covered(one, said["segment_bytes"]) for one in said["backups"]),
            gaps=tuple(Gap(**one) for one in said["gaps"]),
        )
    except (KeyError, TypeError) as error:
        raise TargetFailed(f"no description of an archive: {error!r}", "./dr deploy brings the agents") from error


def _line(said: dict[str, Any]) -> Line:
    first, last = said["runs"][0], said["runs"][-1]
    return Line(
        timeline=said["timeline"], segments=said["segments"], bytes=said["bytes"], first=first["first"],
        last=last["last"], last_at=last["last_at"], twice=tuple(said["twice"]),
    )  # fmt: skip


def _covered(said: dict[str, Any], size: int) -> Covered:
    def reach(segment: str, at: int | None) -> Reach:
        end = (int(segment[8:16], 16) << 32) + (int(segment[16:24], 16) + 1) * size
        return Reach(segment, end, at)

    return Covered(
        label=said["label"], kind=said["kind"], timeline=said["timeline"], stop_lsn=_lsn(said["stop_lsn"]),
        stopped_at=said["stopped_at"], error=said["error"], missing=tuple(Gap(**one) for one in said["missing"]),
        reach={int(key): reach(*value) for key, value in said["reach"].items()},
        start_lsn=_lsn(said["start_lsn"]), started_at=said["started_at"],
    )  # fmt: skip


def _commit(said: dict[str, Any]) -> Commit:
    return Commit(_lsn(said["lsn"]), said["xid"], datetime.fromisoformat(said["at"]))


def _place(said: dict[str, Any]) -> Place:
    at = datetime.fromisoformat(said["at"]) if said["at"] else None
    return Place(_lsn(said["lsn"]), said["timeline"], said["segment"], said["what"], at, said["xid"])


def _lsn(text: str) -> int:
    position = lsn(text)
    assert position is not None
    return position


def stored(host: Host, stanza: str, archive_id: str, segment: str) -> bool:
    """Whether the repository holds this one segment; cheap enough to be asked again and again.

    One that is still being written there has a longer name, and is no segment yet.
    """
    folder = f"archive/{stanza}/{archive_id}/{segment[:16]}"
    said = host.run(
        "pgbackrest repo-ls --output=json --filter=%s %s", f"^{segment}-[0-9a-f]{{40}}([.][a-z0-9]+)?$", folder,
        user="postgres",
    ).json()  # fmt: skip
    return any(name != "." for name in said)
