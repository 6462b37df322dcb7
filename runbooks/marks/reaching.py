"""Whether a restore to a mark is possible now: is it a past of this cluster, and do backups and WAL lead to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from inventories.errors import DrError, Refused
from runbooks.hosts import Estate
from runbooks.layout import STANZA
from runbooks.marks.types import Mark
from runbooks.probes.postgresql import archive, backups, pgbackrest, server
from runbooks.probes.postgresql.archive import Archive
from runbooks.probes.postgresql.server import as_lsn
from runbooks.procedures.postgresql import targets
from runbooks.procedures.postgresql.targets import Target

SLACK_S = 60.0  # by how much clocks may differ without being wrong


class State(StrEnum):
    """`WAITS`: for its WAL segment to be archived, which a restore has done before anything else."""

    REACHED = "reached"
    WAITS = "waits"
    REFUSED = "refused"


@dataclass(frozen=True)
class Reach:
    """`timeline` is the one that recovery follows; `why` and `hint` of anything but REACHED."""

    state: State
    timeline: int
    why: str = ""
    hint: str = ""

    @property
    def possible(self) -> bool:
        return self.state is State.REACHED


@dataclass(frozen=True)
class Ground:
    """What marks are held against. `primary` is empty where none answers: then `timeline` is the archive's newest.
    `unsound`: label -> why a backup may not be used; `now`: the backup host's clock, unix seconds.
    """

    estate: str
    primary: str
    system: str
    timeline: int
    now: float
    archive: Archive
    unsound: Mapping[str, str]


def ground(estate: Estate, now: float) -> Ground:
    """Raises DrError where the backup host or its repository does not answer; a primary need not be there."""
    backup = estate.backup
    seen, repository = archive.look(backup, STANZA), pgbackrest.info(backup, STANZA)
    failed = backups.failed_proofs(backup)
    unsound = {one.label: why for one in repository.backups if (why := backups.why_not(one, failed))}
    name, system, timeline = "", str(repository.system_id or ""), seen.newest_timeline
    try:
        node = server.the_primary(server.survey(estate))
        name, system, timeline = node.name, node.system, node.timeline or timeline
    except Refused:
        pass
    return Ground(estate.name, name, system, timeline, now, seen, unsound)


def require_past(mark: Mark, there: Ground) -> None:
    """Raises Refused for a mark that is no past of this cluster: there is nothing to hold it against."""
    if refused := _foreign(mark, there) or _elsewhere(mark, there):
        raise Refused(*refused)


def reach(mark: Mark, there: Ground) -> Reach:
    """A sentence for each reason why it cannot be restored."""
    refused = _foreign(mark, there) or _elsewhere(mark, there)
    if refused:
        return Reach(State.REFUSED, mark.timeline, *refused)
    end = there.archive.end(there.timeline)
    if there.primary and there.archive.backups and (end is None or mark.position >= end.end):
        so_far = f"up to {as_lsn(end.end)}" if end else "of none of this timeline"
        why = f"the archive holds WAL {so_far} so far: a restore closes the segment first"
        return Reach(State.WAITS, there.timeline, why)
    try:
        targets.choose(Target(kind="lsn", value=mark.lsn), there.archive, there.timeline, there.unsound)
    except DrError as error:
        return Reach(State.REFUSED, there.timeline, f"mark {mark.name} cannot be reached: {error}", error.hint)
    return Reach(State.REACHED, there.timeline)


def _foreign(mark: Mark, there: Ground) -> tuple[str, str] | None:
    """Of another estate or database system, or of a moment that is yet to come."""
    if mark.estate != there.estate:
        return (
            f"mark {mark.name} is of estate {mark.estate}, and this one is {there.estate}",
            "is the inventory's backup host that of another estate?",
        )
    if there.system and mark.system != there.system:
        whose = there.primary or "the repository"
        return (
            f"mark {mark.name} is of database system {mark.system}, and {whose} is of {there.system}: it is no past of "
            "this cluster",
            "a cluster that was made anew has marks of its own; ./dr marks lists them",
        )
    if mark.at > there.now + SLACK_S:
        return (
            f"mark {mark.name} is of {mark.moment}, {(mark.at - there.now) / 86400:.1f} d ahead of the backup host's "
            "clock: one of the two clocks is wrong",
            f"./dr status tells which; --to-lsn {mark.lsn} --timeline {mark.timeline} needs no clock",
        )
    return None


def _elsewhere(mark: Mark, there: Ground) -> tuple[str, str] | None:
    """On a timeline that the one of today left before the mark was taken."""
    if mark.timeline == there.timeline:
        return None
    left = next((at for line, at in there.archive.histories.get(there.timeline, ()) if line == mark.timeline), None)
    if left is not None and mark.position <= left:
        return None
    how = "does not come from" if left is None else f"left at {as_lsn(left)}, before it"
    return (
        f"mark {mark.name} was taken on timeline {mark.timeline} at {mark.lsn}, which timeline {there.timeline} {how}: "
        "what it names is no past of the primary",
        f"--to-lsn {mark.lsn} --timeline {mark.timeline} restores that other line all the same",
    )
