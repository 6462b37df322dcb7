"""A monitoring database on a server of this machine, and lines for it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg2
import pytest

from agents.monitor import migrate, store
from agents.monitor.spool import line
from tests.unit.postgres_server import Server, folder_for_server

NAME = "monitoring"


class Monitoring:
    """One server; `fresh` gives it a database with nothing in it."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def fresh(self) -> None:
        self.server.sql(
            f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)", f"CREATE DATABASE {NAME}", database="postgres"
        )
        with closing(self.connect()) as connection:
            migrate.migrate(connection, migrate.migrations())

    def dsn(self, user: str = "postgres") -> str:
        return f"host=127.0.0.1 port={self.server.port} user={user} dbname={NAME}"

    def connect(self) -> Any:
        return psycopg2.connect(self.dsn())

    def put(self, texts: Sequence[str]) -> store.Receipt:
        with closing(self.connect()) as connection:
            return store.put(connection, texts)

    def sql(self, *statements: str) -> list[tuple[Any, ...]]:
        return self.server.sql(*statements, database=NAME)

    def one(self, statement: str) -> Any:
        return self.sql(statement)[0][0]


@contextmanager
def monitoring() -> Iterator[Monitoring]:
    with folder_for_server() as folder:
        server = Server(folder)
        server.begin()
        try:
            yield Monitoring(server)
        finally:
            server.stop()


def operation(name: str, at: str = "", **other: Any) -> str:
    """A save that succeeded."""
    return line("operation", {
        "operation_id": name, "operation_type": "SAVE", "operation_status": "SUCCESS", "table_name": "order_records",
        "record_count": 3, "execution_time_ms": 1.5, "created_at": at or datetime.now(UTC).isoformat(), **other,
    })  # fmt: skip


def run(name: str, revision: int, outcome: str | None) -> str:
    return line("run", {
        "run_id": name, "estate": "mystocks", "procedure": "failover", "folder": name, "outcome": outcome,
        "steps_done": revision, "steps_all": 9, "began_at": "2026-11-28T10:00:00+00:00",
        "last_at": "2026-11-28T10:00:05+00:00", "revision": revision,
    })  # fmt: skip


def data(text: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(text)["data"]
    return told


def typed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """What `./dr` ends with and says."""
    from doors.main import DrProgram, arguments  # conftest reads this file for every test

    code = 0
    try:
        DrProgram(name="dr", binary="./dr").run(arguments(list(words)))
    except SystemExit as ended:
        code = int(ended.code or 0)
    said = capsys.readouterr()
    return code, said.out, said.err
