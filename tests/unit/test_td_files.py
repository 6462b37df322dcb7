"""Files, manifests and selections of TDengine backups: what was cut off, edited or asked for in vain is told apart."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.base.errors import AgentError, BadConfig
from agents.tdengine.backup import file, rows, verify
from agents.tdengine.backup import manifest as td_manifest
from agents.tdengine.backup.block import Block, Column, encode
from agents.tdengine.backup.manifest import HOUR_NS, Edited, Manifest, NoBackup, Subtable, Window
from agents.tdengine.backup.selection import BadRequest, Selection, names, nanoseconds
from agents.tdengine.backup.settings import Settings, load
from agents.tdengine.backup.sums import Sums, runs_of, seed

TICKS = Subtable("tick_data_1", "tick_data", ["600000", "SSE"])
SHAPE = {"tick_data": {"columns": [["ts", "TIMESTAMP", True]], "tags": [["symbol", "VARCHAR(20)"]]}}
FULL, INCR = "20261121-100000F", "20261121-100000F_20261121-110000I"


@pytest.fixture
def place(tmp_path: Path) -> Settings:
    (tmp_path / "key").write_text("a secret of sixteen\n")
    (tmp_path / "backups").mkdir()
    return Settings(
        tmp_path / "backups", tmp_path / "key", tmp_path / "proofs", tmp_path / "tdengine.json", "market_data", 1
    )


def _block(start: int, rows: int) -> Block:
    raw = b"".join(struct.pack("<q", start + n) for n in range(rows))
    values = np.frombuffer(raw, np.uint8).reshape(rows, 8)
    return Block(rows, (Column(9, 8, np.zeros(rows, bool), values),))


def _backup(
    place: Settings, label: str, hours: list[int], kept: dict[int, Window] | None = None, old: bool = False
) -> Manifest:
    """A backup of ten rows in each of these hours, besides hours that others hold; `old`: as version 0.1 made it."""
    folder = place.folder / label
    folder.mkdir()
    sums, in_file = Sums(), Sums()
    with file.Writer(folder / "data-0001", place.cipher, 1) as writer:
        for hour in hours:
            block = _block(hour * HOUR_NS, 10)
            sums.add("tick_data", runs_of(block, seed(TICKS, tags=old)))
            in_file.add(TICKS.name if old else TICKS.stable, runs_of(block, seed(TICKS, tags=old)))
            writer.add(0, encode(block), 10)
        writer.close(in_file.told())
    told = sums.told().get("tick_data", {})
    windows = {hour: Window(rows, digest, label) for hour, (rows, digest) in told.items()} | (kept or {})
    files = {"data-0001": {"bytes": writer.bytes, "sha256": writer.sha256, "rows": writer.rows}}
    manifest = Manifest(
        label, "incr" if "_" in label else "full", None, 1.0, 2.0, "3.3.7.5", "market_data", {}, SHAPE, [TICKS],
        {"tick_data": windows}, {}, files, {}, {}, sum(w.rows for w in windows.values()), writer.rows, writer.bytes,
        place.key_id(), 1.0,
    )  # fmt: skip
    td_manifest.save(manifest, folder, place)
    return manifest


@pytest.fixture
def chain(place: Settings) -> Manifest:
    """A full backup of three hours, and an incremental in which the third changed."""
    full = _backup(place, FULL, [500000, 500001, 500002])
    kept = {hour: full.windows["tick_data"][hour] for hour in (500000, 500001)}
    return _backup(place, INCR, [500002], kept)


def test_every_backup_is_verified_and_everything_that_is_wrong_is_told(place: Settings, chain: Manifest) -> None:
    older = _backup(place, "20261114-100000F", [400000])
    assert verify.verify_all(place)["rows"] == 50
    assert verify.verify(place)["rows"] == 40, "the newest chain alone"
    for label in (older.label, FULL):
        path = place.folder / label / "data-0001"
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(AgentError) as told:
        verify.verify_all(place)
    assert "2 of 3 backups are not whole" in str(told.value)
    assert f"data-0001 of backup {older.label}" in str(told.value)
    assert f"data-0001 of backup {FULL}" in str(told.value)


def test_a_chain_is_whole(place: Settings, chain: Manifest) -> None:
    assert chain.chain == (FULL, INCR)
    assert td_manifest.labels(place) == (FULL, INCR)
    assert td_manifest.newest(place).label == INCR
    found = verify.verify(place)
    assert (found["label"], found["rows"], found["chain"]) == (INCR, 40, [FULL, INCR])


def test_nothing_of_a_row_is_readable_in_its_file(place: Settings, chain: Manifest) -> None:
    content = (place.folder / FULL / "data-0001").read_bytes()
    assert b"windows" not in content and struct.pack("<q", 500000 * HOUR_NS) not in content


@pytest.mark.parametrize("at", [0, 20, -1])
def test_a_flipped_byte_is_found_and_its_file_named(place: Settings, chain: Manifest, at: int) -> None:
    path = place.folder / FULL / "data-0001"
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(file.Broken, match=f"data-0001 of backup {FULL}"):
        verify.verify(place)


def test_a_truncated_file_is_found(place: Settings, chain: Manifest) -> None:
    path = place.folder / FULL / "data-0001"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(file.Broken, match="bytes instead of"):
        verify.verify(place)
    path.unlink()
    with pytest.raises(file.Broken, match="cannot be read"):
        verify.verify(place)


def test_an_edited_manifest_is_found(place: Settings, chain: Manifest) -> None:
    path = place.folder / INCR / "manifest.json"
    outer = json.loads(path.read_text())
    path.write_text(json.dumps({**outer, "body": outer["body"].replace('"rows":30', '"rows":3')}))
    with pytest.raises(Edited, match="was edited"):
        td_manifest.load(INCR, place)
    path.write_text(path.read_text()[:50])
    with pytest.raises(Edited, match="damaged"):
        td_manifest.load(INCR, place)


def test_another_key_opens_nothing(place: Settings, chain: Manifest) -> None:
    place.cipher.write_text("another secret altogether\n")
    with pytest.raises(Edited, match="another key"):
        verify.verify(place)
    with pytest.raises(file.Broken):
        list(file.read(place.folder / FULL / "data-0001", place.cipher, _files(chain, place)))
    place.cipher.unlink()
    with pytest.raises(BadConfig, match="cannot be read"):
        place.key()


def _files(chain: Manifest, place: Settings) -> dict[str, object]:
    path = place.folder / FULL / "data-0001"
    return {"bytes": path.stat().st_size, "sha256": "0" * 64}


def test_a_missing_link_is_named(place: Settings, chain: Manifest) -> None:
    (place.folder / FULL).rename(place.folder / "elsewhere")
    with pytest.raises(NoBackup, match=f"{INCR} needs {FULL}"):
        verify.verify(place)


def test_a_link_that_was_replaced_is_noticed(place: Settings, chain: Manifest) -> None:
    (place.folder / FULL).rename(place.folder / "elsewhere")
    _backup(place, FULL, [500000])
    with pytest.raises(file.Broken, match="does not hold what"):
        verify.verify(place)


def test_no_backup_and_no_such_backup(place: Settings) -> None:
    with pytest.raises(NoBackup, match="no TDengine backup"):
        td_manifest.newest(place)
    with pytest.raises(NoBackup, match="There is no TDengine backup 20"):
        td_manifest.load("20200101-000000F", place)
    with pytest.raises(NoBackup, match="no label"):
        td_manifest.load("../../etc", place)


def test_a_disk_that_takes_nothing_is_one_sentence_and_leaves_no_file(place: Settings) -> None:
    writer = file.Writer(place.folder / "gone" / "x", place.cipher, 1)
    with pytest.raises(AgentError, match="was not written"):
        writer.add(0, b"x" * 100, 1)
        writer.close({})
    writer.abandon()


def test_settings_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="cannot be used"):
        load(tmp_path / "nothing.json")


def test_what_is_selected(chain: Manifest) -> None:
    assert sum(len(found) for found in Selection().windows(chain).values()) == 3
    later = Selection(start=500001 * HOUR_NS + 5, end=500002 * HOUR_NS)
    assert list(later.windows(chain)["tick_data"]) == [500001]
    assert later.rows(_block(500001 * HOUR_NS, 10)).tolist() == [False] * 5 + [True] * 5
    assert not later.whole_hours and Selection(tables=("tick_data",)).whole_hours
    assert Selection(symbols=("600000",)).has(TICKS) and not Selection(symbols=("600001",)).has(TICKS)


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        (Selection(tables=("ticks",)), "no table ticks"),
        (Selection(symbols=("60",)), "no subtable of '60'"),
        (Selection(end=1), "holds no row"),
    ],
)
def test_what_the_backup_has_not_is_said(chain: Manifest, selection: Selection, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        selection.windows(chain)


def test_times_need_a_zone() -> None:
    assert nanoseconds("1970-01-01T08:00:01+08:00", 5) == 10**9
    assert nanoseconds("1970-01-01T00:00:00.000001Z", 5) == 1000
    assert nanoseconds("1970-01-01T00:00:00.123456789Z", 5) == 123456789
    assert nanoseconds("1969-12-31T23:59:59.5Z", 5) == -500_000_000
    assert nanoseconds("", 5) == 5
    for wrong, said in (("2026-11-21 10:00", "no time zone"), ("tomorrow", "no time")):
        with pytest.raises(BadRequest, match=said):
            nanoseconds(wrong, 0)
    assert names(" a, b,,a ") == ("a", "b")


def test_a_window_is_no_part_of_a_backup_that_only_says_so(place: Settings, chain: Manifest) -> None:
    """The negative: one row fewer than promised is found although every file is what was written."""
    window = chain.windows["tick_data"][500002]
    wrong = {**chain.windows["tick_data"], 500002: window._replace(rows=11)}
    with pytest.raises(file.Broken, match="10 rows of tick_data"):
        verify.verify_own(replace(chain, windows={"tick_data": wrong}), place.folder / INCR, place)


def _old(place: Settings) -> Manifest:
    """A backup as version 0.1 wrote it: tags in the hashes, marks in the hours, subtables in the manifest."""
    made = _backup(place, FULL, [500000], old=True)
    folder = place.folder / FULL
    body = json.loads(json.loads((folder / "manifest.json").read_text())["body"])
    rows, digest, label = body["windows"]["tick_data"]["500000"]
    body["windows"]["tick_data"]["500000"] = [rows, digest, "0" * 16, label]
    body["supertables"], body["subtables"], body["format"] = body.pop("tables"), [list(TICKS[:3])], 1
    for name in ("subtables_sha256", "definitions", "left_out", "next_day"):
        del body[name]
    text = json.dumps(body)
    (folder / "manifest.json").write_text(json.dumps({"seal": td_manifest.seal(text, place), "body": text}))
    (folder / td_manifest.SUBTABLES).unlink()
    return made


def test_a_backup_of_an_older_version_is_read_and_verified(place: Settings) -> None:
    _old(place)
    found = td_manifest.load(FULL, place)
    assert (found.format, found.subtables, found.tables) == (1, [TICKS], SHAPE)
    assert found.windows["tick_data"][500000].held_in == FULL
    assert verify.verify(place)["rows"] == 10


def test_an_incremental_backup_never_builds_on_one_of_an_older_version(place: Settings) -> None:
    assert rows._base(place) is None
    _old(place)
    assert rows._base(place) is None
    made = _backup(place, "20261122-100000F", [500000])
    base = rows._base(place)
    assert base is not None and base.label == made.label


def test_subtables_lie_apart_and_are_those_of_the_manifest(place: Settings, chain: Manifest) -> None:
    assert td_manifest.load(FULL, place).subtables == [TICKS]
    assert td_manifest.load(FULL, place, subtables=False).subtables == []
    path = place.folder / FULL / td_manifest.SUBTABLES
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Edited, match=r"subtables\.json\.gz of backup .* is not what was written"):
        td_manifest.load(FULL, place)
    path.unlink()
    with pytest.raises(Edited, match="cannot be read"):
        verify.verify(place)


def test_a_table_without_rows_can_be_asked_for_and_one_that_was_left_out_says_why(chain: Manifest) -> None:
    empty = replace(chain, windows={"tick_data": {}}, left_out={"odd": "its column x is of the type Y"})
    assert Selection(tables=("tick_data",)).windows(empty) == {"tick_data": {}}
    with pytest.raises(BadRequest, match="no table odd: its column x is of the type Y"):
        Selection(tables=("odd",)).windows(empty)
