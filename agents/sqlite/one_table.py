"""Bring one table back as it was, into the database that is there, in one transaction; its other tables stay."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.base.errors import AgentError
from agents.sqlite import session
from agents.sqlite.checks import quoted, tables


class NotFitting(AgentError):  # noqa: N818 - named after what is wrong, as in the rest of the repository
    """The table cannot be put back as it was; nothing was changed."""

    exit_code = 3


@dataclass(frozen=True)
class Brought:
    """Rows that it had before and has now; `made`: it was gone altogether."""

    before: int
    rows: int
    made: bool


def bring(live: Path, side: Path, table: str) -> Brought:
    """Raises NotFitting, InUse and others; others may write meanwhile, and see all of it or nothing."""
    connection = session.connect(live)
    try:
        with session.told(side):
            connection.execute("ATTACH ? AS side", (f"{side.absolute().as_uri()}?immutable=1",))
        wanted = _columns(connection, "side", table)
        if not wanted:
            names = ", ".join(tables(connection, "side")) or "none"
            raise NotFitting(f"The backup has no table {table}.", f"It has {names}.")
        with session.transaction(connection, live):
            connection.execute("PRAGMA defer_foreign_keys = ON")
            made = not _columns(connection, "main", table)
            if made:
                _make(connection, table)
            return _fill(connection, live, table, wanted, made)
    except sqlite3.IntegrityError as error:
        raise NotFitting(
            f"{table} was left as it is: {error}.", "Rows of other tables need it as it is now; restore the database."
        ) from error
    finally:
        connection.close()


def _fill(connection: sqlite3.Connection, live: Path, table: str, wanted: Sequence[str], made: bool) -> Brought:
    there = _columns(connection, "main", table)
    if sorted(there) != sorted(wanted):
        differing = sorted({*there} ^ {*wanted})
        raise NotFitting(f"{table} has other columns now: {', '.join(differing)}.", "Restore the whole database.")
    name, columns = quoted(table), ", ".join(map(quoted, wanted))
    before = _count(connection, "main", table)
    connection.execute(f"DELETE FROM main.{name}")
    connection.execute(f"INSERT INTO main.{name} ({columns}) SELECT {columns} FROM side.{name}")
    rows, should = _count(connection, "main", table), _count(connection, "side", table)
    if rows != should:
        raise NotFitting(
            f"{table} has {rows} rows instead of {should}: a trigger of its own changes it.", "Look at it."
        )
    broken = connection.execute("SELECT * FROM pragma_foreign_key_check LIMIT 1").fetchone()
    if broken:
        raise NotFitting(
            f"{table} was left as it is: row {broken[1]} of {broken[0]} would refer to nothing in {broken[2]}.",
            "Those rows are younger than the backup: restore the whole database, or that table too.",
        )
    return Brought(before, rows, made)


def _make(connection: sqlite3.Connection, table: str) -> None:
    """As it was, with its indexes and triggers."""
    for (statement,) in connection.execute(
        "SELECT sql FROM side.sqlite_master WHERE tbl_name = ? AND sql IS NOT NULL "
        "ORDER BY type <> 'table', type = 'trigger'",
        (table,),
    ).fetchall():
        connection.execute(statement)


def _columns(connection: sqlite3.Connection, schema: str, table: str) -> list[str]:
    found = connection.execute("SELECT name FROM pragma_table_info(?, ?)", (table, schema))
    return [str(name) for (name,) in found]


def _count(connection: sqlite3.Connection, schema: str, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {schema}.{quoted(table)}").fetchone()[0])
