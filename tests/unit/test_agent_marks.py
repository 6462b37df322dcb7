"""The marks' programs on real files: what is kept and refused, how far an outbox is, what a TDengine backup holds."""

from __future__ import annotations

import io
import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.base.errors import AgentError
from agents.marks import keep, positions, windows
from agents.marks.keep import BadRequest, NotKept
from agents.tdengine.backup import manifest as td_manifest
from agents.tdengine.backup.manifest import Edited, Window
from agents.writing import shadow
from agents.writing.outbox import Outbox
from agents.writing.shadow import Shadow
from tests.unit import td_kit
from tests.unit.agent_fixtures import config, config_file, orders, tables

ROOT = Path(__file__).resolve().parents[2]
Json = dict[str, Any]


def a_mark(name: str = "before-etl", **changes: Any) -> Json:
    return {
        "name": name, "at": time.time(), "estate": "lab", "system": "77", "primary": "pg1", "timeline": 1,
        "lsn": "0/3000110", **changes,
    }  # fmt: skip


def test_marks_are_kept_oldest_first_and_let_go(tmp_path: Path) -> None:
    assert keep.show(tmp_path / "none")["marks"] == []
    late, early = a_mark("b"), a_mark("a", at=time.time() - 30)
    for mark in (late, early):
        keep.add(tmp_path, mark)
    there = keep.show(tmp_path)
    assert [{**mark, "file": ""} for mark in there["marks"]] == [{**early, "file": ""}, {**late, "file": ""}]
    assert abs(there["now"] - time.time()) < 5
    keep.drop(tmp_path, [there["marks"][0]["file"]])
    assert [mark["name"] for mark in keep.show(tmp_path)["marks"]] == ["b"]


def test_the_newest_is_that_which_a_timer_took_and_whose_file_is_whole(tmp_path: Path) -> None:
    """Somebody's own mark does not hide that the timer has stopped."""
    assert keep.newest(tmp_path / "none")["newest"] is None
    for name, age, scheduled in (("auto-1", 50, True), ("auto-2", 40, True), ("etl", 30, False), ("auto-3", 10, True)):
        keep.add(tmp_path, a_mark(name, at=time.time() - age, scheduled=scheduled, took_ms=200, point_ms=7))
    next(tmp_path.glob("auto-3@*")).write_text("{")
    found = keep.newest(tmp_path)
    assert (found["newest"]["name"], found["newest"]["point_ms"], found["count"]) == ("auto-2", 7, 4)
    done = keep.main(["newest"], lambda: "", tmp_path)
    assert done == 0, "it is a verb that takes no input and no lock"
    assert not (tmp_path / keep.GUARD).exists()


def test_a_name_stands_once(tmp_path: Path) -> None:
    keep.add(tmp_path, a_mark("etl"))
    keep.add(tmp_path, a_mark("etl-2"))
    with pytest.raises(NotKept, match=r"A mark etl stands already, \d{8}T"):
        keep.add(tmp_path, a_mark("etl", at=time.time() + 1))
    assert len(keep.show(tmp_path)["marks"]) == 2


@pytest.mark.parametrize(("off", "words"), [(366 * 86400, "366.0 d ahead of"), (-7200, "2.0 h behind")])
def test_a_moment_that_this_hosts_clock_denies_is_not_kept(tmp_path: Path, off: float, words: str) -> None:
    with pytest.raises(NotKept, match=f"The clock of pg1 is {words} this host's"):
        keep.add(tmp_path, a_mark(at=time.time() + off))
    assert keep.show(tmp_path)["marks"] == []


def spoilt(text: str, how: str) -> str:
    document = json.loads(text)
    if how == "edited":
        document["mark"]["lsn"] = "0/9999999"
    elif how == "later":
        document["schema"] = 2
    elif how == "short":
        del document["mark"]["timeline"]
    else:
        return text[:40]
    return json.dumps(document)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("edited", "its sum does not fit"), ("later", "it is of version 2"), ("short", "it has no timeline"),
        ("torn", "Unterminated string"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_told_and_takes_no_other_with_it(tmp_path: Path, how: str, why: str) -> None:
    file = tmp_path / keep.add(tmp_path, a_mark("bad"))["file"]
    keep.add(tmp_path, a_mark("good"))
    file.write_text(spoilt(file.read_text(), how))
    there = keep.show(tmp_path)
    assert [mark["name"] for mark in there["marks"]] == ["good"]
    [damaged] = there["damaged"]
    assert (damaged["name"], damaged["file"]) == ("bad", file.name)
    assert why in damaged["why"]
    with pytest.raises(NotKept):
        keep.add(tmp_path, a_mark("bad"))


def test_a_file_under_another_name_is_no_mark(tmp_path: Path) -> None:
    file = tmp_path / keep.add(tmp_path, a_mark("one"))["file"]
    file.rename(tmp_path / file.name.replace("one@", "two@"))
    assert "it is that of one, under another name" in keep.show(tmp_path)["damaged"][0]["why"]


@pytest.mark.parametrize("name", ["", "../x", "a@b", "-x", "x" * 64, "a b", "a/b"])
def test_what_is_no_name_is_no_mark(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadRequest):
        keep.add(tmp_path, a_mark(name))
    with pytest.raises(BadRequest):
        keep.drop(tmp_path, ["../estate.json"])


def test_the_program_answers_on_its_output_and_ends_as_it_went(tmp_path: Path) -> None:
    def ask(verb: str, text: str) -> subprocess.CompletedProcess[str]:
        code = (
            "import sys; from pathlib import Path; from agents.base.errors import run; from agents.marks import keep;"
            "sys.exit(run(lambda: keep.main(sys.argv[1:2], sys.stdin.read, Path(sys.argv[2]))))"
        )
        return subprocess.run(
            [sys.executable, "-S", "-c", code, verb, str(tmp_path / "marks")], input=text, capture_output=True,
            text=True, cwd=ROOT, check=False,
        )  # fmt: skip

    assert ask("add", json.dumps(a_mark())).returncode == 0
    twice = ask("add", json.dumps(a_mark()))
    assert (twice.returncode, "stands already" in twice.stderr, "HINT: " in twice.stderr) == (3, True, True)
    assert [ask(*words).returncode for words in (("add", "{"), ("add", "[]"), ("drop", "{}"), ("burn", ""))] == [2] * 4
    assert json.loads(ask("show", "").stdout)["marks"][0]["name"] == "before-etl"


# ---- how far an application host is ----


def test_an_outbox_that_nobody_has_used_has_no_numbers_and_none_is_made(tmp_path: Path) -> None:
    settings = config(tmp_path)
    assert positions.numbers(settings.outbox.path) is None
    assert not settings.outbox.path.exists()


def test_what_was_acknowledged_is_at_or_below_the_numbers(tmp_path: Path) -> None:
    settings, known = config(tmp_path), tables(tmp_path)
    outbox = Outbox(settings.outbox.path)
    outbox.enqueue(orders(known, 1, 3), known, 7)
    last = outbox.enqueue(orders(known, 4, 5), known, 7)
    found = positions.numbers(settings.outbox.path)
    assert found == {
        "file": outbox.mark() if found and found["file"] else "", "newest": last, "applied_no": 0, "pending_rows": 5,
        "dead_rows": 0,
    }  # fmt: skip
    [first, *_] = outbox.pending(10)
    outbox.mark()
    again = positions.numbers(settings.outbox.path)
    assert again and again["file"] == outbox.mark()
    assert first.id == last - 1
    outbox.close()


def test_the_numbers_go_on_although_the_newest_record_was_let_go(tmp_path: Path) -> None:
    settings, known = config(tmp_path), tables(tmp_path)
    outbox = Outbox(settings.outbox.path)
    last = [outbox.enqueue(orders(known, n, n), known, 7) for n in (1, 2)][-1]
    outbox.close()
    with closing(sqlite3.connect(settings.outbox.path, isolation_level=None)) as opened:
        opened.execute("DELETE FROM outbox_queue WHERE id = ?", (last,))
    found = positions.numbers(settings.outbox.path)
    assert found and found["newest"] == last


def test_a_file_that_is_no_outbox_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").write_bytes(b"no database" * 1000)
    with pytest.raises(AgentError):
        positions.numbers(tmp_path / "outbox.db")


def test_the_shadows_position_is_every_segment_that_is_written_to(tmp_path: Path) -> None:
    settings, known = shadow.ShadowSettings(tmp_path / "shadow"), tables(tmp_path)
    assert positions.position(settings.path) == {}
    one, two = Shadow(settings, 1), Shadow(settings, 2)
    one.keep(orders(known, 1, 3))
    two.keep(orders(known, 4, 5))
    found = positions.position(settings.path)
    assert found == {file.name: file.stat().st_size for file in shadow.segments(settings.path)}
    assert len(found) == 2
    one.keep(orders(known, 6, 9))
    assert sum(positions.position(settings.path).values()) > sum(found.values())
    one.close()
    two.close()


def test_both_are_told_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = config_file(tmp_path, shadow={"path": str(tmp_path / "shadow")})
    assert positions.main(["--config", str(path)]) == 0
    assert json.loads(capsys.readouterr().out) == {"outbox": None, "shadow": {}}


# ---- what TDengine's newest backup holds ----


def test_the_newest_backups_windows_are_told_without_reading_a_row(tmp_path: Path) -> None:
    settings = td_kit.place(tmp_path)
    old = td_kit.holds(settings, "20261121-100000F")
    new = td_kit.holds(settings, "20261121-100000F_20261122-100000I", {"tick_data": {500000: old.label, 500007: "x"}})
    found = windows.held(td_manifest.newest(settings, subtables=False))
    assert found["label"] == new.label
    assert found["tables"]["tick_data"][2:] == [2, 500000, 500007]
    changed = replace(new, windows={"tick_data": {**new.windows["tick_data"], 500007: Window(10, "1" * 16, "x")}})
    assert windows.held(changed)["windows"] != found["windows"], "one hour's hash is part of it"


def test_without_a_backup_of_tdengine_there_is_nothing_and_an_edited_one_is_no_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("go\n" * 4))
    assert windows.main(tmp_path / "none.json") == 0
    assert json.loads(capsys.readouterr().out) is None
    settings = td_kit.place(tmp_path)
    told = {
        "folder": str(settings.folder), "cipher": str(settings.cipher), "proofs": str(settings.proofs),
        "tdengine": str(settings.tdengine), "database": settings.database, "zstd_level": 1,
    }  # fmt: skip
    path = tmp_path / "td-backup.json"
    path.write_text(json.dumps(told))
    assert windows.main(path) == 0
    assert json.loads(capsys.readouterr().out) is None
    label = td_kit.holds(settings, "20261121-100000F").label
    assert windows.main(path) == 0
    manifest = settings.folder / label / "manifest.json"
    manifest.write_text(manifest.read_text().replace("market_data", "market_date"))
    with pytest.raises(Edited):
        windows.main(path)
