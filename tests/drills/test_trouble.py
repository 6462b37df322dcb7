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

from inventories.errors import DrError
from lab import faults
from runbooks.actions.postgresql import server as act
from runbooks.engine.journal import Event
from runbooks.engine.journal import read as read_journal
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from runbooks.layout import FENCED, Layout
from runbooks.long_work.work import Asker
from runbooks.probes import app
from runbooks.probes.postgresql import pgbackrest, server
from runbooks.procedures.postgresql.failover import FAILOVER
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
    inside(estate, host, "systemctl stop ssh")
    estate.host(host).hang_up()


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
            refused.assert_told(3, "no standby keeps up", standby, "no answer at", hint="./dr status")
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
        inside(whole, standby, "mv /root/.ssh/authorized_keys /root/.ssh/away")
        whole.host(standby).hang_up()
        try:
            status = dr("status", "--json")
            assert status.code == 1
            node = next(n for n in json.loads(status.out)["nodes"] if n["name"] == standby)
            assert "Permission denied" in node["why"]
            dr("deploy", "--limit", standby).assert_told(1, standby, hint="may be repeated")
        finally:
            inside(whole, standby, "mv /root/.ssh/away /root/.ssh/authorized_keys")
        until(lambda: dr("status"), 30, what="a status without findings", accept=lambda said: said.code == 0)

    def test_marker_that_somebody_wrote_by_hand_is_read_whatever_it_holds(self, whole: Estate) -> None:
        _, standby = seen.roles(whole)
        host = whole.host(standby)
        try:
            for text, told in (('say "no"\\\nto pg1\n', "say 'no'/ to pg1"), ("", "no reason given")):
                host.run("printf '%%s' %s > %s", text, FENCED)
                assert server.look(host, 17).fenced == told
        finally:
            host.run("rm -f %s", FENCED)


class TestHungPrimary:
    """The postmaster stands still, as with a disk that does not answer: its host lives, and keeps its power."""

    def test_it_is_told_from_a_dead_host_and_killed_over_ssh(self, whole: Estate) -> None:
        primary, standby = seen.roles(whole)
        inside(whole, primary, f"kill -STOP $(head -n1 {DATA}/postmaster.pid)")
        node = server.look(whole.host(primary), 17)
        assert node.answer is server.Answer.UNKNOWN and node.hangs and node.ssh, node
        assert "PostgreSQL hangs" in node.why
        told = dr("status", "--json")
        hung = next(one for one in json.loads(told.out)["nodes"] if one["name"] == primary)
        assert (told.code, hung["role"]) == (1, "unknown")
        ended = dr("failover", "--yes", "--json")
        assert ended.code == 0, ended.err
        assert state_of(ended)["fenced_by"] == "ssh"
        assert faults.is_running(seen.lab_of(whole), primary), "its power was cut, and nobody asked for that"
        assert server.look(whole.host(primary), 17).answer is server.Answer.DOWN
        assert server.look(whole.host(standby), 17).is_primary
        seen.rejoin(whole)
        seen.assert_whole(whole)


def test_benchmark_takes_no_lab_that_is_there_already(whole: Estate) -> None:
    dr("bench", "--lab", seen.lab_of(whole)).assert_told(3, "is there already", hint="./dr lab.down")
    assert dr("lab.status").code == 0


def test_lag_that_a_switchover_would_wait_for_refuses_it(whole: Estate) -> None:
    """Replay that stands still, once because it was told to and once because its process hangs."""
    primary, standby = (whole.host(name) for name in seen.roles(whole))
    standby.execute("SELECT pg_wal_replay_pause();")
    try:
        refused = dr("switchover", "--yes")
        refused.assert_told(3, f"{standby} has been told to pause its replay", hint="pg_wal_replay_resume")
        assert dr("status").code == 1
    finally:
        standby.execute("SELECT pg_wal_replay_resume();")
    startup = standby.run("pgrep -f %s", "^postgres: 17/main: startup").text
    standby.run("kill -STOP %s", startup)
    try:
        primary.execute(
            "SELECT pg_logical_emit_message(true, 'test', repeat('x', 1000000)) FROM generate_series(1, 20);"
        )
        refused = dr("switchover", "--yes")
        refused.assert_told(3, f"{standby} is ", f"bytes behind {primary}, more than 16777216", hint="./dr status")
        assert f"replication lag of {standby}" in dr("status", "--json").out
    finally:
        standby.run("kill -CONT %s", startup)
    until(lambda: dr("status").code, 30, what="a status without findings", accept=lambda code: code == 0)


@dataclass(frozen=True)
class Interrupted:
    """A failover that was stopped, killed, interrupted and resumed, and what was said meanwhile."""

    old: str
    new: str
    timeline: int
    second: Ended
    elsewhere: Ended
    interrupted: Ended
    resumed: Ended
    steps: tuple[tuple[str, str], ...]  # (event, step) of the whole journal


@pytest.fixture(scope="class")
def ended(whole: Estate, tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    old, new = seen.roles(whole)
    timeline = seen.timeline(whole)
    elsewhere = seen.as_another_operator(whole, tmp_path_factory.mktemp("elsewhere"))
    with load(whole, tmp_path_factory.mktemp("load")) as writing:
        crash(whole, old)
        writing.goes_to_outbox()
        first = Started("failover", "--yes")
        first.hears("promote: ")
        first.send(signal.SIGSTOP)
        second = dr("switchover", "--yes")
        third = dr("failover", "--yes", "--inventory", elsewhere.inventory, env=elsewhere.environment)
        first.send(signal.SIGKILL)
        assert first.ends().code == -signal.SIGKILL
        again = Started("failover", "--resume", "--yes")
        again.hears("verify: ")
        again.send(signal.SIGINT)
        interrupted = again.ends()
        resumed = dr("failover", "--resume", "--yes", "--json")
        writing.goes_to_store()
    records = read_journal(Path(str(journal(resumed)["run_dir"]))).records
    steps = tuple((record.event, record.step) for record in records if record.step)
    return Interrupted(old, new, timeline, second, third, interrupted, resumed, steps)


class TestKilledFailover:
    """SIGKILL in the middle of the promotion, Ctrl-C in the verification; then the host that it fenced."""

    def test_second_runbook_is_refused_and_told_who_runs_the_first(self, ended: Interrupted) -> None:
        ended.second.assert_told(3, "has been running failover on this estate for", "process", hint="--resume")

    def test_operator_at_another_machine_is_refused_by_the_lock_on_the_backup_host(self, ended: Interrupted) -> None:
        ended.elsewhere.assert_told(3, "has been running failover on this estate for", "last sign of life")

    def test_ctrl_c_ends_with_4_and_says_how_to_go_on(self, ended: Interrupted) -> None:
        ended.interrupted.assert_told(4, "failover was interrupted", hint="--resume")

    def test_resumed_run_ends_well_and_did_nothing_twice(self, whole: Estate, ended: Interrupted) -> None:
        assert ended.resumed.code == 0, ended.resumed.err
        said = state_of(ended.resumed)
        assert (said["primary"], said["other"]) == (ended.new, ended.old)
        assert seen.timeline(whole) == ended.timeline + 1
        done = [step for event, step in ended.steps if event in (Event.STEP_DONE, Event.STEP_SKIPPED)]
        assert tuple(done) == FAILOVER.step_names
        begun = [step for event, step in ended.steps if event == Event.STEP_STARTED]
        assert {step for step in begun if begun.count(step) > 1} == {"promote", "verify"}

    def test_nothing_is_left_to_resume(self, ended: Interrupted) -> None:
        dr("failover", "--resume", "--yes").assert_told(2, "there is nothing to resume", hint="afresh")

    def test_deploy_changes_nothing_on_an_estate_with_a_fenced_host(self, whole: Estate, ended: Interrupted) -> None:
        status = dr("status")
        assert status.code == 1
        assert "fenced" in status.out
        deployed = dr("deploy")
        assert deployed.code == 0, deployed.err
        assert "nothing changed" in deployed.out
        nodes = {node.name: node for node in server.survey(whole)}
        assert nodes[ended.old].fenced and not nodes[ended.old].online
        assert nodes[ended.new].is_primary and not nodes[ended.new].synchronous

    def test_old_primary_stays_down_whatever_is_taken_from_its_fence(self, whole: Estate, ended: Interrupted) -> None:
        host = whole.host(ended.old)
        assert "masked" in start(whole, ended.old)
        host.run(f"systemctl unmask {UNIT}")
        assert "this host is fenced (failover to" in start(whole, ended.old)
        host.run("rm %s", FENCED)
        # The guard's own copy of the estate record knows the successor.
        knows = f"refusing to start: the estate record knows {ended.new} as primary"
        assert knows in start(whole, ended.old)
        assert knows in start(whole, ended.old, f"pg_ctlcluster 17 main start; systemctl start {UNIT}")
        faults.power_off(seen.lab_of(whole), ended.old)
        faults.power_on(seen.lab_of(whole), ended.old)
        assert not server.look(host, 17).online

    def test_wrecked_old_primary_comes_back_from_the_repository(self, whole: Estate, ended: Interrupted) -> None:
        host = whole.host(ended.old)
        host.run("rm %s/global/pg_control", DATA)
        came_back = dr("rejoin", ended.old, "--yes", "--json")
        assert came_back.code == 0, came_back.err
        assert state_of(came_back)["rebuilt_by"] == "re-clone from the repository"
        assert "cannot say which timeline it wrote" in came_back.err
        seen.assert_whole(whole)


def start(estate: Estate, host: str, command: str = f"systemctl start {UNIT}") -> str:
    """Try to start PostgreSQL as somebody at the console would; what it and its journal said. It must not run."""
    script = f"{command} 2>&1 && echo STARTED; journalctl -u {UNIT} -n 5 -o cat --no-pager"
    said = estate.host(host).run(script, expect=None, timeout=60).stdout
    assert "STARTED" not in said, said
    assert estate.host(host).run("ss -Hltn 'sport = :5432'").text == ""
    return said


@pytest.mark.long
class TestLossThatWasAccepted:
    """The standby lacks acknowledged rows: promoting it is refused, and what it lacks is kept when it is accepted."""

    def test_stale_standby_is_promoted_only_when_the_loss_is_accepted_and_what_it_lacked_is_kept(
        self, whole: Estate
    ) -> None:
        primary, standby = seen.roles(whole)
        faults.isolate(seen.lab_of(whole), primary, [whole.host(standby).address])
        detached = dr("detach", "--yes")
        assert detached.code == 0, detached.err
        assert "DEGRADED" in detached.out
        # Else the standby would have what it lacks from the archive.
        faults.isolate(seen.lab_of(whole), primary, [whole.backup.address])
        alone = [app.try_to_write(whole.app, 5.0, primary) for _ in range(3)]
        whole.host(primary).execute("SELECT pg_switch_wal();")
        alone.append(app.try_to_write(whole.app, 5.0, primary))
        assert all(attempt.wrote for attempt in alone)
        dr("switchover", "--yes").assert_told(3, f"no standby keeps up with {primary}")
        faults.power_off(seen.lab_of(whole), primary)
        refused = dr("failover", "--yes")
        refused.assert_told(3, f"promoting {standby} may lose acknowledged rows", hint="--accept-loss")
        assert server.look(whole.host(standby), 17).is_standby
        accepted = dr("failover", "--yes", "--accept-loss", "--json")
        assert accepted.code == 0, accepted.err
        assert state_of(accepted)["possible_loss_bytes"] is None

        dr("rejoin", "--yes").assert_told(3, f"{primary} cannot be reached", hint="power it on")
        faults.power_on(seen.lab_of(whole), primary)
        assert commits_kept_without_the_segment_of_the_fork(whole, primary, standby) >= 1
        came_back = dr("rejoin", "--yes", "--json")
        assert came_back.code == 0, came_back.err
        said = state_of(came_back)
        assert said["rebuilt_by"] == "pg_rewind"
        commits, folder = said["kept_commits"], str(said["kept"])
        assert isinstance(commits, int) and commits >= len(alone)
        files = whole.host(primary).run("ls %s", folder).text.split()
        assert "commits.txt" in files
        assert any(len(name) == 24 for name in files), files
        assert int(whole.host(primary).run("grep -c COMMIT %s/commits.txt", folder).text) == commits
        seen.assert_whole(whole)


def commits_kept_without_the_segment_of_the_fork(estate: Estate, old: str, new: str) -> int:
    """A server that wrote on alone for long may have recycled it: what is left is kept, and called incomplete."""
    host, folder = estate.host(old), "/var/lib/postgresql/mystocks-kept/incomplete"
    timeline = server.last_timeline(host, 17)
    fork = server.fork_points(estate.host(new), 17, timeline + 1)[timeline]
    first = server.segment(timeline, fork)
    host.run("mv %s/pg_wal/%s /var/lib/postgresql/away", DATA, first)
    try:
        act.keep_fork(host, LAYOUT, timeline, server.as_lsn(fork), first, folder, Asker.door("a test"))
        assert {"commits.txt", "incomplete"} <= set(host.run("ls %s", folder).text.split())
        return int(host.run("grep -c COMMIT %s/commits.txt", folder, expect=None).text)
    finally:
        host.run("mv /var/lib/postgresql/away %s/pg_wal/%s; rm -rf %s", DATA, first, folder)


@pytest.mark.long
class TestBackupHostAway:
    """Nobody can say what the standby has, and nobody could note it."""

    def test_recovery_goes_on_without_the_backup_host_and_nothing_is_risked_unasked(
        self, whole: Estate, tmp_path: Path
    ) -> None:
        primary, standby = seen.roles(whole)
        with load(whole, tmp_path) as writing:
            faults.power_off(seen.lab_of(whole), "backup1")
            dr("switchover", "--yes").assert_told(3, "backup1 does not answer SSH", hint="bring it back")

            whole.host(standby).run(f"systemctl stop {UNIT}")
            writing.goes_to_outbox()
            refused = dr("detach", "--yes")
            refused.assert_told(3, "backup1 keeps the estate record and is away", hint="--accept-no-arbiter")
            whole.host(standby).run(f"systemctl start {UNIT}")
            writing.goes_to_store()

            crash(whole, primary)
            writing.goes_to_outbox()
            refused = dr("failover", "--yes")
            refused.assert_told(3, "the newest copy of the record", "may not be the newest", hint="--accept-no-arbiter")
            accepted = dr("failover", "--yes", "--accept-no-arbiter", "--json")
            assert accepted.code == 0, accepted.err
            shown = dr("record.show")
            assert shown.code == 1 and f"{standby} is primary" in shown.out and "copy on" in shown.out
            degraded = state_of(accepted)["degraded"]
            assert isinstance(degraded, list)
            assert any("backup1 does not answer: no backup is taken" in sentence for sentence in degraded)
            writing.goes_to_store()
        status = dr("status", "--json")
        assert status.code == 1
        assert "backup repository" in {finding["objective"] for finding in json.loads(status.out)["findings"]}
        faults.power_on(seen.lab_of(whole), "backup1")
        until(lambda: whole.backup.reachable(), 30, what="SSH of backup1")
        assert "written while the arbiter was away" in dr("record.show").out
        came_back = dr("rejoin", "--reclone", "--yes", "--json")
        assert came_back.code == 0, came_back.err
        assert state_of(came_back)["rebuilt_by"] == "re-clone from the repository"
        seen.assert_whole(whole)


@pytest.mark.long
class TestFullDisks:
    """A small file system in the place of a big one, and a file that fills it."""

    def test_full_repository_is_told_stops_no_writing_and_catches_up(self, whole: Estate, tmp_path: Path) -> None:
        primary = whole.host(seen.roles(whole)[0])
        with (
            load(whole, tmp_path) as writing,
            seen.small_disk(whole, "backup1", "/var/lib/pgbackrest", "pgbackrest-server") as disk,
        ):
            disk.fill()
            primary.execute("SELECT pg_switch_wal();")
            until(lambda: pgbackrest.archiving(primary).failing, 60, what="an archiver that fails")
            status = dr("status", "--json")
            assert status.code == 1
            told = {finding["objective"] for finding in json.loads(status.out)["findings"]}
            assert {f"archiver of {primary}", "disk /var/lib/pgbackrest of backup1"} <= told
            writing.writes_on()
            assert writing.view().by_outbox == 0
            moved = dr("switchover", "--yes")
            moved.assert_told(1, "/var/lib/pgbackrest on backup1 is full", "takes no WAL", hint="make room there")
            writing.goes_to_store()
            disk.empty()
            until(lambda: archives_all(whole), 90, what="an archive that has everything", every=1)
            resumed = dr("switchover", "--yes", "--resume")
            assert resumed.code == 0, resumed.err
            assert dr("status").code == 0

    def test_full_wal_disk_sends_writes_to_the_outbox_and_room_brings_them_back(
        self, whole: Estate, tmp_path: Path
    ) -> None:
        primary = whole.host(seen.roles(whole)[0])
        with (
            seen.small_disk(whole, primary.name, f"{DATA}/pg_wal", UNIT) as disk,
            load(whole, tmp_path) as writing,
        ):
            disk.fill()
            until(lambda: not writes_wal(primary), 60, what="the end of the segments that are there already", every=0)
            writing.goes_to_outbox()
            until(lambda: not server.look(primary, 17).online, 60, what="a server that cannot write")
            writing.writes_on()
            status = dr("status", "--json")
            assert status.code == 1
            told = {finding["objective"]: finding for finding in json.loads(status.out)["findings"]}
            assert "100% full" in told[f"disk {DATA}/pg_wal of {primary}"]["measured"]
            assert "hosts that take writes" in told
            disk.empty()
            deployed = dr("deploy", "--limit", primary.name)
            assert deployed.code == 0, deployed.err
            writing.goes_to_store()
        seen.assert_whole(whole)


def writes_wal(primary: Host) -> bool:
    """Use up one segment of WAL, if the server still can."""
    try:
        primary.execute("SELECT pg_logical_emit_message(false, 'test', 'x'); SELECT pg_switch_wal();", timeout=10)
    except DrError:
        return False
    return True


def archives_all(estate: Estate) -> bool:
    """Wakes the archiver, which sleeps for a minute after three failures."""
    primary = server.the_primary(server.survey(estate)).host
    primary.execute("SELECT pg_switch_wal();")
    archiver = pgbackrest.archiving(primary)
    return not archiver.failing and archiver.waiting == 0


@pytest.mark.long
class TestHostsRemovedByHand:
    """A container, and its disk with it, is gone."""

    def test_standby_without_its_disk_is_cloned_by_lab_up_and_deploy(self, whole: Estate, tmp_path: Path) -> None:
        _, standby = seen.roles(whole)
        with load(whole, tmp_path) as writing:
            seen.remove(whole, standby)
            writing.goes_to_outbox()
            writing.writes_on()
            assert dr("lab.status").code == 1
            assert dr("lab.up").code == 0
            status = dr("status", "--json")
            assert status.code == 1
            told = {finding["objective"]: finding for finding in json.loads(status.out)["findings"]}
            assert told[f"{standby} as a standby"]["measured"] == "PostgreSQL is not installed"
            dr("rejoin", "--yes").assert_told(3, f"PostgreSQL is not installed on {standby}", hint="./dr deploy")
            deployed = dr("deploy")
            assert deployed.code == 0, deployed.err
            writing.goes_to_store()
        assert dr("status").code == 0
        seen.assert_whole(whole)

    def test_primary_without_its_disk_is_failed_over_and_becomes_a_standby_whatever_the_inventory_says(
        self, whole: Estate, tmp_path: Path
    ) -> None:
        primary, standby = seen.roles(whole)
        with load(whole, tmp_path) as writing:
            seen.remove(whole, primary)
            writing.goes_to_outbox()
            recovered = dr("failover", "--yes")
            assert recovered.code == 0, recovered.err
            writing.goes_to_store()
            assert dr("lab.up").code == 0
            deployed = dr("deploy")
            assert deployed.code == 0, deployed.err
            writing.writes_on()
        assert seen.roles(whole) == (standby, primary)
        assert dr("status").code == 0

    def test_deploy_begins_no_empty_database_where_the_primary_lost_its_data(
        self, whole: Estate, tmp_path: Path
    ) -> None:
        primary, standby = seen.roles(whole)
        if primary not in whole.groups["pg_primary"]:
            assert dr("switchover", "--yes").code == 0
            primary, standby = standby, primary
        host = whole.host(primary)
        with load(whole, tmp_path) as writing:
            crash(whole, primary)
            host.run("rm -rf %s", DATA)
            deployed = dr("deploy", "--limit", primary)
            deployed.assert_told(1, "start guard: refusing to start", "this cluster is empty", "./dr failover")
            writing.goes_to_outbox()
            recovered = dr("failover", "--yes")
            assert recovered.code == 0, recovered.err
            writing.goes_to_store()
            came_back = dr("rejoin", "--yes", "--json")
            assert came_back.code == 0, came_back.err
            assert state_of(came_back)["rebuilt_by"] == "re-clone from the repository"
        seen.assert_whole(whole)
