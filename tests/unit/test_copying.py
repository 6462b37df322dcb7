"""Comparing a copy with the live tables and writing its rows, on a real server without TimescaleDB."""

from __future__ import annotations

from pathlib import Path

import pytest

from inventories.errors import Refused, TargetFailed, TimedOut
from runbooks.actions.postgresql import table_copy as act
from runbooks.probes.postgresql import table_copy as copies
from runbooks.procedures.postgresql import table_copy as copying
from runbooks.table_copy import compare as compare_sql
from runbooks.table_copy import pair as pair_sql
from runbooks.table_copy import write as sql
from runbooks.table_copy.counts import Making, Mode
from runbooks.table_copy.source import Source
from tests.unit.copying_kit import LIVE, Two
from tests.unit.postgres_server import DATABASE, programs

ODD = '"odd ""name\'s"'


def events(two: Two) -> None:
    """A table with event ids: 1000 rows in the copy; of the live ones 10 deleted, 5 newer, 3 spoiled, 20 new."""
    two.sql(
        "CREATE TABLE events (event_id bigint, day date, value text, more json, PRIMARY KEY (day, value))",
        "INSERT INTO events SELECT i, date '1998-06-01' + i % 900, 'v' || i, "
        "CASE WHEN i % 2 = 0 THEN '{\"a\": 1}'::json END FROM generate_series(1, 1000) i",
    )
    two.point()
    two.sql(
        "DELETE FROM events WHERE event_id <= 10",
        "UPDATE events SET event_id = event_id + 5000, more = '{}' WHERE event_id BETWEEN 11 AND 15",
        "UPDATE events SET more = '[1]' WHERE event_id BETWEEN 20 AND 22",
        "INSERT INTO events SELECT 9000 + i, '2026-01-01', 'n' || i FROM generate_series(1, 20) i",
    )


def test_equal_tables_have_nothing_to_restore(two: Two) -> None:
    two.sql("CREATE TABLE t (id integer PRIMARY KEY, at timestamptz)", "INSERT INTO t SELECT generate_series(1, 100)")
    two.point()
    found = two.prepare(Mode.MERGE, "t").counts[0]
    assert (found.restored, found.live, found.missing, found.differing, found.only_live) == (100, 100, 0, 0, 0)
    assert found.buckets == ()


@pytest.mark.parametrize("most", [4000, 1])
def test_every_kind_of_difference_is_counted_by_key(two: Two, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(compare_sql, "MAX_BUCKETS", most)
    events(two)
    found = two.prepare(Mode.MERGE, "events").counts[0]
    assert (found.restored, found.live) == (1000, 1010)
    assert (found.missing, found.differing, found.superseded, found.only_live) == (10, 8, 5, 20)
    assert found.altered == 3
    assert (found.buckets is None) is (most == 1)


def test_merge_inserts_what_is_missing_and_touches_no_living_row(two: Two) -> None:
    events(two)
    before = two.rows("events")
    written = two.restored(Mode.MERGE, "events")
    assert written.rows == (("events", "inserted", 10),)
    after = two.rows("events")
    assert set(map(str, before)) <= set(map(str, after))
    assert len(after) == len(before) + 10


def test_replace_makes_the_content_the_copys_and_keeps_the_old_one(two: Two) -> None:
    events(two)
    before = two.rows("events")
    written = two.write(Mode.REPLACE, "events", keep=True)
    assert {verb: count for _, verb, count in written.rows} == {"deleted": 20, "updated": 8, "inserted": 10}
    assert two.same("events")
    assert two.rows("events_replaced") == before


def test_beside_leaves_the_live_table_alone(two: Two) -> None:
    events(two)
    before = two.rows("events")
    two.restored(Mode.BESIDE, "events")
    assert two.rows("events") == before
    assert two.rows("events_restored") == two.copied("SELECT * FROM events ORDER BY 1")


def test_rows_written_by_a_later_transaction_supersede_those_restored(two: Two) -> None:
    two.sql("CREATE TABLE plain (id int PRIMARY KEY, value text)", "INSERT INTO plain VALUES (1, 'a'), (2, 'b')")
    two.point()
    two.sql("DELETE FROM plain")
    ready = two.prepare(Mode.REPLACE, "plain")
    written = two.write(Mode.REPLACE, "plain")
    two.sql("UPDATE plain SET value = 'later' WHERE id = 1")
    assert two.prepare(Mode.REPLACE, "plain").counts[0].altered == 1

    live = ready.plans[0].live
    assert live is not None

    def again() -> int:
        pairs = copying.targets(ready.pairs, Mode.REPLACE, {"plain": live}, written.xid)
        return copies.compare(two.of(LIVE), pairs, two.source, 60)[0].altered

    assert again() == 0
    two.copied("UPDATE plain SET value = 'not what was restored' WHERE id = 2")
    assert again() == 1


def test_a_condition_restricts_both_sides(two: Two) -> None:
    events(two)
    found = two.prepare(Mode.REPLACE, "events", where="event_id <= 5").counts[0]
    assert (found.restored, found.missing, found.only_live) == (5, 5, 0)
    two.restored(Mode.REPLACE, "events", where="event_id <= 5")
    assert two.prepare(Mode.MERGE, "events").counts[0].missing == 5


def test_a_row_that_no_longer_meets_the_condition_is_there_all_the_same(two: Two) -> None:
    two.sql("CREATE TABLE t (id int PRIMARY KEY, state text)", "INSERT INTO t VALUES (1, 'open'), (2, 'open')")
    two.point()
    two.sql("UPDATE t SET state = 'closed' WHERE id = 1")
    found = two.prepare(Mode.MERGE, "t", where="state = 'open'").counts[0]
    assert (found.restored, found.missing, found.differing) == (2, 0, 1)
    two.restored(Mode.MERGE, "t", where="state = 'open'")
    assert two.rows("t") == [(1, "closed"), (2, "open")]
    two.restored(Mode.REPLACE, "t", where="state = 'open'")
    assert two.rows("t") == [(1, "open"), (2, "open")]


def test_names_that_need_quotes_survive_shell_and_sql(two: Two) -> None:
    two.sql(
        f"CREATE TABLE {ODD} (\"the $id\" integer PRIMARY KEY, \"or'der \"\"x\" text)",
        f"INSERT INTO {ODD} SELECT i, $$it's \\ \"fine\"$$ FROM generate_series(1, 3) i",
    )
    two.point()
    two.sql(f"DELETE FROM {ODD} WHERE \"the $id\" > 1", f"UPDATE {ODD} SET \"or'der \"\"x\" = 'other'")
    found = two.prepare(Mode.REPLACE, ODD).counts[0]
    assert (found.missing, found.differing) == (2, 1)
    two.restored(Mode.REPLACE, ODD)
    assert two.same(ODD)
    two.sql(f"DROP TABLE {ODD}")
    two.restored(Mode.MERGE, ODD)
    assert two.same(ODD)


def family(two: Two) -> None:
    two.sql(
        "CREATE TABLE parents (id integer PRIMARY KEY, name text)",
        "CREATE TABLE kids (id integer PRIMARY KEY, up integer REFERENCES parents)",
        "INSERT INTO parents SELECT i, 'p' FROM generate_series(1, 9) i",
        "INSERT INTO kids SELECT i, 1 + i % 9 FROM generate_series(1, 90) i",
    )
    two.point()


def test_rows_whose_parent_is_gone_are_counted_before_anything_is_written(two: Two) -> None:
    family(two)
    two.sql("DELETE FROM kids WHERE up = 3", "DELETE FROM parents WHERE id = 3")
    alone = two.prepare(Mode.MERGE, "kids")
    assert (alone.counts[0].missing, alone.counts[0].orphans) == (10, {"kids_up_fkey": 10})
    with pytest.raises(Refused, match="10 rows to be restored into kids refer to rows of parents"):
        alone.judged()
    both = two.restored(Mode.MERGE, "kids", "parents")
    assert both.rows == (("parents", "inserted", 1), ("kids", "inserted", 10))


def test_a_replacement_counts_rows_that_would_lose_their_parent(two: Two) -> None:
    family(two)
    two.sql("INSERT INTO parents VALUES (10, 'new')", "INSERT INTO kids VALUES (91, 10), (92, 10)")
    alone = two.prepare(Mode.REPLACE, "parents").counts[0]
    assert (alone.only_live, alone.bereaved) == (1, {"kids: kids_up_fkey": 2})
    two.restored(Mode.REPLACE, "parents", "kids")
    assert two.same("parents") and two.same("kids")


def test_parents_of_a_dropped_table_are_looked_for_as_well(two: Two) -> None:
    family(two)
    two.sql("DROP TABLE kids", "DELETE FROM parents WHERE id = 3")
    found = two.prepare(Mode.MERGE, "kids").counts[0]
    assert (found.restored, found.missing, found.orphans) == (90, 90, {"kids_up_fkey": 1})


def test_what_fails_in_the_middle_writes_nothing_and_says_why(two: Two) -> None:
    family(two)
    two.sql("DELETE FROM kids", "DELETE FROM parents WHERE id = 3", "INSERT INTO kids VALUES (500, 1)")
    with pytest.raises(TargetFailed, match=r"nothing was written.*violate foreign key.*is not present in table"):
        two.write(Mode.MERGE, "kids")
    assert two.rows("kids") == [(500, 1)]
    assert two.sql("SELECT count(*) FROM dr_probe") == [(0,)]


def test_a_transaction_ends_with_the_process_that_was_to_commit_it(two: Two) -> None:
    two.sql("CREATE TABLE plain (id integer PRIMARY KEY)")
    with pytest.raises(TimedOut, match="nothing was written"):
        act.write(two.host, LIVE, "INSERT INTO plain VALUES (1); SELECT pg_sleep(20);\n", "mark", 1)
    two.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{sql.SESSION}'")
    assert two.rows("plain") == []
    assert two.sql("SELECT count(*) FROM dr_probe") == [(0,)]


def test_a_commit_leaves_its_mark(two: Two) -> None:
    events(two)
    two.write(Mode.MERGE, "events")
    assert two.sql("SELECT run FROM dr_probe") == [("restore-table test",)]


def test_the_program_of_a_copy_that_fails_ends_the_transaction(two: Two) -> None:
    two.sql("CREATE TABLE plain (id integer PRIMARY KEY)", "INSERT INTO plain SELECT generate_series(1, 10)")
    two.point()
    two.sql("DELETE FROM plain")
    ready = two.prepare(Mode.MERGE, "plain")
    nowhere = Source(str(programs()), str(Path("/nonexistent")), 1, DATABASE)
    body = copying.body(ready.plans, ready.pairs, Making(), Mode.MERGE, nowhere, False)
    with pytest.raises(TargetFailed, match=r"nothing was written.*side cluster gave no rows"):
        act.write(two.host, LIVE, body, "mark", 30)
    assert two.rows("plain") == []


def test_infinity_and_days_far_off_have_their_buckets(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    two.sql(
        "CREATE TABLE t (at timestamptz PRIMARY KEY, n int)",
        "INSERT INTO t VALUES ('infinity', 1), ('-infinity', 2), ('290000-01-01', 3), ('4700-01-01 BC', 4), (now(), 5)",
    )
    two.point()
    monkeypatch.setattr(pair_sql, "_time", lambda _pair: "at")
    two.sql("DELETE FROM t WHERE n <> 5")
    assert two.restored(Mode.MERGE, "t").rows == (("t", "inserted", 4),)
    two.sql("UPDATE t SET n = 9 WHERE at = 'infinity'")
    assert two.prepare(Mode.REPLACE, "t").counts[0].differing == 1


def test_nobody_waits_for_a_replacement_while_the_copy_is_read(two: Two) -> None:
    events(two)
    ready = two.prepare(Mode.REPLACE, "events")
    body = copying.body(ready.plans, ready.pairs, ready.making, Mode.REPLACE, two.source, True)
    assert body.rindex("FROM PROGRAM") < body.index("LOCK TABLE")


ALTERED = {
    "a sign": ("numeric(18,4)", "12.5", "-12.5"),
    "a sign, any scale": ("numeric", "12.5", "-12.5"),
    "a number and 2^32 + 1 more": ("bigint", "0", "4294967297"),
    "an event id of another run": ("bigint", "(5::bigint << 32) | 3", "(6::bigint << 32) | 0"),
    "4,294.967297 s": ("timestamptz", "'2000-01-01 00:00+00'", "'2000-01-01 01:11:34.967297+00'"),
    "the same without a zone": ("timestamp", "'2000-01-01 00:00'", "'2000-01-01 01:11:34.967297'"),
}


@pytest.mark.parametrize(("kind", "was", "now"), ALTERED.values(), ids=ALTERED)
def test_values_to_which_postgresql_gives_one_hash_are_told_apart(two: Two, kind: str, was: str, now: str) -> None:
    two.sql(f"CREATE TABLE t (id int PRIMARY KEY, v {kind})", f"INSERT INTO t VALUES (1, {was})")
    same = f"SELECT hash_record_extended(ROW({was}::{kind}), 0) = hash_record_extended(ROW({now}::{kind}), 0)"
    assert two.sql(same) == [(True,)], "else this proves nothing"
    two.point()
    two.sql(f"UPDATE t SET v = {now}")
    assert two.prepare(Mode.MERGE, "t").counts[0].differing == 1


def test_rows_without_a_key_that_change_values_with_one_another_are_told(two: Two) -> None:
    """The hash of a record is a sum over its columns, so that plain sums of rows' hashes are the same after it."""
    two.sql("CREATE TABLE t (a text, b text)", "INSERT INTO t SELECT 'a' || i, 'b' || i FROM generate_series(1, 200) i")
    two.point()
    # Sums differ by multiples of 2^64 where a hash wrapped around, which is chance: all the pairs must be told.
    hashes = "SELECT hash_record_extended(ROW(t.a, t.b), 0) AS hash FROM t"
    summed, blind = f"SELECT {compare_sql.WITHOUT_KEY} FROM ({hashes}) h", 0
    for i in range(1, 200, 2):
        one, other = f"'b{i}'", f"'b{i + 1}'"
        swap = f"UPDATE t SET b = CASE b WHEN {one} THEN {other} ELSE {one} END WHERE b IN ({one}, {other})"
        two.sql(swap)
        swapped = two.sql(summed)
        two.sql(swap)
        blind += swapped == two.sql(summed)
    assert blind == 0
