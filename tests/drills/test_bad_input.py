"""What goes wrong around a recovery on real hosts: each ends with one sentence, a hint and its exit code, and no
acknowledged row is lost. Nothing here asserts on time.

Tests of one class share what its fixture broke, and run in the order in which they stand; every class begins with a
whole estate.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from inventories.errors import DrError, TargetFailed
from lab import faults, state
from lab.containers import remove
from lab.engine import find_engine
from runbooks.actions import backup
from runbooks.engine.journal import Event
from runbooks.engine.journal import read as read_journal
from runbooks.engine.wait import until
from runbooks.hosts import Estate
from runbooks.layout import FENCED, Layout
from runbooks.probes import app, pgbackrest, postgres
from tests.drills import estate as seen
from tests.drills.doors import Ended, Started, dr
from tests.drills.estate import DATA, UNIT, inside, load

pytestmark = [pytest.mark.lab, pytest.mark.destructive, pytest.mark.timeout(400)]
LAYOUT = Layout(17)


@pytest.fixture(scope="class")
def whole(estate_lab: Estate) -> Iterator[Estate]:
    """A whole estate, whatever the class before left."""
    seen.make_whole(estate_lab)
    yield estate_lab
    seen.power_on(estate_lab)


def crash(estate: Estate, host: str) -> None:
    faults.kill_process(seen.lab_of(estate), host, f"{DATA}/postmaster.pid")


def ssh_off(estate: Estate, host: str) -> None:
    inside(estate, host, "systemctl stop ssh.socket ssh.service 2>/dev/null; pkill -x sshd; true")


def ssh_on(estate: Estate, host: str) -> None:
    inside(estate, host, "systemctl start ssh")
    until(lambda: estate.host(host).reachable(), 20, what=f"SSH of {host}")


def journal(ended: Ended) -> dict[str, object]:
    """What a runbook printed with --json."""
    said = json.loads(ended.out)
    assert isinstance(said, dict)
    return said


def state_of(ended: Ended) -> dict[str, object]:
    found = journal(ended)["state"]
    assert isinstance(found, dict)
    return found


class TestUnreachable:
    """SSH refused, to one host after the other: status and runbooks name the host and why."""

    def test_standby_that_refuses_ssh(self, whole: Estate) -> None:
        _, standby = seen.roles(whole)
        ssh_off(whole, standby)
        try:
            status = dr("status", "--json")
            assert status.code == 1
            finding = next(f for f in json.loads(status.out)["findings"] if f["objective"] == f"{standby} as a standby")
            assert f"no answer at {whole.host(standby).address}:22" in finding["measured"]
            refused = dr("switchover", "--yes")
            refused.assert_told(3, "no standby streams", standby, "no answer at", hint="./dr status")
        finally:
            ssh_on(whole, standby)

    def test_primary_that_refuses_ssh_lives_and_is_not_failed_over(self, whole: Estate) -> None:
        primary, standby = seen.roles(whole)
        ssh_off(whole, primary)
        try:
            status = dr("status", "--json")
            assert status.code == 1
            finding = next(f for f in json.loads(status.out)["findings"] if f["objective"] == "hosts that take writes")
            assert f"{standby} still streams from" in finding["measured"]
            assert f"mend SSH to {primary}" in finding["hint"]
            refused = dr("failover", "--yes")
            refused.assert_told(3, f"a primary at {whole.host(primary).address} takes writes from", hint="network")
            dr("switchover", "--yes").assert_told(3, "no PostgreSQL node takes writes", f"{primary}: no answer at")
        finally:
            ssh_on(whole, primary)
        seen.assert_whole(whole)

    def test_host_that_refuses_the_key_says_so(self, whole: Estate) -> None:
        _, standby = seen.roles(whole)
        inside(whole, standby, "mv /root/.ssh/authorized_keys /root/.ssh/away; pkill -x sshd; pkill -f 'sshd:'; true")
        ssh_on(whole, standby)
        try:
            status = dr("status", "--json")
            assert status.code == 1
            node = next(n for n in json.loads(status.out)["nodes"] if n["name"] == standby)
            assert "Permission denied" in node["why"]
            dr("deploy", "--limit", standby).assert_told(1, standby, hint="may be repeated")
        finally:
            inside(whole, standby, "mv /root/.ssh/away /root/.ssh/authorized_keys")
        assert dr("status").code == 0

    def test_marker_that_somebody_wrote_by_hand_is_read_whatever_it_holds(self, whole: Estate) -> None:
        _, standby = seen.roles(whole)
        host = whole.host(standby)
        try:
            for text, told in (('say "no"\\\nto pg1\n', "say 'no'/ to pg1"), ("", "no reason given")):
                host.run("printf '%%s' %s > %s", text, FENCED)
                assert postgres.look(host, 17).fenced == told
        finally:
            host.run("rm -f %s", FENCED)
