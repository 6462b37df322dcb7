"""What a restore must not lose, restamp or claim, on a real server: each case once was a row that went silently."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from inventories.errors import Refused, TargetFailed
from runbooks.actions.postgresql import table_copy as act
from runbooks.procedures.postgresql import table_copy as copying
from runbooks.table_copy.counts import Mode
from tests.unit.copying_kit import LIVE, Local, Two
from tests.unit.test_copying_schemas import MODES, STAMP


def orders(two: Two) -> None:
    rows = "INSERT INTO t VALUES (1, 'open'), (2, 'open'), (3, 'x')"
    two.sql("CREATE TABLE t (id int PRIMARY KEY, state text)", rows)
    two.point()


def test_a_row_that_meets_the_condition_only_since_is_not_taken_for_one_that_is_only_live(two: Two) -> None:
    orders(two)
    two.sql("UPDATE t SET state = 'bad' WHERE id = 1", "INSERT INTO t VALUES (9, 'bad')")
    two.copied("INSERT INTO t VALUES (4, 'bad')")
    ready = two.prepare(Mode.REPLACE, "t", where="state = 'bad'")
    assert (ready.counts[0].only_live, ready.counts[0].elsewhere) == (1, 1)
    with pytest.raises(Refused, match="1 rows of t meet the condition live and not in the copy"):
        ready.judged()
    merged = two.prepare(Mode.MERGE, "t", where="state = 'bad'").judged().counts[0]
    assert (merged.missing, merged.only_live, merged.elsewhere) == (1, 1, 1)
    with pytest.raises(TargetFailed, match="nothing was written: 1 rows of t meet the condition live"):
        two.write(Mode.REPLACE, "t", where="state = 'bad'")


def test_what_a_condition_overwrites_beyond_itself_is_kept_as_well(two: Two) -> None:
    orders(two)
    two.sql("UPDATE t SET state = 'closed' WHERE id = 1")
    two.write(Mode.REPLACE, "t", where="state = 'open'", keep=True)
    assert two.rows("t") == [(1, "open"), (2, "open"), (3, "x")]
    assert two.rows("t_replaced") == [(1, "closed"), (2, "open")]


@pytest.mark.parametrize("mode", MODES)
def test_a_trigger_of_a_partition_alone_has_no_say_and_keeps_its_state(two: Two, mode: Mode) -> None:
    two.sql(
        STAMP, "CREATE TABLE t (id int PRIMARY KEY, at timestamptz) PARTITION BY RANGE (id)",
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20)",
        "INSERT INTO t SELECT i, '2020-01-01' FROM generate_series(1, 19) i",
        "CREATE TRIGGER own BEFORE INSERT ON t1 FOR EACH ROW EXECUTE FUNCTION stamp()",
        "ALTER TABLE t1 ENABLE ALWAYS TRIGGER own",
        "CREATE TRIGGER every BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION stamp()",
        "ALTER TABLE t2 ENABLE REPLICA TRIGGER every", "ALTER TABLE t1 DISABLE TRIGGER every",
    )  # fmt: skip
    two.point()
    state = "SELECT tgrelid::regclass::text, tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2"
    before = two.sql(state)
    two.sql("DELETE FROM t WHERE id IN (3, 15)", "UPDATE t SET at = '2021-01-01' WHERE id = 5 AND false")
    two.restored(mode, "t")
    assert two.same("t")
    assert two.sql(state) == before


@pytest.mark.parametrize("mode", MODES)
def test_a_partition_that_no_backup_holds_is_refused(two: Two, mode: Mode) -> None:
    two.sql(
        "CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id)",
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10)",
        "CREATE UNLOGGED TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20)",
        "INSERT INTO t SELECT generate_series(1, 19)",
    )
    two.point()
    two.copied("DELETE FROM t2")  # as recovery leaves it
    with pytest.raises(Refused, match="t2"):
        two.prepare(mode, "t")


def test_a_time_without_its_zone_is_not_made_of_one_with_it(two: Two) -> None:
    two.sql("CREATE TABLE t (id int PRIMARY KEY, at timestamptz, n int)")
    two.sql("INSERT INTO t VALUES (1, '2026-01-01 08:00+00', 1)")
    two.point()
    two.sql("SET timezone = 'Asia/Shanghai'", "ALTER TABLE t ALTER at TYPE timestamp", "UPDATE t SET n = 2")
    plan = two.prepare(Mode.REPLACE, "t").plans[0]
    assert "zone" in plan.lost[0]
    two.restored(Mode.REPLACE, "t")
    assert two.sql("SELECT at::text, n FROM t") == [("2026-01-01 16:00:00", 1)]


def test_a_table_that_was_empty_goes_with_those_it_has_to_be_restored_with(two: Two) -> None:
    two.sql("CREATE TABLE p (id int PRIMARY KEY)", "CREATE TABLE k (id int PRIMARY KEY REFERENCES p)")
    two.sql("INSERT INTO p VALUES (1)")
    two.point()
    two.sql("INSERT INTO p VALUES (2)", "INSERT INTO k VALUES (2)")
    with pytest.raises(Refused, match="would delete"):
        two.prepare(Mode.REPLACE, "p").judged()
    two.restored(Mode.REPLACE, "p", "k")
    assert two.same("p") and two.rows("k") == []
    with pytest.raises(Refused, match="k had no rows"):
        two.prepare(Mode.REPLACE, "k").judged()


def test_a_transaction_of_a_later_epoch_supersedes(two: Two) -> None:
    orders(two)
    ready = two.prepare(Mode.REPLACE, "t")
    live = ready.pairs[0].live
    assert live is not None
    assert copying.targets(ready.pairs, Mode.REPLACE, {"t": live}, (1 << 32) + 743)[0].since_xid == 743


class Cut(Local):
    """A line that breaks once the commit is on its way."""

    def start(self, command: str, *words: object, user: str = "root") -> Any:
        process = super().start(command, *words, user=user)

        def write(data: bytes) -> None:
            if data.startswith(b"COMMIT"):
                process.kill()
            pipe.write(data)

        pipe: Any = process.stdin
        process.stdin = cast(Any, SimpleNamespace(write=write, flush=pipe.flush, close=pipe.close))
        return process


def test_a_line_that_breaks_at_the_commit_is_no_proof_that_nothing_was_written(two: Two) -> None:
    with pytest.raises(TargetFailed, match="nobody can tell whether it was committed") as raised:
        act.write(Cut(two.connect), LIVE, "SELECT 1;\n", "mark", 20)  # type: ignore[arg-type]
    assert "--resume" in raised.value.hint


@pytest.mark.parametrize("mode", [*MODES, Mode.BESIDE])
def test_what_is_set_for_a_database_since_says_nothing_of_values(two: Two, mode: Mode) -> None:
    two.sql("CREATE TYPE own AS ENUM ('a')")
    two.sql("CREATE TABLE t (id int PRIMARY KEY, o own, w text[], s text, x xml, m money)")
    two.sql("INSERT INTO t SELECT i, 'a', '{NULL,b}', '价格é', 'no document', 12.5 FROM generate_series(1, 3) i")
    two.point()
    two.sql("DELETE FROM t WHERE id = 1", "UPDATE t SET s = 'x' WHERE id = 2")
    for name, value in (("array_nulls", "off"), ("client_encoding", "latin1"), ("xmloption", "document"),
                        ("standard_conforming_strings", "off"), ("transform_null_equals", "on")):  # fmt: skip
        two.sql(f"ALTER DATABASE {LIVE} SET {name} = {value}")
    two.restored(mode, "t")
    two.sql(f"ALTER DATABASE {LIVE} RESET ALL")
    assert mode is not Mode.REPLACE or two.same("t")


def test_a_wide_table_with_long_names_is_no_table_that_the_copy_has_lost(two: Two) -> None:
    columns = ", ".join(f"{f'c{i}_':价<23} int DEFAULT {i}" for i in range(1599))
    two.sql(f"CREATE TABLE wide (id int PRIMARY KEY, {columns})", "INSERT INTO wide (id) VALUES (1), (2)")
    two.point()
    two.sql("DELETE FROM wide WHERE id = 1")
    two.restored(Mode.REPLACE, "wide")
    assert two.same("wide", "id")
    two.restored(Mode.BESIDE, "wide")


@pytest.mark.parametrize("mode", [Mode.REPLACE, Mode.BESIDE])
def test_what_nobody_may_read_is_not_to_be_read_beside_the_table(two: Two, mode: Mode) -> None:
    two.sql("CREATE TABLE open (id int PRIMARY KEY)", "GRANT SELECT ON open TO reader")
    two.sql("CREATE TABLE closed (id int PRIMARY KEY)", "REVOKE ALL ON closed FROM reader")
    two.sql("CREATE TABLE rows_of (id int PRIMARY KEY)", "GRANT SELECT ON rows_of TO reader")
    two.sql("ALTER TABLE rows_of ENABLE ROW LEVEL SECURITY")
    names = ("open", "closed", "rows_of")
    two.sql(*(f"INSERT INTO {name} VALUES (1)" for name in names))
    two.point()
    two.write(mode, *names, keep=True)
    suffix = "restored" if mode is Mode.BESIDE else "replaced"
    may = [two.sql(f"SELECT has_table_privilege('reader', '{name}_{suffix}', 'SELECT')")[0][0] for name in names]
    assert may == [True, False, False]
