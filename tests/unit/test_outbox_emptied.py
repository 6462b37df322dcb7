"""An outbox is waited for as long as was granted, whatever a busy host does to one question of many."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from inventories.errors import TargetFailed, TimedOut
from runbooks.probes import app
from runbooks.procedures.outbox import emptied

ANYBODY: Any = None


def answers(monkeypatch: pytest.MonkeyPatch, *said: Exception | int) -> list[Exception | int]:
    left = list(said)

    def outbox(*_: object, **__: object) -> Any:
        one = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(one, Exception):
            raise one
        return SimpleNamespace(ready_records=one)

    monkeypatch.setattr(app, "outbox", outbox)
    return left


def test_host_that_was_too_busy_to_answer_once_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, 7, TimedOut("app1 did not finish it within 10 s"), 0)
    assert emptied(ANYBODY, 5.0).ready_records == 0


def test_host_that_never_answers_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, TimedOut("app1 did not finish it within 10 s"))
    with pytest.raises(TimedOut, match=r"an empty outbox.*app1 did not finish"):
        emptied(ANYBODY, 0.1)


def test_program_that_fails_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, TargetFailed("no such file"), 0)
    with pytest.raises(TargetFailed):
        emptied(ANYBODY, 5.0)
