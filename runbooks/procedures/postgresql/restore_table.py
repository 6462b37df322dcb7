"""Restore tables from a point in time: a side cluster, a comparison by key, one transaction, a check."""

from __future__ import annotations

from typing import ClassVar

from inventories.catalog.load import load_tables
from inventories.errors import BadInput, Refused, TimedOut, Unreachable, VerificationFailed
from runbooks.actions import lease
from runbooks.actions.postgresql import side as side_act
from runbooks.actions.postgresql import table_copy as act
from runbooks.engine.context import Options
from runbooks.engine.procedure import Procedure
from runbooks.engine.process import user_at_machine
from runbooks.engine.step import Evidence, Grows, Step
from runbooks.engine.wait import until
from runbooks.hosts import Run
from runbooks.probes.postgresql import schema, server, tables
from runbooks.probes.postgresql import side as sides
from runbooks.probes.postgresql import table_copy as copies
from runbooks.probes.postgresql.tables import Server
from runbooks.procedures.postgresql import beside, delayed, gates, guards, pitr_side, pitr_target
from runbooks.procedures.postgresql import table_copy as copying
from runbooks.procedures.postgresql.pitr_state import RestorePitr
from runbooks.procedures.postgresql.pitr_state import wanted as pitr_wanted
from runbooks.procedures.postgresql.roles import Roles, layout, primary_of
from runbooks.procedures.postgresql.table_plan import Planner
from runbooks.procedures.postgresql.working import nobody_works
from runbooks.table_copy import names
from runbooks.table_copy.counts import REPLACED, Counts, Making, Mode, TablePlan, held, outside, remarks, sentence
from runbooks.table_copy.pair import Pair
from runbooks.table_copy.shape import ForeignKey, Shape
from runbooks.table_copy.source import Source

SIDE = "table"


class RestoreTableOptions(Options):
    """A target as restore-pitr takes it, or `source`, the name of a side cluster that is open already; with a target
    "delayed" or "repository", as there.

    `where` restricts both the copy and the live table. `replace` drops an open side cluster of another target,
    `hurry` gives way to nobody.
    """

    added_later: ClassVar[frozenset[str]] = frozenset({"replace", "accept_loss", "hurry"})
    only_if_said: ClassVar[frozenset[str]] = frozenset({"mode", "repo"})
    tables: tuple[str, ...] = ()
    mode: Mode = Mode.MERGE
    to_time: str = ""
    to_lsn: str = ""
    to_xid: str = ""
    to_name: str = ""
    inclusive: bool = False
    backup_set: str = ""
    repo: int = 1
    timeline: int = 0
    on: str = ""
    source: str = ""
    where: str = ""
    keep_replaced: bool = True
    replace: bool = False
    hurry: bool = False
    accept_loss: bool = False


class RestoreTable(Roles):
    """What is restored, from where (`aim` is None for a side cluster that was open already), what was found and what
    was written; `xid` is the transaction that wrote it, `told` what the operator reads.
    """

    tables: tuple[str, ...] = ()
    mode: Mode = Mode.MERGE
    where: str = ""
    keep_replaced: bool = True
    side: str = SIDE
    at: str = ""  # the host that it is on; empty: the primary's own
    aim: RestorePitr | None = None
    plans: tuple[TablePlan, ...] = ()
    making: Making = Making()
    written: bool = False
    xid: int = 0
    rows: tuple[tuple[str, str, int], ...] = ()
    told: tuple[str, ...] = ()


def mode_of(text: str) -> Mode:
    """Raises BadInput naming the modes there are."""
    try:
        return Mode(text.strip().lower())
    except ValueError:
        known = ", ".join(Mode)
        raise BadInput(f"there is no mode {text!r}", f"--mode is one of {known}") from None


def tables_of(text: str) -> tuple[str, ...]:
    """The tables that an operator named. Raises BadInput."""
    try:
        return names.many(text)
    except ValueError as error:
        raise BadInput(
            f"--tables {text!r} cannot be read from {str(error)!r} on",
            'name a table as NAME or SCHEMA.NAME, and put double quotes around what has a dot or a comma: "a.b"',
        ) from None


def begins(context: Run) -> RestoreTable:
    """What was asked for. Raises BadInput, and Refused while another run does the same."""
    state = wanted(context)
    delayed.fitting(context, is_open=state.aim is None)
    nobody_works(context, f"side-{SIDE}")
    return state


def wanted(context: Run) -> RestoreTable:
    """What the operator said. Raises BadInput."""
    said: RestoreTableOptions = context.options
    if not said.tables:
        raise BadInput("no table was named", "--tables order_records, or several with commas between them")
    twice = sorted({name for name in said.tables if said.tables.count(name) > 1})
    if twice:
        raise BadInput(f"{', '.join(twice)} is named twice in --tables", "name each table once")
    is_open = said.source not in ("", delayed.DELAYED, delayed.REPOSITORY)
    if is_open and any((said.to_time, said.to_lsn, said.to_xid, said.to_name)):
        raise BadInput(
            "a target and --from were both given",
            "an open side cluster stands where it was stopped; --from delayed and --from repository go with a target",
        )
    aim = None if is_open else pitr_wanted(context).model_copy(update={"side": SIDE, "served": True})
    return RestoreTable(
        tables=said.tables, mode=said.mode, where=said.where.strip(), keep_replaced=said.keep_replaced,
        side=said.source if is_open else SIDE, aim=aim,
    )  # fmt: skip


def assess(context: Run, state: RestoreTable) -> RestoreTable:
    """Find the primary, and make sure that the tables' names are right as far as it can be told without a copy."""
    node = server.the_primary(server.survey(context.estate))
    state = state.model_copy(update={"primary": node.name, "timeline": node.timeline})
    live = live_server(context, state)
    for name in copying.known_names(state.tables, tables.names(live), anything=state.aim is None):
        context.say(f"{name} is neither live nor in the catalogue: the copy will tell whether it was there")
    copying.free_names(state.tables, state.mode, state.keep_replaced, live)
    at = beside.chosen(context, node.name)
    return state.model_copy(update={"at": at, "aim": state.aim and pitr_target.assess(context, state.aim)})


def from_target(context: Run, state: RestoreTable) -> bool:
    return state.aim is not None


def opens_standby(context: Run, state: RestoreTable) -> bool:
    return state.aim is not None and bool(state.aim.delayed)


def restores_backup(context: Run, state: RestoreTable) -> bool:
    return state.aim is not None and not state.aim.delayed


def cover(context: Run, state: RestoreTable) -> RestoreTable:
    """As restore-pitr: a commit must be behind the target; a delayed standby before it, or a backup leads to it."""
    assert state.aim is not None
    aim = delayed.found(context, pitr_target.cover(context, state.aim), state.tables)
    if aim.delayed:
        return state.model_copy(update={"aim": aim, "at": aim.at})
    return state.model_copy(update={"aim": pitr_target.choose(context, aim)})


def side_restore(context: Run, state: RestoreTable) -> RestoreTable:
    """Restore beside the live cluster up to the target; one that is open with the same target is taken as it is.

    The lease keeps the repository from expiring meanwhile; once recovery stands at its target nothing more is read.
    """
    assert state.aim is not None
    if state.aim.delayed:
        return state.model_copy(update={"aim": delayed.opened(context, state.aim)})
    backup, name = context.estate.backup, context.run_dir.name
    why = f"restoring {', '.join(state.tables)} from {state.aim.label} to {state.aim.target}"
    lease.hold(backup, name, user_at_machine(), why, lease.RESTORE_S, state.aim.label)
    try:
        pitr_target.still_there(context, state.aim)
        aim = pitr_side.side_restore(context, state.aim)
        # Paused before the commit of a DROP TABLE, recovery holds that statement's lock, and no query would ever end.
        side_act.promote(beside.host_of(context, state), state.side, context.remaining())
    except (TimedOut, Unreachable, KeyboardInterrupt):
        raise  # it may restore still, and needs its backup
    except BaseException:
        lease.release(backup, name)
        raise
    lease.release(backup, name)
    return state.model_copy(update={"aim": aim})


def reached(context: Run, state: RestoreTable) -> None:
    """The same proof as restore-pitr's: the commits on either side of where recovery stopped, from the archive."""
    assert state.aim is not None
    if state.aim.delayed:
        delayed.reached(context, state.aim)
        return
    pitr_side.stands(context, state.aim)
    pitr_side.reached(context, state.aim)
    context.say(
        f"the side cluster {state.side} stands at {server.as_lsn(state.aim.side_lsn)}: "
        f"{state.aim.bytes >> 20} MiB restored in {state.aim.restore_s:.1f} s, "
        f"{state.aim.wal_bytes >> 20} MiB of WAL replayed in {state.aim.replay_s:.1f} s"
    )


def live_server(context: Run, state: RestoreTable) -> Server:
    return Server(primary_of(context, state), str(context.estate.data["database"]))


def source_of(context: Run, state: RestoreTable) -> Source:
    """The open side cluster. Raises Refused when there is none, or when it has not reached its target."""
    host = beside.host_of(context, state)
    there = sides.look(host, state.side)
    if there is None or not there.ready:
        why = f"is {there.phase}: {there.sentence}" if there else "is not there"
        again = "start afresh, without --resume" if state.aim else "restore it first, or leave --from out"
        raise Refused(f"the side cluster {state.side} on {host} {why}", again)
    socket = beside.socket_of(context, state, there)
    return Source(layout(context).bin, socket, there.port, str(context.estate.data["database"]))


def compare(context: Run, state: RestoreTable) -> RestoreTable:
    """Both shapes, the way from one to the other, and the counts; everything that can be refused is refused here."""
    with delayed.given_back(context, state.aim):
        return _compared(context, state)


def _compared(context: Run, state: RestoreTable) -> RestoreTable:
    live, source = live_server(context, state), source_of(context, state)
    copy = Server(live.host, live.database, source.connect)
    if opens_standby(context, state):
        delayed.readable(copy, state.tables)
    elif copies.locked(copy):
        context.say(f"a transaction in flight at the target has locked tables: {state.side} is promoted to undo it")
        side_act.promote(beside.host_of(context, state), state.side, context.remaining())
    plans, making = planner(context, state, copy).plan(state.tables)
    chosen = pairs(plans, state)
    if state.where:
        copying.check_condition(copy, chosen, state.where)
    found = copies.compare(live, chosen, source, context.remaining(), state.mode)
    plans = tuple(plan.model_copy(update={"counts": counts}) for plan, counts in zip(plans, found, strict=True))
    told = _told(context, state, plans, copies.event_triggers(live))
    for line in told:
        context.say(line)
    copying.judge(plans, state.mode, state.where)
    copying.room(context, live.host, plans, state.mode)
    if context.options.yes:
        copying.judge_losses(plans, state.mode, context.options.accept_loss)
    else:
        context.say(next_word := _next_word(plans, state))
        told = (*told, next_word)
    return state.model_copy(update={"plans": plans, "making": making, "told": told})


def planner(context: Run, state: RestoreTable, copy: Server) -> Planner:
    return Planner(live_server(context, state), copy, state.mode, layout(context).bin, context.remaining())


def _told(context: Run, state: RestoreTable, plans: tuple[TablePlan, ...], fired: tuple[str, ...]) -> tuple[str, ...]:
    told = [line for plan in plans for line in (sentence(plan, state.mode), *remarks(plan, state.mode))]
    if fired:
        told.append(f"event triggers are off while it is written: {', '.join(fired)}")
    if state.mode is Mode.REPLACE and state.keep_replaced:
        kept = [names.beside(plan.name, REPLACED) for plan in plans if plan.live]
        told += [f"what is replaced is kept as {', '.join(kept)}"] if kept else []
    if not context.options.yes:
        beside.leave(context, state)
    if (not context.options.yes or state.aim is None) and not opens_standby(context, state):
        told.append(
            f"the side cluster {state.side} stays open on {beside.host_of(context, state)} "
            f"({_megabytes(plans)} MiB in these tables); there, {beside.dropping(state)} removes it"
        )
    return tuple(told)


def _next_word(plans: tuple[TablePlan, ...], state: RestoreTable) -> str:
    """Said only where nothing stands in its way."""
    consent = " --accept-loss" if any(plan.lost for plan in plans) and state.mode is not Mode.BESIDE else ""
    return f"nothing was written: repeat with --yes{consent}"


def _megabytes(plans: tuple[TablePlan, ...]) -> int:
    return sum(plan.copied.size_bytes for plan in plans) >> 20


def pairs(plans: tuple[TablePlan, ...], state: RestoreTable) -> tuple[Pair, ...]:
    chosen = [plan.name for plan in plans]
    return tuple(
        Pair(
            plan.copied, plan.live, state.where, fit=plan.fit,
            parents=outside(_proved(plan), chosen, "parent"),
            children=outside(plan.live.referred_by if plan.live else (), chosen, "child"),
        )
        for plan in plans
    )  # fmt: skip


def _proved(plan: TablePlan) -> tuple[ForeignKey, ...]:
    """Foreign keys that rows have to meet; one that was never validated is made again as such."""
    if plan.live:
        return plan.live.foreign_keys
    return tuple(fk for fk in plan.copied.foreign_keys if not fk.definition.endswith("NOT VALID"))


def write(context: Run, state: RestoreTable) -> RestoreTable:
    """One transaction. A run that was cut off in it finds by its mark whether it was committed."""
    with delayed.given_back(context, state.aim):
        return _written(context, state)


def _written(context: Run, state: RestoreTable) -> RestoreTable:
    live, mark = live_server(context, state), copying.mark_of(context)
    act.end_sessions(live.host, live.database)
    until(lambda: copies.sessions(live), 30, what="the sessions of an earlier run to end", accept=lambda n: n == 0)
    if earlier := copies.committed(live, mark):
        context.say("an earlier attempt of this run had committed already: nothing is written twice")
        return state.model_copy(update={"written": True, "xid": earlier})
    source = source_of(context, state)
    body = copying.body(
        state.plans, pairs(state.plans, state), state.making, state.mode, source, state.keep_replaced
    )
    done = act.write(live.host, live.database, body, mark, context.remaining())
    for table, verb, count in done.rows:
        context.say(f"{table}: {count} rows {verb}")
    return state.model_copy(update={"written": True, "xid": done.xid, "rows": done.rows})


def is_committed(context: Run, state: RestoreTable) -> None:
    if not copies.committed(live_server(context, state), copying.mark_of(context)):
        raise VerificationFailed(f"the transaction of this run is not in {state.primary}")


def check(context: Run, state: RestoreTable) -> RestoreTable:
    """Every row of the copy is live with the same values, or was superseded; what was made is as declared."""
    with delayed.given_back(context, state.aim):
        found = _compared_again(context, state)
    beside.leave(context, state)
    told = tuple(held(counts) for counts in found)
    for line in told:
        context.say(line)
    return state.model_copy(update={"told": (*state.told, *told)})


def _compared_again(context: Run, state: RestoreTable) -> tuple[Counts, ...]:
    """Raises VerificationFailed."""
    live, source = live_server(context, state), source_of(context, state)
    there = tables.shapes(live, copying.left(state.tables, state.mode))
    again = copying.targets(pairs(state.plans, state), state.mode, there, state.xid)
    found = copies.compare(live, again, source, context.remaining())
    _all_there(state, found)
    _as_declared(context, state, there)
    return found


def _as_declared(context: Run, state: RestoreTable, there: dict[str, Shape]) -> None:
    """What was made again is what it was, and what the catalogue declares. Raises VerificationFailed."""
    made = [plan.copied for plan in state.plans if plan.live is None] if state.mode is not Mode.BESIDE else []
    if not made:
        return
    live, declared = live_server(context, state), load_tables().tables
    known = [shape for shape in made if shape.name in declared]
    structure = schema.look(live.host, live.database) if known else {}
    wrong = [
        line for shape in known
        for line in schema.of_table(declared[shape.name], structure.get(shape.name))
    ]
    if wrong:
        raise VerificationFailed(f"the tables that were made again differ from the catalogue: {'; '.join(wrong)}")
    lacking = planner(context, state, live).difference(state.making, made, there)
    if lacking:
        raise VerificationFailed(
            f"the tables that were made again differ from the copy's in {len(lacking)} statements: {lacking[0][:300]}"
        )


def _all_there(state: RestoreTable, found: tuple[Counts, ...]) -> None:
    """Merging leaves alone what was altered before; anything else that differs was not restored."""
    if not any(counts.restored for counts in found) and any(plan.live for plan in state.plans):
        raise VerificationFailed(f"of {', '.join(counts.table for counts in found)} no row of the copy was compared")
    for plan, counts in zip(state.plans, found, strict=True):
        known = plan.counts.altered if plan.counts and state.mode is Mode.MERGE and plan.live else 0
        if counts.missing or counts.altered > known:
            raise VerificationFailed(
                f"{counts.table}: of {counts.restored} rows of the copy {counts.missing} are missing and "
                f"{counts.altered - known} hold other values than restored",
                _where_to_compare(state),
            )


def _where_to_compare(state: RestoreTable) -> str:
    if state.aim and state.aim.delayed:
        return f"{state.aim.delayed} was given back: the same with --from repository compares again"
    return f"the side cluster {state.side} is still open on {state.at or state.primary}: compare by hand"


def drop_side(context: Run, state: RestoreTable) -> RestoreTable:
    beside.leave(context, state)
    side_act.drop(beside.host_of(context, state), state.side, context.remaining())
    return state


def give_back(context: Run, state: RestoreTable) -> RestoreTable:
    assert state.aim is not None
    delayed.closed(context, state.aim)
    return state


def follows(context: Run, state: RestoreTable) -> None:
    assert state.aim is not None
    delayed.follows(context, state.aim)


def dropped(context: Run, state: RestoreTable) -> None:
    if sides.look(host := beside.host_of(context, state), state.side):
        raise VerificationFailed(f"the side cluster {state.side} is still on {host}")


RESTORE_TABLE: Procedure[RestoreTable] = Procedure(
    name="restore-table",
    summary="Restore tables from a point in time beside or into the live database.",
    purpose=(
        "Rows, or whole tables, were dropped, deleted or overwritten, and everything else must stay. Restores a side "
        "cluster at the point in time, compares by key, and prints the counts; with --yes it merges the missing rows, "
        "replaces the content or leaves the copy beside, in one transaction, and no trigger or rule has a say in it. "
        "Refuses without a primary, for a target that the archive does not reach, and where a foreign key would break, "
        "a unique value is taken, or rows of tables that were not named would go."
    ),
    gate=(gates.ONE_ANSWERS,),
    initial=begins,
    steps=(
        Step(
            name="assess", role="primary", budget="ssh.command", action=assess, observes=True,
            says="Find the primary and make sure that the tables' names are no slips.",
            evidence=Evidence("one primary answers, no table's name is a slip of another's"),
            still=guards.alone(),
        ),
        Step(
            name="cover", role="primary and backup", budget="restore.locate", action=cover, observes=True,
            when=from_target, when_says="the side cluster is this run's own",
            says="Close the WAL segment; find the target ahead of a delayed standby, else a good backup before it.",
            evidence=Evidence("a standby has it before it, or a sound backup's WAL is whole up to a commit behind it"),
            commands=(
                "psql -c 'select pg_current_xact_id()' -c 'select pg_switch_wal()'", "pgbackrest --stanza=main info",
            ),
        ),
        Step(
            name="side-restore", role="primary", budget="restore.side", action=side_restore, observes=True,
            grows=Grows.RESTORE,
            when=from_target, when_says="the side cluster is this run's own",
            says="Open the delayed standby at the target, or restore a side cluster up to it, cut off from the world.",
            evidence=Evidence("the last commit in it lies before the target and the next one after it", reached),
            commands=(
                "cd /opt/mystocks-dr && sudo -u postgres python3 -m agents.postgresql.side.cluster restore "
                "--name table --type time "
                "--target '2026-11-21 10:00:00+08'",
            ),
        ),
        Step(
            name="compare", role="primary", budget="restore.compare", action=compare, observes=True,
            says="Compare the copy with the live tables by key, and say what would be written.",
            evidence=Evidence("rows live, restored, missing and differing are counted for every table"),
            commands=(
                "# as postgres on the primary; SIDE stands for -h /var/lib/postgresql/17/side-table.d -p 5433",
                "psql SIDE -d quant_research -c 'select count(*) from TABLE'",
                "psql -d quant_research -c 'select count(*) from TABLE'",
            ),
        ),
        Step(
            name="write", role="primary", budget="restore.write", action=write, destructive=True, option="yes",
            says="Write the rows, all tables in one transaction.",
            evidence=Evidence("the transaction is committed on the primary", is_committed),
            commands=(
                "pg_dump SIDE -d quant_research --schema-only -t TABLE | psql -d quant_research  # if dropped",
                "psql -d quant_research",
                "  begin; create temp table stage as select * from TABLE with no data;",
                "  copy stage from program 'psql SIDE -d quant_research -c \"copy TABLE to stdout\"';",
                "  set local session_replication_role = replica;  # no trigger has a say, no foreign key either",
                "  insert into TABLE select * from stage on conflict do nothing; commit;",
            ),
        ),
        Step(
            name="check", role="primary", budget="restore.compare", action=check, option="yes",
            says="Compare again: what the copy holds must be live, or superseded by something written later.",
            evidence=Evidence("every row of the copy is live or superseded, tables made again are as declared"),
        ),
        Step(
            name="drop-side", role="primary", budget="ssh.command", action=drop_side, option="yes",
            when=restores_backup, when_says="a backup was restored",
            says="Remove the side cluster.",
            evidence=Evidence("it is gone", dropped),
            commands=(beside.dropping(RestoreTable()),),
        ),
        Step(
            name="give-back", role="delayed standby", budget="restore.swap", action=give_back, observes=True,
            when=opens_standby, when_says="a delayed standby was opened",
            says="Let it go on as the delayed standby that it was.",
            evidence=Evidence("it is a standby again", follows),
            commands=(sides.closing(SIDE, 17),),
        ),
    ),
)  # fmt: skip
