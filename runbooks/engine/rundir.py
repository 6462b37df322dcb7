"""One folder a run: runs/<UTC timestamp>-<name>/."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from inventories.errors import BadInput

REPOSITORY = Path(__file__).resolve().parents[2]


def runs_dir() -> Path:
    """Where the folders of all runs are: DR_RUNS, or runs/ in the repository."""
    return Path(os.environ.get("DR_RUNS") or REPOSITORY / "runs").expanduser()


def new_run_dir(name: str, runs: Path | None = None) -> Path:
    """Make and return a folder that no other run has, even one started in the same second.

    Raises BadInput where the folder cannot be made.
    """
    base = runs or runs_dir()
    stem = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{name}"
    try:
        base.mkdir(parents=True, exist_ok=True)
        for nr in count(1):
            path = base / (stem if nr == 1 else f"{stem}-{nr}")
            try:
                path.mkdir()
            except FileExistsError:
                continue
            return path
    except OSError as error:
        raise BadInput(
            f"cannot make a run folder in {base}: {error.strerror}",
            "set DR_RUNS to a folder you may write to",
        ) from error
    raise AssertionError("count() does not end")
