"""Work that outlives its operator: found again, never begun twice, refused to others. Nothing here asserts on time."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from inventories.errors import Refused, TargetFailed
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from runbooks.layout import DATA
from runbooks.long_work.seen import Phase
from runbooks.long_work.work import Asker, Work, look, require_idle, run_long, stop
from runbooks.probes.postgresql import pgbackrest
from tests.drills import estate as seen
from tests.drills.doors import Started, dr
from tests.drills.estate import UNIT, load

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
RECLONE = Work(DATA, "reclone", ())
REFERS = "mystocks-refers-to-it.service"
SHIM, CALLS = "/usr/local/bin/pgbackrest", "/var/tmp/pgbackrest.calls"
# Notes each restore and begins it late, so that there is time to be killed in.
_SLOW = """
cat >%s <<'shim'
#!/bin/sh
case "$*" in *" restore") echo "$*" >>%s; sleep 8 ;; esac
exec /usr/bin/pgbackrest "$@"
shim
chmod 755 %s
install -o postgres -m 0600 /dev/null %s
"""
_COPY = """
import os, sys, time
open("/var/tmp/copied", "wb").write(bytes(64 << 20))
while not os.path.exists("/var/tmp/copied.seen"):
    time.sleep(0.1)
print("64 MiB", file=sys.stderr)
print("done")
"""


@pytest.fixture
def whole(estate_lab: Estate) -> Iterator[Estate]:
    yield seen.make_whole(estate_lab)


@pytest.fixture
def host(estate_lab: Estate) -> Host:
    return estate_lab.host("pg1")


@contextmanager
def slow_restores(host: Host) -> Iterator[None]:
    """Every restore of pgBackRest on this host begins eight seconds late and is noted."""
    host.run(_SLOW, SHIM, CALLS, SHIM, CALLS)
    try:
        yield
    finally:
        host.run("rm -f %s", SHIM)


def restores(host: Host) -> list[str]:
    return host.run("cat %s", CALLS).text.splitlines()


def content(host: Host, estate: Estate) -> str:
    """Every row of every table of the application's, in one sum."""
    database = str(estate.data["database"])
    tables = host.query("select tablename as name from pg_tables where schemaname = 'public' order by 1", database)
    assert tables, "a comparison of nothing"
    counted = "select count(*) as n, md5(string_agg(t::text, '|' order by t::text)) as sum from {} t"
    return json.dumps([host.query(counted.format(row["name"]), database) for row in tables])


def test_a_reclone_outlives_its_operator_and_is_done_once(whole: Estate, tmp_path: Path) -> None:
    primary, standby = (whole.host(name) for name in seen.roles(whole))
    with load(whole, tmp_path) as writing, slow_restores(standby):
        standby.run("systemctl stop %s", UNIT, timeout=60)
        writing.goes_to_outbox()
        first = Started("rejoin", standby.name, "--reclone", "--yes")
        first.hears("reclone works as mystocks-data-reclone.service")
        first.send(signal.SIGKILL)
        assert first.ends().code == -signal.SIGKILL

        assert look(standby, RECLONE).phase is Phase.RUNNING
        shown = " ".join(dr("status").out.split())
        assert f"mystocks-data-reclone.service on {standby.name}, begun by" in shown, shown
        with pytest.raises(Refused, match=r"mystocks-data-reclone.service works on") as told:
            require_idle(standby, DATA, Asker("another run", "./dr rejoin --yes"))
        assert "systemctl stop mystocks-data-reclone.service" in told.value.hint
        dr("rejoin", standby.name, "--reclone", "--yes").assert_told(3, hint="./dr rejoin --resume")

        ended = dr("rejoin", "--resume", "--yes", "--json")
        assert ended.code == 0, ended.err
        assert json.loads(ended.out)["state"]["rebuilt_by"] == "re-clone from the repository"
        assert len(restores(standby)) == 1
        writing.goes_to_store()
    seen.assert_whole(whole)
    written = primary.query("select pg_current_wal_lsn() as lsn")[0]["lsn"]
    until(
        lambda: standby.query(f"select pg_last_wal_replay_lsn() >= '{written}' as there")[0]["there"], 60,
        what="the standby to have replayed everything",
    )  # fmt: skip
    assert content(primary, whole) == content(standby, whole)


@pytest.mark.long
def test_what_an_abandoned_run_left_working_is_ended_and_the_next_one_begins_anew(whole: Estate) -> None:
    standby = whole.host(seen.roles(whole)[1])
    with slow_restores(standby):
        standby.run("systemctl stop %s", UNIT, timeout=60)
        first = Started("rejoin", standby.name, "--reclone", "--yes")
        first.hears("reclone works as mystocks-data-reclone.service")
        first.send(signal.SIGKILL)
        first.ends()
        assert look(standby, RECLONE).phase is Phase.RUNNING
        ended = dr("runbook.abandon", "--yes")
        assert ended.code == 0, ended.err
        assert f"mystocks-data-reclone.service on {standby.name} is ended" in ended.out
        assert look(standby, RECLONE).phase is not Phase.RUNNING
    again = dr("rejoin", standby.name, "--reclone", "--yes")
    assert again.code == 0, again.err
    seen.assert_whole(whole)


def test_a_backup_that_lost_its_operator_is_joined_by_the_next_one(whole: Estate) -> None:
    before = labels(whole)
    first = Started("backup.run", "--type", "full")
    first.hears("mystocks-job-full-run.service")
    first.send(signal.SIGKILL)
    first.ends()
    again = dr("backup.run", "--type", "full")
    assert again.code == 0, again.err
    assert len(set(labels(whole)) - set(before)) == 1


def labels(estate: Estate) -> list[str]:
    return [one.label for one in pgbackrest.info(estate.backup, str(estate.data["stanza"])).backups]


def test_what_systemd_and_the_kernel_say_of_a_unit_is_read_as_it_is(host: Host) -> None:
    asker = Asker("a run", "./dr rejoin --resume --yes")
    copies = Work("test", "copy", ("python3", "-c", _COPY))
    heard: list[float] = []

    def dies(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_long(host, copies, Asker("a run", "", say=dies))
    until(lambda: look(host, copies).bytes >= 64 << 20, 60, what="its bytes")
    host.run("touch /var/tmp/copied.seen")
    ran = run_long(host, copies, Asker("a run", "", granted=heard.append))
    assert (ran.rc, ran.stdout) == (0, "done\n")
    assert ran.stderr == "64 MiB\n"
    assert heard[0] > 0
    host.run("rm -f /var/tmp/copied /var/tmp/copied.seen")
    assert look(host, copies).phase is Phase.ABSENT
    assert host.run("systemctl list-units --failed --no-legend --plain 'mystocks-test-*'").text == ""

    with pytest.raises(TargetFailed, match=r"was ended by signal KILL"):
        run_long(host, Work("test", "dies", ("sh", "-c", "kill -KILL $$")), asker)
    with pytest.raises(TargetFailed, match=r"could not be begun: .*/no/such/program"):
        run_long(host, Work("test", "nothing", ("/no/such/program",)), asker)
    assert run_long(host, Work("test", "who", ("id", "-un")), asker).text == "postgres"


def test_stopping_a_unit_ends_all_of_it_and_frees_what_it_worked_on(host: Host) -> None:
    asker = Asker("a run", "./dr rejoin --resume --yes")
    tree = Work("test", "tree", ("sh", "-c", "setsid sleep 600 & setsid sleep 600 & wait"))

    def stops(_: str) -> None:
        until(lambda: host.run("pgrep -fc '^sleep 600$'", expect=None).text == "2", 10, what="its processes")
        stop(host, tree.unit)

    with pytest.raises(TargetFailed, match=r"was ended by signal TERM"):
        run_long(host, tree, Asker("a run", "", say=stops))
    assert host.run("pgrep -fc '^sleep 600$'", expect=None).text == "0"
    assert run_long(host, Work("test", "tree", ("true",)), asker).rc == 0


def test_what_was_stopped_and_is_loaded_still_is_begun_and_a_mask_is_named(host: Host) -> None:
    asker, work = Asker("a run", "./dr rejoin --resume --yes"), Work("test", "kept", ("true",))
    try:
        with pytest.raises(TargetFailed, match=r"was ended by signal TERM"):
            run_long(host, replace(work, argv=("sleep", "600")), replace(asker, say=lambda _: _referred(host, work)))
        assert host.run("systemctl show -p LoadState --value %s", work.unit).text == "loaded"
        assert run_long(host, work, Asker("another", "")).rc == 0
    finally:
        host.run("systemctl stop %s", REFERS, expect=None)
    host.run("systemctl mask --runtime %s", work.unit)
    try:
        with pytest.raises(Refused, match=r"was not begun: systemd has mystocks-test-kept\.service by ") as told:
            run_long(host, work, asker)
        assert "systemctl unmask" in told.value.hint
    finally:
        host.run("systemctl unmask --runtime %s", work.unit)
    assert run_long(host, work, asker).rc == 0


def _referred(host: Host, work: Work) -> None:
    """Another unit refers to it, and an operator stops it."""
    host.run("systemd-run --quiet --collect --unit=%s --property=Wants=%s sleep 600", REFERS, work.unit)
    stop(host, work.unit)


def test_a_server_that_is_meant_to_live_on_does_and_the_same_work_may_begin_again(host: Host) -> None:
    starts = Work("test", "starts", ("sh", "-c", "setsid sleep 601 >/dev/null 2>&1 & echo started"), leaves=True)
    try:
        for run in ("one", "another"):
            assert run_long(host, starts, Asker(run, "")).text == "started"
        assert host.run("pgrep -fc '^sleep 601$'").text == "2"
        assert "mystocks-left-" in host.run("cat /proc/$(pgrep -fo '^sleep 601$')/cgroup").text
    finally:
        host.run("pkill -f '^sleep 601$'", expect=None)
