"""A real PostgreSQL of the distribution on loopback, for tests that no fake could prove anything with."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from inventories.catalog import load_tables
from inventories.catalog.postgresql import ddl

DATABASE = "quant_research"


def programs() -> Path:
    """The folder with initdb; skips the test where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no PostgreSQL server is installed (initdb)")
    return found[-1].parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """One cluster in its own folder; PostgreSQL refuses root, so root runs it as postgres."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        self._bin = programs()
        self._user = "postgres" if os.geteuid() == 0 else None

    def begin(self) -> None:
        """With nothing in it, running."""
        self._run("initdb", "-D", self.data, "-A", "trust", "-U", "postgres", "-N", "--locale=C.UTF-8")
        self.start()

    def create(self) -> None:
        self.begin()
        self.sql("CREATE ROLE writer LOGIN", "CREATE ROLE reader LOGIN", database="postgres")
        self.sql(f"CREATE DATABASE {DATABASE}", database="postgres")
        self.sql(*ddl.database_statements(DATABASE))
        for statements in ddl.schema(load_tables()).values():
            self.sql(*[statement for statement in statements if "create_hypertable" not in statement])

    def start(self) -> None:
        settings = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
        self._run("pg_ctl", "-D", self.data, "-l", self.folder / "log", "-w", "-o", settings, "start")

    def stop(self, mode: str = "immediate") -> None:
        """`immediate` is what a crash leaves behind."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._run("pg_ctl", "-D", self.data, "-w", "-m", mode, "stop")

    def promote(self) -> None:
        self._run("pg_ctl", "-D", self.data, "-w", "promote")

    def standby(self, folder: Path) -> Server:
        """A running standby of this server."""
        copy = Server(folder)
        source = f"host=127.0.0.1 port={self.port} user=postgres"
        self._run("pg_basebackup", "-d", source, "-D", copy.data, "-R", "-c", "fast")
        copy.start()
        return copy

    def sql(self, *statements: str, database: str = DATABASE) -> list[tuple[object, ...]]:
        """Run statements as superuser, each for itself; the rows of the last one."""
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user="postgres", dbname=database)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def _run(self, program: str, *arguments: str | Path) -> None:
        subprocess.run(
            [self._bin / program, *arguments],
            user=self._user,
            cwd="/",
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
        )


@contextlib.contextmanager
def folder_for_server() -> Iterator[Path]:
    """A short-lived folder that the server's user owns (pytest's own are closed to others)."""
    programs()  # skips before anything is made
    folder = Path(tempfile.mkdtemp(prefix="dr-pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def fresh_server() -> Iterator[Server]:
    """A server with our tables and nothing in them, and gone afterwards."""
    with folder_for_server() as folder:
        server = Server(folder)
        server.create()
        try:
            yield server
        finally:
            server.stop()


class CuttingProxy:
    """Forwards a TCP port; after the client has sent `cut_after` the server acts but its answer is hidden."""

    def __init__(self, target_port: int, cut_after: bytes) -> None:
        self.cuts = 0
        self.armed = True
        self._target = target_port
        self._needle = cut_after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                hidden = threading.Event()
                threading.Thread(target=self._forth, args=(client, server, hidden), daemon=True).start()
                threading.Thread(target=self._back, args=(server, client, hidden), daemon=True).start()

    def _forth(self, client: socket.socket, server: socket.socket, hidden: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if self.armed and self._needle in data:
                    self.armed = False
                    self.cuts += 1
                    hidden.set()
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    @staticmethod
    def _back(server: socket.socket, client: socket.socket, hidden: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if hidden.is_set():
                    break
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)
