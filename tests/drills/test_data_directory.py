"""What lies in a data directory is asked of it: marks that were left, foreign clusters, tablespaces, broken-off clones.

Nothing here asserts on time. Each test leaves a whole estate.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from lab import faults
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from runbooks.layout import Layout
from runbooks.probes.postgresql import ground, server
from runbooks.probes.postgresql.ground import Holds
from tests.drills import estate as seen
from tests.drills.doors import dr
from tests.drills.estate import DATA, UNIT, inside

pytestmark = [pytest.mark.lab, pytest.mark.destructive, pytest.mark.timeout(900)]
LAYOUT = Layout(17)
MARKS = (f"{DATA}/mystocks-blank", f"{DATA}.restore")


@pytest.fixture
def whole(estate_lab: Estate) -> Estate:
    return seen.make_whole(estate_lab)


def holds(estate: Estate) -> set[Holds]:
    return {one.holds for one in ground.survey(estate.postgres, LAYOUT, estate)}


def asked(host: Host, verb: str, **words: object) -> tuple[int, str]:
    """What the host's own program answers, and its exit code."""
    ran = host.run(
        "cd /opt/mystocks-dr && python3 -m agents.postgresql.directory.main %s %s",
        verb, json.dumps({"version": 17, **words}), expect=None, timeout=60,
    )  # fmt: skip
    return ran.rc, ran.stdout + ran.stderr


def test_marks_that_were_left_behind_harm_nobody(whole: Estate) -> None:
    """An interrupted first deploy and a restore whose standby came late leave them for ever in an older estate."""
    for host in whole.postgres:
        host.run("touch %s; echo '{\"label\": \"x\", \"state\": \"done\"}' > %s", *MARKS)
    assert holds(whole) == {Holds.DATA}
    for host in whole.postgres:
        inside(whole, host.name, f"systemctl stop {UNIT}")
    try:
        dr("restore-cluster").assert_told(3, "pg1 and pg2", "holds data", hint="--replace")
        for host in whole.postgres:
            rc, said = asked(host, "room", label="x")
            assert rc == 3 and "holds a cluster of system" in said
    finally:
        for host in whole.postgres:
            host.run("rm -f %s %s", *MARKS)
            inside(whole, host.name, f"systemctl start {UNIT} || true")
    until(lambda: seen.whole(whole), 60, what="a whole estate", every=0.5)


def test_a_running_server_is_touched_by_nothing(whole: Estate) -> None:
    host = whole.host(seen.roles(whole)[1])
    # Stopped, because once a minute it looks for that file, and ends when it is gone.
    pid = host.run("head -1 %s/postmaster.pid", DATA).text
    host.run("kill -STOP %s && mv %s/postmaster.pid %s/hidden", pid, DATA, DATA)
    try:
        for verb, more in (("room", {}), ("restore", {}), ("clone", {"source": "x", "slot": "y"})):
            rc, said = asked(host, verb, aside=".replaced-x", **more)
            assert rc == 3 and "PostgreSQL runs in it" in said, said
    finally:
        host.run("mv %s/hidden %s/postmaster.pid && kill -CONT %s", DATA, DATA, pid)
    seen.assert_whole(whole)


@pytest.fixture
def tablespace(whole: Estate) -> Iterator[str]:
    """A table in a tablespace, on both hosts."""
    folder = "/var/lib/postgresql/far"
    primary = whole.host(seen.roles(whole)[0])
    for host in whole.postgres:
        host.run("install -d -o postgres -g postgres -m 0700 %s", folder)
    primary.execute(f"CREATE TABLESPACE far LOCATION '{folder}';")
    primary.execute("CREATE TABLE far_rows (n int) TABLESPACE far; INSERT INTO far_rows VALUES (1);")
    yield folder
    whole = seen.make_whole(whole)
    whole.host(seen.roles(whole)[0]).execute("DROP TABLE far_rows;")
    whole.host(seen.roles(whole)[0]).execute("DROP TABLESPACE far;")


@pytest.mark.long
def test_tablespaces_come_along_with_a_reclone_and_refuse_a_swap_before_anything_is_stopped(
    whole: Estate, tablespace: str
) -> None:
    primary, standby = seen.roles(whole)
    assert dr("backup.run", "--type", "full").code == 0
    whole.host(standby).run(f"systemctl stop {UNIT}")
    came_back = dr("rejoin", standby, "--reclone", "--yes", "--json", timeout=300)
    assert came_back.code == 0, came_back.err
    assert json.loads(came_back.out)["state"]["aside"] == ""
    assert whole.host(standby).query("select n from far_rows") == [{"n": 1}]

    started = whole.host(primary).query("select pg_postmaster_start_time()::text as at")
    moment = whole.host(primary).query("select (clock_timestamp())::text as at")[0]["at"]
    whole.host(primary).execute("INSERT INTO far_rows VALUES (2); SELECT pg_switch_wal();")
    ended = dr("restore-pitr", "--to-time", str(moment), "--replace", "--swap", "--yes", timeout=300)
    ended.assert_told(3, "tablespaces in", hint="by hand")
    assert whole.host(primary).query("select pg_postmaster_start_time()::text as at") == started
    whole.host(primary).run(
        "cd /opt/mystocks-dr && runuser -u postgres -- python3 -m agents.postgresql.side.cluster drop --name pitr"
    )
    seen.assert_whole(whole)


@pytest.mark.long
def test_what_is_no_older_copy_is_moved_aside_and_kept(whole: Estate) -> None:
    """Another cluster lies where the standby should be: somebody made it by hand."""
    _, standby = seen.roles(whole)
    host = whole.host(standby)
    host.run(f"systemctl stop {UNIT}")
    host.run("mv %s %s.mine", DATA, DATA)
    host.run(
        "set -e; PATH=/usr/lib/postgresql/17/bin:$PATH; initdb -D %s >/dev/null; "
        "pg_ctl -D %s -s -w -o '-p 5499 -c unix_socket_directories=/tmp -c listen_addresses=' -l /dev/null start; "
        "psql -X -h /tmp -p 5499 -c 'create role somebody'; pg_ctl -D %s -s -w stop",
        DATA, DATA, DATA, user="postgres", timeout=120,
    )  # fmt: skip
    assert ground.look(host, LAYOUT, whole).holds is Holds.DATA
    came_back = dr("rejoin", standby, "--yes", "--json", timeout=300)
    assert came_back.code == 0, came_back.err
    aside = json.loads(came_back.out)["state"]["aside"]
    assert aside.startswith(f"{DATA}.replaced-")
    assert f"it lies in {aside} now" in came_back.err
    assert host.run("test -s %s/global/pg_control && rm -rf %s %s.mine", aside, aside, DATA).rc == 0
    seen.assert_whole(whole)


@pytest.mark.long
def test_a_clone_that_was_cut_short_is_begun_anew_by_the_next_deploy(whole: Estate) -> None:
    """The standby's disk is blank, and a copy that nobody finished lies beside it."""
    _, standby = seen.roles(whole)
    host = whole.host(standby)
    host.run(f"systemctl stop {UNIT}")
    host.run("rm -rf %s; install -d -o postgres -g postgres -m 0700 %s.clone", DATA, DATA)
    host.run("touch %s.clone/backup_label %s.clone/PG_VERSION", DATA, DATA)
    deployed = dr("deploy", timeout=300)
    assert deployed.code == 0, deployed.err
    until(lambda: server.look(host, 17).streams, 60, what="a standby that streams")
    host.run("test ! -e %s.clone", DATA)
    seen.assert_whole(seen.make_whole(whole))


@pytest.mark.long
def test_a_file_system_that_is_not_mounted_gets_no_empty_cluster(whole: Estate) -> None:
    _, standby = seen.roles(whole)
    host = whole.host(standby)
    host.run(f"systemctl stop {UNIT}")
    host.run("mv %s %s.mine; install -d -o postgres -g postgres -m 0700 %s; cp /etc/fstab /etc/fstab.was", *[DATA] * 3)
    host.run("echo 'UUID=7d1c %s ext4 defaults 0 2' >> /etc/fstab" % DATA)  # noqa: UP031 - part of a file
    try:
        deployed = dr("deploy", "--limit", standby, timeout=300)
        assert deployed.code != 0
        assert "is not mounted" in deployed.err + deployed.out
        assert host.run("ls -A %s", DATA).text == ""
    finally:
        host.run("mv /etc/fstab.was /etc/fstab; rmdir %s; mv %s.mine %s", *[DATA] * 3)
        host.run(f"systemctl start {UNIT}")
    faults.heal(seen.lab_of(whole), standby)
    until(lambda: seen.whole(whole), 60, what="a whole estate", every=0.5)
