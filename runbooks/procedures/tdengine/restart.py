"""Tdengine-restart: the server was killed or hangs in a loop of restarts; have every node serve again, lose nothing."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from inventories.errors import Refused, Unreachable
from runbooks.actions.tdengine import servers as act
from runbooks.engine.context import Options
from runbooks.engine.procedure import Procedure
from runbooks.engine.step import Evidence, Gate, Step
from runbooks.engine.wait import until
from runbooks.hosts import Run
from runbooks.probes.tdengine import servers as tdengine
from runbooks.procedures.outbox import emptied
from runbooks.procedures.tdengine import verifying
from runbooks.procedures.tdengine.common import WRITER, named_hosts

LOOK_S = 5.0  # a server that starts answers nobody; it is asked again


class TdengineRestartOptions(Options):
    """Nothing to choose: a node that runs is left alone."""


class TdengineRestart(BaseModel):
    """`nodes` are the inventory's, `down` those that did not answer when it began."""

    model_config = ConfigDict(frozen=True)

    nodes: tuple[str, ...] = ()
    down: tuple[str, ...] = ()

    @property
    def primary(self) -> str:
        """Where the steps happen, for a report."""
        return ", ".join(self.down or self.nodes)


def has_nodes(context: Run) -> None:
    """Raises BadInput without a TDengine host, Refused when none answers SSH."""
    nodes = named_hosts(context)
    away = [host.name for host in nodes if not host.reachable()]
    if len(away) == len(nodes):
        raise Refused(
            f"{', '.join(away)}: no TDengine host answers SSH",
            "give it power first; one that is gone for good is replaced by ./dr tdengine-rebuild",
        )


def assess(context: Run, state: TdengineRestart) -> TdengineRestart:
    servers = tdengine.survey(context.estate, LOOK_S)
    down = tuple(one.name for one in servers if not one.online)
    context.say(f"{', '.join(down)} does not answer" if down else "every node answers; none is started")
    return state.model_copy(update={"nodes": tuple(one.name for one in servers), "down": down})


def start(context: Run, state: TdengineRestart) -> TdengineRestart:
    """What systemd has started meanwhile is not started again."""
    for name in state.down:
        host = context.estate.host(name)
        if not host.reachable():
            raise Unreachable(f"{name} does not answer SSH", "give it power, then --resume")
        act.start(host, context.remaining())
    return state


def _lacking(servers: tuple[tdengine.Server, ...]) -> str:
    """What keeps these servers from serving; empty when nothing does."""
    for one in servers:
        if not one.online:
            return f"{one.name} does not answer ({one.why})"
        away = [other.name for other in servers if one.dnodes.get(other.name) != "ready"]
        if away:
            return f"{one.name} calls {', '.join(away)} not ready"
        leaderless = [group.id for group in one.vgroups if not group.has_leader and group.database != tdengine.OURS]
        if leaderless:
            return f"vgroup {leaderless[0]} has no leader yet"
    return ""


def serves(context: Run, state: TdengineRestart) -> None:
    """Raises TimedOut."""
    until(
        lambda: tdengine.survey(context.estate, min(LOOK_S, max(context.remaining(), 1.0))),
        context.remaining(),
        what="every TDengine node to serve",
        accept=lambda servers: not _lacking(servers),
        every=0.2,
    )


def drained(context: Run, state: TdengineRestart) -> TdengineRestart:
    emptied(context.estate.app, context.remaining(), WRITER, "TDengine")
    return state


TDENGINE_RESTART: Procedure[TdengineRestart] = Procedure(
    name="tdengine-restart",
    summary="Have TDengine serve again after its process died.",
    purpose=(
        "What TDengine had acknowledged is in its write-ahead log, which it reads at its start; what it had not is in "
        "the outbox. This starts what does not run, waits until every table has a leader and the outbox is empty, and "
        "checks the nodes. Refuses when no TDengine host answers."
    ),
    gate=(Gate("nodes", "The inventory names a TDengine host, and one answers SSH.", has_nodes),),
    initial=lambda context: TdengineRestart(),
    steps=(
        Step(
            name="assess", role="tdengine", budget="ssh.command", action=assess, observes=True,
            says="Ask every TDengine node whether it serves.",
            evidence=Evidence("each host was asked"),
            commands=("cd /opt/mystocks-dr && python3 -m agents.tdengine.admin state",),
        ),
        Step(
            name="start", role="tdengine", budget="tdengine.start", action=start,
            says="Start the service where it does not run.",
            evidence=Evidence("every node answers and is ready, every share of the tables has a leader", serves),
            commands=("systemctl reset-failed taosd; systemctl start taosd", "journalctl -u taosd -n 50"),
        ),
        Step(
            name="drain-outbox", role="app", budget="outbox.drain", action=drained,
            says="Wait until the replayer has put the outbox's rows into TDengine.",
            evidence=Evidence("no record is pending in TDengine's outbox"),
            commands=(
                "cd /opt/mystocks-dr && "
                f"sudo -u mystocks python3 -m agents.writing.outbox_cli --config /etc/mystocks-dr/{WRITER} status",
                "systemctl status mystocks-replayer-tdengine",
            ),
        ),
        verifying.VERIFY,
    ),
)  # fmt: skip
