"""The runner: one job at a time, ended at its limit, its output kept, its absence told."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agents.base.errors import BadConfig
from agents.jobs import alarm, raising, runner
from agents.jobs import child as jobs_child
from agents.jobs import state as jobs_state
from agents.jobs.config import load
from agents.jobs.lock import Held, Lock, Owner, holder
from agents.jobs.state import State
from tests.unit.jobs_kit import BackupHost, backup_host

# 2026-11-21 is a Saturday.
SATURDAY_2000 = 1_795_291_200.0
NEW_BACKUP = 'sleep 0.05; cp "{folder}/next.json" "{folder}/info.json"'


@pytest.fixture
def host(tmp_path: Path) -> BackupHost:
    return backup_host(tmp_path)


def takes_backups(host: BackupHost) -> None:
    """From now on `pgbackrest backup` adds one to what `info` says."""
    host.holds("20261121-183000F")
    (host.folder / "next.json").write_text((host.folder / "info.json").read_text())
    host.holds()
    host.pgbackrest(NEW_BACKUP.format(folder=host.folder))


def eventually(check: Callable[[], bool], seconds: float = 10) -> None:
    ends = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.02)


def test_a_job_is_run_and_recorded_with_its_output(host: BackupHost) -> None:
    takes_backups(host)
    answer, _ = host.run("run", "full")
    state = host.state("full")
    assert (answer["outcome"], state.outcome) == ("passed", "passed")
    assert state.last_success_at == state.ended_at
    assert "20261121-183000F: full" in state.sentence
    assert "20261121-183000F" in Path(state.log).read_text()
    assert any("--type=full" in call and call.endswith("backup") for call in host.calls)


def test_a_job_that_fails_keeps_its_last_success_and_says_why(host: BackupHost) -> None:
    host.note("full", last_success_at=5.0)
    host.pgbackrest("echo 'P00  ERROR: [056]: unable to find primary cluster - cannot proceed' >&2; exit 56")
    answer, err = host.run("run", "full", code=1)
    state = host.state("full")
    assert (answer["outcome"], state.outcome, state.last_success_at) == ("failed", "failed", 5.0)
    assert "took no full backup: unable to find primary cluster - cannot proceed" in state.sentence
    assert "unable to find primary" in Path(state.log).read_text()
    assert err.splitlines()[-1].startswith("HINT: The lines above say more"), "what the job itself hinted at"
    assert "has all of its output." in err.splitlines()[-1]


def test_a_backup_that_ended_well_and_left_nothing_is_no_success(host: BackupHost) -> None:
    host.run("run", "incr", code=1)
    assert "no new backup" in host.state("incr").sentence


def test_a_job_is_ended_at_its_limit_with_everything_it_started(host: BackupHost) -> None:
    host.change(jobs={"full": {"limit_s": 1}})
    host.pgbackrest(f'sleep 300 & echo $! > "{host.folder}/child"; wait')
    started = time.monotonic()
    host.run("run", "full", code=1)
    state = host.state("full")
    assert state.outcome == "timeout"
    assert "limit of 1 s" in state.sentence
    assert time.monotonic() - started < 8
    child = int((host.folder / "child").read_text())
    eventually(lambda: not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text())


def test_a_limit_grows_with_what_the_last_success_took_or_that_of_a_greater_job(host: BackupHost) -> None:
    incr = host.settings.job("incr")
    took = {"full": jobs_state.State("full", 0.0, outcome="passed", seconds=9000)}
    mine = {"incr": jobs_state.State("incr", 0.0, outcome="passed", seconds=3)}
    assert jobs_state.limit(incr, mine) == 10
    assert jobs_state.limit(incr, {**mine, **took}) == 18000
    assert jobs_state.limit(host.settings.job("full"), {**mine, **took}) == 18000
    hung = {"full": jobs_state.State("full", 0.0, outcome="timeout", seconds=14400)}
    assert jobs_state.limit(incr, {**mine, **hung}) == 10


def test_a_limit_is_not_forgotten_with_one_run_that_did_not_succeed(host: BackupHost) -> None:
    """Or a cluster that has outgrown its limit would never again be backed up after one evening without room."""
    full = host.settings.job("full")
    state = jobs_state.State("full", 0.0).ended("passed", 1.0, 9000.0, "", "")
    for outcome in ("skipped", "failed", "timeout"):
        state = state.ended(outcome, 1.0, 20.0, "", "")
        assert jobs_state.limit(full, {"full": state}) == 18000
    state = state.ended("passed", 1.0, 6000.0, "", "")
    assert jobs_state.limit(full, {"full": state}) == 12000, "it shrinks again with what is taken"


def test_a_job_is_given_the_time_that_its_limit_grew_to(host: BackupHost) -> None:
    host.change(jobs={"full": {"limit_s": 1}})
    host.note("full", outcome="passed", seconds=30.0)
    host.pgbackrest("sleep 2; exit 1")
    host.run("run", "full", code=1)
    assert host.state("full").outcome == "failed"


def test_two_jobs_never_have_the_repository_at_once(host: BackupHost) -> None:
    host.pgbackrest(f'touch "{host.folder}/runs"; until [ -e "{host.folder}/enough" ]; do sleep 0.05; done')
    first = host.start("run", "full")
    eventually((host.folder / "runs").exists)
    _, err = host.run("run", "incr", code=3)
    (host.folder / "enough").touch()
    assert "incr cannot run: full runs since 2" in err
    assert f"(process {first.pid})" in err
    assert not (host.settings.states / "incr.json").exists() or host.state("incr").outcome is None
    first.communicate(timeout=30)
    assert holder(host.settings.repository_lock) is None


def test_a_scheduled_job_that_finds_no_room_is_recorded_as_skipped(host: BackupHost) -> None:
    minute = time.gmtime()
    host.change(jobs={"incr": {"schedule": f"{minute.tm_min} {minute.tm_hour} * * *"}})
    lock = Lock(host.settings.repository_lock)
    lock.acquire(Owner.me("full"), 0)
    host.run("run", "incr", "--scheduled", code=3)
    lock.release()
    assert host.state("incr").outcome == "skipped"
    assert "full runs since" in host.state("incr").sentence


def test_by_hand_one_can_wait_for_the_other(host: BackupHost) -> None:
    takes_backups(host)
    lock = Lock(host.settings.repository_lock)
    lock.acquire(Owner.me("expire"), 0)
    waiting = host.start("run", "full", "--wait", "20")
    time.sleep(1.5)
    assert waiting.poll() is None
    lock.release()
    out, err = waiting.communicate(timeout=30)
    assert json.loads(out)["outcome"] == "passed", err


def test_a_lock_of_a_stranger_counts_and_is_named(host: BackupHost) -> None:
    """flock(1), which notes no owner."""
    handle = os.open(host.settings.repository_lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    _, err = host.run("run", "full", code=3)
    assert f"somebody holds {host.settings.repository_lock}" in err
    os.close(handle)


def test_an_owner_that_died_holds_nothing(host: BackupHost) -> None:
    """Whatever is written in the file: the process id may belong to somebody else by now."""
    owner = Owner(os.getpid(), "another boot", "full", 1.0, 1.0)
    host.settings.repository_lock.write_text(json.dumps(vars(owner)))
    lock = Lock(host.settings.repository_lock)
    lock.acquire(Owner.me("incr"), 0)
    assert holder(host.settings.repository_lock) == Owner(**json.loads(host.settings.repository_lock.read_text()))
    lock.release()


def test_the_lock_outlives_a_runner_that_was_killed_as_long_as_its_job(host: BackupHost) -> None:
    host.pgbackrest(f'touch "{host.folder}/runs"; sleep 3')
    first = host.start("run", "full")
    eventually((host.folder / "runs").exists)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate(timeout=10)
    with pytest.raises(Held):
        Lock(host.settings.repository_lock).acquire(Owner.me("incr"), 0)
    second = Lock(host.settings.repository_lock)
    second.acquire(Owner.me("incr"), 20)
    second.release()


def test_a_runner_that_is_told_to_end_ends_its_job_and_records_it(host: BackupHost) -> None:
    host.pgbackrest(f'touch "{host.folder}/runs"; sleep 300')
    running = host.start("run", "full")
    eventually((host.folder / "runs").exists)
    running.terminate()
    running.communicate(timeout=30)
    assert running.returncode == 1
    assert host.state("full").outcome == "failed"
    assert "stopped by signal 15" in host.state("full").sentence


def test_the_owner_shows_signs_of_life(host: BackupHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_child, "_BEAT_S", 0.1)
    beats: list[float] = []
    log = host.folder / "log"
    command = [sys.executable, "-c", "import time; time.sleep(0.6)"]
    ended = jobs_child.run(command, {}, log, 10, os.open(log, os.O_RDWR | os.O_CREAT), lambda: beats.append(1))
    assert ended.outcome == "passed"
    assert len(beats) >= 2


def test_only_the_newest_outputs_of_a_job_are_kept(host: BackupHost) -> None:
    takes_backups(host)
    for n in range(5):
        host.holds(*[f"2026112{n}-183000F"] * 0)
        host.run("run", "full")
    mine = list((host.folder / "logs").glob("full-*.log"))
    assert len(mine) == 3
    assert Path(host.state("full").log) in mine


def test_cron_in_another_zone_starts_nothing(host: BackupHost) -> None:
    past = time.gmtime(time.time() - 3600 * 5)
    host.change(jobs={"full": {"schedule": f"{past.tm_min} {past.tm_hour} * * *"}})
    answer, err = host.run("run", "full", "--scheduled")
    assert answer == {}
    assert "cron's clock is not UTC" in err
    assert not host.calls


def test_catch_up_runs_what_was_missed_and_only_that(host: BackupHost) -> None:
    takes_backups(host)
    now = time.time()
    for job in ("verify", "expire"):
        host.note(job, armed_at=now, last_success_at=now)
    host.note("incr", armed_at=now - 30 * 86400)
    host.note("full", armed_at=now - 30 * 86400)
    answer, _ = host.run("catch-up")
    # A full backup is more than the incremental one that was missed as well.
    assert [state["job"] for state in answer["ran"]] == ["full"]
    assert host.run("catch-up")[0] == {"ran": []}


def test_what_was_armed_after_its_time_is_not_due(host: BackupHost) -> None:
    host.run("arm")
    assert host.run("catch-up")[0] == {"ran": []}
    assert not [call for call in host.calls if "backup" in call]


def test_a_second_catch_up_starts_nothing_beside_the_first(host: BackupHost) -> None:
    lock = Lock(host.settings.states / "catch-up.lock")
    lock.acquire(Owner.me("catch-up"), 0)
    host.note("full")
    answer, err = host.run("catch-up")
    lock.release()
    assert answer == {"ran": []}
    assert "catch-up runs since" in err


def test_status_tells_schedule_state_and_who_runs(host: BackupHost) -> None:
    host.pgbackrest(f'touch "{host.folder}/runs"; sleep 2')
    first = host.start("run", "full")
    eventually((host.folder / "runs").exists)
    answer, _ = host.run("status")
    first.communicate(timeout=30)
    by_name = {one["job"]: one for one in answer["jobs"]}
    assert by_name["full"]["running_since"] is not None
    assert by_name["incr"]["running_since"] is None
    assert by_name["incr"]["schedule"] == "30 8 * * *"
    assert answer["offsite"] is None


def states(**times: float | None) -> dict[str, State]:
    """Armed long ago; the time of each last success, or None."""
    return {job: State(job, 0.0, last_success_at=at) for job, at in times.items()}


def hours(count: float) -> float:
    return SATURDAY_2000 - count * 3600


def late(host: BackupHost, found: dict[str, State], now: float = SATURDAY_2000) -> dict[str, str]:
    settings = host.settings
    chosen = replace(settings, jobs={name: settings.jobs[name] for name in found if name in settings.jobs})
    return {one.what: one.sentence for one in alarm.late(chosen, found, now)}


def test_a_success_is_missed_when_its_time_and_grace_are_over(host: BackupHost) -> None:
    # full is due on Saturday 18:30; an hour of grace; now it is 20:00.
    found = late(host, states(full=hours(7 * 24)))
    wanted = "full has not succeeded since 2026-11-14 20:00 UTC, though it was due on 2026-11-21"
    assert found["full"].startswith(wanted)
    assert late(host, states(full=hours(7 * 24)), now=hours(0.6)) == {}, "19:24 is within the grace"
    assert late(host, states(full=hours(1))) == {}


def test_a_job_that_never_succeeded_is_missed_from_the_day_it_was_armed(host: BackupHost) -> None:
    never = {"full": State("full", hours(3), outcome="failed", sentence="no primary")}
    assert "since it was armed" in late(host, never)["full"]
    assert late(host, never)["full"].endswith("its last run failed: no primary")
    assert late(host, {"full": State("full", hours(0.5))}) == {}


@pytest.mark.parametrize("ahead", [{"last_success_at": hours(-8760)}, {"armed_at": hours(-8760)}])
def test_a_success_that_is_still_to_come_stands_for_none(host: BackupHost, ahead: dict[str, float]) -> None:
    """The clock was a year ahead and was set back: until then nothing would be due, and nothing missed."""
    wrong = {"full": replace(State("full", hours(7 * 24)), **ahead)}
    assert jobs_state.due(host.settings.job("full"), wrong, SATURDAY_2000)
    assert "full has not succeeded since" in late(host, wrong)["full"]


def test_a_full_backup_stands_for_an_incremental_one_and_not_the_other_way(host: BackupHost) -> None:
    assert late(host, states(full=hours(1), incr=None)) == {}
    assert set(late(host, states(full=None, incr=hours(1)))) == {"full"}


def test_old_proofs_and_copies_are_missed(host: BackupHost) -> None:
    offsite = {"host": "offsite1", "repository": "sftp:x", "ssh_config": "x", "password_file": "x", "keep_last": 1,
               "keep_daily": 1, "keep_weekly": 1, "read_days": 14}  # fmt: skip
    host.change(jobs={"prove": {}, "offsite": {}}, offsite=offsite)
    armed = {job: State(job, hours(1)) for job in ("prove", "offsite")}
    assert late(host, armed) == {}
    old = {job: State(job, hours(100), last_success_at=hours(2)) for job in ("prove", "offsite")}
    assert set(late(host, old)) == {"proof"}, "that the job passed proves nothing"
    proof = {"label": "20261114-183000F", "proven_at": hours(60), "outcome": "passed"}
    host.settings.proofs.write_text(json.dumps(proof) + "\n")
    assert "of 20261114-183000F, is 60.0 h old" in late(host, old)["proof"]
    host.settings.proofs.write_text(json.dumps({**proof, "proven_at": hours(3)}) + "\n")
    assert late(host, old) == {}
    old["offsite"] = State("offsite", hours(100), last_success_at=hours(30))
    assert "the copy on offsite1 is 30.0 h old" in late(host, old)["offsite-copy"]


def test_a_full_backup_that_was_not_restored_for_too_long_is_missed(host: BackupHost) -> None:
    """Whatever was proven meanwhile; one that is being taken is none yet."""
    host.change(jobs={"prove": {}, "td-prove": {}})
    old = {job: State(job, hours(2), last_success_at=hours(2)) for job in ("prove", "td-prove")}
    label, other = "20261101-183000F", "20261114-183000F"  # 20 and 7 days before
    for name in (label, other, f"{label}_20261102-083000I"):
        folder = host.settings.repository / "backup/main" / name
        folder.mkdir(parents=True)
        (folder / "backup.manifest").touch()
    (host.settings.repository / "backup/main/20261001-183000F").mkdir()
    proof = {"label": other, "proven_at": hours(3), "outcome": "passed"}
    host.settings.proofs.write_text(json.dumps(proof) + "\n")
    assert late(host, old) == {"full-proof": f"full backups were not restored and found whole: {label} for 20.1 d"}
    host.settings.proofs.write_text(json.dumps({**proof, "label": label}) + "\n")
    assert late(host, old) == {}
    td = host.settings.td_folders[0] / label
    td.mkdir(parents=True)
    (td / "manifest.json").touch()
    assert list(late(host, old)) == ["td-full-proof"]


TDENGINE = ("td-full", "td-incr", "td-prove", "td-verify", "td-expire")


def test_jobs_of_tdengine_wait_for_one_another_and_not_for_postgresql(host: BackupHost) -> None:
    locks = {job: runner.lock_path(host.settings, job).name for job in TDENGINE}
    assert locks == dict.fromkeys(TDENGINE, "td.lock") | {"td-prove": "td-prove.lock"}
    assert {*TDENGINE} <= {*runner.COMMANDS} & {*runner.CATCH_UP_ORDER}
    assert {*runner.CATCH_UP_ORDER} == {*runner.COMMANDS}, "a job that is not in the order is never caught up with"


def test_a_job_is_told_which_backup_in_its_own_words(host: BackupHost) -> None:
    assert runner._label_option("prove") == "--set"
    assert runner._label_option("td-prove") == "--label"
    _, err = host.run("run", "full", "--set", "20261121-100000F", code=2)
    assert "full is of no backup in particular" in err


def test_old_proofs_of_tdengine_are_missed_apart_from_postgresqls(host: BackupHost) -> None:
    host.change(jobs={"prove": {}, "td-prove": {}, "td-full": {}, "td-incr": {"schedule": "0 18 * * *"}})
    host.settings.proofs.write_text(json.dumps({"label": "x", "proven_at": hours(1), "outcome": "passed"}) + "\n")
    old = {job: State(job, hours(100), last_success_at=hours(2)) for job in ("prove", "td-prove")}
    assert late(host, old) == {
        "td-proof": "no backup of TDengine was ever proven, the limit is 50.0 h"
    }
    proof = {"label": "20261118-190000F", "proven_at": hours(60), "outcome": "passed"}
    host.settings.td_proofs.write_text(json.dumps(proof) + "\n")
    assert "the last proof of TDengine, of 20261118-190000F, is 60.0 h old" in late(host, old)["td-proof"]
    told = {"td-full": State("td-full", 0, last_success_at=hours(1)), "td-incr": State("td-incr", 0)}
    assert late(host, told) == {}, "who has a full backup does not miss the incremental one"


def test_rows_that_tdengine_lost_are_told_until_they_are_back(host: BackupHost) -> None:
    assert late(host, states(full=hours(1))) == {}
    host.settings.td_lost.write_text(json.dumps({"label": "x", "since": hours(1), "sentence": "TDengine lacks 5 rows"}))
    assert late(host, states(full=hours(1))) == {"td-rows": "TDengine lacks 5 rows"}
    host.settings.td_lost.write_text("{")
    assert "cannot be read" in late(host, states(full=hours(1)))["td-rows"]


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """What was logged, as (priority, text)."""
    said: list[tuple[int, str]] = []
    monkeypatch.setattr(alarm.syslog, "syslog", lambda priority, text: said.append((priority, text)))
    return said


def test_the_alarm_is_told_to_the_journal_and_to_the_command(host: BackupHost, journal: list[tuple[int, str]]) -> None:
    host.change(alarm_command=["tee", str(host.folder / "told")])
    found = alarm.late(host.settings, states(full=None, incr=0, verify=0, expire=0), SATURDAY_2000)
    assert len(found) > 1
    alarm.raise_alarm(host.settings, [one.sentence for one in found])
    error = alarm.syslog.LOG_ERR
    assert journal == [(error, f"ALARM: {one.sentence}.") for one in found]
    assert (host.folder / "told").read_text() == "".join(f"{one.sentence}.\n" for one in found)


@pytest.mark.parametrize("command", [["false"], ["/nowhere/alarm"]])
def test_an_alarm_that_cannot_be_raised_is_one_more_line_in_the_journal(
    host: BackupHost, journal: list[tuple[int, str]], command: list[str]
) -> None:
    host.change(alarm_command=command)
    assert alarm.raise_alarm(host.settings, ["full is late"])
    assert "the alarm command" in journal[-1][1]


@pytest.mark.parametrize(("command", "code"), [(["false"], 1), (["/nowhere/alarm"], 1), (["true"], 0), ([], 0)])
def test_who_has_an_alarm_raised_hears_whether_it_was_told(
    host: BackupHost, journal: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch, command: list[str], code: int
) -> None:
    host.change(alarm_command=command)
    monkeypatch.setattr(raising.config, "load", lambda: host.settings)
    assert raising.main("pg1 is lost\n") == code
    assert journal[0][1] == "ALARM: pg1 is lost."


def test_no_alarm_is_raised_for_nothing(host: BackupHost, journal: list[tuple[int, str]]) -> None:
    host.change(alarm_command=["touch", str(host.folder / "told")])
    alarm.raise_alarm(host.settings, [])
    assert journal == []
    assert not (host.folder / "told").exists()


def test_a_scheduled_run_that_fails_raises_the_alarm_at_once_and_one_by_hand_does_not(host: BackupHost) -> None:
    host.change(alarm_command=["tee", str(host.folder / "told")])
    for job in ("incr", "verify", "expire"):
        host.note(job, armed_at=time.time())
    host.run("run", "full", code=1)
    assert not (host.folder / "told").exists()
    host.note("full")
    host.run("catch-up")
    assert "full" in (host.folder / "told").read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"jobs": {"full": {"schedule": "every day"}}}, "'every day' has 2 fields"),
        ({"keep_logs": "many"}, "invalid literal"),
        ({"retention": {}}, "full_copies is missing"),
        ({"offsite": {"host": "x"}}, "repository is missing"),
    ],
)
def test_a_mistake_in_the_settings_is_one_sentence(host: BackupHost, change: dict[str, object], words: str) -> None:
    host.change(**change)
    _, err = host.run("status", code=2)
    assert words in err
    assert err.splitlines()[-1].startswith("HINT: ")
    with pytest.raises(BadConfig):
        load(host.folder / "jobs.json")


def test_an_unknown_job_and_one_that_is_not_scheduled_here_are_told_apart(host: BackupHost) -> None:
    assert host.start("run", "nope").wait(30) == 2
    _, err = host.run("run", "offsite", code=2)
    assert "There is no job 'offsite' here" in err


def test_every_job_has_a_program_and_an_order() -> None:
    assert set(runner.CATCH_UP_ORDER) == set(runner.COMMANDS)
    assert set(runner.ALONE) < set(runner.COMMANDS)


def test_a_torn_state_is_as_good_as_none(host: BackupHost) -> None:
    (host.settings.states / "full.json").write_text('{"job": "fu')
    assert jobs_state.read("full", host.settings.states) is None
    assert jobs_state.arm(host.settings)["full"].outcome is None


def test_expire_asks_for_what_its_plan_keeps_and_checks_it(host: BackupHost) -> None:
    host.holds("20260101-000000F", "20260102-000000F")
    proof = {"label": "20260102-000000F", "proven_at": 5.0, "outcome": "passed"}
    host.settings.proofs.write_text(json.dumps(proof) + "\n")
    answer, _ = host.run("run", "expire")
    assert "expired: 20260101-000000F" in answer["sentence"]
    assert "--repo1-retention-full=1 expire" in " ".join(host.calls)
    host.pgbackrest(f'echo "[]" > "{host.folder}/info.json"')
    host.run("run", "expire", code=1)
    assert "was to stay" in host.state("expire").sentence


def test_expire_does_nothing_while_a_lease_lives(host: BackupHost) -> None:
    host.holds("20260101-000000F", "20260102-000000F")
    proof = {"label": "20260102-000000F", "proven_at": 5.0, "outcome": "passed"}
    host.settings.proofs.write_text(json.dumps(proof) + "\n")
    lease = ["hold", "x", "--owner", "o", "--why", "restore-pitr", "--seconds", "60"]
    folder = ["--folder", str(host.settings.leases)]
    subprocess.run(
        [sys.executable, "-m", "agents.jobs.leases", *lease, *folder], check=True, cwd=Path(__file__).parents[2]
    )
    answer, _ = host.run("run", "expire")
    assert "restore-pitr" in answer["sentence"]
    assert not [call for call in host.calls if call.endswith("expire")]
