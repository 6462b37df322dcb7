"""Up to when TDengine's rows are in a backup that was read again: noted on the server, read where the shadow lies.

    python3 -m agents.tdengine.backup.cover show --config FILE       what is covered, and what the shadow holds
    python3 -m agents.tdengine.backup.cover trim --config FILE  let go of what is covered: a timer's work, on app hosts
    python3 -m agents.tdengine.backup.cover wanted         on the backup host: is a backup wanted before its time?

The server is what both hosts reach. When it is lost, the note is lost with it and nothing more goes, which is right:
the shadow is needed then. The other way goes how full the shadow is: a backup is begun before it no longer reaches back
to the last one. FILE is the writer's settings (agent-tdengine.json).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from agents.base.clock import has_been
from agents.base.config import DEFAULT, load_config
from agents.base.errors import BadConfig, run
from agents.tdengine.backup import settings as td_settings
from agents.tdengine.session import GONE, OWN_DATABASE, Session, Settings, TdengineError, load_settings
from agents.writing import shadow

_MARGIN_S = 300.0  # for clocks that differ between the hosts, and for a write that was under way
_COPIES = 3  # as production has, where there are so many nodes: the first one lost must not take ours along
# As small as TDengine lets a database be.
_MAKE = (
    f"CREATE DATABASE IF NOT EXISTS {OWN_DATABASE} PRECISION 'ms' VGROUPS 1 BUFFER 3 PAGES 64 KEEP 3650d WAL_LEVEL 2 "
    "WAL_FSYNC_PERIOD 0 REPLICA %d"
)
_TABLES = (
    f"CREATE TABLE IF NOT EXISTS {OWN_DATABASE}.covered (ts TIMESTAMP, started_at DOUBLE, label VARCHAR(64))",
    f"CREATE TABLE IF NOT EXISTS {OWN_DATABASE}.held (ts TIMESTAMP, taken DOUBLE, room DOUBLE)",
)
WANTED_AT = 0.7  # of what the shadow may take; the rest must last until the backup was read again


@dataclass(frozen=True)
class Covered:
    """The newest backup that was noted: everything acknowledged before `started_at` (unix seconds) is in it."""

    label: str
    started_at: float


def publish(server: Settings, label: str, started_at: float) -> None:
    """Note a backup that is whole. Raises TdengineError."""
    with Session(server) as session:
        copies = _copies(session)
        for statement in (_MAKE % copies, *_TABLES):
            session.execute(statement)
        session.execute(f"INSERT INTO {OWN_DATABASE}.covered VALUES (NOW, {started_at!r}, '{label}')")
        had = session.rows(f"SELECT `replica` FROM information_schema.ins_databases WHERE name = '{OWN_DATABASE}'")
        if had and int(had[0][0]) < copies:  # made when there was one node
            session.execute(f"ALTER DATABASE {OWN_DATABASE} REPLICA {copies}")


def _copies(session: Session) -> int:
    """Copies there can be now; while a node is away, as many as there are."""
    ready = session.rows("SELECT COUNT(*) FROM information_schema.ins_dnodes WHERE status = 'ready'")
    return _COPIES if ready and int(ready[0][0]) >= _COPIES else 1


def look(server: Settings) -> Covered | None:
    """What was noted last; None when nothing ever was, on this server."""
    try:
        with Session(server) as session:
            rows = session.rows(f"SELECT label, started_at FROM {OWN_DATABASE}.covered ORDER BY ts DESC LIMIT 1")
    except TdengineError as error:
        if error.code in GONE:
            return None
        raise
    return Covered(str(rows[0][0]), float(rows[0][1])) if rows else None


def tell_held(server: Settings, size: int, most: int) -> bool:
    """Note how much of its room the shadow takes; False where nobody takes the note, as before the first backup."""
    try:
        with Session(server) as session:
            session.execute(f"INSERT INTO {OWN_DATABASE}.held VALUES (NOW, {float(size)!r}, {float(most)!r})")
    except TdengineError:
        return False
    return True


def wanted(server: Settings) -> str:
    """Why a backup is wanted before its time, empty when none is. Both notes are of the server's own clock."""
    newest = f"SELECT ts, taken, room FROM {OWN_DATABASE}.held ORDER BY ts DESC LIMIT 1"
    try:
        with Session(server) as session:
            held = session.rows(newest)
            covered = session.rows(f"SELECT ts FROM {OWN_DATABASE}.covered ORDER BY ts DESC LIMIT 1")
    except TdengineError as error:
        if error.code in GONE:
            return ""
        raise
    if not held or (covered and held[0][0] <= covered[0][0]):
        return ""
    size, most = float(held[0][1]), float(held[0][2])
    if size < WANTED_AT * most:
        return ""
    return f"the shadow holds {size / 2**20:,.0f} of {most / 2**20:,.0f} MiB, and no backup covers them yet"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.tdengine.backup.cover", description="What a backup covers.")
    parser.add_argument("command", choices=("show", "trim", "wanted"))
    parser.add_argument("--config", type=Path, default=DEFAULT)
    parser.add_argument("--backups", type=Path, default=td_settings.PATH, help="with wanted: the backups' settings")
    options = parser.parse_args(arguments)
    if options.command == "wanted":
        print(json.dumps({"wanted": wanted(td_settings.load(options.backups).server())}), flush=True)
        return 0
    config = load_config(options.config)
    if config.tdengine is None:
        raise BadConfig(f"{options.config} is not of TDengine's writer.", "It is agent-tdengine.json.")
    if config.shadow is None:
        print(json.dumps({"covered": None, "segments_gone": 0}), flush=True)
        return 0
    server = load_settings(config.tdengine)
    covered = look(server)
    gone = 0
    # Either clock may be wrong: what is covered only in the future lets nothing go now.
    if covered and options.command == "trim" and has_been(covered.started_at, time.time()):
        gone = shadow.trim_covered(config.shadow, covered.started_at - _MARGIN_S)
    kept = shadow.look(config.shadow)
    if options.command == "trim":
        tell_held(server, kept.size_bytes, config.shadow.max_bytes)
    print(json.dumps({"covered": covered and asdict(covered), "segments_gone": gone, **asdict(kept)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
