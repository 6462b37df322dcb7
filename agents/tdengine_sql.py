"""COPY text, which is what the outbox keeps, as TDengine's INSERT statements."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence

from agents.batch import Part
from agents.config import Table

MAX_BYTES = 900_000  # of one statement; the server's limit is 1 MiB
_UNESCAPE = {"t": "\t", "n": "\n", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "\\": "\\"}
_ESCAPED = re.compile(r"\\(.)")
_TEXT = re.compile(r"(binary|nchar|varchar)\b")


def inserts(parts: Iterable[Part], tables: dict[str, Table]) -> Iterator[tuple[str, int]]:
    """Statements that write these rows, each with its number of rows; a subtable is made by its first row."""
    text: list[str] = []
    size = rows = 0
    for part in parts:
        table = tables[part.table]
        for head, values in _by_subtable(part, table):
            opened = False
            for value in values:
                need = len(value.encode()) + (0 if opened else len(head.encode()))
                if text and size + need > MAX_BYTES:
                    yield "INSERT INTO " + "".join(text), rows
                    text, size, rows, opened = [], 0, 0, False
                if not opened:
                    text.append(head)
                    size += len(head.encode())
                    opened = True
                text.append(value)
                size += len(value.encode())
                rows += 1
    if text:
        yield "INSERT INTO " + "".join(text), rows


def subtable(table: str, tags: Sequence[str | None]) -> str:
    """The name of the subtable of these tags: the same on every server and after every restore."""
    joined = "\0".join("\\N" if tag is None else tag for tag in tags)
    return f"{table}_{hashlib.sha256(joined.encode()).hexdigest()[:16]}"


def rows_of(part: Part) -> Iterator[list[str | None]]:
    """The values of each row, in the order of the part's columns; None for NULL."""
    for line in part.text.split("\n")[:-1]:
        yield [None if field == "\\N" else _plain(field) for field in line.split("\t")]


def literal(value: str | None, kind: str) -> str:
    """One value as TDengine reads it."""
    if value is None:
        return "NULL"
    if _TEXT.match(kind):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if kind == "bool":
        return "true" if value in ("t", "true", "1") else "false"
    return value


def _plain(field: str) -> str:
    return _ESCAPED.sub(lambda found: _UNESCAPE.get(found[1], found[1]), field) if "\\" in field else field


def _by_subtable(part: Part, table: Table) -> Iterator[tuple[str, list[str]]]:
    kinds = {column.name: column.type for column in (*table.columns, *table.tags)}
    tag_names = [tag.name for tag in table.tags]
    order = {name: at for at, name in enumerate(part.columns)}
    columns = [name for name in part.columns if name not in tag_names]
    groups: dict[tuple[str | None, ...], list[str]] = {}
    places = [(order[name], kinds[name]) for name in columns]
    tag_places = [order[name] for name in tag_names]
    for row in rows_of(part):
        values = ",".join([literal(row[at], kind) for at, kind in places])
        groups.setdefault(tuple(row[at] for at in tag_places), []).append(f"({values})")
    names = ",".join(f"`{name}`" for name in columns)
    for tags, values_of in groups.items():
        marks = ",".join(literal(tag, kinds[name]) for tag, name in zip(tags, tag_names, strict=True))
        where = f"`{table.database}`.`{subtable(table.name, tags)}`"
        yield f"{where} USING `{table.database}`.`{table.name}` TAGS ({marks}) ({names}) VALUES ", values_of
