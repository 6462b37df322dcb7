"""What scheduled validations came to, on the backup host: a file for each store, which `./dr status` reads.

    python3 -m agents.validation.keep < {"store", "outcome", "says", "level", "against", "seconds", "by", "warns"}

    <folder>/STORE.json     the same in one line, with `at`, `looked_at`, `sound_at`: unix seconds by this host's clock

`warns` is what will be wrong before long. `outcome` is whole, differs, or failed: nobody could look. `looked_at` is
when somebody last could, `sound_at` when the store was last found whole; null before that. Exit codes: 0 kept, 2 what
came is no such thing.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from agents.base import files
from agents.base.errors import AgentError, run

FOLDER = Path("/var/lib/mystocks-dr/validations")
OUTCOMES = ("whole", "differs", "failed")
_STORE = re.compile(r"[a-z][a-z0-9]{0,30}")
_TEXTS = ("says", "level", "against", "by", "warns")
_LONGEST = 500  # of a text
Json = dict[str, Any]


class BadRequest(AgentError):  # noqa: N818
    """What came on standard input is no outcome of a validation."""

    exit_code = 2


def keep(folder: Path, told: Any) -> Json:
    """The record as it lies there now. Raises BadRequest."""
    fits = isinstance(told, dict) and _STORE.fullmatch(str(told.get("store"))) and told.get("outcome") in OUTCOMES
    if not fits:
        raise BadRequest(f"That is no outcome of a validation, one of {', '.join(OUTCOMES)} of a store.")
    path, now = folder / f"{told['store']}.json", time.time()
    before = _before(path)
    record = {name: str(told.get(name) or "")[:_LONGEST] for name in _TEXTS} | {
        "store": told["store"], "outcome": told["outcome"], "seconds": float(told.get("seconds") or 0), "at": now,
        "looked_at": before.get("looked_at") if told["outcome"] == "failed" else now,
        "sound_at": now if told["outcome"] == "whole" else before.get("sound_at"),
    }  # fmt: skip
    folder.mkdir(mode=0o755, exist_ok=True)
    files.replace(path, json.dumps(record) + "\n", 0o644)
    return record


def _before(path: Path) -> Json:
    """What was damaged counts as nothing: this record takes its place."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def main(text: str, folder: Path = FOLDER) -> int:
    try:
        print(json.dumps(keep(folder, json.loads(text))))
    except ValueError as error:
        raise BadRequest(f"The request is no JSON: {error}.") from error
    except OSError as error:
        raise AgentError(f"{error.filename or folder}: {error.strerror}.", "Is its disk full? df -h") from error
    return 0


if __name__ == "__main__":
    sys.exit(run(lambda: main(sys.stdin.read())))
