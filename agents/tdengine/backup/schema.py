"""What a TDengine database is made of: tables with rows, definitions without any, and what this edition cannot give.

A plain table is told as a supertable without tags that is its own only subtable: TDengine lets no two of them have one
name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.tdengine.backup.manifest import Subtable
from agents.tdengine.session import ODD_STATEMENT, Session, TdengineError
from agents.tdengine.sql import identifier, quoted

Shape = dict[str, Any]
SIZED = ("VARCHAR", "BINARY", "NCHAR", "VARBINARY", "GEOMETRY")
# Of columns: what a raw block of ours holds. A tag may have any type.
KINDS = frozenset((
    "TIMESTAMP", "BOOL", "TINYINT", "SMALLINT", "INT", "BIGINT", "TINYINT UNSIGNED", "SMALLINT UNSIGNED",
    "INT UNSIGNED", "BIGINT UNSIGNED", "FLOAT", "DOUBLE", "DECIMAL", "BLOB", "MEDIUMBLOB", *SIZED,
))  # fmt: skip
TABLES = "information_schema.ins_tables"
_FOREIGN = "another column type than this version of mystocks-dr knows"


@dataclass(frozen=True)
class Schema:
    """`tables`: {"columns": [[name, type, is key]], "tags": [[name, type]], "options": how it was made} by name;
    `definitions`: [kind, statement] by name, of what has no rows of its own; `left_out`: why, by name.
    """

    tables: dict[str, Shape]
    definitions: dict[str, list[str]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def look(session: Session, database: str) -> Schema:
    """Everything in the database. Raises TdengineError."""
    found = tables(session, database)
    tables_, left_out = {}, {}
    for name, shape in found.items():
        odd = unknown(shape)
        if odd:
            left_out[name] = f"its column {odd[0]} is of the type {odd[1]}, {_FOREIGN}"
        else:
            tables_[name] = shape
    definitions: dict[str, list[str]] = {}
    for kind, name, ask in defined(session, database):
        try:
            definitions[name] = [kind, _statement(session, ask)]
        except TdengineError as error:
            left_out[name] = f"its definition cannot be read: {error}"
    return Schema(tables_, definitions, left_out)


def tables(session: Session, database: str) -> dict[str, Shape]:
    """The supertables and plain tables that have rows of their own, by name."""
    found: dict[str, Shape] = {}
    for row in _rows(session, "ins_stables", database):
        if not row.get("isvirtual"):
            options = {"comment": row.get("table_comment"), "keep": int(row.get("keep") or 0)}
            found[str(row["stable_name"])] = _shape(session, database, str(row["stable_name"]), options)
    for row in _rows(session, "ins_tables", database, " AND `type` = 'NORMAL_TABLE'"):
        options = {"comment": row.get("table_comment"), "ttl": int(row.get("ttl") or 0)}
        found[str(row["table_name"])] = _shape(session, database, str(row["table_name"]), options)
    return dict(sorted(found.items()))


def unknown(shape: Shape) -> tuple[str, str] | None:
    """A column whose type is none that is understood."""
    odd = ((name, kind) for name, kind, _ in shape["columns"] if plain(kind) not in KINDS)
    return next(odd, None)


def plain(kind: str) -> str:
    """The type without its lengths."""
    return kind.partition("(")[0].strip()


def alike(one: Shape | None, other: Shape | None) -> bool:
    """Whether rows of one have the same columns and tags as rows of the other."""
    if one is None or other is None:
        return False
    return all(one.get(part) == other.get(part) for part in ("columns", "tags"))


def names(columns: Sequence[Sequence[Any]]) -> str:
    """The columns as a statement lists them; a star would bring a supertable's tags too."""
    return ", ".join(identifier(name) for name, *_ in columns)


def subtables(session: Session, database: str, tables: Mapping[str, Shape]) -> list[Subtable]:
    """Every subtable with its tags, by supertable and name; a plain table as its own."""
    made = _made_with(session, database)
    found = []
    for stable, shape in tables.items():
        if not shape["tags"]:
            found.append(Subtable(stable, stable, []))
            continue
        of = f"{identifier(database)}.{identifier(stable)}"
        rows = session.rows(f"SELECT TAGS tbname, {', '.join(identifier(name) for name, _ in shape['tags'])} FROM {of}")
        for name, *tags in sorted(rows, key=lambda row: str(row[0])):
            found.append(Subtable(str(name), stable, [_tag(tag) for tag in tags], *made.get(str(name), ())))
    return found


def _tag(value: Any) -> Any:
    """As a manifest keeps it: bytes of a VARBINARY or a GEOMETRY in hexadecimal digits."""
    return value.hex() if isinstance(value, bytes) else value


def _made_with(session: Session, database: str) -> dict[str, tuple[int, str]]:
    """(days to live, comment) of the subtables that were given either."""
    where = "`type` = 'CHILD_TABLE' AND (`ttl` > 0 OR `table_comment` IS NOT NULL)"
    rows = session.rows(
        f"SELECT table_name, `ttl`, `table_comment` FROM {TABLES} WHERE db_name = {quoted(database)} AND {where}"
    )
    return {str(name): (int(ttl or 0), str(comment or "")) for name, ttl, comment in rows}


def _rows(session: Session, view: str, database: str, where: str = "") -> Iterator[dict[str, Any]]:
    names_, rows = session.names_and_rows(
        f"SELECT * FROM information_schema.{view} WHERE db_name = {quoted(database)}{where}"
    )
    return (dict(zip(names_, row, strict=True)) for row in rows)


def _shape(session: Session, database: str, name: str, options: dict[str, Any]) -> Shape:
    columns: list[list[Any]] = []
    tags: list[list[str]] = []
    packed: list[list[str]] = []
    described = session.rows(f"DESCRIBE {identifier(database)}.{identifier(name)}")
    for field_, kind, length, note, *packing in described:
        full = f"{kind}({length})" if kind in SIZED else str(kind)
        if note == "TAG":
            tags.append([field_, full])
        else:
            columns.append([field_, full, not columns or "KEY" in str(note)])
            packed.append([str(word) for word in packing[:3]])
    told = {key: value for key, value in options.items() if value and value != -1}
    return {"columns": columns, "tags": tags, "options": told | {"packing": packed}}


def defined(session: Session, database: str) -> Iterator[tuple[str, str, str]]:
    """(kind, name, the query whose answer ends with its definition), in an order in which they can be made again."""
    place = identifier(database)
    virtual = [row["stable_name"] for row in _rows(session, "ins_stables", database) if row.get("isvirtual")]
    for name in virtual:
        yield "virtual supertable", name, f"SHOW CREATE STABLE {place}.{identifier(name)}"
    for row in _rows(session, "ins_tables", database, " AND `type` LIKE 'VIRTUAL%'"):
        yield "virtual table", row["table_name"], f"SHOW CREATE VTABLE {place}.{identifier(row['table_name'])}"
    for row in _listed(session, "ins_views", database):
        yield "view", row["view_name"], f"SHOW CREATE VIEW {place}.{identifier(row['view_name'])}"
    for kind, column in (("topic", "topic_name"), ("stream", "stream_name")):
        for row in _listed(session, f"ins_{kind}s", database):
            where = f"db_name = {quoted(database)} AND {column} = {quoted(row[column])}"
            yield kind, row[column], f"SELECT `sql` FROM information_schema.ins_{kind}s WHERE {where}"


def _listed(session: Session, view: str, database: str) -> list[dict[str, Any]]:
    """Nothing where this version tells them otherwise or has none."""
    try:
        return list(_rows(session, view, database))
    except TdengineError as error:
        if error.code not in ODD_STATEMENT:
            raise
        return []


def _statement(session: Session, ask: str) -> str:
    rows = session.rows(ask)
    if not rows:
        raise TdengineError("it is gone", "It was dropped meanwhile.")
    return str(rows[0][-1])
