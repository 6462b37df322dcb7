"""Which ranges of a source were imported whole, so that an import that was broken off goes on behind them."""

from __future__ import annotations

import json
from pathlib import Path

from agents.base import files
from agents.base.errors import BadConfig
from agents.tracker.ohlc.source import Range

DEFAULT = Path("/var/lib/mystocks-dr/tracker-import.json")


class Progress:
    """Of one file, for one process at a time. Raises BadConfig for a file that is none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._done = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            if not isinstance(self._done, dict):
                raise ValueError("it is no object")
        except (OSError, ValueError) as error:
            hint = "Move it aside: what it names is asked for again, which leaves the same rows."
            raise BadConfig(f"{path} cannot be read: {error}.", hint) from error

    def has(self, url: str, wanted: Range) -> bool:
        return self._key(url, wanted) in self._done

    def note(self, url: str, wanted: Range, rows: int) -> None:
        """On the disk when this returns."""
        self._done[self._key(url, wanted)] = rows
        files.replace(self._path, json.dumps(self._done, indent=1, sort_keys=True) + "\n")

    @staticmethod
    def _key(url: str, wanted: Range) -> str:
        return f"{url} {wanted.symbol} {wanted.first} {wanted.last}"
