"""Knocking at a port: open, refused and silent are three answers, and one lost packet is none of them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inventories.errors import TargetFailed, Unreachable
from inventories.inventory import HostEntry
from runbooks import hosts, knock
from runbooks.hosts import Host
from runbooks.knock import Door
from runbooks.probes import network


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening


def host(**data: Any) -> Host:
    return Host("pg1", HostEntry.model_validate({"name": "pg1", "ssh_hostname": "127.0.0.1", **data}), Path("/nowhere"))


def port_of(listening: socket.socket) -> int:
    port = listening.getsockname()[1]
    assert isinstance(port, int)
    return port


def test_open_port_is_open(listener: socket.socket) -> None:
    assert knock.knock("127.0.0.1", port_of(listener), 0.5) is Door.OPEN


def test_answer_that_came_while_this_machine_was_too_busy_to_look_counts(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = iter(range(0, 1000, 10))  # every look at the clock finds that the time is over
    monkeypatch.setattr(time, "monotonic", lambda: float(next(late)))
    assert knock.knock("127.0.0.1", port_of(listener), 0.25) is Door.OPEN


def test_port_where_nobody_listens_is_refused_at_once(listener: socket.socket) -> None:
    port = port_of(listener)
    listener.close()
    started = time.monotonic()
    assert knock.knock("127.0.0.1", port, 5) is Door.REFUSED
    assert time.monotonic() - started < 1


def test_silence_is_silence_and_takes_no_longer_than_it_may(full: int) -> None:
    started = time.monotonic()
    assert knock.knock("127.0.0.1", full, 0.3) is Door.SILENT
    assert 0.25 < time.monotonic() - started < 1


def test_first_knock_that_gets_lost_is_followed_by_another(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = knock._begin
    lost: list[int] = []

    def lossy(knocking: socket.socket, address: object, waiting: Any, heard: set[Door]) -> None:
        if lost:
            begin(knocking, address, waiting, heard)
        else:  # as a SYN that nobody answers: the socket stays, nothing is heard of it
            lost.append(1)
            waiting.register(silent, 1)

    with socket.socketpair()[0] as silent:
        monkeypatch.setattr(knock, "_begin", lossy)
        assert knock.knock("127.0.0.1", port_of(listener), 0.6) is Door.OPEN
    assert lost


def test_ssh_is_knocked_at_where_ssh_dials_and_not_where_the_others_do(listener: socket.socket) -> None:
    managed = host(ssh_port=port_of(listener), address="192.0.2.21")
    assert managed.reachable()
    assert managed.dialled == f"127.0.0.1:{port_of(listener)}"


def test_refused_ssh_is_told_from_silence(listener: socket.socket) -> None:
    port = port_of(listener)
    listener.close()
    refusing = host(ssh_port=port)
    assert refusing.knock() is Door.REFUSED
    assert refusing.no_answer(Door.REFUSED) == f"no answer at 127.0.0.1:{port}: the connection is refused"
    assert refusing.no_answer(Door.SILENT) == f"no answer at 127.0.0.1:{port}"


def test_name_that_cannot_be_resolved_is_unknown_and_not_silence() -> None:
    with pytest.raises(Unreachable, match="cannot be resolved"):
        knock.knock("no-such-host.invalid", 22, 0.2)
    nameless = host(ssh_hostname="no-such-host.invalid", address="192.0.2.1")
    assert nameless.knock() is Door.UNKNOWN and not nameless.reachable()


def test_behind_a_bastion_a_login_is_what_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    behind = host(ssh_proxy_jump="bastion.example")
    said: list[str] = []

    def run(_self: Host, command: str, **_: object) -> None:
        said.append(command)
        raise Unreachable("channel 0: open failed: connect failed: Connection refused")

    monkeypatch.setattr(hosts.Host, "run", run)
    assert behind.knock() is Door.REFUSED
    assert said == ["true"]
    assert behind.dialled == "127.0.0.1:22 through bastion.example"


@pytest.fixture
def fake_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An `ssh` that runs here what it is given."""
    program = tmp_path / "ssh"
    program.write_text('#!/bin/sh\nexec sh -c "$5"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def test_command_that_ends_with_255_is_not_taken_for_ssh(fake_ssh: Path) -> None:
    with pytest.raises(TargetFailed, match="ended with 254"):
        host().run("exit 255")
    assert host().run("exit 3", expect=3).rc == 3
    assert host().run("cat", stdin="x").stdout == "x"


def test_sudo_that_asks_for_a_password_is_a_sentence_whatever_was_expected(fake_ssh: Path) -> None:
    (fake_ssh / "sudo").write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    (fake_ssh / "sudo").chmod(0o755)
    with pytest.raises(TargetFailed, match="dr may not use sudo") as told:
        host(ssh_user="dr").run("true", expect=None)
    assert "NOPASSWD" in told.value.hint


def test_what_sudo_says_in_passing_is_no_refusal(fake_ssh: Path) -> None:
    (fake_ssh / "sudo").write_text("#!/bin/sh\necho 'sudo: unable to resolve host pg1' >&2\nexit 1\n")
    (fake_ssh / "sudo").chmod(0o755)
    assert host(ssh_user="dr").run("test -e /nowhere", expect=None).rc == 1


def test_host_renewed_under_its_old_name_is_a_sentence_that_names_the_command(fake_ssh: Path) -> None:
    (fake_ssh / "ssh").write_text("#!/bin/sh\necho 'Host key verification failed.' >&2\nexit 255\n")
    with pytest.raises(Unreachable, match="shows a host key that is not the known one") as told:
        host(ssh_port=2022, ssh_known_hosts_file="/keys/known").run("true")
    assert "ssh-keygen -R '[127.0.0.1]:2022' -f /keys/known" in told.value.hint


@pytest.mark.parametrize(
    ("said", "door"),
    [
        ("ended=0", Door.OPEN),
        ("bash: connect: Connection refused\nbash: line 1: /dev/tcp/x/1: Connection refused\nended=1", Door.REFUSED),
        ("knocks\nended=124", Door.SILENT),
        ("ended=124", Door.UNKNOWN),
        ("bash: connect: No route to host\nended=1", Door.SILENT),
        ("bash: connect: Permission denied\nended=1", Door.UNKNOWN),
        ("", Door.UNKNOWN),
    ],
)
def test_what_a_viewer_found_is_four_answers(said: str, door: Door) -> None:
    assert network.parse(said) is door


def test_viewer_that_cannot_be_asked_has_seen_nothing(listener: socket.socket) -> None:
    port = port_of(listener)
    listener.close()
    assert network.look(host(ssh_port=port), host(), 5432, 0.2) is Door.UNKNOWN


def test_viewer_knocks_for_real(fake_ssh: Path, listener: socket.socket, full: int) -> None:
    with socket.socket() as sshd:
        sshd.bind(("127.0.0.1", 0))
        sshd.listen()
        threading.Thread(target=lambda: [sshd.accept() for _ in range(3)], daemon=True).start()
        viewer, port = host(ssh_port=port_of(sshd)), port_of(listener)
        assert network.look(viewer, host(), port, 0.6) is Door.OPEN
        assert network.look(viewer, host(), full, 0.3) is Door.SILENT
        listener.close()
        assert network.look(viewer, host(), port, 0.6) is Door.REFUSED


def test_viewer_that_is_too_busy_to_knock_in_time_has_met_with_no_silence(
    fake_ssh: Path, listener: socket.socket
) -> None:
    (fake_ssh / "bash").write_text('#!/bin/sh\nsleep 1\nexec /bin/bash "$@"\n')
    (fake_ssh / "bash").chmod(0o755)
    with socket.socket() as sshd:
        sshd.bind(("127.0.0.1", 0))
        sshd.listen()
        assert network.look(host(ssh_port=port_of(sshd)), host(), port_of(listener), 0.3) is Door.UNKNOWN


@pytest.mark.parametrize("door", sorted(set(Door) - {Door.OPEN}))
def test_host_that_must_answer_is_given_up_at_once_for_whatever_is_no_open_door(
    monkeypatch: pytest.MonkeyPatch, door: Door
) -> None:
    monkeypatch.setattr(Host, "knock", lambda *_: door)
    with pytest.raises(Unreachable, match=r"^pg1: no answer at "):
        host().must_answer()
    monkeypatch.setattr(Host, "knock", lambda *_: Door.OPEN)
    host().must_answer()
