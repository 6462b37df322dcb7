"""Hold a store against what a mark bound of it: what had been acknowledged by then is there. Reads only.

A mark has positions, no hashes of PostgreSQL's rows: those would be read every five minutes. What was acknowledged by
the time of the mark is known all the same, by the shadow and the outbox of the application hosts, for as long as these
keep it; of TDengine the mark has the hashes of the backup that was the newest one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from inventories.errors import BadInput, Refused
from runbooks.engine.budgets import budget
from runbooks.hosts import Estate
from runbooks.marks import asking, keeping, names, reaching, resolving
from runbooks.marks.types import Mark, Numbers, Position, Transaction
from runbooks.probes import reconcile
from runbooks.probes.durations import utc
from runbooks.probes.outbox import NAMES, POSTGRESQL, Box, boxes
from runbooks.probes.reconcile import Lacking
from runbooks.probes.sqlite import kept
from runbooks.validation.difference import Check, Difference, Looked

NAMED = 5  # rows of one table
CANNOT = (
    "a mark has no hashes of PostgreSQL's rows: whether a value was altered since is told by ./dr restore-pitr "
    "--to-mark {name}, then --against restored"
)


_OVER = "rows acknowledged by the mark"


class NothingKept(Refused):
    """No application host keeps anything of before the mark."""


@dataclass(frozen=True)
class Held:
    """A mark that is a past of this cluster, and the outboxes of one store that it bound; `away`: those that it did not
    bind, and why, if it says so.
    """

    mark: Mark
    there: tuple[tuple[Box, Position], ...]
    away: tuple[str, ...] = ()


def find(estate: Estate, name: str, store: str) -> Held:
    """Raises BadInput for a name of no mark, Refused for one that is no past of this cluster or binds nothing."""
    names.check(name)
    known = keeping.look(estate.backup)
    mark = resolving.one(name, known)
    reaching.require_past(mark, reaching.ground(estate, known.now))
    ours = {box.host.name: box for box in boxes(estate, store)}
    bound = [one for one in mark.positions if one.store == store]
    gone = [one.host for one in bound if one.host not in ours]
    if gone:
        raise Refused(f"mark {name} binds {gone[0]}, which is no application host of this inventory")
    if not bound:
        why = f": {'; '.join(mark.lacks)}" if mark.lacks else ""
        raise Refused(f"mark {name} binds no outbox and no shadow of {NAMES[store]}{why}", "./dr mark takes another")
    away = ours.keys() - {one.host for one in bound}
    why_away = tuple(_why(ours[name], mark) for name in sorted(away))
    return Held(mark, tuple((ours[one.host], one) for one in bound), why_away)


def _why(box: Box, mark: Mark) -> str:
    return next((one for one in mark.lacks if one.startswith(f"{box}: ")), f"{box}: the mark does not bind it")


def acknowledged(held: Held, since: float, tables: Sequence[str]) -> Looked:
    """Rows that the store had acknowledged by the mark (and at `since`, unix seconds, or later) are there.

    Raises NothingKept where that nobody can tell, BadInput for a moment behind the mark.
    """
    if since > held.mark.at:
        said = f"{utc(since)} is behind mark {held.mark.name} of {held.mark.moment}"
        raise BadInput(said, "--since names a moment before it")
    differences: list[Difference] = []
    notes: list[str] = []
    of_postgresql = any(box.store == POSTGRESQL for box, _ in held.there)
    unknown = [*held.away, *([CANNOT.format(name=held.mark.name)] if of_postgresql else [])]
    looked = 0
    for box, then in held.there:
        now = asking.position(box)
        note, found = _numbers(box, then.outbox, now.outbox)
        notes += note
        differences += found
        rows = _rows(box, then, now, since, tables)
        looked += rows.looked
        differences += _lacking(rows)
        if rows.damaged_segments:  # nobody can tell whether what was acknowledged there is in the store
            what = f"{rows.damaged_segments} files that are gone or cannot be read to their end"
            differences.append(Difference(Check.CONTENT, f"shadow on {box.host}", "its files", "whole", what))
        if rows.unknown:
            unknown.append(f"{rows.unknown:,} rows on {box.host} are of tables that the catalogue does not have")
        if not rows.looked:
            unknown.append(f"{box.host} keeps nothing of before the mark")
        elif rows.since is not None:
            notes.append(f"{box.host} keeps what was acknowledged from {utc(rows.since)} on")
    if not (looked or differences):
        which = f" in {', '.join(tables)}" if tables else ""
        raise NothingKept(
            f"of what was acknowledged{which} before mark {held.mark.name} of {held.mark.moment} no application host "
            "keeps anything any more, so nobody can tell whether it is there",
            f"./dr restore-pitr --to-mark {held.mark.name}, then ./dr validate --store postgresql --against restored"
            if of_postgresql else "the rows of the backup that it bound are compared all the same",
        )  # fmt: skip
    return Looked(Check.CONTENT, _OVER, looked, "; ".join(notes), tuple(differences), unknown="; ".join(unknown))


def looked(held: Held, since: float, tables: Sequence[str]) -> Looked:
    """The same beside another check, which is worth as much where nothing of before the mark is kept: this one went
    over nothing then. Raises BadInput.
    """
    try:
        return acknowledged(held, since, tables)
    except NothingKept as error:
        return Looked(Check.CONTENT, _OVER, 0, unknown=f"{error} ({error.hint})")


def _numbers(box: Box, then: Numbers | None, now: Numbers | None) -> tuple[list[str], list[Difference]]:
    """What an outbox's numbers say: they only grow, as long as it is the same file."""
    if then is None:
        return [], []
    what = f"outbox of {box.store} on {box.host}"
    if now is None or (then.file and now.file != then.file):
        if not then.pending_rows:
            return [f"{box} is another file than at the mark, and nothing waited in that"], []
        waited = f"{then.pending_rows:,} rows that waited"
        return [], [Difference(Check.CONTENT, what, "its file", f"the mark's, with {waited}", "another one")]
    found = []
    for name, was, has in (
        ("newest record", then.newest, now.newest), ("newest application", then.applied_no, now.applied_no),
    ):  # fmt: skip
        if has < was:
            found.append(Difference(Check.CONTENT, what, name, f"at least {was}", str(has)))
    return [], found


def _rows(box: Box, then: Position, now: Position, since: float, tables: Sequence[str]) -> Lacking:
    same = bool(then.outbox and now.outbox and then.outbox.file == now.outbox.file)
    applied = then.outbox.applied_no if then.outbox and same else 0
    bounds = {"applied_no": applied, "shadow": dict(then.shadow or {})}
    return reconcile.lacking(box, since, tables, budget("reconcile.look"), bounds)


def _lacking(found: Lacking) -> Iterable[Difference]:
    for name, one in found.tables.items():
        for event in one.events[:NAMED]:
            yield Difference(Check.CONTENT, name, f"row event_id={event}", "there, or a newer one", "no such row")
        if one.rows > NAMED:
            more = f"{one.rows - NAMED:,} that are not there"
            yield Difference(Check.CONTENT, name, "further rows", "there, or newer ones", more)


def backup_of(estate: Estate, mark: Mark, otherwise: str = "./dr validate compares with the newest backup") -> str:
    """The label of the backup of TDengine that it bound, which is still what it was. Raises BadInput, Refused.

    `otherwise`: what can be done without it, for a hint.
    """
    if mark.tdengine is None:
        why = f": {'; '.join(mark.lacks)}" if mark.lacks else ", as there was none"
        raise BadInput(f"mark {mark.name} binds no backup of TDengine{why}", f"take another mark; {otherwise}")
    now = asking.windows(estate, mark.tdengine.label)
    if now is None:
        raise Refused(
            f"mark {mark.name} binds backup {mark.tdengine.label} of TDengine, which is not kept any more: of its rows "
            "the mark has numbers and hashes by table, which say nothing row by row",
            otherwise,
        )
    if now.windows != mark.tdengine.windows:
        raise Refused(
            f"backup {now.label} of TDengine is not what mark {mark.name} bound: its hours have other hashes",
            "./dr backup.run --store tdengine --type verify tells what is wrong with it",
        )
    return now.label


def transaction_of(
    estate: Estate, mark: Mark, database: str, host: str = "", *, kept_there: bool = True
) -> Transaction:
    """What it bound of a SQLite database; `host`: "" for the first that has it.

    Raises BadInput where it bound none; with `kept_there` Refused where what leads there is not kept any more, DrError.
    """
    bound = [one for one in mark.databases if one.database == database and host in ("", one.host)]
    if not bound:
        why = f": {'; '.join(mark.lacks)}" if mark.lacks else ", as there was none"
        raise BadInput(
            f"mark {mark.name} binds no transaction of SQLite database {database}{why}",
            f"./dr sqlite-restore --to {mark.moment.replace(' ', 'T')} goes by the clock",
        )
    found = bound[0]
    if not kept_there:
        return found
    shelf = next((one for one in kept.look(estate) if (one.host, one.database) == (found.host, database)), None)
    leads = [one for one in shelf.snapshots if one.stream == found.stream and one.tx <= found.tx] if shelf else []
    if not any(not one.trouble for one in leads):
        raise Refused(
            f"mark {mark.name} binds transaction {found.tx:,} of {found.database} on {found.host}, and no sound "
            "snapshot is kept that leads there",
            "./dr backup.list --store sqlite names those that are; the off-site copy may have older ones",
        )
    return found
