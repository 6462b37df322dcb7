"""The estate record on real hosts: an undo keeps what it promises, a lock can be broken, nothing unseen is fine."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from inventories.errors import Refused
from lab import faults
from runbooks.actions.postgresql import side as sides
from runbooks.engine.lock import held, this_process
from runbooks.engine.procedure import replace_step
from runbooks.engine.rundir import new_run_dir
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Run
from runbooks.layout import DATA, FENCED
from runbooks.long_work.seen import Phase
from runbooks.long_work.work import Work, look
from runbooks.probes.postgresql import server
from runbooks.procedures.postgresql import pitr_swap
from runbooks.procedures.postgresql.pitr_state import SIDE, RestorePitr, RestorePitrOptions
from runbooks.procedures.postgresql.restore_pitr import RESTORE_PITR
from runbooks.record.arbiter import PATH, FileOn
from runbooks.record.lock import RecordLock
from runbooks.record.read import pages
from runbooks.record.types import Known, Mode, Record
from runbooks.run import execute
from tests.drills import estate as seen
from tests.drills.doors import Started, dr
from tests.drills.estate import UNIT, inside

pytestmark = [pytest.mark.lab, pytest.mark.destructive, pytest.mark.timeout(600)]
TABLE = "undo_rows"


@pytest.fixture(scope="class")
def whole(estate_lab: Estate) -> Iterator[Estate]:
    """A whole estate, whatever the class before left."""
    seen.make_whole(estate_lab)
    yield estate_lab
    seen.power_on(estate_lab)


def record(estate: Estate) -> Record:
    answer = pages(estate).answer
    assert isinstance(answer, Known), answer
    return answer.record


def insert(estate: Estate, host: str, seconds: int) -> bool:
    """Whether 1,000 rows were acknowledged within so many seconds."""
    sql = f"create table if not exists {TABLE} (id int); insert into {TABLE} select generate_series(1, 1000)"
    ran = estate.host(host).run(
        "timeout %s psql -qX -v ON_ERROR_STOP=1 -d postgres -c %s", seconds, sql, user="postgres", expect=None
    )
    return ran.rc == 0


@dataclass
class Undone:
    estate: Estate
    primary: str
    standby: str


@pytest.fixture(scope="class")
def undone(whole: Estate) -> Undone:
    primary, standby = seen.roles(whole)
    running = Started("switchover", "--yes")
    running.hears("settle:")
    whole.host(standby).execute("select pg_wal_replay_pause()")
    ended = running.ends(300)
    assert ended.code == 1, ended.err
    assert "undo step-down" in ended.err
    whole.host(standby).execute("select pg_wal_replay_resume()")
    return Undone(whole, primary, standby)


class TestUndoneSwitchover:
    """F18: replay is paused right after `settle`, the switchover is undone, then the primary is lost."""

    def test_undo_puts_back_that_commits_wait_and_the_record_says_what_is_so(self, undone: Undone) -> None:
        node = server.look(undone.estate.host(undone.primary), 17)
        assert node.is_primary and node.synchronous
        known = record(undone.estate)
        assert known.steady and (known.primary, known.synchronous) == (undone.primary, (undone.standby,))

    def test_without_the_standby_nothing_is_acknowledged(self, undone: Undone) -> None:
        inside(undone.estate, undone.standby, f"systemctl stop {UNIT}")
        assert not insert(undone.estate, undone.primary, 5)
        # One that was acknowledged all the same would be lost below.

    def test_rows_that_were_committed_alone_on_purpose_are_not_called_safe(self, undone: Undone) -> None:
        """The operator's way to go on; the standby then comes back alone, behind, and must not be promoted."""
        assert dr("detach", "--yes").code == 0
        assert record(undone.estate).mode is Mode.DEGRADED
        assert insert(undone.estate, undone.primary, 20)
        faults.power_off(seen.lab_of(undone.estate), undone.primary)
        undone.estate.host(undone.primary).hang_up()
        inside(undone.estate, undone.standby, f"systemctl start {UNIT}")
        until(lambda: server.look(undone.estate.host(undone.standby), 17).is_standby, 30, what="a standby")
        refused = dr("failover", "--yes")
        words = ("may lose acknowledged rows", f"have not waited for {undone.standby}")
        refused.assert_told(3, *words, hint="start-cluster")

    def test_rows_come_back_with_their_host(self, undone: Undone) -> None:
        faults.power_on(seen.lab_of(undone.estate), undone.primary)
        until(lambda: undone.estate.host(undone.primary).reachable(), 30, what="SSH")
        assert dr("start-cluster", "--yes").code == 0
        rows = undone.estate.host(undone.primary).query(f"select count(*) as n from {TABLE}")
        assert rows[0]["n"] >= 1000
        undone.estate.host(undone.primary).execute(f"drop table {TABLE}")


class TestLock:
    """Who acts is in the record; another machine's lock is broken by a person."""

    def test_a_lock_of_another_machine_refuses_and_is_broken_with_a_word(self, whole: Estate) -> None:
        owner = this_process("failover", new_run_dir("elsewhere"), resumes=False).model_copy(
            update={"machine": "another machine", "boot": "another boot", "owner": "ann@laptop"}
        )
        RecordLock(FileOn(whole.backup), seen.quiet).acquire(owner)
        assert "ann@laptop is running failover" in dr("lock.status").out
        dr("switchover", "--yes").assert_told(3, "ann@laptop", hint="lock.break")
        dr("deploy").assert_told(3, "ann@laptop", hint="lock.break")
        dr("lock.break").assert_told(3, "sign of life", hint="--yes")
        assert dr("lock.break", "--yes").code == 0
        assert "Nobody is acting" in dr("lock.status").out
        dr("lock.break", "--yes").assert_told(3, "no lock to break")

    def test_a_run_leaves_no_lock_behind_and_another_estate_user_is_refused_meanwhile(self, whole: Estate) -> None:
        owner = this_process("toy", new_run_dir("toy"), resumes=False)
        with held("another state folder", owner, seen.quiet, RecordLock(FileOn(whole.backup), seen.quiet)) as locks:
            locks.require()
            with pytest.raises(Refused, match="has been running toy"):
                rival = this_process("toy", new_run_dir("toy"), resumes=False).model_copy(update={"token": "rival"})
                RecordLock(FileOn(whole.backup), seen.quiet).acquire(rival)
        assert FileOn(whole.backup).show()["acting"] is None


    def test_a_swap_whose_lock_was_broken_stops_at_its_next_gate_and_takes_it_no_more(self, whole: Estate) -> None:
        """It used to write the record as it fenced, find the lock free, take it, and exchange beside whoever acted."""
        primary, standby = seen.roles(whole)
        before, ann = seen.timeline(whole), RecordLock(FileOn(whole.backup), seen.quiet)
        theirs = this_process("deploy", new_run_dir("elsewhere"), resumes=False).model_copy(
            update={"machine": "another machine", "boot": "another boot", "owner": "ann@laptop"}
        )

        def promoted(context: Run, state: RestorePitr) -> RestorePitr:
            state = pitr_swap.promote_side(context, state)
            assert context.owner
            broken = {"token": context.owner.token, "by": "ann@laptop", "yes": True}
            FileOn(whole.backup).change("break", broken)
            ann.acquire(theirs)
            return state

        now = str(whole.host(primary).query("select clock_timestamp()::text as now")[0]["now"])
        options = RestorePitrOptions(to_time=now, replace=True, swap=True, yes=True)
        ended = execute(replace_step(RESTORE_PITR, "promote-side", action=promoted), whole, options, seen.quiet)
        assert (ended.exit_code, ended.steps[-1].name) == (3, "promote-side"), ended.error
        assert "the lock of this run was broken: ann@laptop acts now" in ended.error
        assert "./dr lock.status" in ended.hint and "--resume" in ended.hint
        assert FileOn(whole.backup).show()["acting"]["token"] == theirs.token
        assert (seen.roles(whole), seen.timeline(whole)) == ((primary, standby), before)
        assert record(whole).steady
        ann.release(theirs)
        dr("restore-pitr", "--resume", "--yes").assert_told(3, "ann@laptop has begun deploy", hint="afresh")
        sides.drop(whole.host(primary), SIDE, 60)


class TestReclone:
    """A standby that is out is named by the record as long as commits wait for it, until its data are replaced."""

    def test_a_copy_that_is_being_made_again_is_none_that_a_failover_takes(self, whole: Estate) -> None:
        primary, standby = seen.roles(whole)
        host, work = whole.host(standby), Work(DATA, "reclone", ())
        inside(whole, standby, f"systemctl stop {UNIT}")
        assert record(whole).synchronous == (standby,), "nothing is acknowledged without it"
        running = Started("rejoin", standby, "--reclone", "--yes")
        running.hears("reclone works as mystocks-data-reclone.service")
        running.send(signal.SIGKILL)
        running.ends()
        known = record(whole)
        assert known.steady and known.synchronous == () and f"replaces the data of {standby}" in known.why
        until(lambda: look(host, work).phase, 120, what="its end", accept=lambda phase: phase is not Phase.RUNNING)

        faults.power_off(seen.lab_of(whole), primary)
        whole.host(primary).hang_up()
        inside(whole, standby, f"rm -f {FENCED}; systemctl unmask {UNIT}; systemctl start {UNIT}")
        until(lambda: server.look(host, 17), 60, what="a standby", accept=lambda node: node.is_standby)
        words = ("may lose acknowledged rows", f"have not waited for {standby}")
        dr("failover", "--yes").assert_told(3, *words, hint="start-cluster")

        faults.power_on(seen.lab_of(whole), primary)
        until(lambda: whole.host(primary).reachable(), 30, what="SSH")
        assert dr("start-cluster", "--yes").code == 0
        seen.make_whole(whole)
        assert record(whole).synchronous == (standby,)


class TestBelief:
    """What cannot be believed is unknown, never fine, and one command mends it."""

    def test_a_record_edited_by_hand_is_unknown_and_put_aside_with_a_word(self, whole: Estate) -> None:
        before = record(whole)
        inside(whole, whole.backup.name, f"sed -i 's/\"timeline\": /\"timeline\": 1/' {PATH}")
        status = dr("status", "--json")
        assert status.code == 1
        finding = next(one for one in json.loads(status.out)["findings"] if one["objective"] == "estate record")
        assert "edited by hand" in finding["measured"] and "record.settle" in finding["hint"]
        dr("switchover", "--yes").assert_told(3, "edited by hand", hint="record.settle")
        dr("record.settle").assert_told(3, "edited by hand", hint="record.settle --yes")
        assert dr("record.settle", "--yes").code == 0
        after = record(whole)
        assert (after.primary, after.timeline) == (before.primary, before.timeline)
        assert after.synchronous == before.synchronous
        seen.assert_whole(whole)

    def test_a_record_lost_on_the_arbiter_comes_back_with_the_next_deploy(self, whole: Estate) -> None:
        inside(whole, whole.backup.name, f"rm {PATH}")
        shown = dr("record.show")
        assert shown.code == 1 and f"{whole.backup} has no record" in shown.out
        assert dr("deploy").code == 0
        seen.assert_whole(whole)
