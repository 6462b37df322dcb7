"""The tracker's migrations: one line up and down, on a live standby, and what the catalogue says of its tables."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from inventories.catalog.load import load_tracker
from inventories.catalog.tracker import DATABASE, revisions
from inventories.catalog.tracker.revisions import BASE, MIGRATIONS, script, way
from inventories.errors import BadInput, Refused, TargetFailed
from runbooks.probes.tracker import schema
from tests.unit.postgres_server import Server, folder_for_server, fresh_server
from tests.unit.tracker_kit import here, make_database, psql

NUMBERS = ("0001", "0002", "0003", "0004")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with fresh_server() as server:
        yield server


@pytest.fixture
def database(server: Server) -> Iterator[Server]:
    make_database(server)
    yield server
    server.sql(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)", database="postgres")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the migrations to spoil."""
    return Path(shutil.copytree(MIGRATIONS, tmp_path / "50% off", ignore=shutil.ignore_patterns("__pycache__")))


def test_revisions_are_sequential_as_the_seed_wants_them() -> None:
    assert tuple(one.number for one in revisions.revisions()) == NUMBERS
    assert all(one.says for one in revisions.revisions())


def test_what_the_migrations_make_is_what_the_catalogue_declares(database: Server) -> None:
    assert schema.differences(here(database), load_tracker()) == ()
    keys = dict(
        database.sql(
            "SELECT c.relname, string_agg(a.attname, ',' ORDER BY k.nr) FROM pg_index i JOIN pg_class c ON c.oid ="
            " i.indrelid, unnest(i.indkey) WITH ORDINALITY k(attnum, nr), pg_attribute a WHERE i.indisprimary AND"
            " a.attrelid = c.oid AND a.attnum = k.attnum AND c.relnamespace = 'public'::regnamespace GROUP BY 1",
            database=DATABASE,
        )
    )
    for table in load_tracker().tables.values():
        assert keys[table.name] == ",".join(table.key)
        for index in table.indexes:
            found = database.sql(
                f"SELECT indexdef FROM pg_indexes WHERE tablename = '{table.name}'", database=DATABASE
            )
            wanted = f"({', '.join(index.columns)} DESC)"
            assert any(str(row[0]).endswith(wanted) for row in found), (table.name, wanted, found)


def test_a_table_that_differs_is_named(database: Server) -> None:
    database.sql("ALTER TABLE trades ALTER price TYPE numeric(10,2), DROP COLUMN bid_price", database=DATABASE)
    assert schema.differences(here(database), load_tracker()) == (
        "trades.price is numeric(10,2), declared is numeric(12,2)", "trades.bid_price is missing",
    )  # fmt: skip


def test_each_revision_goes_up_and_down_again_and_leaves_what_was_there(server: Server) -> None:
    try:
        make_database(server, NUMBERS[0])
        before = _structure(server)
        for number in NUMBERS[1:]:
            psql(server, script(way(schema.revision(here(server)) or "", number)))
            assert schema.revision(here(server)) == number
        for number in (*reversed(NUMBERS[:-1]), BASE):
            psql(server, script(way(schema.revision(here(server)) or "", number)))
            assert schema.revision(here(server)) == number
            if number == NUMBERS[0]:
                assert _structure(server) == before
        assert not _structure(server)
        psql(server, script(way(BASE)))
        assert schema.revision(here(server)) == NUMBERS[-1]
    finally:
        server.sql(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)", database="postgres")


def _structure(server: Server) -> list[str]:
    rows = server.sql(
        "SELECT table_name || '.' || column_name || ' ' || data_type FROM information_schema.columns"
        " WHERE table_schema = 'public' ORDER BY 1", database=DATABASE,
    )  # fmt: skip
    return [str(row[0]) for row in rows]


def test_a_live_standby_follows_every_step(server: Server) -> None:
    with folder_for_server() as place:
        standby = server.standby(place)
        try:
            make_database(server, NUMBERS[0])
            for to in (NUMBERS[-1], NUMBERS[1]):
                psql(server, script(way(schema.revision(here(server)) or "", to)))
                server.sql("CREATE TABLE seen()", "DROP TABLE seen", database=DATABASE)
                _caught_up(server, standby)
                assert schema.revision(here(standby, "pg2")) == to
        finally:
            standby.stop()
            server.sql(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)", database="postgres")


def _caught_up(primary: Server, standby: Server) -> None:
    written = primary.sql("SELECT pg_current_wal_lsn()")[0][0]
    for _ in range(200):
        if standby.sql(f"SELECT pg_last_wal_replay_lsn() >= '{written}', pg_sleep(0.05)", database="postgres")[0][0]:
            return
    raise AssertionError("the standby did not follow")


def test_rows_outlive_an_upgrade(server: Server) -> None:
    try:
        make_database(server, NUMBERS[0])
        server.sql(
            "INSERT INTO daily_ohlc (event_id, symbol, date, close) VALUES (1, 'VCB', '2026-11-27', 90.5)",
            database=DATABASE,
        )
        psql(server, script(way(NUMBERS[0])))
        assert schema.rows(here(server), ("daily_ohlc", "alerts")) == {"daily_ohlc": 1, "alerts": 0}
    finally:
        server.sql(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)", database="postgres")


def test_statements_for_another_revision_change_nothing(database: Server) -> None:
    with pytest.raises(TargetFailed, match="at revision 0004, and these statements begin at 0002"):
        psql(database, script(way("0002", "0003")))
    assert schema.revision(here(database)) == NUMBERS[-1]


def test_a_migration_that_fails_in_the_middle_leaves_the_revision_before_it(server: Server) -> None:
    try:
        make_database(server, NUMBERS[1])
        server.sql("CREATE TABLE alerts (in_the_way int)", database=DATABASE)
        with pytest.raises(TargetFailed, match="already exists"):
            psql(server, script(way(NUMBERS[1])))
        assert schema.revision(here(server)) == NUMBERS[1]
        assert not [line for line in _structure(server) if line.startswith("basis_history")]
    finally:
        server.sql(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)", database="postgres")


def test_roles_have_no_more_than_they_need(database: Server) -> None:
    rights = database.sql(
        "SELECT DISTINCT grantee, privilege_type FROM information_schema.table_privileges WHERE grantee IN"
        " ('writer', 'reader') AND table_schema = 'public' AND table_name <> 'alembic_version' ORDER BY 1, 2",
        database=DATABASE,
    )
    assert rights == [("reader", "SELECT"), ("writer", "INSERT"), ("writer", "SELECT"), ("writer", "UPDATE")]


def test_a_missing_migration_is_named(folder: Path) -> None:
    (folder / "versions" / "r0003_basis_history.py").unlink()
    with pytest.raises(BadInput, match="0004 follows 0003, and that migration is missing") as told:
        revisions.revisions(folder)
    assert told.value.hint


@pytest.mark.parametrize("text", ["", "def upgrade(:", 'revision = "0005"', "revision, down_revision = 5, None"])
def test_a_file_that_is_no_migration_is_named(folder: Path, text: str) -> None:
    (folder / "versions" / "r0005_x.py").write_text(text)
    with pytest.raises(BadInput, match=r"r0005_x\.py is no migration"):
        revisions.revisions(folder)


def test_alembic_sees_the_same_line() -> None:
    from alembic.script import ScriptDirectory

    seen = ScriptDirectory(str(MIGRATIONS)).walk_revisions()
    assert [one.revision for one in seen] == [one.number for one in reversed(revisions.revisions())]


def test_two_newest_migrations_are_no_line(folder: Path) -> None:
    text = (folder / "versions" / "r0004_alerts.py").read_text()
    (folder / "versions" / "r0005_other.py").write_text(text.replace('"0004", "0003"', '"0005", "0003"'))
    with pytest.raises(BadInput, match="0004 and 0005 both follow 0003, so that two"):
        revisions.revisions(folder)


def test_a_number_that_stands_twice_is_no_line(folder: Path) -> None:
    shutil.copy(folder / "versions" / "r0004_alerts.py", folder / "versions" / "r0004_again.py")
    with pytest.raises(BadInput, match="0004 and 0004 both follow 0003"):
        revisions.revisions(folder)


def test_no_migration_at_all_is_an_error(folder: Path) -> None:
    for path in (folder / "versions").glob("*.py"):
        path.unlink()
    with pytest.raises(BadInput, match="has no migration"):
        revisions.revisions(folder)


def test_a_way_says_in_words_what_is_run() -> None:
    assert str(way("0002")) == (
        "revision 0002: run 0003 (Futures beside the spot value, and the basis between them), "
        "0004 (Alerts that were raised, for review)"
    )
    assert str(way("0004", "0003")) == "revision 0004: take back 0004 (Alerts that were raised, for review)"
    assert str(way("0004")) == "revision 0004: nothing to run" and script(way("0004")) == ""


def test_a_revision_of_another_release_is_refused_and_a_wrong_one_is_bad_input() -> None:
    with pytest.raises(Refused, match="at revision '0099', which this release does not have"):
        way("0099")
    with pytest.raises(BadInput, match="no revision 'tomorrow'"):
        way("0001", "tomorrow")


def test_what_a_way_down_drops_is_known_before() -> None:
    tables = tuple(load_tracker().tables)
    assert revisions.dropped(way("0004", "0002"), tables) == ("basis_history", "alerts")
    assert revisions.dropped(way("0002"), tables) == ()
