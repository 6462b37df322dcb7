"""A clock that is wrong, on any one host and in either direction: jobs wait and say so, and nothing expires by it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.base import clock
from agents.jobs import alarm, in_step, leases, proofs, proving, runner
from agents.jobs import state as jobs_state
from agents.jobs.in_step import Clock, Reading, judge, why_not
from agents.jobs.proofs import Proof
from agents.postgresql import expire, promotion
from tests.unit.jobs_kit import BackupHost, backup_host

DAYS_60 = 60 * 86400.0
JUMPS = [DAYS_60, -DAYS_60]
AGREES = (Reading("pg1", 0.0, primary=True), Reading("pg2", 0.0))
Jump = Callable[[float], None]


@pytest.fixture
def host(tmp_path: Path) -> BackupHost:
    return backup_host(tmp_path)


@pytest.fixture
def jump(monkeypatch: pytest.MonkeyPatch) -> Jump:
    """Set this host's clock by so many seconds; the count of seconds since its boot goes on."""
    real = time.time

    def set_by(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: real() + seconds)

    monkeypatch.setattr(in_step, "disciplined", lambda: None)
    monkeypatch.setattr(runner, "SETTLES_S", 0.0)
    return set_by


def others(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Database hosts whose clocks are right, whatever this host's says."""
    boot, right = clock.since_boot(), time.time()

    def ask(database: object) -> list[Reading]:
        ahead = right + clock.since_boot() - boot - time.time()
        return [Reading(name, 0.0 if abs(ahead) < clock.SLACK_S else ahead, name == "pg1") for name in names]

    monkeypatch.setattr(in_step, "ask", ask)


def test_clocks_that_agree_are_in_step() -> None:
    assert judge(AGREES, None, None) == Clock(True, primary="pg1")
    assert judge((Reading("pg1", 59.0),), None, None).in_step, "what is within the slack is no difference"


@pytest.mark.parametrize("ahead", JUMPS)
def test_the_one_clock_that_differs_is_the_wrong_one(ahead: float) -> None:
    word = "behind" if ahead > 0 else "ahead of"  # theirs is ahead where ours is behind
    mine = judge([Reading("pg1", ahead, True), Reading("pg2", ahead)], None, None)
    assert (mine.in_step, mine.truth_s) == (False, ahead)
    assert mine.sentence == f"the clock of {in_step.me()} is 60.0 d {word} the others'"
    theirs = judge([Reading("pg1", ahead, True), Reading("pg2", 0.0)], None, None)
    assert (theirs.in_step, theirs.wrong) == (True, {"pg1": ahead})
    assert theirs.sentence.startswith("the clock of pg1 is 60.0 d ")


def test_two_clocks_that_differ_contradict_each_other_until_something_else_tells() -> None:
    alone = [Reading("pg1", DAYS_60, True)]
    assert judge(alone, None, None).contradicted
    assert "too few answer to tell which is right" in judge(alone, None, None).sentence
    assert judge(alone, 0.0, None).wrong == {"pg1": DAYS_60}, "what this host has counted since it was in step"
    assert judge(alone, DAYS_60, None).in_step is False
    assert judge(alone, None, True).wrong == {"pg1": DAYS_60}, "the kernel says that ours is disciplined"
    assert judge([], None, None) == Clock(None)


def test_which_jobs_wait_for_which_clock() -> None:
    wrong = judge([Reading("pg1", DAYS_60), Reading("pg2", DAYS_60)], None, None)
    assert all(why_not(wrong, job) for job in runner.COMMANDS if job != "check")
    assert why_not(wrong, "check") == "", "whether WAL is archived must be known at any time"
    primary = judge([Reading("pg1", DAYS_60, True), Reading("pg2", 0.0)], None, None)
    assert "pg1 is 60.0 d ahead of the others', and it would name the backup" in why_not(primary, "incr")
    assert why_not(primary, "prove") == ""
    standby = judge([Reading("pg1", 0.0, True), Reading("pg2", DAYS_60)], None, None)
    assert why_not(standby, "incr") == ""
    assert "nobody can be asked" in why_not(judge([], None, None), "expire")
    assert why_not(judge([], None, None), "prove") == ""


@pytest.mark.parametrize("seconds", JUMPS)
def test_a_job_waits_for_the_clock_and_says_so(host: BackupHost, jump: Jump, seconds: float) -> None:
    host.servers_are_ahead(int(seconds))
    host.change(database={**json.loads((host.folder / "jobs.json").read_text())["database"], "hosts": [
        {"name": "pg1", "address": "192.0.2.21"}, {"name": "pg2", "address": "192.0.2.22"}
    ]})  # fmt: skip
    _, err = host.run("run", "full", code=3)
    assert f"full waits for a clock: the clock of {in_step.me()} is 60.0 d" in err
    assert err.splitlines()[-1].startswith("HINT: `chronyc makestep`")
    assert host.calls == []


@pytest.mark.parametrize("seconds", JUMPS)
def test_the_catch_up_runs_nothing_by_a_wrong_clock_raises_the_alarm_and_keeps_the_right_time(
    host: BackupHost, jump: Jump, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    told: list[str] = []
    monkeypatch.setattr(runner, "raise_alarm", lambda settings, sentences: told.extend(sentences))
    monkeypatch.setattr(promotion, "hindered", lambda *_: [])
    others(monkeypatch, "pg1", "pg2")
    now = time.time()
    for job in host.settings.jobs:
        host.note(job, armed_at=now, last_success_at=now)
    in_step.look(host.settings)
    jump(seconds)
    assert runner.catch_up(host.settings) == []
    assert [one for one in told if f"the clock of {in_step.me()} is 60.0 d" in one]
    assert not [one for one in told if "has not succeeded" in one], "no job is late by the right time"
    assert abs(in_step.now(host.settings) - now) < 60
    others(monkeypatch)
    assert abs(in_step.now(host.settings) - now) < 60, "also while nobody answers"


def test_a_doubt_is_asked_after_before_it_is_told(
    host: BackupHost, jump: Jump, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that slept: every clock of it was set, and agrees with the others."""
    others(monkeypatch, "pg1", "pg2")
    in_step.look(host.settings)
    jump(DAYS_60)
    assert "ahead of the others'" in str(runner.status(host.settings)["late"])
    monkeypatch.setattr(in_step, "ask", lambda database: list(AGREES))
    assert "clock" not in str(runner.status(host.settings)["late"])


@pytest.mark.parametrize("seconds", JUMPS)
def test_absence_is_the_alarm_whatever_the_clock_says(
    host: BackupHost, jump: Jump, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """A success was noted by a clock that was wrong, in a boot that is over; then the clock was set right."""
    monkeypatch.setattr(in_step, "ask", lambda database: [])
    now = time.time()
    host.note("full", armed_at=now + seconds, last_success_at=now + seconds)
    proofs.append(Proof("20260101-000000F", now + seconds, True), host.settings.proofs)
    host.change(jobs={"prove": {}})
    host.note("prove", armed_at=0.0, last_success_at=now + seconds)
    late = {one.what for one in alarm.late(host.settings, jobs_state.arm(host.settings), now)}
    assert {"full", "prove", "proof"} <= late


@pytest.mark.parametrize("seconds", JUMPS)
def test_nothing_expires_by_a_wrong_clock(
    host: BackupHost, jump: Jump, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setenv("PATH", f"{host.folder}/bin", prepend=":")
    host.change(retention={"full_copies": 1, "days": 28})
    labels = [time.strftime("%Y%m%d-%H%M%SF", time.gmtime(time.time() - days * 86400)) for days in (21, 14, 7, 0.1)]
    taken_at(host, labels, [time.time() - days * 86400 for days in (21, 14, 7, 0.1)])
    host.note("verify", armed_at=time.time(), last_success_at=time.time(), outcome="passed")
    proofs.append(Proof(labels[-1], time.time(), True), host.settings.proofs)
    others(monkeypatch, "pg1", "pg2")
    assert expire.look(host.settings).goes == ()
    jump(seconds)
    found = expire.look(host.settings)
    assert found.goes == (), "28 days were promised"
    others(monkeypatch)
    assert expire.look(host.settings).goes == (), "nor where nobody can be asked"
    monkeypatch.setattr(clock, "boot_id", lambda: "another boot")
    found = expire.look(host.settings)
    assert found.goes == ()
    if seconds > 0:
        assert f"nobody can be asked whether the clock of {in_step.me()} is right" in found.why


def test_a_backup_from_the_future_is_no_copy_and_holds_the_others_until_it_is_let_go(
    host: BackupHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{host.folder}/bin", prepend=":")
    others(monkeypatch, "pg1", "pg2")
    host.change(retention={"full_copies": 2, "days": 1})
    now = time.time()
    labels = ["20260101-000000F", "20260108-000000F", "20990101-000000F", "20260115-000000F"]
    taken_at(host, labels, [now - 21 * 86400, now - 14 * 86400, now + 9e8, now - 7 * 86400])
    host.note("verify", armed_at=now, last_success_at=now, outcome="passed")
    proofs.append(Proof("20260115-000000F", now, True), host.settings.proofs)
    found = expire.look(host.settings)
    assert [one.label for one in found.stays] == labels, "in the order of their WAL"
    assert "20990101-000000F was taken before 20260115-000000F by a clock that was ahead" in found.why
    assert "--set=20990101-000000F expire" in found.why


def taken_at(host: BackupHost, labels: list[str], times: list[float]) -> None:
    """What `pgbackrest info` says, the WAL in the order given, however it lists them."""
    entries = [
        {
            "label": label, "type": "full", "timestamp": {"start": at - 60, "stop": at},
            "info": {"repository": {"delta": 1}}, "lsn": {"stop": f"0/{n}000000"}, "database": {"id": 1},
            "archive": {"stop": f"00000001000000000000000{n}"},
        }
        for n, (label, at) in enumerate(zip(labels, times, strict=True), start=1)
    ]  # fmt: skip
    (host.folder / "info.json").write_text(json.dumps([{"backup": sorted(entries, key=lambda one: str(one["label"]))}]))


@pytest.mark.parametrize("seconds", JUMPS)
def test_a_proof_holds_its_lease_through_a_jump(
    host: BackupHost, jump: Jump, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    folder = host.settings.leases
    monkeypatch.setattr(leases, "hold", lambda lease, hold=leases.hold: hold(lease, folder))
    monkeypatch.setattr(leases, "release", lambda identity, release=leases.release: release(identity, folder))

    def trial() -> Proof:
        jump(seconds)
        assert len(leases.live(folder)) == 1
        return Proof("1F", time.time(), True)

    proving.prove("prove", "a backup", host.settings.proofs, trial)
    assert leases.live(folder) == ()


@pytest.mark.parametrize("seconds", JUMPS)
def test_labels_go_up_whatever_the_clock_does(jump: Jump, seconds: float) -> None:
    """TDengine's backups, its dumps and the native ones are ordered by them."""
    taken = [f"{clock.label([])}F"]
    for by in (seconds, 0.0, -seconds):
        jump(by)
        taken.append(f"{clock.label(taken)}F")
    assert taken == sorted(set(taken))
    assert len(set(taken)) == 4


def test_a_jump_counts_from_when_it_is_seen_and_so_does_its_correction(
    tmp_path: Path, jump: Jump, monkeypatch: pytest.MonkeyPatch
) -> None:
    note, booted, passed = tmp_path / "clock", clock.since_boot, [0.0]
    monkeypatch.setattr(clock, "since_boot", lambda: booted() + passed[0])

    def after(seconds: float, off: float) -> bool:
        passed[0] += seconds
        jump(passed[0] + off)
        return clock.jumped(note, 3600)

    assert not after(0, 0), "nothing is known yet"
    assert not after(86400, 30), "a small step is none"
    assert after(10, DAYS_60)
    assert after(3000, DAYS_60)
    assert after(10, 0), "set right"
    assert after(3500, 0)
    assert not after(200, 0), "what was stamped before is older than an hour now"


@pytest.mark.parametrize(
    ("seconds", "known"), [(-DAYS_60, True), (DAYS_60, True), (0.0, False), (1800.0, False)]
)
def test_over_a_restart_a_clock_that_is_behind_or_would_age_everything_is_not_believed(
    tmp_path: Path, jump: Jump, monkeypatch: pytest.MonkeyPatch, seconds: float, known: bool
) -> None:
    note, booted = tmp_path / "clock", clock.since_boot
    assert not clock.jumped(note, 3600)
    monkeypatch.setattr(clock, "boot_id", lambda: "another boot")
    monkeypatch.setattr(clock, "since_boot", lambda: booted() - 100)
    jump(seconds)
    assert clock.jumped(note, 3600) is known
    monkeypatch.setattr(clock, "since_boot", lambda: booted() + 3601)
    jump(seconds + 3701)
    assert not clock.jumped(note, 3600)


def test_a_note_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    note = tmp_path / "clock"
    note.write_text('{"boot_id": "x", "offset": 1}')
    assert not clock.jumped(note, 3600)
    assert json.loads(note.read_text())["seen"] is None
