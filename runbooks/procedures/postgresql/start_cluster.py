"""Start cluster: every host is up and PostgreSQL is down everywhere; start the node that was last, then its standbys.

After a power cut of the whole site nothing starts by itself, because no host alone can know that nobody succeeded it.
This looks at all of them. The last primary is started as it is and no timeline begins; a standby is promoted only where
that primary is away, fenced or damaged, and then it is fenced first, as in a failover.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from pydantic import Field

from inventories.errors import BadInput, DrError, Refused, TargetFailed, TimedOut, VerificationFailed
from runbooks.actions import backup as backup_actions
from runbooks.actions.postgresql import permit
from runbooks.actions.postgresql import server as act
from runbooks.engine.budgets import budget
from runbooks.engine.procedure import Procedure
from runbooks.engine.step import Evidence, Step
from runbooks.engine.wait import until
from runbooks.hosts import Host, Run
from runbooks.layout import DATA
from runbooks.long_work.work import Asker
from runbooks.probes.postgresql import pgbackrest, server, stopped
from runbooks.probes.postgresql.stopped import Stopped
from runbooks.procedures.postgresql import (
    archiving,
    failover,
    fence_proof,
    gates,
    guards,
    promoting,
    recording,
    start_choice,
    streaming,
    validating,
    verifying,
    writing,
)
from runbooks.procedures.postgresql.failover import Failover, FailoverOptions
from runbooks.procedures.postgresql.roles import layout, primary_of, told, waited_for
from runbooks.procedures.postgresql.start_choice import Archive, Choice, How, Noted, Word
from runbooks.procedures.postgresql.working import nobody_works
from runbooks.record import keep
from runbooks.record.read import read
from runbooks.record.types import Copy, Unknown


class StartClusterOptions(FailoverOptions):
    """`accept_loss`: start although acknowledged rows may be missing. `host`: which of those that are alike."""

    host: str = ""


class StartCluster(Failover):
    """Who was last, how it is started, and what becomes of the others."""

    how: How = How.START
    end: int = 0  # its last record, which must be there afterwards
    standbys: tuple[str, ...] = ()  # are started as they are
    fence: tuple[str, ...] = ()  # may not come back unasked
    ways: Mapping[str, str] = Field(default_factory=dict)  # how each of these was fenced
    following: bool = False
    fate: str = ""  # of the other node, as the verification expects it

    def each_fenced(self) -> Iterator[StartCluster]:
        """The state as it is for each of these alone, since what proves one fence is no proof of another."""
        for name in self.fence:
            yield self.model_copy(update={"other": name, "fenced_by": self.ways.get(name, self.fenced_by)})


def wanted(context: Run) -> StartCluster:
    """Raises BadInput for a host that is none of PostgreSQL's, Refused for one that never takes writes."""
    name, candidates = context.options.host, [host.name for host in context.estate.postgres]
    if name and name not in candidates:
        raise BadInput(
            f"{name!r} is no PostgreSQL host of inventory {context.estate.inventory}",
            f"its PostgreSQL hosts are {' and '.join(candidates)}",
        )
    if name and context.estate.host(name).entry.delay_s:
        raise Refused(
            f"{name} is {context.estate.host(name).entry.never_promoted}, and is not the one to start first",
            f"./dr start-cluster --host {' or '.join(host.name for host in context.estate.candidates)}",
        )
    nobody_works(context, DATA)  # what is being restored or rewound is nothing to choose from, nor to start
    return StartCluster()


def assess(context: Run, state: StartCluster) -> StartCluster:
    """Look at every node, the record and the archive; choose. Refuses while anybody takes writes, or nobody can say."""
    with ThreadPoolExecutor(4) as pool:
        files = pool.submit(stopped.survey, context.estate.postgres, layout(context))
        noted, archive = pool.submit(_noted, context), pool.submit(_archive, context)
        writes = pool.submit(failover.application_writes, context)
        nodes = server.survey(context.estate)
        seen, record, known, writes_to = files.result(), noted.result(), archive.result(), writes.result()
    _nobody_writes(context, nodes, writes_to)
    _nobody_is_about_to(nodes, seen)
    options = context.options
    choice = start_choice.choose(seen, record, known, Word(options.accept_loss, options.host))
    for node in seen:
        context.say(node.says)
    context.say(f"{choice.node.name} is the one to start: {choice.why}")
    if choice.unproven:
        context.say(f"WARNING: acknowledged rows may be missing: {choice.unproven}")
    if choice.fence and not options.yes:
        names = " and ".join(node.name for node in choice.fence)
        raise Refused(
            f"{choice.node.name} is to be {_verb(choice.how)}, and {names} fenced before, which needs your consent",
            "./dr start-cluster --yes",
        )
    return _decided(context, state, choice).model_copy(update={"waited": record.standbys if record else ()})


def _verb(how: How) -> str:
    return "promoted" if how is How.PROMOTE else "started"


def _decided(context: Run, state: StartCluster, choice: Choice) -> StartCluster:
    others = [node.name for node in (*choice.standbys, *choice.left)]
    fenced = [node.name for node in choice.left if node.fenced or node in choice.fence]
    return state.model_copy(
        update={
            "primary": choice.node.name, "other": others[0], "how": choice.how, "end": choice.node.end,
            "system": choice.node.system,
            "old_timeline": choice.node.timeline, "timeline": choice.node.timeline,
            "standbys": tuple(node.name for node in choice.standbys),
            "fence": tuple(node.name for node in choice.fence),
            "possible_loss_bytes": None if choice.unproven else 0, "loss_reason": choice.unproven or choice.why,
            "fate": "" if choice.standbys else "fenced" if fenced else "lost",
        }
    )  # fmt: skip


def _noted(context: Run) -> Noted | None:
    """What the record says of rows; while a transition is under way that only as far as that changes nothing in it."""
    answer = read(context.estate)
    if isinstance(answer, Unknown) or (isinstance(answer, Copy) and not context.options.accept_no_arbiter):
        context.say(f"WARNING: nobody can say who had every row: {answer.why}")
        return None
    record = answer.record
    if record.changing and record.changing.procedure not in (*failover.MOVES, "start-cluster"):
        return Noted((), record.timeline, record.since, record.changing.says)
    return Noted(record.synchronous, record.timeline, record.since, record.why, record.quorum)


def _archive(context: Run) -> Archive | None:
    host, stanza = context.estate.backup, str(context.estate.data["stanza"])
    try:
        host.must_answer()
        repository = pgbackrest.info(host, stanza)
        timeline = pgbackrest.newest_timeline(host, stanza, repository)
        return Archive(str(repository.system_id or ""), timeline, repository.archive_max)
    except DrError as error:
        context.say(f"WARNING: the repository cannot be asked who was primary last: {error}")
        return None


def _nobody_writes(context: Run, nodes: tuple[server.Node, ...], writes_to: str | None) -> None:
    alive = [node for node in nodes if node.is_primary]
    if alive:
        others = [node.name for node in nodes if node is not alive[0] and not node.follows]
        raise Refused(
            f"{alive[0].name} is a primary that answers and takes writes, so the cluster is not down",
            f"./dr rejoin {others[0]} --yes brings the other back" if others else "./dr status shows what is missing",
        )
    if writes_to:
        raise Refused(
            f"a primary at {writes_to} takes writes from {context.estate.app}, although nobody here can reach it",
            "the operator's own network is cut, not the estate's: run this from another place",
        )


def _nobody_is_about_to(nodes: tuple[server.Node, ...], seen: tuple[Stopped, ...]) -> None:
    """A server that runs and does not answer recovers, and will take writes; or it hangs, and may."""
    answer = {node.name for node in nodes if node.online}
    for one in seen:
        if one.runs and one.name not in answer and not one.standby_signal:
            raise Refused(
                f"PostgreSQL runs on {one.name} and does not answer: it recovers, or it hangs",
                f"wait and look again with ./dr status; where it hangs, stop its unit on {one.name}, then "
                "./dr start-cluster",
            )


def still_fenced(context: Run, state: StartCluster) -> None:
    for one in state.each_fenced():
        failover.still_fenced(context, one)


def fence(context: Run, state: StartCluster) -> StartCluster:
    """What may hold an older truth must not come back beside the one that is started."""
    for name in state.fence:
        done = failover.fence(context, state.model_copy(update={"other": name, "seen_at": 0.0}))
        state = state.model_copy(update={"fenced_by": done.fenced_by, "ways": {**state.ways, name: done.fenced_by}})
    return state


def fenced(context: Run, state: StartCluster) -> None:
    for one in state.each_fenced():
        fence_proof.judge(context, one)


def start(context: Run, state: StartCluster) -> StartCluster:
    """Through systemd and the start guard, with a permit for this one start. A standby needs none."""
    host, paths = primary_of(context, state), layout(context)
    if told(context, host).online:
        return state
    seen = stopped.survey((host,), paths)[0]
    if not seen.readable or (seen.timeline, seen.end) < (state.old_timeline, state.end):
        raise TargetFailed(f"{host.name} is not what it was ({seen.says})", "./dr start-cluster looks again")
    if state.how is How.PROMOTE:
        act.as_standby(host, paths)
    else:
        act.as_primary(host, paths)
        if state.how is How.AGAIN:  # stepping down took that away; nothing may be committed alone that is not recorded
            act.write_names(host, paths, waited_for(context, state), context.estate.least)
        why = f"start-cluster, run {context.run_dir.name}"
        permit.grant(host, seen.system, server.as_lsn(seen.checkpoint), why)
    try:
        act.start(host, paths)
    except TimedOut:
        context.say(f"{host.name} still recovers")
    finally:
        permit.withdraw(host)
    return state


def has_everything(context: Run, state: StartCluster) -> None:
    """It answers in its role, and its WAL goes on behind the last record that was seen."""
    promoted = state.how is How.PROMOTE
    node = until(
        lambda: server.look(primary_of(context, state), layout(context).version),
        context.remaining(),
        what=f"{state.primary} to answer as {'a standby' if promoted else 'the primary'}",
        accept=lambda node: node.online and (promoted or node.is_primary),
    )
    if not promoted and ((node.timeline or 0) != state.old_timeline or (node.written or 0) <= state.end):
        raise VerificationFailed(
            f"{state.primary} came up on timeline {node.timeline} at {server.as_lsn(node.written or 0)}, "
            f"not behind {server.as_lsn(state.end)} on timeline {state.old_timeline}"
        )


def promote(context: Run, state: StartCluster) -> StartCluster:
    """Recorded first: whatever ends this run, nobody may take the others for complete."""
    keep.changing(context, state.primary, system=state.system, degraded=recording.one_copy(state))
    way_out = f"see {state.primary}'s own words above; ./dr start-cluster --resume tries once more"
    state = promoting.promoted(context, state, way_out)
    recording.recorded(context, state, (), recording.one_copy(state))
    return state


def follow(context: Run, state: StartCluster) -> StartCluster:
    """Start the standbys as they are. One that does not come is said, and stops nothing: writing must go on."""
    started = []
    for name in state.standbys:
        host = context.estate.host(name)
        act.hold_wal(primary_of(context, state), name)
        try:
            act.start(host, layout(context))
            started.append(host)
        except DrError as error:
            context.say(f"WARNING: {name} does not start: {error}")
    followers = _who_follow(context, state, started)
    waited = [host.name for host in followers if host.entry.synchronous]
    if not waited:
        return state
    return state.model_copy(update={"following": True, "fate": "", "other": waited[0]})


def _who_follow(context: Run, state: StartCluster, started: Sequence[Host]) -> list[Host]:
    """All are waited for at once, commits wait meanwhile; of several, one that does not come leaves the step time."""
    soon = context
    if len(started) > 1:
        patience = min(budget("standby.catch_up"), context.remaining()) / 2
        soon = replace(context, deadline=context.clock() + patience)
    states = [state.model_copy(update={"other": host.name}) for host in started]
    with ThreadPoolExecutor(max(1, len(started))) as pool:
        found = pool.map(lambda one: _follows(soon, one), states)
        return [host for host, does in zip(started, found, strict=True) if does]


def _follows(context: Run, state: StartCluster) -> bool:
    try:
        streaming.follows_soon(context, state)
    except TimedOut as error:
        context.say(f"WARNING: {state.other} does not follow: {error}")
        return False
    return True


def alone(context: Run, state: StartCluster) -> StartCluster:
    """As in `detach`: recorded before it is so."""
    why = recording.one_copy(state)
    keep.changing(context, state.primary, system=state.system, degraded=why)
    act.synchronous_off(primary_of(context, state), layout(context))
    recording.recorded(context, state, (), why)
    return recording.say_degraded(context, state, why).model_copy(update={"fate": state.fate or "lost"})


def archived(context: Run, state: StartCluster) -> StartCluster:
    """The hourly check, now: a segment is forced and found in the archive byte for byte."""
    host = context.estate.backup
    if not host.reachable():
        why = f"{host} does not answer: no backup is taken, and WAL waits on {state.primary}"
        return recording.say_degraded(context, state, why)
    if state.how is How.PROMOTE:
        state = archiving.archived(context, state)
    context.say(backup_actions.run_job(host, "check", Asker.of(context), wait_s=budget("archive.check")))
    return state


START_CLUSTER: Procedure[StartCluster] = Procedure(
    name="start-cluster",
    summary="Start a cluster that is down everywhere, the last primary first.",
    purpose=(
        "The hosts are up and PostgreSQL is down on all of them: a power cut of the site, or a promotion that failed. "
        "Decides by control files, WAL, timelines, the archive and the estate record which node was last and "
        "starts it, then the others as its standbys. Refuses while anybody takes writes, where two cannot be told "
        "apart, for an older copy of the data, for a cluster of another identity, for a fenced host, and where a host "
        "that nobody can look at may have newer rows."
    ),
    gate=(gates.TWO_NODES, gates.ONE_ANSWERS),
    initial=wanted,
    steps=(
        Step(
            name="assess", role="all hosts", budget="start.assess", action=assess, observes=True,
            says="Read control files, WAL, archive and estate record; find the node that has every acknowledged row.",
            evidence=Evidence("nobody takes writes, and one node is known to have everything"),
            still=Evidence("nobody takes writes but the node that was chosen", failover.nobody_writes),
            commands=(
                "pg_controldata /var/lib/postgresql/17/main   # state, system identifier, timeline, checkpoint",
                "ls /var/lib/postgresql/17/main/standby.signal /var/lib/postgresql/17/main/pg_wal/*.history",
                "pg_waldump -q --path=/var/lib/postgresql/17/main/pg_wal --timeline=TLI --start=REDO   # names the end",
                "cat /var/lib/mystocks-dr/estate.json; pgbackrest --stanza=main info   # on the backup host",
                "# without standby.signal on the highest timeline, and behind no other: that one was last",
            ),
        ),
        Step(
            name="fence", role="old primary", budget="fence", action=fence,
            when=lambda context, state: bool(state.fence), when_says="it is not the one that is started",
            says="Keep the old primary from coming back: mark and mask it; where SSH cannot reach it, cut its power.",
            evidence=Evidence("a write to it fails, and nobody finds its port open", fenced),
            still=Evidence("fenced, or a standby of the new primary", still_fenced),
            commands=("echo fenced > /etc/mystocks-dr/fenced", "systemctl mask --now postgresql@17-main"),
        ),
        Step(
            name="start", role="chosen node", budget="start.recover", action=start,
            says="Start the chosen node and nobody else; its start guard is given a permit for this one start.",
            evidence=Evidence("it answers, and its WAL goes on behind the last record that was seen", has_everything),
            commands=(
                "touch /etc/mystocks-dr/allow-start   # once; not for a standby",
                "systemctl start postgresql@17-main",
            ),
        ),
        Step(
            name="promote", role="chosen node", budget="promote", action=promote,
            when=lambda context, state: state.how is How.PROMOTE, when_says="it was a standby",
            says="Record that nobody follows yet, and promote it.",
            evidence=Evidence("it is out of recovery, on a higher timeline"), still=guards.promoted(),
            commands=("psql -c 'select pg_promote(true, 60)'",),
        ),
        Step(
            name="follow", role="other nodes", budget="rejoin.stream", action=follow,
            when=lambda context, state: bool(state.standbys), when_says="another node can follow as it is",
            says="Start the others as standbys.",
            evidence=Evidence("they stream from the primary, or that they do not was said"),
            commands=("systemctl start postgresql@17-main",),
        ),
        replace(
            streaming.SYNCHRONOUS,
            when=lambda context, state: state.following, when_says="a standby follows",
        ),
        Step(
            name="alone", role="primary", budget="ssh.command", action=alone,
            when=lambda context, state: not state.following, when_says="no standby follows",
            says="Record that there is one copy of every new row, then let the primary commit alone.",
            evidence=Evidence("the estate record says so, or its copies do and --accept-no-arbiter was given"),
            commands=("rm /etc/postgresql/17/main/conf.d/90-synchronous.conf", "psql -c 'select pg_reload_conf()'"),
        ),
        writing.WRITE_PATH,
        Step(
            name="archive", role="backup", budget="backup", action=archived,
            says="Force a WAL segment and find it in the archive.",
            evidence=Evidence("the segment is there, byte for byte, or the backup host's absence was said"),
            commands=(
                "cd /opt/mystocks-dr; sudo -u postgres "
                "python3 -m agents.jobs.runner run check   # on the backup host",
            ),
        ),
        writing.DRAIN,
        validating.GLANCE,
        verifying.verification(without=lambda state: state.fate, backup_may_be_away=True),
    ),
)  # fmt: skip

