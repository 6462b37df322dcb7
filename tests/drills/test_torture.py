"""Schemas that people have, in the lab's own database: each table of tests/torture comes back in each mode as it was,
or is refused with the reason; a side cluster, a proof and a restored cluster have every row and every definition.

A short selection runs with every test; all of them are long. `-k types` or `-k unique_values_permuted` chooses.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from lab.up import up
from runbooks.actions.postgresql import side as side_act
from runbooks.hosts import Estate
from runbooks.probes.postgresql import proofs
from tests.drills import estate as seen
from tests.drills import side_kit, torture_kit
from tests.drills.doors import dr
from tests.drills.torture_kit import SIDE, LabScene
from tests.torture import cases
from tests.torture.cases import Case
from tests.torture.database import Database, differences
from tests.torture.judging import assert_restored_or_refused

pytestmark = [pytest.mark.lab, pytest.mark.destructive, pytest.mark.timeout(600)]
NOT_HELD = "no backup holds the rows"
KINDS = cases.load()
LAID = [case for kind in KINDS.values() for case in kind.cases]
UNLOGGED = {case.table for case in LAID if {"is unlogged", NOT_HELD} & {why[0] for why in case.refused.values()}}
APART = cases.load_apart()


def every() -> Iterator[object]:
    for kind in KINDS.values():
        for mode in cases.MODES:
            for case in kind.cases:
                if mode in case.modes:
                    marks = () if (str(case), mode) in cases.SHORT else (pytest.mark.long,)
                    yield pytest.param(case, mode, marks=marks, id=f"{case}-{mode}")


@pytest.fixture(scope="module")
def scene(estate_lab: Estate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabScene]:
    """The schema is laid, its restore point archived and opened beside the primary."""
    seen.make_whole(estate_lab)
    primary = side_kit.primary(estate_lab)
    side_act.drop(primary, SIDE, 60)
    torture_kit.lay(primary, KINDS)
    found = torture_kit.scene(estate_lab, primary, KINDS, tmp_path_factory.mktemp("inventory"))
    found.look()
    side_kit.take(estate_lab, "incr")  # else every copy of the database that earlier tests made is replayed beside
    primary.query(f"select pg_create_restore_point('{found.point}')")
    opened = dr("restore-pitr", "--to-name", found.point, "--hurry")
    assert opened.code == 0, opened.err
    yield found
    side_act.drop(found.primary, SIDE, 60)
    torture_kit.clear(found.primary, KINDS)


def test_a_side_cluster_has_every_row_and_every_definition(scene: LabScene) -> None:
    # It is still in recovery, in which nobody may read what is unlogged.
    found = scene.content([case for case in LAID if case.table not in UNLOGGED], scene.copy)
    assert [table for table, rows in found.items() if rows != scene.before[table]] == []
    assert differences(scene.definitions, scene.copy.definitions()) == {}
    assert len(found) > 200


@pytest.mark.parametrize(("case", "mode"), list(every()))
def test_a_table_comes_back_as_it_was_or_is_refused_with_the_reason(scene: LabScene, case: Case, mode: str) -> None:
    assert_restored_or_refused(scene, case, mode)


def proven(estate: Estate, kind: str) -> proofs.Proof:
    """A backup that was taken now and has been proven, or the sentences of what was found wrong."""
    proof = side_kit.prove(estate, side_kit.take(estate, kind))
    assert proof.passed, [check.detail for check in proof.checks if not check.ok]
    return proof


def told_by(proof: proofs.Proof, check: str) -> str:
    return next(one.detail for one in proof.checks if one.name == check)


@pytest.fixture
def apart(scene: LabScene, request: pytest.FixtureRequest) -> Iterator[Database]:
    """The estate's own database with what a file of its own makes in it."""
    kind, own = APART[request.param], Database(scene.primary, str(scene.estate.data["database"]))
    own.sql(kind.clean, stop=False)
    own.sql(kind.load)
    yield own
    own.sql(kind.clean, stop=False)


@pytest.mark.parametrize("apart", ["restore_point_twice"], indirect=True)
def test_a_restore_point_that_was_made_twice_is_told_and_nothing_is_written(apart: Database) -> None:
    words = ("restore-table", "--tables", "tor_twice", "--to-name", "tor_before_etl", "--mode", "replace", "--yes")
    ended = dr(*words)
    assert ended.code in (2, 3), ended.out + ended.err
    assert "tor_before_etl" in ended.told
    assert len(re.findall(r"[0-9A-F]+/[0-9A-F]+", f"{ended.told} {ended.hint}")) >= 2, "both positions are told"
    assert apart.sql("SELECT count(*), min(id), max(id) FROM public.tor_twice;").strip() == "8|4|11"


@pytest.mark.long
class TestCluster:
    """The whole of it through a backup: what was taken is proven, and a lost cluster comes back with it."""

    def test_a_backup_of_it_is_taken_and_proven(self, scene: LabScene) -> None:
        scene.fresh()
        assert "lie between the counts" in told_by(proven(scene.estate, "full"), "rows")

    @pytest.mark.parametrize("apart", ["login_trigger"], indirect=True)
    def test_a_trigger_at_login_hinders_no_backup_no_proof_and_no_side_cluster(
        self, scene: LabScene, apart: Database
    ) -> None:
        assert "lie between the counts" in told_by(proven(scene.estate, "incr"), "rows")
        opened = dr("restore-pitr", "--to-name", scene.point, "--replace", "--hurry")
        assert opened.code == 0, opened.err

    @pytest.mark.parametrize("apart", ["many_chunks"], indirect=True)
    def test_eight_years_of_daily_chunks_are_counted_backed_up_and_proven(
        self, scene: LabScene, apart: Database
    ) -> None:
        assert int(apart.sql("SELECT count(*) FROM public.order_records WHERE account_id = 'tor';")) == 3000
        assert "lie between the counts" in told_by(proven(scene.estate, "incr"), "rows")

    def test_both_hosts_lost_and_every_row_and_definition_is_back(self, scene: LabScene) -> None:
        side_act.drop(scene.primary, SIDE, 60)
        scene.fresh()
        rows, definitions = scene.content(LAID), scene.live.definitions()
        side_kit.mark(scene.estate, f"torture{time.time_ns()}")  # what was committed until here is archived
        for host in ("pg1", "pg2"):
            seen.remove(scene.estate, host)
        up(seen.lab_of(scene.estate), seen.quiet)
        ended = dr("restore-cluster", timeout=600)
        assert ended.code == 0, ended.err
        scene.moved(side_kit.primary(scene.estate))
        found = scene.content(LAID)
        assert [table for table, was in rows.items() if found[table] != was and table not in UNLOGGED] == []
        assert differences(definitions, scene.live.definitions()) == {}
