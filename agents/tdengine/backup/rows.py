"""Back TDengine up: every row in raw blocks, or only the hours that changed since the newest backup.

    python3 -m agents.tdengine.backup.rows full|incr

It is published only when its files have been read again and hold what the server gave out. Prints one JSON object with
a sentence. Exit 0 taken, 1 not taken, 2 bad settings, 3 another one is being taken.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from agents.base import clock, files
from agents.base.errors import AgentError, run
from agents.base.locks import held
from agents.tdengine.backup import changes as td_changes
from agents.tdengine.backup import manifest as td_manifest
from agents.tdengine.backup import scan
from agents.tdengine.backup import settings as td_settings
from agents.tdengine.backup.block import Block, decode, encode, rows_of
from agents.tdengine.backup.changes import Changes
from agents.tdengine.backup.file import Writer
from agents.tdengine.backup.manifest import Manifest, Subtable, Window
from agents.tdengine.backup.raw import RawSession
from agents.tdengine.backup.scan import Range
from agents.tdengine.backup.settings import Settings
from agents.tdengine.backup.sums import WORD, Sums, runs_of
from agents.tdengine.backup.verify import verify_own

FILE_BYTES = 256 << 20  # of blocks, before they are compressed
_MIN_FREE = 256 << 20
_WAIT = "Wait for it to end."


class Busy(AgentError):  # noqa: N818 - named after what is, as in the rest of the agents
    """Another backup is being taken."""

    exit_code = 3


def take(settings: Settings, kind: str) -> Manifest:
    """Take one and publish it. An incremental without a full one before it becomes a full one. Raises AgentError."""
    with locked(settings), RawSession(settings.server()) as session:
        base = td_manifest.newest(settings) if kind == "incr" and td_manifest.labels(settings) else None
        _preflight(settings, base)
        stamp = clock.label(td_manifest.labels(settings))
        label = f"{base.label.partition('_')[0]}_{stamp}I" if base else f"{stamp}F"
        partial = settings.folder / f".partial-{label}"
        for torn in settings.folder.glob(".partial-*"):
            shutil.rmtree(torn)
        partial.mkdir(mode=0o700)
        try:
            manifest = _Taking(settings, session, base, label, partial).run()
            td_manifest.save(manifest, partial, settings)
            files.publish(partial, settings.folder / label)
            return manifest
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


@contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """Nobody else writes the folder meanwhile. Raises Busy."""
    with held(settings.folder / ".lock", Busy("Another TDengine backup is being taken, or expired.", _WAIT)):
        yield


def _preflight(settings: Settings, base: Manifest | None) -> None:
    """Before anything is written: for a full one, room for what the newest backup took and a third more."""
    last = None if base or not td_manifest.labels(settings) else td_manifest.newest(settings)
    need = _MIN_FREE + int((last.bytes if last else 0) * 1.3)
    free = shutil.disk_usage(settings.folder).free
    if free < need:
        raise AgentError(
            f"{settings.folder} has {free >> 20} MiB free, a backup may need {need >> 20} MiB.",
            "Make room there, or let old backups go: ./dr backup.expire --plan",
        )


class _Taking:
    """One backup while it is taken."""

    def __init__(
        self, settings: Settings, session: RawSession, base: Manifest | None, label: str, folder: Path
    ) -> None:
        self._settings, self._session, self._base, self._label, self._folder = settings, session, base, label, folder
        self._database = settings.database
        self._sums = Sums()  # by supertable
        self._in_file = Sums()  # by subtable
        self._files: dict[str, dict[str, Any]] = {}
        self._writer: Writer | None = None
        self._held = 0

    def run(self) -> Manifest:
        began, started = time.monotonic(), time.time()
        options = scan.options(self._session, self._database)
        # What is written after this moment is noticed by the next backup, whether this one has it or not.
        filesets = scan.filesets(self._session, self._database)
        tables = scan.supertables(self._session, self._database)
        if not tables:
            raise AgentError(f"Database {self._database} has no supertable to back up.", "Deploy the TDengine nodes.")
        subtables = scan.subtables(self._session, self._database, tables)
        found = td_changes.find(self._session, self._database, tables, subtables, filesets, options, self._base)
        self._sums.found.update(found.kept)
        try:
            self._dump(tables, subtables, found.changed)
            self._close()
        except BaseException:
            if self._writer is not None:
                self._writer.abandon()
            raise
        windows = self._windows(tables, found)
        dumped = sum(one["rows"] for one in self._files.values())
        if self._base is None and dumped == 0:
            raise AgentError(
                f"Database {self._database} holds no row: an empty backup would look like one.",
                "Take one when there is something to take.",
            )
        manifest = Manifest(
            self._label, "incr" if self._base else "full", self._base.label if self._base else None, started,
            time.time(), self._session.server, self._database, options, tables, subtables, windows,
            {stable: _total(found.values()) for stable, found in windows.items()}, self._files, filesets, found.days,
            sum(window.rows for found in windows.values() for window in found.values()), dumped,
            sum(one["bytes"] for one in self._files.values()), self._settings.key_id(), 0.0,
        )  # fmt: skip
        verified = verify_own(manifest, self._folder, self._settings)
        return replace(manifest, verified=verified, ended_at=time.time(), seconds=time.monotonic() - began)

    def _dump(
        self, tables: dict[str, Any], subtables: list[Subtable], changed: dict[str, set[int]] | None
    ) -> None:
        number = {one.name: n for n, one in enumerate(subtables)}
        if changed is None:
            for n, one in enumerate(subtables):
                for raw in scan.of_subtable(self._session, self._database, one.name):
                    self._add(n, one, raw, decode(raw))
            return
        for stable, hours in changed.items():
            for span in scan.spans(hours):
                self._range(tables, subtables, number, stable, span)

    def _range(
        self, tables: dict[str, Any], subtables: list[Subtable], number: dict[str, int], stable: str, span: Range
    ) -> None:
        for name, block in scan.of_range(self._session, self._database, stable, tables[stable], span):
            if name not in number:  # a new subtable: its hour changes for the next backup too
                number[name] = len(subtables)
                subtables += self._new(tables, stable, name)
            n = number[name]
            self._add(n, subtables[n], encode(block), block)

    def _new(self, tables: dict[str, Any], stable: str, name: str) -> list[Subtable]:
        every = scan.subtables(self._session, self._database, {stable: tables[stable]})
        return [one for one in every if one.name == name]

    def _add(self, number: int, subtable: Subtable, raw: bytes, block: Block) -> None:
        if self._writer is None:
            path = self._folder / f"data-{len(self._files) + 1:04d}.blocks.zst.enc"
            self._writer = Writer(path, self._settings.cipher, self._settings.zstd_level)
        runs = runs_of(block, subtable)
        self._sums.add(subtable.stable, runs)
        self._in_file.add(subtable.name, runs)
        self._writer.add(number, raw, rows_of(raw))
        self._held += len(raw)
        if self._held >= FILE_BYTES:
            self._close()

    def _close(self) -> None:
        if self._writer is None:
            return
        writer = self._writer
        writer.close(self._in_file.told())
        self._files[writer.path.name] = {"bytes": writer.bytes, "sha256": writer.sha256, "rows": writer.rows}
        self._writer, self._in_file, self._held = None, Sums(), 0

    def _windows(self, tables: dict[str, Any], changes: Changes) -> dict[str, dict[int, Window]]:
        found: dict[str, dict[int, Window]] = {name: {} for name in tables}
        for name, hours in self._sums.told().items():
            before = self._base.windows.get(name, {}) if self._base else {}
            for hour, (rows, digest) in sorted(hours.items()):
                fresh = changes.changed is None or hour in changes.changed[name]
                # A row that came between the mark and the dump: an hour without a mark counts as changed next time.
                mark = changes.marks[name].get(hour, (0, ""))[1] or ("" if fresh else before[hour].mark)
                held_in = self._label if fresh else before[hour].held_in
                found[name][hour] = Window(rows, digest, mark, held_in)
        return found


def _total(windows: Iterable[Window]) -> list[Any]:
    rows = total = 0
    for window in windows:
        rows, total = rows + window.rows, (total + int(window.hash, 16)) % WORD
    return [rows, f"{total:016x}"]


def told(manifest: Manifest) -> dict[str, Any]:
    """What is printed: the manifest without its lists, and a sentence."""
    rate = manifest.rows_dumped / max(manifest.seconds, 0.001)
    sentence = (
        f"{manifest.label}: {manifest.rows_dumped:,} of {manifest.rows:,} rows in {manifest.seconds:.1f} s "
        f"({rate:,.0f} rows/s), {manifest.bytes / 2**20:.1f} MiB, read again and found whole"
    )
    names = ("label", "kind", "base", "started_at", "ended_at", "server_version", "rows", "rows_dumped", "bytes",
             "seconds", "key_id", "totals", "verified")  # fmt: skip
    return {name: getattr(manifest, name) for name in names} | {"chain": manifest.chain, "sentence": sentence}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.tdengine.backup.rows", description="Back TDengine up.")
    parser.add_argument("kind", choices=("full", "incr"))
    parser.add_argument("--config", type=Path, default=td_settings.PATH)
    options = parser.parse_args(arguments)
    os.umask(0o077)
    manifest = take(td_settings.load(options.config), options.kind)
    print(json.dumps(told(manifest)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
