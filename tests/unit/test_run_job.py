"""What the runner on the backup host answers becomes a sentence, or an error of the right family."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inventories.errors import BadInput, DrError, Refused, TargetFailed
from inventories.inventory import HostEntry
from runbooks.actions.backup import run_job
from runbooks.hosts import Host, Ran

BACKUP = Host("backup1", HostEntry(name="backup1", ssh_hostname="192.0.2.31"), Path("/nowhere"))


def answers(monkeypatch: pytest.MonkeyPatch, code: int, out: str = "", err: str = "") -> list[str]:
    """The runner ends so; the commands that it was given."""
    given: list[str] = []

    def run(self: Host, command: str, *args: object, **_: object) -> Ran:
        given.append(command % args)
        return Ran(code, out, err, 0.1)

    monkeypatch.setattr(Host, "run", run)
    return given


def test_a_job_that_passed_tells_its_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    given = answers(monkeypatch, 0, json.dumps({"outcome": "passed", "sentence": "20261121F: full"}))
    assert run_job(BACKUP, "full", 60, wait_s=30, io_timeout_s=2) == "20261121F: full"
    assert "agents.jobs.runner run full --wait 30 --io-timeout 2" in given[0]


@pytest.mark.parametrize(("code", "family"), [(1, TargetFailed), (2, BadInput), (3, Refused)])
def test_an_error_keeps_its_family_sentence_and_hint(
    monkeypatch: pytest.MonkeyPatch, code: int, family: type[DrError]
) -> None:
    answers(monkeypatch, code, err="full cannot run: expire runs.\nHINT: Wait for its end.\n")
    with pytest.raises(family) as told:
        run_job(BACKUP, "full", 60)
    assert str(told.value) == "backup1: full cannot run: expire runs."
    assert told.value.hint == "Wait for its end."


def test_a_runner_that_says_nothing_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, 127)
    with pytest.raises(TargetFailed, match="backup1: "):
        run_job(BACKUP, "full", 60)
