"""Look into the outbox.

`python3 -m agents.outbox_cli --config FILE status | dead | retry-dead [ID ...]`; prints JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from agents.config import DEFAULT, Config, load_config
from agents.errors import run
from agents.lease import Lease
from agents.outbox import Outbox
from agents.records import Status

# An outbox that nobody has used yet is empty; looking at it does not create it.
UNUSED = Status(0, 0, 0, 0, 0, None, None, 0, 0)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.outbox_cli", description="Look into the outbox.")
    parser.add_argument("--config", type=Path, default=DEFAULT)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("status", help="counts, age and size")
    commands.add_parser("dead", help="list the dead letters with their rows")
    retry = commands.add_parser("retry-dead", help="put dead letters back into the queue")
    retry.add_argument("ids", nargs="*", type=int, metavar="ID", help="all when none is given")
    options = parser.parse_args(arguments)
    config = load_config(options.config)
    print(json.dumps(_answer(config, options), ensure_ascii=False), flush=True)
    return 0


def _answer(config: Config, options: argparse.Namespace) -> object:
    if not config.outbox.path.exists():
        unused = {**asdict(UNUSED), "max_bytes": config.outbox.max_bytes, "replayer_running": False}
        return {"status": unused, "dead": [], "retry-dead": {"retried": 0}}[options.command]
    outbox = Outbox(config.outbox.path, config.outbox.max_bytes)
    try:
        if options.command == "status":
            return {**asdict(outbox.status()), "replayer_running": _replayer_runs(config.outbox.path)}
        if options.command == "dead":
            return outbox.dead()
        return {"retried": outbox.retry_dead(options.ids)}
    finally:
        outbox.close()


def _replayer_runs(path: Path) -> bool:
    lease = Lease(path)
    if not lease.take():
        return True
    lease.release()
    return False


if __name__ == "__main__":
    sys.exit(run(main))
