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
from tests.drills.torture_kit import REPLACED, RESTORED, SIDE, Database, Scene, Tried, merged, of_case, suffixed
from tests.torture import cases
from tests.torture.cases import Case

pytestmark = [pytest.mark.lab, pytest.mark.destructive, pytest.mark.timeout(600)]
KINDS = cases.load()
LAID = [case for kind in KINDS.values() for case in kind.cases]
UNLOGGED = {case.table for case in LAID if ("unlogged",) in case.refused.values()}
APART = cases.load_apart()
SHORT = {
    ("names-chinese_schema_table_and_column", "drop"), ("names-sixty_three_bytes", "replace"),
    ("keys-key_with_included_column", "merge"), ("types-points", "merge"),
    ("constraints-unique_value_taken_by_a_new_row", "merge"), ("constraints-unique_values_permuted", "replace"),
    ("foreign_keys-children_elsewhere_cascade", "replace"), ("guards-stamped_by_a_trigger", "replace"),
    ("guards-row_level_security_with_policies", "drop"), ("kinship-partition_of_a_range", "merge"),
    ("sequences-owned_by_a_text_column", "merge"),
}  # fmt: skip


def every() -> Iterator[object]:
    for kind in KINDS.values():
        for mode in cases.MODES:
            for case in kind.cases:
                if mode in case.modes:
                    marks = () if (str(case), mode) in SHORT else (pytest.mark.long,)
                    yield pytest.param(case, mode, marks=marks, id=f"{case}-{mode}")


@pytest.fixture(scope="module")
def scene(estate_lab: Estate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The schema is laid, its restore point archived and opened beside the primary."""
    seen.make_whole(estate_lab)
    primary = side_kit.primary(estate_lab)
    side_act.drop(primary, SIDE, 60)
    live, point = Database(primary), f"torture-{time.time_ns()}"
    torture_kit.lay(primary, KINDS)
    keys = live.keys(table for case in LAID for table in (*case.tables, *case.same))
    keys |= {case.table: case.key for case in LAID if case.key}
    sequences = live.positions(name for case in LAID for name in case.sequences)
    found = Scene(
        estate_lab, primary, KINDS, point, torture_kit.inventory(tmp_path_factory.mktemp("inventory")), keys, {},
        sequences, live.definitions(),
    )  # fmt: skip
    found.before = found.content(LAID)
    primary.query(f"select pg_create_restore_point('{point}')")
    opened = dr("restore-pitr", "--to-name", point)
    assert opened.code == 0, opened.err
    yield found
    side_act.drop(found.primary, SIDE, 60)
    torture_kit.clear(found.primary, KINDS)


def test_a_side_cluster_has_every_row_and_every_definition(scene: Scene) -> None:
    found = scene.content(LAID, scene.copy)
    assert [table for table, rows in found.items() if rows != scene.before[table] and table not in UNLOGGED] == []
    assert torture_kit.differences(scene.definitions, scene.copy.definitions()) == {}
    assert len(found) > 200


@pytest.mark.parametrize(("case", "mode"), list(every()))
def test_a_table_comes_back_as_it_was_or_is_refused_with_the_reason(scene: Scene, case: Case, mode: str) -> None:
    tried = scene.tried(case, mode)
    if mode in case.refused:
        assert_refused(tried, case, mode)
        return
    assert tried.ended.code == 0, tried.ended.err
    assert_told(tried, case)
    if case.changes is not None:
        assert_what_fits_is_back(scene, case, mode)
    elif mode == "beside":
        assert_beside(scene, tried, case)
    else:
        assert_rows(scene, tried, case, mode)
    assert_structure(tried, case)
    for table in case.same:
        assert tried.after[table] == tried.damaged[table], f"{table} was changed"
    assert_sequences(scene, tried, case)


def assert_refused(tried: Tried, case: Case, mode: str) -> None:
    """One sentence and a hint, and nothing was written."""
    ended = tried.ended
    assert "Traceback" not in ended.out + ended.err, ended.err
    assert ended.code in (2, 3), ended.out + ended.err
    assert ended.hint, ended.err
    assert [words for words in case.refused[mode] if words not in f"{ended.told} {ended.hint}"] == [], ended.told
    assert tried.after == tried.damaged
    assert tried.changed == {}


def assert_told(tried: Tried, case: Case) -> None:
    """Before --yes: what writing meets and causes, and what does not come back; --yes alone is no consent to that."""
    if tried.compared is not None:
        assert tried.compared.code == 0, tried.compared.err
        said = tried.compared.out + tried.compared.err
        assert [words for words in (*case.told, *case.lost, *(case.changes or ())) if words not in said] == [], said
    if tried.unwilling is not None:
        tried.unwilling.assert_told(3, "not everything comes back", hint="--accept-loss")


def assert_rows(scene: Scene, tried: Tried, case: Case, mode: str) -> None:
    for table in case.tables:
        original, damaged, after = scene.before[table], tried.damaged[table], tried.after[table]
        assert original is not None
        if mode == "merge":
            assert damaged is not None
            assert after == merged(original, damaged)
        else:
            assert after == original
        if mode == "replace":
            kept = suffixed(table, REPLACED)
            assert scene.live.content([kept], {kept: scene.keys.get(table, "")})[kept] == damaged


def assert_beside(scene: Scene, tried: Tried, case: Case) -> None:
    for table in case.tables:
        assert tried.after[table] == tried.damaged[table]
        beside = suffixed(table, RESTORED)
        columns = scene.live.columns(beside)
        assert columns
        if not case.rows_by_only:
            assert scene.live.values(beside, columns) == scene.copy.values(table, columns)


def assert_what_fits_is_back(scene: Scene, case: Case, mode: str) -> None:
    """Column by column: those that both have and that can hold what was in them, a renamed one under its new name."""
    live, copy = scene.live, scene.copy
    aside = mode == "beside"
    target = suffixed(case.table, RESTORED) if aside else case.table
    names = {case.renamed[0]: case.renamed[1]} if case.renamed and not aside else {}
    there = set(live.columns(target)) - (set() if aside else set(case.changes or ()))
    columns = [name for name in copy.columns(case.table) if names.get(name, name) in there]
    assert "id" in columns
    if mode == "merge":
        assert copy.values(case.table, ["id"]) == live.values(target, ["id"])
    else:
        now = [names.get(name, name) for name in columns]
        assert live.values(target, now) == copy.values(case.table, columns)


def assert_structure(tried: Tried, case: Case) -> None:
    """Nothing that pg_dump tells is another than before; what a DROP took along and was named may be missing."""
    changed = of_case(tried, case)
    lost = "|".join(map(re.escape, case.lost)) or "(?!)"
    assert {name: texts for name, texts in changed.items() if texts[1] or not re.match(lost, name)} == {}


def assert_sequences(scene: Scene, tried: Tried, case: Case) -> None:
    """No number that the copy or the live table has given out is given out again."""
    before, after = tried.positions
    for name in case.sequences:
        assert after[name] >= max(before[name], scene.positions[name]), name


def proven(estate: Estate, kind: str) -> proofs.Proof:
    """A backup that was taken now and has been proven, or the sentences of what was found wrong."""
    proof = side_kit.prove(estate, side_kit.take(estate, kind))
    assert proof.passed, [check.detail for check in proof.checks if not check.ok]
    return proof


def told_by(proof: proofs.Proof, check: str) -> str:
    return next(one.detail for one in proof.checks if one.name == check)


@pytest.fixture
def apart(scene: Scene, request: pytest.FixtureRequest) -> Iterator[Database]:
    """The estate's own database with what a file of its own makes in it."""
    kind, own = APART[request.param], Database(scene.primary, name=str(scene.estate.data["database"]))
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

    def test_a_backup_of_it_is_taken_and_proven(self, scene: Scene) -> None:
        torture_kit.fresh(scene.primary)
        assert "lie between the counts" in told_by(proven(scene.estate, "full"), "rows")

    @pytest.mark.parametrize("apart", ["login_trigger"], indirect=True)
    def test_a_trigger_at_login_hinders_no_backup_no_proof_and_no_side_cluster(
        self, scene: Scene, apart: Database
    ) -> None:
        assert "lie between the counts" in told_by(proven(scene.estate, "incr"), "rows")
        opened = dr("restore-pitr", "--to-name", scene.point, "--replace")
        assert opened.code == 0, opened.err

    @pytest.mark.parametrize("apart", ["many_chunks"], indirect=True)
    def test_eight_years_of_daily_chunks_are_counted_backed_up_and_proven(self, scene: Scene, apart: Database) -> None:
        assert int(apart.sql("SELECT count(*) FROM public.order_records WHERE account_id = 'tor';")) == 3000
        assert "lie between the counts" in told_by(proven(scene.estate, "incr"), "rows")

    def test_both_hosts_lost_and_every_row_and_definition_is_back(self, scene: Scene) -> None:
        side_act.drop(scene.primary, SIDE, 60)
        torture_kit.fresh(scene.primary)
        rows, definitions = scene.content(LAID), scene.live.definitions()
        side_kit.mark(scene.estate, f"torture{time.time_ns()}")  # what was committed until here is archived
        for host in ("pg1", "pg2"):
            seen.remove(scene.estate, host)
        up(seen.lab_of(scene.estate), seen.quiet)
        ended = dr("restore-cluster", timeout=600)
        assert ended.code == 0, ended.err
        scene.primary = side_kit.primary(scene.estate)
        found = scene.content(LAID)
        assert [table for table, was in rows.items() if found[table] != was and table not in UNLOGGED] == []
        assert torture_kit.differences(definitions, scene.live.definitions()) == {}
