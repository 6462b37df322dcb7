"""Steps that several procedures share, over a state that says which host is primary and which returns."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from inventories.addresses import same
from inventories.errors import DrError, Refused, TimedOut, Unreachable, VerificationFailed
from runbooks.actions import backup as backup_actions
from runbooks.actions.postgresql import pgbackrest as repository
from runbooks.actions.postgresql import server as act
from runbooks.engine.context import Context
from runbooks.engine.moving import while_it_moves
from runbooks.engine.step import Evidence, Gate, Step
from runbooks.engine.verify import EVERYTHING, verify
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from runbooks.knock import Door
from runbooks.layout import Layout
from runbooks.long_work.work import Asker
from runbooks.probes import app, disk, durations, network
from runbooks.probes.postgresql import progress, server
from runbooks.procedures.postgresql import promoting
from runbooks.record import keep

STALLED_S = 1.5  # a standby that has flushed nothing new for so long does not follow, whatever is said of it


class Roles(BaseModel):
    """Who takes writes after the procedure, who does not, and what the operator must know."""

    model_config = ConfigDict(frozen=True)

    primary: str = ""  # takes writes in the end
    other: str = ""  # the other PostgreSQL host
    old_timeline: int = 0
    timeline: int = 0
    system: str = ""  # the database system's identifier, where it was seen: a record of another one counts for nothing
    degraded: tuple[str, ...] = ()


R = TypeVar("R", bound=Roles)
Run = Context[Estate, Any]


def layout(context: Run) -> Layout:
    return Layout(server.version(context.estate))


def primary_of(context: Run, state: Roles) -> Host:
    return context.estate.host(state.primary)


def other_of(context: Run, state: Roles) -> Host:
    return context.estate.host(state.other)


def two_nodes(context: Run) -> None:
    """Raises Refused unless there are at least two PostgreSQL hosts to choose from."""
    if len(context.estate.postgres) < 2:
        raise Refused("the inventory has one PostgreSQL host, so there is nothing to fail over to")


TWO_NODES = Gate("two-nodes", "The inventory names at least two PostgreSQL hosts.", two_nodes)


def one_answers(context: Run) -> None:
    """Raises Refused when no PostgreSQL host answers SSH: then there is nothing to work with."""
    hosts = context.estate.postgres
    pool = ThreadPoolExecutor(len(hosts))
    answers = as_completed([pool.submit(host.reachable) for host in hosts])
    found = any(answer.result() for answer in answers)
    pool.shutdown(wait=False)  # the first answer is enough; a dead host is not waited for
    if not found:
        names = ", ".join(f"{host.name} ({host.dialled})" for host in hosts)
        raise Refused(
            f"no PostgreSQL host answers: {names}",
            "check the operator's own network; power the hosts on, then ./dr start-cluster; where they are lost with "
            "their disks, put blank machines in their place in the inventory: ./dr restore-cluster",
        )


ONE_ANSWERS = Gate("one-answers", "At least one PostgreSQL host answers SSH.", one_answers)


def truth(context: Run, state: Roles, standbys: tuple[str, ...], why: str) -> keep.Truth:
    """What is so once `state.primary` is the primary. Raises VerificationFailed where it cannot be asked."""
    node = server.look(primary_of(context, state), layout(context).version)
    if not node.is_primary or not node.timeline:
        raise VerificationFailed(f"{state.primary} does not answer as a primary ({node.why or 'nobody can say why'})")
    return keep.Truth(node.system, state.primary, node.timeline, standbys, why)


def recorded(context: Run, state: Roles, standbys: tuple[str, ...], why: str) -> bool:
    """Confirm in the estate record what is so now. It stands without: False, and it was said."""
    try:
        return keep.settled(context, truth(context, state, standbys, why)) is not None
    except DrError as error:
        context.say(f"WARNING: the estate record does not say yet what is so: {error}; ./dr deploy mends that")
        return False


def promoted(context: Run, state: R, way_out: str) -> R:
    """Promote `state.primary`, holding WAL for the other host from the first record of the new timeline on.

    `way_out`: the command that leads on when it fails twice. Raises VerificationFailed unless it takes writes on a
    higher timeline afterwards.
    """
    new = primary_of(context, state)
    promoting.promote(context, layout(context), new, other_of(context, state), way_out)
    node = server.look(new, layout(context).version)
    if not node.is_primary or (node.timeline or 0) <= state.old_timeline:
        raise VerificationFailed(f"{new.name} is not a primary on a timeline above {state.old_timeline}")
    return state.model_copy(update={"timeline": node.timeline})


def degraded(context: Run, state: R) -> R:
    """Confirm in the estate record who is primary and that every new row exists once, and say it aloud."""
    recorded(context, state, (), one_copy(state))
    state = say_degraded(context, state, one_copy(state))
    if context.estate.backup.reachable():
        return state
    why = f"{context.estate.backup} does not answer: no backup is taken, and WAL waits on {state.primary}"
    return say_degraded(context, state, why)


def one_copy(state: Roles) -> str:
    """The sentence for a primary without a standby."""
    return f"{state.other} is out; what {state.primary} commits exists once until ./dr rejoin {state.other}"


def say_degraded(context: Run, state: R, why: str) -> R:
    context.say(f"DEGRADED: {why}")
    return state.model_copy(update={"degraded": (*state.degraded, why)})


def following(context: Run, primary: server.Node) -> set[str]:
    """Standbys that really follow. The primary calls a dead one streaming until its own timeout of 10 s is over."""
    ours = {host.name: host for host in context.estate.postgres}  # others may read WAL too: a backup, a pg_receivewal
    before = [standby.name for standby in primary.standbys if standby.streams and standby.name in ours]
    reached = {name for name in before if _is_there(context, primary.host, ours[name])}
    if not reached:
        return set()
    try:
        now = until(
            lambda: server.look(primary.host, layout(context).version),
            STALLED_S,
            what="a standby that answers",
            accept=lambda node: any(
                s.name in reached and (s.flushed or 0) >= (primary.written or 0) for s in node.standbys
            ),
        )
    except TimedOut:
        return set()  # its host answers, its replication does not
    return {s.name for s in now.standbys if s.streams} & reached


def _is_there(context: Run, primary: Host, standby: Host) -> bool:
    """Its port is open to the primary; where that is not so, or nobody can tell, the standby itself is asked."""
    if network.look(primary, standby, 5432, 0.5) is Door.OPEN:
        return True
    return server.look(standby, layout(context).version).streams


def follows(context: Run, state: Roles) -> None:
    """The other host streams from the primary, on its timeline; waited for while it comes nearer. Raises TimedOut."""
    version, nearest = layout(context).version, [math.inf]

    def behind(node: server.Node) -> float:
        """The least that it was ever behind: one that replays an archive and never streams comes no nearer."""
        written = server.look(primary_of(context, state), version).written
        replayed = progress.replayed(node)
        nearest[0] = min(nearest[0], written - replayed if written and replayed else math.inf)
        return nearest[0]

    while_it_moves(
        lambda: server.look(other_of(context, state), version),
        "rejoin.stream",
        what=f"{state.other} to stream from {state.primary} on timeline {state.timeline}",
        accept=lambda node: node.streams and node.timeline == state.timeline,
        far=behind, least=server.SEGMENT_BYTES, granted=context.granted.add, clock=context.clock,
    )  # fmt: skip


def must_write(context: Run, state: R) -> R:
    """Commit a row from the application host over its own connection settings, to the new primary."""
    if not context.estate.app.reachable():
        return _written_from_elsewhere(context, state)
    attempt = until(
        lambda: app.try_to_write(context.estate.app, 2.0),
        min(context.remaining(), 20.0),
        what=f"a committed write to {state.primary} from {context.estate.app}",
        accept=lambda tried: tried.wrote and same(tried.host, primary_of(context, state).address),
    )
    if attempt.timeline != state.timeline:
        raise VerificationFailed(
            f"{state.primary} took a write on timeline {attempt.timeline}, expected {state.timeline}"
        )
    context.say(f"{context.estate.app} wrote to {state.primary} on timeline {attempt.timeline} in {attempt.ms:.0f} ms")
    return state


def _written_from_elsewhere(context: Run, state: R) -> R:
    """A recovery does not wait for an application that is away: somebody else commits over the network, and it is said.

    The backup host, or, where that is away too, the new primary over its own address.
    """
    estate, primary = context.estate, primary_of(context, state)
    viewer = estate.backup if estate.backup.reachable() else primary
    timeline = until(
        lambda: server.commit_from(viewer, primary, 5.0),
        min(context.remaining(), 20.0),
        what=f"a commit on {state.primary} over the network from {viewer}",
        retry=(DrError,),
    )
    if timeline != state.timeline:
        raise VerificationFailed(f"{state.primary} committed on timeline {timeline}, expected {state.timeline}")
    return say_degraded(
        context, state,
        f"{estate.app} does not answer: a commit on {state.primary} over the network from {viewer} stands in for its "
        "own, and rows that its outbox acknowledged wait there until it is back",
    )  # fmt: skip


def write_path(kind: type[R]) -> Step[R]:
    return Step(
        name="write-path",
        role="app",
        says="Commit a row from the application host over the application's own connection settings.",
        action=must_write,
        evidence=Evidence[R](
            "the row was committed by the new primary, on the new timeline; where the application host is away another "
            "host committed over the network, and that is said"
        ),
        budget="write.probe",
        commands=("cd /opt/mystocks-dr && sudo -u mystocks python3 -m agents.writing.write_probe",),
    )


def drained(context: Run, state: R) -> R:
    until(
        lambda: app.outbox(context.estate.app),
        context.remaining(),
        what="an empty outbox",
        accept=lambda box: box.pending_records == 0,
        every=0.2,
    )
    return state


def drain(kind: type[R]) -> Step[R]:
    return Step(
        name="drain-outbox",
        role="app",
        says="Wait until the replayer has put the outbox's rows into the database.",
        action=drained,
        evidence=Evidence[R]("no record is pending in the outbox"),
        budget="outbox.drain",
        when=lambda context, state: context.estate.app.reachable(),
        when_says="the application host answers",
        commands=(
            "cd /opt/mystocks-dr && sudo -u mystocks python3 -m agents.writing.outbox_cli status",
            "systemctl status mystocks-replayer",
        ),
    )


def archived(context: Run, state: R) -> R:
    """Give the repository what the old primary had not pushed, and the first segment of the new timeline."""
    primary, paths = primary_of(context, state), layout(context)
    try:
        knock(context.estate.backup)
        repository.drop_connections(context.estate.backup)
    except DrError as error:
        context.say(f"WARNING: the repository may still wait for {state.other}: {error}")
    # Until its first checkpoint the new primary's control file names the old timeline, and pgBackRest refuses.
    act.checkpoint(primary)
    forks = server.fork_points(primary, paths.version, state.timeline)
    # More than one where a promotion was repeated.
    for fork in [one for one in forks if one >= state.old_timeline > 0] or sorted(forks)[-1:]:
        act.archive_again(primary, paths, server.segment(fork, forks[fork]))
    act.switch_wal(primary, f"timeline-{state.timeline}")
    return state


def room_for_wal(context: Run, state: Roles) -> None:
    """Raises VerificationFailed when the repository's disk is full; one that cannot be asked is told elsewhere."""
    host = context.estate.backup
    try:
        knock(host)
        disks = disk.look(host, (disk.REPOSITORY,), 10)
    except DrError:
        return
    for full in disks:
        if full.free_bytes < 2 * server.SEGMENT_BYTES:
            raise VerificationFailed(
                f"{full.mount} on {host} is full ({full.free_bytes} bytes are free), so the repository takes no WAL",
                f"make room there, then --resume; {state.primary} takes writes and keeps its WAL meanwhile",
            )


def archive(kind: type[R]) -> Step[R]:
    return Step(
        name="archive",
        role="primary",
        says="Archive what the old primary had not, name a restore point and close the WAL segment.",
        action=archived,
        evidence=Evidence[R](
            "the restore point is written and the repository has room; verify finds the segment in it", room_for_wal
        ),
        budget="backup",
        commands=(
            "systemctl restart pgbackrest-server   # on the backup host",
            "psql -c checkpoint",
            "psql -c \"select pg_create_restore_point('timeline-N'), pg_switch_wal()\"",
        ),
    )


def backed_up(context: Run, state: R) -> R:
    backup_actions.take(context.estate.backup, "incr", Asker.of(context), durations.backup(context.estate))
    return state


def new_backup(kind: type[R]) -> Step[R]:
    return Step(
        name="backup",
        role="backup",
        says="Take a backup on the new timeline.",
        action=backed_up,
        evidence=Evidence[R]("pgBackRest finished a backup"),
        budget="backup",
        when=lambda context, state: context.estate.backup.reachable(),
        when_says="the backup host answers",
        commands=("sudo -u postgres pgbackrest --stanza=main --type=incr backup",),
    )


def verification(
    kind: type[R], *, without: str | Callable[[R], str] = "", backup_may_be_away: bool = False
) -> Step[R]:
    """Run tests/verify in a fresh process.

    `without` says what has become of the other node: `fenced`, `lost` (whether or not its host answers), or nothing.
    Backup and application hosts that do not answer are left out then, the backup host also where it may be away, as
    they stop no recovery.
    """

    def check(context: Run, state: R) -> None:
        # The off-site host stops no recovery either; status tells that its copy grows old.
        away = [name for name in context.estate.groups.get("offsite", ()) if not context.estate.host(name).reachable()]
        expected: dict[str, Any] = {"primary": state.primary, "off": away}
        if backup_may_be_away and not context.estate.backup.reachable():
            expected["off"] = away = [*away, context.estate.backup.name]
        fate = without if isinstance(without, str) else without(state)
        if fate:
            there = fate == "fenced" and other_of(context, state).reachable()
            off = [] if there else [state.other]
            off += [host.name for host in (context.estate.backup, context.estate.app) if not host.reachable()]
            off = list(dict.fromkeys([*away, *off]))
            expected |= {"fenced": [state.other] if there else [], "off": off, "degraded": True}
        result = verify(
            EVERYTHING,
            run_dir=context.run_dir,
            budget=context.remaining(),
            env={"DR_INVENTORY": context.estate.inventory, "DR_VERIFY_EXPECT": json.dumps(expected)},
            report=f"verify-{state.primary}-{state.timeline}.xml",
        )
        result.raise_if_failed()
        context.say(f"{result.passed} checks passed, {result.skipped} skipped")

    return Step(
        name="verify",
        role="all hosts",
        says="Check every host against its specification, in a fresh process.",
        action=lambda context, state: state,
        evidence=Evidence[R]("every testinfra check of every reachable host passed", check),
        budget="verify",
        commands=("./dr verify",),
    )


def now_synchronous(context: Run, state: R) -> R:
    """Make the primary wait for its standby again, once that streams, and record that it has every row from now on."""
    primary, other = primary_of(context, state), other_of(context, state)
    names = tuple(host.name for host in context.estate.postgres)
    act.synchronous_on(primary, layout(context), names)
    alone = server.look(primary, layout(context).version).written or 0  # committed without the standby up to here
    until(
        lambda: server.look(primary, layout(context).version),
        context.remaining(),
        what=f"{other.name} to be the synchronous standby of {primary.name}",
        accept=lambda node: any(
            s.name == other.name and s.streams and s.sync == "sync" and (s.flushed or 0) >= alone for s in node.standbys
        ),
    )
    recorded(context, state, (other.name,), f"{other.name} streams from {primary.name}")
    return state


def synchronous(kind: type[R]) -> Step[R]:
    return Step(
        name="synchronous",
        role="primary",
        says="Make every commit wait for the standby again.",
        action=now_synchronous,
        evidence=Evidence[R]("the primary reports the standby as sync"),
        budget="rejoin.stream",
        commands=(
            'echo "synchronous_standby_names = \'FIRST 1 (\\"pg1\\", \\"pg2\\")\'" '
            "> /etc/postgresql/17/main/conf.d/90-synchronous.conf",
            "psql -c 'select pg_reload_conf()'",
        ),
    )


def knock(host: Host) -> None:
    """Raises Unreachable, at once and not after a connection's timeout, when a host does not answer."""
    door = host.knock()
    if door is not Door.OPEN:
        raise Unreachable(f"{host}: {host.no_answer(door)}")
