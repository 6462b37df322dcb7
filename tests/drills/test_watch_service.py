"""The watch as a service on the backup host: it has what it needs and no more, costs little, and acts by itself."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from deploys import run as deploys
from drills import by_watch
from drills.prepare import provision
from lab import bmc, faults
from runbooks import hosts
from runbooks.engine.wait import until
from runbooks.hosts import Estate
from runbooks.probes.postgresql import server
from runbooks.probes.watch import UNIT
from runbooks.watch import service
from tests.drills.doors import dr
from tests.drills.estate import lab_of, make_whole, power_on, quiet, rejoin, roles

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
# Of its own process and of the SSH sessions that it keeps; a container keeps no account of a service.
_CPU = (
    "cat $(pgrep -u mystocks-watch | sed 's,.*,/proc/&/stat,') | sed 's/.*) //' | "
    "awk '{s += $12 + $13} END {print s}'"
)
_MEMORY = (
    "cat $(pgrep -u mystocks-watch 'python3|ssh$' | sed 's,.*,/proc/&/smaps_rollup,') | "
    "awk '/^Pss:/ {s += $2} END {print s / 1024}'"
)


def spent(estate: Estate) -> float:
    """Seconds of a processor."""
    return float(estate.backup.run(_CPU).text) / 100


@pytest.fixture(scope="module")
def watched(estate_lab: Estate) -> Iterator[Estate]:
    """The estate with a watch on its backup host, which may act; afterwards there is none."""
    make_whole(estate_lab)
    by_watch.forget(estate_lab.backup)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DR_LAB_WATCH", "failover")
        try:
            provision(hosts.load("lab"), quiet)
            with bmc.serving(lab_of(estate_lab)):
                yield hosts.load("lab")
        finally:
            patch.delenv("DR_LAB_WATCH")
            provision(hosts.load("lab"), quiet)
            by_watch.forget(estate_lab.backup)
    assert estate_lab.backup.run("systemctl is-active %s || true", UNIT).text != "active"


def sees(estate: Estate, words: str) -> None:
    def says() -> str:
        known = service.services(estate)[0].known
        return str(known.get("says", "")) if known else ""

    until(says, 60, what=f"the watch to say {words!r}", accept=lambda said: words in said, every=0.5)


def test_it_runs_and_a_second_deploy_changes_nothing(watched: Estate) -> None:
    sees(watched, "serves")
    assert "may run failover" in dr("watch.status").out
    assert not deploys.deploy("lab").by_operation


def test_its_key_opens_nothing_else(watched: Estate) -> None:
    """Neither from another host, nor the off-site one."""
    key = watched.backup.run("cat /etc/mystocks-dr/watch/id_ed25519").stdout
    words = "ssh -i /dev/shm/k -o BatchMode=yes -o StrictHostKeyChecking=no mystocks-watch@%s true; echo ended=$?"
    for viewer, target in ((watched.app, watched.postgres[0]), (watched.backup, watched.host("offsite1"))):
        viewer.run("umask 077; cat > /dev/shm/k", stdin=key)
        try:
            assert "ended=0" not in viewer.run(words, target.address, timeout=30).stdout
        finally:
            viewer.run("rm -f /dev/shm/k")


def test_it_costs_little(watched: Estate) -> None:
    sees(watched, "serves")

    first, began = spent(watched), time.monotonic()
    until(lambda: time.monotonic() - began > 20, 30, what="twenty seconds")
    share = 100 * (spent(watched) - first) / (time.monotonic() - began)
    memory = float(watched.backup.run(_MEMORY).text)
    assert share < 4, share  # the target is 2 on a machine that does nothing else
    assert memory < 60, memory


@pytest.mark.destructive
def test_nobody_awake_the_service_fails_over(watched: Estate) -> None:
    primary, standby = roles(watched)
    sees(watched, f"{primary} serves")
    faults.power_off(lab_of(watched), primary)
    began = time.monotonic()
    until(
        lambda: server.look(watched.host(standby), 17).is_primary, 30, what=f"{standby} to be promoted by the watch",
        every=0.1,
    )  # fmt: skip
    assert time.monotonic() - began < 15
    sees(watched, f"{standby} serves")
    notes = json.loads(dr("watch.status", "--json").out)["notes"]
    assert "mystocks-watch@" in notes["acted"]["by"]
    until(lambda: "Nobody" in dr("lock.status").out, 180, what="the end of its failover", every=2)
    power_on(watched)
    rejoin(watched)


def test_one_word_stops_it_and_one_starts_it(watched: Estate) -> None:
    assert "has ended" in dr("watch.stop").out
    assert service.services(watched)[0].active == "inactive"
    assert dr("watch.start").code == 0
    sees(watched, "serves")


def test_key_with_too_many_rights_is_refused(watched: Estate) -> None:
    there, line = watched.postgres[0], "/var/lib/mystocks-watch/.ssh/authorized_keys"
    there.run("cp -p %s %s.kept; sed -i 's/^restrict,from=\"[^\"]*\" //' %s", line, line, line)
    try:
        watched.backup.run("systemctl restart %s", UNIT)
        until(
            lambda: watched.backup.run("systemctl is-active %s || true", UNIT).text, 30, what="the refusal",
            accept=lambda word: word == "failed",
        )  # fmt: skip
        assert "too many rights" in watched.backup.run("journalctl -u %s -n 20 -o cat", UNIT).stdout
    finally:
        there.run("mv %s.kept %s", line, line)
        service.start(watched)
    sees(watched, "serves")
