"""The drill calendar: when a promise counts as proven, and what makes a proof stale by name."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from drills.calendar import due as calendar
from drills.calendar.due import Ground
from drills.calendar.judge import Now, Row, State, Wanted, row
from drills.calendar.versions import differences
from drills.calendar.ways import twins, ways
from drills.evidence import basis
from drills.evidence.checking import Checked, check
from drills.evidence.results import Kind, Told
from drills.judging.result import Outcome
from drills.scenarios.catalogue import ROUND_TWINS, SCENARIOS, TWINS
from inventories.catalog.load import load_recovery
from inventories.catalog.recovery import Trend
from inventories.catalog.tables import Store
from tests.unit.evidence_kit import NOW, VERSIONS, history, told

WEEK = 7 * 86400.0
WANTED = Wanted("primary-power-loss", "primary-power-loss", "lab", WEEK, "./dr drill --scenario primary-power-loss")
TWIN = Wanted("leaky-fence", "leaky-fence", "lab", 30 * 86400.0, "./dr drill --twin leaky-fence", twin=True)


def judged(
    *results: Told, wanted: Wanted = WANTED, changes: tuple[str, ...] | None = (),
    versions: Mapping[str, str] | None = VERSIONS,
) -> Row:  # fmt: skip
    return row(wanted, results, Now(NOW, lambda _: changes, versions, Trend()))


def test_what_was_never_drilled_is_told_and_never_good() -> None:
    found = judged()
    assert (found.state, found.good, found.age_s) == (State.NEVER, False, None)
    other = judged(told("primary-crash"), told(place="production"), told(twin="leaky-fence", held=True))
    assert other.state is State.NEVER, "another scenario, another place and a twin are no drill of it"


@pytest.mark.parametrize("outcome", [Outcome.INTERRUPTED, Outcome.REFUSED])
def test_what_was_begun_and_came_to_nothing_proves_nothing(outcome: Outcome) -> None:
    found = judged(told(outcome=outcome))
    assert found.state is State.NEVER
    assert found.why == (f"begun once and never finished, the last time {outcome.value}",)
    assert judged(told(days_ago=2), told(outcome=outcome)).state is State.FRESH, "nor does it disprove anything"


def test_a_proof_is_fresh_until_its_time_is_over() -> None:
    assert judged(told(days_ago=6.9)).state is State.FRESH
    late = judged(told(days_ago=9))
    assert (late.state, late.why) == (State.OVERDUE, ("drilled 9 days ago, promised every 7 days",))


def test_the_last_one_decides() -> None:
    failed = told(days_ago=1, outcome=Outcome.FAILED, reason="1 of 9 rows is lost")
    found = judged(told(days_ago=2), failed)
    assert found.state is State.FAILED and "1 of 9 rows is lost" in found.why[0]
    assert found.age_s == timedelta(days=2).total_seconds(), "when it last passed is told all the same"
    assert judged(failed, told(days_ago=0.5)).state is State.FRESH


def test_a_proof_dated_tomorrow_is_neither_good_nor_bad() -> None:
    assert judged(told(days_ago=-1)).state is State.UNKNOWN


def test_a_change_makes_it_stale_by_name() -> None:
    found = judged(told(), changes=("runbooks/procedures/postgresql/failover.py changed",))
    assert (found.state, found.why) == (State.STALE, ("runbooks/procedures/postgresql/failover.py changed",))
    assert judged(told(), changes=None).why == ("what code and catalogue it ran with is not kept",)


def test_another_version_makes_it_stale_by_name_and_nobody_to_ask_makes_it_unknown() -> None:
    newer = {**VERSIONS, "postgresql-17": "17.13-1"}
    assert judged(told(), versions=newer).why == ("postgresql was 17.12, is 17.13",)
    assert judged(told(), versions=newer).state is State.STALE
    assert judged(told(), versions=None).state is State.UNKNOWN
    assert judged(told(versions={})).why == ("it does not say which versions it ran with",)
    changed = judged(told(), versions=None, changes=("x changed",))
    assert changed.state is State.STALE, "what is known to be stale is so, whoever answers"


@pytest.mark.parametrize(
    ("now", "found"),
    [
        ({"postgresql-17": "17.12-1ubuntu2", "restic": "0.18"}, ()),
        ({"postgresql-18": "18.1-1"}, ("postgresql was 17.12, is 18.1",)),
        ({"pgbackrest": "1:2.56.0-2"}, ("pgbackrest was 2.55.1, is 2.56.0",)),
        ({"restic": "0.18"}, None),
        ({}, None),
    ],
)
def test_versions_are_compared_as_upstream_numbers_them(
    now: Mapping[str, str], found: tuple[str, ...] | None
) -> None:
    assert differences(VERSIONS, now) == found


def timed(*rtos: float, **other: Any) -> Sequence[Told]:
    return [told(days_ago=len(rtos) - nr, rto_s=rto, **other) for nr, rto in enumerate(rtos)]


def test_an_rto_that_grew_by_a_third_is_said_and_is_no_missing_drill() -> None:
    found = judged(*timed(2.0, 1.0, 1.0, 1.0, 2.0))
    assert found.grown == "RTO 2.00 s is 100 % above the median of the 4 before, 1.00 s"
    assert found.state is State.FRESH
    assert judged(*timed(1.0, 1.0, 1.0, 1.3)).grown == ""
    assert judged(*timed(1.0, 1.0, 9.0)).grown == "", "of two before nobody can say what is usual"


def test_only_the_last_ten_are_what_is_usual() -> None:
    assert judged(*timed(*[9.0] * 20, *[1.0] * 10, 2.0)).grown.endswith("median of the 10 before, 1.00 s")


def test_drills_that_cannot_be_compared_are_not() -> None:
    """The watch waits longer than an operator who is awake; a round whose operator was killed promises no seconds."""
    slow = [told(days_ago=0.5, rto_s=9.0, acted="watch")]
    assert judged(*timed(1.0, 1.0, 1.0), *slow).grown == ""
    assert judged(*timed(1.0, 1.0, 1.0), told(days_ago=0.5, rto_s=9.0, promised_rto_s=None)).grown == ""


def test_a_twin_has_to_hold() -> None:
    held, broken = told(twin="leaky-fence", held=True, outcome=Outcome.FAILED), told(twin="leaky-fence", held=False)
    assert judged(wanted=TWIN).state is State.NEVER
    assert judged(held, wanted=TWIN).state is State.FRESH
    assert judged(held, broken, wanted=TWIN).state is State.FAILED
    assert judged(told(days_ago=31, twin="leaky-fence", held=True), wanted=TWIN).state is State.OVERDUE


def test_rounds_whose_rows_were_gone_in_the_end_disprove_each_of_them() -> None:
    rounds = told(kind=Kind.ROUNDS, scenario="", promise="", outcome=Outcome.FAILED, scenarios=("primary-power-loss",))
    assert judged(told(), rounds).state is State.FAILED
    assert judged(told(), rounds.model_copy(update={"scenarios": ("primary-crash",)})).state is State.FRESH


def test_outside_the_lab_the_run_of_a_runbook_counts() -> None:
    wanted = Wanted("planned-switchover", "switchover", "production", WEEK, "./dr switchover")
    run = told("switchover", kind=Kind.RUN, place="production", promise="planned-switchover", rto_s=None)
    assert judged(run, wanted=wanted).state is State.FRESH
    assert judged(run.model_copy(update={"place": "lab"}), wanted=wanted).state is State.NEVER


def test_every_promise_is_in_the_calendar_and_something_here_drills_it() -> None:
    recovery = load_recovery()
    assert set(recovery.drills.calendar) == set(recovery.scenarios)
    assert [promise for promise in recovery.scenarios if not ways(promise)] == []


def test_every_scenario_and_every_twin_is_somebodys_due() -> None:
    drilled = {(way.scenario, way.least) for promise in load_recovery().scenarios for way in ways(promise)}
    assert {scenario for scenario, _ in drilled} == set(SCENARIOS)
    assert len({least for scenario, least in drilled if scenario == "standby-loss"}) == 2, "of one standby, of several"
    named = {name for nodes in (2, 3) for name, _ in twins(ticks=True, nodes=nodes)}
    assert named == {*TWINS, *ROUND_TWINS}


GROUND = Ground(("lab",), 2, False, VERSIONS, "")
Due = Callable[..., calendar.Due]


@pytest.fixture
def held(tmp_path: Path) -> Due:
    """recovery.yaml held against these results, of a code that has not changed."""
    kept = history(tmp_path)

    def against(*results: Told, ground: Ground = GROUND) -> calendar.Due:
        kept.add(*results)
        return calendar.due(check(kept.files), kept.files, ground, NOW)

    return against


def test_a_machine_that_never_drilled_is_red_in_every_row(held: Due) -> None:
    found = held()
    assert found.rows and not found.kept
    assert {one.state for one in found.rows} == {State.NEVER}
    assert all(one.wanted.command.partition("./dr drill --")[1] for one in found.rows)


def test_a_calendar_without_rows_is_not_kept() -> None:
    assert not calendar.Due((), (), (), NOW).kept


def test_a_history_that_does_not_hold_keeps_no_calendar(held: Due) -> None:
    fresh = row(WANTED, [told()], Now(NOW, lambda _: (), VERSIONS, Trend()))
    assert calendar.Due((fresh,), (), (), NOW).kept
    assert not calendar.Due((fresh,), (), ("record 1 is missing",), NOW).kept


def test_what_is_left_out_is_said(held: Due) -> None:
    found = held()
    assert any("tdengine-crash" in note and "double-loss" in note for note in found.notes)
    assert "There is no inventory production here, so 3 drills of it are left out." in found.notes
    everywhere = held(ground=Ground(("lab", "production"), 3, True, VERSIONS, ""))
    assert not any("left out" in note for note in everywhere.notes)
    names = {one.wanted.promise for one in everywhere.rows}
    assert {"tdengine-crash", "double-loss", "standby-loss-of-several"} < names and "standby-loss" not in names
    switchover = next(one.wanted for one in everywhere.rows if one.wanted.scenario == "switchover")
    assert switchover.command == (
        "./dr switchover --inventory production, then ./dr drills.record --promise planned-switchover "
        '--inventory production --consent "WHO: WHY"'
    )
    third = next(one.wanted for one in everywhere.rows if one.wanted.scenario == "double-loss")
    assert third.command == "DR_LAB_POSTGRES=3 DR_LAB_SYNCHRONOUS=2 ./dr drill --scenario double-loss"


def test_what_is_worst_is_first_and_promises_come_before_twins(held: Due) -> None:
    failed = told("bad-update", outcome=Outcome.FAILED, basis="")
    found = calendar.worst_first(held(failed, told("primary-crash", basis="")))
    assert found[0].wanted.promise == "bad-update"
    assert found[-1].wanted.twin
    assert [one.wanted.promise for one in found if one.state is State.STALE] == ["primary-crash"]


def test_nobody_answering_the_newest_drill_says_which_versions_run(tmp_path: Path) -> None:
    kept = history(tmp_path)
    assert calendar.look(None, check(kept.files)).versions is None
    kept.add(told(days_ago=3, versions={"postgresql-17": "17.11"}), told(days_ago=2), told(place="production"))
    ground = calendar.look(None, check(kept.files))
    assert ground.versions == VERSIONS
    assert "No host answers" in ground.versions_says and "run-primary-power-loss-2" in ground.versions_says


def test_json_has_every_row(held: Due) -> None:
    found = held(told(basis=""))
    plain = calendar.as_json(found)
    assert plain["kept"] is False and len(plain["drills"]) == len(found.rows)
    mine = next(one for one in plain["drills"] if one["promise"] == "primary-power-loss")
    assert mine["state"] == "stale" and mine["last"]["rto_s"] == 1.7


# ---- what a proof rests on


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code, to be changed."""
    root = tmp_path_factory.mktemp("code")
    here = basis.ROOT
    for layer in ("agents", "deploys", "inventories", "runbooks", "templates"):
        shutil.copytree(here / layer, root / layer, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture(scope="module")
def rests_on() -> basis.Basis:
    return basis.take({"failover", "rejoin"}, "primary-power-loss", {"postgresql"}, basis.before())


def test_it_rests_on_what_ran_and_on_nothing_else(rests_on: basis.Basis) -> None:
    names = set(rests_on.files)
    assert {
        "runbooks/procedures/postgresql/failover.py", "runbooks/procedures/postgresql/rejoin.py",
        "runbooks/engine/runner.py", "runbooks/record/keep.py", "agents/postgresql/promotion.py",
        "deploys/postgresql/server.py", "templates/postgres/pg_hba.conf.j2", "inventories/group_data/all.py",
    } < names  # fmt: skip
    others = (
        "tdengine", "tracker", "switchover", "validation/content", "validation/baseline", "agents/client",
        "agents/feed", "templates/report", "drills", "lab/",
    )  # fmt: skip
    assert [name for name in names if any(word in name for word in others)] == []
    assert rests_on.catalogue["recovery.yaml scenarios.primary-power-loss.rto_s"] == "5.0"
    assert "recovery.yaml budgets.fence" in rests_on.catalogue
    assert any(name.startswith("tables.yaml postgresql.") for name in rests_on.catalogue)
    others = ("drills.", "scenarios.bad-update", "stores.tdengine", "tables.yaml tdengine")
    assert [name for name in rests_on.catalogue if any(word in name for word in others)] == []


def test_each_store_is_known_by_its_words() -> None:
    assert set(basis._OF_STORE) == {"sqlite", "tracker", *(store.value for store in Store)}
    ticks = basis.take({"tdengine-restart"}, "tdengine-crash", {"tdengine"}, basis.before())
    assert "agents/tdengine/store.py" in ticks.files and "agents/postgresql/store.py" not in ticks.files
    assert "agents/sqlite/restore.py" not in ticks.files


def test_a_restore_of_sqlite_rests_on_its_programs_though_the_feed_wrote_elsewhere(rests_on: basis.Basis) -> None:
    trading = basis.take({"sqlite-restore"}, "sqlite-host-loss", {"postgresql"}, basis.before())
    theirs = {"agents/sqlite/restore.py", "deploys/sqlite/hosts.py", "templates/sqlite/protector.service.j2"}
    assert theirs < set(trading.files) and "agents/postgresql/store.py" in trading.files
    assert not theirs.intersection(rests_on.files)


def test_nothing_has_changed_where_nothing_was(code: Path, rests_on: basis.Basis) -> None:
    assert basis.changes(rests_on, basis.Here(code)) == ()


def test_a_statement_is_named_a_comment_is_not(code: Path, rests_on: basis.Basis) -> None:
    path = code / "runbooks/procedures/postgresql/failover.py"
    text = path.read_text()
    try:
        path.write_text(text + "# a comment\n")
        assert basis.changes(rests_on, basis.Here(code)) == ()
        path.write_text(text + "_X = 1\n")
        assert basis.changes(rests_on, basis.Here(code)) == ("runbooks/procedures/postgresql/failover.py changed",)
        path.unlink()
        assert basis.changes(rests_on, basis.Here(code)) == ("runbooks/procedures/postgresql/failover.py is gone",)
    finally:
        path.write_text(text)


def test_a_promise_that_changed_is_named_with_both_values(rests_on: basis.Basis) -> None:
    here = basis.Here()
    name = "recovery.yaml budgets.fence"
    here._catalogue = {**here.catalogue, name: "60.0", "recovery.yaml budgets.of_tomorrow": "1"}
    assert basis.changes(rests_on, here) == (f"{name} was {here._catalogue and rests_on.catalogue[name]}, is 60.0",)


def test_a_file_that_changed_while_the_drill_ran_proves_nothing() -> None:
    name = "runbooks/procedures/postgresql/failover.py"
    began = {**basis.before(), name: "another"}
    found = basis.take({"failover"}, "primary-power-loss", {"postgresql"}, began)
    assert basis.changes(found, basis.Here()) == (f"{name} changed",)


def test_a_basis_that_was_edited_is_none(tmp_path: Path, rests_on: basis.Basis) -> None:
    path = tmp_path / "basis.json"
    path.write_text(rests_on.model_dump_json())
    assert basis.load(path, rests_on.name) == rests_on
    path.write_text(rests_on.model_dump_json().replace("failover.py", "fallover.py"))
    assert basis.load(path, rests_on.name) is None
    assert basis.load(tmp_path / "gone.json", rests_on.name) is None


def test_an_unbroken_chain_of_nothing_is_empty() -> None:
    assert not Checked((), ()).sound
