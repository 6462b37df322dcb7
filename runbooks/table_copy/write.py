"""The SQL that brings a copy's rows into the live database: one transaction for all tables of a run, or nothing.

The caller opens the transaction and commits it. Everything that can fail does so before the commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from runbooks.table_copy.compare import DAY_BITS, Pair, bucket, days, filtered, row_hash
from runbooks.table_copy.shape import ForeignKey, Shape, listed, literal, public, quoted
from runbooks.table_copy.source import Source, plain_settings

SESSION = "mystocks-dr restore-table"
REPLACED, RESTORED = "_replaced", "_restored"
# Writers wait for our locks at most as long as for any other; we wait for them no longer than that either.
_SETTINGS = (
    f"SET application_name = {literal(SESSION)};\n"
    "SET statement_timeout = 0;\nSET idle_in_transaction_session_timeout = 0;\nSET lock_timeout = '30s';\n"
    "SET work_mem = '64MB';\nSET maintenance_work_mem = '256MB';\n"
    # Building indexes writes whole pages of WAL, and a third of its time goes into pglz; not every build has lz4.
    "SELECT set_config(name, CASE WHEN 'lz4' = ANY (enumvals) THEN 'lz4' ELSE setting END, false) AS compression "
    "FROM pg_settings WHERE name = 'wal_compression' \\gset\n"
)


@dataclass(frozen=True)
class Made:
    """A table that is made again: DDL before its rows, DDL after them (indexes, grants, policies)."""

    before: tuple[str, ...]
    after: tuple[str, ...]


def settings() -> str:
    """What the session needs; repeated after pg_dump's statements, which set their own."""
    return plain_settings() + _SETTINGS


def opening() -> str:
    return f"{settings()}BEGIN;\nSELECT 'xid ' || pg_current_xact_id();\n"


def closing(mark: str) -> str:
    """The mark becomes visible with the rows, or not at all: it tells a resumed run that the commit took place."""
    return f"INSERT INTO public.dr_probe (run) VALUES ({literal(mark)});\n"


def made(pair: Pair, how: Made, source: Source) -> str:
    """Make the table, fill it straight from the copy, then build what hangs on its rows."""
    names, rows = listed(pair.columns), source.program(_rows(pair))
    return (
        "".join(f"{line};\n" for line in how.before)
        + _counted(pair, "inserted", f"COPY {public(pair.copy.name)} ({names}) FROM PROGRAM {rows} (FORMAT binary)")
        + "".join(f"{line};\n" for line in how.after)
    )


def beside(pair: Pair, readers: Sequence[str], source: Source) -> str:
    """A plain table of the same columns and key next to the live one; no policy ever touches it."""
    name = pair.copy.name + RESTORED
    columns = [f"{quoted(c.name)} {c.type}{'' if c.nullable else ' NOT NULL'}" for c in pair.copy.copied]
    names, rows = listed(pair.columns), source.program(_rows(pair))
    return (
        f"CREATE TABLE {public(name)} ({', '.join(columns)});\n"
        + _counted(pair, "inserted", f"COPY {public(name)} ({names}) FROM PROGRAM {rows} (FORMAT binary)")
        + f"ALTER TABLE {public(name)} ADD PRIMARY KEY ({listed(pair.key)});\n" + _readable(name, readers)
    )


def merge(nr: int, pair: Pair, buckets: tuple[int, ...] | None, source: Source) -> str:
    """Insert the rows whose keys are not live. A row that is live stays as it is, older or newer."""
    return _staged(nr, pair, buckets, source) + _insert(nr, pair)


def lock(pairs: Iterable[Pair]) -> str:
    """Writers wait from here to the commit, readers do not."""
    names = ", ".join(public(pair.copy.name) for pair in pairs)
    return f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE;\n"


def keep(pair: Pair, readers: Sequence[str]) -> str:
    """The old content as a plain table, made while nobody can write to it."""
    name = pair.copy.name + REPLACED
    return (
        f"CREATE TABLE {public(name)} AS SELECT * FROM {public(pair.copy.name)} AS t{filtered(pair.where)};\n"
        f"ALTER TABLE {public(name)} ADD PRIMARY KEY ({listed(pair.key)});\n" + _readable(name, readers)
    )


def stage(nr: int, pair: Pair, source: Source) -> str:
    return _staged(nr, pair, None, source)


def remove(nr: int, pair: Pair) -> str:
    """Delete the rows that the copy does not have; for several tables children come first."""
    live = public(pair.copy.name)
    absent = f"NOT EXISTS (SELECT FROM stage_{nr} s WHERE {_same('s', 't', pair)})"
    return _counted(pair, "deleted", f"DELETE FROM {live} AS t{filtered(pair.where, absent)}")


def replace(nr: int, pair: Pair) -> str:
    """Change the rows that differ, insert those that are missing; rows that are the same are not touched."""
    fixed = {column.name for column in pair.copy.columns if column.always} | set(pair.key)
    changed = [name for name in pair.columns if name not in fixed]
    if not changed:
        return _insert(nr, pair)
    values = ", ".join(f"{quoted(name)} = s.{quoted(name)}" for name in changed)
    differs = f"{row_hash(pair)} <> {row_hash(pair, 's')}"
    update = (
        f"UPDATE {public(pair.copy.name)} AS t SET {values} FROM stage_{nr} s "
        f"WHERE {_same('s', 't', pair)} AND {differs}"
    )
    return _counted(pair, "updated", update) + _insert(nr, pair)


def referring(keys: Iterable[ForeignKey]) -> str:
    """Foreign keys that went with a dropped table; the server checks every row when it adds one."""
    return "".join(
        f"ALTER TABLE {public(fk.child)} ADD CONSTRAINT {quoted(fk.name)} {fk.definition};\n" for fk in keys
    )


def sequences(copied: Shape) -> str:
    """No number that the copy or the live table has given out is given out again: sequences only ever go forward."""
    lines = []
    for column, sequence, last in copied.sequences:
        name = literal(sequence)
        highest = f"(SELECT max({quoted(column)}) FROM {public(copied.name)})"
        lines.append(
            f"SELECT count(setval({name}::regclass, s.high)) AS set FROM (SELECT greatest({highest}, {last}, "
            f"pg_sequence_last_value({name}::regclass)) AS high) s "
            f"WHERE s.high > coalesce(pg_sequence_last_value({name}::regclass), 0) \\gset\n"
        )
    return "".join(lines)


def _rows(pair: Pair, *conditions: str) -> str:
    return f"SELECT {listed(pair.columns)} FROM {public(pair.copy.name)} AS t{filtered(pair.where, *conditions)}"


def _staged(nr: int, pair: Pair, buckets: tuple[int, ...] | None, source: Source) -> str:
    conditions = []
    if buckets is not None:
        conditions = [f"{bucket(pair)} IN ({', '.join(map(str, buckets)) or 'NULL'})"]
        if buckets:
            conditions.append(days(pair, str(min(buckets) >> DAY_BITS), str(max(buckets) >> DAY_BITS)))
    return (
        f"CREATE TEMP TABLE stage_{nr} ON COMMIT DROP AS SELECT {listed(pair.columns)} FROM {public(pair.copy.name)} "
        "WITH NO DATA;\n"
        f"COPY stage_{nr} FROM PROGRAM {source.program(_rows(pair, *conditions))} (FORMAT binary);\n"
        f"ANALYZE stage_{nr};\n"
    )


def _insert(nr: int, pair: Pair) -> str:
    absent = f"NOT EXISTS (SELECT FROM {public(pair.copy.name)} t WHERE {_same('s', 't', pair)})"
    insert = (
        f"INSERT INTO {public(pair.copy.name)} ({listed(pair.columns)}) OVERRIDING SYSTEM VALUE "
        f"SELECT {listed(pair.columns, 's.')} FROM stage_{nr} s WHERE {absent} "
        f"ON CONFLICT ({listed(pair.key)}) DO NOTHING"
    )
    return _counted(pair, "inserted", insert)


def _counted(pair: Pair, what: str, statement: str) -> str:
    """psql has the number of rows of the last statement."""
    told = f"SELECT {literal(f'{pair.copy.name} {what} ')} || :'ROW_COUNT';\n"
    return f"{statement};\n{told}"


def _same(one: str, other: str, pair: Pair) -> str:
    return " AND ".join(f"{one}.{quoted(name)} = {other}.{quoted(name)}" for name in pair.key)


def _readable(name: str, readers: Sequence[str]) -> str:
    return "".join(f"GRANT SELECT ON {public(name)} TO {quoted(reader)};\n" for reader in readers)
