"""Bring a database back into a new file: a snapshot, then its write-ahead log up to the transaction that is wanted.

SQLite does it: frames are laid beside the file as the log that they were, and it recovers from them as after a crash.
"""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

from agents.base.errors import AgentError
from agents.sqlite import ground, records, wal
from agents.sqlite import manifest as manifests
from agents.sqlite.manifest import PIECE, Manifest
from agents.sqlite.records import Header
from agents.sqlite.seal import Broken, Seal
from agents.sqlite.session import told
from agents.sqlite.targets import Kept, NotReached, Target, choose
from agents.sqlite.wire import Line


@dataclass(frozen=True)
class Reached:
    """Which snapshot it began with, and the transaction that it ends with, read at `at` (unix seconds)."""

    snapshot: str
    stream: str
    tx: int
    at: float
    is_end: bool  # whether that is the newest transaction of its stream


def rebuild(line: Line, seal: Seal, there: Kept, target: Target, into: Path) -> Reached:
    """Raises NotReached, Broken, Away. `into` is a new file; it is not checked yet, nor synced."""
    base = choose(there, target)
    unpack(line, seal, base, into)
    if target.label or not base.stream:
        return Reached(base.label, base.stream, base.tx, base.at, not target.label)
    return _replayed(line, seal, there, base, target, into)


def unpack(line: Line, seal: Seal, one: Manifest, into: Path) -> None:
    """The snapshot alone. Raises Broken."""
    with (
        into.open("xb") as out,
        subprocess.Popen(
            ["zstd", "-q", "-d", "-c"], stdin=subprocess.PIPE, stdout=out, stderr=subprocess.DEVNULL
        ) as unpacking,
    ):
        assert unpacking.stdin is not None
        try:
            _fill(unpacking.stdin, _pieces(line, one.label), seal, one)
        except BrokenPipeError:
            pass  # told by its code
        finally:
            unpacking.stdin.close()
    if unpacking.returncode or into.stat().st_size != one.bytes:
        raise Broken(f"{one.label} does not unpack to the {one.bytes} bytes that it had.", "Choose another backup.")


def _fill(sink: IO[bytes], pieces: Iterator[bytes], seal: Seal, one: Manifest) -> None:
    number = 0
    for number, piece in enumerate(pieces, start=1):
        place = manifests.place(one.database, one.label, number, last=number == one.pieces)
        sink.write(seal.open(piece, place))
    if number != one.pieces:
        raise Broken(f"{one.label} has {number} pieces instead of {one.pieces}.", "Choose another backup.")


def _pieces(line: Line, label: str) -> Iterator[bytes]:
    """Raises Broken for what is cut off."""
    rest = b""
    for block in _blocks(line, label=label):
        rest += block
        while len(rest) >= PIECE.size and len(rest) >= (end := PIECE.size + PIECE.unpack_from(rest)[0]):
            yield rest[PIECE.size : end]
            rest = rest[end:]
    if rest:
        raise Broken(f"{label} is cut off.", "Choose another backup.")


def _blocks(line: Line, **what: str | int) -> Iterator[bytes]:
    """A file of the receiver, from its start to its end."""
    offset, size = 0, 1
    while offset < size:
        said, data = line.ask("read", b"", offset=offset, **what)
        size = int(said["bytes"])
        if not data:
            break
        offset += len(data)
        yield data


def _replayed(line: Line, seal: Seal, there: Kept, base: Manifest, target: Target, into: Path) -> Reached:
    """Epoch after epoch, as the log was."""
    told_epochs, _ = line.ask("epochs", stream=base.stream)
    epochs = [one for one in told_epochs["epochs"] if one["epoch"] >= base.epoch]
    spoilt = next((n for n, one in enumerate(epochs) if not one["whole"]), len(epochs))
    epochs, damaged = epochs[:spoilt], [one["epoch"] for one in epochs[spoilt : spoilt + 1]]
    end = records.header(epochs[-1]["last"]) if epochs else None
    if damaged and target.includes(end.at if end else base.at, (end.tx if end else base.tx) + 1):
        raise Broken(
            f"Epoch {damaged[0]} of {base.stream} is damaged, and what is wanted lies in it or behind it.",
            f"--time {stamp(end.at if end else base.at)} restores what lies before; or use the copy off-site.",
        )
    _within(there, base, target, end)
    tx, at = base.tx, base.at
    wanted = base.epoch
    for one in epochs:
        first = records.header(one["first"])
        if not target.includes(first.at, first.tx_before + 1):
            break
        if one["epoch"] != wanted or first.first != 1:
            raise Broken(f"Epoch {wanted} of {base.stream} is missing.", "Restore to a moment before or after it.")
        wanted += 1
        tx, at = _epoch(line, seal, base, one["epoch"], target, into) or (tx, at)
    if tx < base.tx:
        raise Broken(f"{base.stream} ends before {base.label}, which was taken of it.", "Choose another backup.")
    return Reached(base.label, base.stream, tx, at, end is None or tx == end.tx)


def _within(there: Kept, base: Manifest, target: Target, end: Header | None) -> None:
    """Raises NotReached for what lies behind the end of the stream: nobody knows what was written then."""
    last_tx, last_at = (end.tx, end.at) if end else (base.tx, base.at)
    if target.tx is not None and target.tx > last_tx:
        raise NotReached(f"No transaction {target.tx} is kept: {last_tx} is the last.", "sqlite-restore --list")
    is_newest = not there.streams or base.stream == there.streams[-1]
    if target.at is not None and target.at > last_at and not is_newest:
        raise NotReached(
            f"Nothing is known of that moment: the changes that {base.label} leads to end before it, and the next "
            "snapshot is younger.",
            f"--time {stamp(last_at)} restores the last that is known before it.",
        )


def stamp(at: float) -> str:
    """A moment as an operator may give it, in UTC to the microsecond; never before `at`."""
    return datetime.fromtimestamp(at + 1e-6, timezone.utc).isoformat()


def _epoch(line: Line, seal: Seal, base: Manifest, epoch: int, target: Target, into: Path) -> tuple[int, float] | None:
    """Lay what is wanted of one epoch beside the file and have SQLite take it in; the last transaction and its time."""
    kept = into.with_name(f"{into.name}.epoch")
    log = ground.sidecar(into, "-wal")
    try:
        with kept.open("wb") as out:
            for block in _blocks(line, stream=base.stream, epoch=epoch):
                out.write(block)
        frames, tx, at, number = 0, base.tx, base.at, None
        with log.open("wb") as out:
            for one, data in records.read(kept):
                if number is not None and one.no != number + 1:
                    raise Broken(f"Record {number + 1} of {base.stream} is missing.", "Choose another backup.")
                number = one.no
                found = _wanted(one, records.unlocked(seal, base.database, base.stream, one, data), target)
                if found is None:
                    break
                content, frames_now, tx_now = found
                out.write(content)
                frames, tx, at = frames_now or frames, tx_now, one.at
                if tx_now < one.tx:
                    break
    finally:
        kept.unlink(missing_ok=True)
    if not frames:
        log.unlink()
        return None
    _recover(into, frames)
    return tx, at


def _wanted(one: Header, data: bytes, target: Target) -> tuple[bytes, int, int] | None:
    """Of a record what is wanted: its bytes, the last frame that ends a transaction (0: none), and its number."""
    found = wal.parse(data, one.first, one.page, bytes.fromhex(one.salts))
    if target.at is not None and one.at > target.at:
        return None
    count = len(found.commits) if target.tx is None else min(len(found.commits), target.tx - one.tx_before)
    if count < 0 or (count == 0 and found.commits):
        return None
    if count == len(found.commits):
        return data, found.commits[-1] if found.commits else 0, one.tx
    last = found.commits[count - 1]
    head = wal.HEADER if one.first == 1 else 0
    return data[: head + (last - one.first + 1) * (wal.FRAME + one.page)], last, one.tx_before + count


def _recover(path: Path, frames: int) -> None:
    """SQLite recovers the log that lies beside. Raises Broken unless it took every frame."""
    with told(path), closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")  # the whole file is synced at the end
        _, found, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if (found, copied) != (frames, frames):
            raise Broken(f"SQLite took {found} of {frames} frames of a log.", "Choose another backup, or moment.")
    leftover = ground.sidecar(path, "-wal")
    if leftover.exists():
        raise AgentError(f"{leftover} did not go.", "Who has it open?")
