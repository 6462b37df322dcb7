"""PostgreSQL's own regression database: backed up and proven, and every table of it that has a key comes back in every
mode as it was, or is refused for a reason that docs/refusals.md has.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from runbooks.actions.postgresql import side as side_act
from runbooks.engine.outcome import Outcome
from runbooks.engine.result import RunResult
from runbooks.hosts import Estate, Host
from runbooks.probes.postgresql import side
from runbooks.procedures.postgresql.restore_table import RESTORE_TABLE, RestoreTable, RestoreTableOptions
from runbooks.run import execute
from runbooks.table_copy.counts import Mode
from tests.drills import estate as seen
from tests.drills import regression_kit as kit
from tests.drills import side_kit
from tests.drills.doors import dr
from tests.drills.regression_kit import Keyed
from tests.torture import refusals
from tests.torture.database import REPLACED, RESTORED, Content, Database, Rows, differences, merged, suffixed

pytestmark = [pytest.mark.lab, pytest.mark.destructive, pytest.mark.long, pytest.mark.timeout(1800)]
SIDE = "pitr"
# Of the 602 tables that the suite of PostgreSQL 17 leaves, 30 with a key and rows; fewer, and the suite did not run.
FEWEST, FEWEST_KEYED = 500, 25


@dataclass(frozen=True)
class Scene:
    """The database as the suite left it, what its tables with a key hold, and a side cluster of that moment."""

    estate: Estate
    primary: Host
    tables: tuple[Keyed, ...]
    before: dict[str, Rows]
    definitions: dict[str, str]
    backup: str

    @property
    def live(self) -> Database:
        return Database(self.primary, kit.DATABASE)

    @property
    def copy(self) -> Database:
        there = side.look(self.primary, SIDE)
        assert there is not None and there.ready
        return Database(self.primary, kit.DATABASE, " ".join(there.connection))

    def content(self, table: Keyed) -> Rows | None:
        return content(self.live, [table])[table.sql]


def content(server: Database, tables: Sequence[Keyed]) -> Content:
    keys = {one.sql: one.key for one in tables}
    return server.content(keys, keys, only=[one.sql for one in tables if one.alone])


@pytest.fixture(scope="module")
def scene(estate_lab: Estate) -> Iterator[Scene]:
    seen.make_whole(estate_lab)
    primary = side_kit.primary(estate_lab)
    lacking = kit.bring_source(primary)
    if lacking:
        pytest.skip(lacking)
    side_act.drop(primary, SIDE, 60)
    try:
        assert kit.make(primary) > 100
        tables, live = kit.keyed(primary), Database(primary, kit.DATABASE)
        assert kit.tables(primary) >= FEWEST
        assert len(tables) >= FEWEST_KEYED
        before = content(live, tables)
        backup = side_kit.take(estate_lab, "full")
        point = f"regression-{time.time_ns()}"
        primary.query(f"select pg_create_restore_point('{point}')")
        opened = dr("restore-pitr", "--to-name", point, "--hurry")
        assert opened.code == 0, opened.err
        known = {name: rows for name, rows in before.items() if rows}
        yield Scene(kit.estate_of(estate_lab), primary, tables, known, live.definitions(), backup)
    finally:
        side_act.drop(primary, SIDE, 60)
        kit.clear(primary)
        primary.run("rm -rf %s", kit.FOLDER)


def test_its_backup_is_proven(scene: Scene) -> None:
    proof = side_kit.prove(scene.estate, scene.backup)
    assert proof.passed, [check.detail for check in proof.checks if not check.ok]


def test_a_side_cluster_has_every_row_and_every_definition(scene: Scene) -> None:
    found = content(scene.copy, scene.tables)
    assert [name for name, rows in scene.before.items() if found[name] != rows] == []
    assert differences(scene.definitions, scene.copy.definitions()) == {}


@pytest.mark.parametrize("mode", ["merge", "replace", "beside", "drop"])
def test_every_table_with_a_key_comes_back_or_is_refused_for_a_known_reason(
    scene: Scene, mode: str, tmp_path: Path
) -> None:
    kit.fresh(scene.primary)
    wrong: dict[str, str] = {}
    refused: dict[str, str] = {}
    for table in scene.tables:
        spoilt = tried(scene, table, mode, tmp_path)
        if spoilt.startswith(REFUSED):
            refused[table.sql] = spoilt.removeprefix(REFUSED)
        elif spoilt:
            wrong[table.sql] = spoilt
        if spoilt or mode == "drop":
            kit.fresh(scene.primary)
    unknown = {name: why for name, why in refused.items() if not any(known in why for known in refusals.reasons())}
    print(f"{mode}: {len(scene.tables)} tables, {len(refused)} refused: {refused}")  # noqa: T201 - shown when it fails
    assert wrong == {}
    assert unknown == {}
    assert len(refused) < len(scene.tables) / 2


REFUSED = "refused: "


def tried(scene: Scene, table: Keyed, mode: str, runs: Path) -> str:
    """What was wrong with the restore of one table; empty when it came back, REFUSED and why when it was refused."""
    original, live = scene.before[table.sql], scene.live
    live.sql(f"DROP TABLE {table.sql} CASCADE;" if mode == "drop" else kit.spoil(table))
    damaged = scene.content(table)
    if damaged == original and len(original) > 1:
        return "the rows that were to be deleted are there"
    ended = restored(scene, table, mode, runs)
    after = scene.content(table)
    if ended.outcome is Outcome.REFUSED:
        return f"{REFUSED}{ended.error}" if after == damaged else f"refused, and yet it was written: {ended.error}"
    if ended.outcome is not Outcome.PASSED:
        return f"{ended.outcome}: {ended.error}"
    expected = damaged if mode == "beside" else merged(original, damaged or ())
    if after != expected:
        return f"{len(original)} rows were there, {len(damaged or ())} were left, {len(after or ())} are there now"
    beside = suffixed(table.sql, RESTORED if mode == "beside" else REPLACED)
    if mode in ("beside", "replace"):
        kept = live.content([beside], {beside: table.key})[beside]
        live.sql(f"DROP TABLE {beside};")
        if kept != (original if mode == "beside" else damaged):
            return f"{beside} has other rows"
    return changed(scene, table) if mode == "drop" else ""


def restored(scene: Scene, table: Keyed, mode: str, runs: Path) -> RunResult[RestoreTable]:
    options = RestoreTableOptions(
        tables=(spelt(table),), source=SIDE, mode=Mode.MERGE if mode == "drop" else Mode(mode), yes=True
    )
    return execute(RESTORE_TABLE, scene.estate, options, seen.quiet, runs=runs)


def spelt(table: Keyed) -> str:
    return table.sql.removeprefix("public.")


def changed(scene: Scene, table: Keyed) -> str:
    """Definitions of the table itself that are others than before; views upon it went with the DROP."""
    found = differences(scene.definitions, scene.live.definitions())
    own = [
        name for name, (was, now) in found.items()
        if f"; Schema: {table.schema};" in name and was != now and name.startswith(f"{table.table};")
    ]  # fmt: skip
    return f"not as it was defined: {kit.shorter(own)}" if own else ""
