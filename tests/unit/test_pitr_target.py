"""What restore-pitr and restore-table make of a target before they restore, and their proof that it was reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inventories.errors import BadInput, Refused, VerificationFailed
from runbooks.engine.context import Context, Options
from runbooks.engine.history import History, reload_options
from runbooks.hosts import Run
from runbooks.probes.postgresql import archive, pgbackrest, side
from runbooks.probes.postgresql.archive import Commit, Neighbours, Place, Places
from runbooks.procedures.postgresql import pitr_side, pitr_target, restore_table
from runbooks.procedures.postgresql.pitr_state import RestorePitr, RestorePitrOptions, is_same
from runbooks.procedures.postgresql.restore_table import RestoreTable, RestoreTableOptions
from runbooks.procedures.postgresql.targets import Target, parse

AT = datetime(2026, 11, 27, 10, tzinfo=UTC)
FIRST = Place(0x3000110, 1, "000000010000000000000003", "RESTORE_POINT", AT, 0)
SECOND = replace(FIRST, lsn=0x3004200, at=AT.replace(hour=11))
SIDE = side.SideCluster(
    "pitr", "/data", "/socket", 5433, "ready", True, True, False, "full", None, 1.0, 1.0, 1, 1, "0/3000200", 1,
    None, "", None,
)  # fmt: skip


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def run(said: list[str]) -> Run:
    estate = SimpleNamespace(name="nowhere", backup="backup1", data={"database": "quant_research"})
    return Context(estate=estate, options=RestorePitrOptions(), run_dir=Path("run"), say=said.append)  # type: ignore[arg-type]


def aim(**target: Any) -> RestorePitr:
    return RestorePitr(target=parse(**target), primary="pg1", goal=1, label="full")


def there(monkeypatch: pytest.MonkeyPatch, *found: Place, alike: tuple[Place, ...] = (), left: int = 0) -> None:
    monkeypatch.setattr(archive, "places", lambda *_, **__: Places(found, alike, left))


def test_a_name_that_stands_twice_is_bad_input_and_both_moments_are_told(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    there(monkeypatch, SECOND, FIRST)
    words = r"before_etl stands 2 times .*0/3000110 of 2026-11-27 10:.*0/3004200 of .* 11:"
    with pytest.raises(BadInput, match=words) as told:
        pitr_target._located(run, aim(to_name="before_etl"))
    assert told.value.hint.endswith("--to-lsn 0/3000110 or --to-lsn 0/3004200")


def test_a_restore_point_is_recovered_by_its_position(
    run: Run, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there(monkeypatch, FIRST, left=7)
    state = aim(to_name="before_etl")
    state = state.model_copy(update={"located": pitr_target._located(run, state)})
    assert state.stop == Target(kind="lsn", value="0/3000110", inclusive=True)
    assert "WARNING: in 7 segments of the archive nobody looked for another restore point before_etl" in said[0]


def test_a_transaction_is_recovered_by_the_position_of_its_commit(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    there(monkeypatch, replace(FIRST, what="COMMIT", xid=(1 << 32) + 743))
    for inclusive in (False, True):
        state = aim(to_xid=str((1 << 32) + 743), inclusive=inclusive)
        located = state.model_copy(update={"located": pitr_target._located(run, state)})
        assert located.stop == Target(kind="lsn", value="0/3000110", inclusive=inclusive)


def test_a_transaction_of_which_half_the_id_was_given_is_refused_with_the_whole(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    there(monkeypatch, alike=(replace(FIRST, what="COMMIT", xid=(1 << 32) + 743),))
    with pytest.raises(Refused, match="no xid 743") as told:
        pitr_target._located(run, aim(to_xid="743"))
    assert "--to-xid 4294968039 for LSN 0/3000110" in told.value.hint


def test_a_transaction_that_was_rolled_back_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    there(monkeypatch, replace(FIRST, what="ABORT_PREPARED", xid=743))
    with pytest.raises(Refused, match="rolled back"):
        pitr_target._located(run, aim(to_xid="743"))


def test_an_open_side_cluster_is_the_same_by_where_it_stands_and_not_by_what_it_was_called() -> None:
    state = aim(to_name="before_etl").model_copy(update={"located": FIRST.lsn})
    assert is_same(replace(SIDE, target=side.SideTarget("lsn", "0/3000110", True, "1")), state)
    assert not is_same(replace(SIDE, target=side.SideTarget("lsn", "0/3004200", True, "1")), state)
    assert not is_same(replace(SIDE, target=side.SideTarget("name", "before_etl", False, "1")), state)


def test_the_repository_of_another_database_system_is_refused() -> None:
    primary: Any = SimpleNamespace(name="pg1", system="7001")
    mine = pgbackrest.Repository(0, "ok", "none", 7001, "17", (), "17-1", "", False)
    pitr_target._require_own(mine, primary)
    with pytest.raises(Refused, match="database system 7002, and pg1 is of 7001") as told:
        pitr_target._require_own(replace(mine, system_id=7002), primary)
    assert told.value.hint


def stands(monkeypatch: pytest.MonkeyPatch, before: int, after: int) -> None:
    """The side cluster is paused between the commits at these positions."""
    near = Neighbours((Commit(before, 741, AT),), (Commit(after, 742, AT),))
    monkeypatch.setattr(archive, "around", lambda *_, **__: near)
    monkeypatch.setattr(pitr_side, "side_of", lambda *_: SIDE)


def by_pitr(context: Run, state: RestorePitr) -> None:
    pitr_side.reached(context, state)


def by_table(context: Run, state: RestorePitr) -> None:
    restore_table.reached(context, RestoreTable(tables=("orders",), aim=state))


@pytest.mark.parametrize("proves", [by_pitr, by_table])
@pytest.mark.parametrize(
    ("before", "after", "words"), [(0x3000200, 0x3000300, "lies behind"), (0x3000010, 0x3000100, "lies before")]
)
def test_both_runbooks_prove_by_the_commits_around_it_where_recovery_stopped(
    run: Run, monkeypatch: pytest.MonkeyPatch, proves: Callable[[Run, RestorePitr], None], before: int, after: int,
    words: str,
) -> None:  # fmt: skip
    state = aim(to_name="before_etl").model_copy(update={"located": FIRST.lsn, "side_lsn": 0x3000200})
    stands(monkeypatch, 0x3000010, 0x3000300)
    proves(run, state)
    stands(monkeypatch, before, after)
    with pytest.raises(VerificationFailed, match=words):
        proves(run, state)


PITR = {"to_lsn": "0/3000110"}
TABLE = {"tables": ["orders"], "to_lsn": "0/3000110"}


@pytest.mark.parametrize(
    ("options", "own", "other"),
    [
        (RestorePitrOptions, PITR, {"to_lsn": "0/3000111"}),
        (RestorePitrOptions, PITR, {"to_time": "2026-11-21 10:00:00+08"}),
        (RestorePitrOptions, PITR, {"inclusive": True}),
        (RestorePitrOptions, PITR, {"timeline": 2}),
        (RestorePitrOptions, PITR, {"backup_set": "full"}),
        (RestorePitrOptions, PITR, {"repo": 2}),
        (RestoreTableOptions, TABLE, {"tables": ("trades",)}),
        (RestoreTableOptions, TABLE, {"mode": "replace"}),
        (RestoreTableOptions, TABLE, {"where": "id < 10"}),
        (RestoreTableOptions, TABLE, {"source": "pitr"}),
        (RestoreTableOptions, TABLE, {"keep_replaced": False}),
        (RestoreTableOptions, {**TABLE, "mode": "replace"}, {"mode": "merge"}),
    ],
)
def test_a_resumed_run_takes_no_other_option_than_its_own(
    options: type[Options], own: dict[str, Any], other: dict[str, Any]
) -> None:
    past = History(
        Path("run"), "restore", "nowhere", (), "2026-11-27T10:00:00+00:00", True, True, (), None, None, options=own
    )
    assert reload_options(past, options()).model_dump(mode="json").items() >= own.items()
    with pytest.raises(BadInput, match="was begun with"):
        reload_options(past, options.model_validate(other))


def test_where_recovery_stopped_is_known_of_one_that_was_promoted_since() -> None:
    """restore-table promotes; the same command with --yes finds it open, on a timeline of its own."""
    said = {
        "name": "table", "data": "/d", "socket": "/s", "port": 5433, "phase": "ready", "running": True, "paused": False,
        "promoted": True, "set": "full", "target": None, "restore_s": 1, "replay_s": 1, "bytes": 1, "wal_bytes": 1,
        "lsn": "0/4000100", "timeline": 2, "last_commit_at": None, "stopped": "", "sentence": None,
    }  # fmt: skip
    assert side.parse({**said, "reached": "0/3000200"}).reached == "0/3000200"
    assert side.parse(said).reached == "0/4000100", "of an agent that does not tell"
