"""One host's clock jumps by sixty days, ahead or back, and then is right again: it is named, what must wait waits, the
rest goes on, and nothing is lost by it. Containers share the kernel's clock: the host's programs see another by
libfaketime.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agents.feed.market import SHARES
from runbooks.actions import lease
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from tests.drills import estate as seen
from tests.drills.doors import dr
from tests.drills.side_kit import primary
from tests.drills.test_jobs import Runner, findings, labels

pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.timeout(600)]
SSHD = "/etc/ssh/sshd_config.d/20-clock.conf"
POSTGRES = "/etc/postgresql/17/main/environment"  # all that Debian's pg_ctlcluster hands on to the server
CLOCK = "/var/lib/mystocks-dr/clock"
AHEAD_OR_BACK = pytest.mark.parametrize("days", [60, -60], ids=["ahead", "back"])


@contextmanager
def clock_off(host: Host, days: int, *units: str) -> Iterator[None]:
    """What is begun there, over SSH or as a unit, sees a clock that is off; `units` are begun anew, then and after."""
    host.run("command -v faketime || apt-get install -q -y --no-install-recommends faketime", timeout=120)
    library = host.run("find /usr/lib -name libfaketime.so.1").text
    # The seconds since the boot are not the clock's, and what lies on the disk keeps its stamps.
    seen_by_all = (
        f"LD_PRELOAD={library}", f"FAKETIME={days:+d}d", "FAKETIME_DONT_FAKE_MONOTONIC=1", "NO_FAKE_STAT=1",
    )  # fmt: skip
    try:
        host.run("systemctl set-environment %s %s %s %s", *seen_by_all)
        host.run("cat > %s && systemctl reload ssh", SSHD, stdin=f"SetEnv {' '.join(seen_by_all)}\n")
        if seen.UNIT in units:
            lines = "".join(f"{name} = '{value}'\n" for name, _, value in (one.partition("=") for one in seen_by_all))
            host.run("test -e %s.right || cp -p %s %s.right", POSTGRES, POSTGRES, POSTGRES)
            host.run("cat %s.right - > %s", POSTGRES, POSTGRES, stdin=lines)
        _begin_anew(host, units)
        yield
    finally:
        host.run("test ! -e %s.right || mv %s.right %s", POSTGRES, POSTGRES, POSTGRES)
        host.run("systemctl unset-environment %s %s %s %s", *(one.partition("=")[0] for one in seen_by_all))
        host.run("rm -f %s && systemctl reload ssh", SSHD)
        _begin_anew(host, units)


def _begin_anew(host: Host, units: tuple[str, ...]) -> None:
    host.hang_up()
    for unit in units:
        host.run("systemctl restart %s", unit, timeout=60)


def off_by(host: Host) -> int:
    """By how many days its server's clock is ahead of this machine's."""
    told = host.query("select extract(epoch from clock_timestamp())::bigint as now")
    return round((int(told[0]["now"]) - time.time()) / 86_400)


def off(days: int) -> str:
    return f"60.0 d {'ahead of' if days > 0 else 'behind'} the others'"


def told() -> dict[str, str]:
    return {name: one["measured"] for name, one in findings(dr("status", "--json")).items()}


def names(found: dict[str, str], host: Host, days: int) -> bool:
    """Whether it says so of this host: by the backup host's word, whose jobs ask, or as status itself sees the clocks.

    The backup host asks when a job of its own begins; until then status alone has seen it.
    """
    said = off(days)
    return f"the clock of {host} is {said}" in found.get("clocks", "") or said.removesuffix("'") in found.get(
        f"clock of {host}", ""
    )


def tells(host: Host, days: int) -> dict[str, str]:
    """What status finds once it names this host: a busy one may not answer it in time at first."""
    return until(
        told, 60, what=f"the clock of {host} among the findings", accept=lambda found: names(found, host, days)
    )


def assert_no_clock_is_named() -> None:
    assert not {name: said for name, said in told().items() if name.startswith("clock")}


def late(found: dict[str, str]) -> set[str]:
    """What is said to be too old, or not to have come."""
    return {name for name in found if name.startswith(("job ", "age of ", "proofs of "))}


@AHEAD_OR_BACK
def test_a_backup_host_with_a_wrong_clock_is_named_takes_nothing_and_lets_nothing_go(
    estate_lab: Estate, days: int
) -> None:
    seen.make_whole(estate_lab)
    backup, runner = estate_lab.backup, Runner(estate_lab.backup)
    assert dr("backup.run", "--type", "incr").code == 0
    lease.hold(backup, "test-clocks", "a test", "a clock is being tested", 3600)
    before, known = labels(backup), told()
    try:
        with clock_off(backup, days, "pgbackrest-server"):
            now = tells(backup, days)
            assert late(now) <= late(known), "nothing else is late by a clock that is known to be wrong"
            for kind in ("full", "incr", "expire", "offsite"):
                ended = dr("backup.run", "--type", kind)
                ended.assert_told(3, f"{kind} waits for a clock", f"backup1 is {off(days)}", hint="chronyc makestep")
            checked = dr("backup.check")
            assert checked.code == 0, checked.err
            assert [one["id"] for one in runner("jobs.leases list").json()] == ["test-clocks"]
        assert [one["id"] for one in runner("jobs.leases list").json()] == ["test-clocks"]
    finally:
        lease.release(backup, "test-clocks")
    assert labels(backup) == before
    for kind in ("incr", "expire"):
        done = dr("backup.run", "--type", kind)
        assert done.code == 0, done.err
    assert_no_clock_is_named()
    assert {one["trouble"] for one in json.loads(dr("backup.list", "--json").out)["backups"]} == {""}


@AHEAD_OR_BACK
def test_a_primary_with_a_wrong_clock_writes_on_and_names_no_backup(estate_lab: Estate, days: int) -> None:
    seen.make_whole(estate_lab)
    host, before = primary(estate_lab), labels(estate_lab.backup)
    try:
        with clock_off(host, days, seen.UNIT):
            until(lambda: seen.whole(estate_lab), 60, what="a whole estate", accept=bool)
            host.execute("create table if not exists clocks (at timestamptz); insert into clocks values (now());")
            assert off_by(host) == days
            assert dr("backup.check").code == 0
            tells(host, days)
            for kind in ("full", "incr"):
                dr("backup.run", "--type", kind).assert_told(3, str(host), off(days), "it would name the backup")
            assert labels(estate_lab.backup) == before
        until(lambda: seen.whole(estate_lab), 60, what="a whole estate", accept=bool)
        # A full backup: by time nobody can be recovered across commits that say they come from another year.
        for kind in ("full", "incr", "check"):
            done = dr("backup.run", "--type", kind)
            assert done.code == 0, done.err
        assert_no_clock_is_named()
        proven = dr("prove-backup")
        assert proven.code == 0, proven.err
    finally:
        primary(estate_lab).execute("drop table if exists clocks;")


@AHEAD_OR_BACK
def test_a_standby_with_a_wrong_clock_is_named_and_stops_no_backup(estate_lab: Estate, days: int) -> None:
    seen.make_whole(estate_lab)
    standby = estate_lab.host(seen.roles(estate_lab)[1])
    with clock_off(standby, days, seen.UNIT):
        until(lambda: seen.whole(estate_lab), 60, what="a whole estate", accept=bool)
        assert off_by(standby) == days
        tells(standby, days)
        done = dr("backup.run", "--type", "incr")
        assert done.code == 0, done.err
    until(lambda: seen.whole(estate_lab), 60, what="a whole estate", accept=bool)
    assert dr("backup.check").code == 0
    assert_no_clock_is_named()


@AHEAD_OR_BACK
def test_an_off_site_host_with_a_wrong_clock_is_named_and_takes_copies(estate_lab: Estate, days: int) -> None:
    offsite = estate_lab.group("offsite")[0]
    with clock_off(offsite, days):
        tells(offsite, days)
        for kind in ("incr", "offsite"):
            done = dr("backup.run", "--type", kind)
            assert done.code == 0, done.err
    assert_no_clock_is_named()
    checked = dr("backup.check")
    assert checked.code == 0, checked.err


@AHEAD_OR_BACK
def test_an_application_host_with_a_wrong_clock_is_named_and_loses_no_row(
    estate_lab: Estate, days: int, tmp_path: Path
) -> None:
    seen.make_whole(estate_lab)
    store = primary(estate_lab)
    estate_lab.app.run("rm -f %s.right && if test -e %s; then cp -p %s %s.right; fi", CLOCK, CLOCK, CLOCK, CLOCK)
    try:
        with clock_off(estate_lab.app, days, "mystocks-replayer"):
            tells(estate_lab.app, days)
            with seen.load(estate_lab, tmp_path) as writing:
                store.run("systemctl stop %s", seen.UNIT, timeout=60)
                writing.goes_to_outbox()
                store.run("systemctl start %s", seen.UNIT, timeout=60)
                writing.goes_to_store()
            done = dr("backup.run", "--type", "incr")
            assert done.code == 0, done.err
        until(lambda: seen.whole(estate_lab), 60, what="a whole estate", accept=bool)
        (after := tmp_path / "after").mkdir()
        with seen.load(estate_lab, after) as writing:  # newer than the rows of the wrong clock
            writing.writes_on()
        assert_no_clock_is_named()
    finally:
        if days > 0:
            forget_the_future(estate_lab)


def forget_the_future(estate: Estate) -> None:
    """Rows whose ids are of a time to come, and what the clock was then: a later test may replace this host.

    It goes back to what it was, as rows of this moment are there: without it a host that is behind writes older ones.
    """
    estate.app.run("if test -e %s.right; then mv %s.right %s; else rm -f %s; fi", CLOCK, CLOCK, CLOCK, CLOCK)
    for table in SHARES:
        in_a_day = "(extract(epoch from now())::bigint + 86400) << 32"
        primary(estate).execute(f"delete from {table} where event_id > {in_a_day}", str(estate.data["database"]))
