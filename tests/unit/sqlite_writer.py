"""Write trades one after the other and note, in a file, each that was said to be protected: number, transaction, time.

python -m tests.unit.sqlite_writer SQLITE.JSON LEDGER FIRST [PER_SECOND]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from agents.sqlite.database import TradingDatabase
from agents.sqlite.protecting import Asking, NotProtected
from agents.sqlite.settings import load
from tests.unit.sqlite_kit import trade


def main(config: str, ledger: str, first: str, per_second: str = "200") -> None:
    settings = load(Path(config))
    database, asking = TradingDatabase(settings=settings), Asking(settings.socket("trading"))
    number, began = int(first), time.monotonic()
    with Path(ledger).open("a", buffering=1) as out:
        while True:
            asked = time.perf_counter()
            trade(database, number)
            committed = time.perf_counter() - asked
            try:
                found = asking.protected()
                out.write(f"{number} {found.tx} {time.time():.6f} {committed:.6f}\n")
            except NotProtected:
                pass  # committed, and on this disk alone
            number += 1
            time.sleep(max(0.0, began + (number - int(first)) / float(per_second) - time.monotonic()))


if __name__ == "__main__":
    main(*sys.argv[1:])
