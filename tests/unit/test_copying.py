"""Comparing a copy with the live table and writing its rows, on two real servers without TimescaleDB."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from inventories.errors import TargetFailed, TimedOut
from runbooks.actions.postgresql import table_copy as act
from runbooks.hosts import Host
from runbooks.procedures.postgresql import table_copy
from runbooks.table_copy import compare as compare_sql
from runbooks.table_copy import write as sql
from runbooks.table_copy.compare import Pair
from runbooks.table_copy.counts import Counts, Mode, TablePlan
from runbooks.table_copy.shape import Column, ForeignKey, Shape, quoted
from runbooks.table_copy.source import Source
from tests.unit.postgres_server import DATABASE, Server, folder_for_server, programs

ODD = 'odd "name\'s'
KEY = ForeignKey(
    name="kids_up", child="kids", columns=("up",), parent="parents", parent_columns=("id",),
    definition="FOREIGN KEY (up) REFERENCES parents(id)",
)  # fmt: skip


@dataclass
class Two:
    """A live server and its copy; what is made in one is made in both."""

    live: Server
    copy: Server
    made: dict[str, Shape] = field(default_factory=dict)

    @property
    def source(self) -> Source:
        return Source(str(programs()), str(self.copy.folder), self.copy.port, DATABASE)

    @property
    def host(self) -> Host:
        return cast(Host, _Local(self.live))

    def table(self, name: str, columns: str, *key: str, time: str | None = None, keys: tuple[ForeignKey, ...] = ()
              ) -> None:  # fmt: skip
        """Make it in both; `columns` as name:type, separated by semicolons."""
        pairs = [one.partition(":") for one in columns.split(";")]
        listed = ", ".join(f"{quoted(column)} {kind}" for column, _, kind in pairs)
        wanted = ", ".join(quoted(column) for column in key)
        for server in (self.live, self.copy):
            server.sql(f"CREATE TABLE {quoted(name)} ({listed}, PRIMARY KEY ({wanted}))")
        self.made[name] = Shape(
            name=name, columns=tuple(Column(name=column, type=kind) for column, _, kind in pairs), key=key,
            time_column=time, foreign_keys=keys,
        )  # fmt: skip

    def pair(self, name: str, **more: Any) -> Pair:
        return Pair(self.made[name], self.made[name], **more)

    def compare(self, *pairs: Pair) -> tuple[Counts, ...]:
        lines = self.psql(compare_sql.script(pairs, self.source)).splitlines()
        return tuple(Counts.model_validate(json.loads(line)) for line in lines)

    def write(self, mode: Mode, *pairs: Pair, keep: bool = False) -> act.Written:
        plans = [
            TablePlan(copied=pair.copy, live=pair.live, counts=found)
            for pair, found in zip(pairs, self.compare(*pairs), strict=True)
        ]
        body = table_copy.body(plans, pairs, mode, self.source, keep)
        return act.write(self.host, DATABASE, body, "restore-table test", 60)

    def psql(self, script: str) -> str:
        done = subprocess.run(_psql(self.live), input=script, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def rows(self, name: str, server: Server | None = None) -> list[tuple[object, ...]]:
        return (server or self.live).sql(f"SELECT * FROM {quoted(name)} ORDER BY 1")


@dataclass
class _Local:
    """A host that is this machine."""

    server: Server
    name: str = "here"

    def start(self, command: str, *_: object, user: str = "root") -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        return subprocess.Popen(_psql(self.server), stdin=pipe, stdout=pipe, stderr=pipe)


def _psql(server: Server) -> list[str]:
    options = ["-qAtX", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h", str(server.folder), "-p", str(server.port)]
    return [str(programs() / "psql"), *options, "-d", DATABASE]


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Server, Server]]:
    with pytest.MonkeyPatch.context() as patch, folder_for_server() as one, folder_for_server() as other:
        patch.setitem(os.environ, "PGUSER", "postgres")  # whom the program of COPY connects as
        live, copy = Server(one), Server(other)
        try:
            live.create()
            copy.create()
            yield live, copy
        finally:
            live.stop()
            copy.stop()


@pytest.fixture
def two(servers: tuple[Server, Server]) -> Iterator[Two]:
    pair = Two(*servers)
    yield pair
    for name in reversed(pair.made):
        for table in (name, f"{name}_replaced", f"{name}_restored"):
            for server in servers:
                server.sql(f"DROP TABLE IF EXISTS {quoted(table)} CASCADE")
    servers[0].sql("DELETE FROM dr_probe")


def events(two: Two) -> Pair:
    """A table with event ids: 1000 rows in the copy; of the live ones 10 deleted, 5 newer, 3 spoiled, 20 new."""
    two.table("events", "event_id:bigint;day:date;value:text;more:json", "day", "value", time="day")
    fill = (
        "INSERT INTO events SELECT i, date '1998-06-01' + i % 900, 'v' || i, "
        "CASE WHEN i % 2 = 0 THEN '{\"a\": 1}'::json END FROM generate_series(1, 1000) i"
    )
    for server in (two.live, two.copy):
        server.sql(fill)
    two.live.sql(
        "DELETE FROM events WHERE event_id <= 10",
        "UPDATE events SET event_id = event_id + 5000, more = '{}' WHERE event_id BETWEEN 11 AND 15",
        "UPDATE events SET more = '[1]' WHERE event_id BETWEEN 20 AND 22",
        "INSERT INTO events SELECT 9000 + i, '2026-01-01', 'n' || i FROM generate_series(1, 20) i",
    )
    return two.pair("events")


def test_equal_tables_have_nothing_to_restore(two: Two) -> None:
    two.table("events", "id:integer;at:timestamp with time zone", "id")
    for server in (two.live, two.copy):
        server.sql("INSERT INTO events SELECT i, now() FROM generate_series(1, 100) i")
    two.live.sql("UPDATE events SET at = NULL")
    two.copy.sql("UPDATE events SET at = NULL")
    found = two.compare(two.pair("events"))[0]
    assert (found.restored, found.live, found.missing, found.differing, found.only_live) == (100, 100, 0, 0, 0)
    assert found.buckets == ()


@pytest.mark.parametrize("most", [4000, 1])
def test_every_kind_of_difference_is_counted_by_key(two: Two, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(compare_sql, "MAX_BUCKETS", most)
    found = two.compare(events(two))[0]
    assert (found.restored, found.live) == (1000, 1010)
    assert (found.missing, found.differing, found.superseded, found.only_live) == (10, 8, 5, 20)
    assert found.altered == 3
    assert (found.buckets is None) is (most == 1)


def test_merge_inserts_what_is_missing_and_touches_no_living_row(two: Two) -> None:
    pair = events(two)
    before = two.rows("events")
    written = two.write(Mode.MERGE, pair)
    assert written.rows == (("events", "inserted", 10),)
    after = two.rows("events")
    assert set(map(str, before)) <= set(map(str, after))
    assert len(after) == len(before) + 10
    again = two.compare(pair)[0]
    assert (again.missing, again.differing, again.only_live) == (0, 8, 20)


def test_replace_makes_the_content_the_copys_and_keeps_the_old_one(two: Two) -> None:
    pair = events(two)
    before = two.rows("events")
    written = two.write(Mode.REPLACE, pair, keep=True)
    assert {verb: count for _, verb, count in written.rows} == {"deleted": 20, "updated": 8, "inserted": 10}
    assert two.rows("events") == two.rows("events", two.copy)
    assert two.rows("events_replaced") == before


def test_beside_leaves_the_live_table_alone(two: Two) -> None:
    pair = events(two)
    before = two.rows("events")
    two.write(Mode.BESIDE, pair)
    assert two.rows("events") == before
    assert two.rows("events_restored") == two.rows("events", two.copy)


def test_rows_written_by_a_later_transaction_supersede_those_restored(two: Two) -> None:
    two.table("plain", "id:integer;value:text", "id")
    two.copy.sql("INSERT INTO plain VALUES (1, 'a'), (2, 'b')")
    written = two.write(Mode.REPLACE, two.pair("plain"))
    two.live.sql("UPDATE plain SET value = 'later' WHERE id = 1")
    assert two.compare(two.pair("plain"))[0].altered == 1
    assert two.compare(two.pair("plain", since_xid=written.xid))[0].altered == 0
    two.copy.sql("UPDATE plain SET value = 'not what was restored' WHERE id = 2")
    assert two.compare(two.pair("plain", since_xid=written.xid))[0].altered == 1


def test_a_condition_restricts_both_sides(two: Two) -> None:
    pair = events(two)
    narrow = two.pair("events", where="event_id <= 5")
    found = two.compare(narrow)[0]
    assert (found.restored, found.missing, found.only_live) == (5, 5, 0)
    two.write(Mode.REPLACE, narrow)
    assert two.compare(pair)[0].missing == 5


def test_names_that_need_quotes_survive_shell_and_sql(two: Two) -> None:
    two.table(ODD, "the $id:integer;or'der \"x:text", "the $id")
    two.copy.sql(f"INSERT INTO {quoted(ODD)} SELECT i, $$it's \\ \"fine\"$$ FROM generate_series(1, 3) i")
    two.live.sql(f"INSERT INTO {quoted(ODD)} VALUES (1, 'other')")
    found = two.compare(two.pair(ODD))[0]
    assert (found.missing, found.differing) == (2, 1)
    two.write(Mode.REPLACE, two.pair(ODD))
    assert two.rows(ODD) == two.rows(ODD, two.copy)


def family(two: Two) -> tuple[Pair, Pair]:
    two.table("parents", "id:integer;name:text", "id")
    two.table("kids", "id:integer;up:integer", "id", keys=(KEY,))
    for server in (two.live, two.copy):
        server.sql(f"ALTER TABLE kids ADD CONSTRAINT kids_up {KEY.definition}")
        server.sql("INSERT INTO parents SELECT i, 'p' FROM generate_series(1, 9) i")
        server.sql("INSERT INTO kids SELECT i, 1 + i % 9 FROM generate_series(1, 90) i")
    return two.pair("parents"), two.pair("kids")


def test_rows_whose_parent_is_gone_are_counted_before_anything_is_written(two: Two) -> None:
    _, kids = family(two)
    two.live.sql("DELETE FROM kids WHERE up = 3", "DELETE FROM parents WHERE id = 3")
    alone = two.compare(two.pair("kids", parents=(KEY,)))[0]
    assert (alone.missing, alone.orphans) == (10, {"kids_up": 10})
    parents, kids = two.pair("parents"), two.pair("kids")
    assert two.write(Mode.MERGE, parents, kids).rows == (("parents", "inserted", 1), ("kids", "inserted", 10))


def test_a_replacement_counts_rows_that_would_lose_their_parent_and_deletes_children_first(two: Two) -> None:
    parents, kids = family(two)
    two.live.sql("INSERT INTO parents VALUES (10, 'new')", "INSERT INTO kids VALUES (91, 10), (92, 10)")
    alone = two.compare(two.pair("parents", children=(KEY,)))[0]
    assert (alone.only_live, alone.bereaved) == (1, {"kids_up": 2})
    two.write(Mode.REPLACE, parents, kids)
    assert two.rows("parents") == two.rows("parents", two.copy)
    assert two.rows("kids") == two.rows("kids", two.copy)


def test_parents_of_a_dropped_table_are_looked_for_as_well(two: Two) -> None:
    family(two)
    two.live.sql("DROP TABLE kids", "DELETE FROM parents WHERE id = 3")
    found = two.compare(Pair(two.made["kids"], None, parents=(KEY,)))[0]
    assert (found.restored, found.missing, found.orphans) == (90, 90, {"kids_up": 1})


def test_what_fails_in_the_middle_writes_nothing_and_says_why(two: Two) -> None:
    _, kids = family(two)
    two.live.sql("DELETE FROM kids", "DELETE FROM parents WHERE id = 3")
    two.live.sql("INSERT INTO kids VALUES (500, 1)")
    with pytest.raises(TargetFailed, match=r"nothing was written.*violates foreign key.*is not present in table"):
        two.write(Mode.MERGE, kids)
    assert two.rows("kids") == [(500, 1)]
    assert two.live.sql("SELECT count(*) FROM dr_probe") == [(0,)]


def test_a_transaction_ends_with_the_process_that_was_to_commit_it(two: Two) -> None:
    two.table("plain", "id:integer", "id")
    with pytest.raises(TimedOut, match="nothing was written"):
        act.write(two.host, DATABASE, "INSERT INTO plain VALUES (1); SELECT pg_sleep(20);\n", "mark", 1)
    two.live.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{sql.SESSION}'")
    assert two.rows("plain") == []
    assert two.live.sql("SELECT count(*) FROM dr_probe") == [(0,)]


def test_a_commit_leaves_its_mark(two: Two) -> None:
    pair = events(two)
    two.write(Mode.MERGE, pair)
    assert two.live.sql("SELECT run FROM dr_probe") == [("restore-table test",)]


def test_sequences_only_go_forward(two: Two) -> None:
    for server in (two.live, two.copy):
        server.sql("CREATE TABLE counted (id serial PRIMARY KEY)")
    shape = Shape(
        name="counted", columns=(Column(name="id", type="integer"),), key=("id",),
        sequences=(("id", "public.counted_id_seq", 700),),
    )  # fmt: skip
    two.made["counted"] = shape
    two.copy.sql("INSERT INTO counted SELECT generate_series(1, 50)")
    two.write(Mode.MERGE, two.pair("counted"))
    assert two.live.sql("SELECT nextval('counted_id_seq')") == [(701,)]
    two.live.sql("SELECT setval('counted_id_seq', 5000)")
    two.psql(sql.sequences(shape))
    assert two.live.sql("SELECT nextval('counted_id_seq')") == [(5001,)]


def test_the_program_of_a_copy_that_fails_ends_the_transaction(two: Two) -> None:
    two.table("plain", "id:integer", "id")
    two.copy.sql("INSERT INTO plain SELECT generate_series(1, 10)")
    nowhere = Source(str(programs()), str(Path("/nonexistent")), 1, DATABASE)
    counts = Counts(table="plain", restored=10, missing=10)
    plan = TablePlan(copied=two.made["plain"], live=two.made["plain"], counts=counts)
    body = table_copy.body([plan], [two.pair("plain")], Mode.MERGE, nowhere, False)
    with pytest.raises(TargetFailed, match=r"nothing was written.*side cluster gave no rows"):
        act.write(two.host, DATABASE, body, "mark", 30)
    assert two.rows("plain") == []
