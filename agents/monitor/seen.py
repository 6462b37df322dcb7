"""How far whoever gathers has come with each source: a file in the spool's folder, which goes with what was shipped.

What was gathered twice is there once, so that a lost file costs a reading and nothing else.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agents.base import files

NAME = "seen.json"


class Seen:
    """Source -> a JSON value. `save` after what was gathered is in the spool, never before."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._known = _read(self._path)
        self._saved = json.dumps(self._known, sort_keys=True)

    def get(self, source: str) -> Any:
        """None for one that was never seen."""
        return self._known.get(source)

    def put(self, source: str, value: Any) -> None:
        self._known[source] = value

    def save(self) -> None:
        text = json.dumps(self._known, sort_keys=True)
        if text != self._saved:
            files.replace(self._path, text, 0o640)
            self._saved = text


def forget(folder: Path) -> None:
    """Everything is gathered once more."""
    (folder / NAME).unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text())
        return known if isinstance(known, dict) else {}
    except (OSError, ValueError):
        return {}
