"""restore-table on schemas that people have, on real hosts with TimescaleDB: field cases F9 to F13 and their siblings.

The tests share one side cluster and run in the order in which they stand.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from runbooks.actions.postgresql import side as side_act
from runbooks.hosts import Estate, Host
from runbooks.probes.postgresql import server
from runbooks.procedures.postgresql.restore_table import SIDE
from tests.drills import estate as seen
from tests.drills.doors import Ended, dr

pytestmark = [pytest.mark.lab, pytest.mark.destructive, pytest.mark.timeout(400)]
DATABASE = "quant_research"
CLEAN = """
DROP EVENT TRIGGER IF EXISTS field_no_ddl;
DROP SCHEMA IF EXISTS field CASCADE; DROP SCHEMA IF EXISTS field_audit CASCADE;
"""
FILL = """
CREATE SCHEMA field; CREATE SCHEMA field_audit;
CREATE FUNCTION field.stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.at := now(); RETURN NEW; END';
CREATE TABLE field.accounts (id int PRIMARY KEY, code text UNIQUE);
CREATE TABLE field_audit.notes (id int PRIMARY KEY, acc int REFERENCES field.accounts ON DELETE CASCADE);
CREATE TABLE field.codes (id int PRIMARY KEY, code text REFERENCES field.accounts (code) ON UPDATE CASCADE);
CREATE TABLE field.inc (id int, qty int, PRIMARY KEY (id) INCLUDE (qty));
CREATE TABLE field.ranks (id int PRIMARY KEY, pos int UNIQUE, sym text UNIQUE);
CREATE SEQUENCE field.no_seq;
CREATE TABLE field.numbered (no text PRIMARY KEY DEFAULT 'ORD' || nextval('field.no_seq'), n int);
ALTER SEQUENCE field.no_seq OWNED BY field.numbered.no;
CREATE TABLE field.stamped (id int PRIMARY KEY, v int, at timestamptz);
CREATE TABLE field.ticks (at timestamptz NOT NULL, sym text, v numeric, PRIMARY KEY (at, sym));
SELECT create_hypertable('field.ticks', by_range('at', INTERVAL '1 day'));
CREATE INDEX ticks_of ON field.ticks (sym, at DESC); COMMENT ON TABLE field.ticks IS 'of the field';
GRANT SELECT ON field.ticks TO reader;
CREATE TABLE field.altered (id int PRIMARY KEY, old text, wide int, gone text);
INSERT INTO field.accounts SELECT i, 'c' || i FROM generate_series(1, 20) i;
INSERT INTO field_audit.notes SELECT i, i FROM generate_series(1, 20) i;
INSERT INTO field.codes SELECT i, 'c' || i FROM generate_series(1, 20) i;
INSERT INTO field.inc SELECT i, i FROM generate_series(1, 100) i;
INSERT INTO field.ranks SELECT i, i, 's' || i FROM generate_series(1, 10) i;
INSERT INTO field.numbered (n) SELECT generate_series(1, 10);
INSERT INTO field.stamped SELECT i, i, '2020-01-01' FROM generate_series(1, 100) i;
INSERT INTO field.ticks SELECT timestamptz '2026-01-01' + i * interval '1 hour', 's', i FROM generate_series(1, 500) i;
INSERT INTO field.altered SELECT i, 'o' || i, i, 'g' FROM generate_series(1, 20) i;
CREATE TRIGGER stamped BEFORE INSERT OR UPDATE ON field.stamped FOR EACH ROW EXECUTE FUNCTION field.stamp();
CREATE TRIGGER stamped BEFORE INSERT OR UPDATE ON field.ticks FOR EACH ROW EXECUTE FUNCTION field.stamp();
ALTER TABLE field.stamped ENABLE ALWAYS TRIGGER stamped;
"""
DAMAGE = """
INSERT INTO field.accounts VALUES (21, 'c21'); INSERT INTO field_audit.notes VALUES (21, 21), (22, 21);
UPDATE field.accounts SET code = 'other' WHERE id = 5;
UPDATE field.inc SET qty = 0 WHERE id <= 5; DELETE FROM field.inc WHERE id > 95;
DELETE FROM field.ranks WHERE id = 3; INSERT INTO field.ranks VALUES (30, 33, 's3');
DELETE FROM field.numbered WHERE n <= 3;
UPDATE field.stamped SET v = 0 WHERE id <= 10; DELETE FROM field.stamped WHERE id > 95;
SET session_replication_role = replica;  -- a hypertable's triggers cannot be disabled
DELETE FROM field.ticks WHERE v <= 50; UPDATE field.ticks SET v = 0 WHERE v > 450;
RESET session_replication_role;
ALTER TABLE field.altered RENAME old TO renamed; ALTER TABLE field.altered ALTER wide TYPE bigint;
ALTER TABLE field.altered DROP gone; ALTER TABLE field.altered ADD fresh int DEFAULT 7;
DELETE FROM field.altered WHERE id <= 5;
"""
TICKS = (
    "(SELECT json_build_array(count(*), sum(v), min(at), max(at)) FROM field.ticks)::text",
    "(SELECT json_agg(indexdef ORDER BY indexdef) FROM pg_indexes "
    "WHERE schemaname = 'field' AND tablename = 'ticks')::text",
    "(SELECT json_agg(time_interval::text) FROM timescaledb_information.dimensions "
    "WHERE hypertable_name = 'ticks')::text",
    "obj_description('field.ticks'::regclass)",
    "(SELECT relacl::text FROM pg_class WHERE oid = 'field.ticks'::regclass)",
    "(SELECT tgenabled::text FROM pg_trigger WHERE tgrelid = 'field.ticks'::regclass AND tgname = 'stamped')",
)  # fmt: skip


@dataclass(frozen=True)
class Scene:
    primary: Host

    def run(self, *words: str) -> Ended:
        return dr("restore-table", "--from", SIDE, *words)

    def sql(self, statements: str) -> None:
        self.primary.execute(statements, DATABASE)

    def one(self, expression: str) -> object:
        return self.primary.query(f"select {expression} as found", DATABASE)[0]["found"]

    def ticks(self) -> list[object]:
        return [self.one(expression) for expression in TICKS]


@pytest.fixture(scope="module")
def scene(estate_lab: Estate) -> Iterator[Scene]:
    whole = seen.make_whole(estate_lab)
    primary, point = server.the_primary(server.survey(whole)).host, f"field-{time.time_ns()}"
    side_act.drop(primary, SIDE, 60)
    primary.execute(CLEAN, DATABASE)
    primary.execute(FILL, DATABASE)
    primary.query(f"select pg_create_restore_point('{point}')")
    primary.execute(DAMAGE, DATABASE)
    opened = dr("restore-table", "--tables", "field.inc", "--to-name", point)
    assert opened.code == 0, opened.err
    yield Scene(primary)
    side_act.drop(primary, SIDE, 60)
    primary.execute(CLEAN, DATABASE)


def test_children_in_other_schemas_are_counted_and_named_before(scene: Scene) -> None:
    ended = scene.run("--tables", "field.accounts", "--mode", "replace", "--yes")
    ended.assert_told(
        3, "2 live rows of field_audit.notes", "ON DELETE CASCADE", "1 live rows of field.codes", "ON UPDATE CASCADE",
        hint="--tables field.accounts,field.codes,field_audit.notes",
    )  # fmt: skip
    assert scene.one("(SELECT count(*) FROM field_audit.notes)") == 22
    names = "field.accounts,field_audit.notes,field.codes"
    ended = scene.run("--tables", names, "--mode", "replace", "--yes")
    assert ended.code == 0, ended.err
    assert scene.one("(SELECT count(*) FROM field_audit.notes)") == 20
    assert scene.one("(SELECT count(*) FROM field.accounts JOIN field.codes USING (code) WHERE code <> 'other')") == 20


def test_a_taken_value_is_told_with_its_partner_and_a_replacement_frees_it(scene: Scene) -> None:
    ended = scene.run("--tables", "field.ranks", "--yes")
    ended.assert_told(3, "ranks_sym_key", "(3) meets (30)", hint="--mode replace")
    ended = scene.run("--tables", "field.ranks", "--mode", "replace", "--yes")
    assert ended.code == 0, ended.err
    assert scene.one("(SELECT string_agg(sym, ',' ORDER BY pos) FROM field.ranks)") == ",".join(
        f"s{i}" for i in range(1, 11)
    )


def test_keys_sequences_and_triggers_stand_in_no_ones_way(scene: Scene) -> None:
    looked = scene.run("--tables", "field.inc,field.numbered,field.stamped")
    assert "field.inc: 95 rows live, 100 in the copy; 5 missing, 5 differing" in looked.out
    assert "does not run its trigger stamped" in looked.out
    ended = scene.run("--tables", "field.inc,field.numbered,field.stamped", "--yes")
    assert ended.code == 0, ended.err
    assert scene.one("(SELECT count(*) FROM field.stamped WHERE id > 95 AND at = '2020-01-01')") == 5
    assert scene.one("(SELECT count(*) FROM field.numbered)") == 10
    assert scene.one("nextval('field.no_seq') > 10") is True
    ended = scene.run("--tables", "field.inc,field.stamped", "--mode", "replace", "--yes")
    assert ended.code == 0, ended.err
    assert scene.one("(SELECT count(*) FROM field.stamped WHERE at = '2020-01-01' AND v = id)") == 100
    assert scene.one("(SELECT tgenabled FROM pg_trigger WHERE tgname = 'stamped' "
                     "AND tgrelid = 'field.stamped'::regclass)") == "A"  # fmt: skip


def test_a_hypertable_is_replaced_and_made_again_with_everything_that_hung_on_it(scene: Scene) -> None:
    ended = scene.run("--tables", "field.ticks", "--mode", "replace", "--yes")
    assert ended.code == 0, ended.err
    before = scene.ticks()
    assert before[0] == '[500, 125250, "2026-01-01T01:00:00+00:00", "2026-01-21T20:00:00+00:00"]'
    scene.sql("DROP TABLE field.ticks")
    scene.sql(
        "CREATE FUNCTION field.no_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no ddl''; END'; "
        "CREATE EVENT TRIGGER field_no_ddl ON ddl_command_start EXECUTE FUNCTION field.no_ddl();"
    )
    ended = scene.run("--tables", "field.ticks", "--yes")
    assert ended.code == 0, ended.err
    assert "event triggers are off while it is written: field_no_ddl" in ended.out
    assert scene.ticks() == before
    assert scene.one("(SELECT evtenabled FROM pg_event_trigger WHERE evtname = 'field_no_ddl')") == "O"
    scene.sql("DROP EVENT TRIGGER field_no_ddl")


def test_a_table_whose_columns_changed_gets_what_fits_on_consent(scene: Scene) -> None:
    ended = scene.run("--tables", "field.altered", "--yes")
    ended.assert_told(3, "field.altered.gone is not in the table now: its 20 values", hint="--accept-loss")
    ended = scene.run("--tables", "field.altered", "--yes", "--accept-loss")
    assert ended.code == 0, ended.err
    found = "(SELECT row(renamed, wide, fresh)::text FROM field.altered WHERE id = 3)"
    assert scene.one(found) == "(o3,3,7)"
