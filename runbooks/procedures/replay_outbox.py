"""Replay-outbox: let every outbox drain into its store, at a pace, and account for each row that was ever in one.

It ends with a reconciliation by table and lane: what was enqueued is applied, dead, pending or given up, counted record
by record; and every row that was applied meanwhile is looked for in the store by its event id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from inventories.catalog import load_tables
from inventories.catalog.load import load_tracker
from inventories.catalog.tables import Store, Table
from inventories.errors import BadInput, DrError, Refused, VerificationFailed
from runbooks.actions import outbox as act
from runbooks.engine.context import Options
from runbooks.engine.moving import while_it_moves
from runbooks.engine.procedure import Procedure
from runbooks.engine.step import Evidence, Gate, Grows, Step
from runbooks.hosts import Run
from runbooks.probes import outbox
from runbooks.probes.app import Outbox
from runbooks.probes.outbox import POSTGRESQL, TDENGINE, TRACKER, Accounts, Box
from runbooks.probes.postgresql import schema, server
from runbooks.probes.tdengine import ground, servers
from runbooks.probes.tracker import schema as tracker

SAY_EVERY_S, LOOK_EVERY_S = 5.0, 1.0
COUNT_S = 600.0  # of what waits record by record, however much it is


class ReplayOutboxOptions(Options):
    """`rate`: rows a second at most, 0 for no limit; `at_full_speed`: do not yield to others that use the store.

    `accept_held`: go on although a table is missing or other than declared: its rows wait.
    """

    added_later: ClassVar[frozenset[str]] = frozenset({"rate", "at_full_speed", "accept_held"})
    store: str = ""
    rate: float = 0.0
    at_full_speed: bool = False
    accept_held: bool = False


class ReplayOutbox(BaseModel):
    """By outbox (host/store): the application number and the dead rows when the run began."""

    model_config = ConfigDict(frozen=True)

    after: Mapping[str, int] = {}
    dead_before: Mapping[str, int] = {}
    told: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()

    @property
    def primary(self) -> str:
        """Where the steps happen, for a report."""
        return ", ".join(self.after)


def boxes(context: Run) -> tuple[Box, ...]:
    """Raises BadInput for a store that there is not."""
    wanted = context.options.store
    if wanted not in ("", *outbox.SETTINGS):
        raise BadInput(f"there is no store {wanted!r}", f"the stores are {', '.join(outbox.SETTINGS)}")
    found = outbox.boxes(context.estate, wanted)
    if not found:
        raise BadInput(f"inventory {context.estate.inventory} has no {wanted}")
    return found


def stores(context: Run) -> set[str]:
    return {box.store for box in boxes(context)}


def apps_answer(context: Run) -> None:
    for host in {box.host for box in boxes(context)}:
        host.must_answer()


def takes_rows(context: Run) -> None:
    """One primary, or every TDengine server. Raises Refused."""
    if stores(context) & {POSTGRESQL, TRACKER}:
        server.the_primary(server.survey(context.estate))
    if TDENGINE in stores(context):
        away = [one.name for one in servers.survey(context.estate) if not one.online]
        if away:
            raise Refused(f"TDengine on {', '.join(away)} does not answer", "./dr tdengine-restart")


def shapes_fit(context: Run) -> None:
    """Raises Refused where a table is missing or other than declared, unless its rows may wait."""
    wrong = list(_misfits(context))
    if wrong and not context.options.accept_held:
        raise Refused(
            f"{wrong[0]}{f' (and {len(wrong) - 1} more)' if len(wrong) > 1 else ''}",
            "./dr deploy makes what is missing, ./dr tracker-migrate what the stock tracker lacks; --accept-held "
            "replays the others, and those rows wait",
        )


def _misfits(context: Run) -> Iterator[str]:
    tables = load_tables()
    if POSTGRESQL in stores(context):
        primary = context.estate.host(server.the_primary(server.survey(context.estate)).name)
        for database in sorted({table.database for table in tables.of(Store.POSTGRESQL)}):
            live = schema.look(primary, database)
            for table in (one for one in tables.of(Store.POSTGRESQL) if one.database == database):
                yield from schema.of_table(table, live.get(table.name))
    if TRACKER in stores(context):
        yield from tracker.differences(server.the_primary(server.survey(context.estate)).host, load_tracker())
    if TDENGINE in stores(context):
        declared = tables.of(Store.TDENGINE)
        there = _supertables(context, declared)
        yield from (f"supertable {table.name} is missing" for table in declared if table.name not in there)


def _supertables(context: Run, declared: tuple[Table, ...]) -> set[str]:
    asked = next(one for one in servers.survey(context.estate) if one.online)
    statement = "SELECT stable_name, db_name FROM information_schema.ins_stables"
    rows = ground.ask(context.estate.host(asked.name), statement)
    databases = {table.database for table in declared}
    return {str(row["stable_name"]) for row in rows if row["db_name"] in databases}


def as_assessed(context: Run, state: ReplayOutbox) -> None:
    """Asked when a run is resumed: a failover may have come between. Raises Refused, Unreachable."""
    apps_answer(context)
    takes_rows(context)
    shapes_fit(context)


def assess(context: Run, state: ReplayOutbox) -> ReplayOutbox:
    """The plan: what waits where, by lane and table, and how long it will take by what was measured."""
    after: dict[str, int] = {}
    dead: dict[str, int] = {}
    for box in boxes(context):
        seen, accounts = outbox.status(box), outbox.accounts(box, COUNT_S)
        after[box.key], dead[box.key] = accounts.last_applied_no, seen.dead_rows
        context.say(_planned(box, seen))
        for row in accounts.rows:
            if row.pending:
                context.say(f"  lane {row.lane}: {row.pending:,} rows of {row.table}")
        for table, why in seen.held.items():
            context.say(f"  {table} takes nothing, its rows wait: {why}")
    # A run that is resumed goes on from where the first one began: what that one applied is proved, too.
    return state.model_copy(update={"after": {**after, **state.after}, "dead_before": {**dead, **state.dead_before}})


def _planned(box: Box, seen: Outbox) -> str:
    if not seen.pending_rows:
        return f"{box}: nothing waits"
    rate = seen.rows_per_s or seen.last_rows_per_s
    takes = "" if seen.empty_in_s is None else f", about {seen.empty_in_s:.0f} s at {rate:,.0f} rows/s"
    oldest = "" if seen.oldest_age_s is None else f", the oldest for {seen.oldest_age_s:.0f} s"
    return f"{box}: {seen.pending_rows:,} rows in {seen.pending_records:,} records{oldest}{takes}"


def replay(context: Run, state: ReplayOutbox) -> ReplayOutbox:
    """Tell each replayer its pace; they drain by themselves, side by side, and this watches them."""
    ours = boxes(context)
    for box in ours:
        seen = outbox.status(box)
        if seen.ready_records and not seen.replayer_running:
            raise Refused(f"no replayer runs for {box}", "./dr deploy starts it")
        if seen.ready_records:
            act.pace(box, context.options.rate, not context.options.at_full_speed)
    said = [context.clock()]
    began: dict[str, tuple[float, int]] = {}

    def look() -> dict[str, Outbox]:
        found = {box.key: outbox.status(box) for box in ours}
        if context.clock() - said[0] >= SAY_EVERY_S:
            said[0] = context.clock()
            for key, seen in found.items():
                at, rows = began.setdefault(key, (context.clock(), seen.pending_rows))
                context.say(_progress(key, seen, context.clock() - at, rows - seen.pending_rows))
        return found

    while_it_moves(
        look, "work.silent", what="the outboxes to drain", every=LOOK_EVERY_S, granted=context.granted.add,
        accept=lambda found: not any(seen.ready_records for seen in found.values()),
        far=lambda found: sum(seen.pending_rows for seen in found.values()), clock=context.clock,
        hint="./dr outbox.status says what keeps them",
    )  # fmt: skip
    return state


def _progress(key: str, seen: Outbox, took_s: float, done: int) -> str:
    rate = seen.rows_per_s or (done / took_s if took_s > 0 else 0.0)
    left = f", {seen.pending_rows / rate:.0f} s to go" if rate > 0 else ""
    return f"{key}: {seen.pending_rows:,} rows wait, {rate:,.0f} rows/s{left}"


def reconcile(context: Run, state: ReplayOutbox) -> ReplayOutbox:
    """Count, and look in the store. Raises VerificationFailed for a row that is missing here or there."""
    for box in boxes(context):
        accounts = outbox.accounts(box, COUNT_S)
        _balanced(box, accounts)
        proof = outbox.prove(box, state.after.get(box.key, 0), COUNT_S)
        if proof.missing:
            raise VerificationFailed(
                f"{proof.missing:,} rows that left {box} are not in the store, such as {'; '.join(proof.examples[:3])}",
                "./dr restore-cluster and the requeue of the shadow write again what a store has forgotten",
            )
        state = _tell(context, state, _account(box, accounts, proof.proven))
        state = _warn(context, state, box, proof.unknown)
    return state


def _balanced(box: Box, accounts: Accounts) -> None:
    for row in accounts.rows:
        if row.missing:
            raise VerificationFailed(
                f"{box}: of {row.enqueued:,} rows of {row.table} in lane {row.lane} {row.applied:,} were applied, "
                f"{row.dead:,} are dead, {row.pending:,} wait, {row.discarded:,} were given up: {row.missing:,} are "
                "nowhere",
                "copy the outbox's file with its -wal and -shm before anything else",
            )


def _account(box: Box, accounts: Accounts, proven: int) -> str:
    rows = accounts.rows
    parts = [
        f"{sum(row.applied for row in rows):,} applied", f"{sum(row.dead for row in rows):,} dead",
        f"{sum(row.pending for row in rows):,} pending",
    ]  # fmt: skip
    if given_up := sum(row.discarded for row in rows):
        parts.append(f"{given_up:,} given up")
    enqueued = sum(row.enqueued for row in rows)
    return f"{box}: {enqueued:,} enqueued = {' + '.join(parts)}; {proven:,} rows found in the store by event id"


def _tell(context: Run, state: ReplayOutbox, sentence: str) -> ReplayOutbox:
    context.say(sentence)
    return state.model_copy(update={"told": (*state.told, sentence)})


def _warn(context: Run, state: ReplayOutbox, box: Box, unknown: int) -> ReplayOutbox:
    seen = outbox.status(box)
    found = [f"{box}: {table} takes nothing, its rows wait: {why}" for table, why in seen.held.items()]
    more = seen.dead_rows - state.dead_before.get(box.key, 0)
    if more > 0:
        found.append(f"{box}: {more:,} rows were refused, ./dr outbox.dead --store {box.store} lists them")
    if unknown:
        found.append(f"{box}: {unknown:,} rows are of tables that the catalogue does not have, nobody looked for them")
    for sentence in found:
        context.say(f"DEGRADED: {sentence}")
    return state.model_copy(update={"degraded": (*state.degraded, *found)})


def usual_pace(context: Run, state: ReplayOutbox) -> None:
    """As the settings say, for whatever waits."""
    for box in boxes(context):
        try:
            act.usual_pace(box)
        except DrError as error:
            context.say(f"WARNING: the pace of {box} was not put back, and holds until it is empty: {error}")


REPLAY_OUTBOX: Procedure[ReplayOutbox] = Procedure(
    name="replay-outbox",
    summary="Drain every outbox into its store, and account for each row.",
    purpose=(
        "The replayers drain by themselves as soon as a store takes rows. This is for the hour after an outage: it "
        "says what waits and how long that takes, keeps the replayers to a pace (they yield to whoever else uses the "
        "store, --at-full-speed does not), watches, and ends with a reconciliation: enqueued = applied + dead + "
        "pending, by table and lane, each applied row looked for in the store by its event id. Refuses while a store "
        "takes no rows, while there are two primaries, and where a table is missing or other than declared."
    ),
    gate=(
        Gate("applications", "Every application host answers.", apps_answer),
        Gate("stores", "One PostgreSQL node takes writes; every TDengine server answers.", takes_rows),
        Gate("schema", "Every table is as the catalogue declares it, or its rows may wait.", shapes_fit),
    ),
    initial=lambda context: ReplayOutbox(),
    steps=(
        Step(
            name="assess", role="app", budget="outbox.drain", action=assess, observes=True, grows=Grows.ROWS,
            says="Say what waits in each outbox by lane and table, and how long it will take.",
            evidence=Evidence("each outbox was counted"),
            still=Evidence("stores that take rows, tables as declared, application hosts that answer", as_assessed),
            commands=(
                "cd /opt/mystocks-dr && sudo -u mystocks python3 -m agents.writing.outbox_cli status",
                "cd /opt/mystocks-dr && sudo -u mystocks python3 -m agents.writing.outbox_cli accounts",
            ),
        ),
        Step(
            name="replay", role="app", budget="outbox.drain", action=replay, grows=Grows.ROWS,
            undo=usual_pace, undo_says="let the replayers go at their usual pace",
            says="Tell the replayers their pace, and wait while rows leave.",
            evidence=Evidence("no record is ready in any outbox; what waits for a table was named"),
            commands=(
                "cd /opt/mystocks-dr && sudo -u mystocks python3 -m agents.writing.outbox_cli pace --rows-per-s 5000",
                "systemctl status mystocks-replayer",
            ),
        ),
        Step(
            name="reconcile", role="app", budget="restore.requeue", action=reconcile, observes=True,
            says="Account for every row by table and lane, and look for the applied ones in the store.",
            evidence=Evidence("enqueued = applied + dead + pending, and no applied row is missing in the store"),
            commands=(
                "cd /opt/mystocks-dr && sudo -u mystocks python3 -m agents.writing.outbox_cli accounts",
                "cd /opt/mystocks-dr && sudo -u mystocks python3 -m agents.writing.outbox_cli prove --after 0",
            ),
        ),
    ),
)  # fmt: skip
