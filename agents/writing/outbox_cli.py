"""Look into the outbox and its shadow.

`python3 -m agents.writing.outbox_cli --config FILE status | dead | retry-dead [ID ...] | requeue --since T`: JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from agents.base.config import DEFAULT, Config, load_config, load_tables
from agents.base.errors import BadConfig, run
from agents.writing.lease import Lease
from agents.writing.outbox import Outbox
from agents.writing.records import Status
from agents.writing.shadow import look, requeue
from agents.writing.shadow_rate import Rate, rate

# An outbox that nobody has used yet is empty; looking at it does not create it.
UNUSED = Status(0, 0, 0, 0, 0, None, None, 0, 0)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.writing.outbox_cli", description="Look into the outbox.")
    parser.add_argument("--config", type=Path, default=DEFAULT)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("status", help="counts, age and size")
    commands.add_parser("dead", help="list the dead letters with their rows")
    retry = commands.add_parser("retry-dead", help="put dead letters back into the queue")
    retry.add_argument("ids", nargs="*", type=int, metavar="ID", help="all when none is given")
    requeued = commands.add_parser("requeue", help="put acknowledged rows back into the queue")
    requeued.add_argument("--since", type=float, required=True, metavar="UNIX_SECONDS")
    requeued.add_argument("--tables", default="", help="only these, comma separated")
    options = parser.parse_args(arguments)
    config = load_config(options.config)
    print(json.dumps(_answer(config, options), ensure_ascii=False), flush=True)
    return 0


def _answer(config: Config, options: argparse.Namespace) -> object:
    if not config.outbox.path.exists():
        unused = {**asdict(UNUSED), "max_bytes": config.outbox.max_bytes, "replayer_running": False}
        shadow = _shadow(config)
        if options.command != "requeue":
            return {"status": {**unused, **shadow}, "dead": [], "retry-dead": {"retried": 0}}[options.command]
    outbox = Outbox(config.outbox.path, config.outbox.max_bytes)
    try:
        if options.command == "status":
            running = Lease(config.outbox.path).taken
            return {**asdict(outbox.status()), "replayer_running": running, **_shadow(config)}
        if options.command == "dead":
            return outbox.dead()
        if options.command == "requeue":
            return _requeue(config, outbox, options)
        return {"retried": outbox.retry_dead(options.ids)}
    finally:
        outbox.close()


def _shadow(config: Config) -> dict[str, object]:
    """Bytes, unix time of the oldest batch, and how fast it grows; all None where no shadow is kept."""
    kept = look(config.shadow) if config.shadow else None
    grows = rate(config.shadow.path) if config.shadow else Rate()
    return {"shadow_bytes": kept and kept.size_bytes, "shadow_since": kept and kept.since, **asdict(grows)}


def _requeue(config: Config, outbox: Outbox, options: argparse.Namespace) -> dict[str, object]:
    if config.shadow is None:
        raise BadConfig("No shadow is kept here.", "recovery.yaml: stores.postgresql.shadow turns it on.")
    tables = load_tables(config.tables)
    only = [name for name in options.tables.split(",") if name]
    unknown = [name for name in only if name not in tables]
    if unknown:
        raise BadConfig(f"There is no table {unknown[0]}.", "The tables are those of the catalogue.")
    return asdict(requeue(config.shadow, outbox, tables, options.since, only))


if __name__ == "__main__":
    sys.exit(run(main))
