"""After the last round: is every row that any round acknowledged still there, on the primary and on the standby?

Each round looks for its own rows; what a later one lost of an earlier one's shows here only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drills import gather
from drills.judging.compare import FoundIds
from drills.judging.fate import Ids, fate
from drills.measuring.events import Started
from drills.measuring.ledger import read_ledger
from drills.measuring.ranges import RangeSet
from drills.rounds.keys import Numbering, keys, without
from drills.rounds.result import Gone, LastCheck, Looked
from drills.stores import POSTGRESQL
from inventories.catalog.load import load_tables
from inventories.catalog.tables import OnConflict
from inventories.errors import VerificationFailed
from runbooks.hosts import Estate, Host
from runbooks.probes.postgresql import server

Found = Mapping[tuple[int, str], FoundIds]
# A row of which a later one of the same key takes the place cannot be looked for, so none is taken from such a table.
_TAKE_OUT = (
    "DO $$ BEGIN DELETE FROM {table} WHERE event_id = {event};"
    " IF NOT FOUND THEN RAISE EXCEPTION 'row {event} of {table} is not there'; END IF; END $$;"
)


@dataclass(frozen=True)
class Written:
    """What the feed of one round had acknowledged; `run` is the number that its event ids begin with.

    `starts`: how it numbered its rows and their keys, once more for each time that it was started again.
    """

    nr: int
    run: int
    acked: Ids
    starts: tuple[Numbering, ...] = (Numbering(),)


@dataclass(frozen=True)
class TakenOut:
    """The row that a negative twin takes out by hand: acknowledged by round `nr`, there when that was over."""

    nr: int
    table: str
    number: int


def written(nr: int, folder: Path) -> Written | None:
    """From the ledger of a round; None when its feed never began."""
    path = folder / POSTGRESQL.ledger
    events = read_ledger(path) if path.exists() else ()
    starts = [event for event in events if isinstance(event, Started)]
    if not starts:
        return None
    numbered = tuple(Numbering(start.first, start.batch) for start in starts)
    return Written(nr, starts[0].run, fate(events).required, numbered)


def look(estate: Estate, rounds: Sequence[Written]) -> LastCheck:
    """Compare what all of them acknowledged with both copies. Raises VerificationFailed when that was nothing."""
    if not any(ids for one in rounds for ids in one.acked.values()):
        raise VerificationFailed("No round acknowledged a row, so there is nothing to look for again.")
    newest = replaced_by_key()
    primary = server.the_primary(server.survey(estate)).host
    places = (("primary", primary), *(("standby", node.host) for node in gather.caught_up(estate)))
    looked = []
    gone: list[tuple[str, Gone]] = []
    for role, host in places:
        found = gather.finders(
            host, str(estate.data["database"]), [(one.run, table) for one in rounds for table in _tables(rounds)]
        )
        missing = tuple(_missing(rounds, found, newest))
        looked.append(_looked(role, host, rounds, found, missing, newest))
        gone += [(host.name, one) for one in missing]
    return LastCheck(looked=tuple(looked), gone=_by_row(gone))


def required(rounds: Sequence[Written], found: Found, newest: Collection[str]) -> dict[tuple[int, str], RangeSet]:
    """The numbers that must still be there under the run of the round itself.

    In a table that keeps the newest row of a key, a later round's row takes an earlier one's place. Of a key that a
    later round had acknowledged, or that is there by a later one, an earlier one is not asked; the newest row of each
    key is, so that one that is gone, or over which an older one came back, is found.
    """
    wanted: dict[tuple[int, str], RangeSet] = {}
    later: dict[str, RangeSet] = {}
    for one in sorted(rounds, key=lambda written: written.nr, reverse=True):
        for table in _tables(rounds):
            ids = one.acked.get(table, RangeSet())
            if table in newest:
                over, there = later.setdefault(table, RangeSet()), found[one.run, table].ids
                wanted[one.nr, table] = without(one.starts, table, ids, over)
                for rows in (ids, there):
                    over.update(keys(one.starts, table, rows))
            elif ids:
                wanted[one.nr, table] = ids
    return wanted


def _tables(rounds: Sequence[Written]) -> list[str]:
    """Of all rounds: a row that nobody acknowledged may have taken the place of one that was."""
    return sorted({table for one in rounds for table in one.acked})


def replaced_by_key() -> frozenset[str]:
    """Tables of the catalogue in which a newer row takes the place of an older one of the same key."""
    return frozenset(table.name for table in load_tables().tables.values() if table.on_conflict is OnConflict.NEWEST)


def take_out(primary: Host, database: str, one: Written) -> TakenOut:
    """Delete one acknowledged row by hand. Raises TargetFailed when it is not there to be deleted."""
    table = next(name for name in sorted(one.acked) if name not in replaced_by_key() and one.acked[name])
    number = next(iter(one.acked[table]))
    primary.execute(_TAKE_OUT.format(table=table, event=one.run << 32 | number), database)
    return TakenOut(one.nr, table, number)


def _missing(rounds: Sequence[Written], found: Found, newest: Collection[str]) -> Iterable[Gone]:
    runs = {one.nr: one.run for one in rounds}
    for (nr, table), ids in sorted(required(rounds, found, newest).items()):
        lost = ids.difference(found[runs[nr], table].ids)
        if lost:
            yield Gone(nr=nr, table=table, rows=len(lost), numbers=lost.sample())


def _looked(
    role: str, host: Host, rounds: Sequence[Written], found: Found, missing: Sequence[Gone], newest: Collection[str]
) -> Looked:
    wanted = required(rounds, found, newest)
    acked = sum(len(ids) for one in rounds for ids in one.acked.values())
    return Looked(
        host=host.name,
        role=role,
        rounds=len(rounds),
        acked=acked,
        overwritten=acked - sum(map(len, wanted.values())),
        lost=sum(one.rows for one in missing),
        duplicated=sum(ids.duplicated for ids in found.values()),
    )


def _by_row(gone: Iterable[tuple[str, Gone]]) -> tuple[Gone, ...]:
    """The same rows missing on both hosts are told once."""
    hosts: dict[Gone, list[str]] = {}
    for host, one in gone:
        hosts.setdefault(one, []).append(host)
    return tuple(one.model_copy(update={"hosts": tuple(names)}) for one, names in hosts.items())
