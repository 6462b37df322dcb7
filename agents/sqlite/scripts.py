"""The trading system's two scripts, by their switches, on the methods that it knows: copies on this host alone.

    python3 -m agents.sqlite.scripts backup [--cleanup [--days 30] | --verify | --status] [--dir backups]
    python3 -m agents.sqlite.scripts restore --list | --latest | FILE

What leaves this host is agents.sqlite.protector's, and what a lost host is restored from is agents.sqlite.restore's.
FILE may be a copy that the old script packed (.db.gz). Exit 0 done, 1 failed, 2 no such copy.
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from agents.base.errors import AgentError, run
from agents.sqlite import copying
from agents.sqlite import settings as sqlite_settings
from agents.sqlite.database import TradingDatabase, is_whole
from agents.sqlite.targets import NotReached

SHOWN = 10


def backup(database: TradingDatabase, options: argparse.Namespace) -> list[str]:
    """What it tells, line by line. Raises AgentError."""
    if options.status:
        return [*_statistics(database), *_listed(database)]
    if options.verify:
        path = _newest(database)
        if not is_whole(path):
            raise AgentError(f"{path} is not whole.", "backup takes another one.")
        return [f"{path} is whole."]
    if options.cleanup:
        return [f"{database.cleanup_old_backups(options.days)} copies older than {options.days} days are gone."]
    return [f"{database.backup_database(options.dir)} was taken and found whole."]


def restore(database: TradingDatabase, options: argparse.Namespace) -> list[str]:
    """Raises AgentError, with the old database in its place."""
    if options.list:
        return _listed(database)
    source = _newest(database) if options.latest else Path(options.file)
    if source.suffix == ".gz":
        partial = database.path.with_name(f".{database.path.name}.{os.getpid()}.unpacked")
        try:
            _unpack(source, partial)
            database.restore_database(partial)
        finally:
            copying.discard(partial)
    else:
        database.restore_database(source)
    return [f"{database.path} is that of {source}; the old one is kept in {database.path.parent / 'pre_restore'}."]


def _unpack(source: Path, into: Path) -> None:
    """Raises AgentError for what is cut off, or is none."""
    try:
        with gzip.open(source) as packed, into.open("xb") as out:
            shutil.copyfileobj(packed, out)
    except FileNotFoundError as error:
        raise NotReached(f"There is no {source}.", "restore --list names those that there are.") from error
    except (OSError, EOFError) as error:
        raise AgentError(f"{source} does not unpack: {error}.", "Choose another one.") from error


def _newest(database: TradingDatabase) -> Path:
    known = database.get_backup_history(limit=1)
    if not known:
        raise NotReached("No copy was ever taken here.", "backup takes one.")
    return Path(known[0]["backup_path"])


def _listed(database: TradingDatabase) -> list[str]:
    """The newest first."""
    return [_line(one) for one in database.get_backup_history(SHOWN)] or ["No copy was ever taken here."]


def _line(one: dict[str, Any]) -> str:
    state = "" if Path(one["backup_path"]).exists() else ", GONE"
    return f"{one['backup_time']}  {one['backup_path']}: {one['trades_count']} trades, {one['size_bytes']} bytes{state}"


def _statistics(database: TradingDatabase) -> list[str]:
    return [f"{name}: {value}" for name, value in database.get_database_stats().items()]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.sqlite.scripts", description="The trading system's scripts.")
    parser.add_argument("--config", type=Path, default=sqlite_settings.PATH)
    which = parser.add_subparsers(dest="script", required=True)
    taking = which.add_parser("backup").add_mutually_exclusive_group()
    for name in ("cleanup", "verify", "status"):
        taking.add_argument(f"--{name}", action="store_true")
    which.choices["backup"].add_argument("--days", type=int, default=30)
    which.choices["backup"].add_argument("--dir", type=Path, default=Path("backups"))
    bringing = which.add_parser("restore").add_mutually_exclusive_group(required=True)
    for name in ("list", "latest"):
        bringing.add_argument(f"--{name}", action="store_true")
    bringing.add_argument("file", nargs="?", metavar="FILE")
    options = parser.parse_args(arguments)
    with closing(TradingDatabase(settings=sqlite_settings.load(options.config))) as database:
        told = backup(database, options) if options.script == "backup" else restore(database, options)
    print(*told, sep="\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
