"""What a restore needs of its server, looked at before the first row: version, precision, columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agents.tdengine import spans
from agents.tdengine.backup import scan, schema
from agents.tdengine.backup.fit import Fit, judge, same
from agents.tdengine.backup.manifest import Manifest
from agents.tdengine.backup.raw import RawSession
from agents.tdengine.backup.schema import Shape
from agents.tdengine.backup.selection import BadRequest
from agents.tdengine.sql import quoted


@dataclass(frozen=True)
class Ground:
    """`there`: the database exists; `tables` as they are in it; `keep_s`: how long it keeps a row; `fits` by table."""

    there: bool
    tables: Mapping[str, Shape]
    keep_s: int
    fits: Mapping[str, Fit]

    @property
    def lost(self) -> list[str]:
        """What of a row has no place any more."""
        return [f"{name}: {why}" for name, fit in sorted(self.fits.items()) for why in fit.lost]


def check(
    session: RawSession, into: str, manifest: Manifest, wanted: Iterable[str], accept_lost: bool = True
) -> Ground:
    """Raises BadRequest for what would refuse rows, or lose columns of them that nobody said may stay behind."""
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
    tables = schema.tables(session, into) if there else {}
    keep_s = spans.seconds(spans.longest(options["keep"]))
    found = Ground(there, tables, keep_s, {name: _fit(manifest.tables[name], tables.get(name)) for name in wanted})
    impossible = [f"{into}.{name}: {fit.why_not}" for name, fit in found.fits.items() if fit.why_not]
    if impossible:
        raise BadRequest(
            f"Rows of backup {manifest.label} have no place in {'; '.join(impossible)}.",
            "Restore into another database (--into NAME), or leave the table out (--tables).",
        )
    if found.lost and not accept_lost:
        raise BadRequest(
            f"Columns of backup {manifest.label} have no place in {into} any more: {'; '.join(found.lost)}.",
            "--accept-lost-columns restores the others; --into NAME restores all of them beside.",
        )
    return found


def _fit(was: Shape, now: Shape | None) -> Fit:
    return same(was) if now is None else judge(was, now)


def is_there(session: RawSession, database: str) -> bool:
    """Whether the server has a database of this name."""
    return bool(session.rows(f"SELECT name FROM information_schema.ins_databases WHERE name = {quoted(database)}"))


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:4])
