"""Before anything is broken: the estate must be whole. Afterwards: it is made whole again, whatever happened."""

from __future__ import annotations

from collections.abc import Callable, Collection

from drills.stage import Stage
from drills.stores import TDENGINE, Store
from inventories.errors import DrError, Refused
from runbooks.acting import acting
from runbooks.actions import app as apps
from runbooks.actions.tdengine import servers as act
from runbooks.engine.budgets import budget
from runbooks.engine.rundir import new_run_dir
from runbooks.hosts import Estate, Host
from runbooks.probes import app
from runbooks.probes.postgresql import server as postgres
from runbooks.probes.tdengine import servers
from runbooks.procedures.postgresql.rejoin import REJOIN, RejoinOptions
from runbooks.record.read import read
from runbooks.record.settle import settle
from runbooks.record.types import Known

_LOOK_S = 10.0


def gate(estate: Estate, stores: Collection[Store] = ()) -> tuple[Host, Host]:
    """(primary, standby) of a whole estate. Raises Refused naming what is not whole."""
    nodes = postgres.survey(estate)
    wrong = _nodes_wrong(nodes, estate.least) or _surroundings_wrong(estate)
    wrong = wrong or "; ".join(filter(None, map(_of(estate), stores)))
    if wrong:
        raise Refused(
            f"the estate is not whole, so a drill would prove nothing: {wrong}",
            "./dr status tells more; ./dr rejoin --yes brings a node back, ./dr deploy provisions what is missing",
        )
    return next(node.host for node in nodes if node.is_primary), next(
        node.host for node in nodes if node.streams and node.host.entry.synchronous
    )


def _of(estate: Estate) -> Callable[[Store], str]:
    return lambda store: store.wrong(estate)


def _nodes_wrong(nodes: tuple[postgres.Node, ...], least: int) -> str:
    """`least`: how many standbys commits wait for by declaration; for none, whom they wait for is nobody's concern."""
    down = [f"{node.name} does not answer ({node.why or 'PostgreSQL is down'})" for node in nodes if not node.online]
    if down:
        return "; ".join(down)
    primaries = [node for node in nodes if node.is_primary]
    streaming = [node for node in nodes if node.follows]
    if len(primaries) != 1 or len(streaming) < max(1, len(nodes) - 1):
        return f"it has {len(primaries)} primaries and {len(streaming)} streaming standbys"
    if paused := [node.name for node in streaming if node.replay_paused]:
        return f"{', '.join(paused)} receives and replays nothing: it has paused"
    waits = primaries[0].waits_for
    if least and sum(one.sync in ("sync", "quorum") for one in primaries[0].standbys) < (waits.least if waits else 1):
        return f"{primaries[0].name} waits for no standby"
    return ""


def _surroundings_wrong(estate: Estate) -> str:
    record = read(estate)
    if not isinstance(record, Known):
        return f"the estate record is unknown: {record.why}"
    if record.carry or not record.record.steady or (estate.least and not record.record.synchronous):
        return f"the estate record says that {record.record.says}"
    rows = app.outbox(estate.app).pending_rows
    return f"{rows:,} rows wait in the outbox" if rows else ""


def clean_up(stage: Stage) -> None:
    """Undo the fault and bring back what is out, saying what could not be. Does nothing to a whole estate."""
    stage.undo_all()
    if TDENGINE.name in stage.running:
        _serve_again(stage)
    _follow_again(stage)
    _record_again(stage)


def _record_again(stage: Stage) -> None:
    """What a runbook began and could not confirm is settled by what the hosts are."""
    found = read(stage.estate)
    if isinstance(found, Known) and found.record.steady and not found.carry:
        return
    try:
        folder = new_run_dir("cleaning-up", stage.run_dir / "runbooks")
        with acting(stage.estate, "cleaning-up", folder, stage.say) as keeper:
            stage.say(settle(keeper).says)
    except DrError as error:
        stage.say(f"WARNING: the estate record is not what is so: {error}; ./dr status")


def _follow_again(stage: Stage) -> None:
    if _all_follow(postgres.survey(stage.estate)):
        return
    stage.say("cleaning up")
    try:
        for host in stage.estate.postgres:
            stage.power_on(host)
            stage.heal(host)
        if not _all_follow(postgres.survey(stage.estate)):
            for name in _out(postgres.survey(stage.estate)):
                stage.run(REJOIN, RejoinOptions(yes=True, host=name))
    except DrError as error:
        stage.say(f"WARNING: the estate is not whole: {error}; ./dr status")


def _out(nodes: tuple[postgres.Node, ...]) -> tuple[str, ...]:
    """Who has to rejoin; of two nodes nobody need be named."""
    return tuple(n.name for n in nodes if not n.is_primary and not n.follows) if len(nodes) > 2 else ("",)


def _serve_again(stage: Stage) -> None:
    """Power and a running service for every TDengine node, and a replayer, which a runbook may have left stopped."""
    try:
        apps.start_replayer(stage.estate.app)
    except DrError as error:
        stage.say(f"WARNING: TDengine's outbox is not drained: {error}; ./dr status")
    for server in servers.survey(stage.estate, _LOOK_S):
        if server.online:
            continue
        stage.say(f"cleaning up {server.name}")
        try:
            stage.power_on(server.host)
            act.start(server.host, budget("tdengine.start"))
        except DrError as error:
            stage.say(f"WARNING: TDengine on {server.name} does not run: {error}; ./dr status")


def _all_follow(nodes: tuple[postgres.Node, ...]) -> bool:
    return any(node.is_primary for node in nodes) and all(node.is_primary or node.follows for node in nodes)
