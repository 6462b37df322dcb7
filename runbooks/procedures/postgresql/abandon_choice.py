"""What abandon must know before it touches anything: which run, whose role, and whether anybody may have succeeded."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar

from inventories.errors import BadInput, Refused
from runbooks.engine import history
from runbooks.engine.context import Options
from runbooks.engine.history import History
from runbooks.hosts import Run
from runbooks.probes.postgresql import server, stopped
from runbooks.probes.postgresql.stopped import Stopped
from runbooks.procedures.postgresql.restore_pitr import RESTORE_PITR
from runbooks.procedures.postgresql.roles import Roles, layout
from runbooks.record import keep
from runbooks.record.read import read
from runbooks.record.types import Answer, Copy, Record, Unknown

NAME = "abandon"
NOBODY = "./dr status says what each host is now, and what leads on"


class AbandonOptions(Options):
    """`run`: which one, by the name of its folder; empty takes the one that stopped last.

    `accept_no_arbiter`: take the newest copy of the estate record at its word, and write copies only.
    """

    added_later: ClassVar[frozenset[str]] = frozenset({"accept_no_arbiter"})
    run: str = ""
    accept_no_arbiter: bool = False


class Back(StrEnum):
    """What gives the role back."""

    NOTHING = "nothing"
    FENCE = "fence"  # or the mark of a standby, which a switchover leaves
    SWAP = "swap"  # of restore-pitr: the data directory too


class Abandon(Roles):
    """`run` is abandoned, a run of `procedure`; its journal is in the folder `journal`, if it is on this machine.

    `hold`: the other host's promotion may have begun, by it or by the run that the record names. `unproved`: so it may,
    and nobody has looked.
    """

    run: str = ""
    procedure: str = ""
    journal: str = ""
    back: Back = Back.NOTHING
    hold: bool = False
    unproved: bool = False
    synchronous: bool = False
    told: tuple[str, ...] = ()


def assess(context: Run, state: Abandon) -> Abandon:
    """Find the run, and who is primary by the record; decide what is taken back. Raises BadInput where nothing is."""
    answer = read(context.estate)
    past = _past(context, answer)
    change = None if isinstance(answer, Unknown) else answer.record.changing
    if past:
        found = {"run": past.name, "procedure": past.procedure, "journal": str(past.run_dir)}
    elif change:
        found = {"run": change.run, "procedure": change.procedure}
    else:
        raise BadInput(
            f"there is nothing to abandon: no run on {context.estate.name} has stopped half way", "./dr status"
        )
    another = change is not None and past is not None and change.run != past.name and change.procedure != NAME
    begun = past is None or "promote" in past.begun or another
    state = tell(context, state.model_copy(update={**found, "unproved": begun}), f"{found['run']} is ended for good")
    nodes = server.survey(context.estate)
    if any(node.is_primary for node in nodes):
        primary = server.the_primary(nodes)
        return tell(context, state, f"{primary.name} takes writes, so no role is given back")
    fenced = {node.name for node in nodes if state.run in node.fenced}
    if not fenced and state.procedure != "switchover":
        return tell(context, state, f"no host is held down by it; {NOBODY}")
    return _given_back(context, state, _believed(context, answer), fenced, past)


def _past(context: Run, answer: Answer) -> History | None:
    """The journal on this machine: of the run that was named, that the record names, or that stopped last."""
    runs, estate, named = context.run_dir.parent, context.estate.name, context.options.run
    change = None if isinstance(answer, Unknown) else answer.record.changing
    if named:
        past = history.find_run(named, estate, runs)
        if past is None and not (change and change.run == named):
            raise BadInput(f"there is no run {named!r} of {estate} here", "./dr record.show names the one under way")
        if past and past.over:
            raise BadInput(f"{named} has ended: {past.outcome or 'abandoned'}", "there is nothing of it to take back")
        return past
    last = history.find_unfinished(estate, runs, besides=NAME)
    if change and change.procedure != NAME and not (last and last.name == change.run):
        past = history.find_run(change.run, estate, runs)
        return None if past is None or past.over else past
    return last


def _believed(context: Run, answer: Answer) -> Record:
    """Raises Refused where nobody knows whose role it is."""
    if isinstance(answer, Unknown):
        raise Refused(f"nobody takes writes, and whose role it is nobody can say: {answer.why}", answer.hint or NOBODY)
    if isinstance(answer, Copy) and not context.options.accept_no_arbiter:
        raise Refused(
            f"nobody takes writes, and the copy of the record on {answer.at} may not be the newest one: {answer.why}",
            f"bring {context.estate.backup} back; {keep.NO_ARBITER} takes that copy at its word",
        )
    return answer.record


def _given_back(
    context: Run, state: Abandon, record: Record, fenced: set[str], past: History | None
) -> Abandon:
    seen = {one.name: one for one in stopped.survey(context.estate.postgres, layout(context))}
    mine = seen.get(record.primary)
    others = [one for one in seen.values() if one is not mine]
    to = record.changing.to if record.changing else ""
    other = next((one for one in others if one.name == to), others[0])
    if mine is None or not (mine.name in fenced or mine.stepped_down):
        return tell(context, state, f"{record.primary}, the primary by the record, is not held down by it; {NOBODY}")
    state = state.model_copy(
        update={
            "primary": mine.name, "other": other.name, "old_timeline": record.timeline, "timeline": record.timeline,
            "system": record.system_identifier, "synchronous": bool(record.synchronous),
            "waited": record.synchronous,
        }
    )  # fmt: skip
    _succeeded_by_nobody(state, others, record)
    if past and past.procedure == RESTORE_PITR.name and "fence-main" in past.begun:
        return tell(context, state, f"{mine.name} is put back as it was").model_copy(update={"back": Back.SWAP})
    _as_recorded(mine, record)
    hold = state.unproved or other.name in fenced or other.half_promoted
    says = f"{mine.name} is the primary by the record, on timeline {record.timeline}, and gets its role back"
    return tell(context, state, says).model_copy(update={"back": Back.FENCE, "hold": hold, "unproved": False})


def _as_recorded(mine: Stopped, record: Record) -> None:
    if not mine.readable or mine.runs:
        raise Refused(f"{mine.name}: {mine.why or 'a server runs there and does not answer'}", NOBODY)
    if mine.system != record.system_identifier or mine.newest != record.timeline or mine.half_promoted:
        raise Refused(
            f"{mine.name} is not the primary on timeline {record.timeline} that the record knows ({mine.says})", NOBODY
        )


def _succeeded_by_nobody(state: Abandon, others: Sequence[Stopped], record: Record) -> None:
    """By the files of every other host: whoever else has acted since may have promoted one that answers nobody now."""
    for one in others:
        if not one.ssh:
            raise Refused(
                f"{one.name} may have been promoted since, and nobody can look at it: {one.why}",
                f"bring {one.name} back, then ./dr runbook.abandon --yes, or ./dr failover --yes promotes it",
            )
        if state.unproved and not one.readable:
            raise Refused(
                f"the promotion of {one.name} may have begun, and its files do not say whether it ended: {one.why}",
                "./dr start-cluster weighs what else is known of it",
            )
        if one.newest > record.timeline and not one.half_promoted:
            raise Refused(
                f"{one.name} knows timeline {one.newest}, so that a host has been promoted since",
                "./dr start-cluster finds who was last",
            )


def tell(context: Run, state: Abandon, sentence: str) -> Abandon:
    context.say(sentence)
    return state.model_copy(update={"told": (*state.told, sentence)})
