"""While a lease lives nothing expires; it ends by itself, and taking one waits for an expire run."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from agents.base import clock
from agents.base.errors import AgentError
from agents.jobs import leases
from agents.jobs.leases import Lease, exclusively, hold, live, release

DAYS_60 = 60 * 86400.0


def lease(identity: str = "pitr-1", seconds: float = 60, label: str | None = None) -> Lease:
    return Lease(identity, "operator@desk", "restore-pitr runs", label, seconds)


def test_a_lease_lives_until_it_is_released(tmp_path: Path) -> None:
    hold(lease(label="20261121-060000F"), tmp_path)
    assert [one.label for one in live(tmp_path)] == ["20261121-060000F"]
    assert live(tmp_path)[0].sentence == "operator@desk holds a lease for 60 s more: restore-pitr runs"
    release("pitr-1", tmp_path)
    release("pitr-1", tmp_path)
    assert live(tmp_path) == ()


def test_a_lease_ends_by_itself_unless_it_is_held_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hold(lease("a", seconds=60), tmp_path)
    hold(lease("b", seconds=60), tmp_path)
    hold(lease("b", seconds=600), tmp_path)
    now = clock.since_boot()
    monkeypatch.setattr(clock, "since_boot", lambda: now + 120)
    assert [one.id for one in live(tmp_path)] == ["b"]
    monkeypatch.setattr(clock, "since_boot", lambda: now)
    assert [one.id for one in live(tmp_path)] == ["b"], "what has ended is taken away"


@pytest.mark.parametrize("jump", [DAYS_60, -DAYS_60])
def test_a_clock_that_jumps_neither_ends_nor_prolongs_a_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    hold(lease("a", seconds=60), tmp_path)
    now, boot = time.time(), clock.since_boot()
    monkeypatch.setattr(time, "time", lambda: now + jump)
    assert [one.id for one in live(tmp_path)] == ["a"]
    monkeypatch.setattr(clock, "since_boot", lambda: boot + 61)
    assert live(tmp_path) == ()


def test_after_a_reboot_a_lease_is_counted_anew_and_ends_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How long the host was down nobody knows: its clock may have come up wrong."""
    hold(lease("a", seconds=60), tmp_path)
    monkeypatch.setattr(clock, "boot_id", lambda: "another boot")
    monkeypatch.setattr(clock, "since_boot", lambda: 5.0)
    assert [one.ends for one in live(tmp_path)] == [65.0]
    monkeypatch.setattr(clock, "since_boot", lambda: 66.0)
    assert live(tmp_path) == ()


def test_a_lease_of_an_earlier_release_lives_for_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = {"id": "old", "owner": "o", "why": "w", "label": None, "until": 5.0}
    (tmp_path / "old.json").write_text(json.dumps(old))
    assert [one.id for one in live(tmp_path)] == ["old"]
    now = clock.since_boot()
    monkeypatch.setattr(clock, "since_boot", lambda: now + 25 * 3600)
    assert live(tmp_path) == ()


def test_a_lease_that_cannot_be_read_still_protects(tmp_path: Path) -> None:
    (tmp_path / "torn.json").write_text('{"id": "to')
    (protecting,) = live(tmp_path)
    assert "without an end: " in protecting.sentence
    assert "torn.json cannot be read" in protecting.sentence


@pytest.mark.parametrize("identity", ["", "../x", "a b", ".lock"])
def test_what_is_no_name_is_refused(tmp_path: Path, identity: str) -> None:
    with pytest.raises(AgentError, match="no name for a lease"):
        hold(lease(identity), tmp_path)


def test_taking_a_lease_waits_for_an_expire_run(tmp_path: Path) -> None:
    inside, leave = threading.Event(), threading.Event()

    def expires() -> None:
        with exclusively(tmp_path):
            inside.set()
            leave.wait(10)

    running = threading.Thread(target=expires)
    running.start()
    assert inside.wait(10)
    with pytest.raises(AgentError, match="no lease is given"), exclusively(tmp_path, patience=0.1):
        pass
    leave.set()
    hold(lease(), tmp_path)
    running.join()
    assert len(live(tmp_path)) == 1


def test_the_command_holds_lists_and_releases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ["--folder", str(tmp_path)]
    leases.main(["hold", "drill-7", "--owner", "o", "--why", "w", "--seconds", "60", *folder])
    leases.main(["list", *folder])
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["id"], listed["owner"], listed["why"], listed["label"]) == ("drill-7", "o", "w", None)
    leases.main(["release", "drill-7", *folder])
    assert live(tmp_path) == ()
