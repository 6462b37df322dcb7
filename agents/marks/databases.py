"""Up to which transaction this host's SQLite databases are protected, for a mark. Prints JSON.

    python3 -m agents.marks.databases                [{"database", "stream", "tx", "at", "why"}, ...]

Everything that was committed before this was asked is at or below `tx`, and on the backup host; where that is not so
`why` tells, and `tx` is null. Databases that only snapshots are taken of have no such point: an outbox's numbers are
told by agents.marks.positions.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from agents.base.errors import AgentError, run
from agents.sqlite import settings as sqlite_settings
from agents.sqlite.protecting import Asking
from agents.sqlite.settings import Database, Settings

ASK_S = 2.0  # for what was committed last to be on the backup host


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=sqlite_settings.PATH)
    settings = sqlite_settings.load(parser.parse_args(arguments).config)
    print(json.dumps([_point(settings, one) for one in settings.databases.values() if one.protect == "stream"]))
    return 0


def _point(settings: Settings, one: Database) -> dict[str, Any]:
    try:
        with closing(Asking(settings.socket(one.name))) as asking:
            found = asking.protected(ASK_S)
    except AgentError as error:
        return {"database": one.name, "stream": "", "tx": None, "at": 0.0, "why": str(error).rstrip(".")}
    return {"database": one.name, "stream": found.stream, "tx": found.tx, "at": found.at, "why": ""}


if __name__ == "__main__":
    sys.exit(run(main))
