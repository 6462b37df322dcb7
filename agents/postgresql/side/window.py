"""Where in the WAL that a delayed standby has still to replay a target lies, and what is locked there.

Runs as postgres on the standby's host and prints one JSON object:

    python3 -m agents.postgresql.side.window --from 0/5000148 --timeline 2 --type time --target "2026-11-21 10:00:00Z"
    {"stop": "0/6000100", "times": 1, "before": {"lsn": ..., "xid": 743, "at": ...}, "after": {...},
     "locks": [{"lsn": ..., "xid": 744, "database": 16384, "relation": 16390, "commits": 0}], "end": "0/60A0000"}

`stop`: recovery stops before the record there; null where the target is not in it, and `times` says how often a restore
point's name is. `before` and `after` are the commits on either side. `locks`: relations that a transaction in flight at
the stop has locked against reading, where it did so, and how many transactions committed between that and the stop.
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.base.errors import AgentError, run
from agents.postgresql import engines, pgbackrest
from agents.postgresql.side import local
from agents.postgresql.side.place import ROOT
from agents.postgresql.side.target import KINDS, Target
from agents.postgresql.wal.archive_map import as_lsn, lsn, name
from agents.postgresql.wal.records import Record

_RECORD = re.compile(r"tx:\s*(\d+), lsn: ([0-9A-F]+/[0-9A-F]+), .*?desc: (\w+) ?(.*)")
_LOCK = re.compile(r"xid (\d+) db (\d+) rel (\d+)")
_SUBXACTS = re.compile(r"subxacts:((?: \d+)+)")
_ENDS = ("COMMIT", "COMMIT_PREPARED", "ABORT", "ABORT_PREPARED")
_LOW = 1 << 32
_AT_ONCE = 16  # segments


@dataclass
class Wal:
    """The segments that lead to the end of a timeline, as the standby has them or the archive gives them."""

    data: Path
    version: int
    timeline: int
    scratch: Path
    fetch: Sequence[str] = ()  # the words before `archive-get`; without any nothing is fetched
    have: local.LocalWal = field(init=False)

    def __post_init__(self) -> None:
        self.have = local.look(self.data)
        self.left = {parent: at // self.have.segment_bytes for parent, at in self._ancestors()}

    def records(self, start: int) -> Iterator[Record]:
        """Ends of transactions, restore points and locks from `start` on, in order. Raises AgentError without any WAL.

        A few segments at a time: what is behind the target need not be fetched.
        """
        size = self.have.segment_bytes
        first = number = start // size
        while self._put(number):
            number += 1
            if number - first > _AT_ONCE:  # one more than is told of: a record may end in it
                yield from self._dumped(max(start, first * size), number, (number - 1) * size)
                for one in range(first, number - 1):
                    (self.scratch / name(self.timeline, one, size)).unlink()
                first = number = number - 1
        if number == start // size:
            raise AgentError(f"The standby's WAL from {as_lsn(start)} on is neither here nor in the archive.")
        yield from self._dumped(max(start, first * size), number, number * size)

    def _dumped(self, start: int, behind: int, end: int) -> Iterator[Record]:
        """What begins from `start` on and before `end`, of segments that are there up to the one `behind` them."""
        words = [
            f"/usr/lib/postgresql/{self.version}/bin/pg_waldump", f"--path={self.scratch}",
            f"--timeline={self.timeline}", f"--start={as_lsn(start)}",
            f"--end={as_lsn(behind * self.have.segment_bytes)}",
            "--rmgr=Transaction", "--rmgr=Standby", "--rmgr=XLOG",
        ]  # fmt: skip
        with subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, cwd="/",
            encoding="utf-8", errors="replace", env={**os.environ, "TZ": "UTC", "LC_ALL": "C"},
        ) as dumped:  # fmt: skip
            assert dumped.stdout is not None
            for line in dumped.stdout:
                match = _RECORD.search(line)
                if match and (at := lsn(match[2])) < end:
                    yield Record(at, int(match[1]), match[3], match[4])

    def _put(self, number: int) -> bool:
        """One segment under a name of our timeline, as pg_waldump follows one only; False where nobody has it."""
        size = self.have.segment_bytes
        owner = next((parent for parent, end in sorted(self.left.items()) if number < end), self.timeline)
        stored, target = name(owner, number, size), self.scratch / name(self.timeline, number, size)
        here = self.data / "pg_wal" / stored
        if target.exists():
            return True
        if stored in self.have.whole:
            target.symlink_to(here)
        elif not self._fetched(stored, target):
            if stored not in self.have.begun:
                return False
            target.symlink_to(here)
        return True

    def _ancestors(self) -> Iterator[tuple[int, int]]:
        if self.timeline == 1:
            return
        file = f"{self.timeline:08X}.history"
        path = self.data / "pg_wal" / file
        if file not in self.have.whole:
            path = self.scratch / file
            if not self._fetched(file, path):
                raise AgentError(f"The history of timeline {self.timeline} is neither here nor in the archive.")
        for line in path.read_text().splitlines():
            words = line.split()
            if words and not line.startswith("#"):
                yield int(words[0]), lsn(words[1])

    def _fetched(self, stored: str, target: Path) -> bool:
        if not self.fetch:
            return False
        done = subprocess.run(
            [*self.fetch, "archive-get", stored, str(target)], capture_output=True, stdin=subprocess.DEVNULL, cwd="/",
            check=False,
        )  # fmt: skip
        return done.returncode == 0 and target.exists()


@dataclass(frozen=True)
class Lock:
    """Taken at `position`, when `commits` transactions of those that were looked at had committed."""

    position: int
    xid: int
    database: int
    relation: int
    commits: int


@dataclass
class Found:
    """What was met on the way to the target."""

    stop: int | None = None
    times: int = 0
    before: Record | None = None
    after: Record | None = None
    commits: int = 0
    end: int = 0
    locks: dict[tuple[int, int, int], Lock] = field(default_factory=dict)
    held: tuple[Lock, ...] = ()

    def take(self, record: Record) -> None:
        """One record before the stop."""
        if record.what == "LOCK":
            for xid, database, relation in _LOCK.findall(record.text):
                key = (int(xid), int(database), int(relation))
                self.locks.setdefault(key, Lock(record.position, *key, self.commits))
        elif record.what in _ENDS:
            over = {record.transaction, *_parts(record)}
            self.locks = {key: lock for key, lock in self.locks.items() if key[0] not in over}
            if record.what.startswith("COMMIT"):
                self.before, self.commits = record, self.commits + 1

    def told(self) -> dict[str, Any]:
        return {
            "stop": as_lsn(self.stop) if self.stop is not None else None, "times": self.times,
            "before": self.before and self.before.told(), "after": self.after and self.after.told(),
            "locks": [
                {
                    "lsn": as_lsn(one.position), "xid": one.xid, "database": one.database, "relation": one.relation,
                    "commits": self.commits - one.commits,
                }
                for one in self.held
            ],
            "end": as_lsn(self.end),
        }  # fmt: skip


def find(records: Iterator[Record], target: Target) -> Found:
    """Read on to the first commit behind the target; of a restore point to the end, since its name may stand twice."""
    found = Found()
    for record in records:
        found.end = record.position
        if found.stop is None:
            stop = _stop(record, target)
            if stop is None:
                found.take(record)
                continue
            if stop > record.position:
                found.take(record)
            found.stop, found.times, found.held = stop, 1, tuple(found.locks.values())
            if stop > record.position:
                continue
        elif target.kind == "name" and _is_point(record, target.value):
            found.times += 1
        if found.after is None and record.what.startswith("COMMIT"):
            found.after = record
        if found.after is not None and target.kind != "name":
            break
    return found


def _stop(record: Record, target: Target) -> int | None:
    """Before which position recovery stops because of this record; None where it goes on."""
    behind = record.position + 1
    if target.kind == "lsn":
        at = lsn(target.value)
        if record.position < at:
            return None
        # What lies there may be a record of another kind, and this one, the commit behind it, is not included.
        return at + 1 if target.inclusive else at
    if target.kind == "name":
        return behind if _is_point(record, target.value) else None
    if record.what not in _ENDS:
        return None
    if target.kind == "time":
        wanted = _utc(target.settings()["recovery_target_time"])
        said = (record.at or "").replace("T", " ")
        passed = said > wanted if target.inclusive else said >= wanted
        return record.position if said and passed else None
    if not record.what.startswith("COMMIT"):
        return None  # what was rolled back has changed nothing
    low = int(target.value) % _LOW
    if low != record.transaction and low not in _parts(record):
        return None
    return behind if target.inclusive else record.position


def _utc(text: str) -> str:
    """As Record.at has it."""
    return f"{text.removesuffix('+00')}+00:00"


def _is_point(record: Record, wanted: str) -> bool:
    return record.what == "RESTORE_POINT" and record.text.strip() == wanted


def _parts(record: Record) -> set[int]:
    match = _SUBXACTS.search(record.text)
    return {int(one) for one in match[1].split()} if match else set()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="agents.postgresql.side.window", description="Where a target lies ahead of a delayed standby, as JSON."
    )
    parser.add_argument("--from", dest="start", required=True, help="how far it has replayed")
    parser.add_argument("--timeline", type=int, required=True)
    parser.add_argument("--type", choices=KINDS, required=True)
    parser.add_argument("--target", default="")
    parser.add_argument("--inclusive", action="store_true")
    parser.add_argument("--version", type=int, default=17)
    parser.add_argument("--config", default=str(pgbackrest.CONFIG))
    said = parser.parse_args(arguments)
    data = ROOT / str(said.version) / "main"
    target = Target(said.type, said.target, said.inclusive, str(said.timeline))
    with tempfile.TemporaryDirectory(prefix="mystocks-window-") as scratch:
        repository = engines.PgBackRest(pgbackrest.Repository(Path(said.config), 1)).repository
        fetch = repository.command(f"--pg1-path={data}", f"--lock-path={scratch}", f"--log-path={scratch}")
        wal = Wal(data, said.version, said.timeline, Path(scratch), fetch)
        print(json.dumps(find(wal.records(lsn(said.start)), target).told()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
