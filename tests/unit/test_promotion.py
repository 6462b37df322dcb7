"""What is told to stand in the way of a promotion: every hindrance by itself, and nothing where there is none."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agents.base.errors import AgentError
from agents.jobs import runner
from agents.postgresql import promotion, promotion_facts
from agents.postgresql.promotion_facts import SIZES, Facts
from runbooks.actions.postgresql import promotion as way
from runbooks.probes.postgresql import promotion as probe
from tests.unit.jobs_kit import BackupHost, backup_host

ENOUGH = {
    "max_connections": "100", "max_worker_processes": "8", "max_wal_senders": "10", "max_prepared_transactions": "0",
    "max_locks_per_transaction": "64",
}  # fmt: skip
READY = Facts(
    in_recovery=True, settings={**ENOUGH, "recovery_min_apply_delay": "0", "summarize_wal": "off"},
    needed={name: int(size) for name, size in ENOUGH.items()}, free_bytes=1 << 30, asked_s=0.1,
)  # fmt: skip
PRIMARY = Facts(in_recovery=False, settings=READY.settings)
SLOWED = replace(READY, unreplayed=64 << 20)


def found(seen: Facts, **words: Facts) -> dict[str, promotion.Hindrance]:
    return {one.kind: one for one in promotion.judge("pg2", seen, 2.0, **words)}


def setting(**values: str) -> Facts:
    return replace(READY, settings={**READY.settings, **values})


def test_nothing_is_told_of_servers_that_are_ready() -> None:
    assert found(READY) == {}
    assert found(PRIMARY) == {}
    assert found(replace(READY, unreplayed=4096)) == {}, "what is written at this moment is no backlog"


def test_paused_replay_costs_what_waits_and_nobody_can_tell_how_long_that_takes() -> None:
    one = found(replace(SLOWED, pause="paused"))["paused"]
    assert (one.seconds, one.stops) == (None, False)
    assert "64.0 MiB of WAL wait" in one.measured
    assert "pg_wal_replay_resume()' on pg2" in one.hint
    assert found(replace(READY, pause="pause requested"))["paused"].seconds == 0.0


def test_an_apply_delay_is_told_in_seconds() -> None:
    one = found(setting(recovery_min_apply_delay="3600000"))["apply-delay"]
    assert "recovery_min_apply_delay is 3600 s" in one.measured
    assert "./dr deploy --limit pg2" in one.hint


@pytest.mark.parametrize(("rate", "seconds"), [(8 << 20, 8.0), (0.0, None)])
def test_a_backlog_is_told_by_the_measured_rate_of_replay(rate: float, seconds: float | None) -> None:
    one = found(replace(SLOWED, replayed_per_s=rate))["backlog"]
    assert one.seconds == seconds
    assert found(replace(SLOWED, replayed_per_s=float(64 << 20))) == {}, "a second is within the limit"


def test_a_summarizer_is_told_as_unbounded() -> None:
    one = found(setting(summarize_wal="on"))["summarizer"]
    assert (one.seconds, one.stops) == (None, False)


@pytest.mark.parametrize("name", sorted(SIZES.values()))
def test_a_size_below_the_primarys_stops_a_promotion(name: str) -> None:
    needed = {**READY.needed, name: READY.needed[name] + 5}
    one = found(replace(READY, needed=needed))["sizes"]
    assert one.stops
    assert (one.measured, one.limit) == (f"{name} is {ENOUGH[name]}", f"{READY.needed[name] + 5} as on its primary")
    over = replace(PRIMARY, settings={**PRIMARY.settings, name: str(READY.needed[name] + 5)})
    assert "sizes" in found(replace(READY, needed={}), primary=over), "over a connection the primary says how large"


def test_a_server_that_paused_because_it_is_too_small_is_not_told_to_go_on() -> None:
    """It would end: that is what its own warning says."""
    assert set(found(replace(READY, pause="paused", needed={"max_connections": 120}))) == {"sizes"}


def test_a_forgotten_prepared_transaction_is_told_of_the_primary() -> None:
    assert "the oldest for 4000 s" in found(replace(PRIMARY, prepared=2, prepared_age_s=4000.0))["prepared"].measured
    assert found(replace(PRIMARY, prepared=2, prepared_age_s=3.0)) == {}


def test_missing_wal_is_told_when_neither_host_nor_archive_has_it() -> None:
    away = replace(READY, streams=False, wanted="00000001000000000000000A", wanted_there=False)
    assert "00000001000000000000000A" in found(away)["missing-wal"].measured
    assert found(replace(away, wanted_there=True)) == {}
    assert found(replace(away, wanted_there=None)) == {}, "an archive that does not answer is told as such"
    assert found(replace(PRIMARY, lost_slots=("pg2",)))["missing-wal"].hint == "./dr rejoin pg2 --yes"


def test_a_setting_with_which_it_would_take_no_write_is_told_with_its_file() -> None:
    refuses = ("default_transaction_read_only = 'on' in /x/postgresql.auto.conf",)
    one = found(replace(READY, refuses=refuses))["no-writes"]
    assert one.stops
    assert "in /x/postgresql.auto.conf" in one.measured
    assert "./dr deploy --limit pg2" in one.hint


def test_what_forbids_writes_is_out_of_every_file_before_a_promotion(tmp_path: Path) -> None:
    data, etc = tmp_path / "data", tmp_path / "etc"
    (etc / "conf.d").mkdir(parents=True)
    data.mkdir()
    (data / "postgresql.auto.conf").write_text("default_transaction_read_only = 'on'\nwork_mem = '8MB'\n")
    (etc / "postgresql.conf").write_text("# synchronous_standby_names: see conf.d\njit = 'off'\n")
    (etc / "conf.d" / "50-x.conf").write_text(" Synchronous_Standby_Names='nobody'\n")
    (etc / "conf.d" / "90-synchronous.conf").write_text("synchronous_standby_names = 'FIRST 1 (pg1)'\n")
    script = way.WRITES.format(synchronous=etc / "conf.d" / "90-synchronous.conf", data=data, etc=etc)
    told = [run_shell(script.replace("chown postgres:postgres", "true")) for _ in range(2)]
    assert told == ["default_transaction_read_only = 'on'\n Synchronous_Standby_Names='nobody'\n", ""]
    assert (data / "postgresql.auto.conf").read_text() == "work_mem = '8MB'\n"
    assert (etc / "postgresql.conf").read_text() == "# synchronous_standby_names: see conf.d\njit = 'off'\n"
    assert [path.name for path in (etc / "conf.d").iterdir()] == ["50-x.conf"]


def run_shell(script: str) -> str:
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout


def test_a_full_disk_stops_a_promotion() -> None:
    one = found(replace(READY, free_bytes=1 << 20))["disk"]
    assert one.stops
    assert one.measured == "1.0 MiB are free"


def test_a_slow_archive_costs_each_time_that_it_is_asked() -> None:
    assert found(replace(READY, asked_s=1.0))["archive"].seconds == 5.0
    silent = found(replace(READY, asked_s=1.2, asked_in_vain=True))["archive"]
    assert "more than 1.2 s" in silent.measured
    assert found(replace(READY, asked_s=0.1, asked_in_vain=True))["archive"].seconds is None, "cut short"


def test_a_differing_collation_is_told_with_both_versions() -> None:
    one = found(replace(READY, collations=("database x: 2.36, here 2.41",)))["collation"]
    assert "2.36, here 2.41" in one.measured
    assert "REINDEX" in one.hint


def test_restore_command_is_asked_as_the_server_would_ask(tmp_path: Path) -> None:
    seconds, there = promotion_facts.restore('cp "%f" "%p" && echo 100%% >&2', "none", tmp_path, 5)
    assert there is False and seconds < 4
    (tmp_path / "some").write_text("wal")
    assert promotion_facts.restore('cp "%f" "%p"', "some", tmp_path, 5)[1] is True
    seconds, there = promotion_facts.restore("sleep 30", "none", tmp_path, 0.2)
    assert there is None and seconds < 5


def test_a_host_that_was_busy_for_a_moment_has_no_slow_archive_and_a_slow_one_is_slow_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    took = iter([0.6, 0.1, 0.7, 0.8, 0.9, 0.1])
    monkeypatch.setattr(promotion_facts, "restore", lambda *_: (next(took), False))
    assert promotion_facts.quickest("x", tmp_path, time.monotonic() + 9) == (0.1, False)
    assert promotion_facts.quickest("x", tmp_path, time.monotonic() + 9) == (0.7, False)
    assert promotion_facts.quickest("x", tmp_path, time.monotonic() + 9) == (0.1, False), "a quick one is asked once"


def test_an_archive_that_hangs_does_not_take_the_other_answers_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it within the one patience that whoever asks has, also of a standby that asks for two files."""
    (tmp_path / "pg_wal").mkdir()
    monkeypatch.setattr(promotion_facts, "_needed", lambda *_: {"max_connections": 100})
    hangs = {**READY.settings, "restore_command": "sleep 30", "data_directory": str(tmp_path)}
    away = replace(READY, settings=hangs, streams=False, wanted="00000001000000000000000A")
    monkeypatch.setattr(promotion, "asked", lambda *_: time.sleep(0.4) or away)
    started = time.monotonic()
    said = promotion.here("pg2", 17, "x", 2.0, 1.0)
    assert time.monotonic() - started < 2
    outlook = probe.parse(json.loads(json.dumps(said)))
    assert outlook.has("archive") and outlook.needed == {"max_connections": 100}
    assert outlook.asked_s is not None and 0.4 < outlook.asked_s < 0.98, "what the server left of it"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BackupHost:
    made = backup_host(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return made


def says(host: BackupHost, script: str) -> None:
    (host.folder / "bin" / "psql").write_text(f"#!/bin/sh\ncat > /dev/null\n{script}\n")


def test_the_hourly_alarm_tells_what_would_stop_a_promotion(
    host: BackupHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(runner, "raise_alarm", lambda _, sentences: told.extend(sentences))
    runner.catch_up(host.settings)
    assert [line for line in told if "promotion" in line] == []
    standby = {
        "in_recovery": True, "settings": {**ENOUGH, "summarize_wal": "on"}, "prepared": 0, "prepared_age_s": None,
        "lost_slots": [], "collations": [],
    }  # fmt: skip
    says(host, f"echo '{json.dumps(standby)}'")
    runner.catch_up(host.settings)
    assert any("summarizer delays by nobody knows how much the next promotion (pg1)" in line for line in told)


@pytest.mark.parametrize(("script", "words"), [("sleep 30", "does not answer within"), ("echo no >&2; exit 2", "no")])
def test_a_server_that_does_not_answer_is_unknown_and_not_ready(host: BackupHost, script: str, words: str) -> None:
    says(host, script)
    with pytest.raises(AgentError, match=words):
        promotion_facts.asked("", "postgres", 0.3)
    (line,) = promotion.hindered(host.settings.database, 2.0, 0.3)
    assert line.startswith("nobody can tell what would delay a promotion of pg1")


def test_what_the_agent_prints_is_what_the_probe_reads() -> None:
    said = {
        "in_recovery": True, "asked_s": 0.1, "needed": {"max_connections": 100},
        "hindrances": [vars(found(setting(summarize_wal="on"))["summarizer"])],
    }  # fmt: skip
    outlook = probe.parse(json.loads(json.dumps(said)))
    assert outlook.standby and outlook.has("summarizer") and not outlook.has("paused")
    assert outlook.needed == {"max_connections": 100}
