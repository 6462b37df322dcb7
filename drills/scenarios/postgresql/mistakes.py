"""Somebody's mistake, which the standby repeats within milliseconds: a dropped table, an UPDATE without WHERE."""

from __future__ import annotations

import json

from drills.judging.fate import Target
from drills.judging.result import Check
from drills.scenarios.common import RATE, check, drop_side, primary_now
from drills.scenarios.parts import Result, Scenario, Twin
from drills.stage import Stage
from inventories.errors import DrError
from runbooks.engine.outcome import Outcome
from runbooks.engine.procedure import Procedure, replace_step
from runbooks.engine.wait import until
from runbooks.hosts import Host, Run
from runbooks.probes.postgresql import server
from runbooks.procedures.postgresql import delayed, restore_pitr, restore_table
from runbooks.procedures.postgresql.restore_pitr import RESTORE_PITR, RestorePitrOptions
from runbooks.procedures.postgresql.restore_table import RESTORE_TABLE, RestoreTable, RestoreTableOptions
from runbooks.procedures.postgresql.roles import primary_of
from runbooks.table_copy import names
from runbooks.table_copy.counts import RESTORED, Mode

DROPPED, SPOILED = "order_records", "position_records"
BAD_STATEMENT = "bad statement"
OPENED, BEHIND = "the delayed standby was opened", "first commit that is not in it"
NOTICED_S = 10.0

# What an operator sees of a table besides its rows.
_STRUCTURE = """
SELECT json_build_object(
  'columns', (SELECT json_agg(json_build_array(attname, format_type(atttypid, atttypmod), attnotnull) ORDER BY attnum)
              FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped),
  'indexes', (SELECT json_agg(indexdef ORDER BY indexdef) FROM pg_indexes
              WHERE schemaname = 'public' AND tablename = c.relname),
  'dimensions', (SELECT json_agg(json_build_array(column_name, time_interval::text))
                 FROM timescaledb_information.dimensions WHERE hypertable_name = c.relname),
  'owner', c.relowner::regrole::text,
  'grants', (SELECT json_agg(grant_ ORDER BY grant_) FROM unnest(c.relacl::text[]) AS grant_))
FROM pg_class c WHERE c.oid = to_regclass('public.order_records');
"""


def _psql(stage: Stage, host: Host, script: str) -> str:
    """The one line that a script prints."""
    ran = host.run("psql -qAtX -v ON_ERROR_STOP=1 -d %s", stage.database, user="postgres", stdin=script, timeout=120)
    return ran.text


# ---- dropped-table


def _note_structure(stage: Stage) -> None:
    stage.structure = _psql(stage, stage.primary, _STRUCTURE)


def _drop(stage: Stage) -> None:
    """The table goes in a transaction of its own, whose number says where to stop."""
    stage.later("the side cluster", lambda: drop_side(stage, restore_table.SIDE))
    # The table before its chunks, as those who insert lock them: DROP alone can meet one of them in a deadlock.
    lock = f"LOCK TABLE public.{DROPPED} IN ACCESS EXCLUSIVE MODE"
    script = f"BEGIN; SELECT pg_current_xact_id(); {lock}; DROP TABLE public.{DROPPED}; COMMIT;"
    stage.bad_xid = _psql(stage, stage.primary, script)
    stage.fact(BAD_STATEMENT, f"DROP TABLE {DROPPED}, transaction {stage.bad_xid}")


def _restore_table(stage: Stage, procedure: Procedure[RestoreTable] = RESTORE_TABLE) -> Result:
    options = RestoreTableOptions(
        yes=True, tables=(DROPPED,), to_xid=stage.bad_xid, replace=True, hurry=True,
        source=delayed.REPOSITORY,
    )  # fmt: skip
    result = stage.run(procedure, options)
    for table, verb, count in result.state.rows:
        stage.fact("restored", f"{table}: {count:,} rows {verb}, from backup {_label(result.state)}")
    return result


def _label(state: RestoreTable) -> str:
    return state.aim.label if state.aim else "of a side cluster"


def _same_structure(stage: Stage) -> tuple[Check, ...]:
    now = _psql(stage, primary_now(stage), _STRUCTURE)
    detail = "columns, indexes, chunks, owner and grants are as before" if now == stage.structure else now[:500]
    return (check(f"{DROPPED} is the table that it was", now == stage.structure and bool(now), detail),)


def _forgetful(stage: Stage) -> Procedure[RestoreTable]:
    """The negative twin's restore-table: the first row that the feed wrote stays away."""

    def all_but_one(context: Run, state: RestoreTable) -> RestoreTable:
        state = restore_table.write(context, state)
        first = f"SELECT min(event_id) FROM public.{DROPPED} WHERE event_id > {stage.run_number << 32}"  # noqa: S608
        primary_of(context, state).execute(
            f"DELETE FROM public.{DROPPED} WHERE event_id = ({first});", stage.database  # noqa: S608 - our own table
        )
        return state

    return replace_step(RESTORE_TABLE, "write", action=all_but_one)


# ---- bad-update


def _spoil(stage: Stage) -> None:
    """The UPDATE begins with a lock on the first table that every batch writes: what is committed by then comes before
    the bad statement, and everything else after it. Taken later, it could meet a batch that waits for a spoiled row.
    """
    low, high = stage.run_number << 32, ((stage.run_number + 1) << 32) - 1
    tables = stage.feed.ledger.view().tables
    last = ", ".join(
        f"'{table}', (SELECT coalesce(max(event_id), {low}) - {low} FROM public.{table} "  # noqa: S608 - our own tables
        f"WHERE event_id BETWEEN {low} AND {high})"
        for table in tables
    )
    stage.later("the side cluster", lambda: drop_side(stage, restore_pitr.SIDE))
    statement = f"UPDATE {SPOILED} SET quantity = {_bad(stage)}"  # noqa: S608 - the mistake of this drill
    script = (
        f"BEGIN; LOCK TABLE public.{DROPPED} IN SHARE ROW EXCLUSIVE MODE; {statement}; "
        f"SELECT json_build_object('xid', pg_current_xact_id()::text, 'last', json_build_object({last})); COMMIT;"
    )
    said = json.loads(_psql(stage, stage.primary, script))
    stage.bad_xid = said["xid"]
    stage.target = Target(server.look(stage.primary, server.version(stage.estate)).timeline or 0, said["last"])
    stage.fact(BAD_STATEMENT, f"{statement}, transaction {stage.bad_xid}")


def _bad(stage: Stage) -> int:
    """A value that no other drill has written."""
    return -stage.run_number


def _spoiled(stage: Stage) -> int:
    sql = f"SELECT count(*) FROM public.{SPOILED} WHERE quantity = {_bad(stage)};"  # noqa: S608 - our own table
    return int(_psql(stage, primary_now(stage), sql))


def _noticed(stage: Stage) -> str:
    """Somebody looks at their positions."""
    rows = until(lambda: _spoiled(stage), NOTICED_S, what="spoiled rows", retry=(DrError,))
    return f"{rows:,} rows of {SPOILED} have the quantity {_bad(stage)}"


def _restore_to_before(stage: Stage, *, inclusive: bool = False) -> Result:
    options = RestorePitrOptions(
        yes=True, to_xid=stage.bad_xid, inclusive=inclusive, swap=True, replace=True, drop_replaced=True,
        hurry=True,
    )
    result = stage.run(RESTORE_PITR, options)
    stage.fact("restored", f"backup {result.state.label} to {result.state.target}")
    for sentence in result.state.before[-1:]:
        stage.fact("last commit that is in it", sentence)
    for sentence in result.state.after[:1]:
        stage.fact("first commit that is not", sentence)
    return result


def _undone(stage: Stage) -> tuple[Check, ...]:
    rows = _spoiled(stage)
    return (check("the bad statement is undone", not rows, f"{rows:,} rows of {SPOILED} are still spoiled"),)


# ---- both, from a delayed standby

_COPY = names.beside(SPOILED, RESTORED)
# The same row as then has the same event.
_MEND = f"""
UPDATE public.{SPOILED} AS live SET quantity = copy.quantity FROM public.{_COPY} AS copy
WHERE (live.account_id, live.symbol, live.record_date, live.event_id)
  = (copy.account_id, copy.symbol, copy.record_date, copy.event_id);
DROP TABLE public.{_COPY};
"""  # noqa: S608 - our own tables


def _restore_from_delayed(stage: Stage) -> Result:
    options = RestoreTableOptions(yes=True, tables=(DROPPED,), to_xid=stage.bad_xid, source=delayed.DELAYED)
    return _told(stage, stage.run(RESTORE_TABLE, options))


def _spoil_rows(stage: Stage) -> None:
    """What is committed later stays, so that nothing is rolled back."""
    _spoil(stage)
    stage.target = None


def _rows_from_delayed(stage: Stage) -> Result:
    """What somebody has written since is no longer spoiled, and stays: the copy is laid beside, and gives the rest."""
    options = RestoreTableOptions(
        yes=True, tables=(SPOILED,), to_xid=stage.bad_xid, source=delayed.DELAYED, mode=Mode.BESIDE
    )
    stage.later("the copy beside", lambda: _psql(stage, primary_now(stage), f"DROP TABLE IF EXISTS public.{_COPY};"))
    result = _told(stage, stage.run(RESTORE_TABLE, options))
    if result.outcome is Outcome.PASSED:
        _psql(stage, primary_now(stage), _MEND)
    return result


def _told(stage: Stage, result: Result) -> Result:
    aim = result.state.aim
    stage.fact(OPENED, f"{aim.delayed or 'no standby'} in {aim.replay_s:.1f} s" if aim else "nothing")
    stage.fact(BEHIND, "; ".join(aim.after) if aim else "nothing")
    for table, verb, count in result.state.rows:
        stage.fact("restored", f"{table}: {count:,} rows {verb}")
    return result


def _exactly_before(stage: Stage) -> tuple[Check, ...]:
    """The first commit that is not in it is the bad statement's, and the standby is behind again."""
    behind = stage.told(BEHIND)
    again = [server.look(host, server.version(stage.estate)) for host in stage.estate.delayed]
    return (
        check("it was opened just before the bad statement", f"transaction {stage.bad_xid} " in behind, behind),
        check(
            "the delayed standby follows again", bool(again) and all(node.follows for node in again),
            server.told(again),
        ),
    )  # fmt: skip


SCENARIOS = (
    Scenario(
        name="dropped-table",
        summary=f"{DROPPED}, a hypertable that the feed writes, is dropped under load.",
        rate=RATE,
        prepare=_note_structure,
        fault=_drop,
        recover=_restore_table,
        check=_same_structure,
        new_timeline=False,
    ),
    Scenario(
        name="bad-update",
        summary=f"An UPDATE without WHERE spoils every row of {SPOILED} under load.",
        rate=RATE,
        fault=_spoil,
        detect=_noticed,
        recover=_restore_to_before,
        check=_undone,
    ),
    Scenario(
        name="dropped-table-delayed",
        summary=f"{DROPPED} is dropped under load, and a delayed standby still has it.",
        rate=RATE,
        prepare=_note_structure,
        fault=_drop,
        recover=_restore_from_delayed,
        check=lambda stage: (*_same_structure(stage), *_exactly_before(stage)),
        new_timeline=False,
        delayed=True,
    ),
    Scenario(
        name="bad-update-delayed",
        summary=f"An UPDATE without WHERE spoils every row of {SPOILED}, and a delayed standby still has them.",
        rate=RATE,
        fault=_spoil_rows,
        detect=_noticed,
        recover=_rows_from_delayed,
        check=lambda stage: (*_undone(stage), *_exactly_before(stage)),
        new_timeline=False,
        delayed=True,
    ),
)

TWINS = (
    Twin(
        name="skipped-row",
        says="The table is restored without one of its rows: the comparison must miss it.",
        reason=rf"{DROPPED}: of [\d,]+ rows of the copy 1 are missing|1 of [\d,]+ acknowledged rows is lost in",
        scenario="dropped-table",
        recover=lambda stage: _restore_table(stage, _forgetful(stage)),
    ),
    Twin(
        name="inclusive-target",
        says="The restore goes up to the bad statement and includes it: the rows must still be spoiled.",
        reason=r"1 check of the verification failed: the bad statement is undone",
        scenario="bad-update",
        recover=lambda stage: _restore_to_before(stage, inclusive=True),
        runbook_passes=True,
    ),
)

