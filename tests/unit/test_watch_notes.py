"""What watches note on the backup host: real files, and of two that ask at once one is refused."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from agents.guard import notes
from agents.guard.record import BadRequest, Refused

ROOT = Path(__file__).resolve().parents[2]
HOUR = 3600.0


def act(folder: Path, token: str = "a", cooldown_s: float = HOUR) -> dict[str, Any]:
    return notes.act(folder, {"token": token, "cooldown_s": cooldown_s, "by": f"watch {token}", "primary": "pg1"})


def test_nothing_is_noted_at_first(tmp_path: Path) -> None:
    assert notes.show(tmp_path) == {"maintenance": None, "acted": None}


def test_second_watch_and_one_started_anew_are_refused(tmp_path: Path) -> None:
    act(tmp_path)
    for token in ("a", "b"):
        with pytest.raises(Refused, match="acts once in 3600 s") as refused:
            act(tmp_path, token)
        assert refused.value.kind == "cooldown"


def test_what_was_refused_by_the_runbook_does_not_count(tmp_path: Path) -> None:
    act(tmp_path)
    notes.back(tmp_path, {"token": "a"})
    act(tmp_path, "b")


def test_cooldown_ends(tmp_path: Path) -> None:
    act(tmp_path, cooldown_s=0.05)
    time.sleep(0.06)
    act(tmp_path, "b", cooldown_s=0.05)


def test_a_clock_that_was_set_back_after_a_boot_ends_no_cooldown(tmp_path: Path) -> None:
    act(tmp_path)
    found = json.loads((tmp_path / notes.NOTES).read_text())
    found["acted"][0] |= {"boot": "another", "at": time.time() + 10 * HOUR}
    (tmp_path / notes.NOTES).write_text(json.dumps(found))
    with pytest.raises(Refused):
        act(tmp_path, "b")


@pytest.mark.parametrize("cooldown", [0, -1, None, "3600"])
def test_no_cooldown_is_no_request(tmp_path: Path, cooldown: Any) -> None:
    with pytest.raises(BadRequest):
        notes.act(tmp_path, {"token": "a", "cooldown_s": cooldown})


def test_nobody_acts_while_maintenance_is_declared(tmp_path: Path) -> None:
    notes.declare(tmp_path, {"for_s": 60, "reason": "a new disk", "by": "eve"})
    with pytest.raises(Refused, match="a new disk") as refused:
        act(tmp_path)
    assert refused.value.kind == "maintenance"
    notes.end(tmp_path, {})
    act(tmp_path)


def test_maintenance_ends_by_itself(tmp_path: Path) -> None:
    notes.declare(tmp_path, {"for_s": 0.05, "reason": "quick", "by": "eve"})
    time.sleep(0.06)
    assert notes.show(tmp_path)["maintenance"] is None
    act(tmp_path)


@pytest.mark.parametrize(
    "request_",
    [{"reason": "r"}, {"for_s": 0, "reason": "r"}, {"for_s": 60, "reason": " "}, {"for_s": 1e9, "reason": "r"}],
)
def test_maintenance_without_end_or_reason_is_no_declaration(tmp_path: Path, request_: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        notes.declare(tmp_path, request_)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 2}', '{"schema": 1, "maintenance": {}, "acted": []}'])
def test_damaged_notes_let_nobody_act(tmp_path: Path, text: str) -> None:
    (tmp_path / notes.NOTES).write_text(text)
    with pytest.raises(Refused) as refused:
        act(tmp_path)
    assert refused.value.kind == "unreadable"


def test_of_many_that_ask_at_once_one_acts(tmp_path: Path) -> None:
    told: list[bool] = []

    def ask(token: str) -> None:
        try:
            notes.answered("act", {"token": token, "cooldown_s": HOUR}, tmp_path)
            told.append(True)
        except Refused:
            told.append(False)

    threads = [threading.Thread(target=ask, args=(str(nr),)) for nr in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == [False] * 7 + [True]


def test_who_stays_is_answered_line_by_line(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from agents.guard import notes; sys.exit(notes.serve(pathlib.Path(sys.argv[1])))"
    )
    asked = [("look", {}), ("act", {"token": "a", "cooldown_s": HOUR}), ("act", {"token": "b", "cooldown_s": HOUR}),
             ("nonsense", {})]  # fmt: skip
    lines = "".join(json.dumps({"n": n, "verb": verb, "request": said}) + "\n" for n, (verb, said) in enumerate(asked))
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], input=lines, capture_output=True, text=True, cwd=ROOT, check=True
    )
    look, first, second, nonsense = (json.loads(line) for line in done.stdout.splitlines())
    assert look["ok"] == {"notes": {"maintenance": None, "acted": None}, "record": None}
    assert first["ok"]["acted"]["token"] == "a"
    assert second["refused"] == "cooldown"
    assert "there is no verb" in nonsense["failed"]
