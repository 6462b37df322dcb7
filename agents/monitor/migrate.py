"""Bring the monitoring database to the schema of this version: each file of `migrations/`, once and in order.

    python3 -m agents.monitor.migrate --dsn "dbname=monitoring port=5434"

Prints {"applied": [names], "version": n, "again": lines that were rejected before and are taken now}. Exit codes: 0;
1 the database does not answer or refuses; 2 a migration that was applied is another one now, or the database is newer.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2

from agents.base.errors import AgentError, BadConfig, run
from agents.monitor import store

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

FOLDER = Path(__file__).parent / "migrations"
_LOCK = 0x6D6F6E  # two deploys at once: the second one waits and finds nothing to do
_BOOKS = (
    "CREATE TABLE IF NOT EXISTS schema_migrations (number integer PRIMARY KEY, name text NOT NULL,"
    " sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
)


@dataclass(frozen=True)
class Migration:
    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations(folder: Path = FOLDER) -> tuple[Migration, ...]:
    """In order, numbered from 1 without a gap. Raises BadConfig."""
    found = tuple(
        Migration(int(path.name.partition("_")[0]), path.stem, path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("[0-9]*_*.sql"))
    )
    if not found or [one.number for one in found] != list(range(1, len(found) + 1)):
        raise BadConfig(f"The migrations of {folder} are not numbered 1, 2, 3.", "Bring the files of one version.")
    return found


def migrate(connection: Connection, wanted: Sequence[Migration]) -> list[str]:
    """The names of those that were applied, each in a transaction of its own with its line. Raises BadConfig."""
    done = []
    with connection, connection.cursor() as cursor:
        cursor.execute(_BOOKS)
    for one in wanted:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            there = _applied(cursor)
            _must_fit(there, wanted)
            if one.number in there:
                continue
            cursor.execute(one.sql)
            cursor.execute(
                "INSERT INTO schema_migrations (number, name, sha256) VALUES (%s, %s, %s)",
                (one.number, one.name, one.sha256),
            )
            done.append(one.name)
    return done


def _applied(cursor: Any) -> dict[int, tuple[str, str]]:
    cursor.execute("SELECT number, name, sha256 FROM schema_migrations")
    return {number: (name, sha256) for number, name, sha256 in cursor.fetchall()}


def _must_fit(there: dict[int, tuple[str, str]], wanted: Sequence[Migration]) -> None:
    known = {one.number: one for one in wanted}
    for number, (name, sha256) in sorted(there.items()):
        if number not in known:
            raise BadConfig(f"The database is newer: it has {name}.", "Deploy with the version that brought it.")
        if known[number].sha256 != sha256:
            raise BadConfig(f"{name} was applied with other words than it has here.", "A change is a migration more.")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.monitor.migrate", description="Migrate the monitoring database.")
    parser.add_argument("--dsn", required=True)
    dsn = parser.parse_args(arguments).dsn
    wanted = migrations()
    try:
        connection = psycopg2.connect(dsn)
        try:
            applied = migrate(connection, wanted)
            again = store.again(connection) if applied else 0
            with connection, connection.cursor() as cursor:
                cursor.execute("SELECT monitor_expire()")
        finally:
            connection.close()
    except psycopg2.Error as error:
        raise AgentError(f"The monitoring database: {str(error).strip()}.", "Is its cluster up?") from error
    print(json.dumps({"applied": applied, "version": wanted[-1].number, "again": again}))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
