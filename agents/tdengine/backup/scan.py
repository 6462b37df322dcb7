"""Rows of a TDengine database asked of the server: its options, what tells that a day changed, the rows of hours."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from agents.base.errors import AgentError
from agents.tdengine.backup.block import (
    Array,
    Block,
    decode,
    hashes,
    join,
    pick,
    starts_of_runs,
    texts,
    without_first,
)
from agents.tdengine.backup.manifest import HOUR_NS
from agents.tdengine.backup.raw import RawSession, ahead
from agents.tdengine.backup.schema import Shape, names, plain
from agents.tdengine.backup.sums import Sums, runs_of
from agents.tdengine.session import GONE, ODD_STATEMENT, TdengineError
from agents.tdengine.spans import seconds
from agents.tdengine.sql import among, identifier, quoted

OPTIONS = ("precision", "keep", "duration", "replica", "vgroups", "wal_level", "wal_fsync_period")
UNSEEN = ""  # a day whose sums tell nothing
Range = tuple[int, int]  # of hours, the end exclusive
DAY = 24  # hours
_PENDING_ROWS = 200_000
_PENDING_NAMES = 4000  # a piece of few rows takes more memory than they do
_NAMED = 1000  # subtables in a statement; more of them are sorted out here
_FEW_SUBTABLES = 100  # asked for one by one without another question
_FEW_ROWS = 1000  # on average in a subtable: what a server reads in about the time that it takes to answer at all
_FLOATS = ("FLOAT", "DOUBLE")
_INTEGERS = ("TINYINT", "SMALLINT", "INT", "BIGINT")


def options(session: RawSession, database: str) -> dict[str, Any]:
    """The database's options as strings. Raises AgentError when there is no such database."""
    where = f"name = {quoted(database)}"
    names_, rows = session.names_and_rows(f"SELECT * FROM information_schema.ins_databases WHERE {where}")
    if not rows:
        raise AgentError(f"There is no database {database} on this TDengine server.", "Deploy it, or restore it.")
    found = dict(zip(names_, rows[0], strict=True))
    return {name: str(found[name]) for name in OPTIONS}


def filesets(session: RawSession, database: str) -> dict[str, list[list[int]]]:
    """[[vgroup, bytes, last compaction]] of each group of data files by its number, with memory written out first.

    Another size tells that something was written. The same size tells nothing for sure: rows that replace rows which
    were written lately may take as many bytes, so that `days` is asked too.
    """
    # It begins and does not wait for its end; but a second one begins only when the first has ended.
    for _ in range(2):
        session.execute(f"FLUSH DATABASE {identifier(database)}")
    rows = session.rows(
        "SELECT fileset_id, vgroup_id, total_size, CAST(last_compact AS BIGINT) FROM information_schema.ins_filesets "
        f"WHERE db_name = {quoted(database)}"
    )
    found: dict[str, list[list[int]]] = {}
    for number, *facts in sorted(rows):
        found.setdefault(str(number), []).append([int(fact or 0) for fact in facts])
    return found


def fileset_hours(number: str, duration: str) -> Range:
    """The hours of a group of data files; `duration` as the server tells it, such as 10d or 90m."""
    minutes = seconds(duration) // 60
    start = int(number) * minutes
    return start // 60, -(-(start + minutes) // 60)


def days(session: RawSession, database: str, table: str, shape: Shape) -> dict[int, str]:
    """A digest of each day's sums, by its number since 1970. The server has most of them beside its blocks.

    Numbers are added up as they are. What is none is added up by its checksum, weighted by the key, only where there is
    no number: the server would read every text of the whole history. A sum with NaN or an infinity in it is none at
    all: such a day is UNSEEN.
    """
    columns = shape["columns"]
    found: dict[int, list[Any]] = {}
    numbers = [(name, kind) for name, kind, key in columns if _is_number(kind) and not key]
    sums = _by_day(session, database, table, [f"SUM({_number(name, kind)})" for name, kind in numbers])
    unseen = _unseen(session, database, table, numbers, sums)
    others_ = () if numbers else columns[1:]
    checked = [aggregate for name, kind, key in others_ for aggregate in _checked(columns, name, kind, key)]
    try:
        others = _by_day(session, database, table, checked) if checked else {}
    except TdengineError as error:  # a version that has no checksum of such a type
        if error.code not in ODD_STATEMENT:
            raise
        others, unseen = {}, set(sums)
    for told in (sums, others):
        for day, values in told.items():
            found.setdefault(day, []).append(values)
    return {day: UNSEEN if day in unseen else _digest(values) for day, values in found.items()}


def _by_day(session: RawSession, database: str, table: str, aggregates: Sequence[str]) -> dict[int, list[Any]]:
    """Of each day that has rows, their number and these."""
    selected = ", ".join(("_wstart", "COUNT(*)", *aggregates))
    rows = session.rows(f"SELECT {selected} FROM {identifier(database)}.{identifier(table)} INTERVAL(1d)")
    return {int(start) // (DAY * HOUR_NS): values for start, *values in rows}


def _unseen(
    session: RawSession, database: str, table: str, numbers: Sequence[tuple[str, str]], sums: Mapping[int, list[Any]]
) -> set[int]:
    """Days in which a column has values and no sum."""
    places = {
        name: at for at, (name, kind) in enumerate(numbers, 1)
        if plain(kind) in _FLOATS and any(values[at] is None for values in sums.values())
    }  # fmt: skip
    if not places:
        return set()
    counts_ = _by_day(session, database, table, [f"COUNT({identifier(name)})" for name in places])
    return {
        day for day, (_, *filled) in counts_.items() if day in sums
        and any(full and sums[day][at] is None for full, at in zip(filled, places.values(), strict=True))
    }  # fmt: skip


def _digest(values: list[Any]) -> str:
    return hashlib.blake2b(repr(values).encode(), digest_size=8).hexdigest()


def _checked(columns: Sequence[Sequence[Any]], name: str, kind: str, key: bool) -> Iterator[str]:
    """Sums that change with a value which is no number."""
    if _is_number(kind):
        return
    crc = f"CRC32({identifier(name)})"
    if key:
        yield f"SUM({crc})"
        return
    keys = [(known, type_) for known, type_, is_key in columns if is_key]
    other = len(keys) > 1 and _is_number(keys[1][1])
    weight = identifier(keys[1][0]) if other else f"CAST({identifier(keys[0][0])} AS BIGINT)"
    yield f"COUNT({identifier(name)})"
    yield f"SUM({crc} * {weight})"


def _is_number(kind: str) -> bool:
    """Whether the server adds it up beside its blocks, and exactly enough."""
    word = plain(kind)
    return word in (*_FLOATS, "TIMESTAMP", "BOOL") or word.removesuffix(" UNSIGNED") in _INTEGERS


def _number(name: str, kind: str) -> str:
    found = identifier(name)
    return {"TIMESTAMP": f"CAST({found} AS BIGINT)", "BOOL": f"CAST({found} AS INT)"}.get(plain(kind), found)


def day_hours(day: int) -> Range:
    """The hours of a day of `days`."""
    return day * DAY, (day + 1) * DAY


def counts(
    session: RawSession, database: str, table: str, ranges: Sequence[Range] | None = None
) -> dict[int, int]:
    """The rows of each hour that has any, in `ranges` only where given. Cheap: the server looks at no row."""
    of = f"{identifier(database)}.{identifier(table)}"
    found: dict[int, int] = {}
    for where in _wheres(ranges):
        for start, count in session.rows(f"SELECT _wstart, COUNT(*) FROM {of}{where} INTERVAL(1h)"):
            found[int(start) // HOUR_NS] = int(count)
    return found


def hashed(
    session: RawSession, database: str, table: str, columns: Sequence[Sequence[Any]], seeds: Mapping[str, int],
    ranges: Sequence[Range], part: bool = False,
) -> dict[int, tuple[int, str]]:  # fmt: skip
    """(rows, hash) of each hour in `ranges`, row by row, of the subtables in `seeds`: `part` of all that there are."""
    of, found = f"{identifier(database)}.{identifier(table)}", Sums()
    chosen = f" AND {among(list(seeds))}" if part and len(seeds) <= _NAMED else ""
    for where in _wheres(ranges):
        sql = f"SELECT tbname, {names(columns)} FROM {of}{where}{chosen}"
        for raw in ahead(_unless_gone(session, sql)):
            rows, of_rows = _seeded(decode(raw), seeds)
            if rows.rows:
                found.add(table, runs_of(rows, of_rows))
    return found.told().get(table, {})


def _seeded(block: Block, seeds: Mapping[str, int]) -> tuple[Block, Array]:
    """The rows of known subtables without the name before them, and the seed of each."""
    _, first, inverse = _distinct(block)
    known = [seeds.get(name.decode()) for name in texts(pick(block, first).columns[0])]
    rest = without_first(block)
    of_rows: Array = np.array([one or 0 for one in known], np.uint64)[inverse]
    if None not in known:
        return rest, of_rows
    wanted = np.array([one is not None for one in known])[inverse]
    return pick(rest, wanted), of_rows[wanted]


def _distinct(block: Block) -> tuple[Array, Array, Array]:
    """The hashes of the different values of the first column, where each is first, which of them each row has."""
    starts = starts_of_runs(block.columns[0])  # a server gives out one subtable's rows after another's
    found = hashes(pick(Block(block.rows, block.columns[:1]), starts), 0)
    values, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    return values, starts[first], np.repeat(inverse.reshape(-1), np.diff(starts, append=block.rows))


def _wheres(ranges: Sequence[Range] | None) -> Iterator[str]:
    if ranges is None:
        yield ""
        return
    for start, end in ranges:
        yield f" WHERE _rowts >= {start * HOUR_NS} AND _rowts < {end * HOUR_NS}"


def of_subtable(session: RawSession, database: str, subtable: str) -> Iterator[bytes]:
    """All blocks of one subtable; none when it was dropped meanwhile."""
    return _unless_gone(session, f"SELECT * FROM {identifier(database)}.{identifier(subtable)}")


def _unless_gone(session: RawSession, sql: str) -> Generator[bytes, None, None]:
    try:
        yield from session.blocks(sql)
    except TdengineError as error:
        if error.code not in GONE:
            raise


def at_once(session: RawSession, database: str, table: str, subtables: int) -> int:
    """How many subtables are best asked for in one statement: one where they are few or long, as its rows come fastest
    by themselves; of many that have a few rows each as many as fit into memory.
    """
    if subtables <= _FEW_SUBTABLES:
        return 1
    counted = session.rows(f"SELECT COUNT(*) FROM {identifier(database)}.{identifier(table)}")
    rows = int(counted[0][0]) if counted else 0
    each = max(1, -(-rows // subtables))
    return 1 if each > _FEW_ROWS else min(_NAMED, _PENDING_ROWS // each)


def of_subtables(
    session: RawSession, database: str, table: str, shape: Shape, subtables: Sequence[str]
) -> Iterator[tuple[str, Block]]:
    """(subtable, rows) of these subtables, in pieces that are as large as memory allows."""
    return _pieces(session, f"{_selected(database, table, shape)} WHERE {among(subtables)}")


def of_range(
    session: RawSession, database: str, table: str, shape: Shape, hour: Range
) -> Iterator[tuple[str, Block]]:
    """The same of a table's hours."""
    for where in _wheres([hour]):
        yield from _pieces(session, f"{_selected(database, table, shape)}{where}")


def _selected(database: str, table: str, shape: Shape) -> str:
    return f"SELECT tbname, {names(shape['columns'])} FROM {identifier(database)}.{identifier(table)}"


def _pieces(session: RawSession, sql: str) -> Iterator[tuple[str, Block]]:
    pending: dict[str, list[Block]] = {}
    held = 0
    for raw in _unless_gone(session, sql):
        block = decode(raw)
        held += block.rows
        for name, part in _by_name(block):
            pending.setdefault(name, []).append(part)
        if held >= _PENDING_ROWS or len(pending) >= _PENDING_NAMES:
            yield from _joined(pending)
            pending, held = {}, 0
    yield from _joined(pending)


def _by_name(block: Block) -> Iterator[tuple[str, Block]]:
    _, first, inverse = _distinct(block)
    rest = without_first(block)
    found = texts(pick(block, first).columns[0])
    if len(found) == 1:
        yield found[0].decode(), rest
        return
    order = np.argsort(inverse, kind="stable")
    ends = np.cumsum(np.bincount(inverse))
    for name, chosen in zip(found, np.split(order, ends[:-1]), strict=True):
        yield name.decode(), pick(rest, chosen)


def _joined(pending: dict[str, list[Block]]) -> Iterable[tuple[str, Block]]:
    return ((name, join(blocks)) for name, blocks in pending.items())


def spans(hours_: Iterable[int]) -> list[Range]:
    """Hours as ranges of neighbours."""
    found: list[Range] = []
    for hour in sorted(hours_):
        if found and found[-1][1] == hour:
            found[-1] = (found[-1][0], hour + 1)
        else:
            found.append((hour, hour + 1))
    return found
