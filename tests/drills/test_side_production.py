"""What production does to itself a side cluster and our sessions survive, and one may be on another host."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from runbooks.actions import backup as backups
from runbooks.actions.postgresql import side as sides
from runbooks.hosts import Estate, Host
from runbooks.long_work.work import Asker
from runbooks.probes.postgresql import locks, pgbackrest, proofs, server
from runbooks.probes.postgresql import side as side_probe
from tests.drills import estate as seen
from tests.drills import side_kit as kit
from tests.drills.doors import dr

pytestmark = [pytest.mark.lab, pytest.mark.destructive, pytest.mark.timeout(600)]
LOGIN = """
create table if not exists public.logins (at timestamptz, who text);
create or replace function public.noted() returns event_trigger language plpgsql security definer as
  $$ begin insert into public.logins values (now(), session_user); end $$;
create event trigger noted on login execute function public.noted();
alter event trigger noted enable always;
"""
NO_LOGIN = """
drop event trigger if exists noted; drop function if exists public.noted(); drop table if exists public.logins;
"""
DAYS = 3000
MINE = "account_id = 'CHUNKED'"
CHUNKED = f"""
insert into public.order_records select 9000000000 + g, 'C' || g, now() - g * interval '1 day', 'CHUNKED', 'none', 'S',
  'BUY', 'LIMIT', 1, 100, 'FILLED', 'x' from generate_series(1, {DAYS}) g on conflict do nothing;
"""


@pytest.fixture(scope="module")
def whole(estate_lab: Estate) -> Iterator[Estate]:
    seen.make_whole(estate_lab)
    kit.take(estate_lab, "full")
    yield estate_lab
    for host in (*estate_lab.postgres, estate_lab.backup):
        for name in ("pitr", "table"):
            sides.drop(host, name, 60)


def psql(host: Host, sql: str, database: str = kit.DATABASE) -> None:
    """As production does it, with its event triggers."""
    host.run("psql -qX -v ON_ERROR_STOP=1 -d %s", database, user="postgres", stdin=sql, timeout=300)


@contextmanager
def watched(host: Host) -> Iterator[None]:
    """F7: an event trigger at login that inserts a row, in every database."""
    databases = ("postgres", kit.DATABASE)
    try:
        for database in databases:
            psql(host, LOGIN, database)
        yield
    finally:
        for database in databases:
            host.run(
                "PGOPTIONS='-c event_triggers=off' psql -qX -v ON_ERROR_STOP=1 -d %s", database, user="postgres",
                stdin=NO_LOGIN,
            )  # fmt: skip


class TestEventTriggers:
    def test_a_trigger_at_login_stops_neither_backup_nor_proof_nor_restore_nor_standby(self, whole: Estate) -> None:
        primary = kit.primary(whole)
        with watched(primary):
            label = kit.take(whole, "incr")
            annotated = {one.label: one.annotations for one in pgbackrest.info(whole.backup, "main").backups}[label]
            assert {"rows-before", "rows-after", "versions"} <= annotated.keys()
            backups.prove(whole.backup, label, Asker.door("a test"))
            proof = proofs.newest(whole.backup)
            assert proof is not None
            assert (proof.label, proof.passed) == (label, True), proof.sentence
            point = f"watched-{time.time_ns()}"
            primary.query(f"select pg_create_restore_point('{point}')")
            assert dr("restore-pitr", "--to-name", point, "--replace").code == 0
            standby = next(host for host in whole.postgres if host.name != primary.name)
            assert server.look(standby, 17).is_standby
            seen_by = primary.query("select distinct who from public.logins", kit.DATABASE)
            assert {row["who"] for row in seen_by} <= {"postgres"}, "only psql as production calls it"


class TestOnAnotherHost:
    @pytest.mark.parametrize("on", ["standby", pytest.param("backup", marks=pytest.mark.long)])
    def test_tables_come_back_from_a_copy_on_another_host(self, whole: Estate, on: str) -> None:
        primary = kit.primary(whole)
        where = whole.backup if on == "backup" else next(h for h in whole.postgres if h.name != primary.name)
        psql(primary, "drop table if exists far; create table far (id int primary key, t text);"
                      "insert into far select g, md5(g::text) from generate_series(1, 5000) g;")  # fmt: skip
        point = f"far-{time.time_ns()}"
        primary.query(f"select pg_create_restore_point('{point}')")
        psql(primary, "delete from far where id <= 1000;")
        words = ("restore-table", "--tables", "far", "--to-name", point, "--on", where.name, "--replace")
        looked = dr(*words)
        assert looked.code == 0, looked.err
        assert "1000 missing" in looked.out
        assert side_probe.look(primary, "table") is None
        assert side_probe.look(where, "table") is not None
        done = dr(*words[:-1], "--yes")
        assert done.code == 0, done.err
        same = "count(*) filter (where t = md5(id::text)) as same"
        assert primary.query(f"select count(*) as n, {same} from far", kit.DATABASE) == [{"n": 5000, "same": 5000}]
        assert side_probe.look(where, "table") is None
        assert primary.run("systemctl list-units --plain --no-legend 'mystocks-bridge-*'", expect=None).text == ""

    def test_a_point_in_time_is_looked_at_there_and_taken_by_no_swap_and_no_primary(self, whole: Estate) -> None:
        primary = kit.primary(whole)
        standby = next(host for host in whole.postgres if host.name != primary.name)
        point = f"there-{time.time_ns()}"
        primary.query(f"select pg_create_restore_point('{point}')")
        opened = dr("restore-pitr", "--to-name", point, "--on", standby.name, "--replace")
        assert opened.code == 0, opened.err
        found = side_probe.look(standby, "pitr")
        assert found is not None and found.paused
        refused = dr("restore-pitr", "--to-name", point, "--on", standby.name, "--swap", "--yes")
        refused.assert_told(2, "--swap renames", hint="--on")
        unread = dr("restore-table", "--tables", "order_records", "--from", "pitr", "--on", standby.name)
        unread.assert_told(3, f"lets nobody in from {primary.name}", hint="without --from")

    def test_a_side_cluster_gives_way(self, whole: Estate) -> None:
        primary = kit.primary(whole)
        sides.drop(primary, kit.NAME, 60)
        kit.restore(primary, sides.SideRequest(kit.NAME))
        said = primary.run("ps -eo ni,args | grep '[s]ide-tested.d/postgresql.conf'").stdout.split()
        sides.drop(primary, kit.NAME, 60)
        assert said[0] == "19"


@pytest.mark.long
class TestChunks:
    def test_three_thousand_chunks_are_counted_backed_up_proven_and_let_go(self, whole: Estate) -> None:
        """F6: out of shared memory at each of these."""
        primary = kit.primary(whole)
        try:
            psql(primary, CHUNKED)
            room = locks.look(primary, kit.DATABASE)
            assert (room.table, room.parts >= DAYS) == ("order_records", True)
            assert room.used_percent < 50
            counted = primary.query(f"select count(*) as n from order_records where {MINE}", kit.DATABASE)
            assert counted == [{"n": DAYS}]
            label = kit.take(whole, "incr")
            annotated = {one.label: one.annotations for one in pgbackrest.info(whole.backup, "main").backups}[label]
            assert '"order_records"' in annotated["rows-after"]
            backups.prove(whole.backup, label, Asker.door("a test"))
            proof = proofs.newest(whole.backup)
            assert proof is not None
            assert (proof.label, proof.passed) == (label, True), proof.sentence
        finally:
            psql(primary, f"delete from order_records where {MINE};")
            gone = "select drop_chunks('order_records', now() - interval '60 days')"
            psql(primary, f"select count(*) from ({gone}) gone;")
