"""What a restore needs of its server, looked at before the first row: version, precision, KEEP, tables; then made."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from agents.tdengine import spans
from agents.tdengine.backup import scan
from agents.tdengine.backup.manifest import Manifest, Subtable, Window
from agents.tdengine.backup.raw import RawSession
from agents.tdengine.backup.selection import BadRequest
from agents.tdengine.sql import quoted

_PER_STATEMENT = 200
_NUMBERS = ("TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "BOOL", "TIMESTAMP", "DECIMAL")


def check(session: RawSession, into: str, manifest: Manifest, wanted: Mapping[str, Mapping[int, Window]]) -> bool:
    """Raises BadRequest for what would refuse rows. Whether the database is there already."""
    if _version(session.server) < _version(manifest.server_version):
        raise BadRequest(
            f"The server is TDengine {session.server}, backup {manifest.label} is from {manifest.server_version}.",
            "Deploy that version or a newer one (tdengine_package), then restore.",
        )
    there = is_there(session, into)
    options = scan.options(session, into) if there else manifest.options
    if options["precision"] != manifest.options["precision"]:
        raise BadRequest(
            f"Database {into} counts time in {options['precision']}, backup {manifest.label} in "
            f"{manifest.options['precision']}: rows of one instant would overwrite one another.",
            "Restore into another database (--into NAME).",
        )
    _check_keep(into, options["keep"], manifest, wanted)
    if there:
        _check_shapes(session, into, manifest, wanted)
    return there


def is_there(session: RawSession, database: str) -> bool:
    """Whether the server has a database of this name."""
    return bool(session.rows(f"SELECT name FROM information_schema.ins_databases WHERE name = '{database}'"))


def _check_keep(into: str, keep: str, manifest: Manifest, wanted: Mapping[str, Mapping[int, Window]]) -> None:
    longest = spans.longest(keep)
    limit = time.time() - spans.seconds(longest)
    old = {hour: window for windows in wanted.values() for hour, window in windows.items() if hour * 3600 < limit}
    if old:
        first = datetime.fromtimestamp(min(old) * 3600, timezone.utc)
        limit_at = datetime.fromtimestamp(limit, timezone.utc)
        rows = sum(window.rows for window in old.values())
        raise BadRequest(
            f"KEEP {longest} of database {into} would refuse about {rows:,} rows of backup {manifest.label}, which go "
            f"back to {first:%Y-%m-%d}.",
            f"ALTER DATABASE {into} KEEP with more days, or restore from {limit_at:%Y-%m-%dT%H:%M:%SZ} on (--from).",
        )


def _check_shapes(session: RawSession, into: str, manifest: Manifest, wanted: Iterable[str]) -> None:
    have = scan.supertables(session, into)
    for name in wanted:
        if name in have and have[name] != manifest.supertables[name]:
            ours = {column for column, *_ in manifest.supertables[name]["columns"]}
            theirs = {column for column, *_ in have[name]["columns"]}
            differ = ", ".join(sorted(ours ^ theirs)) or "types, lengths or keys"
            raise BadRequest(
                f"Supertable {into}.{name} has other columns than backup {manifest.label}: {differ}.",
                "Restore into another database (--into NAME).",
            )


def make(
    session: RawSession, into: str, manifest: Manifest, wanted: Iterable[str], subtables: Iterable[Subtable]
) -> None:
    """Database, supertables and subtables that are missing; `subtables` are those of `wanted` supertables."""
    nodes = len(session.rows("SELECT id FROM information_schema.ins_dnodes WHERE status = 'ready'"))
    options = manifest.options
    replica = int(options["replica"]) if int(options["replica"]) <= nodes else 1
    keep = spans.longest(options["keep"])
    session.execute(
        f"CREATE DATABASE IF NOT EXISTS `{into}` PRECISION '{options['precision']}' KEEP {keep} "
        f"DURATION {options['duration']} REPLICA {replica} VGROUPS {options['vgroups']} "
        "WAL_LEVEL 1 WAL_FSYNC_PERIOD 3000"
    )
    for name in wanted:
        session.execute(supertable(into, name, manifest.supertables[name]))
    _make_subtables(session, into, manifest, list(subtables))
    session.execute(f"USE `{into}`")


def harden(session: RawSession, into: str, manifest: Manifest) -> None:
    """Sync a database that a restore made as production does: until here a crash would only repeat the restore."""
    options = manifest.options
    session.execute(f"FLUSH DATABASE `{into}`")
    session.execute(
        f"ALTER DATABASE `{into}` WAL_LEVEL {options['wal_level']} WAL_FSYNC_PERIOD {options['wal_fsync_period']}"
    )


def supertable(database: str, name: str, shape: dict[str, Any]) -> str:
    """The statement that makes a supertable of this shape."""
    columns = ", ".join(
        f"`{column}` {kind}{' PRIMARY KEY' if key and at else ''}"
        for at, (column, kind, key) in enumerate(shape["columns"])
    )
    tags = ", ".join(f"`{tag}` {kind}" for tag, kind in shape["tags"])
    return f"CREATE STABLE IF NOT EXISTS `{database}`.`{name}` ({columns}) TAGS ({tags})"


def _make_subtables(session: RawSession, into: str, manifest: Manifest, subtables: list[Subtable]) -> None:
    kinds = {name: [kind for _, kind in shape["tags"]] for name, shape in manifest.supertables.items()}
    for start in range(0, len(subtables), _PER_STATEMENT):
        parts = []
        for one in subtables[start : start + _PER_STATEMENT]:
            tags = ", ".join(literal(tag, kind) for tag, kind in zip(one.tags, kinds[one.stable], strict=True))
            parts.append(f"IF NOT EXISTS `{into}`.`{one.name}` USING `{into}`.`{one.stable}` TAGS ({tags})")
        session.execute(f"CREATE TABLE {' '.join(parts)}")


def literal(value: object, kind: str) -> str:
    """A tag's value as a statement has it."""
    if value is None:
        return "NULL"
    if kind.partition("(")[0].split()[0] in _NUMBERS:
        return str(value)
    return quoted(str(value))


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:4])
