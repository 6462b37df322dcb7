"""Failover: the primary is lost; fence it, promote the standby, prove that writing works."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from inventories.catalog.load import load_recovery
from inventories.errors import DrError, Refused, TargetFailed, Unreachable, VerificationFailed
from runbooks.actions import fencing
from runbooks.actions.postgresql import server as act
from runbooks.engine.budgets import budget
from runbooks.engine.context import Options
from runbooks.engine.procedure import Procedure
from runbooks.engine.step import Evidence, Step
from runbooks.hosts import Host, Run
from runbooks.knock import Door
from runbooks.probes import app, network
from runbooks.probes.postgresql import server
from runbooks.procedures.postgresql import archiving, gates, promoting, recording, verifying, writing
from runbooks.procedures.postgresql.roles import Roles, layout, other_of
from runbooks.record import keep
from runbooks.record.read import of_system, read
from runbooks.record.types import Answer, Copy, Known, Unknown

FRESH_S = 5.0  # what was seen of the old primary longer ago, by a run that is resumed, is asked anew


class FailoverOptions(Options):
    """`accept_loss`: promote although acknowledged rows may be missing. `accept_split_brain`: promote unfenced.

    `accept_no_arbiter`: take the newest copy of the estate record at its word, and write copies only.
    """

    accept_loss: bool = False
    accept_no_arbiter: bool = False
    accept_split_brain: bool = False


class Failover(Roles):
    """`possible_loss_bytes`: WAL that the old primary may have acknowledged alone; None when nobody can tell."""

    possible_loss_bytes: int | None = None
    loss_reason: str = ""
    unreplayed_bytes: int = 0
    # Of the old primary, at that unix time.
    seen_at: float = 0.0
    ssh_answers: bool = False
    hangs: bool = False
    why: str = ""
    fenced_by: str = ""
    recorded: Known | None = None  # what the arbiter said; the next change is compared with it


def assess(context: Run, state: Failover) -> Failover:
    """Choose the standby that has every row by the estate record, and say what promoting it may lose.

    Refuses while a primary lives.
    """
    with ThreadPoolExecutor(2) as pool:
        recorded = pool.submit(read, context.estate)
        written = pool.submit(application_writes, context)
        nodes = server.survey(context.estate)
        answer, writes_to = recorded.result(), written.result()
    alive = [node for node in nodes if node.is_primary]
    if writes_to and not alive:
        raise Refused(
            f"a primary at {writes_to} takes writes from {context.estate.app}, although nobody here can reach it",
            "the operator's own network is cut, not the estate's: run this from another place",
        )
    if alive:
        raise Refused(
            f"{alive[0].name} is a primary that answers and takes writes",
            "./dr switchover moves the role without loss",
        )
    standbys = [node for node in nodes if node.is_standby]
    if not standbys:
        seen = ", ".join(f"{node.name}: {node.why or 'its server does not answer'}" for node in nodes)
        raise Refused(f"there is no standby to promote ({seen})", server.way_to_a_primary(nodes))
    best = chosen(answer, standbys)
    old = succeeded(answer, nodes, best)
    unreplayed = (best.written or 0) - (best.replayed or 0)
    answer = of_system(answer, best.system)
    loss, reason = possible_loss(answer, best, context.options.accept_no_arbiter)
    context.say(
        f"{best.name} received up to {server.as_lsn(best.written or 0)}, "
        f"{unreplayed} bytes of it still to be replayed; "
        f"possible loss: {'unknown' if loss is None else f'{loss} bytes'} ({reason})"
    )
    allowed = load_recovery().limits.max_loss_bytes
    if (loss is None or loss > allowed) and not context.options.accept_loss:
        raise Refused(
            f"promoting {best.name} may lose acknowledged rows: {reason}",
            f"{_way_on(answer, old)}; ./dr failover --yes --accept-loss promotes all the same",
        )
    return state.model_copy(
        update={
            "primary": best.name, "other": old.name, "old_timeline": best.timeline or 0, "possible_loss_bytes": loss,
            "loss_reason": reason, "unreplayed_bytes": unreplayed, **_seen(old),
            "recorded": answer if isinstance(answer, Known) else None, "system": best.system,
        }
    )  # fmt: skip


def _seen(old: server.Node) -> dict[str, object]:
    return {"seen_at": time.time(), "ssh_answers": old.ssh, "hangs": old.hangs, "why": old.why}


def chosen(answer: Answer, standbys: Sequence[server.Node]) -> server.Node:
    """Of those that the record says have every row, if any answers, the one with most on the newest timeline."""
    names = () if isinstance(answer, Unknown) else answer.record.synchronous
    named = [node for node in standbys if node.name in names]
    return max(named or standbys, key=lambda node: (node.timeline or 0, node.written or 0))


def succeeded(answer: Answer, nodes: Sequence[server.Node], best: server.Node) -> server.Node:
    """The primary that is lost: the record names it; of two hosts it is the other one. Raises Refused for neither."""
    others = [node for node in nodes if node is not best]
    if not isinstance(answer, Unknown):
        for node in others:
            if node.name == answer.record.primary:
                return node
    silent = [node for node in others if not node.is_standby]
    if len(others) == 1 or len(silent) == 1:
        return (silent or others)[0]
    why = answer.why if isinstance(answer, Unknown) else f"it names {answer.record.primary}"
    raise Refused(
        f"the estate record does not say which of {', '.join(node.name for node in others)} was primary ({why}), so "
        "nobody knows which one to fence",
        "./dr record.show shows what each host has of it; ./dr status shows what each host is",
    )


def _way_on(answer: Answer, old: server.Node) -> str:
    """What else than accepting a loss leads on."""
    if not isinstance(answer, Unknown) and answer.record.changing:
        change = answer.record.changing
        return f"./dr {change.procedure} --resume --yes ends what was begun, run {change.run}; {_old_one_back(old)}"
    if isinstance(answer, Copy):
        return f"{_old_one_back(old)}; ./dr failover --yes {keep.NO_ARBITER} takes that copy at its word"
    return _old_one_back(old)


def _old_one_back(old: server.Node) -> str:
    if old.hangs:
        return f"see what holds PostgreSQL up on {old.name}, which has them if its disk is sound"
    if old.ssh and old.installed and not old.fenced:
        return f"./dr start-cluster starts {old.name} again, which has them if its disk is sound"
    return f"bring {old.name} back if you can, then ./dr start-cluster starts it"


def application_writes(context: Run) -> str | None:
    """Address of the host that committed a row for the application just now; None when none did."""
    try:
        context.estate.app.must_answer()
        attempt = app.try_to_write(context.estate.app, budget("assess.write"))
    except DrError as error:
        context.say(f"WARNING: {context.estate.app} cannot be asked whether it still writes: {error}")
        return None
    return attempt.host if attempt.wrote else None


# Until one of these has promoted its standby, which begins a timeline, nobody commits without it: what the record said
# before still holds of the one that was to be promoted.
MOVES = ("failover", "switchover")


def possible_loss(answer: Answer, best: server.Node, believe_copy: bool = False) -> tuple[int | None, str]:
    """Bytes and why: nothing where the record says that this standby had every acknowledged row, else unknown.

    A record of another timeline, or one that names another primary's end, counts for nothing.
    """
    if isinstance(answer, Unknown):
        return None, answer.why
    record = answer.record
    if record.primary == best.name:
        return None, f"the record on {answer.at} calls {best.name} itself the primary, and it is a standby"
    if record.changing and (record.changing.procedure not in MOVES or record.changing.to != best.name):
        return None, record.changing.says
    if record.timeline != best.timeline:
        return None, (
            f"the record on {answer.at} is of timeline {record.timeline} and {best.name} is on {best.timeline}: "
            "it counts for nothing"
        )
    if best.name not in record.synchronous:
        return None, f"commits have not waited for {best.name} since {record.since}: {record.why}"
    if isinstance(answer, Copy) and not believe_copy:
        return None, f"the newest copy of the record, on {answer.at}, may not be the newest: {answer.why}"
    return 0, f"every commit has waited for {best.name} since {record.since}"


def _record(context: Run, state: Failover) -> None:
    if state.recorded:
        keep.changing_fast(context, state.primary, state.recorded)
    else:
        keep.changing(context, state.primary, system=state.system)


def begin(context: Run, state: Failover) -> Failover:
    """Record that a failover is under way while the old primary is fenced: neither waits for the other."""
    with ThreadPoolExecutor(1) as pool:
        recorded = pool.submit(_record, context, state)
        try:
            state = fence(context, state)
        except Refused:
            with suppress(DrError):
                recorded.result()
            keep.unchanged(context)  # nothing was touched
            raise
        recorded.result()
    return state


def fence(context: Run, state: Failover) -> Failover:
    """Over SSH where it answers, else by the host's hook, and at last by the operator's word; with none, refuse.

    A way that fails or hangs leads on to the next one. Raises Refused, or TargetFailed where SSH was tried.
    """
    old, state = other_of(context, state), _as_it_is_now(context, state)
    failed = []
    try:
        _over_ssh(context, state)
        return state.model_copy(update={"fenced_by": "ssh"})
    except DrError as error:
        failed.append(str(error))
    if old.entry.fence_command:
        context.say(f"{failed[-1]}; its hook is next")
        try:
            fencing.power_off(old, budget("fence.hook"))
            return state.model_copy(update={"fenced_by": "hook"})
        except DrError as error:
            failed.append(str(error))
    else:
        failed.append("the inventory gives it no fence_command")
    if context.options.accept_split_brain:
        why = "; ".join(failed)
        context.say(f"WARNING: {old.name} is not fenced ({why}); if it lives, it takes writes that nobody sees again")
        return state.model_copy(update={"fenced_by": "nobody (accepted)"})
    # Over SSH it may be half done by now: that is no refusal, after which nothing would be touched.
    raise (TargetFailed if state.ssh_answers else Refused)(
        f"{old.name} cannot be fenced: {'; '.join(failed)}",
        f"make sure by hand that {old.name} is off, then ./dr failover --yes --accept-split-brain",
    )


def _as_it_is_now(context: Run, state: Failover) -> Failover:
    """Raises Refused when the old primary has come back meanwhile."""
    if time.time() - state.seen_at < FRESH_S:
        return state
    old = server.look(other_of(context, state), layout(context).version)
    if old.is_primary:
        raise Refused(
            f"{old.name} is a primary that answers and takes writes again",
            "./dr switchover moves the role without loss",
        )
    return state.model_copy(update=_seen(old))


def _over_ssh(context: Run, state: Failover) -> None:
    old = other_of(context, state)
    if not state.ssh_answers:
        raise Unreachable(f"SSH does not reach {old.name} ({state.why})")
    if state.hangs:
        context.say(f"{old.name}: {state.why}; it is killed over SSH")
    reason = f"failover to {state.primary}, run {context.run_dir.name}"
    act.fence(old, layout(context), reason, 0 if state.hangs else budget("fence.ssh"))


def prove_fence(context: Run, state: Failover) -> None:
    """Every client's view must agree: no write is taken, and no connection either, since a slow host is not a dead one.

    A client that cannot be asked has seen nothing: one besides the new primary must have looked, or the old one itself
    must have said over SSH that nobody listens. Raises VerificationFailed otherwise.
    """
    if state.fenced_by.startswith("nobody"):
        return
    old, estate, seconds = other_of(context, state), context.estate, budget("fence.prove")
    with ThreadPoolExecutor(1) as pool:
        attempt = pool.submit(_write_from_app, context, old, seconds)
        doors = network.look_from((estate.host(state.primary), estate.backup, estate.app), old, 5432, seconds)
        tried = attempt.result()
    if tried and not tried.refused:
        raise VerificationFailed(
            f"the fence leaks: {old.name} {'took a write' if tried.wrote else 'got as far as a commit'} "
            f"from {estate.app}",
            f"cut {old.name} off by hand before anything is promoted",
        )
    if open_from := [name for name, door in doors.items() if door is Door.OPEN]:
        raise VerificationFailed(
            f"the fence leaks: {old.name} still listens on its port 5432, seen from {', '.join(open_from)}"
        )
    _somebody_looked(context, state, doors)
    if tried:
        context.say(f"a write to {old.name} from {estate.app} failed as it must: {tried.error}")


def _write_from_app(context: Run, old: Host, seconds: float) -> app.WriteAttempt | None:
    """None when the application host cannot be asked."""
    try:
        context.estate.app.must_answer()
        return app.try_to_write(context.estate.app, seconds, old.name)
    except DrError as error:
        context.say(f"WARNING: {context.estate.app} cannot try to write to {old.name}: {error}")
        return None


def _somebody_looked(context: Run, state: Failover, doors: Mapping[str, Door]) -> None:
    """Say what each found of the old primary's port; silence is what a host that is off, and a cut line, sound like."""
    asked = [name for name, door in doors.items() if door is not Door.UNKNOWN]
    not_asked = [name for name in doors if name not in asked]
    told = ", ".join(f"{doors[name].value} from {name}" for name in asked)
    away = f"; {' and '.join(not_asked)} could not be asked" if not_asked else ""
    context.say(f"port 5432 of {state.other}: {told or 'nobody has looked'}{away}")
    if state.fenced_by == "ssh" or [name for name in asked if name != state.primary]:
        return
    if context.options.accept_split_brain:
        context.say(f"WARNING: that {state.other} is fenced is its hook's word alone")
        return
    raise VerificationFailed(
        f"the fence is not proved: {' and '.join(not_asked)} could not be asked whether {state.other} still serves",
        f"bring one of them back, or make sure by hand that {state.other} is off, then "
        "./dr failover --yes --accept-split-brain",
    )


def promote(context: Run, state: Failover) -> Failover:
    return promoting.promoted(context, state, "./dr failover --resume --yes")


FAILOVER: Procedure[Failover] = Procedure(
    name="failover",
    summary="Promote the standby because the primary is lost.",
    purpose=(
        "The primary's host or server is gone and writing must go on. Refuses while a primary still takes writes, "
        "when the standby may lack acknowledged rows, and when the old primary can be fenced neither over SSH nor by "
        "its hook."
    ),
    gate=(gates.TWO_NODES, gates.ONE_ANSWERS),
    initial=lambda context: Failover(),
    steps=(
        Step(
            name="assess", role="standby", budget="ssh.command", action=assess, observes=True,
            says="Look at every node and at the estate record; choose the standby; state in bytes what may be lost.",
            evidence=Evidence("no node takes writes, one standby answers, the possible loss is within the objective"),
            commands=(
                "psql -c 'select pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()'",
                "cat /var/lib/mystocks-dr/estate.json   # on the backup host",
            ),
        ),
        Step(
            name="fence", role="old primary", budget="fence", action=begin, destructive=True,
            says="Record that the role moves; stop the old primary, mask its unit and mark it fenced; where SSH cannot "
            "reach it, cut its power.",
            evidence=Evidence("a write to the old primary fails, and nobody finds its port open", prove_fence),
            commands=(
                "echo fenced > /etc/mystocks-dr/fenced",
                "systemctl mask --now postgresql@17-main",
                "# unreachable: cut the power, and make sure",
            ),
        ),
        Step(
            name="promote", role="standby", budget="promote",
            action=promote,
            says="Promote the standby, which holds WAL for the old primary; remove what keeps it from that, once.",
            evidence=Evidence("it is out of recovery, on a higher timeline"),
            commands=(
                "rm -f /etc/postgresql/17/main/conf.d/90-synchronous.conf",
                "psql -c 'select pg_reload_conf(), pg_promote(true, 60)'",
            ),
        ),
        writing.WRITE_PATH,
        Step(
            name="say-degraded", role="backup", budget="ssh.command", action=recording.degraded,
            says="Confirm the new primary in the estate record, and that every new row exists once; say it aloud.",
            evidence=Evidence("the record says so, or that it does not was said"),
        ),
        archiving.ARCHIVE,
        writing.DRAIN,
        verifying.verification(without="fenced"),
        archiving.BACKUP,
    ),
)  # fmt: skip
