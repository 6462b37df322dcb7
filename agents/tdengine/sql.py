"""COPY text, which is what the outbox keeps, as TDengine's INSERT statements."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence

from agents.base.config import Table
from agents.writing.batch import Part, rows_of

MAX_BYTES = 900_000  # of one statement; the server's limit is 1 MiB
_TEXT = re.compile(r"(binary|nchar|varchar)\b")


def inserts(parts: Iterable[Part], tables: dict[str, Table]) -> Iterator[tuple[str, int]]:
    """Statements that write these rows, each with the number of rows that the server will count; a subtable is made by
    its first row.

    Of rows with one key the last is written: the server would merge them, and count one.
    """
    text: list[str] = []
    size = rows = 0
    for head, values in _by_subtable(parts, tables):
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


def grouped(texts: Iterable[str], most: int = sys.maxsize, between: int = 0) -> Iterator[list[str]]:
    """What goes in one statement: at most so many texts, no more than a server takes but for a single one that is
    longer; `between` are the bytes that stand between two.
    """
    some: list[str] = []
    size = 0
    for text in texts:
        need = len(text.encode()) + between
        if some and (len(some) == most or size + need > MAX_BYTES):
            yield some
            some, size = [], 0
        some.append(text)
        size += need
    if some:
        yield some


def subtable(table: str, tags: Sequence[str | None]) -> str:
    """The name of the subtable of these tags: the same on every server and after every restore."""
    joined = "\0".join("\\N" if tag is None else tag for tag in tags)
    return f"{table}_{hashlib.sha256(joined.encode()).hexdigest()[:16]}"


def literal(value: str | None, kind: str) -> str:
    """One value as TDengine reads it."""
    if value is None:
        return "NULL"
    if _TEXT.match(kind):
        return quoted(value)
    if kind == "bool":
        return "true" if value in ("t", "true", "1") else "false"
    return value


def quoted(text: str) -> str:
    """A text as a statement has it; quotes and backslashes are its own."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def among(names: Sequence[str]) -> str:
    """A condition for a supertable's rows of these subtables.

    One alone is named twice. The client makes a question for a single name one to the subtable that it remembers: where
    another host dropped that one and made it again no row would be found.
    """
    listed = ",".join(quoted(name) for name in (names if len(names) > 1 else [*names, *names]))
    return f"TBNAME IN ({listed})"


def identifier(name: str) -> str:
    """A name as a statement has it."""
    return "`" + name.replace("`", "``") + "`"


_Group = tuple[str, tuple[str, ...], tuple[str | None, ...]]  # table, columns, tags


def _by_subtable(parts: Iterable[Part], tables: dict[str, Table]) -> Iterator[tuple[str, Iterable[str]]]:
    """The head of an INSERT and its rows, once for each subtable."""
    groups: dict[_Group, dict[tuple[str | None, ...], str]] = {}
    for part in parts:
        table = tables[part.table]
        kinds = {column.name: column.type for column in table.columns}
        order = {name: at for at, name in enumerate(part.columns)}
        tag_places = [order[tag.name] for tag in table.tags]
        key_places = [order[name] for name in table.key]
        columns = tuple(name for name in part.columns if name in kinds)
        places = [(order[name], kinds[name]) for name in columns]
        for row in rows_of(part):
            tags = tuple([row[at] for at in tag_places])
            rows = groups.setdefault((part.table, columns, tags), {})
            values = ",".join([literal(row[at], kind) for at, kind in places])
            rows[tuple([row[at] for at in key_places])] = f"({values})"
    for (name, columns, tags), rows in groups.items():
        yield _head(tables[name], columns, tags), rows.values()


def _head(table: Table, columns: Sequence[str], tags: Sequence[str | None]) -> str:
    names = ",".join(f"`{name}`" for name in columns)
    marks = ",".join(literal(value, tag.type) for value, tag in zip(tags, table.tags, strict=True))
    where = f"`{table.database}`.`{subtable(table.name, tags)}`"
    return f"{where} USING `{table.database}`.`{table.name}` TAGS ({marks}) ({names}) VALUES "
