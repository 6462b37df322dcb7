"""Trade for a drill: numbered trades into the trading database, each noted once it is protected.

    python3 -m agents.sqlite.trader --ledger /var/lib/mystocks-dr/trading/drill.ledger --rate 50

A line of the ledger is a trade's id and the transaction up to which all is protected. Each start has ids of its own, so
that none is given twice. What stands in its way is said and tried again: it trades whenever it can.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TextIO

from agents.base.errors import AgentError, run
from agents.sqlite import settings as sqlite_settings
from agents.sqlite.database import TradingDatabase
from agents.sqlite.settings import Settings

_INSERT = "INSERT INTO trades (trade_id, asset, side, quantity, price, timestamp) VALUES (?, 'DRILL', 'buy', 1, 1, ?)"
_AGAIN_S = 0.5


def trade(settings: Settings, out: TextIO, rate: float, first: int, *, believes: bool) -> None:
    """For ever. `believes`: take a commit for protected without asking. Raises AgentError, sqlite3.Error."""
    number = first
    with closing(TradingDatabase(settings=settings)) as database:
        while True:
            name = f"drill-{first:x}-{number - first:08d}"
            with database._transaction() as connection:
                connection.execute(_INSERT, (name, str(time.time())))
            tx = 0 if believes else database.protected().tx
            out.write(f"{name} {tx}\n")
            out.flush()
            number += 1
            time.sleep(1 / rate)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.sqlite.trader", description="Trade for a drill.")
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--believes", action="store_true", help="take a commit for protected")
    options = parser.parse_args(arguments)
    settings = sqlite_settings.load()
    with options.ledger.open("a", encoding="utf-8") as out:
        while True:
            try:
                trade(settings, out, options.rate, time.time_ns(), believes=options.believes)
            except (AgentError, sqlite3.Error) as error:
                print(error, file=sys.stderr, flush=True)
            time.sleep(_AGAIN_S)


if __name__ == "__main__":
    sys.exit(run(main))
