"""`./dr` itself, on bad input that needs no host."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = str(ROOT / "inventories" / "production.example.py")


def dr(*arguments: str, state: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("DR_")}
    return subprocess.run(
        [sys.executable, "-m", "doors.main", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60,
        check=False, env={**clean, "DR_STATE": str(state), "DR_RUNS": str(state / "runs"), **environment},
    )  # fmt: skip


@pytest.mark.parametrize("task", ["deploy", "drift", "verify"])
def test_unknown_host_is_bad_input_naming_those_there_are(task: str, tmp_path: Path) -> None:
    done = dr(task, "--inventory", EXAMPLE, "--limit", "pg1,nope", state=tmp_path)
    assert done.returncode == 2
    assert "there is no host 'nope'" in done.stderr
    assert "HINT: its hosts are pg1, pg2, backup1, offsite1, app1" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("task", ["deploy", "drift", "verify", "status"])
def test_unknown_inventory_is_bad_input(task: str, tmp_path: Path) -> None:
    done = dr(task, "--inventory", "nowhere", state=tmp_path)
    assert done.returncode == 2
    assert "'nowhere'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("task", ["deploy", "status", "verify"])
def test_lab_that_was_never_made_is_bad_input(task: str, tmp_path: Path) -> None:
    done = dr(task, "--lab", "never-made", state=tmp_path)
    assert done.returncode == 2
    assert "never-made" in done.stderr
    assert "HINT: " in done.stderr


def test_a_drill_of_tdengine_without_a_package_is_skipped_by_name(tmp_path: Path) -> None:
    done = dr("drill", "--scenario", "tdengine-crash", "--lab", "never-made", state=tmp_path, TDENGINE_PACKAGE="")
    assert done.returncode == 3
    assert "tdengine-crash is skipped, because TDENGINE_PACKAGE names no TDengine package" in done.stderr
    assert "HINT: TDENGINE_PACKAGE=" in done.stderr
    assert "Traceback" not in done.stderr
    listed = dr("scenarios", state=tmp_path, TDENGINE_PACKAGE="", COLUMNS="300")
    assert "skipped here" in listed.stdout


def test_nonsense_in_the_expectation_is_bad_input(tmp_path: Path) -> None:
    done = dr("verify", "--inventory", EXAMPLE, state=tmp_path, DR_VERIFY_EXPECT="{")
    assert done.returncode == 2
    assert "DR_VERIFY_EXPECT" in done.stderr


def test_secrets_are_made_where_the_operator_stands(tmp_path: Path) -> None:
    done = dr("secrets.make", "mine.yaml", state=tmp_path, DR_CALLER_CWD=str(tmp_path))
    assert done.returncode == 0
    made = tmp_path / "mine.yaml"
    assert made.stat().st_mode & 0o777 == 0o600
    assert not [value for value in made.read_text().split() if len(value) > 20 and value in done.stdout]
    again = dr("secrets.make", "mine.yaml", state=tmp_path, DR_CALLER_CWD=str(tmp_path))
    assert again.returncode == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nonsense",), "nonsense"),
        (("drill", "--nonsense"), "--nonsense"),
        (("drill", "--rate", "fast"), "fast"),
        (("drill", "--scenario", "flood"), "'flood'"),
        (("drill", "--twin", "flood"), "'flood'"),
        (("drill", "--lab", "Not A Name"), "Not A Name"),
        (("runbook.show", "flood"), "'flood'"),
        (("failover", "--yes"), "'lab'"),
        (("switchover", "--inventory", "flood"), "'flood'"),
        (("lab.ssh", "pg1"), "'lab'"),
        (("outbox.status",), "'lab'"),
        (("outbox.dead", "--edit", "3", "--set", "side=BUY"), "--edit needs a reason"),
        (("outbox.dead", "--discard", "all"), "--discard needs a reason"),
        (("outbox.dead", "--show", "3", "--retry", "all"), "one deed at a time"),
        (("outbox.dead", "--set", "side=BUY"), "how a letter is edited"),
        (("outbox.dead", "--retry", "all"), "'lab'"),
        (("replay-outbox", "--rate", "-1"), "rows a second"),
    ],
)
def test_a_mistake_is_bad_input(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    ended = dr(*words, state=tmp_path)
    assert ended.returncode == 2, ended.stderr
    assert told in ended.stderr
    assert "HINT: " in ended.stderr.strip().splitlines()[-1]
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "runs").exists(), "a mistake leaves no run"


@pytest.mark.parametrize("name", ["failover", "rejoin", "switchover", "detach"])
def test_a_runbook_is_shown_without_any_host(tmp_path: Path, name: str) -> None:
    ended = dr("runbook.show", name, state=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"# {name}: ")


def test_a_reader_that_has_seen_enough_is_no_failure(tmp_path: Path) -> None:
    command = f"{sys.executable} -m doors.main runbook.show failover | head -1"
    environment = {**os.environ, "DR_STATE": str(tmp_path)}
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )
    assert ended.stdout.startswith("# failover")
    assert "Traceback" not in ended.stderr
