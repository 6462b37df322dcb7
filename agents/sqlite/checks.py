"""What must be true of a database before it is believed: pages, references, and what it holds.

SQLite's own integrity_check passes over rows that are missing and over a database that lost its tables: so rows are
counted too, and all of its content is hashed where two copies are compared.
"""

from __future__ import annotations

import re
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from agents.base.errors import AgentError
from agents.sqlite.session import Damaged, told


@dataclass(frozen=True)
class Content:
    """Rows of each table and a hash of schema and rows, SQLite's own tables left out."""

    rows: dict[str, int]
    sha3: str

    @property
    def total(self) -> int:
        return sum(self.rows.values())


def sound(connection: sqlite3.Connection, path: Path, *, quick: bool = False) -> None:
    """Raises Damaged, NoDatabase."""
    with told(path):
        found = connection.execute(f"PRAGMA {'quick' if quick else 'integrity'}_check(3)").fetchall()
        if found != [("ok",)]:
            said = "; ".join(" ".join(str(one[0]).split()) for one in found)
            raise Damaged(f"{path} is damaged: {said}.", "sqlite-restore --latest brings the last good one back.")
        broken = connection.execute("SELECT * FROM pragma_foreign_key_check LIMIT 1").fetchone()
    if broken:
        raise Damaged(
            f"{path}: row {broken[1]} of {broken[0]} refers to a row of {broken[2]} that is not there.",
            "Somebody wrote it with foreign keys turned off; mend that row, or restore.",
        )


def rows_of_sound(path: Path) -> dict[str, int]:
    """Rows of each table of a file that nobody else has yet. Raises Damaged, NoDatabase."""
    with told(path), closing(sqlite3.connect(path)) as connection:
        sound(connection, path)
        return counts(connection)


def tables(connection: sqlite3.Connection, schema: str = "main") -> list[str]:
    """Names of its tables, SQLite's own left out."""
    found = connection.execute(
        f"SELECT name FROM {schema}.sqlite_master "
        "WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
    )
    return [str(name) for (name,) in found]


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    return {
        name: int(connection.execute(f"SELECT count(*) FROM {quoted(name)}").fetchone()[0])
        for name in tables(connection)
    }


def content(path: Path) -> Content:
    """Of a file at rest, which nobody writes. Equal for equal schemas and rows, wherever their pages lie.

    The hash is SQLite's own (`.sha3sum` of its shell, as its program dbhash makes it): it reads every row.
    """
    where = f"{path.absolute().as_uri()}?immutable=1"
    with told(path), closing(sqlite3.connect(where, uri=True)) as connection:
        rows = counts(connection)
    done = subprocess.run(
        ["sqlite3", "-batch", "-bail", where, ".sha3sum --schema --sha3-256"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = done.stdout.strip()
    if done.returncode or not re.fullmatch("[0-9a-f]{64}", found):
        why = done.stderr.strip().rstrip(".") or f"code {done.returncode}"
        raise AgentError(f"{path} was not hashed: {why}.", "Is the package sqlite3 there?")
    return Content(rows, found)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
