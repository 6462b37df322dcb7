"""Back TDengine up: every row in raw blocks, or only the hours that changed since the newest backup.

    python3 -m agents.tdengine.backup.rows full|incr

It is published only when its files have been read again and hold what the server gave out. A table that this edition or
version cannot give is named in it, and the others are taken. Prints one JSON object with a sentence. Exit 0 taken,
1 not taken, 2 bad settings, 3 another one is being taken.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from agents.base import clock, files
from agents.base.errors import AgentError, run
from agents.base.locks import held
from agents.tdengine.backup import changes as td_changes
from agents.tdengine.backup import manifest as td_manifest
from agents.tdengine.backup import scan, schema
from agents.tdengine.backup import settings as td_settings
from agents.tdengine.backup.block import Block, NoBlock, decode, encode, rows_of
from agents.tdengine.backup.changes import Changes, Now
from agents.tdengine.backup.file import Writer
from agents.tdengine.backup.manifest import FORMAT, Manifest, Subtable, Window
from agents.tdengine.backup.raw import RawSession
from agents.tdengine.backup.scan import Range
from agents.tdengine.backup.settings import Settings
from agents.tdengine.backup.sums import WORD, Sums, runs_of, seed
from agents.tdengine.backup.verify import verify_own
from agents.tdengine.session import GONE, ODD_STATEMENT, TdengineError

FILE_BYTES = 256 << 20  # of blocks, before they are compressed
_MIN_FREE = 256 << 20
_WAIT = "Wait for it to end."


class Busy(AgentError):  # noqa: N818 - named after what is, as in the rest of the agents
    """Another backup is being taken."""

    exit_code = 3


def take(settings: Settings, kind: str) -> Manifest:
    """Take one and publish it. An incremental without a full one before it, or after one of an older format, becomes a
    full one. Raises AgentError.
    """
    with locked(settings), RawSession(settings.server()) as session:
        base = _base(settings) if kind == "incr" else None
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


def _base(settings: Settings) -> Manifest | None:
    if not td_manifest.labels(settings):
        return None
    found = td_manifest.newest(settings, subtables=False)
    return found if found.format == FORMAT else None


@contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """Nobody else writes the folder meanwhile. Raises Busy."""
    with held(settings.folder / ".lock", Busy("Another TDengine backup is being taken, or expired.", _WAIT)):
        yield


def _preflight(settings: Settings, base: Manifest | None) -> None:
    """Before anything is written: for a full one, room for what the newest backup took and a third more."""
    last = None if base or not td_manifest.labels(settings) else td_manifest.newest(settings, subtables=False)
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
        self._sums = Sums()  # by table
        self._in_file = Sums()
        self._files: dict[str, dict[str, Any]] = {}
        self._writer: Writer | None = None
        self._held = 0
        self._tables: dict[str, Any] = {}
        self._left_out: dict[str, str] = {}

    def run(self) -> Manifest:
        began, started = time.monotonic(), time.time()
        options = scan.options(self._session, self._database)
        if options["precision"] != "ns":
            raise AgentError(
                f"Database {self._database} counts time in {options['precision']}, and only nanoseconds are backed up.",
                "./dr backup.run --store tdengine --engine taosdump takes it.",
            )
        # What is written after this moment is noticed by the next backup, whether this one has it or not.
        filesets = scan.filesets(self._session, self._database)
        found = schema.look(self._session, self._database)
        self._tables, self._left_out = dict(found.tables), dict(found.left_out)
        if not self._tables:
            named = "".join(f"; {name}: {why}" for name, why in self._left_out.items())
            raise AgentError(
                f"Database {self._database} has no table to back up{named}.", "Deploy the TDengine nodes."
            )
        subtables = schema.subtables(self._session, self._database, self._tables)
        now = Now(self._database, found.tables, subtables, filesets, options)
        changes = td_changes.find(self._session, now, self._base, self._guarded)
        self._sums.found.update({name: dict(kept) for name, kept in changes.kept.items() if name in self._tables})
        try:
            self._dump(subtables, changes)
            self._close()
        except BaseException:
            if self._writer is not None:
                self._writer.abandon()
            raise
        windows = self._windows(changes)
        dumped = sum(one["rows"] for one in self._files.values())
        if self._base is None and dumped == 0:
            raise AgentError(
                f"Database {self._database} holds no row: an empty backup would look like one.",
                "Take one when there is something to take.",
            )
        manifest = Manifest(
            self._label, "incr" if self._base else "full", self._base.label if self._base else None, started,
            time.time(), self._session.server, self._database, options, self._tables, subtables, windows,
            {stable: _total(found.values()) for stable, found in windows.items()}, self._files, filesets,
            {name: days for name, days in changes.days.items() if name in self._tables},
            sum(window.rows for found in windows.values() for window in found.values()), dumped,
            sum(one["bytes"] for one in self._files.values()), self._settings.key_id(), 0.0,
            definitions=found.definitions, left_out=self._left_out, next_day=changes.next_day,
        )  # fmt: skip
        verified = verify_own(manifest, self._folder, self._settings)
        return replace(manifest, verified=verified, ended_at=time.time(), seconds=time.monotonic() - began)

    def _guarded(self, name: str, work: Callable[[], None]) -> None:
        """What cannot be given of one table leaves that one out, whatever it is; what ails the server ends all."""
        if name not in self._tables:
            return
        try:
            work()
        except NoBlock as error:
            self._leave_out(name, str(error))
        except TdengineError as error:
            if error.code in GONE:
                self._leave_out(name, "")
            elif error.code in ODD_STATEMENT:
                self._leave_out(name, str(error))
            else:
                raise

    def _leave_out(self, name: str, why: str) -> None:
        """`why` is empty for one that is not there any more."""
        del self._tables[name]
        self._sums.found.pop(name, None)
        if why:
            self._left_out[name] = why

    def _dump(self, subtables: list[Subtable], changes: Changes) -> None:
        whole: dict[str, list[int]] = {name: [] for name, hours in changes.changed.items() if hours is None}
        for n, one in enumerate(subtables):
            if one.stable in whole:
                whole[one.stable].append(n)
        for name, numbers in whole.items():
            self._guarded(name, partial(self._whole, subtables, name, numbers))
        number = {one.name: n for n, one in enumerate(subtables)} if len(whole) < len(changes.changed) else {}
        for name, hours in changes.changed.items():
            for span in scan.spans(hours or ()):
                self._guarded(name, partial(self._range, subtables, number, name, span))

    def _whole(self, subtables: list[Subtable], stable: str, numbers: list[int]) -> None:
        at_once = scan.at_once(self._session, self._database, stable, len(numbers))
        for start in range(0, len(numbers), at_once):
            if at_once == 1:
                self._one(numbers[start], subtables[numbers[start]])
            else:
                self._some({subtables[n].name: n for n in numbers[start : start + at_once]}, subtables, stable)

    def _one(self, number: int, one: Subtable) -> None:
        for raw in scan.of_subtable(self._session, self._database, one.name):
            self._add(number, one, raw, decode(raw))

    def _some(self, number: dict[str, int], subtables: list[Subtable], stable: str) -> None:
        found = scan.of_subtables(self._session, self._database, stable, self._tables[stable], list(number))
        for name, block in found:
            self._add(number[name], subtables[number[name]], encode(block), block)

    def _range(self, subtables: list[Subtable], number: dict[str, int], stable: str, span: Range) -> None:
        for name, block in scan.of_range(self._session, self._database, stable, self._tables[stable], span):
            if name not in number:
                self._learn(subtables, number, stable)
            if name in number:  # else it was dropped again
                self._add(number[name], subtables[number[name]], encode(block), block)

    def _learn(self, subtables: list[Subtable], number: dict[str, int], stable: str) -> None:
        """The subtables that were made meanwhile, all at once: their hours change for the next backup too."""
        for one in schema.subtables(self._session, self._database, {stable: self._tables[stable]}):
            if one.name not in number:
                number[one.name] = len(subtables)
                subtables.append(one)

    def _add(self, number: int, subtable: Subtable, raw: bytes, block: Block) -> None:
        if self._writer is None:
            path = self._folder / f"data-{len(self._files) + 1:04d}.blocks.zst.enc"
            self._writer = Writer(path, self._settings.cipher, self._settings.zstd_level)
        runs = runs_of(block, seed(subtable))
        self._sums.add(subtable.stable, runs)
        self._in_file.add(subtable.stable, runs)
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

    def _windows(self, changes: Changes) -> dict[str, dict[int, Window]]:
        found: dict[str, dict[int, Window]] = {name: {} for name in self._tables}
        for name, hours in self._sums.told().items():
            before = self._base.windows.get(name, {}) if self._base else {}
            kept = changes.kept.get(name, {})
            for hour, (rows, digest) in sorted(hours.items()):
                found[name][hour] = Window(rows, digest, before[hour].held_in if hour in kept else self._label)
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
    if manifest.left_out:
        sentence += f"; NOT in it: {'; '.join(f'{name}: {why}' for name, why in manifest.left_out.items())}"
    names = ("label", "kind", "base", "started_at", "ended_at", "server_version", "rows", "rows_dumped", "bytes",
             "seconds", "key_id", "totals", "verified", "left_out")  # fmt: skip
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
