"""A primary and a delayed standby of the distribution's PostgreSQL, the standby where a side cluster looks for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.unit.postgres_server import Server, folder_for_server, programs

HERE = Path(__file__).resolve().parent.parent.parent
_OPEN = """
import json, sys
from pathlib import Path
from agents.base.errors import run
from agents.postgresql.side import opened
from agents.postgresql.side.restore import Request
from agents.postgresql.side.target import Target
root, name, kind, value, timeline = sys.argv[1:]
def main():
    print(json.dumps(opened.open_standby(Request(name, Target(kind, value, False, timeline), "delayed"), Path(root))))
    return 0
sys.exit(run(main))
"""
_DROP = """
import sys
from pathlib import Path
from agents.postgresql.side.place import find
find(sys.argv[2], Path(sys.argv[1])).remove()
"""
_WINDOW = """
import json, sys
from pathlib import Path
from agents.base.errors import run
from agents.postgresql.side import window
from agents.postgresql.side.target import Target
from agents.postgresql.wal.archive_map import lsn
data, version, timeline, start, kind, value, inclusive, scratch, at_once = sys.argv[1:]
window._AT_ONCE = int(at_once)
def main():
    wal = window.Wal(Path(data), int(version), int(timeline), Path(scratch))
    found = window.find(wal.records(lsn(start)), Target(kind, value, inclusive == "yes", timeline))
    print(json.dumps(found.told()))
    return 0
sys.exit(run(main))
"""


class Behind(Server):
    """A standby whose data lie as Debian lays them, `root`/VERSION/main."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.version = int(programs().parent.name)
        self.data = root / str(self.version) / "main"


@dataclass
class Pair:
    """`root`: where side clusters of the standby lie."""

    primary: Server
    standby: Behind
    root: Path

    def arrived(self) -> None:
        """The standby has received what the primary has written."""
        written = self.primary.sql("select pg_switch_wal()", "select pg_current_wal_insert_lsn()")[0][0]
        self.until(f"select pg_last_wal_receive_lsn() >= '{written}'::pg_lsn")

    def until(self, sql: str) -> None:
        for _ in range(400):
            if self.standby.sql(sql)[0][0]:
                return
            time.sleep(0.05)
        raise AssertionError(f"never true: {sql}")

    def fresh(self) -> None:
        """Everything is replayed and it receives again: a start asks for no more before it has replayed what it has."""
        self._delay("0")
        written = self.primary.sql("select pg_current_wal_insert_lsn()")[0][0]
        self.until(f"select pg_last_wal_replay_lsn() >= '{written}'::pg_lsn")
        self.until("select exists (select from pg_stat_wal_receiver where status = 'streaming')")
        self._delay("1h")

    def _delay(self, text: str) -> None:
        sql = f"alter system set recovery_min_apply_delay = '{text}'"
        self.standby.sql(sql, "select pg_reload_conf()", database="postgres")
        self.until(f"select setting = '{3_600_000 if text == '1h' else 0}' from pg_settings "
                   "where name = 'recovery_min_apply_delay'")  # fmt: skip

    @property
    def replayed(self) -> str:
        return str(self.standby.sql("select pg_last_wal_replay_lsn()")[0][0])

    def window(
        self, kind: str, value: str, *, inclusive: bool = False, timeline: int = 1, at_once: int = 16
    ) -> dict[str, Any]:
        scratch = self.root / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        _give(scratch)
        words = (self.standby.data, self.standby.version, timeline, self.replayed, kind, value)
        return _json(_WINDOW, *words, "yes" if inclusive else "no", scratch, at_once)

    def open(self, value: str, *, kind: str = "lsn", name: str = "t", timeline: int = 1) -> dict[str, Any]:
        return _json(_OPEN, self.root, name, kind, value, timeline)

    def drop(self, name: str = "t") -> None:
        _said(_DROP, self.root, name)

    def ask(self, said: dict[str, Any], sql: str, database: str = "quant_research") -> str:
        """One value of the side cluster."""
        words = ["psql", "-qAtX", "-h", said["socket"], "-p", str(said["port"]), "-d", database, "-c", sql]
        done = subprocess.run(_as_postgres(words), capture_output=True, text=True, timeout=30, cwd="/", check=False)
        return done.stdout.strip() or done.stderr.strip()


class Failed(Exception):  # noqa: N818
    """What the program said."""


def _as_postgres(words: list[str]) -> list[str]:
    return ["runuser", "-u", "postgres", "--", *words] if os.geteuid() == 0 else words


def _give(path: Path) -> None:
    if os.geteuid() == 0:
        shutil.chown(path, "postgres", "postgres")


def _json(script: str, *words: object) -> dict[str, Any]:
    said = _said(script, *words)
    assert isinstance(said, dict)
    return said


def _said(script: str, *words: object) -> Any:
    command = _as_postgres(["/usr/bin/python3", "-c", script, *map(str, words)])
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=100, cwd="/", check=False,
        env={**os.environ, "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    if done.returncode:
        raise Failed(done.stderr)
    return json.loads(done.stdout) if done.stdout.strip() else None


@contextmanager
def delayed_pair() -> Iterator[Pair]:
    """Both run; the standby has replayed what was there when it was copied."""
    with folder_for_server() as ours, folder_for_server() as root:
        primary, standby = Server(ours), Behind(root)
        primary.create()
        standby.data.parent.mkdir(parents=True)
        _give(standby.data.parent)
        primary.sql("alter system set wal_keep_size = '512MB'", "select pg_reload_conf()", database="postgres")
        source = f"host=127.0.0.1 port={primary.port} user=postgres application_name=behind"
        standby._run("pg_basebackup", "-d", source, "-D", standby.data, "-R", "-c", "fast")
        standby.start()
        pair = Pair(primary, standby, root)
        try:
            pair.fresh()
            yield pair
        finally:
            with suppress(Failed, AttributeError):
                pair.drop()
            standby.stop()
            primary.stop()
