"""Where in the archived WAL a restore point or the end of a transaction lies: every place, the newest first.

Runs on the backup host as postgres and prints one JSON object:

    python3 -m agents.postgresql.wal.places --timeline 2 --name NAME [--patience 60]
    python3 -m agents.postgresql.wal.places --timeline 2 --xid N
    {"found": [{"lsn": ..., "timeline": 1, "segment": ..., "what": "COMMIT", "at": ..., "xid": 743}, ...],
     "alike": [...], "searched": 12, "left": 0}

A name may stand twice, and WAL holds 32 of a transaction id's 64 bits: `alike` are transactions of which those are the
same. `left`: segments in which nobody looked, as it would have taken too long or they are damaged.
"""

from __future__ import annotations

import argparse
import json
import re
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from agents.base.errors import AgentError, run
from agents.postgresql.wal import segment as segments
from agents.postgresql.wal.archive_map import as_lsn, name
from agents.postgresql.wal.files import SegmentDamaged, SegmentMissing
from agents.postgresql.wal.records import Record, Wal, opened, options

_HALF, _WHOLE = 1 << 31, 1 << 32
_NEXT = re.compile(r"\bxid (\d+):(\d+);")
_SUBXACTS = re.compile(r"\bsubxacts:((?: \d+)+)")
_POINT = struct.Struct("<24xBBq64s")  # the record's header, its only block's, time and name
_EPOCH = datetime(2000, 1, 1, tzinfo=timezone.utc)


def named(wal: Wal, text: str, patience: float) -> dict[str, Any]:
    """Every restore point of this name. Once one is found the rest is looked through for `patience` seconds only."""
    until = time.monotonic() + patience
    found: list[dict[str, Any]] = []
    searched = 0
    for segment in range(wal.last, wal.first - 1, -1):
        if found and time.monotonic() > until:
            break
        with suppress(SegmentDamaged):
            found += reversed(list(_points(wal, segment, text)))
            searched += 1
        wal.drop(segment + 1)
    return {"found": found, "alike": [], "searched": searched, "left": wal.last + 1 - wal.first - searched}


def _points(wal: Wal, segment: int, text: str) -> Iterator[dict[str, Any]]:
    """Restore points of this name in one segment. Most segments hold none: their bytes are looked through first."""
    path = wal.path(segment)
    if path is None or not segments.holds(path.read_bytes() + _head(wal.after(segment)), text.encode()):
        return
    for record in wal.records(segment, "--rmgr=XLOG"):
        if record.what != "RESTORE_POINT":
            continue
        at, own = _read(wal, segment, record)
        if own == text:
            yield {**_told(wal, segment, record), "at": at}


def _head(path: Path | None) -> bytes:
    """The first page of a segment, in which a record of the one before may end."""
    if path is None:
        return b""
    with path.open("rb") as file:
        return file.read(segments.PAGE)


def _read(wal: Wal, segment: int, record: Record) -> tuple[str, str]:
    """Time and name of a restore point. pg_waldump tells no time, and leaves no doubt where a name holds a blank."""
    content = [path.read_bytes() for path in (wal.path(segment), wal.after(segment)) if path]
    raw = segments.record(b"".join(content), record.position - segment * wal.size, _POINT.size)
    if len(raw) < _POINT.size:
        return "", record.text.strip()
    _, _, micros, text = _POINT.unpack(raw)
    at = _EPOCH + timedelta(microseconds=micros)
    return at.isoformat(timespec="microseconds"), text.partition(b"\0")[0].decode(errors="replace")


def ended(wal: Wal, xid: int) -> dict[str, Any]:
    """Where this transaction ended. `alike`: others whose 32 bits in the WAL are the same.

    WAL tells the whole of the next transaction's id at every checkpoint, and none is two thousand million away from it.
    """
    low, known = xid % _WHOLE, None
    alike: list[dict[str, Any]] = []
    waiting: list[dict[str, Any]] = []  # met before any checkpoint was
    searched = left = 0
    for segment in range(wal.last, wal.first - 1, -1):
        try:
            records = _records(wal, segment, low)
            searched += 1
        except SegmentDamaged:
            records, left = [], left + 1
        checkpoints = [whole for record in records if (whole := _next(record)) is not None]
        known = checkpoints[-1] if checkpoints else known
        waiting += [_told(wal, segment, record) for record in reversed(records) if _ends(record, low)]
        for place in waiting if known is not None else ():
            whole = _nearest(known, low)
            if whole == xid:
                return {"found": [{**place, "xid": xid}], "alike": alike, "searched": searched, "left": left}
            alike.append({**place, "xid": whole})
        if known is not None:
            waiting = []
        wal.drop(segment + 1)
    if waiting:
        raise AgentError(
            f"The archive holds a transaction {low}, and no checkpoint that would tell its other 32 bits.",
            f"Name the position instead: {waiting[0]['lsn']}.",
        )
    return {"found": [], "alike": alike, "searched": searched, "left": left}


def _records(wal: Wal, segment: int, low: int) -> list[Record]:
    """Of one segment those that may end this transaction, and checkpoints; a segment that is missing is passed over."""
    try:
        return list(wal.records(segment, "--rmgr=Transaction", "--rmgr=XLOG", having=(str(low), "CHECKPOINT_")))
    except SegmentMissing:
        return []


def _next(record: Record) -> int | None:
    """The id of the next transaction, all 64 bits, as a checkpoint has it."""
    match = _NEXT.search(record.text) if record.what.startswith("CHECKPOINT_") else None
    return (int(match[1]) << 32) + int(match[2]) if match else None


def _nearest(known: int | None, low: int) -> int:
    """Of the ids with these lower 32 bits the one nearest to a known one."""
    assert known is not None
    whole = known - known % _WHOLE + low
    if whole - known > _HALF and whole >= _WHOLE:
        return whole - _WHOLE
    return whole + _WHOLE if known - whole > _HALF else whole


def _ends(record: Record, low: int) -> bool:
    """Whether it ends this transaction, or the one that it was a part of (a savepoint, a block with EXCEPTION)."""
    if record.what not in ("COMMIT", "ABORT", "COMMIT_PREPARED", "ABORT_PREPARED"):
        return False
    parts = _SUBXACTS.search(record.text)
    return record.transaction == low or (parts is not None and str(low) in parts[1].split())


def _told(wal: Wal, segment: int, record: Record) -> dict[str, Any]:
    owner = wal.owner(segment)
    return {
        "lsn": as_lsn(record.position), "timeline": owner, "segment": name(owner, segment, wal.size),
        "what": record.what, "at": record.at or "", "xid": record.transaction,
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="agents.postgresql.wal.places", description="Where a restore point or a transaction's end lies, as JSON."
    )
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--name", default="")
    wanted.add_argument("--xid", type=int, default=0)
    parser.add_argument("--patience", type=float, default=60.0, help="seconds to look for a second one of the name")
    options(parser)
    said = parser.parse_args(arguments)
    with opened(said) as wal:
        found = named(wal, said.name, said.patience) if said.name else ended(wal, said.xid)
    print(json.dumps(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
