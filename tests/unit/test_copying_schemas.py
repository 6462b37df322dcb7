"""Schemas that people have: what a restored table meets and causes is told before, and it comes back as it was."""

from __future__ import annotations

import pytest

from inventories.errors import Refused, TargetFailed
from runbooks.table_copy.counts import Mode, remarks
from tests.unit.copying_kit import Two

MODES = (Mode.MERGE, Mode.REPLACE)


def accounts(two: Two) -> None:
    """A parent, a child of another schema that cascades, and one by another key that cascades an update."""
    two.sql(
        "CREATE SCHEMA audit",
        "CREATE TABLE accounts (id int PRIMARY KEY, code text UNIQUE, name text)",
        "CREATE TABLE audit.notes (id int PRIMARY KEY, acc int REFERENCES accounts ON DELETE CASCADE)",
        "CREATE TABLE orders (id int PRIMARY KEY, code text REFERENCES accounts (code) "
        "ON UPDATE CASCADE ON DELETE SET NULL)",
        "INSERT INTO accounts SELECT i, 'c' || i, 'n' FROM generate_series(1, 10) i",
        "INSERT INTO audit.notes SELECT i, i FROM generate_series(1, 10) i",
        "INSERT INTO orders SELECT i, 'c' || i FROM generate_series(1, 10) i",
    )
    two.point()


def test_children_of_a_parent_that_would_go_are_counted_wherever_they_are(two: Two) -> None:
    accounts(two)
    two.sql(
        "INSERT INTO accounts VALUES (11, 'c11', 'new')", "INSERT INTO audit.notes VALUES (11, 11), (12, 11)",
        "INSERT INTO orders VALUES (11, 'c11')",
    )  # fmt: skip
    ready = two.prepare(Mode.REPLACE, "accounts")
    assert ready.counts[0].bereaved == {"audit.notes: notes_acc_fkey": 2, "orders: orders_code_fkey": 1}
    with pytest.raises(Refused, match=r"2 live rows of audit\.notes .*ON DELETE CASCADE") as told:
        ready.judged()
    assert "--tables accounts,audit.notes" in told.value.hint
    with pytest.raises(TargetFailed, match="would refer to rows of accounts"):
        two.write(Mode.REPLACE, "accounts")
    assert two.sql("SELECT count(*) FROM audit.notes") == [(12,)], "nothing cascades"
    two.restored(Mode.REPLACE, "accounts", "audit.notes", "orders")
    assert two.same("accounts") and two.same("audit.notes") and two.same("orders")


def test_a_parent_whose_other_key_changes_keeps_its_children(two: Two) -> None:
    accounts(two)
    two.sql("UPDATE accounts SET code = 'other' WHERE id = 3")
    ready = two.prepare(Mode.REPLACE, "accounts")
    assert ready.counts[0].bereaved["orders: orders_code_fkey"] == 1, "the cascade gave the child the new code"
    with pytest.raises(Refused, match="ON UPDATE CASCADE"):
        ready.judged()
    two.restored(Mode.REPLACE, "accounts", "orders")
    assert two.same("accounts") and two.same("orders")


def test_a_parent_written_again_takes_no_child_along(two: Two) -> None:
    accounts(two)
    two.sql("UPDATE accounts SET name = 'spoilt'", "INSERT INTO audit.notes VALUES (77, 7)")
    two.restored(Mode.REPLACE, "accounts")
    assert two.same("accounts")
    assert two.sql("SELECT count(*) FROM audit.notes") == [(11,)]
    assert two.same("orders")


@pytest.mark.parametrize("mode", MODES)
def test_a_key_that_includes_another_column_is_a_key(two: Two, mode: Mode) -> None:
    two.sql(
        "CREATE TABLE inc (id int, qty int, note text, PRIMARY KEY (id) INCLUDE (qty))",
        "INSERT INTO inc SELECT i, i, 'n' FROM generate_series(1, 100) i",
    )
    two.point()
    two.sql("UPDATE inc SET qty = 0 WHERE id <= 5", "DELETE FROM inc WHERE id > 95")
    found = two.prepare(mode, "inc").counts[0]
    assert (found.missing, found.differing) == (5, 5)
    two.restored(mode, "inc")
    assert two.same("inc") is (mode is Mode.REPLACE)


def ranks(two: Two) -> None:
    two.sql(
        "CREATE TABLE ranks (id int PRIMARY KEY, pos int UNIQUE, sym text UNIQUE)",
        "INSERT INTO ranks SELECT i, i, 's' || i FROM generate_series(1, 10) i",
    )
    two.point()


def test_a_row_whose_value_another_has_taken_is_told_with_its_partner(two: Two) -> None:
    ranks(two)
    two.sql("DELETE FROM ranks WHERE id = 3", "INSERT INTO ranks VALUES (30, 33, 's3')")
    ready = two.prepare(Mode.MERGE, "ranks")
    assert ready.counts[0].missing == 1
    with pytest.raises(Refused, match=r"1 rows .* ranks_sym_key: \(3\) meets \(30\)"):
        ready.judged()
    two.restored(Mode.REPLACE, "ranks")
    assert two.same("ranks")


def test_values_that_changed_places_change_back(two: Two) -> None:
    ranks(two)
    two.sql("UPDATE ranks SET pos = pos + 100", "UPDATE ranks SET pos = 111 - pos")
    two.restored(Mode.REPLACE, "ranks")
    assert two.same("ranks")


def test_a_condition_does_not_hide_a_collision(two: Two) -> None:
    ranks(two)
    two.sql("UPDATE ranks SET pos = pos + 100", "UPDATE ranks SET pos = 3 WHERE id = 4")
    with pytest.raises(Refused, match=r"ranks_pos_key: \(3\) meets \(4\)"):
        two.prepare(Mode.REPLACE, "ranks", where="id = 3").judged()


@pytest.mark.parametrize(
    ("index", "values"),
    [
        ("CREATE UNIQUE INDEX u ON t (lower(name))", "'X'"),
        ("CREATE UNIQUE INDEX u ON t (name) WHERE id > 2", "'x'"),
        ("ALTER TABLE t ADD CONSTRAINT u EXCLUDE USING gist (box(point(0,0), point(length(name), 1)) WITH &&)", "'xy'"),
        ("CREATE UNIQUE INDEX u ON t (n) NULLS NOT DISTINCT", "'other'"),
        ("ALTER TABLE t ADD CONSTRAINT u UNIQUE (name) DEFERRABLE INITIALLY DEFERRED", "'x'"),
    ],
)
def test_every_kind_of_unique_index_tells_its_collisions(two: Two, index: str, values: str) -> None:
    two.sql("CREATE TABLE t (id int PRIMARY KEY, name text, n int)", "INSERT INTO t VALUES (3, 'x')", index)
    two.point()
    two.sql("DELETE FROM t", f"INSERT INTO t VALUES (4, {values})")
    with pytest.raises(Refused, match=r"in u: \(3\) meets \(4\)"):
        two.prepare(Mode.MERGE, "t").judged()
    with pytest.raises(TargetFailed, match="nothing was written"):
        two.write(Mode.MERGE, "t")
    two.restored(Mode.REPLACE, "t")
    assert two.same("t")


def test_a_constraint_that_is_new_since_is_held_against_the_copy(two: Two) -> None:
    two.sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int)", "INSERT INTO t VALUES (1, 1, NULL), (2, 1, 2)")
    two.point()
    two.sql("DELETE FROM t", "ALTER TABLE t ADD UNIQUE (a)")
    with pytest.raises(Refused, match=r"\(1\) meets \(2\)"):
        two.prepare(Mode.REPLACE, "t").judged()
    two.sql("ALTER TABLE t DROP CONSTRAINT t_a_key", "ALTER TABLE t ADD CHECK (a > 1)")
    with pytest.raises(Refused, match="2 rows to be restored into t do not meet t_a_check"):
        two.prepare(Mode.MERGE, "t").judged()
    two.sql("ALTER TABLE t DROP CONSTRAINT t_a_check", "ALTER TABLE t ALTER b SET NOT NULL")
    with pytest.raises(Refused, match="1 rows to be restored into t do not meet b is not null"):
        two.prepare(Mode.MERGE, "t").judged()


@pytest.mark.parametrize("mode", MODES)
def test_a_sequence_of_a_text_column_goes_on_by_its_own_value(two: Two, mode: Mode) -> None:
    two.sql(
        "CREATE SEQUENCE no_seq", "CREATE TABLE t (no text PRIMARY KEY DEFAULT 'ORD' || nextval('no_seq'), n int)",
        "ALTER SEQUENCE no_seq OWNED BY t.no", "INSERT INTO t (n) SELECT generate_series(1, 10)",
    )  # fmt: skip
    two.point()
    two.sql("DELETE FROM t WHERE n <= 3", "SELECT setval('no_seq', 50)")
    two.restored(mode, "t")
    assert two.same("t")
    assert two.sql("SELECT nextval('no_seq')") == [(51,)]
    two.sql("DROP TABLE t")
    two.restored(mode, "t")
    assert two.sql("SELECT nextval('no_seq')") == [(11,)]


def test_sequences_only_go_forward_whichever_way_that_is(two: Two) -> None:
    two.sql(
        "CREATE SEQUENCE down INCREMENT -1 START -10 MINVALUE -1000 MAXVALUE -1",
        "CREATE TABLE t (id serial PRIMARY KEY, d int DEFAULT nextval('down'), "
        "far int GENERATED BY DEFAULT AS IDENTITY (START 1000))",
        "INSERT INTO t (far) SELECT 5 FROM generate_series(1, 20)",
    )
    two.point()
    two.sql("DELETE FROM t", "SELECT setval('t_id_seq', 1)", "SELECT setval('down', -10)")
    two.restored(Mode.MERGE, "t")
    assert two.sql("SELECT nextval('t_id_seq'), nextval('down'), nextval('t_far_seq')") == [(21, -30, 1000)]
    two.sql("SELECT setval('t_id_seq', 5000), setval('down', -500)")
    two.restored(Mode.REPLACE, "t")
    assert two.sql("SELECT nextval('t_id_seq'), nextval('down')") == [(5001, -501)]


STAMP = "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.at := now(); RETURN NEW; END'"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("enable", ["ENABLE", "ENABLE ALWAYS", "ENABLE REPLICA"])
def test_no_trigger_and_no_rule_has_a_say_in_what_comes_back(two: Two, mode: Mode, enable: str) -> None:
    two.sql(
        STAMP, "CREATE TABLE log (n int)", "CREATE TABLE t (id int PRIMARY KEY, at timestamptz, v int)",
        "INSERT INTO t SELECT i, '2020-01-01', i FROM generate_series(1, 20) i",
        "CREATE TRIGGER stamped BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION stamp()",
        f"ALTER TABLE t {enable} TRIGGER stamped",
        "CREATE RULE noted AS ON INSERT TO t DO ALSO INSERT INTO log VALUES (NEW.id)",
        "CREATE RULE never AS ON DELETE TO t DO INSTEAD NOTHING", f"ALTER TABLE t {enable} RULE never",
    )  # fmt: skip
    two.point()
    state = (
        "SELECT tgenabled FROM pg_trigger WHERE tgname = 'stamped' "
        "UNION ALL SELECT ev_enabled FROM pg_rewrite WHERE rulename = 'never'"
    )
    before = two.sql(state)
    two.sql(
        "ALTER TABLE t DISABLE TRIGGER ALL", "ALTER TABLE t DISABLE RULE never",
        "DELETE FROM t WHERE id <= 5", "UPDATE t SET v = 0 WHERE id > 15",
        f"ALTER TABLE t {enable} TRIGGER stamped", f"ALTER TABLE t {enable} RULE never",
    )  # fmt: skip
    two.restored(mode, "t")
    assert two.same("t", "*" if mode is Mode.REPLACE else "id, at")
    assert two.rows("log") == []
    assert two.sql(state) == before
    told = remarks(two.prepare(mode, "t").plans[0], mode)
    assert told[-1] == "t: what is written does not run its trigger stamped, rule never, rule noted"


def test_an_event_trigger_neither_refuses_nor_sees_what_is_made(two: Two) -> None:
    two.sql("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    two.point()
    two.sql(
        "DROP TABLE t",
        "CREATE FUNCTION no_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no ddl''; END'",
        "CREATE EVENT TRIGGER no_ddl ON ddl_command_start EXECUTE FUNCTION no_ddl()",
        "ALTER EVENT TRIGGER no_ddl ENABLE ALWAYS",
    )
    two.restored(Mode.MERGE, "t")
    assert two.same("t")
    assert two.sql("SELECT evtenabled FROM pg_event_trigger") == [("A",)]
    with pytest.raises(Exception, match="no ddl"):
        two.sql("CREATE TABLE other ()")


@pytest.mark.parametrize("mode", MODES)
def test_identity_and_computed_columns_come_back(two: Two, mode: Mode) -> None:
    two.sql(
        "CREATE TABLE t (k int, d int GENERATED ALWAYS AS (k * 2) STORED, n int GENERATED ALWAYS AS IDENTITY, v text, "
        "PRIMARY KEY (k, d))",
        "INSERT INTO t (k, v) SELECT i, 'v' FROM generate_series(1, 10) i",
    )
    two.point()
    two.sql("DELETE FROM t WHERE k <= 3", "INSERT INTO t (k, v) VALUES (2, 'other'), (4000, 'new')")
    two.restored(mode, "t")
    assert two.same("t") is (mode is Mode.REPLACE)


@pytest.mark.parametrize("mode", MODES)
def test_a_key_that_is_checked_at_the_commit_is_a_key(two: Two, mode: Mode) -> None:
    two.sql(
        "CREATE TABLE t (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v int)",
        "INSERT INTO t VALUES (1, 1), (2, 2)",
    )
    two.point()
    two.sql("DELETE FROM t WHERE id = 1", "UPDATE t SET v = 5")
    two.restored(mode, "t")
    assert two.same("t", "id")


def test_equal_values_that_are_written_otherwise_differ(two: Two) -> None:
    two.sql(
        "CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
        "CREATE TABLE t (id int PRIMARY KEY, n numeric, f float8, i interval, j jsonb, x text COLLATE folded)",
        "INSERT INTO t SELECT i, 1.0, 0, '1 day', '1.0', 'a' FROM generate_series(1, 5) i",
    )
    two.point()
    two.sql(
        "UPDATE t SET n = 1.00 WHERE id = 1", "UPDATE t SET f = '-0' WHERE id = 2",
        "UPDATE t SET i = '24:00' WHERE id = 3", "UPDATE t SET j = '1.00' WHERE id = 4",
        "UPDATE t SET x = 'A' WHERE id = 5",
    )  # fmt: skip
    assert two.prepare(Mode.REPLACE, "t").counts[0].differing == 5
    two.restored(Mode.REPLACE, "t")
    assert two.same("t")


def test_values_that_postgresql_hashes_to_the_same_number_differ(two: Two) -> None:
    two.sql(
        "CREATE TABLE t (id int PRIMARY KEY, profit numeric(20, 8), any_scale numeric, number bigint)",
        "INSERT INTO t SELECT i, i * 1.5, 'NaN', CASE i WHEN 6 THEN 5 ELSE -i END FROM generate_series(1, 6) i",
    )
    two.point()
    two.sql(
        "UPDATE t SET profit = -profit WHERE id = 1", "UPDATE t SET profit = 'NaN' WHERE id = 2",
        "UPDATE t SET any_scale = 'Infinity' WHERE id = 3", "UPDATE t SET any_scale = '-Infinity' WHERE id = 4",
        "UPDATE t SET number = number + (1::bigint << 32) WHERE id = 5",
        "UPDATE t SET number = (5::bigint << 32) WHERE id = 6",
    )  # fmt: skip
    assert two.prepare(Mode.REPLACE, "t").counts[0].differing == 6
    two.restored(Mode.REPLACE, "t")
    assert two.same("t")


TYPES = """
CREATE SCHEMA types; CREATE DOMAIN types.doc AS xml; CREATE DOMAIN types.page AS types.doc;
CREATE TYPE types.mood AS ENUM ('sad', 'fine'); CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE pt AS (x int, m types.mood);
CREATE TABLE t (id int PRIMARY KEY, m types.mood, ms types.mood[], p positive, c pt, cs pt[], r int4range, rs tsrange,
  j json, x xml, mo money, b bit(3), vb bit varying, pts point, ch character(4), tz timetz, ip inet, ts timestamp(3),
  h bytea, u uuid, nums numeric(8,2)[], page types.page);
INSERT INTO t SELECT i, 'fine', '{sad,fine}', 3, '(1,sad)', array['(1,sad)'::pt, null], '[1,5)', '[2020-01-01,)',
  '{"a":  1}', '<?xml version="1.0"?><a/>', 12.5, '101', '11', '(1,2)', 'ab', '10:00+03', '10.0.0.1/8',
  '2020-01-01 00:00:00.123',
  '\\x00ff', '00000000-0000-0000-0000-000000000001', '{1.50}',
  '<?xml version="1.0"?><a/>' FROM generate_series(1, 9) i;
"""


@pytest.mark.parametrize("mode", [*MODES, Mode.BESIDE])
def test_values_of_any_type_come_back(two: Two, mode: Mode) -> None:
    two.sql(TYPES)
    two.point()
    two.sql("DELETE FROM t WHERE id < 4", "UPDATE t SET p = 4, j = '{}' WHERE id = 5")
    two.restored(mode, "t")
    if mode is Mode.BESIDE:
        assert two.sql("SELECT ROW(t.*)::text FROM t_restored t ORDER BY id") == two.copied(
            "SELECT ROW(t.*)::text FROM t ORDER BY id"
        )
    two.sql("DROP TABLE t")
    two.restored(Mode.MERGE, "t")
    assert two.same("t")


def test_a_type_that_was_made_again_has_another_number_and_the_same_values(two: Two) -> None:
    two.sql("CREATE TYPE mood AS ENUM ('sad', 'fine')", "CREATE TABLE t (id int PRIMARY KEY, m mood[])",
            "INSERT INTO t VALUES (1, '{sad}'), (2, '{fine,sad}')")  # fmt: skip
    two.point()
    two.sql("DROP TABLE t", "DROP TYPE mood", "CREATE TYPE mood AS ENUM ('fine', 'sad')")
    two.restored(Mode.MERGE, "t")
    two.sql("DELETE FROM t WHERE id = 1")
    two.restored(Mode.REPLACE, "t")
    assert two.same("t")


def test_a_type_that_is_gone_is_named_before_anything_is_written(two: Two) -> None:
    two.sql(
        "CREATE TYPE mood AS ENUM ('sad')", "CREATE TABLE t (id int PRIMARY KEY, m mood)",
        "INSERT INTO t VALUES (1, 'sad')",
    )  # fmt: skip
    two.point()
    two.sql("DROP TABLE t", "DROP TYPE mood")
    for mode in (Mode.MERGE, Mode.BESIDE):
        with pytest.raises(Refused, match=r'type "?(public\.)?mood"? does not exist'):
            two.prepare(mode, "t")


@pytest.mark.parametrize("mode", MODES)
def test_values_of_an_extension_are_equal_by_its_own_operator(two: Two, mode: Mode) -> None:
    two.sql(
        "CREATE SCHEMA ext", "CREATE EXTENSION citext SCHEMA ext",
        "CREATE TABLE t (name ext.citext PRIMARY KEY, v int)", "INSERT INTO t VALUES ('A', 1), ('B', 2)",
    )  # fmt: skip
    two.point()
    two.sql("UPDATE t SET name = 'a' WHERE name = 'A'", "DELETE FROM t WHERE v = 2")
    found = two.prepare(mode, "t").counts[0]
    assert (found.missing, found.differing, found.only_live) == (1, 1, 0)
    two.restored(mode, "t")
    assert two.same("t") is (mode is Mode.REPLACE)


def test_an_heir_is_no_parent_of_a_foreign_key(two: Two) -> None:
    two.sql("CREATE TABLE base (id int PRIMARY KEY)", "CREATE TABLE heir () INHERITS (base)",
            "CREATE TABLE kid (id int PRIMARY KEY, up int REFERENCES base)", "INSERT INTO base VALUES (1)",
            "INSERT INTO kid VALUES (1, 1)")  # fmt: skip
    two.point()
    two.sql("DELETE FROM kid", "DELETE FROM base", "INSERT INTO heir VALUES (1)")
    assert two.prepare(Mode.MERGE, "kid").counts[0].orphans == {"kid_up_fkey": 1}
    with pytest.raises(TargetFailed, match="violate foreign key"):
        two.write(Mode.MERGE, "kid")


def test_texts_that_a_collation_takes_for_the_same_lie_beside_as_they_are(two: Two) -> None:
    two.sql(
        "CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
        "CREATE TABLE t (x text COLLATE folded PRIMARY KEY)", "INSERT INTO t VALUES ('a'), ('B')",
    )  # fmt: skip
    two.point()
    two.restored(Mode.BESIDE, "t")
    assert two.rows("t_restored") == [("B",), ("a",)]


def test_rows_of_heirs_are_theirs(two: Two) -> None:
    two.sql(
        "CREATE TABLE base (id int PRIMARY KEY, v int)",
        "CREATE TABLE heir (more int, PRIMARY KEY (id)) INHERITS (base)",
        "INSERT INTO base VALUES (1, 1), (2, 2)", "INSERT INTO heir VALUES (1, 10, 0), (3, 30, 0)",
    )  # fmt: skip
    two.point()
    two.sql("DELETE FROM ONLY base WHERE id = 1", "UPDATE base SET v = 0")
    found = two.prepare(Mode.REPLACE, "base").counts[0]
    assert (found.restored, found.live, found.missing, found.differing) == (2, 1, 1, 1)
    two.restored(Mode.REPLACE, "base")
    assert two.sql("SELECT v FROM ONLY base ORDER BY id") == [(1,), (2,)]
    assert two.sql("SELECT v FROM heir ORDER BY id") == [(0,), (0,)]
    two.sql("DROP TABLE heir")
    two.restored(Mode.MERGE, "heir")
    assert two.sql("SELECT count(*) FROM base") == [(4,)]


def partitioned(two: Two) -> None:
    two.sql(
        "CREATE TABLE parted (id int, day date, v int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)",
        "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
        "CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')",
        "INSERT INTO parted SELECT i, date '2026-01-01' + i % 50, i FROM generate_series(1, 100) i",
    )
    two.point()


@pytest.mark.parametrize("mode", MODES)
def test_a_partitioned_table_is_restored_as_one(two: Two, mode: Mode) -> None:
    partitioned(two)
    two.sql("DELETE FROM parted WHERE id <= 10", "UPDATE parted SET v = 0 WHERE id > 90")
    two.restored(mode, "parted")
    assert two.same("parted", "id, day")
    two.sql("DROP TABLE parted")
    two.restored(mode, "parted", "parted_1")
    assert two.same("parted") and two.same("parted_1")


def test_a_partition_that_was_dropped_is_asked_for_and_made_again(two: Two) -> None:
    partitioned(two)
    two.sql("DROP TABLE parted_2")
    with pytest.raises(Refused, match="has lost partitions: parted_2") as told:
        two.prepare(Mode.MERGE, "parted").judged()
    assert told.value.hint.endswith("--tables parted_2")
    two.restored(Mode.MERGE, "parted_2")
    assert two.same("parted")


WHOLE = """
CREATE SCHEMA s; GRANT USAGE ON SCHEMA s TO writer; CREATE TYPE s.mood AS ENUM ('sad');
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.note := ''touched''; RETURN NEW; END';
CREATE TABLE s.main (id bigint GENERATED ALWAYS AS IDENTITY, no serial, m s.mood DEFAULT 'sad', note text COLLATE "C",
  up bigint, twice bigint GENERATED ALWAYS AS (up * 2) STORED, day date NOT NULL DEFAULT current_date,
  span int4range, PRIMARY KEY (id) INCLUDE (note), CHECK (up > 0),
  UNIQUE (no) DEFERRABLE INITIALLY DEFERRED, EXCLUDE USING gist (span WITH &&));
ALTER TABLE s.main ADD CONSTRAINT self FOREIGN KEY (up) REFERENCES s.main (id) NOT VALID;
CREATE INDEX part ON s.main (lower(note)) WHERE up > 3; CREATE STATISTICS s.st ON note, up FROM s.main;
ALTER TABLE s.main ALTER note SET STATISTICS 77, ALTER note SET STORAGE EXTERNAL;
ALTER TABLE s.main SET (fillfactor = 70);
CREATE TRIGGER touched BEFORE INSERT ON s.main FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE s.main ENABLE ALWAYS TRIGGER touched;
CREATE RULE two_things AS ON DELETE TO s.main DO (SELECT 1; SELECT 2);
ALTER TABLE s.main ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON s.main FOR SELECT TO reader USING (up > 1);
GRANT SELECT (id, note), UPDATE ON s.main TO reader; ALTER TABLE s.main OWNER TO writer;
COMMENT ON TABLE s.main IS 'it''s; -- not the end'; COMMENT ON COLUMN s.main.note IS 'x';
CLUSTER s.main USING main_pkey;
CREATE PUBLICATION pub FOR TABLE s.main (id, note) WHERE (id > 3);
INSERT INTO s.main (note, up, span) SELECT 'n' || i, greatest(i - 1, 1), int4range(i, i + 1)
  FROM generate_series(1, 20) i;
"""


def test_a_dropped_table_comes_back_with_everything_that_hung_on_it(two: Two) -> None:
    two.sql(WHOLE)
    two.sql("SET session_replication_role = replica; UPDATE s.main SET note = 'as it was'")
    two.point()
    before = two.definition("s.main")
    two.sql("DROP TABLE s.main CASCADE", "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC")
    ready = two.prepare(Mode.MERGE, "s.main")
    assert ready.plans[0].lost == ()
    two.restored(Mode.MERGE, "s.main")
    assert two.same("s.main")
    assert two.definition("s.main") == before
    assert two.sql("SELECT pg_get_statisticsobjdef(oid) FROM pg_statistic_ext") != []
    assert two.sql("SELECT prqual IS NOT NULL, prattrs::text FROM pg_publication_rel") == [(True, "1 4")]


def test_what_of_a_dropped_table_cannot_come_back_is_named_before(two: Two) -> None:
    two.sql(WHOLE, "CREATE VIEW seen AS SELECT * FROM s.main")
    two.point()
    two.sql("DROP TABLE s.main CASCADE", "DROP FUNCTION touch", "DROP PUBLICATION pub")
    plan = two.prepare(Mode.MERGE, "s.main").plans[0]
    told = "\n".join(plan.lost)
    assert "function public.touch() does not exist" in told
    assert 'publication "pub" does not exist' in told
    assert "view public.seen, which was dropped with s.main" in told
    two.restored(Mode.MERGE, "s.main")
    assert two.same("s.main")


@pytest.mark.parametrize("mode", MODES)
def test_columns_that_changed_since_are_restored_as_far_as_they_fit(two: Two, mode: Mode) -> None:
    two.sql(
        "CREATE TABLE t (id int PRIMARY KEY, old text, wide int, gone text, narrow varchar(10), moved int)",
        "INSERT INTO t SELECT i, 'o' || i, i, 'g', 'n' || i, i FROM generate_series(1, 20) i",
    )
    two.point()
    two.sql(
        "ALTER TABLE t RENAME old TO renamed", "ALTER TABLE t ALTER wide TYPE bigint", "ALTER TABLE t DROP gone",
        "ALTER TABLE t ADD added int DEFAULT 7", "ALTER TABLE t ADD gone2 text",
        "ALTER TABLE t ALTER narrow TYPE varchar(2) USING left(narrow, 2)",
        "ALTER TABLE t DROP moved", "ALTER TABLE t ADD moved int", "UPDATE t SET added = 8, moved = 0, narrow = 'z'",
        "DELETE FROM t WHERE id <= 5", "UPDATE t SET wide = 5000000000 WHERE id > 15",
    )  # fmt: skip
    plan = two.prepare(mode, "t").plans[0]
    assert plan.lost == (
        "t.narrow was character varying(10) and is character varying(2) now: 11 values do not fit, so none comes back",
        "t.gone is not in the table now: its 20 values do not come back",
    )
    assert "t.old is called renamed now, and is restored into it" in plan.notes
    assert "t.wide was integer and is bigint now: every value fits" in plan.notes
    two.restored(mode, "t")
    assert two.sql("SELECT renamed, wide, added, moved, narrow FROM t WHERE id = 3") == [("o3", 3, 7, 3, None)]
    kept = two.sql("SELECT renamed, wide, added, moved, narrow FROM t WHERE id = 17")
    assert kept == [("o17", 17 if mode is Mode.REPLACE else 5000000000, 8, 17 if mode is Mode.REPLACE else 0, "z")]


def test_a_new_column_that_must_have_a_value_stops_it(two: Two) -> None:
    two.sql("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    two.point()
    two.sql("DELETE FROM t", "ALTER TABLE t ADD must int NOT NULL")
    with pytest.raises(Refused, match=r"t\.must must have a value and has no default"):
        two.prepare(Mode.MERGE, "t")


def test_tables_that_refer_to_each_other_and_to_themselves_come_back_together(two: Two) -> None:
    two.sql(
        "CREATE TABLE a (id int PRIMARY KEY, b int, up int REFERENCES a)",
        "CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a ON DELETE CASCADE)",
        "ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b", "INSERT INTO a VALUES (1, NULL, NULL), (2, NULL, 1)",
        "INSERT INTO b VALUES (1, 1), (2, 2)", "UPDATE a SET b = id",
    )  # fmt: skip
    two.point()
    two.sql("UPDATE a SET b = NULL, up = NULL", "DELETE FROM b", "DELETE FROM a WHERE id = 1")
    two.restored(Mode.REPLACE, "a", "b")
    assert two.same("a") and two.same("b")


def test_a_child_that_moved_to_a_new_parent_keeps_its_own_children(two: Two) -> None:
    two.sql(
        "CREATE TABLE p (id int PRIMARY KEY)",
        "CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE)",
        "CREATE TABLE g (id int PRIMARY KEY, c int REFERENCES c ON DELETE CASCADE)",
        "INSERT INTO p VALUES (1)", "INSERT INTO c VALUES (1, 1)", "INSERT INTO g VALUES (1, 1)",
    )  # fmt: skip
    two.point()
    two.sql("INSERT INTO p VALUES (2)", "UPDATE c SET p = 2")
    two.restored(Mode.REPLACE, "p", "c")
    assert two.same("p") and two.same("c") and two.same("g")


def test_a_table_without_a_primary_key_goes_by_another_that_is_unique(two: Two) -> None:
    two.sql("CREATE TABLE t (a int NOT NULL UNIQUE, b int UNIQUE)", "INSERT INTO t VALUES (1, 1), (2, 2)",
            "CREATE TABLE none (a int)", "INSERT INTO none VALUES (1)")  # fmt: skip
    two.point()
    two.sql("DELETE FROM t WHERE a = 1")
    two.restored(Mode.MERGE, "t")
    assert two.same("t")
    with pytest.raises(Refused, match="no primary key and no other that is unique"):
        two.prepare(Mode.MERGE, "none")


@pytest.mark.parametrize("mode", [*MODES, Mode.BESIDE])
def test_a_table_without_a_key_comes_back_when_it_was_dropped_and_lies_beside(two: Two, mode: Mode) -> None:
    two.sql("CREATE TABLE t (a int, b text)", "INSERT INTO t SELECT i % 3, 'x' FROM generate_series(1, 9) i")
    two.point()
    two.sql("DELETE FROM t WHERE a = 1")
    if mode is Mode.BESIDE:
        two.restored(mode, "t")
        assert two.sql("SELECT a FROM t_restored ORDER BY 1") == two.copied("SELECT a FROM t ORDER BY 1")
        return
    with pytest.raises(Refused, match="no primary key"):
        two.prepare(mode, "t")
    two.sql("DROP TABLE t")
    two.restored(mode, "t")
    assert two.same("t")
    two.sql("UPDATE t SET b = 'y' WHERE ctid IN (SELECT ctid FROM t WHERE a = 1 LIMIT 2)")
    assert two.compared("t").missing > 0


def test_an_enum_that_lost_a_value_is_named(two: Two) -> None:
    two.sql("CREATE TYPE mood AS ENUM ('sad', 'fine')", "CREATE TABLE t (id int PRIMARY KEY, m mood)",
            "INSERT INTO t VALUES (1, 'sad'), (2, 'fine')")  # fmt: skip
    two.point()
    two.sql("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'", "DELETE FROM t WHERE id = 1")
    with pytest.raises(Refused, match=r"mood, of t\.m, has other values than at the target: no 'sad'"):
        two.prepare(Mode.MERGE, "t")
    two.restored(Mode.BESIDE, "t")
    assert two.rows("t_restored") == [(1, "sad"), (2, "fine")]


def test_a_check_that_was_never_validated_is_held_against_the_copy(two: Two) -> None:
    two.sql("CREATE TABLE p (id int PRIMARY KEY)", "CREATE TABLE t (id int PRIMARY KEY, n int, up int)",
            "INSERT INTO t SELECT i, i - 3, i FROM generate_series(1, 10) i",
            "ALTER TABLE t ADD CONSTRAINT high CHECK (n > 0) NOT VALID",
            "ALTER TABLE t ADD CONSTRAINT later FOREIGN KEY (up) REFERENCES p NOT VALID")  # fmt: skip
    two.point()
    two.sql("DELETE FROM t WHERE id < 3", "ALTER TABLE t DROP CONSTRAINT later")
    with pytest.raises(Refused, match="2 rows to be restored into t do not meet high"):
        two.prepare(Mode.MERGE, "t").judged()
    two.sql("DROP TABLE t")
    two.restored(Mode.MERGE, "t")
    assert two.same("t"), "they are added behind its rows, as they were"


def test_a_table_that_publishes_deletions_and_cannot_name_them_is_told(two: Two) -> None:
    two.sql("CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t VALUES (1, 1), (2, 2)",
            "ALTER TABLE t REPLICA IDENTITY NOTHING", "CREATE PUBLICATION every FOR ALL TABLES")  # fmt: skip
    two.point()
    two.sql("ALTER TABLE t REPLICA IDENTITY DEFAULT", "UPDATE t SET v = 0 WHERE id = 1",
            "ALTER TABLE t REPLICA IDENTITY NOTHING")  # fmt: skip
    with pytest.raises(Refused, match="no replica identity"):
        two.prepare(Mode.REPLACE, "t").judged()


@pytest.mark.parametrize("mode", [*MODES, Mode.BESIDE])
def test_names_that_look_like_ours_are_names(two: Two, mode: Mode) -> None:
    name = '"%s :x @0list@ $1 {y}\n--; /*c*/"'
    columns = '"%(a)s" int PRIMARY KEY, ":\'v\'" text, "@0first@" text, bucket int, hash int, n int, t int, k int'
    two.sql(
        f"CREATE TABLE {name} ({columns})", f"ALTER TABLE {name} ADD UNIQUE (n) DEFERRABLE",
        f"INSERT INTO {name} SELECT i, ':x', '@all@', i, i, i, i, i FROM generate_series(1, 10) i",
    )  # fmt: skip
    two.point()
    two.sql(f"DELETE FROM {name} WHERE k < 4", f"UPDATE {name} SET hash = 0 WHERE k = 5")
    two.restored(mode, name)
    two.sql(f"DROP TABLE {name}")
    two.restored(Mode.MERGE, name)
    assert two.same(name)


def test_a_sequence_that_goes_round_goes_on_where_it_was(two: Two) -> None:
    two.sql("CREATE SEQUENCE r MAXVALUE 20 CYCLE", "CREATE TABLE t (at int PRIMARY KEY, id int DEFAULT nextval('r'))",
            "ALTER SEQUENCE r OWNED BY t.id", "INSERT INTO t SELECT generate_series(1, 25)")  # fmt: skip
    two.point()
    two.sql("DELETE FROM t WHERE at < 3", "SELECT nextval('r')")
    two.restored(Mode.MERGE, "t")
    assert two.sql("SELECT nextval('r')") == [(7,)]
    two.sql("DROP TABLE t")
    two.restored(Mode.MERGE, "t")
    assert two.sql("SELECT nextval('r')") == [(6,)]


def test_a_partition_meets_the_keys_of_its_table(two: Two) -> None:
    two.sql(
        "CREATE TABLE sides (side text PRIMARY KEY)", "INSERT INTO sides VALUES ('buy'), ('sell')",
        "CREATE TABLE parted (id int PRIMARY KEY, side text REFERENCES sides) PARTITION BY RANGE (id)",
        "CREATE TABLE part (side text, gone int, id int NOT NULL)", "ALTER TABLE part DROP gone",
        "ALTER TABLE parted ATTACH PARTITION part FOR VALUES FROM (0) TO (100)",
        "CREATE TABLE of_it (n int PRIMARY KEY, id int REFERENCES parted ON DELETE CASCADE)",
        "INSERT INTO parted SELECT i, CASE WHEN i < 3 THEN 'buy' ELSE 'sell' END FROM generate_series(1, 9) i",
        "INSERT INTO of_it SELECT i, i FROM generate_series(4, 9) i",
    )  # fmt: skip
    two.point()
    two.sql("DELETE FROM parted WHERE id < 3", "DELETE FROM sides WHERE side = 'buy'")
    assert two.prepare(Mode.MERGE, "part").counts[0].orphans == {"parted_side_fkey": 2}
    two.sql("INSERT INTO sides VALUES ('buy')", "INSERT INTO parted VALUES (50)", "INSERT INTO of_it VALUES (50, 50)")
    found = two.prepare(Mode.REPLACE, "part").counts[0]
    assert list(found.bereaved.values()) == [1]
    two.sql("DELETE FROM of_it WHERE n = 50")
    two.restored(Mode.REPLACE, "part")
    assert two.same("parted") and two.same("of_it")
    two.sql("DELETE FROM of_it", "DROP TABLE part CASCADE")
    two.restored(Mode.MERGE, "part")
    assert two.same("parted")
    assert two.sql("SELECT count(*) FROM pg_constraint WHERE conname LIKE 'of_it%fkey' AND conparentid = 0") == [(1,)]


def test_a_table_that_was_renamed_is_told_by_its_name_of_now(two: Two) -> None:
    two.sql("CREATE TABLE t (id int)", "INSERT INTO t VALUES (1)")
    two.point()
    two.sql("ALTER TABLE t RENAME TO t_2025")
    assert "t is called t_2025 now" in two.prepare(Mode.MERGE, "t").plans[0].notes[0]
    two.restored(Mode.MERGE, "t")
    assert two.same("t")


def test_what_a_cascade_took_along_is_named_however_far_away(two: Two) -> None:
    two.sql(
        "CREATE TABLE t (id int PRIMARY KEY, v text)", "CREATE TABLE heir (PRIMARY KEY (id)) INHERITS (t)",
        "CREATE VIEW one AS SELECT * FROM t", "CREATE MATERIALIZED VIEW two AS SELECT count(*) FROM one",
        "CREATE FUNCTION of_it() RETURNS SETOF t LANGUAGE sql AS 'SELECT * FROM ONLY t'",
        "CREATE TABLE other (id int PRIMARY KEY)",
        "CREATE POLICY seen ON other USING (EXISTS (SELECT FROM t WHERE t.id = other.id))",
        "CREATE POLICY own ON t USING (id > 0)", "INSERT INTO t VALUES (1, 'a')",
    )  # fmt: skip
    two.point()
    two.sql("DROP TABLE t CASCADE")
    assert [line.partition(", which")[0] for line in two.prepare(Mode.MERGE, "t").plans[0].lost] == [
        "function public.of_it()", "materialized view public.two", "policy seen on public.other", "table public.heir",
        "view public.one",
    ]  # fmt: skip
    assert "table public.heir" not in str(two.prepare(Mode.MERGE, "t", "heir").plans[0].lost)
    two.restored(Mode.MERGE, "t", "heir")
    assert two.same("t")


def test_a_dropped_table_that_was_empty_comes_back(two: Two) -> None:
    two.sql("CREATE TABLE t (id serial PRIMARY KEY, v int CHECK (v > 0))")
    two.point()
    two.sql("DROP TABLE t")
    two.restored(Mode.MERGE, "t")
    assert two.rows("t") == []


def test_a_name_of_63_bytes_comes_back(two: Two) -> None:
    name = "录" * 21
    two.sql(f"CREATE TABLE {name} (id int PRIMARY KEY)", f"INSERT INTO {name} VALUES (1)")
    two.point()
    two.sql(f"DROP TABLE {name}")
    two.restored(Mode.MERGE, name)
    assert two.same(name)


def test_a_table_of_many_columns_comes_back(two: Two) -> None:
    columns = ", ".join(f"c{i} int DEFAULT {i}" for i in range(1599))
    two.sql(f"CREATE TABLE wide (id int PRIMARY KEY, {columns})", "INSERT INTO wide (id) VALUES (1), (2)")
    two.point()
    two.sql("DELETE FROM wide WHERE id = 1", "UPDATE wide SET c1500 = 0")
    two.restored(Mode.REPLACE, "wide")
    assert two.same("wide")


def test_a_query_may_be_longer_than_an_argument_of_a_program(two: Two) -> None:
    """1,600 names of 63 bytes are 100 kB, and each is named several times: a program takes 128 KiB of one argument."""
    names = [f"c{i:04d}".ljust(60, "x") + "录" for i in range(1599)]
    columns = ", ".join(f"{name} numeric" for name in names)
    two.sql(f"CREATE TABLE wide (id int PRIMARY KEY, {columns})")
    two.sql(f"INSERT INTO wide (id, {names[9]}) VALUES (1, 1), (2, 1), (3, 1)")
    two.point()
    two.sql("DELETE FROM wide WHERE id = 1", f"UPDATE wide SET {names[1500]} = 0 WHERE id = 2")
    assert two.restored(Mode.MERGE, "wide").rows == (("wide", "inserted", 1),)
    two.restored(Mode.REPLACE, "wide")
    assert two.same("wide")
    two.restored(Mode.BESIDE, "wide")
    two.sql("DROP TABLE wide")
    two.restored(Mode.MERGE, "wide")
    assert two.same("wide")


def test_the_names_of_thousands_of_partitions_are_dumped_at_once(two: Two) -> None:
    two.sql("CREATE TABLE t (id int PRIMARY KEY)")
    many = [f"absent_{i:04d}".ljust(63, "x") for i in range(2100)]
    assert any("CREATE TABLE public.t" in line for line in two.definition(*many, "t")[0])
