"""What the restores of TDengine share: its gate, its backups' lease, rows that are queued again, the outbox."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from inventories.catalog import load_tables
from inventories.catalog.tables import OnConflict, Store
from inventories.errors import BadInput, DrError, Refused, VerificationFailed
from runbooks.actions import app as app_actions
from runbooks.actions import lease
from runbooks.engine.process import user_at_machine
from runbooks.engine.step import Evidence, Gate, Grows, Step
from runbooks.hosts import Host, Run
from runbooks.probes import app
from runbooks.probes.app import Outbox
from runbooks.probes.tdengine import backups, ground, restore, servers
from runbooks.procedures.outbox import emptied
from runbooks.tdengine.selection import TdSelection

WRITER = "agent-tdengine.json"
CLOCKS_S = 300.0  # the hosts' clocks may differ, and a write was under way when the backup began
SPARE, MIN_FREE = 1.5, (2 << 30) + (96 << 20)  # for files that are merged; below 2 GiB TDengine writes nothing


class TdState(BaseModel):
    """What every restore of TDengine knows: the backup, the rows acknowledged after it, what the operator reads."""

    model_config = ConfigDict(frozen=True)

    label: str = ""
    chain: tuple[str, ...] = ()
    backup_at: float = 0.0  # when the backup began: what was acknowledged later may be missing in it
    writing_at: float = 0.0  # from when on the backup's rows may have been written beside those of others
    offsite: bool = False
    requeued: int = 0
    dead_before: int = 0
    told: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()


S = TypeVar("S", bound=TdState)


def named_hosts(context: Run) -> tuple[Host, ...]:
    """The inventory's TDengine hosts. Raises BadInput where it names none."""
    found = servers.hosts(context.estate)
    if not found:
        raise BadInput(
            f"inventory {context.estate.inventory} has no host in group tdengine",
            "name one there and its package (tdengine_package, in a lab TDENGINE_PACKAGE), then ./dr deploy",
        )
    return found


def deployed(context: Run) -> None:
    """Raises BadInput where the inventory names no TDengine host, Refused where its backups are not deployed."""
    named_hosts(context)
    if not backups.is_there(context.estate):
        raise Refused(
            f"{context.estate.backup} has no settings for TDengine's backups",
            "./dr deploy with tdengine_package, or TDENGINE_PACKAGE",
        )


DEPLOYED = Gate("tdengine", "The inventory names TDengine hosts, and the backup host can back them up.", deployed)


def tell(context: Run, state: S, *sentences: str) -> S:
    for sentence in sentences:
        context.say(sentence)
    return state.model_copy(update={"told": (*state.told, *sentences)})


def warn(context: Run, state: S, why: str) -> S:
    context.say(f"DEGRADED: {why}")
    return state.model_copy(update={"degraded": (*state.degraded, why)})


def hold(context: Run, state: TdState, why: str) -> None:
    """Nothing expires meanwhile, and the backup is still there."""
    host = context.estate.backup
    lease.hold(host, lease_of(context), user_at_machine(), why, lease.RESTORE_S, state.label)
    if state.label not in backups.labels(host):
        raise Refused(f"backup {state.label} has expired meanwhile", "repeat without --resume to choose another")


def still_there(context: Run, state: TdState) -> None:
    """Asked when a run is resumed. Raises Refused when the backup that was chosen is gone."""
    if state.label and state.label not in backups.labels(context.estate.backup):
        raise Refused(f"backup {state.label} has expired meanwhile", "repeat without --resume to choose another")


CHOSEN: Evidence[Any] = Evidence("the backup that was chosen, where one is", still_there)


def lease_of(context: Run) -> str:
    return f"tdengine-{context.run_dir.name}"[:100]


def end(context: Run, state: S) -> S:
    try:
        lease.release(context.estate.backup, lease_of(context))
    except DrError as error:
        context.say(f"WARNING: the lease was not given back and ends by itself: {error}")
    return state


def required() -> dict[str, tuple[str, ...]]:
    """The columns of each supertable in which the catalogue wants a value."""
    return {
        table.name: tuple(column.name for column in table.columns if not column.nullable)
        for table in load_tables().of(Store.TDENGINE)
    }


def outbox(context: Run) -> Outbox:
    return app.outbox(context.estate.app, settings=WRITER)


def requeue(context: Run, state: S, tables: tuple[str, ...] = ()) -> S:
    """Write again what was acknowledged since the backup began; what is there already is written over itself."""
    box = outbox(context)
    state = state.model_copy(update={"dead_before": box.dead_rows})
    if box.shadow_bytes is None:
        return warn(context, state, "the application host keeps no shadow: rows younger than the backup are not there")
    state, rows = _written_again(context, state, state.backup_at, tables)
    state = state.model_copy(update={"requeued": rows})
    return tell(context, state, f"{rows:,} rows that were acknowledged since the backup began are written again")


def written_tables(only: tuple[str, ...] = (), on_conflict: OnConflict | None = None) -> tuple[str, ...]:
    """The catalogue's, which the application host writes, among `only`; empty means among all."""
    ours = (table for table in load_tables().of(Store.TDENGINE) if on_conflict in (None, table.on_conflict))
    return tuple(table.name for table in ours if not only or table.name in only)


def corrected_tables(only: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Those of them in which the newest event of a key wins."""
    return written_tables(only, OnConflict.NEWEST)


def correct(context: Run, state: S, only: tuple[str, ...] = ()) -> S:
    """Write again what was acknowledged while the backup's rows were written, where the newest of a key wins.

    A restore looks at what is there and then writes, in two statements; a correction that came between them was written
    over. What is written again is held against the event that is there, so that it wins where it is the newer one.
    """
    tables = corrected_tables(only)
    if outbox(context).shadow_bytes is None:
        return warn(
            context, state, "the application host keeps no shadow: what was corrected while the restore wrote may have "
            "its older value"
        )  # fmt: skip
    state, rows = _written_again(context, state, state.writing_at, tables)
    return tell(context, state, f"{rows:,} rows of {', '.join(tables)} that came meanwhile are held against it again")


def _written_again(context: Run, state: S, since: float, tables: tuple[str, ...]) -> tuple[S, int]:
    done = app_actions.replay_shadow(context.estate.app, since - CLOCKS_S, tables, context.remaining())
    if done.damaged_segments:
        state = warn(context, state, f"{done.damaged_segments} files of the shadow are damaged at their end")
    if done.refused:
        state = warn(context, state, f"TDengine refused {done.refused:,} rows that it took before")
    return state, done.rows


def let_drain(context: Run, state: TdState) -> None:
    app_actions.start_replayer(context.estate.app)


def fetching(**said: Any) -> Step[Any]:
    """The step that brings lost backups back from the off-site copy."""
    return Step(
        name="fetch", role="backup", budget="restore.fetch", observes=True, grows=Grows.FETCH,
        when=lambda context, state: state.offsite, when_says="the backups' folder is lost",
        says="Fetch the backups from the off-site copy, and choose the newest sound one.",
        evidence=Evidence("a backup whose chain is whole is named"),
        commands=(
            "cd /opt/mystocks-dr && sudo -u postgres python3 -m agents.offsite.copies restore "
            "--only /var/lib/mystocks-dr/tdengine",
        ),
        **said,
    )  # fmt: skip


def rewriting(
    name: str = "requeue",
    says: str = "Write again, in their order, what the application host kept of the rows acknowledged since the backup "
    "began; the outbox, whose rows are newer, stands still meanwhile.",
    **said: Any,
) -> Step[Any]:
    """The step that writes the application host's shadow into TDengine again."""
    return Step(
        name=name, role="app", budget="restore.requeue", undo=let_drain,
        undo_says="let the outbox drain",
        says=says,
        evidence=Evidence("TDengine acknowledged them, or nothing was kept and that was said"),
        commands=(
            "systemctl stop mystocks-replayer-tdengine",
            "cd /opt/mystocks-dr && sudo -u mystocks python3 -m agents.writing.shadow_replay "
            "--config /etc/mystocks-dr/agent-tdengine.json --since UNIX_SECONDS",
            "systemctl start mystocks-replayer-tdengine",
        ),
        **said,
    )  # fmt: skip


def drained(context: Run, state: TdState) -> None:
    """Nothing waits, and no further row was refused. Raises TimedOut, VerificationFailed."""
    left = emptied(context.estate.app, context.remaining(), WRITER, "TDengine")
    if left.dead_rows > state.dead_before:
        raise VerificationFailed(
            f"TDengine refused {left.dead_rows - state.dead_before} rows of the outbox",
            f"agents.writing.outbox_cli --config /etc/mystocks-dr/{WRITER} dead names them on {context.estate.app}",
        )


def draining(**said: Any) -> Step[Any]:
    """The step that waits for the outbox, which stood still while older rows were written."""
    return Step(
        name="drain-outbox", role="app", budget="restore.requeue", action=lambda context, state: state,
        says="Wait until the replayer has put the outbox's rows into TDengine.",
        evidence=Evidence("no record is pending in TDengine's outbox, and it refused no row", drained),
        commands=("systemctl status mystocks-replayer-tdengine",),
        **said,
    )  # fmt: skip


def compare(context: Run, selection: TdSelection, rows: bool) -> restore.Comparison:
    """Hold the database against the backup; `rows` looks at the rows themselves too."""
    return restore.compare(
        context.estate.backup, selection, context.remaining(), required() if rows else None
    )  # fmt: skip


def flaws(context: Run, state: S, found: restore.Comparison) -> S:
    """Tell what no writer of ours makes: it was there before, and a restore neither made it nor takes it away."""
    for flaw in found.flaws:
        state = warn(context, state, f"{found.database}: {flaw}")
    return state


def room(context: Run, planned: restore.Plan, rows: int) -> None:
    """Raises Refused where a disk has too little room for so many rows of the backup, by what they took before."""
    ours = servers.hosts(context.estate)
    copies = min(len(ours), planned.replicas)
    share = rows / planned.rows if planned.rows else 0.0
    need = int(planned.bytes * share * SPARE * copies / len(ours)) + MIN_FREE
    for host in ours:
        free = ground.free_bytes(host)
        if free < need:
            raise Refused(
                f"{ground.DATA} on {host.name} has {free >> 20} MiB free, {rows:,} rows may need {need >> 20} MiB",
                "make room there, or restore a part: --tables, --symbols, --from",
            )
