"""Both files of the trading system as one shape: tables with columns, whatever notation they came in.

table_config.yaml lists columns one by one; disaster_recovery_config.yaml has them as a text of SQL (`schema`, `tags`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from inventories.errors import BadInput

TABLE_KEYS = frozenset((
    "database_type", "database_name", "table_name", "is_super_table", "is_timescale_hypertable", "time_column",
    "classification", "description", "columns", "indexes",
))  # fmt: skip
COLUMN_KEYS = frozenset((
    "name", "type", "length", "precision", "scale", "nullable", "default", "primary_key", "auto_increment", "is_tag",
    "comment", "unique",
))  # fmt: skip
SQL_COLUMN = re.compile(
    r"(?P<name>\w+)\s+(?P<type>[A-Za-z]+)(\s*\((?P<first>\d+)(\s*,\s*(?P<second>\d+))?\))?(?P<rest>.*)", re.DOTALL
)
STORES = {"tdengine": "tdengine", "postgresql": "postgresql", "postgres": "postgresql", "timescaledb": "postgresql"}


@dataclass(frozen=True)
class ForeignColumn:
    """`kind` in capitals; `size` is a length, or precision and scale; `serial`: the server gives the values."""

    name: str
    kind: str
    size: tuple[int, ...] = ()
    nullable: bool = True
    primary: bool = False
    unique: bool = False
    serial: bool = False
    tag: bool = False
    has_default: bool = False
    comment: str = ""
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class ForeignIndex:
    columns: tuple[str, ...]
    unique: bool


@dataclass(frozen=True)
class ForeignTable:
    name: str
    store: str
    database: str
    classification: str
    columns: tuple[ForeignColumn, ...]
    indexes: tuple[ForeignIndex, ...] = ()
    time_column: str = ""
    is_hypertable: bool = False
    is_supertable: bool = False
    description: str = ""
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class Foreign:
    """`unread`: what the file says besides its tables."""

    tables: tuple[ForeignTable, ...]
    unread: tuple[str, ...] = field(default=())


def read(path: Path) -> Foreign:
    """Raises BadInput: one sentence with the file and the place in it."""
    raw = _document(path)
    tables = raw.get("tables")
    if not isinstance(tables, list) or not tables:
        raise BadInput(f"{path} lists no tables", "it is the trading system's table_config.yaml that is meant")
    known = {"version", "metadata", "tables", "databases"}
    found = [_table(path, number, one) for number, one in enumerate(tables)]
    return Foreign(tuple(found), tuple(sorted(str(key) for key in raw if key not in known)))


def _document(path: Path) -> Mapping[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", "name the trading system's own file") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 at byte {error.start}", "save it as UTF-8") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise BadInput(f"{path} is no YAML: {str(error).splitlines()[0]}", "correct the file") from error
    if not isinstance(raw, dict):
        raise BadInput(f"{path} is no set of keys and values", "name the trading system's own file")
    return raw


def _table(path: Path, number: int, raw: Any) -> ForeignTable:
    place = f"{path}: table {number + 1}"
    if not isinstance(raw, dict):
        raise BadInput(f"{place} is no set of keys and values", "correct the file")
    name = raw.get("table_name", raw.get("name"))
    if not isinstance(name, str) or not name:
        raise BadInput(f"{place} has no name", "give it a table_name")
    kind = str(raw.get("database_type", raw.get("db", ""))).lower()
    if kind not in STORES:
        raise BadInput(f"{path}: {name} is for {kind or 'no'} database", "the estate has TDengine and PostgreSQL")
    if "schema" in raw:
        return _of_sql(path, name, STORES[kind], raw)
    columns = raw.get("columns")
    if not isinstance(columns, list) or not columns:
        raise BadInput(f"{path}: {name} has no columns", "correct the file")
    return ForeignTable(
        name=name, store=STORES[kind], database=str(raw.get("database_name", "")),
        classification=str(raw.get("classification", "")),
        columns=tuple(_column(f"{path}: {name}", column) for column in columns),
        indexes=tuple(_index(f"{path}: {name}", index) for index in raw.get("indexes") or ()),
        time_column=str(raw.get("time_column") or ""), is_hypertable=bool(raw.get("is_timescale_hypertable")),
        is_supertable=bool(raw.get("is_super_table")), description=str(raw.get("description") or ""),
        unread=tuple(sorted(str(key) for key in raw if key not in TABLE_KEYS)),
    )  # fmt: skip


def _column(place: str, raw: Any) -> ForeignColumn:
    if not isinstance(raw, dict) or not isinstance(raw.get("name"), str) or not isinstance(raw.get("type"), str):
        raise BadInput(f"{place} has a column without a name or a type", "correct the file")
    try:
        sizes = [int(raw[key]) for key in ("length", "precision", "scale") if raw.get(key) is not None]
    except (TypeError, ValueError):
        raise BadInput(f"{place}: the size of {raw['name']} is no number", "correct the file") from None
    primary = bool(raw.get("primary_key"))
    return ForeignColumn(
        name=raw["name"], kind=raw["type"].upper(), size=tuple(sizes),
        nullable=bool(raw.get("nullable", True)) and not primary, primary=primary, unique=bool(raw.get("unique")),
        serial=bool(raw.get("auto_increment")), tag=bool(raw.get("is_tag")), has_default=raw.get("default") is not None,
        comment=str(raw.get("comment") or ""), unread=tuple(sorted(str(key) for key in raw if key not in COLUMN_KEYS)),
    )  # fmt: skip


def _index(place: str, raw: Any) -> ForeignIndex:
    columns = raw.get("columns") if isinstance(raw, dict) else None
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise BadInput(f"{place} has an index without columns", "correct the file")
    return ForeignIndex(tuple(columns), bool(raw.get("unique")) or bool(raw.get("primary_key")))


def _of_sql(path: Path, name: str, store: str, raw: Mapping[str, Any]) -> ForeignTable:
    kind = str(raw.get("type") or "")
    plain, tags = (_sql_columns(path, name, raw.get(key), tag=key == "tags") for key in ("schema", "tags"))
    return ForeignTable(
        name=name, store=store, database="", classification="", columns=(*plain, *tags),
        time_column=str(raw.get("partition_key") or ""), is_hypertable=kind == "hypertable",
        is_supertable=kind == "supertable",
        unread=tuple(sorted(set(raw) - {"db", "name", "type", "schema", "tags", "partition_key"})),
    )  # fmt: skip


def _sql_columns(path: Path, table: str, text: Any, tag: bool) -> list[ForeignColumn]:
    columns = []
    for one in re.split(r",(?![^()]*\))", str(text or "")):
        if not one.strip():
            continue
        found = SQL_COLUMN.fullmatch(one.strip())
        if found is None:
            raise BadInput(f"{path}: {table} has the column '{one.strip()}', which is no name and type", "correct it")
        kind, rest = found["type"].upper(), found["rest"].upper()
        primary, serial = "PRIMARY KEY" in rest, kind in ("SERIAL", "BIGSERIAL")
        columns.append(ForeignColumn(
            name=found["name"], kind={"SERIAL": "INTEGER", "BIGSERIAL": "BIGINT"}.get(kind, kind),
            size=tuple(int(size) for size in (found["first"], found["second"]) if size),
            nullable="NOT NULL" not in rest and not primary, primary=primary, serial=serial, tag=tag,
            unique="UNIQUE" in rest, has_default="DEFAULT" in rest,
        ))  # fmt: skip
    return columns
