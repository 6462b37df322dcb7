"""Trouble that was not made is told as such: each script asks the kernel, here one that lies, whether it is there."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from inventories.errors import TargetFailed
from lab import noise

_IP = 'if [ "$2" = get ]; then echo "$3 {device} src 192.0.2.1"; fi'
_CUT, _WHOLE = "dev lo", "via 192.0.2.9 dev eth0"
_SYSTEMCTL = 'if [ "$1" = show ]; then echo {main}; fi'


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Put a program of this name and script first; the scripts of noise run on this machine."""
    folder = tmp_path / "bin"
    folder.mkdir()
    path = f"{folder}:{os.environ['PATH']}"

    def execute(_box: str, *argv: str, **_: object) -> str:
        done = subprocess.run(argv, capture_output=True, text=True, env={"PATH": path}, check=False)
        if done.returncode:
            raise TargetFailed(done.stderr.strip())
        return done.stdout

    engine = SimpleNamespace(execute=execute, run=lambda *_: "1\n", elevation=())
    monkeypatch.setattr(noise, "find", lambda *_: (engine, SimpleNamespace(container="box")))

    def put(name: str, script: str) -> None:
        made = folder / name
        made.write_text(f"#!/bin/sh\n{script}\n")
        made.chmod(0o755)

    monkeypatch.setenv("PATH", path)
    return put


def test_cut_tells_from_when_to_when_it_was_there(program: Callable[[str, str], None]) -> None:
    program("ip", _IP.format(device=_CUT))
    began = time.monotonic()
    force = noise.blink("toy", "pg1", ("192.0.2.2", "192.0.2.3"), 0.3)
    assert began - 0.05 <= force.since < force.until <= time.monotonic() + 0.05
    assert force.until - force.since > 0.25


def test_cut_that_the_kernel_knows_nothing_of_is_none(program: Callable[[str, str], None]) -> None:
    program("ip", _IP.format(device=_WHOLE))
    with pytest.raises(TargetFailed, match=r"192\.0\.2\.2 can be reached"):
        noise.blink("toy", "pg1", ("192.0.2.2",), 0.1)


def test_cut_that_somebody_healed_meanwhile_is_none(program: Callable[[str, str], None], tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    first = f'if [ -e {seen} ]; then echo "$3 {_WHOLE}"; else touch {seen}; echo "$3 {_CUT}"; fi'
    program("ip", f'if [ "$2" = get ]; then {first}; fi')
    with pytest.raises(TargetFailed, match="can be reached"):
        noise.blink("toy", "pg1", ("192.0.2.2",), 0.1)


def test_cut_from_nobody_is_none(program: Callable[[str, str], None]) -> None:
    program("ip", _IP.format(device=_CUT))
    with pytest.raises(TargetFailed, match="nobody was named"):
        noise.blink("toy", "pg1", (), 0.1)


def test_server_that_is_gone_cannot_be_stopped(program: Callable[[str, str], None]) -> None:
    program("systemctl", _SYSTEMCTL.format(main=0))
    with pytest.raises(TargetFailed, match="has no process to stop"):
        noise.freeze("toy", "pg1", "postgresql@17-main", 0.1)


def test_server_that_goes_on_was_not_stopped(program: Callable[[str, str], None]) -> None:
    """A signal that reached nobody, for systemd's word alone is no proof."""
    program("systemctl", _SYSTEMCTL.format(main=os.getpid()))
    with pytest.raises(TargetFailed, match="not every process"):
        noise.freeze("toy", "pg1", "postgresql@17-main", 0.1)


def test_server_whose_every_process_stands_still_was_stopped(program: Callable[[str, str], None]) -> None:
    # It says when its child runs: stopped in the middle of a fork, a shell waits for it in a state of its own.
    script = "sleep 30 & echo up; wait"
    server = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert server.stdout and server.stdout.readline() == b"up\n"
        kill = f'[ "$2" = --signal=STOP ] && kill -STOP -{server.pid} || kill -CONT -{server.pid}'
        program("systemctl", f'case $1 in show) echo {server.pid};; kill) {kill};; esac')
        force = noise.freeze("toy", "pg1", "postgresql@17-main", 0.2)
        assert 0.15 < force.until - force.since < 5
    finally:
        os.killpg(server.pid, 9)
        server.wait()


_NSENTER = 'shift 3; exec "$@"'  # --target PID --net


def test_rules_that_are_missing_lose_nothing(program: Callable[[str, str], None]) -> None:
    program("nsenter", _NSENTER)
    program("iptables", "exit 0")
    with pytest.raises(TargetFailed, match="no rule loses packets"):
        noise.lose("toy", "pg1", 0.3, 0.1)
    assert not noise.may_lose("toy", "pg1")


def test_rules_that_met_no_packet_lost_none(program: Callable[[str, str], None]) -> None:
    program("nsenter", _NSENTER)
    program("iptables", 'case "$*" in *-nvxL*) echo "0 0 DROP all statistic mode random probability 0.3";; esac')
    with pytest.raises(TargetFailed, match="not one packet was lost"):
        noise.lose("toy", "pg1", 0.3, 0.1)
    assert noise.may_lose("toy", "pg1")  # asked for no time at all, it is about the rules alone


def test_rules_that_lost_packets_were_in_force(program: Callable[[str, str], None]) -> None:
    program("nsenter", _NSENTER)
    program("iptables", 'case "$*" in *-nvxL*) echo "7 420 DROP all statistic mode random probability 0.3";; esac')
    force = noise.lose("toy", "pg1", 0.3, 0.2)
    assert force.until - force.since > 0.15


def test_disk_that_nothing_is_written_to_is_not_slow(program: Callable[[str, str], None], tmp_path: Path) -> None:
    program("dd", "sleep 0.05")
    with pytest.raises(TargetFailed, match="nothing is written"):
        noise.slow_disk("toy", "pg1", str(tmp_path), 0.2)


def test_disk_that_others_write_to_is_slow_and_left_clean(program: Callable[[str, str], None], tmp_path: Path) -> None:
    program("dd", 'for word; do case $word in of=*) echo full >"${word#of=}";; esac; done; sleep 0.05')
    force = noise.slow_disk("toy", "pg1", str(tmp_path), 0.4)
    assert force.until > force.since
    assert not list(tmp_path.glob(".hog.*"))


def test_script_that_says_nothing_made_no_trouble() -> None:
    with pytest.raises(TargetFailed, match="nothing says that the trouble was in force"):
        noise.moments("since 12.30\n")
