"""The statements that make a database as a backup knows it: options, tables, subtables, definitions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from agents.tdengine import spans
from agents.tdengine.backup import fit, geometry, schema
from agents.tdengine.backup.manifest import Manifest, Subtable
from agents.tdengine.backup.raw import RawSession
from agents.tdengine.backup.schema import Shape, plain
from agents.tdengine.session import ODD_STATEMENT, TdengineError
from agents.tdengine.sql import grouped, identifier, quoted

_PER_STATEMENT = 1000
_NUMBERS = ("TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "BOOL", "TIMESTAMP", "DECIMAL")
_MADE = ("virtual supertable", "virtual table", "view")  # what else there is works on from where it stood: by hand


def make(
    session: RawSession, into: str, manifest: Manifest, wanted: Iterable[str], there: Mapping[str, Shape],
    subtables: Iterable[Subtable],
) -> None:  # fmt: skip
    """Database, tables and subtables that are missing; `there`: tables as they are, `subtables` of `wanted` tables."""
    nodes = len(session.rows("SELECT id FROM information_schema.ins_dnodes WHERE status = 'ready'"))
    options = manifest.options
    replica = int(options["replica"]) if int(options["replica"]) <= nodes else 1
    keep = spans.longest(options["keep"])
    session.execute(
        f"CREATE DATABASE IF NOT EXISTS {identifier(into)} PRECISION '{options['precision']}' KEEP {keep} "
        f"DURATION {options['duration']} REPLICA {replica} VGROUPS {options['vgroups']} "
        "WAL_LEVEL 1 WAL_FSYNC_PERIOD 3000"
    )
    for name in wanted:
        if name not in there:
            _make_table(session, into, name, manifest.tables[name])
    now = {name: there.get(name, shape) for name, shape in manifest.tables.items()}
    for statement in _subtables(into, manifest.tables, now, subtables):
        session.execute(statement)
    session.execute(f"USE {identifier(into)}")


def harden(session: RawSession, into: str, manifest: Manifest) -> None:
    """Sync a database that a restore made as production does: until here a crash would only repeat the restore."""
    options = manifest.options
    session.execute(f"FLUSH DATABASE {identifier(into)}")
    level, period = options["wal_level"], options["wal_fsync_period"]
    session.execute(f"ALTER DATABASE {identifier(into)} WAL_LEVEL {level} WAL_FSYNC_PERIOD {period}")


def _make_table(session: RawSession, into: str, name: str, shape: Shape) -> None:
    """Packed on the disk as it was, where this server packs so."""
    try:
        session.execute(table(into, name, shape))
    except TdengineError as error:
        if error.code not in ODD_STATEMENT:
            raise
        session.execute(table(into, name, {**shape, "options": {}}))


def table(database: str, name: str, shape: Shape) -> str:
    """The statement that makes a supertable or a plain table of this shape."""
    options = shape.get("options", {})
    packed = options.get("packing") or [[] for _ in shape["columns"]]
    columns = ", ".join(
        f"{identifier(column)} {kind}{_packing(packing)}{' PRIMARY KEY' if key and at else ''}"
        for at, ((column, kind, key), packing) in enumerate(zip(shape["columns"], packed, strict=True))
    )
    tags = ", ".join(f"{identifier(tag)} {kind}" for tag, kind in shape["tags"])
    made = f"CREATE {'STABLE' if tags else 'TABLE'} IF NOT EXISTS {identifier(database)}.{identifier(name)} ({columns})"
    made += f" TAGS ({tags})" if tags else ""
    made += f" COMMENT {quoted(options['comment'])}" if options.get("comment") else ""
    made += f" KEEP {options['keep']}m" if options.get("keep") else ""
    return made + (f" TTL {options['ttl']}" if options.get("ttl") else "")


def _packing(words: Sequence[str]) -> str:
    named = zip(("ENCODE", "COMPRESS", "LEVEL"), words, strict=False)
    return "".join(f" {name} {quoted(word)}" for name, word in named)


def _subtables(
    into: str, was: Mapping[str, Shape], now: Mapping[str, Shape], subtables: Iterable[Subtable]
) -> Iterator[str]:
    """A tag that is not there any more stays behind; one that came since is NULL."""
    tags = {name: fit.tags(shape, now[name]) for name, shape in was.items()}
    made = (_subtable(into, one, tags[one.stable], now[one.stable]) for one in subtables if was[one.stable]["tags"])
    for parts in grouped(made, _PER_STATEMENT, between=1):
        yield f"CREATE TABLE {' '.join(parts)}"


def _subtable(into: str, one: Subtable, kept: Sequence[tuple[int, str, str]], now: Shape) -> str:
    names = f" ({', '.join(identifier(name) for _, name, _ in kept)})" if kept else ""
    values = ", ".join(literal(one.tags[at], kind) for at, _, kind in kept)
    values = values or ", ".join("NULL" for _ in now["tags"])
    ending = f" TTL {one.ttl}" if one.ttl else ""
    ending += f" COMMENT {quoted(one.comment)}" if one.comment else ""
    place = identifier(into)
    return (
        f"IF NOT EXISTS {place}.{identifier(one.name)} USING {place}.{identifier(one.stable)}{names} "
        f"TAGS ({values}){ending}"
    )


def literal(value: object, kind: str) -> str:
    """A tag's value, as a manifest has it, as a statement has it."""
    word = plain(kind)
    if value is None:
        return "NULL"
    if word.split()[0] in _NUMBERS:
        return str(value)
    if word == "VARBINARY":
        return f"'\\x{value}'"
    if word == "GEOMETRY":
        return quoted(geometry.text(bytes.fromhex(str(value))))
    return quoted(str(value))


def define(session: RawSession, into: str, manifest: Manifest) -> dict[str, str]:
    """Make what has no rows of its own; why not, by name, of what is not there afterwards."""
    there = {name for _, name, _ in schema.defined(session, into)}
    open_ = {name: told for name, told in manifest.definitions.items() if name not in there}
    session.execute(f"USE {identifier(into)}")
    while True:
        failed: dict[str, str] = {}
        for name, (kind, statement) in open_.items():
            failed |= _define(session, name, kind, _moved(statement, manifest.database, into))
        if not failed or len(failed) == len(open_):
            return failed
        open_ = {name: open_[name] for name in failed}  # one may have needed another


def _define(session: RawSession, name: str, kind: str, statement: str) -> dict[str, str]:
    if kind not in _MADE:
        return {name: f"a {kind} is not made again by itself; it was {statement}"}
    try:
        session.execute(statement)
    except TdengineError as error:
        return {name: str(error)}
    return {}


def _moved(statement: str, was: str, into: str) -> str:
    """Columns of the same database are told with its name."""
    return statement if was == into else statement.replace(f"{identifier(was)}.", f"{identifier(into)}.")
