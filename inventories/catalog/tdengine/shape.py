"""TDengine's databases and supertables as declared, and what differs from them on a server.

What TDengine can alter without losing a row is altered by a deploy; everything else is told in a sentence and left.
Options are TDengine's words: name -> text, as information_schema.ins_databases has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inventories.catalog.tables import Column, Store, Table, Tables
from inventories.catalog.tdengine import ddl

Columns = Mapping[str, Sequence[Sequence[str]]]  # "database.supertable" -> [name, type, note] of each column and tag
Options = Mapping[str, Mapping[str, str]]  # database -> options
_DAYS = {"m": 1 / 1440, "h": 1 / 24, "d": 1.0}
_TEXT = re.compile(r"(VARCHAR|NCHAR)\((\d+)\)")
_NODES_FOR_REPLICAS = 3


@dataclass(frozen=True)
class Shape:
    """What the inventory's data and the catalogue declare."""

    tables: tuple[Table, ...]
    keep_days: int
    duration_days: int
    replica: int
    vgroups: int
    fsync_ms: int

    @property
    def databases(self) -> tuple[str, ...]:
        return tuple(sorted({table.database for table in self.tables}))

    @property
    def options(self) -> dict[str, str]:
        """Those that ALTER DATABASE takes, each in a statement of its own."""
        return {
            "keep": f"{self.keep_days}d", "replica": str(self.replica), "wal_level": "2",
            "wal_fsync_period": str(self.fsync_ms),
        }  # fmt: skip


def declared(data: Mapping[str, Any], tables: Tables, nodes: int) -> Shape:
    """`data`: the estate's values; `nodes`: how many TDengine hosts there are. Three keep every row three times."""
    return Shape(
        tables=tables.of(Store.TDENGINE),
        keep_days=int(data["tdengine_keep_days"]),
        duration_days=int(data["tdengine_duration_days"]),
        replica=3 if nodes >= _NODES_FOR_REPLICAS else 1,
        vgroups=int(data["tdengine_vgroups"]),
        fsync_ms=0 if data["tdengine_profile"] == "no-loss" else ddl.RELAXED_MS,
    )


def repairs(shape: Shape, databases: Options, columns: Columns) -> list[str]:
    """Statements that bring a server to the declared shape, as far as no row is lost by them."""
    found = []
    for name in shape.databases:
        if name not in databases:
            found.append(
                ddl.database_statement(
                    name, keep_days=shape.keep_days, duration_days=shape.duration_days, replica=shape.replica,
                    vgroups=shape.vgroups, durable=shape.fsync_ms == 0,
                )
            )  # fmt: skip
            continue
        for option in _differing(shape, databases[name]):
            if _is_alterable(option, databases[name], shape):
                found.append(f"ALTER DATABASE `{name}` {option.upper()} {shape.options[option]}")
    for table in shape.tables:
        live = columns.get(f"{table.database}.{table.name}")
        if live is None:
            found.append(ddl.supertable_statement(table))
        else:
            found += [repair for _, repair in _table(table, live) if repair]
    return found


def differences(shape: Shape, databases: Options, columns: Columns) -> list[str]:
    """Sentences without their full stop, one for each thing that is not as declared."""
    found = []
    for name in shape.databases:
        if name not in databases:
            found.append(f"database {name} is missing")
            continue
        live = databases[name]
        for option in _differing(shape, live):
            why = "" if _is_alterable(option, live, shape) else f"; {_REFUSED[option]}"
            wanted = _wanted(shape, option)
            found.append(f"database {name} has {option.upper()} {live[option]}, declared is {wanted}{why}")
    for table in shape.tables:
        described = columns.get(f"{table.database}.{table.name}")
        if described is None:
            found.append(f"supertable {table.database}.{table.name} is missing")
        else:
            found += [sentence for sentence, _ in _table(table, described)]
    return found


_FIXED = {"precision": "ns"}
_REFUSED = {
    "precision": "it cannot be altered: restore into a new database",
    "vgroups": "it cannot be altered: restore into a new database",
    "duration": "it cannot be altered: restore into a new database",
    "keep": "no deploy shortens it, because rows older than that are dropped",
    "replica": "no deploy takes a replica away",
}


def _wanted(shape: Shape, option: str) -> str:
    fixed = {**_FIXED, "vgroups": str(shape.vgroups), "duration": f"{shape.duration_days}d"}
    return {**fixed, **shape.options}[option]


def _differing(shape: Shape, live: Mapping[str, str]) -> Iterator[str]:
    if keep_days(live["keep"]) != shape.keep_days:
        yield "keep"
    if keep_days(live["duration"]) != shape.duration_days:
        yield "duration"
    for option in ("precision", "vgroups", "replica", "wal_level", "wal_fsync_period"):
        if live[option] != _wanted(shape, option):
            yield option


def _is_alterable(option: str, live: Mapping[str, str], shape: Shape) -> bool:
    if option == "keep":
        return keep_days(live["keep"]) < shape.keep_days
    if option == "replica":
        return int(live["replica"]) < shape.replica
    return option in shape.options


def keep_days(text: str) -> float:
    """Days for which the rows are kept, from `3650d,3650d,3650d`: the longest, as agents/tdengine/spans.py has it.

    A duration is one such span. A number alone counts days.
    """
    return max(float(one[:-1]) * _DAYS[one[-1]] if one[-1:] in _DAYS else float(one) for one in text.split(","))


def canonical(kind: str) -> str:
    """A catalogue's type as DESCRIBE writes it."""
    return re.sub(r"^BINARY\(", "VARCHAR(", kind.upper())


def _table(table: Table, live: Sequence[Sequence[str]]) -> Iterator[tuple[str, str]]:
    """(sentence, statement that repairs it or nothing) of each difference."""
    assert table.supertable is not None
    where = f"`{table.database}`.`{table.name}`"
    there = {name: (kind, note) for name, kind, note in live}
    columns = [(column, False) for column in table.columns] + [(tag, True) for tag in table.supertable.tags]
    for column, is_tag in columns:
        found, wanted = there.pop(column.name, None), canonical(column.type)
        verb = "TAG" if is_tag else "COLUMN"
        said = f"{table.name}.{column.name}"
        if found is None:
            # A column of the key cannot come later.
            can = column.name not in table.key
            repair = f"ALTER STABLE {where} ADD {verb} `{column.name}` {column.type}" if can else ""
            yield f"{said} is missing, declared is {wanted}", repair
        elif found[0] != wanted:
            modify = f"ALTER STABLE {where} MODIFY {verb} `{column.name}` {column.type}"
            yield f"{said} is {found[0]}, declared is {wanted}", modify if _widens(found[0], wanted) else ""
        elif found[1] != (note := _note(table, column, is_tag)):
            yield f"{said} is {found[1] or 'no part of the key'}, declared is {note or 'no part of the key'}", ""
    for name in there:
        yield f"{table.name}.{name} is not in the catalogue", ""


def _note(table: Table, column: Column, is_tag: bool) -> str:
    if is_tag:
        return "TAG"
    return "COMPOSITE KEY" if len(table.key) > 1 and column.name == table.key[1] else ""


def _widens(has: str, wanted: str) -> bool:
    before, after = _TEXT.fullmatch(has), _TEXT.fullmatch(wanted)
    return bool(before and after and before[1] == after[1] and int(before[2]) < int(after[2]))
