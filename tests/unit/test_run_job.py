"""What the runner on the backup host answers becomes a sentence, or an error of the right family."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inventories.errors import BadInput, DrError, Refused, TargetFailed
from inventories.inventory import HostEntry
from runbooks import agent
from runbooks.actions.backup import run_job
from runbooks.engine.budgets import budget
from runbooks.hosts import Host, Ran
from runbooks.long_work.work import Asker, Work

BACKUP = Host("backup1", HostEntry(name="backup1", ssh_hostname="192.0.2.31"), Path("/nowhere"))
ASKER = Asker.door("a test")


def answers(monkeypatch: pytest.MonkeyPatch, code: int, out: str = "", err: str = "") -> list[Work]:
    """The runner ends so; the work that it was given as."""
    given: list[Work] = []

    def run(host: Host, work: Work, asker: Asker, **_: object) -> Ran:
        given.append(work)
        return Ran(code, out, err, 0.1)

    monkeypatch.setattr(agent, "run_long", run)
    return given


def test_a_job_that_passed_tells_its_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    given = answers(monkeypatch, 0, json.dumps({"outcome": "passed", "sentence": "20261121F: full"}))
    assert run_job(BACKUP, "full", ASKER, wait_s=30, io_timeout_s=2) == "20261121F: full"
    assert " ".join(given[0].argv).endswith("agents.jobs.runner run full --wait 30 --io-timeout 2")


def test_a_job_waits_for_another_before_it_counts_as_standing_still(monkeypatch: pytest.MonkeyPatch) -> None:
    given = answers(monkeypatch, 0, json.dumps({"outcome": "passed", "sentence": ""}))
    run_job(BACKUP, "full", ASKER, wait_s=30)
    assert (given[0].unit, given[0].queues_s) == ("mystocks-job-full-run.service", 30)
    assert given[0].silent == budget("work.silent") + 30


@pytest.mark.parametrize(("code", "family"), [(1, TargetFailed), (2, BadInput), (3, Refused)])
def test_an_error_keeps_its_family_sentence_and_hint(
    monkeypatch: pytest.MonkeyPatch, code: int, family: type[DrError]
) -> None:
    answers(monkeypatch, code, err="full cannot run: expire runs.\nHINT: Wait for its end.\n")
    with pytest.raises(family) as told:
        run_job(BACKUP, "full", ASKER)
    assert str(told.value) == "backup1: full cannot run: expire runs."
    assert told.value.hint == "Wait for its end."


def test_a_runner_that_says_nothing_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, 127)
    with pytest.raises(TargetFailed, match="backup1: "):
        run_job(BACKUP, "full", ASKER)
