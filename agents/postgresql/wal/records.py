"""What the archived WAL says: its records, one segment at a time, and the commits around a position.

Runs on the backup host as postgres and prints one JSON object:

    python3 -m agents.postgresql.wal.records --timeline 2 --lsn 0/5000148 [--before 3] [--after 3]
    {"before": [{"lsn": "0/5000100", "xid": 743, "at": "2026-11-21T06:22:03.123456+00:00"}, ...], "after": [...]}

`--timeline` is the one that recovery would follow; its ancestors' WAL is read as far as it leads there. `before` are
commits whose record begins before the LSN, the newest last. One segment after the other is unpacked and thrown away.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from agents.base.errors import AgentError, run
from agents.postgresql.wal.archive import Repository, look
from agents.postgresql.wal.archive_map import as_lsn, lsn, name, number
from agents.postgresql.wal.files import SegmentDamaged, SegmentMissing, fetch

MOST_SEGMENTS = 64  # further than this nobody looks for the next commit
_BEYOND = 1 << 16  # a record may end in the next segment
_RECORD = re.compile(r"rmgr: (\w+) .*?tx:\s*(\d+), lsn: ([0-9A-F]+/[0-9A-F]+), .*?desc: (\w+) ?(.*)")
_PREPARED = re.compile(r"(\d+): ")
_AT = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)")


@dataclass(frozen=True)
class Record:
    """The end of a transaction, or a restore point (`text` is its name). `at` is UTC, ISO 8601."""

    position: int
    xid: int
    what: str
    text: str

    @property
    def transaction(self) -> int:
        """The one that it ends: the record itself is written by whoever ends a prepared one."""
        prepared = _PREPARED.match(self.text) if self.what.endswith("_PREPARED") else None
        return int(prepared[1]) if prepared else self.xid

    @property
    def at(self) -> str | None:
        match = _AT.search(self.text)
        if match is None:
            return None
        return f"{datetime.fromisoformat(f'{match[1]}T{match[2]}').isoformat(timespec='microseconds')}+00:00"

    def told(self) -> dict[str, Any]:
        return {"lsn": as_lsn(self.position), "xid": self.transaction, "at": self.at}


@dataclass
class Wal:
    """The segments that lead to the end of one timeline, unpacked on demand."""

    repository: Repository
    timeline: int
    scratch: Path
    seen: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.seen = self.seen or look(self.repository)
        self.size = int(self.seen["segment_bytes"])
        ancestors = self.seen["histories"].get(str(self.timeline), [])
        self.left = {int(parent): lsn(at) // self.size for parent, at in ancestors}
        lines = {line["timeline"]: line for line in self.seen["timelines"]}
        ends = [number(lines[self.timeline]["runs"][-1]["last"], self.size)[1]] if lines.get(self.timeline) else []
        self.last = max([*ends, *(at - 1 for at in self.left.values())], default=0)
        starts = [number(one["start"], self.size)[1] for one in self.seen["backups"]]
        self.first = min(starts, default=self.last)
        version = str(self.seen["archive_id"]).partition("-")[0]
        self.program = f"/usr/lib/postgresql/{version}/bin/pg_waldump"
        if not Path(self.program).exists():
            raise AgentError(f"{self.program} is not installed here.", "./dr deploy installs it on the backup host.")

    def owner(self, segment: int) -> int:
        """The timeline whose file recovery takes for this segment."""
        return next((parent for parent, end in sorted(self.left.items()) if segment < end), self.timeline)

    def path(self, segment: int) -> Path | None:
        """Unpacked under a name of our timeline, as pg_waldump follows one only; None when it is not archived."""
        target = self.scratch / name(self.timeline, segment, self.size)
        if not target.exists():
            if segment > self.last:
                return None
            stored = name(self.owner(segment), segment, self.size)
            try:
                fetch(self.repository, str(self.seen["archive_id"]), stored, target)
            except SegmentMissing:
                return None
            except AgentError:
                target.unlink(missing_ok=True)
                raise
        return target

    def after(self, segment: int) -> Path | None:
        """The next one, in which a record of this one may end; None also where it is damaged."""
        try:
            return self.path(segment + 1)
        except SegmentDamaged:
            return None

    def records(self, segment: int, *filters: str, having: tuple[str, ...] = ()) -> Iterator[Record]:
        """Records that begin in this segment, only lines with one of the words `having`. Raises SegmentMissing."""
        path = self.path(segment)
        if path is None:
            raise SegmentMissing(f"WAL segment {name(self.owner(segment), segment, self.size)} is not archived.")
        begin, end = segment * self.size, (segment + 1) * self.size
        # pg_waldump waits for five seconds where a file is not there, so it is not asked to look behind the last one.
        read_to = end + _BEYOND if self.after(segment) else end
        done = subprocess.run(
            [self.program, f"--path={self.scratch}", f"--timeline={self.timeline}", f"--start={as_lsn(begin)}",
             f"--end={as_lsn(read_to)}", *filters],
            capture_output=True, encoding="utf-8", errors="replace", check=False, cwd="/",
            env={**os.environ, "TZ": "UTC", "LC_ALL": "C"},
        )  # fmt: skip
        for line in done.stdout.split("\n"):
            match = _RECORD.search(line) if not having or any(word in line for word in having) else None
            if match and begin <= (at := lsn(match[3])) < end:
                yield Record(at, int(match[2]), match[4], match[5])

    def drop(self, segment: int) -> None:
        (self.scratch / name(self.timeline, segment, self.size)).unlink(missing_ok=True)

    def commits(self, segment: int) -> list[Record]:
        """Only those of transactions that had changed something; others leave none."""
        found = self.records(segment, "--rmgr=Transaction")
        return [record for record in found if record.what in ("COMMIT", "COMMIT_PREPARED")]


def around(wal: Wal, position: int, before: int, after: int) -> dict[str, Any]:
    """Commits next to a position, as many as there are within MOST_SEGMENTS to either side."""
    here = min(position // wal.size, wal.last)
    earlier: list[Record] = []
    for segment in range(here, max(wal.first, here - MOST_SEGMENTS) - 1, -1):
        if before <= len(earlier):
            break
        found = [record for record in _commits(wal, segment) if record.position < position]
        earlier = [*found, *earlier]
        wal.drop(segment + 1)
    for path in wal.scratch.iterdir():
        path.unlink()
    later: list[Record] = []
    for segment in range(here, min(wal.last, here + MOST_SEGMENTS) + 1):
        if after <= len(later):
            break
        later += [record for record in _commits(wal, segment) if record.position >= position]
        wal.drop(segment)
    return {
        "before": [record.told() for record in earlier[-before:]] if before else [],
        "after": [record.told() for record in later[:after]],
    }


def _commits(wal: Wal, segment: int) -> list[Record]:
    try:
        return wal.commits(segment)
    except SegmentMissing:
        return []


def options(parser: argparse.ArgumentParser) -> None:
    """What every question to the archived WAL says of where it is."""
    parser.add_argument("--timeline", type=int, required=True)
    parser.add_argument("--stanza", default=Repository.stanza)
    parser.add_argument("--repo", type=int, default=Repository.number)
    parser.add_argument("--config", default=Repository.config)


@contextmanager
def opened(said: argparse.Namespace) -> Iterator[Wal]:
    """The WAL that these options name. Raises AgentError."""
    with tempfile.TemporaryDirectory(prefix="mystocks-wal-") as scratch:
        wal = Wal(Repository(said.stanza, said.repo, said.config), said.timeline, Path(scratch))
        if not wal.seen["archive_id"]:
            raise AgentError("The repository has no archive of this stanza.", "./dr backup.check")
        yield wal


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="agents.postgresql.wal.records", description="Commits around a position, as JSON."
    )
    parser.add_argument("--lsn", required=True)
    parser.add_argument("--before", type=int, default=3)
    parser.add_argument("--after", type=int, default=3)
    options(parser)
    said = parser.parse_args(arguments)
    with opened(said) as wal:
        found = around(wal, lsn(said.lsn), said.before, said.after)
    print(json.dumps(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
