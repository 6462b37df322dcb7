"""One procedure at a time per estate."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from inventories.errors import BadInput, Refused, TargetFailed, Unreachable
from runbooks.engine.lock import Owner, held, lock_path, takeover, this_process


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_STATE", str(tmp_path / "state"))


def owner(run_dir: str = "/runs/1", *, resumes: bool = False, **changes: Any) -> Owner:
    return this_process("failover", Path(run_dir), resumes=resumes).model_copy(update=changes)


def silent(_sentence: str) -> None:
    pass


class Remote:
    """A lock on a backup host that behaves as told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.calls: list[str] = []

    def acquire(self, owner_json: str) -> None:
        self.calls.append(f"acquire {Owner.model_validate_json(owner_json).procedure}")
        if self.error:
            raise self.error

    def heartbeat(self, owner_json: str) -> None:
        self.calls.append("heartbeat")
        if self.error or "rejoin" in owner_json:
            raise Unreachable("backup1 does not answer")

    def release(self) -> None:
        self.calls.append("release")


def test_a_live_lock_refuses_with_owner_procedure_and_age() -> None:
    since = datetime.now(UTC) - timedelta(minutes=7)
    with held("toy", owner(since=since), silent):
        with pytest.raises(Refused) as refusal, held("toy", owner("/runs/2"), silent):
            pass
        assert owner().owner in str(refusal.value)
        assert "failover" in str(refusal.value)
        assert "7 min" in str(refusal.value)
        assert "/runs/1" in refusal.value.hint
        assert lock_path("toy").exists(), "the refused one must not remove the lock"


def test_even_a_resume_of_the_same_run_waits_for_a_live_owner() -> None:
    with (
        held("toy", owner(), silent),
        pytest.raises(Refused),
        held("toy", owner(resumes=True), silent),
    ):
        pass


def test_the_lock_of_a_dead_process_is_taken_over_and_it_is_said() -> None:
    pid = os.fork()
    if pid == 0:
        lock = held("toy", owner(), silent)  # kept: a forgotten one would let go
        lock.__enter__()
        os._exit(9)
    os.waitpid(pid, 0)
    heard: list[str] = []
    with held("toy", owner("/runs/2"), heard.append) as locks:
        assert locks.owner.pid == os.getpid()
    assert f"its process {pid} died" in heard[0]


def test_a_process_that_is_dead_but_not_yet_reaped_does_not_hold() -> None:
    pid = os.fork()
    if pid == 0:
        lock = held("toy", owner(), silent)  # kept: a forgotten one would let go
        lock.__enter__()
        os._exit(9)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    heard: list[str] = []
    with held("toy", owner("/runs/2"), heard.append):
        assert f"its process {pid} died" in heard[0]
    os.waitpid(pid, 0)


@pytest.mark.parametrize("changes", [{"process_started": "1"}, {"boot": "another boot"}])
def test_another_process_under_the_same_pid_does_not_hold(changes: dict[str, Any]) -> None:
    assert "died" in takeover(owner(**changes), owner())


def test_an_owner_on_another_machine_is_believed_alive() -> None:
    elsewhere = owner(owner="ann@elsewhere", boot="theirs", pid=2**22 + 1, process_started="7")
    with pytest.raises(Refused, match="ann@elsewhere"):
        takeover(elsewhere, owner())


def test_a_resume_of_the_same_run_follows_an_owner_on_another_machine() -> None:
    elsewhere = owner(owner="ann@elsewhere")
    assert "taken over" in takeover(elsewhere, owner(resumes=True))
    with pytest.raises(Refused):
        takeover(elsewhere, owner("/runs/2", resumes=True))


def test_the_lock_is_gone_after_the_run_and_two_estates_do_not_meet() -> None:
    with held("toy", owner(), silent), held("a/../b", owner(), silent):
        assert lock_path("a/../b").parent == lock_path("toy").parent
    assert not lock_path("toy").exists()


def test_a_lock_taken_over_meanwhile_is_not_removed() -> None:
    with held("toy", owner(), silent):
        lock_path("toy").write_text(owner(pid=1).model_dump_json())
    assert lock_path("toy").exists()


def test_a_lock_that_cannot_be_read_is_a_refusal() -> None:
    lock_path("toy").parent.mkdir(parents=True)
    lock_path("toy").write_text("{")
    with pytest.raises(Refused, match="cannot be read"), held("toy", owner(), silent):
        pass


def test_a_state_folder_that_cannot_be_written_is_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_STATE", "/proc/nowhere")
    with pytest.raises(BadInput, match="cannot take the lock"), held("toy", owner(), silent):
        pass


def test_the_remote_lock_is_held_too() -> None:
    remote = Remote()
    with held("toy", owner(), silent, remote):
        assert remote.calls == ["acquire failover"]
    assert remote.calls == ["acquire failover", "release"]


@pytest.mark.parametrize("error", [Unreachable("backup1 does not answer"), TargetFailed("disk full")])
def test_a_remote_lock_that_fails_is_a_warning_only(error: Exception) -> None:
    heard: list[str] = []
    remote = Remote(error)
    with held("toy", owner(), heard.append, remote):
        assert "WARNING" in heard[0]
    assert remote.calls == ["acquire failover"]


def test_a_remote_refusal_refuses_and_lets_go_of_the_local_lock() -> None:
    with pytest.raises(Refused), held("toy", owner(), silent, Remote(Refused("ann is at it"))):
        pass
    assert not lock_path("toy").exists()


def test_a_heartbeat_is_renewed_only_when_due() -> None:
    remote = Remote()
    with held("toy", owner(), silent, remote) as locks:
        locks.beat()
        assert "heartbeat" not in remote.calls
        locks.owner = owner(heartbeat=datetime.now(UTC) - timedelta(minutes=1))
        locks.beat()
        assert "heartbeat" in remote.calls
        written = Owner.model_validate_json(lock_path("toy").read_bytes())
    assert datetime.now(UTC) - written.heartbeat < timedelta(seconds=30)


def test_a_remote_that_stops_answering_is_said_once_and_not_waited_for_again() -> None:
    remote = Remote()
    heard: list[str] = []
    with held("toy", owner(), heard.append, remote) as locks:
        for _ in range(2):
            long_ago = datetime.now(UTC) - timedelta(minutes=1)
            locks.owner = owner(heartbeat=long_ago, procedure="rejoin")
            locks.beat()
    assert remote.calls.count("heartbeat") == len(heard) == 1
