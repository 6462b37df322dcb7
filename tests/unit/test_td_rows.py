"""One table that cannot be given leaves that one out; what ails the server ends the whole backup."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.base.errors import AgentError
from agents.tdengine.backup import manifest as td_manifest
from agents.tdengine.backup import rows, scan, schema, verify
from agents.tdengine.backup.block import Block, Column, NoBlock, encode
from agents.tdengine.backup.manifest import HOUR_NS, Subtable
from agents.tdengine.backup.schema import Schema
from agents.tdengine.backup.settings import Settings
from agents.tdengine.backup.sums import Sums, runs_of
from agents.tdengine.session import TdengineError
from tests.unit.td_kit import OPTIONS, place

HOUR = 500000
SHAPE = {"columns": [["ts", "TIMESTAMP", True]], "tags": []}
NAMES = ("good", "odd", "torn", "gone")


def block(rows_: int = 3) -> Block:
    ts = np.arange(HOUR * HOUR_NS, HOUR * HOUR_NS + rows_, dtype="<i8")
    return Block(rows_, (Column(9, 8, np.zeros(rows_, bool), ts.view(np.uint8).reshape(rows_, 8)),))


class Session:
    server = "3.3.7.5"

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    found = place(tmp_path)
    monkeypatch.setattr(Settings, "server", lambda self: None)
    monkeypatch.setattr(rows, "RawSession", Session)
    monkeypatch.setattr(scan, "options", lambda *_: {**OPTIONS, "precision": "ns", "duration": "1d"})
    monkeypatch.setattr(scan, "filesets", lambda *_: {})
    looked = Schema(dict.fromkeys(NAMES, SHAPE), {"v": ["view", "CREATE VIEW v"]}, {"foreign": "of another type"})
    monkeypatch.setattr(schema, "look", lambda *_: looked)
    monkeypatch.setattr(schema, "subtables", lambda *_: [Subtable(name, name, []) for name in NAMES])
    monkeypatch.setattr(scan, "days", days)
    monkeypatch.setattr(scan, "of_subtable", blocks)
    return found


def days(session: Any, database: str, table: str, shape: Any) -> dict[int, str]:
    if table == "odd":
        raise TdengineError("Invalid parameter data type", "", 0x2802)
    return {HOUR // 24: "x"}


def blocks(session: Any, database: str, name: str) -> Iterator[bytes]:
    if name == "gone":
        raise TdengineError("Table does not exist", "", 0x2603)
    yield encode(block())
    if name == "torn":
        raise NoBlock("A column of TDengine's type 15 is not understood.", "")


def test_what_cannot_be_given_is_named_and_the_others_are_taken(settings: Settings) -> None:
    made = rows.take(settings, "full")
    assert made.left_out == {
        "foreign": "of another type", "odd": "Invalid parameter data type",
        "torn": "A column of TDengine's type 15 is not understood.",
    }  # fmt: skip
    assert (list(made.windows), made.rows, made.definitions) == (["good"], 3, {"v": ["view", "CREATE VIEW v"]})
    assert "NOT in it: foreign: of another type; odd: " in str(rows.told(made)["sentence"])
    assert verify.verify(settings)["label"] == made.label
    assert td_manifest.load(made.label, settings).left_out == made.left_out


@pytest.mark.parametrize("code", [0x0328, 0x0914, 0x000B])
def test_a_server_that_cannot_answer_leaves_nothing_out_and_no_backup_behind(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def away(*_: Any) -> dict[int, str]:
        raise TdengineError("Sync leader is unreachable", "", code)

    monkeypatch.setattr(scan, "days", away)
    with pytest.raises(TdengineError, match="unreachable"):
        rows.take(settings, "full")
    assert td_manifest.labels(settings) == ()
    assert list(settings.folder.glob(".partial-*")) == []


def test_a_database_that_counts_otherwise_is_told_what_takes_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "options", lambda *_: {**OPTIONS, "precision": "ms", "duration": "1d"})
    with pytest.raises(AgentError, match="counts time in ms") as told:
        rows.take(settings, "full")
    assert "--engine taosdump" in told.value.hint


def test_an_incremental_backup_takes_what_changed_and_leaves_the_rest_where_it_lies(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "look", lambda *_: Schema(dict.fromkeys(("good", "calm"), SHAPE)))
    subtables = [Subtable(name, name, []) for name in ("good", "calm")]
    monkeypatch.setattr(schema, "subtables", lambda *_: list(subtables))
    full = rows.take(settings, "full")
    held = {"good": block(4), "calm": block(3)}

    def hashed(session: Any, database: str, table: str, columns: Any, seeds: dict[str, int], ranges: Any) -> Any:
        sums = Sums()
        sums.add(table, runs_of(held[table], seeds[table]))
        return sums.told()[table]

    monkeypatch.setattr(scan, "counts", lambda session, database, table, ranges: {HOUR: held[table].rows})
    monkeypatch.setattr(scan, "hashed", hashed)
    monkeypatch.setattr(scan, "of_range", lambda session, database, table, *_: iter([(table, held[table])]))
    monkeypatch.setattr("time.strftime", lambda *_: "20991231-000000")
    made = rows.take(settings, "incr")
    assert (made.kind, made.base, made.rows, made.rows_dumped) == ("incr", full.label, 7, 4)
    assert made.windows["good"][HOUR].held_in == made.label
    assert made.windows["calm"][HOUR] == full.windows["calm"][HOUR]
    assert verify.verify(settings)["chain"] == [full.label, made.label]


def test_many_subtables_are_taken_by_few_questions(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(schema, "look", lambda *_: Schema({"many": SHAPE}))
    monkeypatch.setattr(schema, "subtables", lambda *_: [Subtable(f"s{n}", "many", []) for n in range(7)])
    monkeypatch.setattr(scan, "at_once", lambda session, database, table, subtables: 3)

    def some(session: Any, database: str, table: str, shape: Any, names: list[str]) -> Iterator[tuple[str, Block]]:
        asked.append(names)
        yield from ((name, block(2)) for name in reversed(names) if name != "s4")  # one was dropped meanwhile

    monkeypatch.setattr(scan, "of_subtables", some)
    made = rows.take(settings, "full")
    assert asked == [["s0", "s1", "s2"], ["s3", "s4", "s5"], ["s6"]]
    assert (made.rows, made.rows_dumped) == (12, 12)
    assert verify.verify(settings)["rows"] == 12


def test_subtables_that_come_while_an_incremental_backup_runs_are_asked_for_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = [Subtable("s0", "many", [])]
    monkeypatch.setattr(schema, "look", lambda *_: Schema({"many": SHAPE}))
    monkeypatch.setattr(schema, "subtables", lambda *_: list(known))
    monkeypatch.setattr(scan, "of_subtable", lambda session, database, name: iter([encode(block())]))
    full = rows.take(settings, "full")
    listed = []

    def subtables(*_: Any) -> list[Subtable]:
        listed.append(1)
        return known if len(listed) == 1 else [*known, *(Subtable(f"n{n}", "many", []) for n in range(5))]

    monkeypatch.setattr(schema, "subtables", lambda *_: list(subtables()))
    monkeypatch.setattr(scan, "counts", lambda *_: {HOUR: 18})
    monkeypatch.setattr(
        scan, "of_range", lambda *_: ((name, block()) for name in ("s0", "n0", "n1", "n2", "n3", "n4"))
    )
    monkeypatch.setattr("time.strftime", lambda *_: "20991231-000000")
    made = rows.take(settings, "incr")
    assert (made.base, made.rows_dumped, len(made.subtables)) == (full.label, 18, 6)
    assert len(listed) == 2
    assert verify.verify(settings)["label"] == made.label
