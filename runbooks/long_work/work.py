"""Have a host do what takes long, as a unit of its own, and wait for its end; who comes again finds it and waits on.

The end of an SSH command is not the end of what it started: a run that is killed leaves its pg_rewind working, and the
next one would start a second into the same directory. So the unit is named after the work and never after the run, at
most one of those that work on the same thing lives at a time, and none is begun before every process of the one before
is proved dead. Nothing secret may be in the words of a work: they can be read on the host.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from inventories.errors import BadInput, Refused, TargetFailed, TimedOut, Unreachable
from runbooks.engine.context import Context
from runbooks.engine.moving import while_it_moves
from runbooks.engine.process import user_at_machine
from runbooks.engine.wait import until
from runbooks.hosts import Host, Ran, telling_line
from runbooks.long_work.scripts import (
    AFTER,
    ALIVE,
    BEGIN,
    BUSY,
    FOLDER,
    LEAVE,
    LIST,
    LOOK,
    MANNERS,
    READ,
    SHARES,
    SILENT,
    STOP,
    TAKE,
    TAKEN,
)
from runbooks.long_work.seen import Begun, Phase, Seen, parse, parse_list

_PATIENCE = 20  # tenths of a second that a look waits for the end by itself
_TOLD_EVERY_S = 30.0
_SOON_S = 5.0
_LEAST_MIB = 1.0  # less than this in all of `work.silent` is a program that waits, not one that works


@dataclass(frozen=True)
class Work:
    """`kind` of work `on` something that bears one at a time: the data directory, a side cluster, a job.

    `leaves`: what it starts is meant to outlive it, such as a server. `queues_s`: another run's is waited for so long
    before this is begun. `expects`: how long it may take, for people. `gives_way`: whoever else wants the host's
    processors and disk comes first, because production lives there. `pace`: more words, which say how fast it is done
    and not what: who resumes it with others waits for what works already, and begins anew what was ended for that.
    """

    on: str
    kind: str
    argv: tuple[str, ...]
    user: str = "postgres"
    at: str = "/"
    leaves: bool = False
    silent: str | float = "work.silent"
    queues_s: float = 0.0
    expects: str = ""
    gives_way: bool = False
    pace: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9-]+", self.on) or not re.fullmatch(r"[a-z0-9_]+", self.kind):
            # A kind has no dash: it tells where `on` ends.
            raise BadInput(f"{self.unit} is no name for a unit of ours", "lower-case letters, digits and dashes are")

    @property
    def group(self) -> str:
        """A pattern of the units of which one may live; those of a longer name are none of them."""
        return rf"mystocks-{self.on}-[a-z0-9_]+\.service"

    @property
    def unit(self) -> str:
        return f"mystocks-{self.on}-{self.kind}.service"

    @property
    def words_of_pace(self) -> str:
        return " ".join(self.pace)

    @property
    def digest(self) -> str:
        """Tells what exactly is asked for from other work of the same kind."""
        return hashlib.sha256(json.dumps([self.user, self.at, *self.argv]).encode()).hexdigest()[:16]


class Overtaken(Refused):
    """Another run has begun the same since: nothing else may be done in its place by this one."""


def _silent(_: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Asker:
    """On whose behalf: only the same run goes on with what it began. `way_on`: the command that does so."""

    run: str
    way_on: str
    say: Callable[[str], None] = _silent
    granted: Callable[[float], None] = lambda _: None
    note: Callable[..., None] = lambda *_, **__: None
    hears: bool = True  # takes an outcome that nobody heard for its own; else it only joins what still works
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def of(cls, context: Context[Any, Any]) -> Asker:
        """The run that this context is of."""
        procedure = context.owner.procedure if context.owner else "RUNBOOK"
        return cls(
            context.run_dir.name, f"./dr {procedure} --resume --yes", context.say, context.granted.add, context.note,
            clock=context.clock,
        )  # fmt: skip

    @classmethod
    def door(cls, command: str, say: Callable[[str], None] = _silent) -> Asker:
        """A command that keeps no journal: repeated, it joins what it left working, and believes no older outcome."""
        return cls(command, command, say, hears=False)


def look(host: Host, work: Work, patience: int = 0, timeout: float = 30.0) -> Seen:
    """What the host says of it. Raises Unreachable; whatever else keeps it from telling is `Phase.UNKNOWN`."""
    words = (work.group, work.unit, patience)
    try:
        ran = host.run("sh -c %s sh %s %s %s", LOOK, *words, timeout=patience / 10 + timeout, expect=None)
    except (TargetFailed, TimedOut) as error:
        return Seen(work.unit, Phase.UNKNOWN, why=str(error))
    return parse(work.unit, ran)


def under_way(host: Host, work: Work, asker: Asker) -> bool:
    """Whether this very run has begun it and not heard its outcome yet. Raises what `run_long` refuses with."""
    return _is_mine(_known(host, work), work, asker)


def run_long(
    host: Host, work: Work, asker: Asker, *, expect: int | None = 0, prepare: Callable[[], None] | None = None
) -> Ran:
    """Have it done, and wait for its end however long that takes, as long as it makes progress; what it printed.

    One of this run's that works already, or has ended unheard, is taken instead of a second one; `prepare` is called
    only where it is begun anew. Raises Refused when other work goes on there or nobody can tell, TargetFailed
    (another exit code than `expect`, or a signal, or a restart of the host), TimedOut (no progress), Unreachable.
    """
    begin_long(host, work, asker, prepare)
    return _outcome(host, work, asker, _wait(host, work, asker), expect)


def begin_long(host: Host, work: Work, asker: Asker, prepare: Callable[[], None] | None = None) -> None:
    """Have it begun, or find it begun by this run; `run_long` waits for it. Raises what that refuses with."""
    seen = _known(host, work)
    if seen.phase is Phase.RUNNING and not _is_mine(seen, work, asker) and work.queues_s:
        seen = _let_end(host, work, asker, seen)
    if _is_mine(seen, work, asker):
        asker.say(f"{work.unit} on {host} is of this run and {_state(seen)}: it is not begun a second time")
        if seen.phase is Phase.RUNNING and seen.begun.pace != work.words_of_pace:
            asker.say(
                f"it keeps the pace that it was begun with; to begin it at another end it, systemctl stop {work.unit} "
                f"on {host}, and give the same command again"
            )
        return
    if seen.phase is Phase.RUNNING:
        raise _other(host, seen, asker)
    if prepare:
        prepare()
    _begin(host, work, asker)
    asker.say(f"{host}: {work.kind} works as {work.unit}{f', {work.expects}' if work.expects else ''}")


def require_idle(host: Host, on: str, asker: Asker) -> None:
    """Raises Refused while another run's work goes on there, or when nobody can tell; this run's own is no reason."""
    seen = _known(host, Work(on, "look", ()))
    if seen.phase is Phase.RUNNING and seen.begun.run != asker.run:
        raise _other(host, seen, asker)


def others_work(host: Host, on: str, asker: Asker) -> Refused | None:
    """The refusal for another run's work that goes on there; None also where nobody can tell. Raises Unreachable."""
    seen = look(host, Work(on, "look", ()), timeout=_SOON_S)
    return _other(host, seen, asker) if seen.phase is Phase.RUNNING and seen.begun.run != asker.run else None


def at_work(host: Host, timeout: float = _SOON_S * 3) -> dict[str, Begun]:
    """Every unit that works there, and on whose behalf. Raises TargetFailed when nobody can tell, Unreachable."""
    return parse_list(host.name, host.run("sh -c %s sh", LIST, timeout=timeout, expect=None))


def working(host: Host, run: str) -> tuple[str, ...]:
    """The units that work there on behalf of this run. Raises what `at_work` does."""
    return tuple(unit for unit, begun in at_work(host).items() if begun.run == run)


def stop(host: Host, unit: str) -> None:
    """End it with everything that it started; returns when it is over."""
    host.run(STOP, unit, timeout=150)


def _known(host: Host, work: Work) -> Seen:
    """Raises Refused when nobody can tell."""
    seen = look(host, work)
    if seen.phase is Phase.UNKNOWN:
        mends = f"{seen.hint} on {host}" if seen.hint else f"systemctl status {work.unit} on {host} must answer first"
        raise Refused(f"nobody can tell whether {work.unit} still works on {host}: {seen.why}", f"{mends}; then repeat")
    return seen


def _is_mine(seen: Seen, work: Work, asker: Asker) -> bool:
    same = _is_asked_by(seen, work, asker)
    if seen.phase is Phase.RUNNING:
        return same and seen.alive == (work.unit,)
    heard = seen.end is not None and (seen.end.code == 0 or seen.begun.pace == work.words_of_pace)
    return same and asker.hears and seen.phase is Phase.ENDED and heard


def _is_asked_by(seen: Seen, work: Work, asker: Asker) -> bool:
    return (seen.begun.run, seen.begun.digest) == (asker.run, work.digest)


def _require_not_replaced(host: Host, work: Work, asker: Asker, seen: Seen) -> None:
    """Whoever begins the same after this one has ended, while the line is broken, overwrites its outcome.

    Raises Overtaken. While another kind works its own folder is not what was looked into, and waits to be.
    """
    looked_into = not seen.alive or work.unit in seen.alive
    if seen.phase is Phase.ABSENT or not looked_into or _is_asked_by(seen, work, asker):
        return
    begun = seen.begun
    whose = f", begun by {begun.owner} (run {begun.run})" if begun.run else ""
    raise Overtaken(
        f"{work.unit} on {host} is of another run by now{whose}: what became of this one's is lost",
        begun.way_on and f"{begun.way_on} goes on waiting for it",
    )


def _let_end(host: Host, work: Work, asker: Asker, seen: Seen) -> Seen:
    """What is seen when another run's work is over. Raises Refused when it is not, within `work.queues_s`."""
    asker.say(f"{host}: {seen.alive[0]} of {seen.begun.run or 'somebody else'} works; its end is waited for")
    try:
        return until(
            lambda: _known(host, work), work.queues_s, what=f"the end of {seen.alive[0]} on {host}",
            accept=lambda seen: seen.phase is not Phase.RUNNING, every=1, clock=asker.clock,
        )  # fmt: skip
    except TimedOut as error:
        raise _other(host, seen, asker) from error


def _state(seen: Seen) -> str:
    return f"has worked for {seen.age_s:.0f} s" if seen.phase is Phase.RUNNING else "has ended"


def _other(host: Host, seen: Seen, asker: Asker) -> Refused:
    unit, begun = next(iter(seen.alive), seen.unit), seen.begun  # it may have ended since it was in the way
    whose = f", begun {seen.age_s:.0f} s ago by {begun.owner} (run {begun.run})" if begun.run else ""
    # Of this very run, but asked for in other words: to repeat it would be refused again.
    wait = f"{begun.way_on} goes on waiting for it; " if begun.way_on and begun.run != asker.run else ""
    return Refused(
        f"{unit} works on {host}{whose}; a second one would spoil its work",
        f"{wait}systemctl stop {unit} on {host} ends it, then repeat",
    )


def _begin(host: Host, work: Work, asker: Asker) -> None:
    begun = Begun(asker.run, user_at_machine(), work.digest, asker.way_on, work.words_of_pace)
    manners, shares = (MANNERS, SHARES) if work.gives_way else ("", "")
    around = ("sh", "-c", LEAVE, "sh", work.unit, work.user, shares) if work.leaves else ()
    user = "root" if work.leaves else work.user
    # systemd would take each ${...} and $$ for its own.
    argv = [word.replace("$", "$$") for word in (*around, *work.argv, *work.pace)]
    words = (work.group, work.unit, user, work.at, json.dumps(asdict(begun)), AFTER, manners, *argv)
    ran = host.run("sh -c %s sh" + " %s" * len(words), BEGIN, *words, timeout=60, expect=None)
    if ran.rc == ALIVE:
        raise _other(host, look(host, work), asker)
    if ran.rc in (BUSY, SILENT):
        why = "systemd does not answer" if ran.rc == SILENT else "somebody else is beginning work there"
        raise Refused(
            f"{host}: {work.unit} was not begun: {why}",
            f"systemctl status on {host} shows why; then repeat",
        )
    if ran.rc == TAKEN:
        raise Refused(
            f"{host}: {work.unit} was not begun: {telling_line(ran.stderr)}",
            f"systemctl unmask {work.unit} on {host}, or remove that file and systemctl daemon-reload; then repeat",
        )
    if ran.rc:
        raise TargetFailed(f"{host}: {work.unit} could not be begun: {telling_line(ran.stderr)}")


def _wait(host: Host, work: Work, asker: Asker) -> Seen:
    """The look at which it was over."""
    told = [asker.clock()]

    def probe() -> Seen:
        seen = look(host, work, _PATIENCE)
        if seen.phase is Phase.UNKNOWN:
            raise Unreachable(f"{host} does not say what {work.unit} does: {seen.why}")
        _require_not_replaced(host, work, asker, seen)
        return seen

    def over(seen: Seen) -> bool:
        if seen.phase is Phase.RUNNING and asker.clock() - told[0] > _TOLD_EVERY_S:
            told[0] = asker.clock()
            moved = f"{seen.bytes / 2**20:.0f} MiB read and written"
            asker.say(f"{host}: {work.kind} has worked for {seen.age_s:.0f} s, {moved} by what lives of it")
        return seen.phase is not Phase.RUNNING

    try:
        return while_it_moves(
            probe, work.silent, what=f"{work.unit} on {host}", accept=over,
            far=lambda seen: seen.far, least=_LEAST_MIB, granted=asker.granted, clock=asker.clock,
            hint=f"{asker.way_on} waits on; systemctl stop {work.unit} on {host} ends it; "
            f"what it said is there in {FOLDER}/{work.unit}",
        )  # fmt: skip
    except KeyboardInterrupt:
        asker.say(f"{work.unit} goes on working on {host}; {asker.way_on} waits for it")
        raise


def _outcome(host: Host, work: Work, asker: Asker, seen: Seen, expect: int | None) -> Ran:
    if seen.end is None:
        raise TargetFailed(
            f"{host}: {work.unit} has left no outcome: {seen.why or 'somebody removed what it left'}",
            f"{asker.way_on} begins it anew",
        )
    printed = host.run(READ, work.unit, work.unit, timeout=60)
    host.run(TAKE, work.unit, work.unit)
    end = seen.end
    asker.note("long work", unit=work.unit, host=host.name, result=end.result, seconds=end.seconds)
    said = telling_line(f"{printed.stdout}\n{printed.stderr}")
    if end.code is None:
        raise TargetFailed(
            f"{host}: {work.unit} was ended by signal {end.status} ({end.result}) after {end.seconds:.0f} s: {said}"
        )
    if expect is not None and end.code != expect:
        raise TargetFailed(f"{host}: {work.kind} ended with {end.code}: {said}")
    return Ran(end.code, printed.stdout, printed.stderr, end.seconds)
