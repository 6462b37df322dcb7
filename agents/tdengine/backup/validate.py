"""Hold TDengine's tables against a backup, and its rows against what no writer of ours makes. Writes nothing.

    python3 -m agents.tdengine.backup.validate [--label L] [--into DATABASE] [--tables A,B] [--symbols S,T]
        [--from TIME] [--to TIME]
                                  [--rows]

Every row of the backup must be there; one with other content was corrected since and is counted. With --rows also: no
event is there twice, no time lies in the future, no value is missing in the columns named on standard input as
{supertable: [column]}. Prints one JSON object with a sentence. Exit 0 all of it holds, 1 not, 2 this cannot be asked.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from agents.base.errors import run
from agents.tdengine.backup import schema, selection
from agents.tdengine.backup import settings as td_settings
from agents.tdengine.backup.block import Array, decode
from agents.tdengine.backup.raw import RawSession
from agents.tdengine.backup.restore import Request, compare
from agents.tdengine.spans import in_hours
from agents.tdengine.sql import identifier

AT_ONCE = 8_000_000  # event ids in memory
AHEAD_NS = 86_400 * 10**9  # a clock may be wrong, by less than a day


def validate(settings: td_settings.Settings, request: Request, required: dict[str, list[str]] | None) -> dict[str, Any]:
    """What is printed. Raises AgentError."""
    began = time.monotonic()
    manifest, done, tables = compare(settings, request)
    flaws: list[str] = []
    if required is not None and done.there:
        with RawSession(settings.server()) as session:
            shapes = schema.tables(session, done.into)
            for name in sorted(shapes.keys() & tables.keys()):
                flaws += _flaws(session, done.into, name, shapes[name], required.get(name, []))
    lost, other = sum(one.missing for one in tables.values()), sum(one.other for one in tables.values())
    if lost:
        where = f"{done.into}, in {in_hours(len(done.missing))}"
        sentence = f"{lost:,} of {done.rows_planned:,} rows of {done.label} are NOT in {where}"
    else:
        sentence = f"all {done.rows_planned:,} rows of {done.label} are in {done.into}"
    sentence += f", {other:,} of them with other content" if other else ""
    sentence += f", {done.expired:,} older than the database keeps are left out" if done.expired else ""
    sentence += "".join(f"; {name} is not in the backup: {why}" for name, why in done.left_out.items())
    return {
        "label": done.label, "database": done.into, "there": done.there, "windows": done.windows,
        "started_at": manifest.started_at, "tables": {name: asdict(one) for name, one in tables.items()},
        "missing": done.missing, "expired": done.expired, "left_out": done.left_out, "flaws": flaws,
        "seconds": round(time.monotonic() - began, 3), "sentence": "; ".join((sentence, *flaws)),
    }  # fmt: skip


def _flaws(session: RawSession, database: str, name: str, shape: dict[str, Any], required: list[str]) -> Iterator[str]:
    """Sentences about rows of this supertable that should not be there."""
    columns = [column for column, *_ in shape["columns"]]
    counted = [column for column in required if column in columns]
    selected, of = "".join(f", COUNT({identifier(column)})" for column in counted), _of(database, name)
    (rows, *filled), *_ = session.rows(f"SELECT COUNT(*){selected} FROM {of}") or [(0,) * 99]
    for column, full in zip(counted, filled, strict=False):
        if int(full) != int(rows):
            yield f"{int(rows) - int(full):,} rows of {name} have no {column}"
    ahead = time.time_ns() + AHEAD_NS
    (late,), *_ = session.rows(f"SELECT COUNT(*) FROM {of} WHERE _rowts > {ahead}") or [(0,)]
    if late:
        yield f"{int(late):,} rows of {name} are more than a day ahead of the clock"
    if any(column == "event_id" and kind == "BIGINT" for column, kind, _ in shape["columns"]):
        twice = _twice(session, database, name, int(rows))
        if twice:
            yield f"{twice:,} rows of {name} are there a second time, under another key"


def _twice(session: RawSession, database: str, name: str, rows: int) -> int:
    """How many rows have the event id of another one. In as many passes as memory asks for."""
    passes = max(1, -(-rows // AT_ONCE))
    found = 0
    for part in range(passes):
        where = f" WHERE event_id % {passes} = {part}" if passes > 1 else ""
        ids = _ids(session, f"SELECT event_id FROM {_of(database, name)}{where}")
        ids.sort()
        found += int((ids[1:] == ids[:-1]).sum())
    return found


def _of(database: str, name: str) -> str:
    return f"{identifier(database)}.{identifier(name)}"


def _ids(session: RawSession, sql: str) -> Array:
    parts = []
    for raw in session.blocks(sql):
        block = decode(raw)
        parts.append(block.words(0)[~block.columns[0].nulls])
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="agents.tdengine.backup.validate", description="Hold TDengine against a backup."
    )
    selection.add_options(parser)
    parser.add_argument("--rows", action="store_true", help="look at the rows themselves too")
    parser.add_argument("--config", type=Path, default=td_settings.PATH)
    options = parser.parse_args(arguments)
    required = json.loads(sys.stdin.read() or "{}") if options.rows else None
    request = Request(options.label, options.into, selection.chosen(options))
    said = validate(td_settings.load(options.config), request, required)
    print(json.dumps(said), flush=True)
    return 1 if said["missing"] or said["flaws"] else 0


if __name__ == "__main__":
    sys.exit(run(main))
