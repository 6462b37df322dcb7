"""Restore TDengine from a backup and all that it needs, then hold every hour against what the backup says it holds.

    python3 -m agents.tdengine.backup.restore [--label L] [--into DATABASE] [--tables A,B] [--symbols S,T]
        [--from TIME] [--to TIME]
                                 [--mode missing|overwrite] [--jobs N] [--plan]

`missing` writes what is not there and leaves what is, so that a newer correction survives and a restore that was broken
off goes on; `overwrite` writes everything. Times need their zone. --plan looks and writes nothing. Prints one JSON
object with a sentence. Exit 0 every row is there, 1 not, 2 this cannot be restored here.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from agents.base.errors import AgentError, run
from agents.tdengine.backup import file, ground, scan
from agents.tdengine.backup import live as td_live
from agents.tdengine.backup import manifest as td_manifest
from agents.tdengine.backup import selection as td_select
from agents.tdengine.backup import settings as td_settings
from agents.tdengine.backup.block import Array, Block, decode, encode, pick, rows_of
from agents.tdengine.backup.manifest import HOUR_NS, Manifest, Subtable, Window
from agents.tdengine.backup.raw import RawSession
from agents.tdengine.backup.selection import BadRequest, Selection
from agents.tdengine.backup.settings import Settings
from agents.tdengine.backup.sums import Sums, hours, runs_of
from agents.tdengine.session import Settings as Server

MODES = ("missing", "overwrite")
Windows = dict[str, dict[int, Window]]
Told = dict[str, dict[int, tuple[int, str]]]


@dataclass(frozen=True)
class Request:
    """What to restore. `into`: "" for the backup's own database."""

    label: str = ""
    into: str = ""
    selection: Selection = field(default_factory=Selection)
    mode: str = "missing"
    jobs: int = 1


@dataclass
class Done:
    """What became of it. `missing`: [supertable, hour, rows] that are not there; `other`: rows with other content;
    `bytes`: what one copy of the planned rows took on the servers' disks when they were backed up.
    """

    label: str
    chain: list[str]
    into: str
    rows_planned: int
    windows: int
    there: bool
    bytes: int = 0
    replicas: int = 1
    rows_written: int = 0
    rows_present: int = 0
    other: int = 0
    missing: list[list[Any]] = field(default_factory=list)
    seconds: float = 0.0
    write_s: float = 0.0
    sentence: str = ""


@dataclass(frozen=True)
class Compared:
    """A supertable held against a backup: `rows` of the backup, `missing` and `other` of them that are not there or are
    there with other content; `live` rows in the same hours now.
    """

    rows: int
    missing: int
    other: int
    live: int


def compare(settings: Settings, request: Request) -> tuple[Manifest, Done, dict[str, Compared]]:
    """Hold a database against a backup, hour by hour, and row by row where an hour differs. Raises AgentError."""
    manifest = chosen(settings, request.label)
    chain = td_manifest.links(manifest, settings)
    wanted = request.selection.windows(manifest)
    with RawSession(settings.server()) as session:
        into = request.into or manifest.database
        there = ground.is_there(session, into)
        done = Done(manifest.label, list(manifest.chain), into, 0, sum(map(len, wanted.values())), there)
        looking = _Restoring(settings, request, manifest, chain, wanted, settings.server(), done)
        found = {stable: looking.compare(session, stable) for stable in wanted}
    done.rows_planned = sum(one.rows for one in found.values())
    return manifest, done, found


def chosen(settings: Settings, label: str) -> Manifest:
    """The backup of this label, or the newest, if this host can unlock it. Raises NoBackup, Edited, BadRequest."""
    manifest = td_manifest.load(label, settings) if label else td_manifest.newest(settings)
    if manifest.key_id != settings.key_id():
        raise BadRequest(
            f"Backup {manifest.label} is locked with the key {manifest.key_id}, this host has {settings.key_id()}.",
            "Bring the old key back: ./dr keys.restore",
        )
    return manifest


def restore(settings: Settings, request: Request, server: Server | None = None, plan: bool = False) -> Done:
    """Restore and reconcile, or only look. `server`: another one than the settings'. Raises AgentError."""
    manifest = chosen(settings, request.label)
    chain = td_manifest.links(manifest, settings)
    wanted = request.selection.windows(manifest)
    reach = server or settings.server()
    with RawSession(reach) as session:
        into = request.into or manifest.database
        there = ground.check(session, into, manifest, wanted)
        done = Done(
            manifest.label, list(manifest.chain), into, sum(w.rows for ws in wanted.values() for w in ws.values()),
            sum(map(len, wanted.values())), there,
        )  # fmt: skip
        if plan:
            done.replicas = int(manifest.options["replica"])
            size = sum(int(facts[1]) for one in manifest.filesets.values() for facts in one) // done.replicas
            size = max(size, sum(link.bytes for link in chain.values()))  # rows in memory were in no file yet
            done.bytes = int(size * done.rows_planned / max(manifest.rows, 1))
            needs = f"a chain of {len(done.chain)}"
            done.sentence = f"{done.rows_planned:,} rows in {done.windows} hours of {needs} go into {into}"
            return done
        return _Restoring(settings, request, manifest, chain, wanted, reach, done).run(session)


class _Restoring:
    """One restore while it goes on."""

    def __init__(
        self, settings: Settings, request: Request, manifest: Manifest, chain: Mapping[str, Manifest], wanted: Windows,
        server: Server, done: Done,
    ) -> None:  # fmt: skip
        self._settings, self._request, self._manifest, self._chain = settings, request, manifest, chain
        self._wanted, self._server, self._done = wanted, server, done
        self._selection = request.selection
        self._subtables = [one for one in manifest.subtables if self._selection.has(one)]
        self._keys = {
            name: sum(bool(key) for *_, key in shape["columns"]) for name, shape in manifest.supertables.items()
        }
        self._live: dict[str, set[int]] = {}
        self._expected = Sums()
        self._lock = threading.Lock()

    def run(self, session: RawSession) -> Done:
        began = time.monotonic()
        ground.make(session, self._done.into, self._manifest, self._wanted, self._subtables)
        self._skip_what_is_there(session, tuple(self._wanted))
        with ThreadPoolExecutor(self._request.jobs) as pool:
            tasks = [
                pool.submit(self._file, link, name)
                for label, link in self._chain.items() if self._needs(label) for name in link.files
            ]  # fmt: skip
            for task in tasks:
                task.result()
        if not self._done.there:
            ground.harden(session, self._done.into, self._manifest)
        self._done.write_s = round(time.monotonic() - began, 3)
        self._reconcile(session)
        self._done.seconds = round(time.monotonic() - began, 3)
        self._done.sentence = self._sentence()
        return self._done

    def compare(self, session: RawSession, stable: str) -> Compared:
        """Hold the wanted rows of one supertable against the database; nothing is written."""
        windows = self._wanted[stable]
        rows, before, other = sum(w.rows for w in windows.values()), len(self._done.missing), self._done.other
        live = scan.counts(session, self._done.into, stable) if self._is_there(session, stable) else {}
        found = sum(live.get(hour, 0) for hour in windows)
        if self._selection.whole_hours:
            for hour in sorted(windows.keys() - live.keys()):
                self._done.missing.append([stable, hour, windows.pop(hour).rows])
            if windows:
                self._skip_what_is_there(session, (stable,))
        else:
            rows = 0
        if windows:
            looked = self._row_by_row(session, stable, set(windows))
            rows += 0 if self._selection.whole_hours else looked
        missing = sum(lost for *_, lost in self._done.missing[before:])
        return Compared(rows, missing, self._done.other - other, found)

    def _is_there(self, session: RawSession, stable: str) -> bool:
        where = f"db_name = '{self._done.into}' AND stable_name = '{stable}'"
        return bool(session.rows(f"SELECT stable_name FROM information_schema.ins_stables WHERE {where}"))

    def _needs(self, label: str) -> bool:
        return any(window.held_in == label for windows in self._wanted.values() for window in windows.values())

    def _skip_what_is_there(self, session: RawSession, stables: Sequence[str]) -> None:
        """Hours that hold the backup's very rows already need no look; others that hold any row need a close one."""
        for stable in stables:
            windows = self._wanted[stable]
            rows = scan.counts(session, self._done.into, stable)
            self._live[stable] = rows.keys() & windows.keys()
            if not self._live[stable]:
                continue
            shape = self._manifest.supertables[stable]
            marks = scan.marks(session, self._done.into, stable, shape, scan.spans(self._live[stable]))
            same = {hour for hour in self._live[stable] if marks.get(hour) == (windows[hour].rows, windows[hour].mark)}
            for hour in same:
                self._done.rows_present += windows.pop(hour).rows
            self._live[stable] -= same

    def _file(self, link: Manifest, name: str) -> None:
        """Write what is wanted of one file, in a session of its own."""
        print(f"Restoring {name} of {link.label}", file=sys.stderr, flush=True)
        with RawSession(self._server, self._done.into) as session:
            for number, raw in self._frames(link, name):
                self._block(session, link, link.subtables[number], raw)

    def _frames(self, link: Manifest, name: str) -> Any:
        stables = {s for s, ws in self._wanted.items() if any(w.held_in == link.label for w in ws.values())}
        path = self._settings.folder / link.label / name
        for number, data in file.read(path, self._settings.cipher, link.files[name]):
            if number == file.END:
                continue
            one = link.subtables[number]
            if one.stable in stables and self._selection.has(one):
                yield number, data

    def _block(self, session: RawSession, link: Manifest, one: Subtable, raw: bytes) -> None:
        block = self._wanted_rows(link, one, decode(raw))
        if block is None:
            return
        runs = runs_of(block, one)
        written, present = block, 0
        if self._request.mode == "missing" and self._live[one.stable] and self._is_live(one, block):
            missing = td_live.compare(session, self._done.into, one.name, self._keys[one.stable], block).missing
            written, present = pick(block, missing), int((~missing).sum())
        if written.rows:
            # Untouched, the bytes go as they came.
            session.write(one.name, raw if written.rows == rows_of(raw) else encode(written))
        with self._lock:
            self._expected.add(one.stable, runs)
            self._done.rows_written += written.rows
            self._done.rows_present += present

    def _is_live(self, one: Subtable, block: Block) -> bool:
        return bool(self._live[one.stable].intersection(np.unique(hours(block)).tolist()))

    def _wanted_rows(self, link: Manifest, one: Subtable, block: Block) -> Block | None:
        """The rows of a block whose hours this link holds for the backup, and that were asked for."""
        windows = self._wanted[one.stable]
        hour = hours(block)
        mine = [h for h in np.unique(hour).tolist() if h in windows and windows[h].held_in == link.label]
        chosen: Array = np.isin(hour, mine)
        if not self._selection.whole_hours:
            chosen &= self._selection.rows(block)
        if chosen.all():
            return block
        return pick(block, chosen) if chosen.any() else None

    def _reconcile(self, session: RawSession) -> None:
        """Every row that the backup has must be in the database now; where hours differ, row by row."""
        expected = self._expected.told()
        self._check_against_manifest(expected)
        for stable, windows in expected.items():
            first, last = min(windows), max(windows) + 1
            start, end = max(first * HOUR_NS, self._selection.start), min(last * HOUR_NS, self._selection.end)
            mine = [one for one in self._subtables if one.stable == stable]
            found = td_live.sums(session, self._done.into, mine, start, end).get(stable, {})
            odd = {hour for hour, window in windows.items() if found.get(hour) != window}
            if odd:
                self._row_by_row(session, stable, odd)

    def _check_against_manifest(self, expected: Told) -> None:
        """What the files gave must be what the manifest promised; for whole hours both tell the same."""
        for stable, windows in self._wanted.items():
            for hour, window in windows.items():
                given = expected.get(stable, {}).get(hour)
                if self._selection.whole_hours and given != (window.rows, window.hash):
                    raise file.Broken(
                        f"The files of backup {self._manifest.label} hold {given[0] if given else 0} of {window.rows} "
                        f"rows of {stable} in the hour {hour}.",
                        "Restore an older backup.",
                    )

    def _row_by_row(self, session: RawSession, stable: str, odd: set[int]) -> int:
        """Note which rows of these hours are missing or differ; returns how many were looked at."""
        lost: dict[int, int] = {}
        looked = 0
        for label, link in self._chain.items():
            if not any(self._wanted[stable][hour].held_in == label for hour in odd):
                continue
            for name in link.files:
                for number, raw in self._frames(link, name):
                    one = link.subtables[number]
                    block = self._wanted_rows(link, one, decode(raw)) if one.stable == stable else None
                    if block is None:
                        continue
                    hour = hours(block)
                    suspect: Array = np.isin(hour, list(odd))
                    if not suspect.any():
                        continue
                    block, hour = pick(block, suspect), hour[suspect]
                    found = td_live.compare(session, self._done.into, one.name, self._keys[stable], block)
                    looked += block.rows
                    self._done.other += int(found.other.sum())
                    for h in hour[found.missing].tolist():
                        lost[h] = lost.get(h, 0) + 1
        self._done.missing += [[stable, hour, rows] for hour, rows in sorted(lost.items())]
        return looked

    def _sentence(self) -> str:
        done = self._done
        rate = done.rows_written / max(done.write_s, 0.001)
        if done.missing:
            rows = sum(rows for _, _, rows in done.missing)
            return f"{rows:,} rows of {done.label} are NOT in {done.into}, in {len(done.missing)} hours"
        kept = f", {done.other:,} were there with other content and stay" if done.other else ""
        return (
            f"{done.rows_written:,} rows of {done.label} written into {done.into} in {done.write_s:.1f} s "
            f"({rate:,.0f} rows/s), {done.rows_present:,} were there{kept}; every row was found again"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    request = Request(options.label, options.into, td_select.chosen(options), options.mode, options.jobs)
    done = restore(td_settings.load(options.config), request, plan=options.plan)
    print(json.dumps(vars(done)), flush=True)
    if done.missing:
        raise AgentError(f"{done.sentence}.", "Run it again: it writes what is missing.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agents.tdengine.backup.restore", description="Restore TDengine.")
    td_select.add_options(parser)
    parser.add_argument("--mode", choices=MODES, default="missing")
    parser.add_argument("--jobs", type=int, default=1, help="files at the same time")
    parser.add_argument("--plan", action="store_true", help="look, write nothing")
    parser.add_argument("--config", type=Path, default=td_settings.PATH)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
