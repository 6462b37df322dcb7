"""Which rows of one feed a TDengine table holds, by event id, as the client that wrote them sees them.

    python3 -m agents.tdengine.ids --run NUMBER [--config FILE] [--database NAME] TABLE

Prints {"rows", "distinct", "duplicated", "ranges": [[first, last], ...]}: the ids' low 32 bits, in ranges. It asks the
server through SQL and taospy and shares no code with the backups, which it is used to judge.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from agents.base.errors import AgentError, run
from agents.tdengine.session import DEFAULT, Session, load_settings
from agents.writing.batch import RUN_SHIFT, SEQ_MASK

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


def ids(session: Session, database: str, table: str, number: int) -> array[int]:
    """The numbers of one run's rows, sorted, each as often as it is there."""
    low = number << RUN_SHIFT
    result = session.query(
        f"SELECT event_id FROM `{database}`.`{table}` WHERE event_id BETWEEN {low} AND {low | SEQ_MASK}"
    )
    found = array("q")
    try:
        while True:
            try:
                rows, _ = result.fetch_block()
            except StopIteration:
                break
            found.extend(event & SEQ_MASK for (event,) in rows)
        result.check_error(close=False)  # an answer that broke off looks like its end
    finally:
        result.close()
    return array("q", sorted(found))


def told(numbers: Iterable[int]) -> dict[str, Any]:
    """Sorted numbers as counts and ranges."""
    ranges: list[list[int]] = []
    rows = distinct = duplicated = 0
    copies = 1
    for number in numbers:
        rows += 1
        if ranges and number == ranges[-1][1]:
            copies += 1
            duplicated += copies == 2
            continue
        copies = 1
        distinct += 1
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return {"rows": rows, "distinct": distinct, "duplicated": duplicated, "ranges": ranges}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.tdengine.ids", description="Which rows of a feed a table holds.")
    parser.add_argument("--config", type=Path, default=DEFAULT)
    parser.add_argument("--database")
    parser.add_argument("--run", type=int, required=True)
    parser.add_argument("table")
    options = parser.parse_args(arguments)
    if not _NAME.fullmatch(options.table):
        raise AgentError(f"{options.table!r} is no table of the catalogue.", "Its names have small letters.")
    settings = load_settings(options.config)
    database = options.database or settings.database
    with Session(settings) as session:
        print(json.dumps(told(ids(session, database, options.table, options.run))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
