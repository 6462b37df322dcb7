"""Failover: the primary is lost; fence it, promote the standby, prove that writing works."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import ClassVar

from inventories.catalog.load import load_recovery
from inventories.errors import DrError, Refused, TargetFailed, Unreachable
from runbooks.actions import fencing
from runbooks.actions.postgresql import server as act
from runbooks.engine.budgets import budget
from runbooks.engine.context import Options
from runbooks.engine.procedure import Procedure
from runbooks.engine.step import Evidence, Grows, Step
from runbooks.hosts import Run
from runbooks.knock import Door
from runbooks.probes import app, network
from runbooks.probes.postgresql import server
from runbooks.procedures.postgresql import (
    ahead,
    archiving,
    electing,
    fence_proof,
    gates,
    guards,
    promoting,
    recording,
    validating,
    verifying,
    writing,
)
from runbooks.procedures.postgresql.fence_proof import Fenced
from runbooks.procedures.postgresql.roles import layout, other_of, primary_of
from runbooks.record import keep
from runbooks.record.arbiter import FileOn
from runbooks.record.read import of_system, read
from runbooks.record.types import Answer, Copy, Known, Record, Unknown

RECORD_NOTED = "waited for the estate record"  # which drills measure
FRESH_S = 5.0  # what was seen of the old primary longer ago, by a run that is resumed, is asked anew


class FailoverOptions(Options):
    """`accept_loss`: promote although acknowledged rows may be missing. `accept_split_brain`: promote unfenced.

    `accept_no_arbiter`: take the newest copy of the estate record at its word, and write copies only.
    """

    added_later: ClassVar[frozenset[str]] = frozenset({"accept_loss", "accept_no_arbiter", "accept_split_brain"})
    accept_loss: bool = False
    accept_no_arbiter: bool = False
    accept_split_brain: bool = False


class Failover(Fenced):
    """`possible_loss_bytes`: WAL that the old primary may have acknowledged alone; None when nobody can tell."""

    possible_loss_bytes: int | None = None
    loss_reason: str = ""
    unreplayed_bytes: int = 0
    asks: tuple[str, ...] = ()  # the files for which the promotion will ask the archive
    # Of the old primary, at that unix time.
    seen_at: float = 0.0
    ssh_answers: bool = False
    hangs: bool = False
    why: str = ""
    rivals: tuple[str, ...] = ()  # standbys of which the one with most is promoted, once the old primary is fenced
    recorded: Known | None = None  # what the arbiter said; the next change is compared with it
    elects: Record | None = None  # by which that one is found, be it a copy; None where there are no rivals


def assess(context: Run, state: Failover) -> Failover:
    """Choose the standby that has every row by the estate record, and say what promoting it may lose.

    Refuses while a primary lives.
    """
    answer, nodes, writes_to = _looked(context)
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
    standbys = electing.electable(nodes)
    if not standbys:
        seen = ", ".join(f"{node.name}: {node.why or 'its server does not answer'}" for node in nodes)
        raise Refused(f"there is no standby to promote ({seen})", server.way_to_a_primary(nodes))
    best = electing.best_of(answer, standbys)
    old = succeeded(answer, nodes, best)
    _nobody_else_may_write(nodes, best, old)
    unreplayed = (best.written or 0) - (best.replayed or 0)
    answer = of_system(answer, best.system)
    rivals = electing.seen(context, answer, standbys)
    loss, reason = possible_loss(answer, best, context.options.accept_no_arbiter, rivals)
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
            "loss_reason": reason, "unreplayed_bytes": unreplayed, "asks": ahead.asks(best), **_seen(old),
            "recorded": answer if isinstance(answer, Known) else None, "system": best.system, "rivals": rivals,
            "elects": None if isinstance(answer, Unknown) or len(rivals) < 2 else answer.record,
        }
    )  # fmt: skip


SHUT = (Door.REFUSED, Door.SILENT)


def _looked(context: Run) -> tuple[Answer, tuple[server.Node, ...], str | None]:
    """The record, every node, and who takes the application's writes: all asked at once.

    A write is tried unless the application finds the ports shut of all that nobody here can ask; where every node has
    spoken for itself, that is not waited for.
    """
    hurried = context.estate.reached_within("assess.reach")
    pool = ThreadPoolExecutor(4)

    def heard(node: server.Node) -> None:
        """Most estates have two nodes: while the other one is silent, get ready for what this will come to."""
        others = [host for host in context.estate.postgres if host.name != node.name]
        if node.is_standby and len(others) == 1:
            pool.submit(ahead.get_ready, context, others[0], context.estate.host(node.name), ahead.asks(node))
            pool.submit(FileOn(context.estate.backup).begin, "swap")

    try:
        recorded = pool.submit(read, hurried)
        doors = pool.submit(network.look_at, hurried.app, hurried.postgres, 5432, budget("assess.reach"))
        nodes = server.survey(hurried, heard)
        unknown = [node.name for node in nodes if node.is_unknown]
        may_write = [name for name in unknown if doors.result()[name] not in SHUT]
        return recorded.result(), nodes, application_writes(context) if may_write else None
    finally:
        pool.shutdown(wait=False)


def _seen(old: server.Node) -> dict[str, object]:
    return {"seen_at": time.time(), "ssh_answers": old.ssh, "hangs": old.hangs, "why": old.why}


def _nobody_else_may_write(nodes: Sequence[server.Node], best: server.Node, old: server.Node) -> None:
    """Raises Refused where a server runs besides the lost primary that says nothing and is no standby."""
    for node in nodes:
        if node not in (best, old) and node.hangs and not node.standby_signal:
            raise Refused(
                f"{node.name} is no standby by its files, and does not say whether it takes writes ({node.why})",
                f"stop its unit on {node.name}, then ./dr failover --yes again; ./dr rejoin {node.name} --yes later",
            )


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
        # That run itself is overtaken by this one.
        return f"./dr runbook.abandon --yes takes back what was begun, run {change.run}; {_old_one_back(old)}"
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


def possible_loss(
    answer: Answer, best: server.Node, believe_copy: bool = False, known: Collection[str] = ()
) -> tuple[int | None, str]:
    """Bytes and why: nothing where the record says that this standby had every acknowledged row, else unknown.

    A record of another timeline, or one that names another primary's end, counts for nothing. `known`: standbys that
    have no more than this one.
    """
    if isinstance(answer, Unknown):
        return None, answer.why
    record = answer.record
    if record.primary == best.name:
        return None, f"the record on {answer.at} calls {best.name} itself the primary, and it is a standby"
    change = record.changing
    # Whoever was to be promoted and is seen as a standby was not: it has begun no timeline.
    if change and (change.procedure not in MOVES or change.to not in (best.name, *known)):
        return None, change.says
    if record.timeline != best.timeline:
        return None, (
            f"the record on {answer.at} is of timeline {record.timeline} and {best.name} is on {best.timeline}: "
            "it counts for nothing"
        )
    if best.name not in record.synchronous:
        return None, f"commits have not waited for {best.name} since {record.since}: {record.why}"
    if lacking := electing.why_unknown(record, best.name, known):
        return None, lacking
    if isinstance(answer, Copy) and not believe_copy:
        return None, f"the newest copy of the record, on {answer.at}, may not be the newest: {answer.why}"
    if not record.quorum:
        return 0, f"every commit has waited for {best.name} since {record.since}"
    return 0, f"{record.holders} has had every acknowledged row since {record.since}"


def _record(context: Run, state: Failover) -> None:
    def judged(answer: Answer) -> Answer:
        """What is heard only now may say otherwise than what the standby was chosen by."""
        answer, options = of_system(answer, state.system), context.options
        best = server.Node(primary_of(context, state), ssh=True, timeline=state.old_timeline)
        loss, reason = possible_loss(answer, best, options.accept_no_arbiter, state.rivals)
        if loss is None and isinstance(answer, Known) and not options.accept_loss:
            raise Refused(
                f"promoting {state.primary} may lose acknowledged rows, as the record says by now: {reason}",
                "./dr runbook.abandon --yes takes back what was begun; ./dr failover --yes looks at everything afresh",
            )
        return answer

    # Accepted this once: whoever is asked the next time must not find that nothing is lost.
    unknown = state.loss_reason if state.possible_loss_bytes is None else ""
    keep.changing_fast(context, state.primary, state.recorded, judged, unknown)


def begin(context: Run, state: Failover) -> Failover:
    """Fence the old primary, then see what its clients find there; record meanwhile that a failover is under way.

    What the promotion will ask the archive is asked once the fence stands. Nothing is promoted before all is done.
    """
    with ThreadPoolExecutor(2) as pool:
        recorded = pool.submit(_record, context, state)
        pool.submit(ahead.get_ready, context, other_of(context, state), primary_of(context, state), state.asks)
        try:
            state = fence(context, state)
        except Refused:
            with suppress(DrError):
                recorded.result()
                keep.unchanged(context)  # nothing was touched
            raise
        if not state.unfenced:
            ahead.ask_archive(context, primary_of(context, state), state.asks)
        best = pool.submit(_elected, context, state, state.elects) if state.elects else None
        state = state.model_copy(update={"views": fence_proof.look(context, state)})
        began = context.clock()
        try:
            recorded.result()
            context.note(RECORD_NOTED, seconds=round(context.clock() - began, 4))
            return _instead(context, state, best.result()) if best else state
        except Refused as error:
            if state.unfenced:
                raise
            raise TargetFailed(f"{state.other} is fenced, and nobody is promoted: {error}", error.hint) from error


def _elected(context: Run, state: Failover, record: Record) -> server.Node:
    return electing.elected(context, record, state.rivals, context.options.accept_loss)


def _instead(context: Run, state: Failover, best: server.Node) -> Failover:
    """Where another standby has got further meanwhile, the role moves to that one, and the record says so before."""
    if best.name == state.primary:
        return state
    context.say(f"{best.name} received up to {server.as_lsn(best.position)}, more than {state.primary}: it is promoted")
    unknown = state.loss_reason if state.possible_loss_bytes is None else ""
    keep.changing(context, best.name, system=state.system, degraded=unknown, hurry=True)
    return state.model_copy(
        update={"primary": best.name, "old_timeline": best.timeline or 0, "asks": ahead.asks(best)}
    )


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
    if 0 <= time.time() - state.seen_at < FRESH_S:  # a clock that was set back since leaves it in the future
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


def nobody_writes(context: Run, state: Failover) -> None:
    """Asked when a run is resumed: whoever has become primary meanwhile is no lost one. Raises Refused."""
    guards.nobody_else_writes(context, state, application_writes(context))


def still_fenced(context: Run, state: Failover) -> None:
    """As it was proved when it was fenced; and the mark of it is there where its host can be asked. Raises Refused."""
    if state.fenced_by.startswith("nobody"):
        return
    old = guards.look(context, other_of(context, state))
    if old.streams:
        return  # somebody has made it a standby of the new primary
    guards.takes_no_writes(old)
    if state.fenced_by == "ssh" and old.ssh and not old.fenced:
        raise Refused(f"somebody took the fence of {old.name} back", "./dr failover --yes looks at everything afresh")
    fence_proof.judge(context, state)


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
            evidence=Evidence("no node takes writes, a standby answers, the possible loss is within the objective"),
            still=Evidence("nobody takes writes but the standby that was chosen, once it is promoted", nobody_writes),
            commands=(
                "psql -c 'select pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()'",
                "cat /var/lib/mystocks-dr/estate.json   # on the backup host",
            ),
        ),
        Step(
            name="fence", role="old primary", budget="fence", action=begin, destructive=True,
            says="Record that the role moves; stop the old primary, mask its unit and mark it fenced; where SSH cannot "
            "reach it, cut its power.",
            evidence=Evidence("a write to the old primary fails, and nobody finds its port open", fence_proof.judge),
            still=Evidence("fenced, or a standby of the new primary", still_fenced),
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
            evidence=Evidence("it is out of recovery, on a higher timeline"), still=guards.promoted(),
            commands=(
                "rm -f /etc/postgresql/17/main/conf.d/90-synchronous.conf",
                "psql -c 'select pg_reload_conf(), pg_promote(true, 60)'",
            ),
        ),
        writing.WRITE_PATH,
        Step(
            name="follow", role="other standbys", budget="rejoin.stream", action=electing.follow, grows=Grows.WAL,
            when=lambda context, state: len(context.estate.postgres) > 2, when_says="there is more than one standby",
            says="Let the other standbys follow the new primary as they are; make commits wait for them again.",
            evidence=Evidence("they stream on the new timeline and have every row, or that one does not was said"),
        ),
        Step(
            name="say-degraded", role="backup", budget="ssh.command", action=recording.degraded,
            says="Confirm the new primary in the estate record, and that every new row exists once; say it aloud.",
            evidence=Evidence("the record says so, or that it does not was said"),
        ),
        archiving.ARCHIVE,
        writing.DRAIN,
        validating.GLANCE,
        verifying.verification(without="fenced"),
        archiving.BACKUP,
    ),
)  # fmt: skip
