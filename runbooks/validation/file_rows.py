"""Rows of a table as a file has them: a SQLite database, or a Parquet export where pyarrow is installed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote as percent

from inventories.errors import BadInput
from runbooks.table_copy.names import quoted

PARQUET = (".parquet", ".pq")
_SQLITE = b"SQLite format 3\0"
_AT_ONCE = 10_000  # rows of a Parquet file
_TO_NS = {"s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}
Row = Mapping[str, Any]


def tables(path: Path) -> frozenset[str] | None:
    """Those that a SQLite database has; None of a Parquet file, which is one table's. Raises BadInput."""
    if not path.is_file():
        raise BadInput(f"there is no file {path}", "--file names a SQLite database or a .parquet file")
    with path.open("rb") as opened:
        head = opened.read(len(_SQLITE))
    if head == _SQLITE:
        with _read(path), closing(_opened(path)) as database:
            found = database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
            return frozenset(name for (name,) in found)
    if path.suffix in PARQUET and head[:4] == b"PAR1":
        return None
    raise BadInput(f"{path} is neither a SQLite database nor a Parquet file", "--file names one of these")


def rows(path: Path, table: str) -> Iterator[Row]:
    """By column; a moment with a zone is nanoseconds since 1970, one without a text. Raises BadInput."""
    return _of_parquet(path) if tables(path) is None else _of_sqlite(path, table)


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{percent(str(path.resolve()))}?mode=ro", uri=True)


@contextmanager
def _read(path: Path) -> Iterator[None]:
    """Raises BadInput for a database that is damaged, locked or nobody's to read."""
    try:
        yield
    except sqlite3.Error as error:
        raise BadInput(f"{path} cannot be read: {error}", "sqlite3 FILE 'PRAGMA integrity_check' tells more") from error


def _of_sqlite(path: Path, table: str) -> Iterator[Row]:
    with _read(path), closing(_opened(path)) as database:
        found = database.execute(f"SELECT * FROM {quoted(table)}")
        names = [one[0] for one in found.description]
        for values in found:
            yield dict(zip(names, values, strict=True))


def _of_parquet(path: Path) -> Iterator[Row]:
    try:
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError as error:
        why = f"{path} is a Parquet file, and pyarrow, which reads it, is not installed: {error}"
        raise BadInput(why, ".venv/bin/pip install pyarrow") from None
    try:
        for batch in parquet.ParquetFile(path).iter_batches(_AT_ONCE):
            columns = {field.name: _values(batch.column(at), field.type) for at, field in enumerate(batch.schema)}
            for values in zip(*columns.values(), strict=True):
                yield dict(zip(columns, values, strict=True))
    except (OSError, ValueError) as error:  # pyarrow's errors are of these
        raise BadInput(f"{path} cannot be read: {str(error).splitlines()[0]}", "export it once more") from error


def _values(column: Any, kind: Any) -> list[Any]:
    """Its own objects, but for moments: those would be cut to microseconds, or need pandas."""
    unit, zone = getattr(kind, "unit", None), getattr(kind, "tz", None)
    if unit not in _TO_NS or not str(kind).startswith("timestamp"):
        return list(column.to_pylist())
    factor = _TO_NS[unit]
    since = [None if value is None else value * factor for value in column.cast("int64").to_pylist()]
    return since if zone else [None if ns is None else _written(ns) for ns in since]


def _written(ns: int) -> str:
    """What a clock without a zone showed."""
    seconds, finer = divmod(ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{finer:09d}"
