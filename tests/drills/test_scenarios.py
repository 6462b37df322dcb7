"""Every scenario and every negative twin, through the code that `./dr drill` runs. Nothing here asserts on time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from _pytest.mark.structures import ParameterSet

from drills import prepare
from drills.judging import verdict
from drills.judging.result import CheckOutcome, DrillResult, Outcome, read_result
from drills.rounds.result import RoundsResult
from drills.run import Plan, drill
from drills.scenarios import catalogue
from drills.scenarios.catalogue import SCENARIOS, TWINS, VANISHED_ROW
from drills.stores import TDENGINE
from runbooks.backups.offsite import REST
from runbooks.engine.journal import Event
from runbooks.engine.journal import read as read_journal
from runbooks.hosts import Estate
from tests.drills import estate as seen
from tests.drills.doors import dr

pytestmark = [pytest.mark.lab, pytest.mark.destructive]
SHORT = Plan(calm_s=2, after_s=2)
EVIDENCE = ("result.json", "report.html", "junit.xml")
# What each scenario's runbooks are, in order; a refusal is one too.
RUNBOOKS = {
    "primary-power-loss": ("failover", "rejoin"),
    "primary-crash": ("failover", "rejoin"),
    "standby-loss": ("detach", "rejoin"),
    "double-loss": ("failover", "rejoin", "rejoin"),
    "async-primary-loss": ("failover", "reconcile", "rejoin"),
    "primary-partition": ("failover", "rejoin"),
    "primary-partition-unfenced": ("failover",),
    "planned-switchover": ("switchover",),
    "site-power-loss": ("start-cluster",),
    "app-power-loss": ("failover", "rejoin"),
    "app-disk-loss": ("failover", "rejoin"),
    "backup-power-loss": ("power-on",),
    "offsite-loss": ("power-on",),
    "silent-archive-failure": ("mend-archive",),
    "damaged-backup": ("restore-pitr", "replace-backup"),
    "disk-full": ("make-room",),
    "dropped-table": ("restore-table",),
    "bad-update": ("restore-pitr",),
    "dropped-table-delayed": ("restore-table",),
    "bad-update-delayed": ("restore-table",),
    "cluster-loss": ("restore-cluster",),
    "offsite-only": ("restore-cluster",),
    "tdengine-crash": ("tdengine-restart",),
    "both-stores-down": ("failover", "tdengine-restart", "rejoin"),
    "tdengine-host-loss": ("tdengine-rebuild",),
    "tdengine-dropped-supertable": ("tdengine-restore",),
    "tdengine-late-rows": ("tdengine-restore",),
    "sqlite-corruption": ("sqlite-restore",),
    "sqlite-host-loss": ("sqlite-restore",),
    "backup-deleted": ("sqlite-restore",),
}
# Their runbook verifies what it has restored, and nothing of PostgreSQL.
OF_SQLITE = {"sqlite-corruption", "sqlite-host-loss", "backup-deleted"}
# Left to ./dr test --all and to the weekly drills, which run every one: their likes are tried each time. What rounds
# are made of is tried in those.
LONG = {
    "primary-power-loss", "primary-crash", "standby-loss", "primary-partition", "planned-switchover", "damaged-backup",
    "offsite-only", "async-primary-loss", "unreconciled",
    "phantom-row", "skipped-row", "forgotten-shadow", "believed-archiver", "deaf-alarm", "stale-copy",
    "backup-power-loss", "emptied-outbox", "patient-alarm", "copied-yesterday", "offsite-loss", "inclusive-target",
    "silent-archive-failure", "blind-proof", "app-power-loss", "app-disk-loss", "uncopied-outbox", "bad-update",
    "both-stores-down", "tdengine-late-rows", "phantom-tick", "forgotten-ticks", "unqueued-ticks",
    "sqlite-host-loss", "backup-deleted", "old-snapshot", "believed-commit", "copied-mistake",
}  # fmt: skip
# These go through the command line, as rounds do; the others through the code behind it.
BY_COMMAND = ("primary-crash", "leaky-fence", "phantom-row")
ROUNDS = ("primary-power-loss", "planned-switchover", "primary-crash")
OF_TWO = [name for name, known in SCENARIOS.items() if known.nodes == 2 and not known.delayed]
# The others: test_three_nodes.py and test_delayed.py.
TWINS_OF_TWO = [name for name, known in TWINS.items() if known.scenario in OF_TWO]
SEED = 4  # a power loss and a rewind, a switchover, a crash and a re-clone


def short_first(names: Iterable[str]) -> list[ParameterSet]:
    """Every name, the long ones marked and last."""
    assert set(names) & LONG, "a name in LONG is misspelt"
    marked = [pytest.param(name, marks=marks(name)) for name in names]
    return sorted(marked, key=lambda parameter: pytest.mark.long in parameter.marks)


def marks(name: str) -> list[pytest.MarkDecorator]:
    """What a TDengine package is needed for is skipped by name where there is none."""
    known = SCENARIOS[TWINS[name].scenario if name in TWINS else name]
    found = [pytest.mark.long] if name in LONG else []
    if TDENGINE in known.stores:
        found += [pytest.mark.tdengine, pytest.mark.skipif(bool(known.skipped), reason=known.skipped)]
    return found


@pytest.fixture
def whole(estate_lab: Estate) -> Iterator[Estate]:
    """A whole estate, whatever the test before left."""
    seen.make_whole(estate_lab)
    yield estate_lab
    seen.power_on(estate_lab)


def run(estate: Estate, name: str, twin: str = "") -> tuple[DrillResult, Path]:
    lab = seen.lab_of(estate)
    if (twin or name) in BY_COMMAND:
        ended = dr("drill", "--json", "--scenario", name, *(["--twin", twin] if twin else []), "--lab", lab)
        assert ended.code in (0, 1), ended.err  # 1: slower than promised, which is for the benchmark to judge
        result = DrillResult.model_validate(json.loads(ended.out))
        return result, seen.runs() / result.name
    heard: list[str] = []
    prepare.estate(lab, heard.append, catalogue.scenario(name).stores)
    made_to_fail = catalogue.twin(twin) if twin else None
    return drill(catalogue.scenario(name), lab, heard.append, SHORT, made_to_fail)


def faults(result: DrillResult) -> tuple[str, ...]:
    """Reasons against it, but for those of a machine that is slower than what was promised."""
    slow = verdict.slow(result)
    return tuple(reason for reason in result.reasons if reason not in slow)


def told(result: DrillResult) -> str:
    return "; ".join(result.reasons) + "".join(
        f"; {check.name}: {check.detail}" for check in result.checks if check.outcome is CheckOutcome.FAILED
    )


def test_every_scenario_is_tried_and_has_its_runbooks_named_here() -> None:
    assert set(RUNBOOKS) == set(SCENARIOS)
    assert len(TWINS) >= 2


@pytest.mark.parametrize("name", short_first(OF_TWO))
def test_scenario_passes_and_leaves_its_evidence(whole: Estate, name: str) -> None:
    assert_proven(name, *run(whole, name))
    seen.assert_whole(whole)


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_everything_comes_back_out_of_a_copy_that_nobody_can_take_away(whole: Estate, append_only: Estate) -> None:
    """What production has: a blank backup host fetches from restic's own server; over sftp it is tried above."""
    assert append_only.data["offsite_kind"] == REST
    result, folder = run(append_only, "offsite-only")
    assert_proven("offsite-only", result, folder)
    (restored,) = (fact.says for fact in result.facts if fact.label == "restored from")
    assert restored.endswith(", out of the off-site copy")
    server = append_only.group("offsite")[0].run("systemctl is-active mystocks-offsite", expect=None)
    assert server.text == "active"
    seen.assert_whole(append_only)


def assert_proven(name: str, result: DrillResult, folder: Path) -> None:
    assert faults(result) == (), told(result)
    assert result.outcome in (Outcome.PASSED, Outcome.FAILED if result.reasons else Outcome.PASSED)
    assert (result.lost, result.duplicated, result.returned) == (0, 0, 0)
    assert bool(result.rolled_back) is (name == "bad-update")
    assert result.acked is not None and result.acked > 0
    assert result.acked_by_store is not None and result.acked_by_store > 0
    assert result.verify.passed > (10 if name in OF_SQLITE else 100)
    assert [store.store for store in result.stores] == [store.name for store in SCENARIOS[name].stores]
    assert result.verify.failed == 0
    assert result.timeline_changed is SCENARIOS[name].new_timeline
    assert result.rto_s is not None
    assert len(result.tables) >= 3
    assert all(table.acked > 0 for table in result.tables)
    if result.objectives.detection_s is not None:
        assert result.alarm
        assert result.detection_s is not None
    if SCENARIOS[name].loses_store:
        assert result.acked_by_outbox, "the outbox took nothing, so the fault was none"
        assert result.replayed == result.acked_by_outbox

    ledgers = [file for store in SCENARIOS[name].stores for file in (store.ledger, f"logs/{store.log}")]
    for file in (*EVIDENCE, *ledgers):
        assert (folder / file).exists(), file
    assert read_result(folder / "result.json") == result
    assert result.outcome.value in (folder / "report.html").read_text()
    assert ElementTree.parse(folder / "junit.xml").findall(".//testcase")
    assert journals(folder) == {
        (runbook, "refused" if SCENARIOS[name].refused else "passed") for runbook in RUNBOOKS[name]
    }


def test_rounds_on_one_estate_are_each_proven_and_a_row_that_vanished_since_is_found(whole: Estate) -> None:
    """The twin of rounds, whose rounds are like any others: all three pass, and one row is taken out after them."""
    ended = dr(
        "drill", "--rounds", "3", "--scenario", ",".join(ROUNDS), "--seed", str(SEED), "--twin", VANISHED_ROW,
        "--json", "--lab", seen.lab_of(whole), timeout=600,
    )  # fmt: skip
    assert ended.code in (0, 1), ended.err  # 1: slower than promised
    result = RoundsResult.model_validate(json.loads(ended.out))
    folder = seen.runs() / result.name
    assert {one.scenario for one in result.rounds} == set(ROUNDS) and len(result.rounds) == 3, result.reasons
    for one in result.rounds:
        assert_proven(one.scenario, read_result(folder / one.folder / "result.json"), folder / one.folder)
        assert not one.otherwise, one.rejoined
    assert {one.rejoin for one in result.rounds} == {"rewind", "re-clone", ""}
    assert len({one.primary for one in result.rounds}) == 2, "the roles changed hands"
    assert result.last_check is not None, result.reasons
    assert [(one.nr, one.rows) for one in result.last_check.gone] == [(1, 1)], result.last_check.gone
    assert [(copy.role, copy.lost, copy.duplicated) for copy in result.last_check.looked] == [
        ("primary", 1, 0), ("standby", 1, 0)
    ]  # fmt: skip
    assert result.negative_twin is not None
    assert result.negative_twin.held, result.negative_twin.reason
    assert all((folder / file).exists() for file in EVIDENCE)
    seen.assert_whole(whole)


@pytest.mark.parametrize("name", short_first(TWINS_OF_TWO))
def test_twin_fails_for_its_own_reason_and_the_estate_is_whole_again(whole: Estate, name: str) -> None:
    twin = TWINS[name]
    result, folder = run(whole, twin.scenario, name)
    assert result.negative_twin is not None
    reasons = [reason for reason in faults(result) if not reason.startswith("The negative twin")]
    assert twin.is_why(reasons), told(result)
    assert result.negative_twin.held, told(result)
    assert result.outcome is Outcome.FAILED
    assert result.duplicated == 0
    assert bool(result.lost) is bool(twin.forge_ledger or "lost" in twin.reason)
    assert (folder / "report.html").exists()
    seen.assert_whole(whole)


def journals(folder: Path) -> set[tuple[str, str]]:
    """(runbook, outcome) of every journal below a drill's folder, each finished and with all its steps recorded."""
    found = set()
    for path in sorted(folder.glob("runbooks/*/journal.jsonl")):
        records = read_journal(path.parent).records
        opened, finished = records[0], records[-1]
        assert (opened.event, finished.event) == (Event.OPENED, Event.FINISHED)
        if finished.data["outcome"] == "passed":
            done = [r.step for r in records if r.event in (Event.STEP_DONE, Event.STEP_SKIPPED)]
            assert done == opened.data["steps"]
        found.add((opened.data["procedure"], finished.data["outcome"]))
    return found
