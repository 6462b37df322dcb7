"""What a TDengine database holds, asked of the server: its options, tables, hours with their rows and marks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from agents.base.errors import AgentError
from agents.tdengine.backup.block import Block, decode, hashes, join, pick, texts, without_first
from agents.tdengine.backup.manifest import HOUR_NS, Subtable
from agents.tdengine.backup.raw import RawSession
from agents.tdengine.backup.sums import Sums, by_hour, hours
from agents.tdengine.session import GONE, TdengineError
from agents.tdengine.spans import seconds

OPTIONS = ("precision", "keep", "duration", "replica", "vgroups", "wal_level", "wal_fsync_period")
Range = tuple[int, int]  # of hours, the end exclusive
_PENDING_ROWS = 200_000
_TEXTS = ("VARCHAR", "BINARY", "NCHAR")
SIZED = (*_TEXTS, "VARBINARY", "GEOMETRY")


def options(session: RawSession, database: str) -> dict[str, Any]:
    """The database's options as strings. Raises AgentError when there is no such database."""
    names, rows = session.names_and_rows(f"SELECT * FROM information_schema.ins_databases WHERE name = '{database}'")
    if not rows:
        raise AgentError(f"There is no database {database} on this TDengine server.", "Deploy it, or restore it.")
    found = dict(zip(names, rows[0], strict=True))
    return {name: str(found[name]) for name in OPTIONS}


def supertables(session: RawSession, database: str) -> dict[str, Any]:
    """Columns [[name, type, is key]] and tags [[name, type]] of each supertable, types with their lengths."""
    rows = session.rows(f"SELECT stable_name FROM information_schema.ins_stables WHERE db_name = '{database}'")
    found: dict[str, Any] = {}
    for (name,) in sorted(rows):
        columns: list[list[Any]] = []
        tags: list[list[str]] = []
        for field, kind, length, note, *_ in session.rows(f"DESCRIBE `{database}`.`{name}`"):
            full = f"{kind}({length})" if kind in SIZED else kind
            if note == "TAG":
                tags.append([field, full])
            else:
                columns.append([field, full, not columns or "KEY" in str(note)])
        found[name] = {"columns": columns, "tags": tags}
    return found


def subtables(session: RawSession, database: str, tables: dict[str, Any]) -> list[Subtable]:
    """Every subtable with its tags, by supertable and name."""
    found = []
    for stable, shape in tables.items():
        names = ", ".join(f"`{name}`" for name, _ in shape["tags"])
        rows = session.rows(f"SELECT TAGS tbname, {names} FROM `{database}`.`{stable}`")
        found += [Subtable(str(name), stable, list(tags)) for name, *tags in sorted(rows, key=lambda row: str(row[0]))]
    return found


def filesets(session: RawSession, database: str) -> dict[str, list[list[int]]]:
    """[[vgroup, bytes, last compaction]] of each group of data files by its number, with memory written out first.

    Another size tells that something was written. The same size tells nothing for sure: rows that replace rows which
    were written lately may take as many bytes, so that `days` is asked too.
    """
    # It begins and does not wait for its end; but a second one begins only when the first has ended.
    for _ in range(2):
        session.execute(f"FLUSH DATABASE `{database}`")
    rows = session.rows(
        "SELECT fileset_id, vgroup_id, total_size, CAST(last_compact AS BIGINT) FROM information_schema.ins_filesets "
        f"WHERE db_name = '{database}'"
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


def days(session: RawSession, database: str, stable: str, shape: dict[str, Any]) -> dict[int, str]:
    """A digest of each day's sums, by its number since 1970. The server has most of them beside its blocks.

    Numbers are added up as they are, texts weighted by the key: another row, or another value in one, changes a sum.
    """
    columns = shape["columns"]
    plain = [f"SUM({_number(name, kind)})" for name, kind, _ in columns[1:] if kind.partition("(")[0] not in _TEXTS]
    texts_ = [one for one in _aggregates(columns) if "CRC32" in one]
    found: dict[int, list[Any]] = {}
    for aggregates in (["COUNT(*)", *plain], ["COUNT(*)", *texts_] if texts_ else []):
        if aggregates:
            rows = session.rows(f"SELECT _wstart, {', '.join(aggregates)} FROM `{database}`.`{stable}` INTERVAL(1d)")
            for start, *sums in rows:
                found.setdefault(int(start) // (24 * HOUR_NS), []).append(sums)
    return {
        day: hashlib.blake2b(repr(sums).encode(), digest_size=8).hexdigest() for day, sums in found.items()
    }


def day_hours(day: int) -> Range:
    """The hours of a day of `days`."""
    return day * 24, (day + 1) * 24


def counts(session: RawSession, database: str, stable: str) -> dict[int, int]:
    """The rows of each hour that has any. Cheap: the server looks at no row."""
    rows = session.rows(f"SELECT _wstart, COUNT(*) FROM `{database}`.`{stable}` INTERVAL(1h)")
    return {int(start) // HOUR_NS: int(count) for start, count in rows}


def marks(
    session: RawSession, database: str, stable: str, shape: dict[str, Any], ranges: Sequence[Range] | None = None
) -> dict[int, tuple[int, str]]:
    """(rows, mark) of each hour, in `ranges` only where given. A changed row changes its hour's mark.

    The server adds up each column weighted by the key, so that nothing but the sums travels; to the last digits of a
    floating-point number, which the order of rows on its disk may change: then an unchanged hour is looked at again.
    """
    aggregates = ", ".join(_aggregates(shape["columns"]))
    sums = Sums()
    for where in _wheres(ranges):
        sql = (
            f"SELECT tbname, _wstart, COUNT(*), {aggregates} FROM `{database}`.`{stable}`{where} "
            "PARTITION BY tbname INTERVAL(1h)"
        )
        for raw in session.blocks(sql):
            block = decode(raw)
            order = np.argsort(block.words(1), kind="stable")
            hour, found, rows = hours(block, 1)[order], hashes(block, 0)[order], block.words(2)[order]
            starts = np.flatnonzero(np.concatenate(([True], hour[1:] != hour[:-1])))
            counted = np.add.reduceat(rows, starts).tolist()
            runs = by_hour(hour, found)
            sums.add(stable, [(run[0], count, run[2]) for run, count in zip(runs, counted, strict=True)])
    return sums.told().get(stable, {})


def _aggregates(columns: Sequence[Sequence[Any]]) -> Iterator[str]:
    keys = [name for name, _, key in columns if key]
    weight = f"`{keys[1]}`" if len(keys) > 1 and _is_number(columns, keys[1]) else f"CAST(`{keys[0]}` AS BIGINT)"
    for name, kind, key in columns[1:]:
        value = f"`{name}`"
        if key and name == keys[-1]:
            yield f"SUM({value})" if _is_number(columns, name) else f"SUM(CRC32({value}))"
            continue
        yield f"COUNT({value})"
        yield f"SUM({_number(name, kind)} * {weight})"


def _number(name: str, kind: str) -> str:
    """A number that changes with the value of this column."""
    plain = kind.partition("(")[0]
    if plain in _TEXTS:
        return f"CRC32(`{name}`)"
    if plain in SIZED:
        raise AgentError(f"Column {name} has the type {kind}, whose changes are not seen.", "Leave it out.")
    return {"TIMESTAMP": f"CAST(`{name}` AS BIGINT)", "BOOL": f"CAST(`{name}` AS INT)"}.get(plain, f"`{name}`")


def _is_number(columns: Sequence[Sequence[Any]], name: str) -> bool:
    kind = next(kind for known, kind, _ in columns if known == name)
    return kind.partition("(")[0] not in SIZED


def _wheres(ranges: Sequence[Range] | None) -> Iterator[str]:
    if ranges is None:
        yield ""
        return
    for start, end in ranges:
        yield f" WHERE _rowts >= {start * HOUR_NS} AND _rowts < {end * HOUR_NS}"


def of_subtable(session: RawSession, database: str, subtable: str) -> Iterator[bytes]:
    """All blocks of one subtable; none when it was dropped meanwhile."""
    try:
        yield from session.blocks(f"SELECT * FROM `{database}`.`{subtable}`")
    except TdengineError as error:
        if error.code not in GONE:
            raise


def of_range(
    session: RawSession, database: str, stable: str, shape: dict[str, Any], hour: Range
) -> Iterator[tuple[str, Block]]:
    """(subtable, rows) of a supertable's hours, in pieces that are as large as memory allows."""
    columns = ", ".join(f"`{name}`" for name, *_ in shape["columns"])  # a star would bring the tags too
    pending: dict[str, list[Block]] = {}
    held = 0
    for where in _wheres([hour]):
        for raw in session.blocks(f"SELECT tbname, {columns} FROM `{database}`.`{stable}`{where}"):
            block = decode(raw)
            held += block.rows
            for name, part in _by_name(block):
                pending.setdefault(name, []).append(part)
            if held >= _PENDING_ROWS:
                yield from _joined(pending)
                pending, held = {}, 0
    yield from _joined(pending)


def _by_name(block: Block) -> Iterator[tuple[str, Block]]:
    named = Block(block.rows, block.columns[:1])
    _, first, inverse = np.unique(hashes(named, 0), return_index=True, return_inverse=True)
    rest = without_first(block)
    names = texts(pick(named, first).columns[0])
    if len(names) == 1:
        yield names[0].decode(), rest
        return
    order = np.argsort(inverse.reshape(-1), kind="stable")
    ends = np.cumsum(np.bincount(inverse.reshape(-1)))
    for name, chosen in zip(names, np.split(order, ends[:-1]), strict=True):
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
