"""`--to-mark NAME`: the one mark of that name, as the LSN and the timeline that the restores know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inventories.errors import BadInput, Refused
from runbooks.hosts import Estate
from runbooks.marks import keeping, reaching
from runbooks.marks.names import check
from runbooks.marks.reaching import State
from runbooks.marks.types import Kept, Mark


@dataclass(frozen=True)
class Goal:
    """What recovery is told: to stop before what begins at `lsn`, on the way to `timeline`."""

    mark: Mark
    lsn: str
    timeline: int


def resolve(estate: Estate, name: str, *, resumed: bool = False) -> Goal:
    """Raises BadInput for a name that is none or stands twice, Refused for a mark that no restore can reach.

    A run that is `resumed` was begun with a mark that could be reached; what stands still of that estate by now may be
    no primary, so nobody but the backup host is asked.
    """
    check(name)
    found = keeping.look(estate.backup)
    mark = one(name, found)
    if resumed:
        return Goal(mark, mark.lsn, mark.timeline)
    seen = reaching.reach(mark, reaching.ground(estate, found.now))
    if seen.state is State.REFUSED:
        raise Refused(seen.why, seen.hint)
    return Goal(mark, mark.lsn, seen.timeline)


def of_this_estate(estate: Estate, name: str) -> Mark:
    """The mark, for what no primary has to be asked. Raises as `one` does, and BadInput for another estate's."""
    mark = one(name, keeping.look(estate.backup))
    if mark.estate != estate.name:
        raise BadInput(f"mark {name} is of estate {mark.estate}, and this one is {estate.name}", "./dr marks")
    return mark


def one(name: str, found: Kept) -> Mark:
    """Raises BadInput where there is none, or two; Refused where its file is damaged."""
    marks = [mark for mark in found.marks if mark.name == name]
    if len(marks) > 1:
        told = "; ".join(f"{mark.moment} at LSN {mark.lsn}, timeline {mark.timeline}" for mark in marks)
        lsns = " or ".join(f"--to-lsn {mark.lsn}" for mark in marks)
        raise BadInput(f"mark {name} stands {len(marks)} times: {told}", f"say which one is meant: {lsns}")
    if marks:
        return marks[0]
    if damaged := next((one for one in found.damaged if one.name == name), None):
        raise Refused(
            f"the file of mark {name} cannot be believed, {damaged.file}: {damaged.why}",
            f"its restore point is in the WAL all the same: --to-name {name}",
        )
    raise BadInput(f"there is no mark {name!r}", _there(found.marks))


def _there(marks: Sequence[Mark]) -> str:
    names = ", ".join(mark.name for mark in reversed(marks[-5:]))
    return f"the newest are {names}; ./dr marks lists all" if names else "./dr mark NAME takes one"
