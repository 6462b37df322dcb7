"""Measure TDengine's backups and restores beside its own dump tool, on the same rows in the same run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from drills import gather, prepare
from drills.benches import tdengine_kills as kills
from drills.benches.headline import Bench, Figure
from drills.benches.own_lab import own_lab
from drills.measuring import memory
from inventories.errors import BadInput
from lab.engine import find_engine
from runbooks import hosts
from runbooks.hosts import Estate

Say = Callable[[str], None]
_LIMIT_S = 3600.0
_DAYS = 60
_USER = "postgres"  # who runs the jobs of the backup host
_DUMP = "/var/lib/mystocks-dr/tdengine/.bench-dump"
# The tool as one would use it by hand, with as many threads as named; a folder serves it once.
_TOOL = (
    "cd /tmp; %s; /opt/tdengine/current/bin/taosdump -h %s -u td_backup -p -c /etc/mystocks-dr/taos -T %s %s "
    "</etc/mystocks-dr/tdengine.pass 2>&1 | grep -a 'row(s) dumped'"
)


def bench(lab: str, rows: int, say: Say) -> Bench:
    """In a lab of its own that is removed afterwards. Raises BadInput, Refused."""
    if rows < 1_000_000:
        raise BadInput(f"{rows:,} rows would measure nothing", "--rows 50000000 is the default")
    with own_lab(find_engine(), lab, say):
        prepare.estate(lab, say)
        estate = hosts.load("lab")
        if not estate.group("tdengine"):
            raise BadInput("no TDengine package is named", "TDENGINE_PACKAGE=/path/to/package ./dr bench --tdengine")
        measured = _measured(estate, rows, say)
        # Last, because it adds rows to those that the backups were measured with.
        figures = (*measured, *kills.kills(estate, lab, say), *kills.profiles(estate, say))
        return Bench(figures, gather.versions(estate))


def _measured(estate: Estate, rows: int, say: Say) -> tuple[Figure, ...]:
    found: list[Figure] = []

    def take(*figures: Figure) -> None:
        found.extend(figures)
        for figure in figures:
            say(f"measured: {figure.name}: {figure.median:,.2f} {figure.unit}")

    say(f"writing {rows:,} ticks")
    filled = _agent(estate, f"tdengine.fill --rows {rows} --days {_DAYS}")
    with memory.watched(estate) as peak:
        say("taosdump by hand, out")
        tool = _tool_out(estate, 1)
        say("a full backup")
        full = _agent(estate, "tdengine.backup.rows full")
        ours = full["rows_dumped"] / full["seconds"]
        take(
            Figure("rows in the database", "rows", (filled["rows"],)),
            Figure("taosdump by hand, out, single stream", "rows/s", (rows / tool,)),
            Figure("full backup, encrypted and read again", "rows/s", (ours,)),
            Figure("of taosdump's rate", "times", (ours * tool / rows,), 1.33, at_least=True),
            Figure("size of the backup", "MiB", (full["bytes"] / 2**20,)),
        )
        hours = max(1, filled["hours"] // 100)
        say(f"an incremental backup after {hours} of {filled['hours']} hours changed")
        _agent(estate, f"tdengine.fill --rows {rows} --days {_DAYS} --seed 2 --change {hours}")
        incr = _agent(estate, "tdengine.backup.rows incr")
        if not 0 < incr["rows_dumped"] < rows // 20:
            raise BadInput(f"the incremental backup took {incr['rows_dumped']} rows, which is no part of {rows}")
        take(
            Figure(f"incremental backup after {hours} of {filled['hours']} hours changed", "s", (incr["seconds"],)),
            Figure("of the full one's time", "%", (100 * incr["seconds"] / full["seconds"],), 5),
        )
        say("taosdump by hand, in")
        back = _tool_in(estate, 1, "bench_tool")
        say("a restore, single stream")
        restored = _restore(estate, "bench_one", 1)
        say("a restore, two files at the same time")
        twice = _restore(estate, "bench_two", 2)
        single = restored["rows_written"] / restored["write_s"]
        take(
            Figure("taosdump by hand, in, single stream", "rows/s", (rows / back,)),
            Figure("restore, single stream", "rows/s", (single,)),
            Figure("of taosdump's rate", "times", (single * back / rows,), 1.39, at_least=True),
            Figure("restore, two files at the same time", "rows/s", (twice["rows_written"] / twice["write_s"],)),
            Figure("reading every row back and comparing", "s", (restored["seconds"] - restored["write_s"],)),
        )
    where = peak.host or "the operator's machine"
    take(Figure(f"largest process of ours ({where})", "MiB", (peak.mib,), 300, every=True))
    return tuple(found)


def _agent(estate: Estate, command: str) -> dict[str, float]:
    said = estate.backup.run(
        f"cd /opt/mystocks-dr && python3 -m agents.{command}", user=_USER, timeout=_LIMIT_S
    ).stdout.strip()
    found: dict[str, float] = json.loads(said.splitlines()[-1])
    return found


def _restore(estate: Estate, into: str, jobs: int) -> dict[str, float]:
    found = _agent(estate, f"tdengine.backup.restore --into {into} --jobs {jobs}")
    _sql(estate, f"DROP DATABASE {into}")
    return found


def _tool_out(estate: Estate, threads: int) -> float:
    return _tool(estate, f"rm -rf {_DUMP}; mkdir -m 700 {_DUMP}", threads, f"-D market_data -o {_DUMP}")


def _tool_in(estate: Estate, threads: int, into: str) -> float:
    """Into a database like that of a restore: the same options, made before, since the tool forgets some."""
    _sql(
        estate,
        f"CREATE DATABASE {into} PRECISION 'ns' KEEP 3650d DURATION 1d VGROUPS 2 WAL_LEVEL 1 WAL_FSYNC_PERIOD 3000",
    )
    seconds = _tool(estate, ":", threads, f"-W market_data={into} -i {_DUMP}")
    _sql(estate, f"DROP DATABASE {into}")
    estate.backup.run("rm -rf %s", _DUMP)
    return seconds


def _tool(estate: Estate, before: str, threads: int, words: str) -> float:
    node = estate.group("tdengine")[0].name
    began = time.monotonic()
    said = estate.backup.run(_TOOL % (before, node, threads, words), user=_USER, timeout=_LIMIT_S).stdout
    seconds = time.monotonic() - began
    if "OK: 0 row" in said or "OK:" not in said:
        raise BadInput(f"taosdump moved no row: {said.strip()[-200:]}", "look at its output on the backup host")
    return seconds


def _sql(estate: Estate, statement: str) -> None:
    estate.backup.run(
        "cd /opt/mystocks-dr && python3 -m agents.tdengine.session",
        stdin=f"{statement}\n", user=_USER, timeout=_LIMIT_S
    )


