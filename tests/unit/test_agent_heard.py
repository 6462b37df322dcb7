"""An application host says that nobody alarms any more: once on each channel, and once when it is over."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.alarms import heard
from agents.alarms.heard import Settings, look
from agents.base.errors import BadConfig
from tests.unit.alarms_kit import NOON, Hook


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def settings(tmp_path: Path, hook: Hook) -> Settings:
    pager = ["sh", "-c", f"cat >> {tmp_path}/paged"]
    return Settings("mine", "backup1", 300, tmp_path, {"hook": hook.url, "pager": pager})


def beat(settings: Settings, at: float) -> None:
    (settings.folder / "beat").touch()
    os.utime(settings.folder / "beat", (at, at))


def paged(settings: Settings) -> str:
    file = settings.folder / "paged"
    return file.read_text() if file.exists() else ""


def test_a_sign_of_life_is_no_reason_to_say_anything(settings: Settings, hook: Hook) -> None:
    beat(settings, NOON)
    assert look(settings, NOON + 299) == [] and hook.asked == 0 and paged(settings) == ""


def test_silence_is_told_once_on_each_channel_and_its_end_too(settings: Settings, hook: Hook) -> None:
    beat(settings, NOON)
    for after in (301, 361, 421):
        assert look(settings, NOON + after) == []
    assert hook.titles == ["[CRITICAL] mine: backup1 raises no alarms any more"]
    assert paged(settings).count("CRITICAL") == 1 and "systemctl status mystocks-alarms on backup1" in paged(settings)
    beat(settings, NOON + 450)
    for after in (460, 520):
        assert look(settings, NOON + after) == []
    assert hook.titles[1:] == ["[RESOLVED] mine: backup1 alarms again"] and paged(settings).count("RESOLVED") == 1


def test_a_channel_that_is_out_is_tried_again_and_the_other_is_not_told_twice(settings: Settings, hook: Hook) -> None:
    beat(settings, NOON)
    hook.status = 500
    assert look(settings, NOON + 301) == ["hook: it was not taken"]
    hook.status = 200
    assert look(settings, NOON + 361) == []
    assert len(hook.got) == 1 and paged(settings).count("CRITICAL") == 1


def test_nobody_who_was_ever_heard_is_missed_from_the_first_run_on(settings: Settings, hook: Hook) -> None:
    assert look(settings, NOON) == [] and look(settings, NOON + 290) == [] and hook.asked == 0
    look(settings, NOON + 310)
    assert len(hook.got) == 1


def test_what_was_told_is_known_after_a_reboot_and_a_torn_note_tells_again(settings: Settings, hook: Hook) -> None:
    beat(settings, NOON)
    look(settings, NOON + 301)
    (settings.folder / "told.json").write_text("{torn")
    look(settings, NOON + 361)
    assert len(hook.got) == 2


@pytest.mark.parametrize("text", [None, "{", "[]", '{"estate": "x"}'])
def test_settings_that_cannot_be_used_are_one_sentence(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "heard.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadConfig) as error:
        heard.load(path)
    assert error.value.hint


def test_the_program_reads_what_a_deploy_writes(tmp_path: Path, hook: Hook) -> None:
    raw = {"estate": "mine", "who": "backup1", "silent_s": 300, "folder": str(tmp_path), "channels": {"hook": "log"}}
    (tmp_path / "heard.json").write_text(json.dumps(raw))
    beat(heard.load(tmp_path / "heard.json"), NOON + 10**9)
    assert heard.main(["--config", str(tmp_path / "heard.json")]) == 0
