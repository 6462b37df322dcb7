"""Measure restore-table: a hypertable of some million rows is dropped and brought back by `./dr`, as an operator does.

Seconds by step, and the peak memory of our own processes: that of `./dr`, and that of psql and the agents on the
primary's host. PostgreSQL and pgBackRest are not ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inventories.errors import TargetFailed
from runbooks.actions import backup
from runbooks.hosts import Estate, Host
from runbooks.probes import postgres

ROOT = Path(__file__).resolve().parent.parent
TABLE = "order_records"
ROWS = 5_000_000
RUN = 7  # upper half of the event ids: no feed counts so low
TARGET_S, TARGET_MIB = 120.0, 200.0
_FILL = """
INSERT INTO public.order_records
SELECT ({run}::bigint << 32) + i, 'O' || i, timestamptz '2026-01-05 02:00+00' + (i % 30) * interval '1 day'
    + (i / 30) * interval '30 ms', 'ACC' || (i % 100), 'S' || (i % 7), lpad((i % 5000)::text, 6, '0') || '.SH',
  CASE WHEN i % 2 = 0 THEN 'buy' ELSE 'sell' END, 'limit', (10 + (i % 10000) / 100.0)::numeric(18, 4),
  100 * (1 + i % 50), 'filled', NULL
FROM generate_series({first}, {last}) i ON CONFLICT DO NOTHING;
"""
_COUNT = "select count(*) as n from public.order_records"
_SAMPLE = "while sleep 0.5; do ps -C psql,python3 -o rss= | awk '{ sum += $1 } END { print sum + 0 }'; done"


@dataclass(frozen=True)
class Measured:
    """`rows` that came back, seconds of the whole and of each step, MiB at their peak of `./dr` and on the host."""

    rows: int
    seconds: float
    steps: tuple[tuple[str, float], ...]
    operator_mib: float
    host_mib: float

    @property
    def mib(self) -> float:
        return self.operator_mib + self.host_mib


def measure(estate: Estate, say: Callable[[str], None], rows: int = ROWS) -> Measured:
    """Fill the table up to `rows` rows, back it up, drop it, restore it. Raises TargetFailed when that fails."""
    primary = postgres.the_primary(postgres.survey(estate)).host
    database = str(estate.data["database"])
    say(f"filling {TABLE} with {rows} rows")
    _fill(primary, database, rows)
    backup.take(estate.backup, "incr", 1800)
    before = _count(primary, database)
    drop = f"BEGIN; SELECT pg_current_xact_id(); DROP TABLE public.{TABLE}; COMMIT;"
    xid = primary.run("psql -qAtX -d %s", database, user="postgres", stdin=drop, timeout=60).text
    say(f"{TABLE} is dropped by transaction {xid}; restoring it")
    with _memory(primary) as peak:
        said, operator_mib = _restore(estate, xid)
    after = _count(primary, database)
    if after < before:
        raise TargetFailed(f"{TABLE} had {before} rows and has {after} after restore-table")
    steps = tuple((str(step["name"]), float(step["seconds"])) for step in said["steps"])
    return Measured(after, float(said["seconds"]), steps, operator_mib, peak())


def _fill(primary: Host, database: str, rows: int) -> None:
    """In portions, each a transaction: the standby need not wait for one of gigabytes."""
    there, portion = _count(primary, database), 500_000
    for first in range(1, rows - there + 1, portion):
        last = min(first + portion - 1, rows - there)
        primary.execute(_FILL.format(run=RUN, first=there + first, last=there + last), database, timeout=600)


def _count(primary: Host, database: str) -> int:
    return int(primary.query(_COUNT, database, timeout=300)[0]["n"])


def _restore(estate: Estate, xid: str) -> tuple[dict[str, Any], float]:
    """What `./dr restore-table --json` said, and the most MiB that it had in memory."""
    words = ["restore-table", "--tables", TABLE, "--to-xid", xid, "--replace", "--yes", "--json"]
    words += ["--inventory", estate.inventory]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tasks.main", *words], cwd=ROOT, stdout=out, stderr=errors, stdin=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        errors.seek(0)
        if process.returncode:
            raise TargetFailed(f"restore-table ended with {process.returncode}: {errors.read().strip()[-500:]}")
        return json.load(out), usage.ru_maxrss / 1024


@contextmanager
def _memory(host: Host) -> Iterator[Callable[[], float]]:
    """Sample psql and the agents on a host while the block runs; afterwards the peak of their sum in MiB."""
    sampler = host.start(_SAMPLE)
    assert sampler.stdout
    samples: list[int] = []
    try:
        yield lambda: max(samples, default=0) / 1024
    finally:
        sampler.terminate()
        samples += [int(line) for line in sampler.stdout.read().split()]
        sampler.wait()
