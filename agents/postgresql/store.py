"""Write batches into PostgreSQL.

COPY into a temporary staging table, then INSERT with the catalogue's conflict policy.

Staging exists because COPY itself knows no ON CONFLICT. One staging table per target and connection; it
empties itself at every commit. Several tables go into one transaction.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Iterable, Mapping, Sequence

import psycopg2
from psycopg2 import extensions, sql

from agents.base.config import Table
from agents.base.deadline import Deadline, DeadlineExceeded
from agents.base.failures import Kind, Refusal
from agents.postgresql.primary import Primary
from agents.writing.batch import Part, rows_of
from agents.writing.separating import Refused, separate

# Data exceptions and integrity violations name a value of the row; trying again changes nothing.
DATA_ERRORS = ("22", "23")
# Connections, shutdowns, resources that are used up: nothing is said about a row. 53400 is: a limit on one statement.
AWAY_ERRORS = ("08", "53", "57")
ROW_LIMIT = "53400"
STAGE_S = 30.0  # for so long a staging table may lack what was altered in its target
DIRECT_ROWS = 64  # so many are tried without a staging table
NAME_BYTES = 64
READ_ONLY = "25006"  # it has become a standby
# Deadlock, serialization; a lock that was not to be had, an object in use, a statement that somebody cancelled.
UNLUCKY_ERRORS, UNLUCKY_CODES = ("40",), ("55P03", "55006", "57014")

# What may go wrong with the store while the batch is sound.
StoreFailure = (psycopg2.Error, DeadlineExceeded, OSError)


class Unconfirmed(psycopg2.OperationalError):
    """COMMIT came back with a warning: committed here, perhaps not on the standby.

    Not acknowledged, so send it again.
    """


def is_data_error(error: BaseException) -> bool:
    code = getattr(error, "pgcode", None)
    return isinstance(code, str) and code[:2] in DATA_ERRORS


def kind_of(error: BaseException) -> Kind:
    """What an error of this store says. Without an SQLSTATE nobody answered."""
    code = getattr(error, "pgcode", None)
    if not isinstance(code, str):
        return Kind.AWAY
    if code[:2] in UNLUCKY_ERRORS or code in UNLUCKY_CODES:
        return Kind.UNLUCKY
    if code == READ_ONLY or (code[:2] in AWAY_ERRORS and code != ROW_LIMIT):
        return Kind.AWAY
    return Kind.REFUSED


class Store:
    """One session on the primary. After an error it goes on where the server refused; otherwise close it."""

    def __init__(self, primary: Primary, tables: Mapping[str, Table]) -> None:
        self.primary = primary
        self._connection = primary.connection
        self._tables = tables
        self._staged: dict[str, float] = {}  # when it was made (monotonic seconds)
        self._filled: set[str] = set()
        self._deadline: Deadline | None = None

    def write(self, parts: Iterable[Part], deadline_s: float) -> None:
        """Commit all parts in one transaction; returns only if the store acknowledges.

        Raises StoreFailure.
        """
        try:
            with Deadline(self._connection, deadline_s) as deadline:
                self._deadline = deadline
                for part in merged(parts):
                    self._place(part)
                self._commit()
        except psycopg2.Error as error:
            if kind_of(error) is not Kind.AWAY:
                self._rollback()
            raise
        if deadline.expired:
            # Committed and acknowledged at the last moment; the next call needs another session.
            self.close()

    def write_sound_rows(
        self, parts: Iterable[Part], deadline_s: float
    ) -> tuple[list[Part], list[Refused]]:
        """Like write, but what the server refuses is left out, whatever its words are: (committed, (part, why))."""
        with Deadline(self._connection, deadline_s):
            sound, refused = separate(parts, self._refused)
            self._commit()
        return sound, refused

    def absent(self, part: Part, deadline_s: float) -> list[int]:
        """Event ids of the rows that are not there, neither themselves nor, where the newest wins, a newer one."""
        table = self._tables[part.table]
        key = [name for name in table.key if name in part.columns]
        same = sql.SQL(" AND ").join(
            sql.SQL("t.{} = s.{}").format(sql.Identifier(name), sql.Identifier(name)) for name in key
        )
        newer = sql.SQL(" AND t.event_id >= s.event_id" if table.on_conflict == "newest" else "")
        query = sql.SQL(
            "SELECT s.event_id FROM {} AS s WHERE NOT EXISTS (SELECT FROM {} AS t WHERE {}{}) ORDER BY 1"
        ).format(_stage_name(part.table), sql.Identifier("public", part.table), same, newer)
        with Deadline(self._connection, deadline_s):
            self._copy(part)
            with self._connection.cursor() as cursor:
                cursor.execute(query)
                found = [int(row[0]) for row in cursor.fetchall()]
            self._rollback()
        return found

    def ping(self, deadline_s: float) -> None:
        """Raise StoreFailure unless the session answers in time and still takes writes."""
        with Deadline(self._connection, deadline_s), self._connection.cursor() as cursor:
            cursor.execute("SELECT pg_is_in_recovery()")
            row = cursor.fetchone()
            self._connection.rollback()
        if row is None or row[0]:
            raise psycopg2.OperationalError("the server has become a standby")

    def abandon(self) -> None:
        """From another thread: end a write that hangs, with DeadlineExceeded."""
        if self._deadline is not None:
            self._deadline.give_up()

    @property
    def closed(self) -> bool:
        return bool(self._connection.closed)

    def close(self) -> None:
        try:
            self._connection.close()
        except psycopg2.Error:
            return  # it was gone already

    def _commit(self) -> None:
        del self._connection.notices[:]
        self._connection.commit()
        self._filled.clear()
        # A COMMIT has nothing to say unless its wait for the standby was broken off. The text depends on the
        # server's language, so any notice counts.
        if self._connection.notices:
            raise Unconfirmed(self._connection.notices[-1].strip())

    def _rollback(self) -> None:
        try:
            self._connection.rollback()
        except psycopg2.Error:
            self.close()
        # A staging table created in this transaction went with it.
        self._staged.clear()
        self._filled.clear()

    def _refused(self, part: Part) -> Refusal | None:
        """Place it in a savepoint of its own, which is gone afterwards either way."""
        with self._connection.cursor() as cursor:
            staged, filled = dict(self._staged), set(self._filled)
            try:
                if part.n <= DIRECT_ROWS:
                    # One trip instead of six: a poison row among thousands takes dozens of tries.
                    cursor.execute(self._directly(part))
                else:
                    cursor.execute("SAVEPOINT part")
                    self._place(part)
                    cursor.execute("RELEASE SAVEPOINT part")
            except psycopg2.Error as error:
                if kind_of(error) is not Kind.REFUSED:
                    raise
                cursor.execute("ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part")
                self._staged, self._filled = staged, filled
                return refusal(error)
        return None

    def _directly(self, part: Part) -> sql.Composed:
        """The same rows without a staging table. Values without a type are read as COPY reads them."""
        rows = sql.SQL(", ").join(
            sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, row))) for row in rows_of(part)
        )
        insert = _insert(self._tables[part.table], part.columns, sql.SQL("VALUES {}").format(rows))
        return sql.SQL("SAVEPOINT part; {}; RELEASE SAVEPOINT part").format(insert)

    def _place(self, part: Part) -> None:
        self._copy(part)
        with self._connection.cursor() as cursor:
            cursor.execute(_insert(self._tables[part.table], part.columns))

    def _copy(self, part: Part) -> None:
        """Into the staging table, which then holds these rows and no others."""
        self._stage(part.table)
        stage = _stage_name(part.table)
        columns = sql.SQL(", ").join(map(sql.Identifier, part.columns))
        with self._connection.cursor() as cursor:
            if part.table in self._filled:
                cursor.execute(sql.SQL("TRUNCATE {}").format(stage))
            self._filled.add(part.table)
            copy = sql.SQL("COPY {} ({}) FROM STDIN").format(stage, columns)
            cursor.copy_expert(copy, io.BytesIO(part.text.encode()), size=1 << 16)

    def _stage(self, table: str) -> None:
        """Made anew after a refusal and after a while: the target may be altered, and what was made before would go on
        refusing what it takes now, or round to the decimals that it had.
        """
        now = time.monotonic()
        if now - self._staged.get(table, float("-inf")) < STAGE_S:
            return
        # With defaults: a row from before a column was added has none for it, and the target would take that.
        statement = (
            "DROP TABLE IF EXISTS pg_temp.{}; CREATE TEMPORARY TABLE {} (LIKE {} INCLUDING DEFAULTS)"
            " ON COMMIT DELETE ROWS"
        )
        stage = _stage_name(table)
        with self._connection.cursor() as cursor:
            cursor.execute(sql.SQL(statement).format(stage, stage, sql.Identifier("public", table)))
        self._staged[table] = now
        self._filled.discard(table)


def refusal(error: psycopg2.Error) -> Refusal:
    return Refusal(str(error).strip().splitlines()[0], str(error.pgcode), is_data_error(error))


def merged(parts: Iterable[Part]) -> list[Part]:
    """Consecutive rows of one table as one part, order kept; one COPY costs much less than many."""
    groups: dict[tuple[str, tuple[str, ...]], list[Part]] = {}
    for part in parts:
        groups.setdefault((part.table, part.columns), []).append(part)
    return [_joined(group) for group in groups.values()]


def _joined(group: Sequence[Part]) -> Part:
    if len(group) == 1:
        return group[0]
    return Part(
        group[0].table,
        group[0].columns,
        min(part.first for part in group),
        max(part.last for part in group),
        sum(part.n for part in group),
        "".join(part.text for part in group),
    )


def _stage_name(table: str) -> sql.Identifier:
    name = f"stage_{table}"
    # What the server cuts off would be one name for two tables.
    if len(name.encode()) >= NAME_BYTES:
        name = f"stage_{hashlib.sha256(name.encode()).hexdigest()[:32]}"
    return sql.Identifier(name)


def _insert(table: Table, columns: Sequence[str], values: sql.Composed | None = None) -> sql.Composed:
    """INSERT of these values, or from the staging table. There of several rows with one key the newest wins."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    key = sql.SQL(", ").join(map(sql.Identifier, table.key))
    target, stage = sql.Identifier("public", table.name), _stage_name(table.name)
    if table.on_conflict == "ignore":
        rows = values or sql.SQL("SELECT {} FROM {}").format(names, stage)
        return sql.SQL("INSERT INTO {} AS t ({}) {} ON CONFLICT ({}) DO NOTHING").format(target, names, rows, key)
    changes = sql.SQL(", ").join(
        sql.SQL("{} = excluded.{}").format(sql.Identifier(name), sql.Identifier(name))
        for name in columns
        if name not in table.key
    )
    rows = values or sql.SQL("SELECT DISTINCT ON ({}) {} FROM {} ORDER BY {}, event_id DESC").format(
        key, names, stage, key
    )
    return sql.SQL(
        "INSERT INTO {} AS t ({}) {} ON CONFLICT ({}) DO UPDATE SET {} WHERE excluded.event_id >= t.event_id"
    ).format(target, names, rows, key, changes)


def in_transaction(connection: extensions.connection) -> bool:
    return connection.info.transaction_status != extensions.TRANSACTION_STATUS_IDLE
