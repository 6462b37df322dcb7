"""Fill a supertable with made-up rows, for benchmarks and tests: as fast as the server takes raw blocks.

    python3 -m agents.tdengine.fill --rows N [--table tick_data] [--symbols 200] [--days 30] [--seed 1]
        [--change WINDOWS]

Rows lie evenly over the days before the last whole hour. --change rewrites one row in each of so many hours of what was
filled with the same options, as a late correction does. Prints {"rows", "seconds", "hours"}.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.base.errors import AgentError, run
from agents.tdengine.backup import making, schema
from agents.tdengine.backup import settings as td_settings
from agents.tdengine.backup.block import BIGINT, TIMESTAMP, Array, Block, Column, encode
from agents.tdengine.backup.manifest import HOUR_NS
from agents.tdengine.backup.raw import RawSession
from agents.tdengine.sql import subtable

_BLOCK = 4096
_DOUBLE, _VARCHAR = 7, 8


def fill(session: RawSession, database: str, options: argparse.Namespace) -> dict[str, Any]:
    """Write the rows, or change some of them. Raises AgentError."""
    shapes = schema.tables(session, database)
    if options.table not in shapes:
        raise AgentError(f"There is no supertable {database}.{options.table}.", "Deploy the TDengine nodes.")
    shape = shapes[options.table]
    began = time.monotonic()
    end = int(time.time()) // 3600 * HOUR_NS
    start = end - options.days * 24 * HOUR_NS
    each = options.rows // options.symbols
    step = (end - start) // each
    session.execute(f"USE `{database}`")
    rng = np.random.default_rng(options.seed)
    rows = 0
    changed = _changed(options.change, start, end)
    for symbol in range(options.symbols):
        name = _made(session, database, options.table, shape, symbol)
        for first in range(0, each, _BLOCK):
            number = np.arange(first, min(first + _BLOCK, each), dtype=np.int64)
            ts = start + number * step
            if options.change:
                number, ts = _once_an_hour(number, ts, changed) if symbol == 0 else (number[:0], ts[:0])
            if len(number):
                ids = symbol * each + number + 1
                rows += session.write(name, encode(_block(shape, ts, ids, rng)))
    return {"rows": rows, "seconds": round(time.monotonic() - began, 3), "hours": (end - start) // HOUR_NS}


def _changed(count: int, start: int, end: int) -> Array:
    """The newest hours but one, and older ones for each tenth of them: corrections come late."""
    newest = np.arange(end // HOUR_NS - 1 - count + count // 10, end // HOUR_NS - 1)
    return np.concatenate((newest, np.arange(start // HOUR_NS + 1, start // HOUR_NS + 1 + count // 10)))


def _once_an_hour(number: Array, ts: Array, changed: Array) -> tuple[Array, Array]:
    hour = ts // HOUR_NS
    first = np.concatenate(([True], hour[1:] != hour[:-1])) & np.isin(hour, changed)
    return number[first], ts[first]


def _made(session: RawSession, database: str, table: str, shape: dict[str, Any], symbol: int) -> str:
    values = [str(600000 + symbol), ("SSE", "SZSE")[symbol % 2]]
    name = subtable(table, values)
    tags = ", ".join(making.literal(v, kind) for v, (_, kind) in zip(values, shape["tags"], strict=True))
    session.execute(f"CREATE TABLE IF NOT EXISTS `{database}`.`{name}` USING `{database}`.`{table}` TAGS ({tags})")
    return name


def _block(shape: dict[str, Any], ts: Array, ids: Array, rng: np.random.Generator) -> Block:
    rows = len(ts)
    nulls = np.zeros(rows, bool)
    columns = []
    for at, (name, kind, _) in enumerate(shape["columns"]):
        if at == 0:
            columns.append(Column(TIMESTAMP, 8, nulls, _bytes(ts.astype("<i8"))))
        elif name == "event_id":
            columns.append(Column(BIGINT, 8, nulls, _bytes(ids.astype("<i8"))))
        elif kind == "BIGINT":
            columns.append(Column(BIGINT, 8, nulls, _bytes(rng.integers(1, 21, rows) * 100)))
        elif kind == "DOUBLE":
            columns.append(Column(_DOUBLE, 8, nulls, _bytes(np.round(10 + 5 * rng.random(rows), 2))))
        elif kind.startswith("VARCHAR"):
            width = struct.calcsize("<h") + int(kind[8:-1])
            sides = np.where(rng.random(rows) < 0.5, ord("B"), ord("S")).astype(np.uint8)
            columns.append(Column(_VARCHAR, width, nulls, sides, np.arange(1, rows + 1)))
        else:
            raise AgentError(f"No values are made for {name} of the type {kind}.", "Fill another supertable.")
    return Block(rows, tuple(columns))


def _bytes(values: Array) -> Array:
    return np.ascontiguousarray(values).view(np.uint8).reshape(len(values), 8)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.tdengine.fill", description="Fill a supertable with made-up rows.")
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--table", default="tick_data")
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--change", type=int, default=0, help="hours in which one row changes")
    parser.add_argument("--config", type=Path, default=td_settings.PATH)
    options = parser.parse_args(arguments)
    settings = td_settings.load(options.config)
    with RawSession(settings.server()) as session:
        print(json.dumps(fill(session, settings.database, options)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
