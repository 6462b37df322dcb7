"""Damage to pages of the standby's files while it is down, which no WAL tells of: what a disk or a tool leaves behind.

    exchange OLD NEW    other bytes of the same length
    remove BYTES        the row that holds them is out of its page
    zero                the first page has no bytes but zeros
    lose STATEMENT      what a statement of the primary changed was never written here
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.unit import heap_damage
from tests.unit.postgres_server import Server

CaughtUp = Callable[[], None]


@contextmanager
def damaged(
    primary: Server, standby: Server, database: str, table: str, do: str, caught_up: CaughtUp
) -> Iterator[None]:
    """The standby serves with the damage; afterwards its file is what it was."""
    verb, _, words = do.partition(" ")
    primary.sql(f"VACUUM (FREEZE) {table}", "CHECKPOINT", database=database)
    path = standby.data / str(primary.sql(f"SELECT pg_relation_filepath('{table}')", database=database)[0][0])
    kept = path.with_suffix(".kept")
    _at_rest(standby, caught_up)
    shutil.copy2(path, kept)
    try:
        if verb == "lose":
            standby.start()
            primary.sql(words, f"VACUUM (FREEZE) {table}", "CHECKPOINT", database=database)
            _at_rest(standby, caught_up)
            now = path.read_bytes()
            shutil.copy2(kept, path)
            kept.write_bytes(now)
        else:
            _do(path, verb, words)
        _owned(path)
        standby.start()
        yield
    finally:
        standby.stop("fast")
        shutil.copy2(kept, path)
        _owned(path)
        kept.unlink()
        standby.start()


def _at_rest(standby: Server, caught_up: CaughtUp) -> None:
    """It has everything, and has written every page."""
    caught_up()
    standby.sql("CHECKPOINT", database="postgres")
    standby.stop("fast")


def _do(path: Path, verb: str, words: str) -> None:
    if verb == "exchange":
        old, new = words.split()
        heap_damage.exchange(path, old.encode(), new.encode())
    elif verb == "remove":
        heap_damage.remove(path, words.encode())
    else:
        assert verb == "zero", verb
        path.write_bytes(bytes(heap_damage.PAGE) + path.read_bytes()[heap_damage.PAGE :])


def _owned(path: Path) -> None:
    """Whoever runs the tests wrote it."""
    owner = path.parent.stat()
    shutil.chown(path, owner.st_uid, owner.st_gid)
