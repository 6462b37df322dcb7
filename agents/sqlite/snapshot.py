"""Take a snapshot of a SQLite database, locked and on the receiver's disk, and restore it from there to prove it.

    python3 -m agents.sqlite.snapshot --name trading

Run by agents.sqlite.protector. Writers wait for milliseconds, while it is seen to that the snapshot's place in the
stream of changes is known. Prints what it took as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO

from agents.base import signals
from agents.base.errors import AgentError, run
from agents.sqlite import checks, copying, session
from agents.sqlite import manifest as manifests
from agents.sqlite import settings as sqlite_settings
from agents.sqlite.manifest import Manifest
from agents.sqlite.protecting import Asking, NotProtected, Protected
from agents.sqlite.rebuild import unpack
from agents.sqlite.seal import Broken, Seal
from agents.sqlite.settings import Database, Settings
from agents.sqlite.wire import Line

PIECE = 1 << 20
_PAUSE_S = 0.02  # as long a writer may wait for a snapshot
_TRIES = 100
_NOWHERE = Protected("", 0, "", 0, 0, 0.0, False)


def take(settings: Settings, name: str) -> Manifest:
    """Raises AgentError; what is not whole is not published."""
    one, line, seal = settings.database(name), Line(settings.there(), name), Seal(settings.secret())
    partial = one.path.with_name(f".{one.path.name}.snapshot")
    copying.discard(partial)
    try:
        with _moment(settings, one) as (source, position):
            taken_at = time.time()
            copying.copy(source, one.path, partial)
        found = checks.content(partial)
        label = str(line.ask("start")[0]["label"])
        pieces = _put(line, seal, one, label, partial)
        made = Manifest(
            name, label, position.stream, position.epoch, position.salts, position.frame, position.tx,
            position.at or taken_at, taken_at, partial.stat().st_size, pieces, found.rows, found.sha3, seal.key_id,
        )  # fmt: skip
        line.ask("publish", label=label, manifest=made.sealed(seal))
        prove(line, seal, made, partial)
        return made
    finally:
        copying.discard(partial)
        line.close()


def prove(line: Line, seal: Seal, one: Manifest, partial: Path) -> None:
    """Restore it into `partial` from where it is kept, as a restore would, and tell there what became of it.

    Raises Broken, Damaged.
    """
    began = time.monotonic()
    copying.discard(partial)
    try:
        unpack(line, seal, one, partial)
        with closing(sqlite3.connect(partial)) as connection:
            checks.sound(connection, partial)
        found = checks.content(partial)
        if (found.sha3, found.rows) != (one.sha3, one.rows):
            raise Broken(f"{one.label} holds other rows than its manifest says.", "Take another one.")
    except (Broken, session.Damaged) as error:
        line.ask("proven", label=one.label, ok=False, sentence=str(error), seconds=time.monotonic() - began)
        raise
    told = f"{one.label} was restored and found whole: {found.total:,} rows"
    line.ask("proven", label=one.label, ok=True, sentence=told, seconds=time.monotonic() - began)


@contextmanager
def _moment(settings: Settings, one: Database) -> Iterator[tuple[sqlite3.Connection, Protected]]:
    """A connection that sees one moment of the database, and where in the stream of changes that is."""
    with closing(session.connect(one.path)) as source:
        source.execute("PRAGMA wal_autocheckpoint = 0")
        if one.protect != "stream":
            session.begin_to_read(source)
            yield source, _NOWHERE
            return
        with closing(session.connect(one.path)) as writer, closing(Asking(settings.socket(one.name))) as asking:
            writer.execute("PRAGMA wal_autocheckpoint = 0")
            position = _fixed(source, writer, asking, one.path)
        yield source, position
        source.execute("ROLLBACK")


def _fixed(source: sqlite3.Connection, writer: sqlite3.Connection, asking: Asking, path: Path) -> Protected:
    """While nobody can commit, `source` begins to read and the protector says where it is. Raises NotProtected."""
    failed = NotProtected(f"Nobody let a snapshot of {path} begin.", "Who writes without a pause?")
    for _ in range(_TRIES):
        asking.position()  # most of it is sent before anybody has to wait
        with session.told(path):
            writer.execute("BEGIN IMMEDIATE")
            try:
                session.begin_to_read(source)
                return asking.position(_PAUSE_S)
            except NotProtected as error:
                failed = error
                source.execute("ROLLBACK")
            finally:
                writer.execute("ROLLBACK")
        time.sleep(_PAUSE_S)
    raise failed


def _put(line: Line, seal: Seal, one: Database, label: str, path: Path) -> int:
    """Send it, compressed and locked; how many pieces."""
    with subprocess.Popen(["zstd", "-q", "-1", "-c", str(path)], stdout=subprocess.PIPE) as packing:
        assert packing.stdout is not None
        number = 0
        for number, (piece, last) in enumerate(_pieces(packing.stdout), start=1):
            sealed = seal.close(piece, manifests.place(one.name, label, number, last=last))
            line.ask("put", sealed, label=label)
    if packing.returncode:
        raise AgentError(f"zstd ended with {packing.returncode}.", "Is there room, and memory?")
    return number


def _pieces(source: IO[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each with whether it is the last: one that was cut off behind a piece is told from one that is whole."""
    piece = source.read(PIECE)
    while piece:
        after = source.read(PIECE)
        yield piece, not after
        piece = after


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.sqlite.snapshot", description="Take a snapshot of a database.")
    parser.add_argument("--name", required=True)
    parser.add_argument("--config", type=Path, default=sqlite_settings.PATH)
    options = parser.parse_args(arguments)
    os.umask(0o077)
    with suppress(OSError):
        os.nice(10)
    with signals.as_errors():
        print(json.dumps(asdict(take(sqlite_settings.load(options.config), options.name))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
