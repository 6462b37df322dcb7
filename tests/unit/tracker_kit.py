"""What the tests of the stock tracker share: its database on a server of this machine, migrated, and its settings."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.base.config import Config, load_config
from inventories.catalog.export import tables_json
from inventories.catalog.load import load_tracker
from inventories.catalog.postgresql import ddl
from inventories.catalog.tracker import DATABASE, revisions
from inventories.errors import TargetFailed
from runbooks.hosts import Host, Ran, telling_line
from tests.unit.postgres_server import Server, fresh_server, programs

NODE = 23


def psql(server: Server, sql: str, database: str = DATABASE) -> Ran:
    """As a runbook asks a host's own server. Raises TargetFailed with the server's words."""
    done = subprocess.run(
        [programs() / "psql", "-qAtX", "-v", "ON_ERROR_STOP=1", "-h", str(server.folder), "-p", str(server.port),
         "-U", "postgres", "-d", database],
        input=sql, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    if done.returncode:
        raise TargetFailed(telling_line(done.stderr))
    return Ran(done.returncode, done.stdout, done.stderr, 0.0)


@dataclass(frozen=True)
class Here(Host):
    """A PostgreSQL host that is a server of this machine."""

    server: Server | None = None

    def _psql(self, sql: str, database: str, timeout: float | None, options: str) -> Ran:
        assert self.server is not None
        return psql(self.server, sql, database)


def here(server: Server, name: str = "pg1", **said: Any) -> Here:
    from inventories.inventory import HostEntry

    return Here(name, HostEntry(name=name, ssh_hostname="127.0.0.1", **said), Path("unused"), server=server)


def make_database(server: Server, to: str = "") -> None:
    """The tracker's database at a revision, the newest where none is named."""
    server.sql(f"CREATE DATABASE {DATABASE}", database="postgres")
    server.sql(*ddl.database_statements(DATABASE), database=DATABASE)
    psql(server, revisions.script(revisions.way(revisions.BASE, to)))


@contextmanager
def tracked_server() -> Iterator[Server]:
    """A fresh server with the tracker's database at the newest revision, gone afterwards."""
    with fresh_server() as server:
        make_database(server)
        yield server


def settings(folder: Path, server: Server | None, *more: Server, **changes: object) -> Path:
    """agent-tracker.json and tables-tracker.json in a folder; without a server nobody answers."""
    tables = folder / "tables-tracker.json"
    tables.write_text(tables_json(load_tracker()), encoding="utf-8")
    ports = [one.port for one in (server, *more) if one is not None] or [1]
    said = {
        "hosts": [{"name": f"pg{n}", "address": "127.0.0.1", "port": port} for n, port in enumerate(ports, 1)],
        "dbname": DATABASE, "user": "writer", "node": NODE, "tables": str(tables),
        "outbox": {"path": str(folder / "outbox-tracker.db")},
    }  # fmt: skip
    path = folder / "agent-tracker.json"
    path.write_text(json.dumps({**said, **changes}), encoding="utf-8")
    return path


def config(folder: Path, server: Server | None, **changes: object) -> Config:
    return load_config(settings(folder, server, **changes))
