"""A cluster that is down everywhere, on real hosts: who is started, who never is, and what an interruption leaves.

Every test begins with a whole estate, writes while it breaks it, and holds what was acknowledged to the tables.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import faults
from runbooks.engine.journal import Event
from runbooks.engine.journal import read as read_journal
from runbooks.hosts import Estate
from runbooks.layout import PERMIT
from runbooks.probes.postgresql import server
from tests.drills import estate as seen
from tests.drills.doors import Ended, Started, dr
from tests.drills.estate import DATA, UNIT, inside, load, set_by_hand

pytestmark = [pytest.mark.lab, pytest.mark.destructive, pytest.mark.timeout(500)]
NAMES = ("pg1", "pg2")


@pytest.fixture
def whole(estate_lab: Estate) -> Iterator[Estate]:
    seen.make_whole(estate_lab)
    yield estate_lab
    seen.power_on(estate_lab)


def crash_everywhere(estate: Estate, *first: str) -> None:
    """Every server dies within a blink, the primary first unless told otherwise: nobody is told goodbye."""
    for name in first or seen.roles(estate):
        faults.kill_process(seen.lab_of(estate), name, f"{DATA}/postmaster.pid")


def state_of(ended: Ended) -> dict[str, object]:
    found = json.loads(ended.out)["state"]
    assert isinstance(found, dict)
    return found


def down(estate: Estate, name: str) -> bool:
    return not server.look(estate.host(name), 17).online


def test_hints_alone_lead_from_a_cluster_that_is_down_to_a_whole_one(whole: Estate, tmp_path: Path) -> None:
    primary, standby = seen.roles(whole)
    with load(whole, tmp_path) as writing:
        crash_everywhere(whole)
        writing.goes_to_outbox()
        status = dr("status", "--json")
        hints = [finding["hint"] for finding in json.loads(status.out)["findings"]]
        assert "./dr start-cluster" in hints[0]
        dr("failover", "--yes").assert_told(3, "there is no standby to promote", hint="./dr start-cluster")
        dr("rejoin", primary, "--yes").assert_told(3, "no PostgreSQL node takes writes", hint="./dr start-cluster")
        ended = dr("start-cluster", "--json")
        assert ended.code == 0, ended.err
        assert (state_of(ended)["primary"], state_of(ended)["other"]) == (primary, standby)
        writing.goes_to_store()
    seen.assert_whole(whole)
    assert inside(whole, primary, f"test -e {PERMIT} && echo there || echo used").strip() == "used"
    dr("start-cluster").assert_told(3, f"{primary} is a primary that answers and takes writes")


@pytest.mark.long
@pytest.mark.parametrize("said", ["start: Start the chosen node", "follow: Start the others", "synchronous: Make"])
def test_a_start_that_was_killed_goes_on_with_resume(whole: Estate, tmp_path: Path, said: str) -> None:
    primary, _ = seen.roles(whole)
    with load(whole, tmp_path) as writing:
        crash_everywhere(whole)
        writing.goes_to_outbox()
        begun = Started("start-cluster")
        begun.hears(said)
        begun.send(signal.SIGKILL)
        begun.ends()
        ended = dr("start-cluster", "--resume", "--json")
        assert ended.code == 0, ended.err
        assert state_of(ended)["primary"] == primary
        events = [record.event for record in read_journal(Path(json.loads(ended.out)["run_dir"])).records]
        assert Event.RESUMED in events
        writing.goes_to_store()
    seen.assert_whole(whole)


@pytest.mark.long
def test_the_old_primary_of_a_failover_stays_down_after_a_power_cut_too(whole: Estate, tmp_path: Path) -> None:
    old, new = seen.roles(whole)
    with load(whole, tmp_path) as writing:
        faults.kill_process(seen.lab_of(whole), old, f"{DATA}/postmaster.pid")
        assert dr("failover", "--yes").code == 0
        writing.goes_to_store()
        faults.site_off(seen.lab_of(whole), NAMES)
        faults.site_on(seen.lab_of(whole), NAMES)
        for name in NAMES:
            whole.host(name).hang_up()
        ended = dr("start-cluster", "--json")
        assert ended.code == 0, ended.err
        assert state_of(ended)["primary"] == new
        assert any(f"./dr rejoin {old}" in sentence for sentence in state_of(ended)["degraded"])  # type: ignore[union-attr]
        assert down(whole, old)
        by_hand = f"systemctl unmask {UNIT}; systemctl start {UNIT} || journalctl -u {UNIT} -n 20 -o cat"
        assert "refusing to start: this host is fenced" in inside(whole, old, by_hand)
        assert down(whole, old)
        writing.goes_to_store()
    assert dr("rejoin", old, "--yes").code == 0
    seen.assert_whole(whole)


@pytest.mark.long
def test_half_a_switchover_is_taken_back(whole: Estate, tmp_path: Path) -> None:
    primary, standby = seen.roles(whole)
    with load(whole, tmp_path) as writing:
        inside(whole, primary, f"systemctl stop {UNIT}; runuser -u postgres -- touch {DATA}/standby.signal")
        crash_everywhere(whole, standby)
        writing.goes_to_outbox()
        ended = dr("start-cluster", "--json")
        assert ended.code == 0, ended.err
        assert (state_of(ended)["primary"], state_of(ended)["how"]) == (primary, "again")
        writing.goes_to_store()
    seen.assert_whole(whole)


@pytest.mark.long
def test_a_failover_that_died_between_fence_and_promotion_is_gone_on_with(whole: Estate, tmp_path: Path) -> None:
    old, new = seen.roles(whole)
    # A promotion asks its archive five times before it begins a timeline: slow enough to end everything before.
    set_by_hand(whole.host(new), restore_command="sleep 1; false")
    with load(whole, tmp_path) as writing:
        faults.kill_process(seen.lab_of(whole), old, f"{DATA}/postmaster.pid")
        begun = Started("failover", "--yes")
        begun.hears("promote: ")
        begun.send(signal.SIGKILL)
        begun.ends()
        assert server.look(whole.host(new), 17).is_standby, "the promotion was quicker than the kill"
        crash_everywhere(whole, new)
        seen.as_declared(whole.host(new))
        dr("start-cluster").assert_told(3, f"{new} is to be promoted", old, hint="./dr start-cluster --yes")
        ended = dr("start-cluster", "--yes", "--json")
        assert ended.code == 0, ended.err
        assert (state_of(ended)["primary"], state_of(ended)["how"]) == (new, "promote")
        writing.goes_to_store()
    assert dr("rejoin", old, "--yes").code == 0
    seen.assert_whole(whole)


@pytest.mark.long
def test_a_promotion_that_broke_off_is_begun_again(whole: Estate, tmp_path: Path) -> None:
    """What a promotion leaves that dies before its first write: no standby.signal, a control file in recovery."""
    old, new = seen.roles(whole)
    with load(whole, tmp_path) as writing:
        crash_everywhere(whole)
        inside(whole, old, "echo by hand >/etc/mystocks-dr/fenced")
        inside(whole, new, f"rm {DATA}/standby.signal")
        writing.goes_to_outbox()
        ended = dr("start-cluster", "--yes", "--json")
        assert ended.code == 0, ended.err
        assert (state_of(ended)["primary"], state_of(ended)["how"]) == (new, "promote")
        writing.goes_to_store()
    assert dr("rejoin", old, "--yes").code == 0
    seen.assert_whole(whole)


def test_without_the_backup_host_nobody_can_be_asked_and_the_permit_starts_it(whole: Estate, tmp_path: Path) -> None:
    primary, _ = seen.roles(whole)
    lab = seen.lab_of(whole)
    with load(whole, tmp_path) as writing:
        faults.power_off(lab, "backup1")
        whole.host("backup1").hang_up()
        crash_everywhere(whole, primary, next(name for name in NAMES if name != primary))
        writing.goes_to_outbox()
        ended = dr("start-cluster", "--json")
        said = json.loads(ended.out)
        assert said["state"]["primary"] == primary
        assert said["steps"][2]["outcome"] == "passed", ended.err
        guard = inside(whole, primary, f"journalctl -u {UNIT} -o cat | grep 'start guard' | tail -n1")
        assert "permitted once by start-cluster" in guard
        faults.power_on(lab, "backup1")
        writing.goes_to_store()


@pytest.mark.long
def test_a_silent_primary_is_waited_for_or_fenced_on_the_operators_word(whole: Estate, tmp_path: Path) -> None:
    primary, standby = seen.roles(whole)
    lab = seen.lab_of(whole)
    with load(whole, tmp_path) as writing:
        faults.power_off(lab, primary)
        whole.host(primary).hang_up()
        crash_everywhere(whole, standby)
        writing.goes_to_outbox()
        dr("start-cluster").assert_told(3, f"{standby} is to be promoted", primary, hint="./dr start-cluster --yes")
        ended = dr("start-cluster", "--yes", "--json")
        assert ended.code == 0, ended.err
        assert (state_of(ended)["primary"], state_of(ended)["how"]) == (standby, "promote")
        writing.goes_to_store()
    faults.power_on(lab, primary)
    assert dr("rejoin", primary, "--yes").code == 0
    seen.assert_whole(whole)
