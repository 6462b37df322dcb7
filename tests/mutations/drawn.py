"""Damage drawn at random: to any table that has rows, of any kind that rows can take, known by comparing the rows.

What is damaged is not what was meant to be but what the server says when it holds both tables against each other, row
by row (EXCEPT ALL): it knows nothing of hashes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from inventories.catalog import load_tables
from inventories.catalog.tables import Column, Table
from runbooks.table_copy.names import listed, literal, quoted
from tests.mutations.engine import NOW, THEN, Engine
from tests.unit.validation_kit import Validated

ASIDE = "aside"
AT_ONCE = 4  # tables damaged before a look
_NUMBERS = ("bigint", "integer", "smallint", "numeric")
_OTHERS = {
    "timestamptz": ("{c} + interval '1 millisecond'", "{c} - interval '1 day'", "{c} + interval '4294.967296 s'"),
    "date": ("{c} + 1", "{c} - 7"),
    "boolean": ("NOT {c}",),
    "jsonb": ("'{{}}'::jsonb", "jsonb_set({c}, '{{a}}', '2')"),
}
_OF_NUMBERS = ("{c} + 1", "-{c}", "0", "{c} * 10", "{c} + 1000")
_OF_TEXTS = ("left({c}, -1)", "lower({c})", "'~' || substr({c}, 2)", "reverse({c})", "''")


@dataclass(frozen=True)
class Damage:
    """`sql` may come to nothing, as where a value is what it was."""

    table: str
    kind: str
    sql: str


class Drawing:
    """Draws damage with one seed; the same seed draws the same."""

    def __init__(self, seed: int, tables: Mapping[str, int]) -> None:
        """`tables` have so many rows."""
        self._random = random.Random(seed)
        self._tables = dict(tables)
        self._known = load_tables()

    def several(self) -> tuple[Damage, ...]:
        """Of as many tables each one."""
        number = self._random.randint(1, AT_ONCE)
        return tuple(self._of(self._known[name]) for name in self._random.sample(sorted(self._tables), number))

    def _of(self, table: Table) -> Damage:
        kinds = {
            self._removed: 3, self._added: 3, self._altered: 8, self._swapped: 5, self._shifted: 2, self._exchanged: 2,
            self._emptied: 1,
        }  # fmt: skip
        [make] = self._random.choices(list(kinds), list(kinds.values()))
        return Damage(table.name, make.__name__.lstrip("_"), make(table))

    def _row(self, table: Table, alias: str = "") -> str:
        """A condition for one row."""
        at = self._random.randrange(self._tables[table.name])
        key = listed(table.key)
        named = ", ".join(f"{alias}{quoted(name)}" for name in table.key)
        return f"({named}) = (SELECT {key} FROM {quoted(table.name)} ORDER BY {key} OFFSET {at} LIMIT 1)"

    def _column(self, table: Table, keys: bool = True) -> Column:
        some = [column for column in table.columns if keys or column.name not in table.key]
        return self._random.choice(some)

    def _value(self, column: Column) -> str:
        """Another value for it, most of the time."""
        kind, name = column.type.partition("(")[0], quoted(column.name)
        if column.nullable and self._random.random() < 0.2:
            return f"CASE WHEN {name} IS NULL THEN {self._filled(kind)} END"
        among = _OF_NUMBERS if kind in _NUMBERS else _OTHERS.get(kind, _OF_TEXTS)
        return self._random.choice(among).format(c=name)

    @staticmethod
    def _filled(kind: str) -> str:
        return {"timestamptz": "now()", "date": "current_date", "boolean": "false", "jsonb": "'{}'"}.get(
            kind, "0" if kind in _NUMBERS else literal("")
        )

    def _removed(self, table: Table) -> str:
        return f"DELETE FROM {quoted(table.name)} WHERE {self._row(table)}"

    def _added(self, table: Table) -> str:
        """A row that is there already, once more: the key was taken off before."""
        return f"INSERT INTO {quoted(table.name)} SELECT * FROM {quoted(table.name)} WHERE {self._row(table)}"

    def _altered(self, table: Table) -> str:
        column = self._column(table)
        return f"UPDATE {quoted(table.name)} SET {quoted(column.name)} = {self._value(column)} WHERE {self._row(table)}"

    def _swapped(self, table: Table) -> str:
        """One value of two rows."""
        name, column = quoted(table.name), quoted(self._column(table, keys=False).name)
        one, other = self._row(table, "x."), self._row(table, "x.")
        return (
            f"WITH two AS (SELECT ctid, {column} AS v FROM {name} x WHERE {one} OR {other}) UPDATE {name} t "
            f"SET {column} = b.v FROM two a, two b WHERE t.ctid = a.ctid AND a.ctid <> b.ctid"
        )

    def _shifted(self, table: Table) -> str:
        """A whole column by a constant."""
        column = self._column(table, keys=False)
        return f"UPDATE {quoted(table.name)} SET {quoted(column.name)} = {self._value(column)}"

    def _exchanged(self, table: Table) -> str:
        """Two columns of one type in one row."""
        pairs = [
            (a.name, b.name) for a in table.columns for b in table.columns
            if a.name < b.name and a.type == b.type and a.nullable == b.nullable
        ]  # fmt: skip
        if not pairs:
            return self._altered(table)
        one, other = map(quoted, self._random.choice(pairs))
        return f"UPDATE {quoted(table.name)} SET {one} = {other}, {other} = {one} WHERE {self._row(table)}"

    def _emptied(self, table: Table) -> str:
        return f"DELETE FROM {quoted(table.name)}"


@dataclass(frozen=True)
class Round:
    """What was done, which tables differ by their rows, and which of them were reported."""

    done: tuple[Damage, ...]
    differ: frozenset[str]
    reported: frozenset[str]

    @property
    def missed(self) -> frozenset[str]:
        return self.differ - self.reported

    @property
    def blamed(self) -> frozenset[str]:
        return self.reported - self.differ


def rounds(engine: Engine, seed: int, wanted: int) -> Iterator[Round]:
    """Until so many damages that really are one were done. The second database is damaged, and mended after each."""
    then, now = Validated(engine.primary, THEN), Validated(engine.primary, NOW)
    with engine.copied():
        tables = {name: rows for name in load_tables().tables if (rows := _rows(then, name))}
        now.sql(f"CREATE SCHEMA {ASIDE}", *(f"CREATE TABLE {ASIDE}.{name} AS TABLE {name}" for name in tables))
        now.sql(*(f"ALTER TABLE {name} DROP CONSTRAINT {name}_pkey" for name in tables))
        drawing, number = Drawing(seed, tables), 0
        while number < wanted:
            done = drawing.several()
            _do(now, done)
            differ = frozenset(one.table for one in done if _differs(now, one.table))
            reported = frozenset(table for table, _ in engine.standby_differs())
            yield Round(done, differ, reported)
            number += len(differ)
            for one in done:
                now.sql(f"TRUNCATE {one.table}", f"INSERT INTO {one.table} SELECT * FROM {ASIDE}.{one.table}")


def _do(now: Validated, done: tuple[Damage, ...]) -> None:
    """What the server refuses, as a number that is too large, leaves the rows as they are."""
    for one in done:
        now.sql(
            "SET plpgsql.extra_errors = 'none'",
            f"DO $do$ BEGIN {one.sql}; EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN END $do$",
        )


def _rows(database: Validated, name: str) -> int:
    [(found,)] = database.sql(f"SELECT to_regclass('{name}')")
    return int(str(database.sql(f"SELECT count(*) FROM {name}")[0][0])) if found else 0


def _differs(now: Validated, table: str) -> bool:
    a, b = f"TABLE {table}", f"TABLE {ASIDE}.{table}"
    [(found,)] = now.sql(f"SELECT EXISTS (({a} EXCEPT ALL {b}) UNION ALL ({b} EXCEPT ALL {a}))")
    return bool(found)
