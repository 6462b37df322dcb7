"""What only a backup of TDengine brings back: a lost host, a dropped supertable, rows that were corrected late."""

from __future__ import annotations

import time
from collections.abc import Iterable

from deploys.run import deploy
from drills.judging.result import Check
from drills.scenarios.common import RATE, check, run_job
from drills.scenarios.parts import Result, Scenario, Twin
from drills.scenarios.tdengine.faults import ask, leading, take_an_instant
from drills.stage import Stage
from drills.stores import TDENGINE
from inventories.catalog import load_tables
from inventories.catalog.tables import Store as Kind
from inventories.errors import TargetFailed
from runbooks.engine.procedure import Procedure, replace_step
from runbooks.probes.tdengine import backups
from runbooks.probes.tdengine import servers as tdengine
from runbooks.procedures.tdengine.rebuild import TDENGINE_REBUILD, TdengineRebuild, TdengineRebuildOptions
from runbooks.procedures.tdengine.rejoin import TDENGINE_REJOIN, TdengineRejoinOptions
from runbooks.procedures.tdengine.restore import TDENGINE_RESTORE, TdengineRestore, TdengineRestoreOptions

DROPPED = "tick_data"
FULL, INCREMENTAL = "full backup", "incremental backup"
LOST_HOST = "lost host"
_CALM_S = 3.0  # rows that only the application host has besides the node
_HOUR_NS = 3600 * 10**9
SOUND, CORRECTED, LATE = 1.0, 2.0, 3.0  # prices, which say what became of a row
EXPECTED = {SOUND: 260, CORRECTED: 40, LATE: 25}


def database(stage: Stage) -> str:
    return str(stage.estate.data["tdengine_database"])


def _back_up(stage: Stage, label: str = FULL) -> None:
    """Run the scheduled job, as cron would."""
    state = run_job(stage, "td-full" if label == FULL else "td-incr")
    if state["outcome"] != "passed":
        raise TargetFailed(f"TDengine could not be backed up: {state['sentence']}")
    stage.fact(label, backups.labels(stage.estate.backup)[-1])


def _backed_up(stage: Stage) -> None:
    _back_up(stage)
    stage.pause(_CALM_S)


def _as_declared(stage: Stage) -> bool:
    """Whether every node serves and has the catalogue's supertables."""
    wanted = {f"{database(stage)}.{table.name}" for table in load_tables().of(Kind.TDENGINE)}
    servers = tdengine.survey(stage.estate)
    return all(one.role == "ready" and wanted <= set(one.columns) for one in servers)


def _rescue(stage: Stage) -> None:
    """Leave a TDengine behind that takes rows, whatever the drill came to: nothing where one is."""
    if not _as_declared(stage):
        stage.replace_hosts()
        deploy("lab", [host.name for host in tdengine.hosts(stage.estate)])


# ---- tdengine-host-loss


def _remove(stage: Stage) -> None:
    stage.later("TDengine's deploy", lambda: _rescue(stage))
    lost = leading(stage)
    stage.fact(LOST_HOST, lost.name)
    stage.remove(lost)


def _rebuild(stage: Stage, procedure: Procedure[TdengineRebuild] = TDENGINE_REBUILD) -> Result:
    """A blank host in its place: filled by the others where there are others, else from the backup."""
    stage.replace_hosts()
    if len(tdengine.hosts(stage.estate)) > 1:
        return stage.run(TDENGINE_REJOIN, TdengineRejoinOptions(yes=True, host=stage.told(LOST_HOST)))
    result = stage.run(procedure, TdengineRebuildOptions(yes=True))
    state = result.state
    stage.fact("restored from", f"backup {state.label}: {state.rows_written:,} rows written")
    stage.fact("queued again", f"{state.requeued:,} rows that the application host had kept")
    return result


def _rebuild_forgetting(stage: Stage) -> Result:
    """The negative twin: of three nodes the others forget nothing, so that rows are taken from them."""
    result = _rebuild(stage, replace_step(TDENGINE_REBUILD, "requeue", action=_forget))
    if len(tdengine.hosts(stage.estate)) > 1:
        take_an_instant(stage)
    return result


def _forget(context: object, state: TdengineRebuild) -> TdengineRebuild:
    """The negative twin's requeue: what was acknowledged after the backup stays away."""
    return state


# ---- tdengine-dropped-supertable


def _structure(stage: Stage) -> str:
    return repr([list(row.values()) for row in ask(stage, f"DESCRIBE {database(stage)}.{DROPPED}")])


def _note(stage: Stage) -> None:
    _backed_up(stage)
    stage.structure = _structure(stage)


def _drop(stage: Stage) -> None:
    stage.later("TDengine's tables", lambda: _rescue(stage))
    ask(stage, f"DROP STABLE {database(stage)}.{DROPPED}")


def _restore(
    stage: Stage, tables: tuple[str, ...], label: str = "", procedure: Procedure[TdengineRestore] = TDENGINE_RESTORE
) -> Result:
    result = stage.run(procedure, TdengineRestoreOptions(yes=True, tables=tables, label=label))
    state = result.state
    stage.fact("restored from", f"backup {state.label}: {state.rows_written:,} rows written")
    stage.fact("queued again", f"{state.requeued:,} rows that the application host had kept")
    return result


def _unqueued(context: object, state: TdengineRestore) -> TdengineRestore:
    """The same for a restore."""
    return state


def _same_structure(stage: Stage) -> tuple[Check, ...]:
    now = _structure(stage)
    good = bool(now) and now == stage.structure
    return (check(f"{DROPPED} is the table that it was", good, "columns, key and tags" if good else now[:300]),)


# ---- tdengine-late-rows


def _late_ids(stage: Stage) -> int:
    """The first event id of rows that no feed writes: those of the run before this one."""
    return (stage.running[TDENGINE.name].run_number - 1) << 32


def _write_late(stage: Stage, numbers: Iterable[int], price: float) -> None:
    """Rows of three hours two days ago, by number; a number that is there already is corrected."""
    first = _late_ids(stage)
    start = (int(time.time()) // 3600 - 48) * _HOUR_NS
    # A tag that has to survive as well: a quote, and letters beyond ASCII.
    head = f"{database(stage)}.late_{first >> 32} USING {database(stage)}.{DROPPED} TAGS ('迟''到', 'SSE')"
    rows = " ".join(
        f"({start + (n % 3) * _HOUR_NS + n * 1000}, {first + n}, {price}, 100)" for n in numbers
    )
    ask(stage, f"INSERT INTO {head} (ts, event_id, price, volume) VALUES {rows}")  # noqa: S608 - our own table


def _correct(stage: Stage) -> None:
    """A full backup, then corrections and latecomers, then an incremental one: nothing but that has them."""
    sound, corrected, late = EXPECTED[SOUND], EXPECTED[CORRECTED], EXPECTED[LATE]
    _write_late(stage, range(1, sound + corrected + 1), SOUND)
    _back_up(stage)
    _write_late(stage, range(1, corrected + 1), CORRECTED)
    _write_late(stage, range(sound + corrected + 1, sound + corrected + late + 1), LATE)
    _back_up(stage, INCREMENTAL)
    stage.fact("corrected", f"{corrected} rows of two days ago after the full backup, {late} came late")
    stage.pause(_CALM_S)


def _drop_database(stage: Stage) -> None:
    stage.later("TDengine's tables", lambda: _rescue(stage))
    ask(stage, f"DROP DATABASE {database(stage)}")


def _corrections_survive(stage: Stage) -> tuple[Check, ...]:
    first = _late_ids(stage)
    rows = ask(
        stage,
        f"SELECT price, COUNT(*) AS n, FIRST(symbol) AS label FROM {database(stage)}.{DROPPED} "  # noqa: S608 - ours
        f"WHERE event_id BETWEEN {first} AND {first + 0xFFFFFFFF} GROUP BY price",
    )
    found = {float(str(row["price"])): int(str(row["n"])) for row in rows}
    tags = {str(row["label"]) for row in rows}
    words = ", ".join(f"{found.get(price, 0)} of {count} rows at {price:g}" for price, count in EXPECTED.items())
    return (check("late and corrected rows are there", found == EXPECTED and tags == {"迟'到"}, words),)


SCENARIOS = (
    Scenario(
        name="tdengine-host-loss",
        summary="TDengine's host is gone with its disk; a blank host takes its place.",
        rate=RATE,
        prepare=_backed_up,
        fault=_remove,
        recover=_rebuild,
        stores=(TDENGINE,),
        new_timeline=False,
    ),
    Scenario(
        name="tdengine-dropped-supertable",
        summary=f"{DROPPED}, a supertable that the feed writes, is dropped under load.",
        rate=RATE,
        prepare=_note,
        fault=_drop,
        recover=lambda stage: _restore(stage, (DROPPED,)),
        check=_same_structure,
        stores=(TDENGINE,),
        new_timeline=False,
    ),
    Scenario(
        name="tdengine-late-rows",
        summary="TDengine's database is dropped; rows were corrected after the last full backup.",
        rate=RATE,
        prepare=_correct,
        fault=_drop_database,
        recover=lambda stage: _restore(stage, ()),
        check=_corrections_survive,
        stores=(TDENGINE,),
        new_timeline=False,
    ),
)

_LOST = r"[1-9][\d,]* of [\d,]+ acknowledged rows (is|are) lost in (tick_data|depth_data|minute_kline)"
TWINS = (
    Twin(
        name="forgotten-ticks",
        says=(
            "What the application host kept is not queued again, or, of three nodes, the ticks of one nanosecond are "
            "gone: they must be missed."
        ),
        reason=_LOST,
        scenario="tdengine-host-loss",
        recover=_rebuild_forgetting,
        runbook_passes=True,
    ),
    Twin(
        name="unqueued-ticks",
        says="The same after a supertable was dropped: its rows younger than the backup must be missed.",
        reason=_LOST,
        scenario="tdengine-dropped-supertable",
        recover=lambda stage: _restore(
            stage, (DROPPED,), procedure=replace_step(TDENGINE_RESTORE, "requeue", action=_unqueued)
        ),
        runbook_passes=True,
    ),
    Twin(
        name="full-only",
        says="The restore takes the last full backup: what was corrected after it must be missed.",
        reason=r"1 check of the verification failed: late and corrected rows are there",
        scenario="tdengine-late-rows",
        recover=lambda stage: _restore(stage, (), label=stage.told(FULL)),
        runbook_passes=True,
    ),
)
