from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from deploys import run
from deploys.text import NOT_EMPTY
from inventories import secrets
from inventories.errors import BadInput, Refused, TargetFailed

OPERATIONS = [
    {"name": "settings", "success": ["pg1"], "error": [], "no_change": ["pg2"]},
    {"name": "settings", "success": ["pg2"], "error": [], "no_change": []},
    {"name": "cron runs", "success": [], "error": [], "no_change": ["pg1", "pg2"]},
]


@pytest.fixture(autouse=True)
def secrets_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in secrets.NAMES:
        monkeypatch.setenv(f"DR_SECRET_{name.upper()}", "not-so-secret")


@pytest.fixture
def pyinfra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A program in pyinfra's place that prints what it is told to, and notes how it was called."""

    def put(document: object, stderr: str = "", code: int = 0) -> Path:
        calls = tmp_path / "calls"
        script = tmp_path / "pyinfra.sh"
        text = "" if document is None else json.dumps(document)
        script.write_text(
            "import os, sys\n"
            f"open({str(calls)!r}, 'a').write(repr((sys.argv[1:], os.environ.get('PYINFRA_YES'))) + '\\n')\n"
            f"sys.stdout.write({text!r})\nsys.stderr.write({stderr!r})\nsys.exit({code})\n"
        )
        real = sys.executable
        wrapper = tmp_path / "python"
        wrapper.write_text(f'#!/bin/sh\nexec {real} {script} "$@"\n')
        wrapper.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(wrapper))
        return calls

    return put


def test_hosts_of_operations_with_one_name_are_added_up(pyinfra: Any) -> None:
    pyinfra({"results": {"operations": OPERATIONS}})
    changes = run.deploy(str(run.ROOT / "inventories/production.example.py"))
    assert changes.by_operation == {"settings": ("pg1", "pg2")}
    assert changes.operations == 3
    assert changes


def test_whoever_hears_the_operations_may_end_the_deploy_at_one(pyinfra: Any) -> None:
    """A deploy whose lock was broken goes no further beside whoever acts now."""
    pyinfra(None, "--> Starting operation: settings\n--> Starting operation: cron runs\n")
    heard = []

    def broken(sentence: str) -> None:
        heard.append(sentence)
        raise Refused("the lock of this run was broken")

    with pytest.raises(Refused, match="was broken"):
        run.deploy(str(run.ROOT / "inventories/production.example.py"), say=broken)
    assert heard == ["settings"]


def test_missing_secret_is_told_before_any_host_is_asked(pyinfra: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = pyinfra({"results": {"operations": OPERATIONS}})
    monkeypatch.delenv("DR_SECRET_WRITER")
    with pytest.raises(BadInput, match="secret 'writer'") as missing:
        run.deploy(str(run.ROOT / "inventories/production.example.py"))
    assert "./dr secrets.make" in missing.value.hint
    assert not calls.exists()


def test_nothing_changed_is_false(pyinfra: Any) -> None:
    pyinfra({"results": {"operations": OPERATIONS[2:]}})
    assert not run.deploy(str(run.ROOT / "inventories/production.example.py"))


def test_no_operation_at_all_is_a_failure(pyinfra: Any) -> None:
    pyinfra({"results": {"operations": []}, "plan": []})
    with pytest.raises(TargetFailed, match="no operation"):
        run.deploy(str(run.ROOT / "inventories/production.example.py"))
    with pytest.raises(TargetFailed, match="no operation"):
        run.drift(str(run.ROOT / "inventories/production.example.py"))


def test_drift_never_says_yes(pyinfra: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With -y, or PYINFRA_YES, pyinfra detects no change whatever is missing."""
    monkeypatch.setenv("PYINFRA_YES", "1")
    calls = pyinfra({"plan": [{"name": "settings", "hosts_with_change": ["pg1"], "hosts_with_conditional_change": []}]})
    assert run.drift(str(run.ROOT / "inventories/production.example.py")).by_operation == {"settings": ("pg1",)}
    called, yes = eval(calls.read_text())
    assert "--dry" in called
    assert not {"-y", "--yes"} & set(called)
    assert yes is None


def test_limit_is_handed_on(pyinfra: Any) -> None:
    calls = pyinfra({"results": {"operations": OPERATIONS}})
    run.deploy(str(run.ROOT / "inventories/production.example.py"), ["pg1", "pg2"])
    called, _ = eval(calls.read_text())
    assert " ".join(called).count("--limit") == 2


def test_only_a_deploy_for_restoring_says_so(pyinfra: Any) -> None:
    calls = pyinfra({"results": {"operations": OPERATIONS}, "plan": []})
    mine = str(run.ROOT / "inventories/production.example.py")
    run.deploy(mine)
    run.deploy(mine, restoring=True)
    ordinary, restoring = (eval(line)[0] for line in calls.read_text().splitlines())
    assert not [word for word in ordinary if word.startswith("restoring")]
    assert [word for word in ordinary if word.startswith("ssh_config_file=")], "the inventory alone says the way"
    assert restoring[restoring.index("--data") + 1] == "restoring=true"


@pytest.mark.parametrize("what", ["the repository holds backups of stanza main", "offsite1 holds off-site copies"])
def test_an_empty_primary_beside_backups_is_a_refusal_with_the_way_out(pyinfra: Any, what: str) -> None:
    pyinfra(None, stderr=f"chatter\n    [pg1] OperationError: pg1: {NOT_EMPTY}: {what}\nError: none left\n", code=1)
    with pytest.raises(Refused, match=f"^pg1: {NOT_EMPTY}: {what}$") as refused:
        run.deploy(str(run.ROOT / "inventories/production.example.py"))
    assert "./dr restore-cluster" in refused.value.hint


def test_log_and_voice_get_every_operation(pyinfra: Any, tmp_path: Path) -> None:
    pyinfra({"results": {"operations": OPERATIONS}}, stderr="\x1b[34m--> Starting operation: settings \x1b[0m\nfine\n")
    heard: list[str] = []
    log = tmp_path / "pyinfra.log"
    run.deploy(str(run.ROOT / "inventories/production.example.py"), log=log, say=heard.append)
    assert heard == ["settings"]
    assert log.read_text() == "--> Starting operation: settings \nfine\n"


def test_failure_says_pyinfras_reason_and_where_the_rest_is(pyinfra: Any, tmp_path: Path) -> None:
    pyinfra(None, stderr="chatter\n    [pg1] Error: could not execute\n", code=1)
    with pytest.raises(TargetFailed, match="could not execute") as failed:
        run.deploy(str(run.ROOT / "inventories/production.example.py"), log=tmp_path / "pyinfra.log")
    assert "pyinfra.log" in failed.value.hint


def test_no_document_is_a_failure_whatever_the_exit_code(pyinfra: Any) -> None:
    """Ctrl-C makes pyinfra end with 0."""
    pyinfra(None, stderr="Exiting upon user request!\n", code=0)
    with pytest.raises(TargetFailed):
        run.deploy(str(run.ROOT / "inventories/production.example.py"))
