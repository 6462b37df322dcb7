"""Put what was rebuilt in the place of a database, or one table of it, and keep what was there."""

from __future__ import annotations

import shutil
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from agents.base.errors import AgentError
from agents.sqlite import copying, one_table, session, swap
from agents.sqlite.settings import Database

_TIMES_ITS_SIZE = 3  # the new file, the old one that is kept, and the log of it


def from_file(one: Database, source: Path, table: str = "", *, plan: bool = False) -> dict[str, Any]:
    """From a file of this host: a copy that backup_database took, or what an earlier restore kept."""
    began = time.monotonic()
    with swap.restoring(one.path) as partial:
        with closing(session.connect(source, readonly=True)) as connection:
            room(one.path, source.stat().st_size)
            rows = copying.copy(connection, source, partial)
        said: dict[str, Any] = {"file": str(source.absolute()), "rows": rows}
        if not plan:
            said |= put(one, partial, table, file=str(source.absolute()))
    return {**said, "seconds": round(time.monotonic() - began, 3)}


def put(one: Database, partial: Path, table: str, **noted: object) -> dict[str, Any]:
    """In its place, or its one table."""
    if table:
        safety = _kept_whole(one.path)
        brought = one_table.bring(one.path, partial, table)
        swap.note(one.path, table=table, safety=str(safety), rows=brought.rows, **noted)
        return {"table": table, "before": brought.before, "restored": brought.rows, "safety": str(safety)}
    swapped = swap.swap(one.path, partial, swap.open_again)
    safety_name = str(swapped.safety) if swapped.safety else None
    swap.note(one.path, safety=safety_name, **noted)
    return {"safety": safety_name}


def _kept_whole(path: Path) -> Path:
    """A copy of a database that others go on writing, where the old ones are kept."""
    aside = path.with_name(f".{path.name}.kept")
    copying.discard(aside)
    folder = swap.new_folder(path)
    try:
        with closing(session.connect(path)) as connection:
            copying.copy(connection, path, aside)
        aside.rename(folder / path.name)
        return swap.published(folder)
    finally:
        copying.discard(aside)


def room(path: Path, size: int) -> None:
    needed, free = _TIMES_ITS_SIZE * size, shutil.disk_usage(path.parent).free
    if free < needed:
        raise AgentError(
            f"A restore needs {needed >> 20} MiB in {path.parent}, {free >> 20} MiB are free.", "Make room there."
        )
