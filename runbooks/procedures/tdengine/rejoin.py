"""TDengine rejoin: a lost node of three comes back with its data, or is replaced by a blank host of the same name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from inventories.errors import BadInput, Refused, TimedOut, VerificationFailed
from runbooks.actions import provision
from runbooks.actions.tdengine import servers as act
from runbooks.engine.context import Options
from runbooks.engine.procedure import Procedure
from runbooks.engine.step import Evidence, Gate, Step
from runbooks.engine.wait import until
from runbooks.hosts import Host, Run
from runbooks.probes.tdengine import servers as tdengine
from runbooks.probes.tdengine.servers import Local, Server, Vgroup
from runbooks.procedures.tdengine import common, reaching, verifying

LEAST = 3
LOOK_S = 5.0  # what is known at once
_REBUILD = "where the others lost their disks too, ./dr tdengine-rebuild brings all of them back"
_FLUSH = "FLUSH DATABASE `%s`"


class TdengineRejoinOptions(Options):
    """`host`: which one; empty takes the only one that is out. `replace`: move its data aside and fill it anew."""

    host: str = ""
    replace: bool = False


class TdengineRejoin(BaseModel):
    """`committed`: vgroup id -> the entry of its log up to which the returning copy must come."""

    model_config = ConfigDict(frozen=True)

    host: str = ""
    asked: str = ""  # a node that is ready and speaks for the cluster
    cluster: str = ""
    installed: bool = True
    lacking: tuple[int, ...] = ()  # vgroups whose data are not on the returning host
    manages: bool = False  # it is one of the nodes that manage the cluster, and does not
    aside: str = ""
    orphans: tuple[int, ...] = ()  # vgroups of the tool's own database whose only copy was there, and is lost
    committed: dict[int, int] = {}
    told: tuple[str, ...] = ()

    @property
    def blank(self) -> bool:
        return bool(self.lacking)

    @property
    def orphaned(self) -> bool:
        return bool(self.orphans)


def three_nodes(context: Run) -> None:
    """Raises Refused with fewer: then there is one copy of every row, and nothing to rejoin."""
    count = len(common.named_hosts(context))
    if count < LEAST:
        raise Refused(
            f"the inventory names {count} TDengine host{'s' if count != 1 else ''}, so no other has a copy of its rows",
            "./dr tdengine-restart starts one that is down; ./dr tdengine-rebuild fills a lost one from its backup",
        )


def wanted(context: Run) -> TdengineRejoin:
    """Nothing is known yet, but for the host that was named: it must be one. Raises BadInput."""
    names = [host.name for host in common.named_hosts(context)]
    if context.options.host and context.options.host not in names:
        raise BadInput(
            f"{context.options.host!r} is no TDengine host of inventory {context.estate.inventory}",
            f"its TDengine hosts are {', '.join(names)}",
        )
    return TdengineRejoin()


def assess(context: Run, state: TdengineRejoin) -> TdengineRejoin:
    """Find the node that is out, and what is left of its data. Raises Refused."""
    # A node that lost the others keeps silent for as long as it may; that they are blank is known at once, and final.
    servers = tdengine.survey(context.estate, LOOK_S)
    _some_majority(servers, context.options.host)
    if any(server.silent for server in servers):
        servers = tdengine.survey(context.estate)
    out = _choose(context, servers)
    if out.slow:
        raise Refused(f"{out.name} did not answer in time ({out.why})", f"ssh {out.name} uptime; then once more")
    if not out.ssh:
        raise Refused(f"{out.name} cannot be reached ({out.why})", "power it on, or put a blank host in its place")
    # One that is taken out on purpose may lead until it is stopped; move-aside waits for the others' election.
    leaves = context.options.replace and out.role == "ready"
    asked = _led_by_others(context, out.name, servers, leaves)
    local = tdengine.local(out.host) if out.installed else Local()
    neighbour = tdengine.local(asked.host)
    if local.cluster and local.cluster != neighbour.cluster and not context.options.replace:
        raise Refused(
            f"{out.name} has data of another cluster ({local.cluster}, not {neighbour.cluster})",
            "look what they are; --replace moves them aside and fills the node from the others",
        )
    mine = asked.numbers.get(out.name)
    if mine is None:
        raise Refused(f"{out.name} is no node of the cluster yet", "./dr deploy makes it one")
    members = [group.id for group in reaching.fillable(asked, mine)]
    orphans = [group.id for group in asked.vgroups if group.is_ours_alone(mine)]
    held = () if context.options.replace else local.vgroups
    return state.model_copy(
        update={
            "host": out.name, "asked": asked.name, "cluster": neighbour.cluster, "installed": out.installed,
            "lacking": tuple(number for number in members if number not in held),
            "manages": out.name in asked.mnodes, "orphans": tuple(number for number in orphans if number not in held),
            "aside": f"/var/lib/taos.replaced-{context.run_dir.name}" if context.options.replace else "",
        }
    )  # fmt: skip


def _some_majority(servers: Sequence[Server], lost: str) -> None:
    """Raises Refused where blank hosts leave no majority that could fill one; who keeps silent may be part of it."""
    blank = [server.name for server in servers if server.blank]
    able = [server.name for server in servers if server.name not in (*blank, lost)]
    if 2 * len(able) <= len(servers):
        raise Refused(
            f"no TDengine is installed on {' and '.join(blank)}, and {len(able)} of {len(servers)} nodes "
            f"{'is' if len(able) == 1 else 'are'} no majority that could fill {lost or 'one of them'}",
            f"./dr deploy installs it where the data are still there; {_REBUILD}",
        )


def _choose(context: Run, servers: tuple[Server, ...]) -> Server:
    if context.options.host:
        chosen = next(server for server in servers if server.name == context.options.host)
        if _is_whole(chosen) and not context.options.replace:
            raise Refused(f"{chosen.name} is ready and has all of its data: there is nothing to rejoin")
        return chosen
    out = [server for server in servers if not _is_whole(server)]
    if not out:
        raise Refused("every TDengine node is ready and has its data: there is nothing to rejoin", "./dr status")
    if len(out) > 1:
        names = " and ".join(server.name for server in out)
        raise Refused(f"{names} are out", "name the one that shall come back first: ./dr tdengine-rejoin HOST")
    return out[0]


def _is_whole(server: Server) -> bool:
    mnode = server.mnodes.get(server.name)
    return server.role == "ready" and not server.lacking and mnode in (None, "leader", "follower")


def _led_by_others(context: Run, lost: str, seen: Sequence[Server], leaves: bool = False) -> Server:
    """Another node that is ready, once the others lead everything: an election is waited for. Raises Refused.

    Of a node that `leaves` the others need not lead yet, but be enough to.
    """
    first = iter([seen])
    refusals: list[Refused] = []

    def led() -> Server | None:
        servers = next(first, None) or tdengine.survey(context.estate)
        asked = tdengine.speaker([server for server in servers if server.name != lost])
        try:
            _others_lead(asked, lost, leaves)
        except Refused as refused:
            refusals.append(refused)
            return None
        return asked

    try:
        return until(led, "tdengine.elect", what="the other nodes to elect leaders", every=0.5)
    except TimedOut:
        raise refusals[-1] from None


def _others_lead(asked: Server | None, lost: str, leaves: bool = False) -> None:
    """Raises Refused unless every vgroup, and the cluster itself, has a leader elsewhere."""
    if asked is None:
        raise Refused(
            "no other TDengine node is ready, so nobody can fill this one",
            f"./dr deploy starts nodes that are down, and two of three must answer; {_REBUILD}",
        )
    serving = [name for name, role in asked.mnodes.items() if name != lost and role in ("leader", "follower")]
    if 2 * len(serving) <= len(asked.mnodes):
        raise Refused(
            f"{len(serving)} of {len(asked.mnodes)} nodes manage the cluster, which is no majority without {lost}",
            f"bring back another one first, for without a majority nothing can be changed; {_REBUILD}",
        )
    mine = asked.numbers.get(lost)
    for group in asked.vgroups:
        if group.is_ours_alone(mine):
            continue
        others = [replica for replica in group.replicas if replica.node != mine]
        enough = leaves and 2 * sum(replica.serves for replica in others) > len(group.replicas)
        if not enough and not any(replica.role == "leader" for replica in others):
            raise Refused(
                f"vgroup {group.id} of {group.database} has no leader on another node",
                "two of its three copies must serve before the third can be filled",
            )


def as_assessed(context: Run, state: TdengineRejoin) -> None:
    """Asked when a run is resumed, before the returning node is filled; one that is ready may lead by then.

    Raises Refused.
    """
    asked = tdengine.look(context.estate.host(state.asked))
    if not asked.online:
        raise Refused(f"{state.asked}, which spoke for the others, does not answer", "./dr tdengine-rejoin afresh")
    if asked.dnodes.get(state.host) != "ready":
        _others_lead(asked, state.host)


def provisioned(context: Run, state: TdengineRejoin) -> TdengineRejoin:
    """Packages, settings, agents; the server starts, and joins under its old name with nothing on its disk."""
    names = [host.name for host in tdengine.hosts(context.estate)]
    provision.for_restoring(context.estate, names, context.run_dir / "provision.log", context.say)
    return state


def is_installed(context: Run, state: TdengineRejoin) -> None:
    if not tdengine.look(_host(context, state)).installed:
        raise VerificationFailed(
            f"the deploy installed no TDengine on {state.host}", "name the package: TDENGINE_PACKAGE, then --resume"
        )


def emptied(context: Run, state: TdengineRejoin) -> TdengineRejoin:
    act.move_aside(_host(context, state), state.aside, context.remaining())
    context.say(f"what {state.host} had lies in {state.aside}")
    _led_by_others(context, state.host, tdengine.survey(context.estate))
    return state.model_copy(update={"told": (*state.told, f"What {state.host} had lies in {state.aside} there.")})


def settled(context: Run, state: TdengineRejoin) -> TdengineRejoin:
    """Stop the returning node and commit something in each of its vgroups without it.

    A copy that forgot what it had acknowledged must not vote with one that is behind. An entry that the two others have
    committed alone proves that neither is: what was acknowledged before is before it in both logs.
    """
    act.stop(_host(context, state), context.remaining())
    asked = context.estate.host(state.asked)
    stopped = reaching.groups(asked, state.host, context.remaining())
    for database in sorted({group.database for group in stopped}):
        act.execute(asked, _FLUSH % database, context.remaining())

    def have(server: Server, group: Vgroup, entry: int) -> bool:
        others = [replica for replica in group.replicas if replica.node != server.numbers[state.host]]
        return all(replica.serves and replica.applied >= entry for replica in others)

    committed = reaching.reach(
        asked, state.host, have, context.remaining,
        beyond={group.id: group.committed for group in stopped},
        what="the two other copies of every vgroup to have an entry newer than the loss",
    )  # fmt: skip
    return state.model_copy(update={"committed": committed})


def laid(context: Run, state: TdengineRejoin) -> TdengineRejoin:
    """Tell the returning server of the copies that it lacks, from what the survivors know of them."""
    act.stop(_host(context, state), context.remaining())
    seeds: dict[str, Any] = {}
    for server in tdengine.hosts(context.estate):
        if server.name != state.host and server.reachable():
            seeds = {**act.export_seeds(server, state.host)["vgroups"], **seeds}
    missing = [number for number in state.lacking if str(number) not in seeds]
    if missing:
        raise VerificationFailed(f"no other node knows vgroup {', '.join(map(str, missing))}")
    numbers = act.lay_seeds(_host(context, state), {"vgroups": seeds, "alone": state.orphans})
    context.say(f"{state.host} is to be filled with vgroup {', '.join(map(str, numbers)) or 'none, all are there'}")
    return state


def is_laid(context: Run, state: TdengineRejoin) -> None:
    lacking = {*state.lacking, *state.orphans} - set(tdengine.local(_host(context, state)).vgroups)
    if lacking:
        raise VerificationFailed(f"{state.host} still knows nothing of vgroup {', '.join(map(str, sorted(lacking)))}")


def started(context: Run, state: TdengineRejoin) -> TdengineRejoin:
    act.start(_host(context, state), context.remaining())
    return state


def joined(context: Run, state: TdengineRejoin) -> None:
    until(
        lambda: tdengine.look(context.estate.host(state.asked)),
        context.remaining(),
        what=f"{state.host} to be ready; /var/log/taos there says what it waits for",
        accept=lambda server: (
            server.dnodes.get(state.host) == "ready" and tdengine.local(_host(context, state)).running
        ),
        every=0.5,
    )


def caught_up(context: Run, state: TdengineRejoin) -> None:
    """Its own copies have what is committed, and what was committed while they took that in. Raises TimedOut.

    The cluster tells an old position of a copy until that has told its own; a position that was committed without the
    copy cannot be an old one. Reached twice: after the first time a copy may have a long log before it.
    """
    asked = context.estate.host(state.asked)

    def has(server: Server, group: Vgroup, entry: int) -> bool:
        mine = next(replica for replica in group.replicas if replica.node == server.numbers[state.host])
        return server.dnodes.get(state.host) == "ready" and mine.serves and mine.applied >= entry

    for _ in range(2):
        reached = reaching.reach(
            asked, state.host, has, context.remaining,
            beyond={number: entry - 1 for number, entry in state.committed.items()},
            what=f"{state.host} to have every committed row",
        )  # fmt: skip
    until(
        lambda: sorted(set(reached) - set(tdengine.local(_host(context, state)).vgroups)),
        context.remaining(),
        what=f"the vgroups of {state.host} to lie on its own disk",
        accept=lambda lacking: not lacking,
        every=0.5,
    )


def managing(context: Run, state: TdengineRejoin) -> TdengineRejoin:
    act.manage_again(context.estate.host(state.asked), state.host, context.remaining())
    return state


def manages(context: Run, state: TdengineRejoin) -> None:
    until(
        lambda: tdengine.look(context.estate.host(state.asked)),
        context.remaining(),
        what=f"{state.host} to manage the cluster with the others",
        accept=lambda server: server.mnodes.get(state.host) in ("leader", "follower"),
        every=0.5,
    )


def _manages_not(context: Run, state: TdengineRejoin) -> bool:
    server = tdengine.look(context.estate.host(state.asked))
    return server.mnodes.get(state.host) not in ("leader", "follower")


def deployed(context: Run, state: TdengineRejoin) -> TdengineRejoin:
    names = [host.name for host in tdengine.hosts(context.estate)]
    provision.some(context.estate, names, context.run_dir / "deploy.log", context.say)
    return state


def _host(context: Run, state: TdengineRejoin) -> Host:
    return context.estate.host(state.host)


def renewed(context: Run, state: TdengineRejoin) -> TdengineRejoin:
    """What the tool noted for itself is lost with its only copy: the next backup notes it again, on every node."""
    act.execute(context.estate.host(state.asked), f"DROP DATABASE IF EXISTS {tdengine.OURS}", context.remaining())
    said = f"the tool's own database {tdengine.OURS} had one copy, which is lost; the next backup makes it again"
    context.say(said)
    return state.model_copy(update={"told": (*state.told, f"{said[0].upper()}{said[1:]}.")})


def is_renewed(context: Run, state: TdengineRejoin) -> None:
    until(
        lambda: tdengine.look(context.estate.host(state.asked)),
        context.remaining(),
        what=f"{tdengine.OURS} to be dropped",
        accept=lambda server: server.online and not any(group.database == tdengine.OURS for group in server.vgroups),
        every=0.5,
    )


TDENGINE_REJOIN: Procedure[TdengineRejoin] = Procedure(
    name="tdengine-rejoin",
    summary="Bring a lost TDengine node of three back, or fill a blank host in its place.",
    purpose=(
        "Two of three copies of every row are left; one more loss stops writing, two lose rows. A node that has its "
        "data is started and waited for; a blank host of the same name gets the empty copies that it lacks, and the "
        "others fill them. Refuses while the others are no quorum, and for data of another cluster. RESTORE DNODE is "
        "not used: the Community edition answers OK to it and does nothing, and goes on calling a copy a follower "
        "whose disk is blank."
    ),
    gate=(Gate("three-nodes", "The inventory names at least three TDengine hosts.", three_nodes),),
    initial=wanted,
    steps=(
        Step(
            name="assess", role="all hosts", budget="tdengine.settle", action=assess, observes=True,
            says="Find the node that is out, what is left on its disk, and another that speaks for the cluster.",
            evidence=Evidence("the returning host answers SSH; every vgroup has a leader on another node"),
            still=Evidence("the others a quorum, each vgroup led by one of them", as_assessed),
            commands=("taos -s 'SHOW DNODES; SHOW VGROUPS'   # on another node",),
        ),
        Step(
            name="provision", role="returning host", budget="provision", action=provisioned,
            when=lambda context, state: not state.installed, when_says="no TDengine is installed on it",
            says="Install the package, settings and agents; the server joins under its old name with a blank disk.",
            evidence=Evidence("TDengine is installed there", is_installed),
            commands=("./dr deploy --limit tsdb1,tsdb2,tsdb3",),
        ),
        Step(
            name="move-aside", role="returning host", budget="tdengine.stop", action=emptied, destructive=True,
            when=lambda context, state: bool(state.aside), when_says="--replace was given",
            says="Stop the server and move its data aside; nothing is deleted.",
            evidence=Evidence("its data lie in a folder of their own, which the report names; the others lead"),
            commands=("systemctl stop taosd", "mv /var/lib/taos/* /var/lib/taos.replaced-RUN/"),
        ),
        Step(
            name="settle", role="other hosts", budget="tdengine.stop", action=settled,
            when=lambda context, state: state.blank, when_says="it lacks data of a vgroup",
            says="Stop the returning server; commit an entry in each of its vgroups without it.",
            evidence=Evidence("both other copies of each vgroup have applied an entry that is newer than the loss"),
            commands=("systemctl stop taosd   # on the returning host", "taos -s 'FLUSH DATABASE market_data'"),
        ),
        Step(
            name="seed", role="returning host", budget="tdengine.stop", action=laid,
            when=lambda context, state: state.blank or state.orphaned, when_says="it lacks data of a vgroup",
            says="Lay an empty copy of each vgroup that it lacks, from what another node knows of it.",
            evidence=Evidence("each vgroup that the cluster counts on there has its folder", is_laid),
            commands=(
                "cd /opt/mystocks-dr && python3 -m agents.tdengine.seed export --for HOST >seeds   # on another node",
                "cd /opt/mystocks-dr && python3 -m agents.tdengine.seed import --for HOST <seeds   # on HOST",
            ),
        ),
        Step(
            name="start", role="returning host", budget="tdengine.start", action=started,
            says="Start the server.",
            evidence=Evidence("the cluster calls it ready", joined),
            commands=("systemctl start taosd", "taos -s 'SHOW DNODES'"),
        ),
        Step(
            name="renew", role="other hosts", budget="tdengine.settle", action=renewed,
            when=lambda context, state: state.orphaned, when_says="the tool's own database had its only copy there",
            says="Drop the tool's own database, whose only copy is lost; the next backup makes it again.",
            evidence=Evidence("no vgroup of it is left", is_renewed),
            commands=("taos -s 'DROP DATABASE IF EXISTS mystocks_dr'",),
        ),
        Step(
            name="fill", role="returning host", budget="tdengine.catch_up", action=lambda context, state: state,
            says="Wait until its copies have what the leaders had committed, and what came meanwhile.",
            evidence=Evidence("each of its copies is on its own disk and has applied what was committed", caught_up),
            commands=("taos -s 'SHOW VGROUPS'   # its applied/committed reaches what the leader had",),
        ),
        Step(
            name="manage", role="returning host", budget="tdengine.settle", action=managing,
            when=lambda context, state: state.manages and _manages_not(context, state),
            when_says="it managed the cluster and does not any more",
            says="Replace its management node.",
            evidence=Evidence("the cluster calls it a follower, or its leader", manages),
            commands=("taos -s 'DROP MNODE ON DNODE N; CREATE MNODE ON DNODE N'",),
        ),
        Step(
            name="deploy", role="TDengine hosts", budget="provision", action=deployed,
            says="Bring what else belongs on it: passwords, the note of what the server can do.",
            evidence=Evidence("the deploy ended without an error"),
            commands=("./dr deploy --limit tsdb1,tsdb2,tsdb3",),
        ),
        verifying.VERIFY,
    ),
)  # fmt: skip
