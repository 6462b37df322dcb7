"""restore-table on real hosts: what was deleted, spoiled or dropped comes back, what was written since stays, and a
copy that was tampered with does not pass.

Tests of TestMistakes share one side cluster and run in the order in which they stand.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from inventories.catalog import load_tables
from runbooks.actions.postgresql import side as side_act
from runbooks.engine.context import Context
from runbooks.engine.outcome import Outcome
from runbooks.engine.procedure import replace_step
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from runbooks.probes.postgresql import schema, server, side
from runbooks.procedures.postgresql import restore_table
from runbooks.procedures.postgresql.restore_table import RESTORE_TABLE, SIDE, RestoreTable, RestoreTableOptions
from runbooks.run import execute
from runbooks.table_copy.counts import Mode
from tests.drills import estate as seen
from tests.drills.doors import Ended, Started, dr
from tests.drills.estate import load

pytestmark = [pytest.mark.lab, pytest.mark.destructive, pytest.mark.timeout(400)]
DATABASE = "quant_research"
MINE = "event_id BETWEEN 1 AND 9999"  # no feed counts so low
CLEAN = """
DROP TABLE IF EXISTS kids, kids_replaced, kids_restored, parents, parents_replaced, symbols_replaced, symbols_restored
  CASCADE;
DELETE FROM symbols WHERE event_id BETWEEN 1 AND 9999;
"""
FILL = """
CREATE TABLE parents (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL);
CREATE TABLE kids (id bigserial PRIMARY KEY, up integer NOT NULL REFERENCES parents, note json);
CREATE INDEX kids_up ON kids (up);
GRANT SELECT ON kids TO reader;
INSERT INTO parents (name) SELECT 'p' || i FROM generate_series(1, 50) i;
INSERT INTO kids (up, note) SELECT 1 + i % 50, '{"n": 1}' FROM generate_series(1, 1000) i;
INSERT INTO symbols (event_id, symbol, name, exchange, is_active)
  SELECT i, 'T' || i, 'as it was', 'SH', true FROM generate_series(1, 300) i;
"""
# 50 rows are deleted, 30 spoiled, 3 changed by later events, 5 new; ten families are lost.
DAMAGE = """
DELETE FROM symbols WHERE event_id BETWEEN 1 AND 50;
UPDATE symbols SET name = 'spoiled' WHERE event_id BETWEEN 51 AND 80;
UPDATE symbols SET name = 'later', event_id = event_id + 1000 WHERE event_id BETWEEN 91 AND 93;
INSERT INTO symbols (event_id, symbol, name, exchange, is_active)
  SELECT 5000 + i, 'N' || i, 'new', 'SH', true FROM generate_series(1, 5) i;
DELETE FROM kids WHERE up <= 10;
DELETE FROM parents WHERE id <= 10;
"""


@dataclass(frozen=True)
class Scene:
    """The estate, its primary, and the restore point just before the mistakes."""

    estate: Estate
    primary: Host
    point: str

    def run(self, *words: str) -> Ended:
        return dr("restore-table", *words)

    def sql(self, statements: str) -> None:
        self.primary.execute(statements, DATABASE)

    def one(self, expression: str) -> object:
        return self.primary.query(f"select {expression} as found", DATABASE)[0]["found"]

    def symbols(self, condition: str = "true", table: str = "symbols") -> object:
        return self.one(f"(select count(*) from {table} where ({MINE}) and {condition})")


@pytest.fixture(scope="class")
def whole(estate_lab: Estate) -> Estate:
    return seen.make_whole(estate_lab)


def primary_of(estate: Estate) -> Host:
    return server.the_primary(server.survey(estate)).host


@pytest.fixture(scope="class")
def scene(whole: Estate) -> Iterator[Scene]:
    primary, point = primary_of(whole), f"before-{time.time_ns()}"
    side_act.drop(primary, SIDE, 60)
    primary.execute(CLEAN, DATABASE)
    primary.execute(FILL, DATABASE)
    primary.query(f"select pg_create_restore_point('{point}')")
    primary.execute(DAMAGE, DATABASE)
    opened = dr("restore-table", "--tables", "parents", "--to-name", point)
    assert opened.code == 0, opened.err
    yield Scene(whole, primary, point)
    side_act.drop(primary, SIDE, 60)
    primary.execute(CLEAN, DATABASE)


@contextmanager
def locked(scene: Scene, table: str) -> Iterator[None]:
    """Nobody else may touch the table meanwhile."""
    holder = scene.primary.start("psql -qAtX -d %s", DATABASE, user="postgres")
    assert holder.stdin and holder.stdout
    holder.stdin.write(f"BEGIN; LOCK TABLE {table} IN EXCLUSIVE MODE; SELECT 'locked';\n".encode())
    holder.stdin.flush()
    assert holder.stdout.readline().strip() == b"locked"
    try:
        yield
    finally:
        holder.stdin.close()
        try:
            holder.wait(20)
        except subprocess.TimeoutExpired:
            holder.kill()


class TestMistakes:
    def test_a_child_whose_parents_are_gone_is_refused_with_the_parents_named(self, scene: Scene) -> None:
        ended = scene.run("--tables", "kids", "--to-name", scene.point, "--yes")
        ended.assert_told(3, "200 rows to be restored into kids", "parents", hint="--tables parents,kids")
        assert scene.one("(select count(*) from kids)") == 800

    def test_without_consent_the_counts_are_printed_and_nothing_is_written(self, scene: Scene) -> None:
        ended = scene.run("--tables", "symbols,kids,parents", "--to-name", scene.point)
        assert ended.code == 0, ended.err
        assert "50 missing, 33 differing (3 written later), 5 only live" in ended.out
        assert "kids: 800 rows live, 1000 in the copy; 200 missing" in ended.out
        assert "nothing was written" in ended.out
        assert scene.symbols() == 255
        there = side.look(scene.primary, SIDE)
        assert there is not None and there.ready

    def test_merge_brings_back_what_is_missing_and_changes_no_living_row(self, scene: Scene) -> None:
        ended = scene.run("--tables", "symbols,kids,parents", "--from", SIDE, "--yes")
        assert ended.code == 0, ended.err
        assert scene.symbols() == 305
        assert scene.symbols("name = 'spoiled'") == 30
        assert scene.symbols("name = 'later'") == 3
        assert scene.symbols("name = 'new'") == 5
        assert scene.one("(select count(*) from kids join parents on up = parents.id)") == 1000

    def test_replace_is_interrupted_in_its_transaction_and_resumed(self, scene: Scene) -> None:
        with locked(scene, "symbols"):
            first = Started("restore-table", "--tables", "symbols", "--from", SIDE, "--mode", "replace", "--yes")
            first.hears("write: Write the rows")
            dr("restore-table", "--tables", "kids", "--from", SIDE).assert_told(3, "restore-table")
            first.send(signal.SIGINT)
            assert first.ends().code == 4
        until(lambda: scene.one("to_regclass('symbols_replaced') is null"), 20, what="the rollback")
        assert scene.symbols("name = 'spoiled'") == 30
        ended = dr("restore-table", "--resume", "--yes")
        assert ended.code == 0, ended.err
        assert scene.symbols() == scene.symbols("name = 'as it was'") == 300
        assert scene.symbols("name = 'spoiled'", "symbols_replaced") == 30
        assert scene.symbols("true", "symbols_replaced") == 305

    def test_beside_leaves_the_live_table_alone_and_readers_may_read_it(self, scene: Scene) -> None:
        scene.sql("UPDATE symbols SET name = 'once more' WHERE event_id = 100")
        ended = scene.run("--tables", "symbols", "--from", SIDE, "--mode", "beside", "--yes")
        assert ended.code == 0, ended.err
        assert scene.symbols("name = 'as it was'", "symbols_restored") == 300
        assert scene.symbols("name = 'once more'") == 1
        assert scene.one("has_table_privilege('reader', 'symbols_restored', 'select')") is True
        again = scene.run("--tables", "symbols", "--from", SIDE, "--mode", "beside", "--yes")
        again.assert_told(3, "symbols_restored is there already", hint="drop table")

    def test_dropped_tables_come_back_with_keys_grants_and_sequences(self, scene: Scene) -> None:
        scene.sql("DROP TABLE parents CASCADE")
        ended = scene.run("--tables", "parents", "--from", SIDE, "--yes")
        assert ended.code == 0, ended.err
        keys = "(select count(*) from pg_constraint where conrelid = 'kids'::regclass and contype = 'f')"
        assert scene.one(keys) == 1
        scene.sql("DROP TABLE kids; DROP TABLE parents")
        scene.run("--tables", "kids", "--from", SIDE).assert_told(3, "parents, which was dropped as well")
        ended = scene.run("--tables", "kids,parents", "--from", SIDE, "--yes")
        assert ended.code == 0, ended.err
        assert scene.one(keys) == 1
        assert scene.one("to_regclass('kids_up') is not null") is True
        assert scene.one("has_table_privilege('reader', 'kids', 'select')") is True
        # WAL notes a sequence up to 32 numbers ahead, so recovery may skip some; it never gives one out again.
        assert scene.one("nextval('kids_id_seq') between 1001 and 1040") is True

    def test_a_copy_that_was_altered_after_the_writing_does_not_pass(self, scene: Scene, tmp_path: Path) -> None:
        """The negative twin: the check must fail, and for that reason."""

        def tampered(context: Context[Estate, RestoreTableOptions], state: RestoreTable) -> RestoreTable:
            state = restore_table.write(context, state)
            side_act.promote(scene.primary, SIDE, 60)
            there = side.look(scene.primary, SIDE)
            assert there is not None
            scene.primary.run(
                f"psql -q -v ON_ERROR_STOP=1 {' '.join(there.connection)} -d {DATABASE}", user="postgres",
                stdin="UPDATE symbols SET name = 'tampered' WHERE event_id = 7;",
            )  # fmt: skip
            return state

        scene.sql("DROP TABLE IF EXISTS symbols_replaced; DELETE FROM symbols WHERE event_id = 7")
        twin = replace_step(RESTORE_TABLE, "write", action=tampered)
        options = RestoreTableOptions(tables=("symbols",), source=SIDE, mode=Mode.REPLACE, yes=True)
        result = execute(twin, scene.estate, options, seen.quiet, runs=tmp_path)
        assert result.outcome is Outcome.FAILED
        assert "symbols: of 300 rows of the copy 0 are missing and 1 hold other values" in result.error


@pytest.mark.parametrize(
    ("words", "code", "told", "hint"),
    [
        (("--tables", "order_record", "--to-time", "2026-01-01 00:00:00Z"), 2, "'order_record'", "order_records"),
        (("--tables", "symbols", "--to-time", "2026-01-01 00:00:00"), 2, "no time zone", "zone"),
        (("--tables", "symbols", "--to-time", "2126-01-01 00:00:00Z"), 3, "future", "earlier"),
        (("--tables", "symbols", "--to-time", "2016-01-01 00:00:00Z"), 3, "before anything", "backup.list"),
        (("--tables", "symbols", "--to-name", "never-made"), 3, "never-made", ""),
        (("--tables", "symbols", "--to-time", "2026-01-01 00:00:00Z", "--mode", "upsert"), 2, "'upsert'", "merge"),
        (("--tables", "symbols", "--from", "nowhere"), 3, "nowhere", ""),
        (("--to-time", "2026-01-01 00:00:00Z"), 2, "no table", "--tables"),
    ],
)  # fmt: skip
def test_what_cannot_be_restored_is_one_sentence(
    whole: Estate, words: tuple[str, ...], code: int, told: str, hint: str
) -> None:
    dr("restore-table", *words, "--yes").assert_told(code, told, hint=hint)


@pytest.mark.long
class TestDropped:
    def test_a_hypertable_dropped_under_load_comes_back_and_loses_no_acknowledged_row(
        self, whole: Estate, tmp_path: Path
    ) -> None:
        primary = primary_of(whole)
        with load(whole, tmp_path) as writing:
            writing.writes_on()
            drop = "BEGIN; SELECT pg_current_xact_id(); DROP TABLE order_records; COMMIT;"
            xid = primary.run("psql -qAtX -d %s", DATABASE, user="postgres", stdin=drop).text
            writing.goes_to_outbox()
            ended = dr("restore-table", "--tables", "order_records", "--to-xid", xid, "--replace", "--yes", "--json")
            assert ended.code == 0, ended.err
            writing.goes_to_store()
            writing.writes_on()
        rows = json.loads(ended.out)["state"]["rows"]
        assert rows[0][:2] == ["order_records", "inserted"] and rows[0][2] > 0
        table = load_tables()["order_records"]
        assert schema.of_table(table, schema.look(primary, DATABASE)["order_records"]) == []
        indexes = primary.query(
            "select count(*) as n from pg_indexes where schemaname = 'public' and tablename = 'order_records'", DATABASE
        )
        assert indexes[0]["n"] == 1 + len(table.indexes)
        assert side.look(primary, SIDE) is None
        seen.assert_whole(whole)
