"""What ./dr backup.list shows of SQLite databases: lines of at most 80 columns, nothing decided here."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from rich.text import Text

from doors.support import utc
from runbooks.backups.sqlite import HERE, Listed, Listing
from runbooks.judge.objectives import duration, size

SHOWN = 3  # the newest; sqlite-restore --list names all


def listing(seen: Listing) -> Iterator[Text]:
    """A few lines for each database, then everything that is wrong or unknown."""
    for one in seen.databases:
        yield from _database(one, seen)
    for name in seen.missing:
        yield Text(f"TROUBLE  nothing is kept of {name}: ./dr status tells why.", style="red")
    for name in seen.unused:
        yield Text(f"Of {name} nothing is kept: nobody has used it yet, or nobody protects it.", style="yellow")
    for trouble in (why for one in seen.databases for why in one.troubles):
        yield from (Text(line, style="red") for line in wrap(f"TROUBLE  {trouble.rstrip('.')}.", 80))
    if seen.unknown:
        yield from (Text(line, style="yellow") for line in wrap(f"What is off-site is unknown: {seen.unknown}.", 80))
    if seen.sound:
        yield Text("Nothing that is kept of SQLite databases is known to be damaged.", style="green")


def _database(one: Listed, seen: Listing) -> Iterator[Text]:
    shelf = one.shelf
    said = "" if one.declared else ", which the inventory does not name"
    yield Text.assemble((one.name, "bold"), f"  {len(shelf.snapshots)} snapshots, {size(shelf.bytes)}{said}")
    yield Text(f"  sqlite: {_newest(one, seen.at)}")
    yield Text(f"  last proven {utc(one.proven_at) + ' UTC' if one.proven_at else 'never'}")
    for snapshot in shelf.snapshots[: -SHOWN - 1 : -1]:
        proven = {True: "proven", False: "damaged", None: "not proven yet"}[snapshot.proven]
        where = "?" if one.copied is None else _copies(snapshot.label in one.copied, seen.offsite)
        yield Text(f"  {snapshot.label}  {duration(seen.at - snapshot.taken_at)} old, {proven}, on {where}")
    if len(shelf.snapshots) > SHOWN:
        yield Text(f"  and {len(shelf.snapshots) - SHOWN} older ones: ./dr sqlite-restore --list names them")


def _newest(one: Listed, at: float) -> str:
    if one.newest is None:
        return "what a restore reaches is unknown" if one.shelf.trouble else "nothing can be restored"
    tx, moment = one.newest
    which = f"transaction {tx:,} of " if one.shelf.stream else ""
    return f"a restore reaches {which}{utc(moment)} UTC, {duration(at - moment)} ago"


def _copies(copied: bool, offsite: str) -> str:
    return f"{HERE} + {offsite}" if copied else HERE
