"""A copy of a database in use, by SQLite's backup API: whole, checked, and on the disk before it has its name.

A copy of the file alone would lack what is in the write-ahead log, and could be half of a transaction.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from agents.base import files
from agents.sqlite import checks, ground
from agents.sqlite.session import Damaged, told


def copy(source: sqlite3.Connection, path: Path, partial: Path) -> dict[str, int]:
    """Rows of each table of what `source` sees now, which is in `partial` on the disk when this returns.

    Writers go on meanwhile. Raises Damaged where the copy is not what was read, or was not whole before.
    """
    begun = not source.in_transaction
    with told(path):
        if begun:
            source.execute("BEGIN")
        try:
            rows = checks.counts(source)
            with closing(sqlite3.connect(partial)) as target:
                source.backup(target)  # in one step: in several it would begin anew with every commit of somebody else
        finally:
            if begun:
                source.execute("COMMIT")
    there = checks.rows_of_sound(partial)
    if there != rows:
        differing = sorted(name for name in {*rows, *there} if rows.get(name) != there.get(name))
        raise Damaged(f"The copy of {path} has other rows in {differing[0]}.", "Take it again; look at the disk.")
    sync(partial)
    return rows


def sync(path: Path) -> None:
    """Its content is on the disk when this returns."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def publish(partial: Path, path: Path) -> None:
    """Give a finished file its name."""
    partial.rename(path)
    files.sync_folder(path.parent)


def discard(path: Path) -> None:
    """Remove a partial file and what SQLite laid beside it."""
    for one in (path, *ground.sidecars(path)):
        one.unlink(missing_ok=True)
