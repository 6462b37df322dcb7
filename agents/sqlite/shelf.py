"""What the receiver keeps of one database: streams of changes, snapshots, and what was found out about them.

    FOLDER/streams/20261128-220000S/0000000001.wal       records of one epoch, see agents/sqlite/records.py
    FOLDER/snapshots/20261128-220000F/manifest.json      what it holds, sealed; beside it `data`, locked pieces
    FOLDER/proofs.jsonl                                  see agents/jobs/proofs.py

What is said to be kept is on the disk.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any

from agents.base import clock, files
from agents.base.errors import AgentError
from agents.base.locks import FileLock
from agents.jobs import proofs
from agents.sqlite import copying, expire, records
from agents.sqlite.expire import Law
from agents.sqlite.manifest import PIECE
from agents.sqlite.records import Header

STREAMS, SNAPSHOTS, PROOFS, PARTIAL, GONE = "streams", "snapshots", "proofs.jsonl", ".partial-", ".gone-"
MANIFEST, DATA = "manifest.json", "data"
MOST = 8 << 20  # bytes in one answer
LOCK = "expire.lock"  # beside the shelves: held while one expires, and while they are copied off-site, or come back
READING_S = 900.0  # so long after a read somebody may still be restoring


class Shelf:
    """Of one database of one client. Methods named as messages; `said` is the message, the answer (JSON, bytes)."""

    def __init__(self, folder: Path, max_bytes: int, law: Law | None = None) -> None:
        self.folder, self._max_bytes, self._law = folder, max_bytes, law
        self._why, self._read_at = "nothing was proven yet", 0.0
        for name in (STREAMS, SNAPSHOTS):
            (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
            for torn in (folder / name).glob(f"{GONE}*"):
                shutil.rmtree(torn)
        files.sync_folder(folder)
        self._lock = Lock()
        self._tx = 0  # how far transactions are counted
        self._read_anew()

    def answer(self, said: Mapping[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        """Raises AgentError, KeyError, TypeError, ValueError, OSError."""
        with self._lock:
            if (self.folder / STREAMS).stat().st_mtime_ns != self._streams_at:
                self._read_anew()  # streams came back from the off-site copy
            done = {
                "state": self._state, "begin": self._begin, "keep": self._keep, "start": self._start, "put": self._put,
                "publish": self._publish, "proven": self._proven, "list": self._list, "epochs": self._epochs,
                "read": self._read,
            }[str(said["do"])](said, data)  # fmt: skip
        return done if isinstance(done, tuple) else (done, b"")

    def _read_anew(self) -> None:
        """Which streams there are, and how far the newest one goes."""
        self._streams_at = (self.folder / STREAMS).stat().st_mtime_ns
        newest = max(_names(self.folder / STREAMS), default="")
        if newest != self._stream:
            self._stream = newest
            self._last = self._trimmed()

    def _state(self, said: Mapping[str, Any], data: bytes) -> dict[str, Any]:
        return {
            "stream": self._stream, "last": asdict(self._last) if self._last else None, "based": self._based(),
            "snapshot_at": max((one["taken_at"] for one in self._manifests()), default=0.0),
            "snapshots": len(_names(self.folder / SNAPSHOTS)), **self._newest_proof(),
        }  # fmt: skip

    def _newest_proof(self) -> dict[str, Any]:
        """When the last one passed, 0 where none did, and what the newest one found."""
        known = proofs.read(self.folder / PROOFS)
        passed = next((one.proven_at for one in reversed(known) if one.passed), 0.0)
        return {"proven_at": passed, "damaged": "" if not known or known[-1].passed else known[-1].sentence}

    def _based(self) -> bool:
        """Whether there is a snapshot on which the changes of the newest stream can be laid."""
        return any(one.get("stream") == self._stream for one in self._manifests())

    def _begin(self, said: Mapping[str, Any], data: bytes) -> dict[str, Any]:
        """A new stream; transactions are counted on. What is there as it begins counts as one: a restore may have put
        it there, and the number of the last transaction before stays that one's alone.
        """
        tx = (self._last.tx if self._last else self._tx) + (1 if self._stream else 0)
        name = clock.label(_names(self.folder / STREAMS)) + "S"
        (self.folder / STREAMS / name).mkdir(mode=0o700)
        files.sync_folder(self.folder / STREAMS)
        self._stream, self._last = name, None
        self._streams_at = (self.folder / STREAMS).stat().st_mtime_ns
        files.replace(self.folder / STREAMS / name / "begin.json", json.dumps({"tx": tx, "at": time.time()}))
        return {"stream": name, "tx": tx}

    def _keep(self, said: Mapping[str, Any], data: bytes) -> dict[str, Any]:
        one = records.header(said["header"])
        if said["stream"] != self._stream or one.no != (self._last.no if self._last else 0) + 1:
            raise AgentError("it is not the next record of the newest stream")
        self._make_sure_of_room(len(data))
        path = self._path(self._stream, one.epoch)
        new = not path.exists()
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            end = os.fstat(handle).st_size
            try:
                _write(handle, records.packed(one, data))
                os.fdatasync(handle)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(handle, end)
                raise
        finally:
            os.close(handle)
        if new:
            files.sync_folder(path.parent)
            self._size = None
        self._last, self._tx = one, one.tx
        return {"no": one.no}

    _stream = ""
    _last: Header | None = None
    _streams_at = 0
    _size: tuple[float, int] | None = None

    def _bytes(self) -> int:
        """Bytes on this shelf, counted now and then."""
        if self._size is None or time.monotonic() - self._size[0] > 60:
            used = sum(one.stat().st_size for one in self.folder.rglob("*") if one.is_file())
            self._size = (time.monotonic(), used)
        return self._size[1]

    def _make_sure_of_room(self, wanted: int) -> None:
        """Backups of other stores are on this disk: they are not to be crowded out. Raises AgentError."""
        free = shutil.disk_usage(self.folder).free
        if free < wanted + _room(self.folder):
            raise AgentError(f"its disk has {free >> 20} MiB left, which are not for SQLite")
        if self._bytes() > self._max_bytes:
            raise AgentError(f"more than the {self._max_bytes >> 20} MiB that one database may have are kept")

    def _start(self, said: Mapping[str, Any], data: bytes) -> dict[str, Any]:
        """A snapshot is to come; what an earlier one left half done goes."""
        place = self.folder / SNAPSHOTS
        for torn in place.glob(f"{PARTIAL}*"):
            shutil.rmtree(torn)
        label = clock.label(_names(place)) + "F"
        (place / f"{PARTIAL}{label}").mkdir(mode=0o700)
        return {"label": label}

    def _put(self, said: Mapping[str, Any], data: bytes) -> dict[str, Any]:
        self._make_sure_of_room(len(data))
        with self._partial(said).joinpath(DATA).open("ab") as out:
            out.write(PIECE.pack(len(data)) + data)
        return {}

    def _publish(self, said: Mapping[str, Any], data: bytes) -> dict[str, Any]:
        partial = self._partial(said)
        copying.sync(partial / DATA)
        files.new(partial / MANIFEST, json.dumps(said["manifest"]), 0o600)
        files.publish(partial, self.folder / SNAPSHOTS / str(said["label"]))
        self._size = None
        return {}

    def _partial(self, said: Mapping[str, Any]) -> Path:
        return _below(self.folder / SNAPSHOTS, f"{PARTIAL}{said['label']}")

    def _proven(self, said: Mapping[str, Any], data: bytes) -> dict[str, Any]:
        """What became of a restore of a snapshot, from here, by the host that restores."""
        ok, sentence = bool(said["ok"]), str(said["sentence"])
        label, seconds = str(said["label"]), float(said["seconds"])
        damaged = () if ok else (sentence,)
        one = proofs.Proof(label, time.time(), ok, damaged, "full", 1, seconds, sentence=sentence)
        proofs.append(one, self.folder / PROOFS)
        if ok and self._law is not None:
            lock = FileLock(self.folder.parent / LOCK)
            try:
                if lock.take():
                    self._expire(self._law)
                else:
                    self._why = "nothing expires: a copy of it goes off-site, or comes from there"
            finally:
                lock.release()
        return {}

    def _expire(self, law: Law) -> None:
        """Let go of what is not needed, unless somebody reads: they may be restoring from it."""
        if self._read_at and time.monotonic() - self._read_at < READING_S:
            self._why = "nothing expires: somebody restores"
            return
        known = proofs.verdicts(proofs.read(self.folder / PROOFS))
        going = expire.plan(self._manifests(), _names(self.folder / STREAMS), known, law, time.time())
        self._why = going.why
        # What needs another goes first, so that at no time there is a snapshot that cannot be gone on from.
        for name in going.snapshots:
            self._remove(self.folder / SNAPSHOTS / name)
        for name in going.streams:
            self._remove(self.folder / STREAMS / name)
        for name, first in going.epochs.items():
            for path in (self.folder / STREAMS / name).glob("*.wal"):
                if int(path.stem) < first:
                    path.unlink()
        self._size = None

    def _remove(self, path: Path) -> None:
        """Its name goes at once."""
        aside = path.with_name(f"{GONE}{path.name}")
        path.rename(aside)
        files.sync_folder(path.parent)
        shutil.rmtree(aside)

    def _list(self, said: Mapping[str, Any], data: bytes) -> dict[str, Any]:
        known = proofs.verdicts(proofs.read(self.folder / PROOFS))
        told = {label: [one.passed, one.proven_at, one.sentence] for label, one in known.items()}
        return {
            "snapshots": self._manifests(), "streams": _names(self.folder / STREAMS), "proofs": told,
            "last": asdict(self._last) if self._last else None, "retention": self._why,
        }  # fmt: skip

    def _manifests(self) -> list[dict[str, Any]]:
        found = []
        for name in _names(self.folder / SNAPSHOTS):
            with suppress(OSError, ValueError):
                found.append(json.loads((self.folder / SNAPSHOTS / name / MANIFEST).read_text()))
        return found

    def _epochs(self, said: Mapping[str, Any], data: bytes) -> dict[str, Any]:
        """Of one stream, oldest first: number, whether it is whole, header of the first and of the last record."""
        found = []
        for path in sorted(_below(self.folder / STREAMS, said["stream"]).glob("*.wal")):
            ones = list(records.headers(path))
            whole = bool(ones) and ones[-1][1] == path.stat().st_size
            ends = {"first": asdict(ones[0][0]), "last": asdict(ones[-1][0])} if ones else {}
            found.append({"epoch": int(path.stem), "whole": whole, **ends})
        return {"epochs": found}

    def _read(self, said: Mapping[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        """A part of a file: a snapshot's data by its `label`, an epoch's records by `stream` and `epoch`."""
        if "label" in said:
            path = _below(self.folder / SNAPSHOTS, said["label"]) / DATA
            if said["label"] != max(_names(self.folder / SNAPSHOTS), default=""):
                self._read_at = time.monotonic()  # the newest is read for its proof, and never goes
        else:
            self._read_at = time.monotonic()
            path = self._path(str(said["stream"]), int(said["epoch"]))
        with path.open("rb") as source:
            source.seek(int(said["offset"]))
            return {"bytes": path.stat().st_size}, source.read(MOST)

    def _path(self, stream: str, epoch: int) -> Path:
        return _below(self.folder / STREAMS, stream) / f"{epoch:010d}.wal"

    def _trimmed(self) -> Header | None:
        """The newest record; what was torn behind it by a crash, and never confirmed, is cut off.

        None where there is none, and where it cannot be gone on behind it, because a record before others is damaged.
        """
        paths = sorted((self.folder / STREAMS / self._stream).glob("*.wal")) if self._stream else []
        for path in reversed(paths):
            last, end = None, 0
            for one, ends in records.headers(path):
                last, end = one, ends
            self._tx = max(self._tx, last.tx if last else 0)
            if end < path.stat().st_size:
                if not records.is_torn(path, end):
                    return None
                os.truncate(path, end)
            if last is not None:
                return last
            path.unlink()
        return None


def _names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))


def _below(folder: Path, name: object) -> Path:
    """Raises ValueError for a name that leads elsewhere."""
    if not isinstance(name, str) or "/" in name or name.startswith("..") or not name:
        raise ValueError(f"{name!r} is no name")
    return folder / name


def _room(folder: Path) -> int:
    """Bytes that stay free on the disk for others."""
    return min(1 << 30, shutil.disk_usage(folder).total // 20)


def _write(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]
