"""The lab's power behind a network: whoever knows the word turns a host off, and is told so only when it is."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from inventories.errors import TargetFailed
from lab import bmc, power, state
from lab.state import LabHost, LabState


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    monkeypatch.setenv("DR_STATE", str(tmp_path))
    hosts = {"pg1": LabHost("pg1", "toy-pg1", "127.0.0.2")}
    state.save(LabState("toy", "dr-toy", "127.0.0.0/24", "127.0.0.1", "image", hosts))
    fenced: list[str] = []

    def fence(_lab: str, host: str) -> None:
        if host != "pg1":
            raise TargetFailed(f"{host} still runs")
        fenced.append(host)

    monkeypatch.setattr(power, "fence", fence)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setattr(bmc, "PORT", probe.getsockname()[1])
    with bmc.serving("toy"):
        yield fenced


def ask(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=20)


def command(host: str) -> list[str]:
    return [sys.executable, *bmc.command("toy", host, Path(bmc.__file__).with_name("bmc_client.py"))[1:]]


def test_host_is_off_when_that_is_said(asked: list[str]) -> None:
    assert ask(*command("pg1")).returncode == 0
    assert asked == ["pg1"]


def test_host_that_still_runs_is_not_off(asked: list[str]) -> None:
    done = ask(*command("pg2"))
    assert (done.returncode, done.stderr) == (1, "pg2 still runs\n")


def test_who_does_not_know_the_word_turns_nothing_off(asked: list[str]) -> None:
    words = command("pg1")
    words[-2] = "guessed"
    assert ask(*words).returncode == 1
    assert not asked


def test_power_that_nobody_serves_is_not_off(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bmc, "PORT", 1)
    done = ask(*command("pg1"))
    assert done.returncode == 1
    assert "does not answer" in done.stderr
