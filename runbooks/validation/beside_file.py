"""PostgreSQL's tables held against rows of a file, by a hash that both sides make of the same text of each row.

First sums by day, then, of days whose sums differ, the rows themselves: by key and column, with both values.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from inventories.catalog.tables import Column, Table, Tables
from inventories.errors import BadInput
from runbooks.probes.postgresql.tables import Server
from runbooks.table_copy.names import literal, qualified, quoted
from runbooks.validation import canonical, file_rows, yielding
from runbooks.validation.canonical import NoValue
from runbooks.validation.difference import Check, Difference, Looked
from runbooks.validation.questions import Answer

NAMED = 20  # differences of one table
MOST = 100_000  # rows of days that differ, of both sides, that are held in memory
_DAY_US = 86_400_000_000
Texts = Mapping[str, str | None]  # by column
Sum = tuple[int, int, int]  # rows, and the sums of the two halves of their hashes


@dataclass
class Sums:
    """By day: an ISO date in UTC, or nothing where the table has no time column."""

    days: dict[str, Sum] = field(default_factory=dict)

    def add(self, day: str, said: str) -> None:
        n, one, other = self.days.get(day, (0, 0, 0))
        first, second = canonical.halves(said)
        self.days[day] = (n + 1, one + first, other + second)

    @property
    def rows(self) -> int:
        return sum(n for n, *_ in self.days.values())


@dataclass(frozen=True)
class Told:
    """The file's rows of one table, as texts. `zone`: for times without one."""

    path: Path
    table: Table
    zone: str | None

    def __iter__(self) -> Iterator[Texts]:
        """Raises BadInput for a column that the catalogue does not have, and for what is no value."""
        columns = {column.name: column for column in self.table.columns}
        for number, row in enumerate(file_rows.rows(self.path, self.table.name), 1):
            if more := row.keys() - columns.keys():
                why = f"{self.path}: {', '.join(sorted(more))} is no column of {self.table.name} in the catalogue"
                raise BadInput(why, "export the catalogue's columns, or add it there")
            try:
                yield {
                    name: canonical.text(column, row.get(name), self.zone) for name, column in columns.items()
                }
            except NoValue as error:
                raise BadInput(f"{self.path}: row {number} of {self.table.name}: {error}", "export it again") from error

    def day(self, texts: Texts) -> str:
        column = _time(self.table)
        said = texts[column.name] if column else None
        if said is None or column is None or column.type == "date" or said.endswith("infinity"):
            return said or ""
        return _date(int(said.partition(".")[0]))


def _date(us: int) -> str:
    return f"{datetime.fromtimestamp(us // _DAY_US * 86400, UTC):%Y-%m-%d}"


def _time(table: Table) -> Column | None:
    return table.column(table.time_column) if table.time_column else None


def tables(path: Path, known: Tables, names: Sequence[str], chosen: bool) -> tuple[Table, ...]:
    """Those of these names that the file has. Raises BadInput for none, and for Parquet where nobody named the one."""
    there = file_rows.tables(path)
    if there is None:
        if len(names) != 1 or not chosen:
            raise BadInput(f"{path} is a Parquet file, which is one table's, and nobody said which", "--tables NAME")
        return (known[names[0]],)
    found = tuple(known[name] for name in names if name in there)
    lacking = [name for name in names if name not in there] if chosen else []
    if lacking or not found:
        raise BadInput(f"{path} has no table {lacking[0] if lacking else 'of the catalogue'}", "--tables names others")
    return found


def compare(server: Server, path: Path, known: Tables, wanted: Iterable[Table], timeout: float) -> Looked:
    """What differs from the file. Raises BadInput for a file that cannot be read, DrError."""
    wanted = tuple(wanted)
    said = yielding.ask(server, {table.name: _sums(table) for table in wanted}, timeout)
    found: list[Difference] = []
    number = 0
    for table in wanted:
        told, sums = Told(path, table, known.naive_times), Sums()
        for texts in told:
            sums.add(told.day(texts), canonical.row(texts))
        number += sums.rows
        answer = said.get(table.name, Answer(None, "no answer"))
        if answer.rows is None:
            found.append(Difference(Check.CONTENT, table.name, "rows", "an answer", answer.why))
            continue
        live = {str(row["day"]): (int(row["n"]), int(row["one"]), int(row["other"])) for row in answer.rows}
        number += sum(n for n, *_ in live.values()) if not sums.rows else 0
        found += _of_table(server, told, sums.days, live, timeout)
    return Looked(Check.CONTENT, f"rows of {path.name}", number, "", tuple(found))


def _sums(table: Table) -> str:
    return (
        f"SELECT day, count(*) AS n, {canonical.sums_expression('said')} FROM (SELECT {_day(table)} AS day, "
        f"{canonical.row_expression(table.columns)} AS said FROM {qualified(table.name)}) r GROUP BY 1"
    )


def _day(table: Table) -> str:
    column = _time(table)
    if column is None:
        return "''"
    name = quoted(column.name)
    if column.type == "date":
        return f"{name}::text"
    return f"CASE WHEN isfinite({name}) THEN ({name} AT TIME ZONE 'UTC')::date::text ELSE {name}::text END"


def _of_table(
    server: Server, told: Told, file: Mapping[str, Sum], live: Mapping[str, Sum], timeout: float
) -> list[Difference]:
    differ = [day for day in sorted(file.keys() | live.keys()) if file.get(day) != live.get(day)]
    near, size = [], 0
    for day in differ:  # the first ones, as far as there is room
        size += sum(one.get(day, (0,))[0] for one in (file, live))
        if size > MOST:
            break
        near.append(day)
    found = list(_rows(server, told, near, timeout)) if near else []
    if len(found) > NAMED:
        more = f"{len(found) - NAMED:,} that differ"
        found = [*found[:NAMED], Difference(Check.CONTENT, told.table.name, "further rows", "as in the file", more)]
    for day in differ:
        if day not in near or not found:  # too many to be looked at, or a row that is there twice
            what = f"rows of {day}" if day else "rows"
            n, m = (one.get(day, (0,))[0] for one in (file, live))
            found.append(Difference(Check.CONTENT, told.table.name, what, f"{n:,} as in the file", f"{m:,}, or others"))
    return found


def _rows(server: Server, told: Told, days: Sequence[str], timeout: float) -> Iterator[Difference]:
    """Of these days, row by row."""
    table, among = told.table, frozenset(days)
    listed = ", ".join(f"{canonical.expression(column)} AS {quoted(column.name)}" for column in table.columns)
    chosen = ", ".join(map(literal, days))
    asked = f"SELECT {listed} FROM {qualified(table.name)} WHERE {_day(table)} IN ({chosen})"
    answer = yielding.ask(server, {"rows": asked}, timeout)["rows"]
    if answer.rows is None:
        yield Difference(Check.CONTENT, table.name, "rows", "an answer", answer.why)
        return
    live = _by_key(table, answer.rows)
    file = _by_key(table, (texts for texts in told if told.day(texts) in among))
    for key in sorted(live.keys() | file.keys(), key=str):
        yield from _of_key(table, key, file.get(key, []), live.get(key, []))


Key = tuple[str | None, ...]


def _by_key(table: Table, rows: Iterable[Texts]) -> dict[Key, list[Texts]]:
    found = defaultdict[Key, list[Texts]](list)
    for texts in rows:
        found[tuple(texts[name] for name in table.key)].append(texts)
    return found


def _of_key(table: Table, key: Key, file: Sequence[Texts], live: Sequence[Texts]) -> Iterator[Difference]:
    what = "row " + ", ".join(f"{name}={_shown(table, name, said)}" for name, said in zip(table.key, key, strict=True))
    if len(file) != len(live):
        number = {0: "no such row", 1: "a row"}
        had, has = (number.get(len(one), f"{len(one)} rows") for one in (file, live))
        yield Difference(Check.CONTENT, table.name, what, had, has)
    elif len(file) == 1:
        for column in table.columns:
            expected, there = file[0][column.name], live[0][column.name]
            if expected != there:
                shown = (_shown(table, column.name, said) for said in (expected, there))
                yield Difference(Check.CONTENT, table.name, f"{what}: {column.name}", *shown)
    elif _alike(file) != _alike(live):
        yield Difference(Check.CONTENT, table.name, what, f"{len(file)} rows as in the file", "others")


def _alike(rows: Iterable[Texts]) -> list[str]:
    """Of rows of one key, whatever their order."""
    return sorted(canonical.row(texts) for texts in rows)


def _shown(table: Table, name: str, said: str | None) -> str:
    return canonical.shown(table.column(name), said)
