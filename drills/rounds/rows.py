"""After the last round: is every row that any round acknowledged still there, on the primary and on the standby?

Each round looks for its own rows; what a later one lost of an earlier one's shows here only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from drills import gather
from drills.judging.compare import FoundIds
from drills.judging.fate import Ids, fate
from drills.measuring.events import Started
from drills.measuring.ledger import read_ledger
from drills.measuring.ranges import RangeSet
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

    `again` is what was acknowledged after its host had died and it was started again: its keys are counted anew then.
    """

    nr: int
    run: int
    acked: Ids
    again: Ids = field(default_factory=dict)


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
    starts = [at for at, event in enumerate(events) if isinstance(event, Started)]
    run = next((event.run for event in events if isinstance(event, Started)), None)
    if run is None:
        return None
    again = fate(events[starts[1] :]).required if len(starts) > 1 else {}
    return Written(nr, run, fate(events).required, again)


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
            host, str(estate.data["database"]), [(one.run, table) for one in rounds for table in sorted(one.acked)]
        )
        missing = tuple(_missing(rounds, found, newest))
        looked.append(_looked(role, host, rounds, found, missing, newest))
        gone += [(host.name, one) for one in missing]
    return LastCheck(looked=tuple(looked), gone=_by_row(gone))


def required(rounds: Sequence[Written], found: Found, newest: Collection[str]) -> dict[tuple[int, str], RangeSet]:
    """The numbers that must still be there under the run of the round itself.

    In a table that keeps the newest row of a key, a later round's row takes an earlier one's place: the feed gives the
    same number the same key in every run. What a later round had acknowledged, or what of it is there, is not asked of
    an earlier one; the newest row of each key is, so that an older one that came back would be found. Of feeds that
    were started again only the last is asked: the keys of the others may be the same under other numbers.
    """
    wanted: dict[tuple[int, str], RangeSet] = {}
    later: dict[str, RangeSet] = {}
    started_again = False
    for one in sorted(rounds, key=lambda written: written.nr, reverse=True):
        for table, ids in one.acked.items():
            mine = ids
            if table in newest:
                unknown = one.again.get(table, RangeSet()) if started_again else RangeSet()
                over = later.setdefault(table, RangeSet())
                mine = ids.difference(unknown).difference(over)
                for first, last in (*ids.ranges(), *found[one.run, table].ids.ranges()):
                    over.add(first, last)
            wanted[one.nr, table] = mine
        started_again = started_again or bool(one.again)
    return wanted


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
