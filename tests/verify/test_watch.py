"""The watch's host: the service runs, and its key and its inventory are read by nobody else."""

from __future__ import annotations

import pytest

from runbooks.probes import marks
from tests.verify.subject import Seen, Subject

UNIT, USER, ETC = "mystocks-watch", "mystocks-watch", "/etc/mystocks-dr/watch"


def test_watch_runs_and_comes_back_after_a_reboot(watcher: Subject) -> None:
    service = watcher.machine.service(UNIT)
    assert service.is_running, "./dr watch.start"
    assert service.is_enabled


@pytest.mark.parametrize(("path", "owner", "mode"), [(f"{ETC}/id_ed25519", USER, 0o600), (ETC, USER, 0o750)])
def test_key_is_its_own(watcher: Subject, path: str, owner: str, mode: int) -> None:
    found = watcher.machine.file(path)
    assert (found.user, oct(found.mode)) == (owner, oct(mode))


def test_key_opens_from_its_own_address_alone(watcher: Subject) -> None:
    lines = watcher.machine.file("/var/lib/mystocks-watch/.ssh/authorized_keys").content_string.splitlines()
    keys = [line for line in lines if line and not line.startswith("#")]
    assert all(line.startswith("restrict,from=") for line in keys), keys


def test_marks_are_taken_by_the_first_watch_alone(watcher: Subject, whole: Seen) -> None:
    taker = marks.taker(whole.estate)
    timer = watcher.machine.service(marks.TIMER)
    if taker is not None and taker.name == watcher.name:
        assert timer.is_running and timer.is_enabled
    elif watcher.machine.file(f"/etc/systemd/system/{marks.TIMER}").exists:
        assert not timer.is_running
