"""The runbooks as tasks, and the runbooks as paper."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task
from rich.table import Table

from doors.support import INVENTORY_HELP, LAB_HELP, door, progress, screen
from inventories.errors import BadInput

if TYPE_CHECKING:
    from runbooks.engine.context import Options
    from runbooks.engine.procedure import Procedure
    from runbooks.engine.result import RunResult
    from runbooks.engine.step import Grows

ROOT = Path(__file__).resolve().parent.parent
HELP = {
    "plan": "print every step with host, evidence and deadline; touch nothing",
    "resume": "go on with the newest run that did not end",
    "yes": "consent to destructive steps",
    "json": "print the result as JSON",
    "inventory": INVENTORY_HELP,
    "lab": LAB_HELP,
}
ALONE_HELP = "while the backup host is away: take the newest copy of the estate record at its word, and write copies"


@task(
    help={
        **HELP,
        "accept_loss": "promote although acknowledged rows may be missing",
        "accept_split_brain": "promote although the old primary is not fenced",
        "accept_no_arbiter": ALONE_HELP,
    }
)
@door
def failover(
    c: Context, plan: bool = False, resume: bool = False, yes: bool = False, accept_loss: bool = False,
    accept_split_brain: bool = False, accept_no_arbiter: bool = False, json: bool = False, inventory: str = "",
    lab: str = "",
) -> None:  # fmt: skip
    """Fence the lost primary and promote the standby."""
    from runbooks.procedures.postgresql.failover import FailoverOptions

    options = FailoverOptions(
        yes=yes, accept_loss=accept_loss, accept_split_brain=accept_split_brain, accept_no_arbiter=accept_no_arbiter
    )
    run_procedure("failover", options, plan, resume, json, inventory)


@task(
    help={
        **HELP,
        "host": "which host rejoins (default: the one that does not stream)",
        "reclone": "restore from the repository instead of rewinding",
    }
)
@door
def rejoin(
    c: Context, host: str = "", plan: bool = False, resume: bool = False, yes: bool = False, reclone: bool = False,
    json: bool = False, inventory: str = "", lab: str = "",
) -> None:  # fmt: skip
    """Make a lost node the synchronous standby again."""
    from runbooks.procedures.postgresql.rejoin import RejoinOptions

    run_procedure("rejoin", RejoinOptions(yes=yes, host=host, reclone=reclone), plan, resume, json, inventory)


@task(help={**HELP, "host": "which standby takes over (default: the one that has received most)"})
@door
def switchover(
    c: Context, host: str = "", plan: bool = False, resume: bool = False, yes: bool = False, json: bool = False,
    inventory: str = "", lab: str = "",
) -> None:  # fmt: skip
    """Move the primary's role to the standby without loss."""
    from runbooks.procedures.postgresql.switchover import SwitchoverOptions

    run_procedure("switchover", SwitchoverOptions(yes=yes, host=host), plan, resume, json, inventory)


@task(
    help={
        **HELP,
        "host": "let go of this lost standby although enough others follow",
        "accept_loss": "go on although the backup host cannot record that the standby lacks rows",
        "accept_no_arbiter": ALONE_HELP,
    }
)
@door
def detach(
    c: Context, host: str = "", plan: bool = False, resume: bool = False, yes: bool = False,
    accept_loss: bool = False, accept_no_arbiter: bool = False, json: bool = False, inventory: str = "", lab: str = "",
) -> None:  # fmt: skip
    """Let the primary commit alone because its standby is lost."""
    from runbooks.procedures.postgresql.detach import DetachOptions

    options = DetachOptions(yes=yes, host=host, accept_loss=accept_loss, accept_no_arbiter=accept_no_arbiter)
    run_procedure("detach", options, plan, resume, json, inventory)


@task(
    help={
        **HELP,
        "host": "which host, where two cannot be told apart (with --accept-loss)",
        "accept_loss": "start although acknowledged rows may be missing",
        "accept_split_brain": "start although a host that is away is not fenced",
        "accept_no_arbiter": ALONE_HELP,
    },
    name="start-cluster",
)
@door
def start_cluster(
    c: Context, plan: bool = False, resume: bool = False, yes: bool = False, host: str = "", accept_loss: bool = False,
    accept_split_brain: bool = False, accept_no_arbiter: bool = False, json: bool = False, inventory: str = "",
    lab: str = "",
) -> None:  # fmt: skip
    """Start a cluster that is down on every host."""
    from runbooks.procedures.postgresql.start_cluster import StartClusterOptions

    options = StartClusterOptions(
        yes=yes, host=host, accept_loss=accept_loss, accept_split_brain=accept_split_brain,
        accept_no_arbiter=accept_no_arbiter,
    )  # fmt: skip
    run_procedure("start-cluster", options, plan, resume, json, inventory)


@task(help=HELP, name="mend-archive")
@door
def mend_archive(
    c: Context, plan: bool = False, resume: bool = False, yes: bool = False, json: bool = False, inventory: str = "",
    lab: str = "",
) -> None:  # fmt: skip
    """Mend what keeps WAL out of the archive; push the rest."""
    from runbooks.procedures.postgresql.mend_archive import MendArchiveOptions

    run_procedure("mend-archive", MendArchiveOptions(yes=yes), plan, resume, json, inventory)


@task(
    help={
        **HELP,
        "run": "the name of its folder (default: the one that stopped last)",
        "resume": "go on with an abandoning that did not end",
        "accept_no_arbiter": ALONE_HELP,
    }
)
@door
def abandon(
    c: Context, run: str = "", plan: bool = False, resume: bool = False, yes: bool = False,
    accept_no_arbiter: bool = False, json: bool = False, inventory: str = "", lab: str = "",
) -> None:  # fmt: skip
    """End a run for good, and take back the fence it left.

    Gives the role back to the host that the estate record still calls the primary, where nobody takes writes.
    """
    from runbooks.procedures.postgresql.abandon import AbandonOptions

    options = AbandonOptions(yes=yes, run=run, accept_no_arbiter=accept_no_arbiter)
    run_procedure("abandon", options, plan, resume, json, inventory)


@task(
    help={
        **HELP,
        "store": "postgresql, tdengine or tracker (default: every one)",
        "rate": "rows a second at most, of each outbox (default: no limit)",
        "at_full_speed": "do not yield to others that use the store",
        "accept_held": "go on although a table is missing or other than declared: its rows wait",
    },
    name="replay-outbox",
)
@door
def replay_outbox(
    c: Context, store: str = "", rate: float = 0.0, at_full_speed: bool = False, accept_held: bool = False,
    plan: bool = False, resume: bool = False, yes: bool = False, json: bool = False, inventory: str = "", lab: str = "",
) -> None:  # fmt: skip
    """Drain every outbox into its store; account for each row."""
    from runbooks.procedures.replay_outbox import ReplayOutboxOptions

    if rate < 0:
        raise BadInput("--rate is rows a second, or 0 for no limit")
    options = ReplayOutboxOptions(
        yes=yes, store=store, rate=rate, at_full_speed=at_full_speed, accept_held=accept_held
    )
    run_procedure("replay-outbox", options, plan, resume, json, inventory)


@task(help={"name": "failover, rejoin, switchover or detach"})
@door
def show(c: Context, name: str) -> None:
    """Print a runbook as Markdown, from the steps that run."""
    from runbooks.engine.paper import render
    from runbooks.run import known

    print(render(known(name).procedure))


@task
@door
def render(c: Context) -> None:
    """Write the paper runbooks of docs/runbooks anew.

    They are committed, so that they can be read and printed where this tool cannot run.
    """
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(path.relative_to(ROOT))


def pages() -> dict[Path, str]:
    """Every paper runbook: its file and what belongs in it."""
    from runbooks.engine import paper
    from runbooks.run import PROCEDURES

    return {ROOT / "docs/runbooks" / f"{name}.md": paper.render(known.procedure) for name, known in PROCEDURES.items()}


@task(name="list")
@door
def list_(c: Context) -> None:
    """List the runbooks."""
    from runbooks.run import PROCEDURES

    table = Table("runbook", "what it does", "steps")
    for name, known in PROCEDURES.items():
        table.add_row(name, known.procedure.summary, str(len(known.procedure.steps)))
    screen().print(table)


def run_procedure(name: str, options: Options, plan: bool, resume: bool, json: bool, inventory: str) -> None:
    from runbooks import hosts
    from runbooks.run import execute, known

    procedure = known(name).procedure
    if plan:
        _print_plan(procedure, inventory)
        return
    estate = hosts.load(inventory or None)
    with progress() as say:
        result = execute(procedure, estate, options, say, resume=resume)
    if json:
        print(jsonlib.dumps(_as_json(result), indent=2))
    if result.exit_code:
        raise Exit(result.render(), code=int(result.exit_code))
    if not json:
        degraded = getattr(result.state, "degraded", ())
        print(f"{name} passed: {len(result.steps)} steps in {result.seconds:.1f} s; journal in {result.run_dir}")
        for sentence in getattr(result.state, "told", ()):
            print(sentence)
        for sentence in degraded:
            print(f"DEGRADED: {sentence}")


def _as_json(result: RunResult[Any]) -> dict[str, Any]:
    return {
        "outcome": result.outcome.value,
        "error": result.error,
        "hint": result.hint,
        "seconds": round(result.seconds, 3),
        "run_dir": str(result.run_dir),
        "state": result.state.model_dump(mode="json"),
        "steps": [
            {"name": step.name, "outcome": step.outcome.value, "seconds": round(step.seconds, 3)}
            for step in result.steps
        ],
    }


def _print_plan(procedure: Procedure[Any], inventory: str) -> None:
    """Every step with its host, evidence and deadline, readable on a narrow terminal too."""
    from inventories.inventory import read_inventory
    from runbooks.engine.plan import plan_rows

    groups = read_inventory(inventory or None).groups
    stores = ("tdengine",) if procedure.name.startswith("tdengine") else ("pg_primary", "pg_standby")
    either = " or ".join(name for group in stores for name in groups.get(group, ()))
    where = {"app": ", ".join(groups.get("app", ())), "backup": ", ".join(groups.get("backup", ()))}
    console = screen(highlight=False)
    console.print(f"[bold]{procedure.name}[/]: {procedure.summary}")
    table = Table.grid(padding=(0, 1), expand=False)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for gate in procedure.gate:
        table.add_row("gate", gate.name, gate.says)
    rows = plan_rows(procedure)
    expected = _expected(inventory, {row.grows for row in rows if row.grows})
    for row in rows:
        names = where.get(row.where) or ("" if row.where == "all hosts" else either)
        table.add_row(f"[bold]{row.nr}[/]", f"[bold]{row.step}[/]", row.does)
        more = f"[dim], longer while something moves: it grows with[/] {row.grows}" if row.grows else ""
        told = f"[dim]on[/] {row.where}{f' ({names})' if names else ''}[dim], within[/] {row.deadline:g} s{more}"
        table.add_row("", "", told)
        if row.grows and expected.get(row.grows):
            table.add_row("", "", f"[dim]takes[/] {expected[row.grows]}")
        table.add_row("", "", f"[dim]expect[/] {row.evidence}")
        if row.only_when:
            table.add_row("", "", f"[dim]only when[/] {row.only_when}")
        if row.undo:
            table.add_row("", "", f"[dim]if it fails[/] {row.undo}")
        if row.destructive:
            table.add_row("", "", "[bold red]destructive: needs --yes[/]")
    console.print(table)


collection = Collection("runbook", show, list_, render, abandon)
TOP_LEVEL = (failover, rejoin, switchover, detach, start_cluster, mend_archive, replay_outbox)


def _expected(inventory: str, kinds: Set[Grows]) -> Mapping[Grows, str]:
    """How long what grows will take, by today's sizes and the rates measured; nothing where nobody can tell."""
    if not kinds:
        return {}
    from runbooks import hosts
    from runbooks.probes import durations

    return durations.expected(hosts.load(inventory or None), kinds)
