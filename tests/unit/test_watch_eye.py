"""A pair of eyes on a real server, and what it sees of one that is stopped, hangs, or is not there at all."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.watch.eye import Eye
from tests.unit.postgres_server import Server, folder_for_server, fresh_server

WITHIN = 0.4


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with fresh_server() as made:
        yield made


@pytest.fixture
def eye() -> Eye:
    return Eye({"dbname": "postgres", "user": "postgres"})


def see(eye: Eye, port: int, address: str = "127.0.0.1", ssh: int = 1) -> str:
    return eye.look("localhost", address, port, ssh, WITHIN)[0]


def _processes(server: Server) -> list[int]:
    postmaster = int((server.data / "postmaster.pid").read_text().splitlines()[0])
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    return [postmaster, *map(int, children)]


def test_server_that_answers_serves_and_keeps_its_session(server: Server, eye: Eye) -> None:
    assert [see(eye, server.port) for _ in range(5)] == ["serves"] * 5
    rows = server.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'mystocks-watch'")
    assert rows == [(1,)]


def test_look_costs_milliseconds_of_a_processor(server: Server, eye: Eye) -> None:
    see(eye, server.port)
    began = time.process_time()  # whoever else wants the machine makes a look no dearer
    for _ in range(50):
        see(eye, server.port)
    assert time.process_time() - began < 1


def test_server_whose_processes_stand_still_is_alive_and_serves_again(server: Server, eye: Eye) -> None:
    assert see(eye, server.port) == "serves"
    processes = _processes(server)
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        assert [see(eye, server.port) for _ in range(3)] == ["alive"] * 3
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)
    assert "serves" in [see(eye, server.port) for _ in range(3)]


def test_crashed_server_is_down_and_seen_again_when_it_is_back(server: Server, eye: Eye) -> None:
    assert see(eye, server.port) == "serves"
    server.stop()
    assert [see(eye, server.port) for _ in range(3)] == ["down"] * 3
    server.start()
    assert see(eye, server.port) == "serves"


def test_server_that_says_no_is_alive(server: Server) -> None:
    eye = Eye({"dbname": "postgres", "user": "nobody-of-that-name"})
    seen, why = eye.look("localhost", "127.0.0.1", server.port, 1, WITHIN)
    assert seen == "alive"
    assert "nobody-of-that-name" in why


def test_standby_is_a_standby(server: Server, eye: Eye) -> None:
    with folder_for_server() as folder:
        standby = server.standby(folder)
        try:
            assert see(eye, standby.port) == "standby"
        finally:
            standby.stop()


def test_port_that_takes_connections_and_never_answers_is_alive(eye: Eye) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        assert [see(eye, deaf.getsockname()[1]) for _ in range(3)] == ["alive"] * 3


def test_server_that_hangs_up_at_once_is_not_tried_without_end(eye: Eye) -> None:
    taken = 0

    def hang_up(listening: socket.socket) -> None:
        nonlocal taken
        while True:
            try:
                listening.accept()[0].close()
            except OSError:
                return
            taken += 1

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=hang_up, args=(listening,), daemon=True).start()
        assert see(eye, listening.getsockname()[1]) == "alive"
        listening.shutdown(socket.SHUT_RDWR)
    assert taken <= 4


def test_host_that_answers_ssh_alone_is_alive(eye: Eye, full: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as ssh:
        assert see(eye, full, ssh=ssh.getsockname()[1]) == "alive"


def test_silence_takes_no_longer_than_its_time(eye: Eye, full: int) -> None:
    began = time.monotonic()
    assert see(eye, full, ssh=full) == "silent"
    assert time.monotonic() - began < WITHIN + 0.2


def test_answer_that_comes_after_its_look_tells_a_busy_host_from_a_lost_one(eye: Eye) -> None:
    """The kernel of a host that is very busy answers a SYN when it gets to it, or the next one a second later."""
    with Busy() as busy:
        assert see(eye, busy.port, ssh=busy.port) == "silent"
        busy.answers()
        busy.is_busy()
        assert see(eye, busy.port, ssh=busy.port) == "alive"
        assert see(eye, busy.port, ssh=busy.port) == "silent", "one answer is told once"


def test_knock_that_is_never_answered_is_given_up(eye: Eye, full: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.watch.eye.LATE_S", WITHIN)
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert [see(eye, full, ssh=full) for _ in range(6)] == ["silent"] * 6
    assert len(list(Path("/proc/self/fd").iterdir())) - before <= 5  # the session's, and the knocks of two looks


class Scripted:
    """A session whose server answers, or does not."""

    writes = broken = False
    serves = False

    def ask(self) -> None:
        """It was asked."""

    def step(self) -> bool | None:
        return False if self.serves else None

    def fileno(self) -> int:
        return -1


def test_answer_from_before_it_served_again_is_none_after_its_loss(eye: Eye) -> None:
    """A hiccup an hour ago, whose knock was answered too late for its look: nobody has asked for that answer since."""
    with Busy() as busy:
        session = Scripted()
        eye._session, eye._target = session, ("localhost", "127.0.0.1", busy.port)  # type: ignore[assignment]
        assert see(eye, busy.port, ssh=busy.port) == "silent"
        busy.answers()
        busy.is_busy()
        session.serves = True
        assert see(eye, busy.port, ssh=busy.port) == "serves"
        session.serves = False
        assert see(eye, busy.port, ssh=busy.port) == "silent"


class Busy:
    """A port whose queue is full, until somebody takes from it, and full again."""

    def __init__(self) -> None:
        self._listening = socket.socket()
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen(0)
        self.port: int = self._listening.getsockname()[1]
        self._others: list[socket.socket] = []
        self.is_busy()

    def __enter__(self) -> Busy:
        return self

    def __exit__(self, *_: object) -> None:
        for one in (*self._others, self._listening):
            one.close()

    def is_busy(self) -> None:
        for _ in range(2):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", self.port))
            self._others.append(waiting)

    def answers(self) -> None:
        """Whoever knocks now, or tries again meanwhile, is let in; then nobody is any more."""
        self._listening.settimeout(2.5)
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            try:
                self._others.append(self._listening.accept()[0])
            except TimeoutError:
                return
