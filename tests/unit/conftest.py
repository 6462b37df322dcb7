"""What no unit test may depend on, the environment of whoever runs it; and the server that dear ones share."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from tests.unit.copying_kit import Two
from tests.unit.monitor_kit import Monitoring, monitoring
from tests.unit.postgres_server import Server, folder_for_server


@pytest.fixture(autouse=True)
def no_slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Budgets are those of the catalogue, though they are multiplied for the lab's tests of the same run."""
    monkeypatch.delenv("DR_SLOW", raising=False)


@pytest.fixture(scope="session")
def copying_server() -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch, folder_for_server() as folder:
        patch.setitem(os.environ, "PGUSER", "postgres")  # whom the program of COPY connects as
        server = Server(folder)
        try:
            server.create()
            server.sql("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
            yield server
        finally:
            server.stop()


@pytest.fixture
def two(copying_server: Server) -> Iterator[Two]:
    """A live database, and its copy once it is asked for."""
    both = Two(copying_server)
    both.begin()
    yield both
    both.end()


@pytest.fixture(scope="session")
def monitoring_server() -> Iterator[Monitoring]:
    with monitoring() as made:
        yield made


@pytest.fixture
def db(monitoring_server: Monitoring) -> Monitoring:
    """A monitoring database with nothing in it."""
    monitoring_server.fresh()
    return monitoring_server


@pytest.fixture
def full() -> Iterator[int]:
    """A port whose queue is full: the kernel answers nothing to a further SYN, as if it had been lost."""
    with socket.socket() as listening, socket.socket() as first, socket.socket() as second:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]
