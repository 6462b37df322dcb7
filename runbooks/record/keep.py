"""Keep the record: written as changing before a transition and confirmed after it, at the arbiter and in its copies.

Where the arbiter is away a transition takes the operator's word. What is written then goes to the copies and says on
what it is based; the next change that finds the arbiter carries it there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from inventories.errors import DrError, Refused, TargetFailed, TimedOut, Unreachable
from inventories.quorum import DECLARED_ASYNCHRONOUS
from runbooks.engine.lock import Held, LockLost, Owner
from runbooks.hosts import Estate, Host, Run
from runbooks.record.arbiter import Conflict, FileOn, NotBelieved
from runbooks.record.lock import lost, take
from runbooks.record.read import of_system, pages
from runbooks.record.types import Answer, Change, Copy, Known, Mode, Record, Unknown

COPYING = "copy of the estate record"  # the threads' name
NO_ARBITER = "--accept-no-arbiter"


@dataclass(frozen=True)
class Truth:
    """What a record says of the estate when nothing is under way."""

    system: str
    primary: str
    timeline: int
    synchronous: tuple[str, ...]
    why: str
    quorum: int | None = None  # as the record has it


@dataclass(frozen=True)
class Keeper:
    """One run's hand on the record. `alone`: it may be changed without the arbiter; `word`: the operator said so."""

    estate: Estate
    owner: Owner
    say: Callable[[str], None]
    alone: bool = False
    word: bool = False
    option: bool = False  # its command has one for that word
    hurry: bool = False  # the copies are written while other things go on
    locks: Held | None = None  # of that run

    def changing(self, answer: Answer, procedure: str, to: str, *, degraded: str = "") -> Record | None:
        """Say that a transition begins; None where no record was ever written.

        `degraded`: why rows exist once from now on, where they do. Raises Refused without arbiter and without the
        operator's word, and when the record cannot be known.
        """
        if isinstance(answer, Unknown):
            if answer.absent or self.alone:
                self.say(f"WARNING: no record is kept of this {procedure} until it has ended: {answer.why}")
                return None
            raise Refused(f"{procedure} cannot be recorded: {answer.why}", answer.hint)
        update: dict[str, Any] = {
            "changing": Change(procedure=procedure, run=self.owner.run_dir.name, to=to),
        }
        if degraded:
            update |= {"mode": Mode.DEGRADED, "synchronous": (), "quorum": None, "since": now(), "why": degraded}
        return self._write(answer, answer.record.model_copy(update=update), procedure)

    def settled(self, answer: Answer, truth: Truth, *, anew: bool = False) -> Record:
        """Say what is so now; the epoch grows with every new primary and timeline."""
        mode = Mode.SYNCHRONOUS if truth.synchronous else Mode.DEGRADED
        fields: dict[str, Any] = {
            "primary": truth.primary, "timeline": truth.timeline, "mode": mode, "synchronous": truth.synchronous,
            "changing": None, "system_identifier": truth.system, "quorum": truth.quorum,
        }  # fmt: skip
        if isinstance(answer, Unknown):
            new = Record(revision=answer.newest, epoch=1, since=now(), why=truth.why, **fields)
            return self._write(answer, new, "settle", anew=anew)
        old = answer.record
        grown = (old.primary, old.timeline) != (truth.primary, truth.timeline)
        since = {} if old.mode is mode and not grown else {"since": now(), "why": truth.why}
        if truth.why == DECLARED_ASYNCHRONOUS:  # a standby that came back is no news of it, and "is out" no more true
            since |= {"why": truth.why}
        new = old.model_copy(update={**fields, **since, "epoch": old.epoch + grown})
        return self._write(answer, new, "settle", anew=anew)

    def widened(self, answer: Answer, names: Sequence[str], least: int) -> Record | None:
        """Before commits may wait for `least` of `names`: say no more than holds before and after; None: it does not.

        Of a row that somebody else may confirm from now on, the record must not say that those have it who had all.
        """
        if isinstance(answer, Unknown) or not answer.record.synchronous:
            return None
        old = answer.record
        every = tuple(sorted({*old.synchronous, *names}))
        each = min(old.least, least)
        update = {"synchronous": every, "quorum": each if each < len(every) else None}
        if (old.synchronous, old.quorum) == (every, update["quorum"]):
            return None
        return self._write(answer, old.model_copy(update=update), "settle")

    def without(self, answer: Answer, name: str, why: str) -> Record | None:
        """Say that this standby does not have every row from now on; None where nobody says that it has.

        What is under way stays so. Raises Refused where that cannot be written.
        """
        if isinstance(answer, Unknown) or name not in answer.record.synchronous:
            return None
        least = answer.record.least - 1  # what it alone had confirmed of a quorum is on none of the others
        rest = tuple(other for other in answer.record.synchronous if other != name and least)
        mode = Mode.SYNCHRONOUS if rest else Mode.DEGRADED
        quorum = least if least < len(rest) else None
        update = {"mode": mode, "synchronous": rest, "quorum": quorum, "since": now(), "why": why}
        return self._write(answer, answer.record.model_copy(update=update), self.owner.procedure)

    def unchanged(self, answer: Answer) -> Record | None:
        """The transition was taken back before it changed anything: what the record said still holds."""
        if isinstance(answer, Unknown) or answer.record.changing is None:
            return None
        return self._write(answer, answer.record.model_copy(update={"changing": None}), "settle")

    def _write(self, answer: Answer, record: Record, procedure: str, *, anew: bool = False) -> Record:
        arbiter = FileOn(self.estate.backup)
        expect = answer.revision if isinstance(answer, Known) else 0
        request = {
            "token": self.owner.token, "expect": expect, "record": record.model_dump(mode="json"), "anew": anew,
        }  # fmt: skip
        if isinstance(answer, Copy) and not answer.arbiter_lost:
            return self._alone(record, procedure, answer.why)
        try:
            written = self._swap(arbiter, request)
        except (NotBelieved, TimedOut) as error:
            if not self.word:  # it may have been written, or says something else: nothing is written beside it unasked
                raise
            return self._alone(record, procedure, str(error))
        except (Unreachable, TargetFailed) as error:
            return self._alone(record, procedure, str(error))
        self._push(written, anew)
        return Record.model_validate(written)

    def _swap(self, arbiter: FileOn, request: dict[str, Any]) -> dict[str, Any]:
        """Where the arbiter was away when this run began, the lock is taken now. Raises LockLost for a broken one."""
        try:
            written = dict(arbiter.change("swap", request)["record"])
        except Conflict as refused:
            if refused.kind != "token" or (refused.holder and not self._had):
                raise
            self._take(arbiter, refused, anew=bool(request["anew"]))
            written = dict(arbiter.change("swap", request)["record"])
        if self.locks:
            self.locks.seen()
        return written

    @property
    def _had(self) -> bool:
        return self.locks is not None and self.locks.had

    def _take(self, arbiter: FileOn, refused: Conflict, *, anew: bool) -> None:
        """Never a second time: whoever has broken it may be acting."""
        try:
            if self._had:
                raise lost(refused)
            take(arbiter, self.owner, self.say, anew=anew)
        except LockLost as error:
            if self.locks:
                self.locks.lost = str(error)
            raise

    def _alone(self, record: Record, procedure: str, why: str) -> Record:
        """To the database hosts only. Raises Refused without the operator's word for it."""
        if not self.alone:
            way_on = f"; {NO_ARBITER} goes on and writes the copies on the database hosts" if self.option else ""
            raise Refused(
                f"{self.estate.backup} keeps the estate record and is away ({why}), so nobody could tell later who has "
                "which rows",
                f"bring {self.estate.backup} back{way_on}",
            )
        self.say(f"WARNING: {why}; {procedure} is recorded on the database hosts and carried there later")
        for host in self._databases():
            there = FileOn(host)
            try:
                seen = there.read()
                if seen.away:
                    continue
                expect = seen.record.revision if seen.record else 0
                request = {"expect": expect, "record": record.model_dump(mode="json"), "alone": True}
                written = dict(there.change("swap", request)["record"])
            except DrError as error:
                self.say(f"WARNING: {error}")
                continue
            self._push(written, False)
            return Record.model_validate(written)
        self.say("WARNING: no host could keep the estate record")
        return record

    def _push(self, written: dict[str, Any], anew: bool) -> None:
        """To every database host that answers; one that does not finds it when it is asked next."""
        copies = [
            threading.Thread(target=self._copy, args=(host, written, anew), name=COPYING) for host in self._databases()
        ]
        for copy in copies:
            copy.start()
        for copy in copies if not self.hurry else ():
            copy.join()

    def _copy(self, host: Host, written: dict[str, Any], anew: bool) -> None:
        try:
            FileOn(host).change("copy", {"record": written, "anew": anew})
        except (Unreachable, TimedOut):
            return
        except Conflict as refused:
            if refused.kind != "older":  # a later change has come there first
                self.say(f"WARNING: {refused}")
        except DrError as error:
            self.say(f"WARNING: the copy of the estate record on {host} is not the newest: {error}")

    def _databases(self) -> Sequence[Host]:
        return [host for host in self.estate.postgres if host != self.estate.backup]


def keeper(context: Run) -> Keeper:
    """Of the run that holds the lock."""
    assert context.owner, "the record is kept by whoever holds the estate's lock"
    word = allowed_alone(context)
    option = hasattr(context.options, "accept_no_arbiter")
    return Keeper(context.estate, context.owner, context.say, word, word, option=option, locks=context.held)


def allowed_alone(context: Run) -> bool:
    """Whether the operator said that it may be done without the arbiter."""
    options = context.options
    return bool(getattr(options, "accept_no_arbiter", False) or getattr(options, "accept_loss", False))


def widened(context: Run, primary: str, names: Sequence[str], least: int) -> Record | None:
    """Before commits on `primary` may wait for `least` of `names`, others than the record says. Raises DrError.

    A record of another primary or timeline counts for nothing, and need not be changed.
    """
    answer = pages(context.estate).answer
    if isinstance(answer, Unknown) or answer.record.primary != primary:
        return None
    return keeper(context).widened(answer, names, least)


def changing_fast(
    context: Run, to: str, seen: Answer | None, judged: Callable[[Answer], Answer], degraded: str = ""
) -> Record | None:
    """As `changing`, on what was `seen` a moment ago, and without waiting for the copies.

    Where nothing was, or somebody has changed it since, `judged` is asked whether what is there now will do.
    """
    hand = replace(keeper(context), hurry=True)
    if seen:
        try:
            return hand.changing(seen, hand.owner.procedure, to, degraded=degraded)
        except Conflict as refused:
            if refused.kind != "revision":
                raise
    return hand.changing(judged(pages(context.estate).answer), hand.owner.procedure, to, degraded=degraded)


def changing(
    context: Run, to: str, *, system: str = "", degraded: str = "", must: bool = True, hurry: bool = False
) -> Record | None:
    """Before a transition. Raises Refused where it may not begin; without `must` a failure to write is said.

    `system`: of the cluster that it is about, where that is known. `hurry`: the copies are not waited for.
    """
    hand = replace(keeper(context), hurry=hurry)
    try:
        seen = of_system(pages(context.estate).answer, system)
        return hand.changing(seen, hand.owner.procedure, to, degraded=degraded)
    except LockLost:
        raise
    except DrError as error:
        if must:
            raise
        context.say(f"WARNING: the estate record does not say that this began: {error}")
        return None


def without(context: Run, name: str, why: str, *, system: str) -> Record | None:
    """Before the data of a standby of this cluster are replaced. Raises Refused where the record goes on naming it."""
    answer = of_system(pages(context.estate).answer, system)
    return keeper(context).without(answer, name, why)


def settled(context: Run, truth: Truth) -> Record | None:
    """After a transition, which stands whatever becomes of its record: a failure to write is said.

    Raises LockLost where another may be acting by now, who says what is so.
    """
    hand = replace(keeper(context), alone=True)  # it is so already
    try:
        return hand.settled(pages(context.estate).answer, truth)
    except LockLost:
        raise
    except DrError as error:
        context.say(f"WARNING: the estate record does not say yet what is so: {error}; ./dr deploy mends that")
        return None


def unchanged(context: Run) -> None:
    """A transition was taken back; where that cannot be written the record goes on naming it.

    Raises LockLost where another may be acting by now.
    """
    try:
        replace(keeper(context), alone=True).unchanged(pages(context.estate).answer)
    except LockLost:
        raise
    except DrError:
        return


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
