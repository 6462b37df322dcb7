"""Restore TDengine from a backup and all that it needs, then hold every hour against what the backup says it holds.

    python3 -m agents.tdengine.backup.restore [--label L] [--into DATABASE] [--tables A,B] [--symbols S,T]
        [--from TIME] [--to TIME]
        [--mode missing|overwrite] [--accept-lost-columns] [--jobs N] [--plan]

Rows that the database keeps no longer (KEEP) are left out, counted and said. A table whose columns changed since gets
what has a place in it, on consent. `missing` writes what is not there and leaves what is, so that a correction survives
and a restore that was broken off goes on; `overwrite` writes everything. A row whose event is newer stays in either
mode, and one whose event is older gives way. Times need their zone. --plan looks and writes nothing. Prints one JSON
object with a sentence. Exit 0 every row is there, 1 not, 2 this cannot be restored here, 3 rows would
be left out as too old by a clock that is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from agents.base.errors import AgentError, run
from agents.jobs import config, in_step
from agents.tdengine.backup import file, ground, literals, making, scan
from agents.tdengine.backup import live as td_live
from agents.tdengine.backup import manifest as td_manifest
from agents.tdengine.backup import selection as td_select
from agents.tdengine.backup import settings as td_settings
from agents.tdengine.backup.block import BLOBS, Array, Block, decode, encode, pick, project, rows_of
from agents.tdengine.backup.fit import Fit
from agents.tdengine.backup.ground import Ground
from agents.tdengine.backup.kept import Kept
from agents.tdengine.backup.manifest import Links, Manifest, Subtable, Window
from agents.tdengine.backup.raw import RawSession
from agents.tdengine.backup.schema import plain
from agents.tdengine.backup.selection import BadRequest, Selection
from agents.tdengine.backup.settings import Settings
from agents.tdengine.backup.sums import Sums, hours, runs_of, seeding
from agents.tdengine.backup.together import Together, takes
from agents.tdengine.session import Settings as Server
from agents.tdengine.session import TdengineError
from agents.tdengine.spans import in_hours
from agents.tdengine.sql import identifier

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
    accept_lost: bool = True


@dataclass
class Done:
    """What became of it. `missing`: [table, hour, rows] that are not there; `other`: rows with other content; `bytes`:
    what one copy of the planned rows took on the servers' disks when they were backed up; `expired`: rows that KEEP no
    longer allows; `lost`: columns that have no place any more; `not_made`: why, of definitions that are not there;
    `left_out`: why, of what the backup has nothing of.
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
    expired: int = 0
    lost: list[str] = field(default_factory=list)
    not_made: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Piece:
    """Wanted rows of one block: `found` as the backup has them, `block` as the table takes them; `raw`: all of it."""

    one: Subtable
    fit: Fit
    found: Block
    block: Block
    raw: bytes
    seed: int


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
    wanted = request.selection.windows(manifest)
    with RawSession(settings.server()) as session:
        found = ground.check(session, request.into or manifest.database, manifest, wanted, request.accept_lost)
        looking = _Restoring(settings, request, manifest, wanted, settings.server(), found)
        compared = {stable: looking.compare(session, stable) for stable in wanted}
    looking.done.rows_planned = sum(one.rows for one in compared.values())
    return manifest, looking.done, compared


def chosen(settings: Settings, label: str) -> Manifest:
    """The backup of this label, or the newest, if this host can unlock it. Raises NoBackup, Edited, BadRequest."""
    manifest = td_manifest.load(label, settings) if label else td_manifest.newest(settings)
    if manifest.key_id != settings.key_id():
        raise BadRequest(
            f"Backup {manifest.label} is locked with the key {manifest.key_id}, this host has {settings.key_id()}.",
            "Bring the old key back: ./dr keys.restore",
        )
    return manifest


def restore(
    settings: Settings, request: Request, server: Server | None = None, plan: bool = False,
    doubt: Callable[[], str] = lambda: "",
) -> Done:  # fmt: skip
    """Restore and reconcile, or only look. `server`: another one than the settings'; `doubt`: what is wrong with this
    host's clock, by which KEEP is counted. Raises AgentError, and OutOfStep before rows are left out by a wrong one.
    """
    manifest = chosen(settings, request.label)
    wanted = request.selection.windows(manifest)
    reach = server or settings.server()
    with RawSession(reach) as session:
        into = request.into or manifest.database
        found = ground.check(session, into, manifest, wanted, request.accept_lost or plan)
        restoring = _Restoring(settings, request, manifest, wanted, reach, found)
        why = doubt() if restoring.done.expired else ""
        if why:
            raise in_step.OutOfStep(
                f"{restoring.done.expired:,} rows of {manifest.label} would be left out as older than KEEP, and {why}.",
                "`chronyc makestep` on that host sets its clock; then run it again.",
            )
        return restoring.plan() if plan else restoring.run(session)


class _Restoring:
    """One restore while it goes on. `done` is what becomes of it."""

    def __init__(
        self, settings: Settings, request: Request, manifest: Manifest, wanted: Windows, server: Server, found: Ground
    ) -> None:
        self._settings, self._request, self._manifest = settings, request, manifest
        self._chain: Links = td_manifest.links(manifest, settings)
        self._wanted, self._server, self._ground = wanted, server, found
        self._selection = request.selection
        self._mine = {one.name: one for one in manifest.subtables if one.stable in wanted and self._selection.has(one)}
        self._live: dict[str, set[int]] = {}
        self._given, self._expected = Sums(), Sums()
        self._lock = threading.Lock()
        self._kept = Kept(found.keep_s)
        self._gone = self._kept.split(wanted)
        self.done = Done(
            manifest.label, list(manifest.chain), request.into or manifest.database, self._rows_wanted(),
            sum(map(len, wanted.values())), found.there, lost=found.lost, left_out=dict(manifest.left_out),
            expired=self._gone,
        )  # fmt: skip

    def _rows_wanted(self) -> int:
        return sum(window.rows for windows in self._wanted.values() for window in windows.values())

    def plan(self) -> Done:
        """What would be done."""
        done, manifest = self.done, self._manifest
        done.replicas = int(manifest.options["replica"])
        size = sum(int(facts[1]) for one in manifest.filesets.values() for facts in one) // done.replicas
        # Rows in memory were in no file yet.
        size = max(size, sum(self._chain.load(label, subtables=False).bytes for label in self._chain))
        done.bytes = int(size * done.rows_planned / max(manifest.rows, 1))
        needs = f"a chain of {len(done.chain)}"
        rows = f"{done.rows_planned:,} rows in {in_hours(done.windows)}"
        done.sentence = f"{rows} of {needs} go into {done.into}{self._left_behind()}"
        return done

    def run(self, session: RawSession) -> Done:
        began, done = time.monotonic(), self.done
        making.make(session, done.into, self._manifest, self._wanted, self._ground.tables, self._mine.values())
        self._skip_what_is_there(session, tuple(self._wanted))
        with ThreadPoolExecutor(self._request.jobs) as pool:
            for label in self._chain:  # one at a time: a manifest may be large
                if self._needs(label):
                    self._files(label, pool)
        if self._selection == Selection():
            done.not_made = making.define(session, done.into, self._manifest)
        if not done.there:
            making.harden(session, done.into, self._manifest)
        done.write_s = round(time.monotonic() - began, 3)
        self._reconcile(session)
        done.expired = self._gone + self._kept.left_out
        done.seconds = round(time.monotonic() - began, 3)
        done.sentence = self._sentence()
        return done

    def compare(self, session: RawSession, stable: str) -> Compared:
        """Hold the wanted rows of one table against the database; nothing is written."""
        windows = self._wanted[stable]
        rows, before, other = sum(w.rows for w in windows.values()), len(self.done.missing), self.done.other
        gone = self._kept.left_out
        live = scan.counts(session, self.done.into, stable) if stable in self._ground.tables else {}
        found = sum(live.get(hour, 0) for hour in windows)
        if self._selection.whole_hours:
            for hour in sorted(windows.keys() - live.keys()):
                if not self._kept.is_edge(hour):
                    self.done.missing.append([stable, hour, windows.pop(hour).rows])
            if windows:
                self._skip_what_is_there(session, (stable,))
        else:
            rows = 0
        if windows:
            looked = self._row_by_row(session, stable, set(windows))
            rows += 0 if self._selection.whole_hours else looked
        missing = sum(lost for *_, lost in self.done.missing[before:])
        gone = self._kept.left_out - gone
        self.done.expired = self._gone + self._kept.left_out
        return Compared(rows - gone, missing, self.done.other - other, found)

    def _needs(self, label: str) -> bool:
        return any(window.held_in == label for windows in self._wanted.values() for window in windows.values())

    def _seeds(self, stable: str) -> dict[str, int]:
        seed_ = seeding(self._manifest)
        return {name: seed_(one) for name, one in self._mine.items() if one.stable == stable}

    def _skip_what_is_there(self, session: RawSession, stables: Sequence[str]) -> None:
        """Hours that hold the backup's very rows already need no look; others that hold any row need a close one."""
        for stable in stables:
            windows = self._wanted[stable]
            live = scan.counts(session, self.done.into, stable) if stable in self._ground.tables else {}
            self._live[stable] = live.keys() & windows.keys()
            alike = {hour for hour in self._live[stable] if live[hour] == windows[hour].rows}
            fit = self._ground.fits[stable]
            if not alike or not fit.exact or not self._selection.whole_hours:
                continue
            found = scan.hashed(
                session, self.done.into, stable, fit.columns, self._seeds(stable), scan.spans(alike)
            )
            for hour in alike:
                if found.get(hour) == (windows[hour].rows, windows[hour].hash):
                    self.done.rows_present += windows.pop(hour).rows
                    self._live[stable].discard(hour)

    def _link(self, label: str) -> Manifest:
        return self._manifest if label == self._manifest.label else self._chain.load(label)

    def _files(self, label: str, pool: ThreadPoolExecutor) -> None:
        link = self._link(label)
        for task in [pool.submit(self._file, link, name) for name in link.files]:
            task.result()

    def _file(self, link: Manifest, name: str) -> None:
        """Write what is wanted of one file, in a session of its own."""
        print(f"Restoring {name} of {link.label}", file=sys.stderr, flush=True)
        seed_ = seeding(link)
        with RawSession(self._server, self.done.into) as session:
            together = Together[_Piece](self.done.into)
            for number, raw in self._frames(link, name):
                piece = self._piece(link, link.subtables[number], raw, seed_)
                if piece is None:
                    continue
                if not self._goes_together(piece):
                    self._settle(piece, *self._put(session, piece))
                    continue
                for full in together.add(piece, piece.one.name, piece.fit.names, piece.block):
                    self._put_together(session, *full)
            for rest in together.rest():
                self._put_together(session, *rest)

    def _frames(self, link: Manifest, name: str) -> Iterator[tuple[int, bytes]]:
        stables = {s for s, ws in self._wanted.items() if any(w.held_in == link.label for w in ws.values())}
        path = self._settings.folder / link.label / name
        for number, data in file.read(path, self._settings.cipher, link.files[name]):
            if number == file.END:
                continue
            one = link.subtables[number]
            # By the tags that the backup knows: an older link may know others.
            mine = self._mine.get(one.name)
            if mine is not None and one.stable == mine.stable and one.stable in stables:
                yield number, data

    def _piece(self, link: Manifest, one: Subtable, raw: bytes, seed_: Callable[[Subtable], int]) -> _Piece | None:
        found = self._wanted_rows(link, one, decode(raw))
        if found is None:
            return None
        fit = self._ground.fits[one.stable]
        return _Piece(one, fit, found, found if fit.exact else project(found, fit.places), raw, seed_(one))

    def _goes_together(self, piece: _Piece) -> bool:
        """Whether nothing has to be asked or left out before it is written, and a statement can say it."""
        one, block = piece.one, piece.block
        if not takes(block) or self._kept.is_old(block):
            return False
        return not self._contested(one, piece.fit) and not self._is_live(one, block)

    def _put_together(self, session: RawSession, statement: str, pieces: list[_Piece]) -> None:
        try:
            session.execute(statement)
        except TdengineError:  # each by itself: it goes, or says what is wrong
            for piece in pieces:
                self._settle(piece, *self._put(session, piece))
            return
        for piece in pieces:
            self._settle(piece, piece.block.rows, 0, piece.block)

    def _settle(self, piece: _Piece, written: int, present: int, kept: Block) -> None:
        """Count what became of it, and what a look at the database must find."""
        one = piece.one
        given = runs_of(piece.found, piece.seed)
        mine = seeding(self._manifest)(self._mine[one.name])
        untouched = kept is piece.found and mine == piece.seed
        with self._lock:
            self._given.add(one.stable, given)
            if kept.rows:
                self._expected.add(one.stable, given if untouched else runs_of(kept, mine))
            self.done.rows_written += written
            self.done.rows_present += present

    def _put(self, session: RawSession, piece: _Piece) -> tuple[int, int, Block]:
        """Write what is missing; (rows written, rows that were there, the rows that KEEP allows)."""
        one, fit = piece.one, piece.fit
        for slack in self._kept.slacks(piece.block):
            kept, gone = self._kept.divide(piece.block, slack)
            written = self._to_write(session, one, fit, kept)
            try:
                if written.rows:
                    self._send(session, one, fit, written, piece.raw)
                self._kept.count(one.stable, gone)
                return written.rows, kept.rows - written.rows, kept
            except TdengineError as error:
                if not self._kept.may_refuse(error, slack):
                    raise
        raise AssertionError("the last try returns or raises")

    def _to_write(self, session: RawSession, one: Subtable, fit: Fit, block: Block) -> Block:
        """What is not there, or is there with an older event; to overwrite, all but what is there with a newer one.

        Where others may be writing, each block is looked at again: what was empty when the restore began may hold a
        correction by now. A key with its event in it is always written over itself.
        """
        if not block.rows or not (self._contested(one, fit) or self._is_live(one, block)):
            return block
        missing = self._request.mode == "missing"
        if not missing and fit.event is None:
            return block
        found = td_live.compare(session, self.done.into, one.name, fit, block)
        chosen = found.missing | found.older if missing else ~found.newer
        return block if chosen.all() else pick(block, chosen)

    def _contested(self, one: Subtable, fit: Fit) -> bool:
        return fit.event is not None and self._ground.there and one.stable in self._ground.tables

    def _send(self, session: RawSession, one: Subtable, fit: Fit, block: Block, raw: bytes) -> None:
        if any(column.kind in BLOBS for column in block.columns) or _has_blob(self._ground.tables.get(one.stable)):
            table = f"{identifier(self.done.into)}.{identifier(one.name)}"
            for statement, _ in literals.inserts(table, fit.names, block):
                session.execute(statement)
        elif fit.exact:
            # Untouched, the bytes go as they came.
            session.write(one.name, raw if block.rows == rows_of(raw) else encode(block))
        else:
            session.write_fields(one.name, encode(block), fit.names)

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
        self._check_against_manifest(self._given.told())
        for stable, windows in self._expected.told().items():
            fit = self._ground.fits[stable]
            found = scan.hashed(
                session, self.done.into, stable, fit.columns, self._seeds(stable), scan.spans(windows),
                part=not self._selection.whole_hours,
            )  # fmt: skip
            odd = {hour for hour, window in windows.items() if found.get(hour) != window}
            if odd:
                self._row_by_row(session, stable, odd)

    def _check_against_manifest(self, given: Told) -> None:
        """What the files gave must be what the manifest promised; for whole hours both tell the same."""
        for stable, windows in self._wanted.items():
            for hour, window in windows.items():
                told = given.get(stable, {}).get(hour)
                if self._selection.whole_hours and told != (window.rows, window.hash):
                    raise file.Broken(
                        f"The files of backup {self._manifest.label} hold {told[0] if told else 0} of {window.rows} "
                        f"rows of {stable} in the hour {hour}.",
                        "Restore an older backup.",
                    )

    def _row_by_row(self, session: RawSession, stable: str, odd: set[int]) -> int:
        """Note which rows of these hours are missing or differ; returns how many were looked at."""
        lost: dict[int, int] = {}
        looked = 0
        self._kept.forget(stable, odd)
        for label in self._chain:
            if not any(self._wanted[stable][hour].held_in == label for hour in odd):
                continue
            link = self._link(label)
            for name in link.files:
                for number, raw in self._frames(link, name):
                    one = link.subtables[number]
                    block = self._wanted_rows(link, one, decode(raw)) if one.stable == stable else None
                    if block is None or not np.isin(hours(block), list(odd)).any():
                        continue
                    looked += self._look(session, one, pick(block, np.isin(hours(block), list(odd))), lost)
        self.done.missing += [[stable, hour, rows] for hour, rows in sorted(lost.items())]
        return looked

    def _look(self, session: RawSession, one: Subtable, block: Block, lost: dict[int, int]) -> int:
        fit = self._ground.fits[one.stable]
        block = block if fit.exact else project(block, fit.places)
        found = td_live.compare(session, self.done.into, one.name, fit, block)
        self.done.other += int(found.other.sum())
        missing = pick(block, found.missing)
        for hour in hours(self._kept.still(one.stable, missing)).tolist():
            lost[hour] = lost.get(hour, 0) + 1
        return block.rows

    def _sentence(self) -> str:
        done = self.done
        rate = done.rows_written / max(done.write_s, 0.001)
        if done.missing:
            rows = sum(rows for _, _, rows in done.missing)
            return f"{rows:,} rows of {done.label} are NOT in {done.into}, in {in_hours(len(done.missing))}"
        kept = f", {done.other:,} were there with other content and stay" if done.other else ""
        return (
            f"{done.rows_written:,} rows of {done.label} written into {done.into} in {done.write_s:.1f} s "
            f"({rate:,.0f} rows/s), {done.rows_present:,} were there{kept}; every row was found again"
            f"{self._left_behind()}"
        )

    def _left_behind(self) -> str:
        return left_behind(self.done, self._ground.keep_s)


def left_behind(done: Done, keep_s: int) -> str:
    """What a restore does not bring, as the end of a sentence."""
    told = [f"{done.expired:,} rows older than KEEP ({keep_s // 86400} d) are left out"] if done.expired else []
    told += [f"columns without a place are left out: {', '.join(done.lost)}"] if done.lost else []
    told += [f"{name} is not made: {why}" for name, why in done.not_made.items()]
    told += [f"{name} is not in the backup: {why}" for name, why in done.left_out.items()]
    return "".join(f"; {one}" for one in told)


def _has_blob(shape: dict[str, Any] | None) -> bool:
    """The client library cannot write a block into a table with such a column, whatever is in the block."""
    return any(plain(kind) in ("BLOB", "MEDIUMBLOB") for _, kind, _ in (shape or {}).get("columns", ()))


def clock_in_doubt() -> str:
    """What is wrong with this host's clock; empty where nothing is known to be, or nobody is there to be asked."""
    try:
        return in_step.why_not(in_step.look(config.load()), "td-restore")
    except AgentError:
        return ""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    request = Request(
        options.label, options.into, td_select.chosen(options), options.mode, options.jobs, options.accept_lost_columns
    )
    done = restore(td_settings.load(options.config), request, plan=options.plan, doubt=clock_in_doubt)
    print(json.dumps(vars(done)), flush=True)
    if done.missing:
        raise AgentError(f"{done.sentence}.", "Run it again: it writes what is missing.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agents.tdengine.backup.restore", description="Restore TDengine.")
    td_select.add_options(parser)
    parser.add_argument("--mode", choices=MODES, default="missing")
    parser.add_argument("--accept-lost-columns", action="store_true", help="write rows without what has no place now")
    parser.add_argument("--jobs", type=int, default=1, help="files at the same time")
    parser.add_argument("--plan", action="store_true", help="look, write nothing")
    parser.add_argument("--config", type=Path, default=td_settings.PATH)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
