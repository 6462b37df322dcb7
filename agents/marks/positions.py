"""How far an application host's outbox and shadow of one store are, for a mark. Prints JSON; reads, and syncs.

    python3 -m agents.marks.positions --config FILE

What was acknowledged before this was asked is at or below what it tells: the outbox's records by their number, and what
the store had acknowledged by the bytes of the shadow's newest segments, which are synced to the disk first. A client's
batch that is under way may be on either side.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from agents.base.config import DEFAULT, load_config
from agents.base.errors import run
from agents.writing.shadow import SEGMENT_S, segments
from agents.writing.sqlite_errors import told

BUSY_S = 2.0
_OPEN_S = 2 * SEGMENT_S  # a segment that nobody wrote to for so long is closed
# The last number that was given, also where its record was discarded or let go since.
_OUTBOX = """
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'outbox_queue'), 0),
  max(coalesce((SELECT max(applied_no) FROM outbox_queue WHERE applied_no IS NOT NULL), 0),
      coalesce((SELECT CAST(value AS INTEGER) FROM outbox_facts WHERE name = 'applied_no'), 0)),
  coalesce((SELECT sum(pending) FROM outbox_totals), 0), coalesce((SELECT sum(dead) FROM outbox_totals), 0),
  coalesce((SELECT value FROM outbox_facts WHERE name = 'mark'), 'null')
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=DEFAULT)
    config = load_config(parser.parse_args(arguments).config)
    shadow = position(config.shadow.path) if config.shadow else None
    print(json.dumps({"outbox": numbers(config.outbox.path), "shadow": shadow}))
    return 0


def numbers(path: Path) -> dict[str, object] | None:
    """Of one moment: the newest record's number, the last application's, rows that wait and that are dead, and which
    file it is. None of an outbox that nobody has used yet. Raises OutboxDamaged and its like.
    """
    if not path.exists():
        return None
    with told(path), closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=BUSY_S)) as opened:
        newest, applied, pending, dead, mark = opened.execute(_OUTBOX).fetchone()
    return {
        "file": json.loads(mark) or "", "newest": int(newest), "applied_no": int(applied), "pending_rows": int(pending),
        "dead_rows": int(dead),
    }  # fmt: skip


def position(folder: Path) -> dict[str, int]:
    """Bytes of each segment that may still be written to, or of the newest; on the disk when this returns."""
    found, began = dict[str, int](), time.time()
    for file in reversed(segments(folder)):
        with suppress(FileNotFoundError):  # a writer of this host has let it go meanwhile
            if found and began - file.stat().st_mtime > _OPEN_S:
                break
            with file.open("rb") as opened:
                size = os.fstat(opened.fileno()).st_size
                os.fdatasync(opened.fileno())
            found[file.name] = size
    return found


if __name__ == "__main__":
    sys.exit(run(main))
