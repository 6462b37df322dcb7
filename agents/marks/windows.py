"""What TDengine's newest backup holds, for a mark: its rows and hashes by table, and a hash of its hours. Prints JSON.

    echo go | python3 -m agents.marks.windows          null where there is no TDengine, or no backup of it
    echo go | python3 -m agents.marks.windows LABEL    of that backup; null where it is not kept any more

It waits for that word, so that it can be ready beforehand and still be the last that is asked.
Taken from the sealed manifest alone, which was read back when the backup was verified: no row is read here, so that it
may be asked every five minutes.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from agents.base.errors import run
from agents.tdengine.backup import manifest, settings


def main(path: Path = settings.PATH, label: str = "") -> int:
    sys.stdin.readline()
    print(json.dumps(_found(settings.load(path), label) if path.exists() else None))
    return 0


def _found(known: settings.Settings, label: str) -> dict[str, Any] | None:
    kept = manifest.labels(known)
    if not kept or (label and label not in kept):
        return None
    return held(manifest.load(label or kept[-1], known, subtables=False))


def held(found: manifest.Manifest) -> dict[str, Any]:
    """`tables`: name -> [rows, hash, hours, first, last hour since 1970]; `windows`: SHA-256 of every hour's entry."""
    hours = {
        table: sorted((hour, one.rows, one.hash) for hour, one in windows.items())
        for table, windows in sorted(found.windows.items())
    }
    told = json.dumps(hours, sort_keys=True, separators=(",", ":"))
    return {
        "label": found.label, "database": found.database, "ended_at": found.ended_at, "rows": found.rows,
        "windows": hashlib.sha256(told.encode()).hexdigest(),
        "tables": {
            table: [*found.totals.get(table, [0, ""])[:2], len(each), each[0][0] if each else 0,
                    each[-1][0] if each else 0]
            for table, each in hours.items()
        },
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(run(lambda: main(label=next(iter(sys.argv[1:]), ""))))
