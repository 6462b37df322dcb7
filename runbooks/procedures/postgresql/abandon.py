"""Abandon: a run stopped half way and nobody goes on with it; end it for good, and give the role back where it was.

A fence is taken back only from the host that the estate record still calls the primary, whose files are as recorded,
and only once nobody else can come to take writes: a standby whose promotion had begun is stopped and looked into first.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from inventories.errors import DrError, Refused, TimedOut, VerificationFailed
from runbooks.actions.postgresql import permit
from runbooks.actions.postgresql import server as act
from runbooks.engine import history
from runbooks.engine.lock import LockLost
from runbooks.engine.procedure import Procedure
from runbooks.engine.step import Evidence, Step
from runbooks.engine.wait import until
from runbooks.hosts import Run
from runbooks.long_work.work import stop, working
from runbooks.probes.postgresql import server, stopped
from runbooks.procedures.postgresql import gates, guards, pitr_swap, writing
from runbooks.procedures.postgresql.abandon_choice import NAME, NOBODY, Abandon, AbandonOptions, Back, assess, tell
from runbooks.procedures.postgresql.restore_pitr import RESTORE_PITR, RestorePitr, RestorePitrOptions
from runbooks.procedures.postgresql.roles import layout, other_of, primary_of, told, waited_for
from runbooks.record import keep
from runbooks.record.settle import Settled, settle


def as_assessed(context: Run, state: Abandon) -> None:
    """Asked when this run itself is resumed. Raises Refused when somebody else has the role now."""
    if state.back is not Back.NOTHING:
        guards.only(guards.writers(context), {state.primary: (state.old_timeline,)})


def stop_work(context: Run, state: Abandon) -> Abandon:
    """What it left working on any host would go on beside whatever is done next, and nobody could wait for it."""
    for host in context.estate.hosts:
        if not host.reachable():
            context.say(f"WARNING: {host.name} does not answer: what the run left working there goes on")
            continue
        for unit in working(host, state.run):
            stop(host, unit)
            state = tell(context, state, f"{unit} on {host.name} is ended, whatever it had done by then")
    return state


def nothing_works(context: Run, state: Abandon) -> None:
    asked = [host for host in context.estate.hosts if host.reachable()]
    left = [f"{unit} on {host}" for host in asked for unit in working(host, state.run)]
    if left:
        raise VerificationFailed(f"{', '.join(left)} still works", "systemctl status of it says why, on that host")


def hold_down(context: Run, state: Abandon) -> Abandon:
    """So that its promotion cannot come late."""
    act.fence(other_of(context, state), layout(context), f"{NAME} of {state.run}, run {context.run_dir.name}")
    return state


def was_never_promoted(context: Run, state: Abandon) -> None:
    """Raises VerificationFailed for one that was primary, for however short a time."""
    host, paths = other_of(context, state), layout(context)
    seen = server.control_data(host, paths.version)
    if seen.state not in stopped.IN_RECOVERY:
        raise VerificationFailed(
            f"{host.name} has been promoted after all: it is {seen.state}", "./dr start-cluster finds who was last"
        )


def give_back(context: Run, state: Abandon) -> Abandon:
    """Recorded before the start, whose guard reads it: alone where the standby is held down, else as it was."""
    if state.back is Back.SWAP:
        _put_back(context, state)
        return state
    host, paths = primary_of(context, state), layout(context)
    if told(context, host).is_primary:
        return state
    if state.hold:
        why = f"{state.primary} is primary again, {state.other} is held down"
        keep.changing(context, state.primary, system=state.system, degraded=why)
        act.forget_names(host, paths)
    else:
        keep.unchanged(context)
        if state.synchronous:
            act.write_names(host, paths, waited_for(context, state), context.estate.least)
    seen = stopped.survey((host,), paths)[0]
    act.as_primary(host, paths)
    act.unfence(host, paths)
    permit.grant(host, seen.system, server.as_lsn(seen.checkpoint), f"{NAME}, run {context.run_dir.name}")
    try:
        act.start(host, paths)
    except TimedOut:
        context.say(f"{host.name} still recovers")
    finally:
        permit.withdraw(host)
    return state


def _put_back(context: Run, state: Abandon) -> None:
    """By the undo of restore-pitr itself, with what that run knew."""
    past = history.read_history(Path(state.journal))
    if past is None:
        raise Refused(f"the journal of {state.run} is gone", NOBODY)
    options = history.reload_options(past, RestorePitrOptions(yes=True))
    theirs = replace(context, run_dir=past.run_dir, options=options)
    known: RestorePitr = history.reload_state(past, RESTORE_PITR.initial(theirs))
    pitr_swap.put_back(theirs, known)


def serves(context: Run, state: Abandon) -> None:
    until(
        lambda: server.look(primary_of(context, state), layout(context).version),
        context.remaining(),
        what=f"{state.primary} to be the primary",
        accept=lambda node: node.is_primary,
    )
    guards.primary_alone(context, state)


def end(context: Run, state: Abandon) -> Abandon:
    """Settle the record, end the journal, and name what stays behind."""
    _settle(context, state)
    if state.journal:
        history.abandon(Path(state.journal), context.run_dir.name)
    else:
        state = tell(context, state, f"the journal of {state.run} is on another machine; it cannot be resumed")
    for node in server.survey(context.estate):
        if node.fenced and (state.run in node.fenced or context.run_dir.name in node.fenced):
            state = tell(context, state, f"{node.name} stays fenced until ./dr rejoin {node.name} --yes")
    if state.procedure.startswith(("restore-", "tdengine-re")):
        state = tell(context, state, "a lease that it held ends by itself, --replace drops an open side cluster")
    return state


def _settle(context: Run, state: Abandon) -> None:
    """By what the hosts are; without a primary what the record said before still holds, unless one may be promoted."""
    try:
        settled = settle(keep.keeper(context))
        context.say(settled.says)
        if settled.what is Settled.LEFT and not state.unproved:
            keep.unchanged(context)
    except LockLost:
        raise
    except DrError as error:
        context.say(f"WARNING: the estate record does not say yet what is so: {error}; ./dr deploy mends that")


ABANDON: Procedure[Abandon] = Procedure(
    name=NAME,
    task="runbook.abandon",
    summary="End a run for good that stopped half way, and take its fence back.",
    purpose=(
        "A runbook stopped half way and nobody wants to go on with it. It can never be resumed after this. Where "
        "nobody takes writes and the host that the estate record still calls the primary is held down by that run, it "
        "gets its role back. Refuses where nobody knows whose role it is, for a primary that is not as recorded, and "
        "where the other host may have been promoted and cannot be looked at."
    ),
    gate=(gates.ONE_ANSWERS,),
    initial=lambda context: Abandon(),
    steps=(
        Step(
            name="assess", role="all hosts", budget="start.look", action=assess, observes=True,
            says="Find the run, who is primary by the record, and what holds that host down.",
            evidence=Evidence("a run has stopped half way; nobody takes writes, or no role is given back"),
            still=Evidence("nobody takes writes but the primary by the record", as_assessed),
            commands=(
                "cat /var/lib/mystocks-dr/estate.json   # on the backup host",
                "cat /etc/mystocks-dr/fenced   # names the run",
            ),
        ),
        Step(
            name="stop-work", role="all hosts", budget="work.stop", action=stop_work, destructive=True,
            says="End what that run left working: a rebuild, a restore, a side cluster's start.",
            evidence=Evidence("nothing of it works on any host that answers", nothing_works),
            commands=(
                "grep -l RUN /var/lib/mystocks-dr-work/*/begun   # each folder is named after its unit",
                "systemctl stop UNIT",
            ),
        ),
        Step(
            name="hold-down", role="the other host", budget="fence", action=hold_down, destructive=True,
            when=lambda context, state: state.hold, when_says="its promotion may have begun",
            says="Stop the host that was to be promoted and mark it fenced, so that its promotion cannot come late.",
            evidence=Evidence("it ended as a standby: it was never primary", was_never_promoted),
            commands=(
                "echo abandon > /etc/mystocks-dr/fenced; systemctl mask --now postgresql@17-main",
                "pg_controldata /var/lib/postgresql/17/main   # in archive recovery, or shut down in recovery",
            ),
        ),
        Step(
            name="give-back", role="primary by the record", budget="start.recover", action=give_back, destructive=True,
            when=lambda context, state: state.back is not Back.NOTHING, when_says="that run holds it down",
            says="Take the fence back and start it as the primary that it was.",
            evidence=Evidence("it is the one primary, on the timeline of the record", serves),
            commands=(
                "rm -f /etc/mystocks-dr/fenced /var/lib/postgresql/17/main/standby.signal",
                "touch /etc/mystocks-dr/allow-start; systemctl unmask postgresql@17-main",
                "systemctl start postgresql@17-main",
            ),
        ),
        replace(
            writing.WRITE_PATH,
            when=lambda context, state: state.back is not Back.NOTHING, when_says="a role was given back",
        ),
        Step(
            name="end", role="backup", budget="ssh.command", action=end,
            says="Settle the estate record and end the run's journal; name what stays behind.",
            evidence=Evidence("the run cannot be resumed any more"),
        ),
    ),
)  # fmt: skip

__all__ = ["ABANDON", "Abandon", "AbandonOptions"]
