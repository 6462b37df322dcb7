"""A restore of TDengine beside others who write: an older value never replaces a newer one, whatever the order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from agents.jobs.in_step import OutOfStep
from agents.tdengine.backup import file, kept, making, prove, restore, scan
from agents.tdengine.backup import manifest as td_manifest
from agents.tdengine.backup.block import Block, Column, decode, encode
from agents.tdengine.backup.fit import same
from agents.tdengine.backup.ground import Ground
from agents.tdengine.backup.manifest import HOUR_NS, Manifest, Subtable, Window
from agents.tdengine.backup.restore import Request
from agents.tdengine.backup.selection import Selection
from agents.tdengine.backup.settings import Settings
from agents.tdengine.backup.sums import Sums, runs_of, seed
from agents.tdengine.session import TdengineError
from tests.unit.td_kit import OPTIONS, place

LABEL = "20261121-100000F"
BAR = Subtable("bar_1", "minute_kline", ["600000"])
TICK = Subtable("tick_1", "tick_data", ["600000"])
BARS = {"columns": [["ts", "TIMESTAMP", True], ["event_id", "BIGINT", False], ["close", "BIGINT", False]],
        "tags": [["symbol", "VARCHAR(20)"]]}  # fmt: skip
TICKS = {**BARS, "columns": [["ts", "TIMESTAMP", True], ["event_id", "BIGINT", True], ["close", "BIGINT", False]]}
HOUR = 1_800_000_000 // 3600
Rows = dict[tuple[int, ...], tuple[int, int, int]]


def block(*rows: tuple[int, int, int]) -> Block:
    """(minute, event, value)"""
    columns = []
    for kind, values in zip((9, 5, 5), zip(*rows, strict=True), strict=True):
        held = [HOUR * HOUR_NS + one * 60 * 10**9 for one in values] if kind == 9 else list(values)
        data = np.array(held, "<i8").view(np.uint8).reshape(len(rows), 8)
        columns.append(Column(kind, 8, np.zeros(len(rows), bool), data))
    return Block(len(rows), tuple(columns))


class Server:
    """A database that keeps what is written last under a key; `meanwhile` happens before the first write."""

    def __init__(self, keep_from: int = 0) -> None:
        self.tables: dict[str, Rows] = {BAR.name: {}, TICK.name: {}}
        self.meanwhile: list[tuple[str, Block]] = []
        self.keep_from = keep_from
        self.statements: list[str] = []
        self.refuses = False

    def __call__(self, *_: Any) -> Server:
        return self

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def put(self, table: str, rows: Block) -> None:
        for ts, event, value in zip(*(rows.words(at).tolist() for at in range(3)), strict=True):
            if ts < self.keep_from:
                raise TdengineError("Timestamp data out of range", "", 0x060B)
            self.tables[table][(ts, event) if table == TICK.name else (ts,)] = (ts, event, value)

    def blocks(self, sql: str) -> Iterator[bytes]:
        found = re.search(r"`(\w+)` WHERE _rowts >= (\d+) AND _rowts <= (\d+)", sql)
        assert found, sql
        rows = self.of(found[1], int(found[2]), int(found[3]))
        if self.meanwhile:
            for table, later in self.meanwhile:
                self.put(table, later)
            self.meanwhile = []
            rows = self.of(found[1], int(found[2]), int(found[3]))
        return iter([encode(_raw(rows))] if rows else [])

    def of(self, table: str, start: int, end: int) -> list[tuple[int, int, int]]:
        return [row for row in self.tables[table].values() if start <= row[0] <= end]

    def write(self, table: str, raw: bytes) -> int:
        self.put(table, decode(raw))
        return decode(raw).rows

    def execute(self, sql: str) -> int:
        self.statements.append(sql)
        if self.refuses:
            raise TdengineError("Some code", "", 0x2600)
        for table, values in re.findall(r"\.`(\w+)` \([^)]*\) VALUES ((?:\([^)]*\))+)", sql):
            self.put(table, _raw([tuple(map(int, row.split(","))) for row in values[1:-1].split(")(")]))
        return 0

    def hashed(self, session: Any, into: str, stable: str, *_: Any, part: bool = False) -> Any:
        sums = Sums()
        for one in (BAR, TICK):
            rows = list(self.tables[one.name].values())
            if one.stable == stable and rows:
                sums.add(stable, runs_of(_raw(rows), seed(one)))
        return sums.told().get(stable, {})

    def counts(self, session: Any, into: str, stable: str, ranges: Any = None) -> dict[int, int]:
        return {hour: rows for hour, (rows, _) in self.hashed(session, into, stable, (), {}, ()).items()}

    def values(self, one: Subtable) -> dict[int, int]:
        """Minute -> value."""
        return {(row[0] - HOUR * HOUR_NS) // (60 * 10**9): row[2] for row in self.tables[one.name].values()}


def _raw(rows: list[tuple[int, ...]]) -> Block:
    columns = []
    for kind, values in zip((9, 5, 5), zip(*sorted(rows), strict=True), strict=True):
        data = np.array(values, "<i8").view(np.uint8).reshape(len(rows), 8)
        columns.append(Column(kind, 8, np.zeros(len(rows), bool), data))
    return Block(len(rows), tuple(columns))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()
    shapes = {BAR.stable: BARS, TICK.stable: TICKS}
    monkeypatch.setattr(restore, "RawSession", found)
    monkeypatch.setattr(scan, "counts", found.counts)
    monkeypatch.setattr(scan, "hashed", found.hashed)
    monkeypatch.setattr(making, "make", lambda *_: None)
    monkeypatch.setattr(making, "define", lambda *_: {})
    fits = {name: same(shape) for name, shape in shapes.items()}
    monkeypatch.setattr(restore.ground, "check", lambda *_: Ground(True, shapes, 3650 * 86400, fits))
    return found


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return place(tmp_path)


def saved(settings: Settings, bars: Block, ticks: Block) -> Manifest:
    folder = settings.folder / LABEL
    folder.mkdir()
    sums, shapes = Sums(), {BAR.stable: BARS, TICK.stable: TICKS}
    with file.Writer(folder / "data-0001", settings.cipher, 1) as writer:
        for number, (one, rows) in enumerate(((BAR, bars), (TICK, ticks))):
            sums.add(one.stable, runs_of(rows, seed(one)))
            writer.add(number, encode(rows), rows.rows)
        writer.close(sums.told())
    windows = {
        name: {hour: Window(rows, digest, LABEL) for hour, (rows, digest) in hours.items()}
        for name, hours in sums.told().items()
    }
    made = Manifest(
        LABEL, "full", None, 1.0, 2.0, "3.3.7.5", "market_data", dict(OPTIONS), shapes, [BAR, TICK], windows, {},
        {"data-0001": {"bytes": writer.bytes, "sha256": writer.sha256, "rows": writer.rows}}, {}, {}, writer.rows,
        writer.rows, writer.bytes, settings.key_id(), 1.0,
    )  # fmt: skip
    td_manifest.save(made, folder, settings)
    return made


def run(settings: Settings, mode: str = "missing") -> restore.Done:
    reach: Any = "whoever"
    return restore.restore(settings, Request(mode=mode), reach)


OLD, NEW = 100, 200  # events


def test_what_is_missing_comes_back_and_is_found_again(settings: Settings, server: Server) -> None:
    saved(settings, block((0, OLD, 1), (1, OLD + 1, 2)), block((0, OLD, 3)))
    done = run(settings)
    assert (done.rows_written, done.rows_present, done.missing) == (3, 0, [])
    assert (server.values(BAR), server.values(TICK)) == ({0: 1, 1: 2}, {0: 3})
    again = run(settings)
    assert (again.rows_written, again.rows_present) == (0, 3)


def test_a_newer_correction_stays_in_either_mode(settings: Settings, server: Server) -> None:
    saved(settings, block((0, OLD, 1), (1, OLD + 1, 2)), block((0, OLD, 3)))
    server.put(BAR.name, block((0, NEW, 9)))
    for mode in restore.MODES:
        done = run(settings, mode)
        assert server.values(BAR) == {0: 9, 1: 2}, mode
        assert done.other == 1 and "1 were there with other content and stay" in done.sentence


def test_an_older_value_that_was_replayed_late_gives_way_to_the_newer_one_of_the_backup(
    settings: Settings, server: Server
) -> None:
    saved(settings, block((0, NEW, 2)), block((0, OLD, 3)))
    server.put(BAR.name, block((0, OLD, 1)))
    done = run(settings)
    assert server.values(BAR) == {0: 2}
    assert (done.other, done.rows_written) == (0, 2)


def test_a_correction_that_comes_while_the_restore_runs_is_not_written_over(settings: Settings, server: Server) -> None:
    """The hour was empty when the restore began; the replayer filled it before the block came."""
    saved(settings, block((0, OLD, 1), (1, OLD + 1, 2)), block((0, OLD, 3)))
    server.meanwhile = [(BAR.name, block((0, NEW, 9)))]
    done = run(settings)
    assert server.values(BAR) == {0: 9, 1: 2}
    assert done.missing == []


def test_what_was_spoilt_under_its_own_event_is_taken_back_by_overwriting(settings: Settings, server: Server) -> None:
    saved(settings, block((0, OLD, 1)), block((0, OLD, 3)))
    server.put(BAR.name, block((0, OLD, 77)))
    server.put(TICK.name, block((0, OLD, 77)))
    assert run(settings).other == 2
    assert run(settings, "overwrite").other == 0
    assert (server.values(BAR), server.values(TICK)) == ({0: 1}, {0: 3})


def test_rows_that_keep_no_longer_allows_are_left_out_counted_and_said(
    settings: Settings, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(settings, block((0, OLD, 1), (1, OLD + 1, 2), (40, OLD + 2, 4)), block((0, OLD, 3)))
    limit = HOUR * 3600 + 30 * 60  # of KEEP: the middle of the hour
    monkeypatch.setattr(restore.ground, "check", lambda *_: Ground(
        True, {BAR.stable: BARS, TICK.stable: TICKS}, 86400,
        {BAR.stable: same(BARS), TICK.stable: same(TICKS)},
    ))  # fmt: skip
    monkeypatch.setattr(kept.time, "time", lambda: float(limit + 86400))
    server.keep_from = limit * 10**9
    done = run(settings)
    assert (server.values(BAR), server.values(TICK)) == ({40: 4}, {})
    assert (done.missing, done.expired, done.rows_written) == ([], 3, 1)
    assert "3 rows older than KEEP (1 d) are left out" in done.sentence


@pytest.mark.parametrize("refuses", [False, True])
def test_small_blocks_go_in_one_statement_and_each_by_itself_where_that_is_refused(
    settings: Settings, server: Server, monkeypatch: pytest.MonkeyPatch, refuses: bool
) -> None:
    saved(settings, block((0, OLD, 1), (1, OLD + 1, 2)), block((0, OLD, 3)))
    fits = {BAR.stable: same(BARS), TICK.stable: same(TICKS)}
    monkeypatch.setattr(restore.ground, "check", lambda *_: Ground(False, {}, 3650 * 86400, fits))
    monkeypatch.setattr(making, "harden", lambda *_: None)
    sent: list[str] = []
    write = server.write
    monkeypatch.setattr(server, "write", lambda table, raw: sent.append(table) or write(table, raw))
    server.refuses = refuses
    done = run(settings)
    assert (done.rows_written, done.missing, done.other) == (3, [], 0)
    assert (server.values(BAR), server.values(TICK)) == ({0: 1, 1: 2}, {0: 3})
    assert len(server.statements) == 1 and server.statements[0].count(" VALUES ") == 2
    assert sent == ([BAR.name, TICK.name] if refuses else [])


NOWHERE = cast(Any, object())


def test_no_row_is_left_out_by_a_clock_that_is_wrong(
    settings: Settings, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(settings, block((0, OLD, 1)), block((0, OLD, 3)))
    monkeypatch.setattr(kept.time, "time", lambda: float(HOUR * 3600 + 4000 * 86400))
    with pytest.raises(OutOfStep, match=r"2 rows .* would be left out as older than KEEP, and it is a year ahead"):
        restore.restore(settings, Request(), NOWHERE, doubt=lambda: "it is a year ahead")
    assert server.values(BAR) == {}
    assert restore.restore(settings, Request(), NOWHERE, doubt=lambda: "").expired == 2
    monkeypatch.setattr(kept.time, "time", lambda: float(HOUR * 3600 + 86400))
    assert restore.restore(settings, Request(), NOWHERE, doubt=lambda: "it is a year ahead").rows_written == 2


def test_a_backup_of_which_every_row_is_older_than_keep_is_not_called_damaged(
    settings: Settings, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(settings, block((0, OLD, 1)), block((0, OLD, 3)))
    monkeypatch.setattr(kept.time, "time", lambda: float(HOUR * 3600 + 4000 * 86400))
    monkeypatch.setattr(prove, "Session", lambda _: nullcontext(SimpleNamespace(rows=lambda _: [])))
    done = run(settings)
    manifest = td_manifest.newest(settings)
    (first, *_) = prove._checks(manifest, done, cast(Any, None))
    assert (first.ok, done.rows_planned, done.expired) == (True, 0, 2)
    none = replace(done, expired=0)
    assert not prove._checks(manifest, none, cast(Any, None))[0].ok


@pytest.mark.parametrize(("there", "well"), [(3, True), (2, False), (8, False)])
def test_a_proof_counts_the_rows_that_keep_allows_and_no_others(
    monkeypatch: pytest.MonkeyPatch, there: int, well: bool
) -> None:
    """Five rows of the hour before are older than KEEP: a server that has merged its files has them or has them not."""
    asked: list[str] = []

    def rows(statement: str) -> list[tuple[int]]:
        asked.append(statement)
        return [(1 if "ins_tables" in statement else there,)]

    monkeypatch.setattr(prove, "Session", lambda _: nullcontext(SimpleNamespace(rows=rows)))
    monkeypatch.setattr(kept.time, "time", lambda: float(HOUR * 3600 + 86400 - 300))
    manifest = SimpleNamespace(
        options={"keep": "1d,1d,1d"}, tables={"minute_kline": {}}, subtables=[BAR],
        windows={"minute_kline": {HOUR - 1: Window(5, "", LABEL), HOUR: Window(3, "", LABEL)}},
    )  # fmt: skip
    done = SimpleNamespace(missing=[], rows_planned=3, expired=5, sentence="", into="proof")
    found = {one.name: one for one in prove._checks(cast(Any, manifest), cast(Any, done), cast(Any, None))}
    assert (found["count minute_kline"].ok, found["rows"].ok, found["subtables"].ok) == (well, True, True)
    assert asked[0].endswith(f"WHERE _rowts >= {HOUR * HOUR_NS}")


def test_a_server_whose_clock_is_ahead_of_ours_refuses_nothing(
    settings: Settings, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(settings, block((0, OLD, 1), (31, OLD + 1, 2), (40, OLD + 2, 4)), block((59, OLD, 3)))
    ours = HOUR * 3600 + 30 * 60
    monkeypatch.setattr(restore.ground, "check", lambda *_: Ground(
        True, {BAR.stable: BARS, TICK.stable: TICKS}, 86400,
        {BAR.stable: same(BARS), TICK.stable: same(TICKS)},
    ))  # fmt: skip
    monkeypatch.setattr(kept.time, "time", lambda: float(ours + 86400))
    server.keep_from = (ours + 200) * 10**9
    done = run(settings)
    assert (server.values(BAR), done.missing, done.expired) == ({40: 4}, [], 2)


def test_a_symbol_that_was_renamed_since_brings_its_older_rows_too(settings: Settings, server: Server) -> None:
    """The full backup knows the old tag, the incremental one that refers to its hours the new one."""
    full = saved(settings, block((0, OLD, 1)), block((0, OLD, 3)))
    label = f"{LABEL}_20261122-100000I"
    (settings.folder / label).mkdir()
    renamed = replace(
        full, label=label, kind="incr", files={}, rows_dumped=0, subtables=[BAR._replace(tags=["NEW"]), TICK]
    )
    td_manifest.save(renamed, settings.folder / label, settings)
    reach: Any = "whoever"
    done = restore.restore(settings, Request(label, selection=Selection(symbols=("NEW",))), reach)
    assert (done.rows_written, done.missing) == (1, [])
    assert (server.values(BAR), server.values(TICK)) == ({0: 1}, {})
