"""What a host's own files tell: slow statements with their plans, jobs, proofs; each once, however often it is read."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from agents.base.errors import BadConfig
from agents.monitor import growing, jobs, main, slow
from agents.monitor.seen import Seen
from tests.unit.monitor_kit import Monitoring, data

PREFIX = f"{datetime.now(UTC):%Y-%m-%d}" + " 08:00:00.{:03d} UTC [{}] writer@quant_research feed "


def log(path: Path, *entries: str, settled: bool = True) -> Path:
    with path.open("a") as out:
        out.writelines(f"{entry}\n" for entry in entries)
    if settled:
        os.utime(path, (0, 0))
    return path


def plan(ms: float, sql: str, pid: int = 7, n: int = 1) -> str:
    return f"{PREFIX.format(n, pid)}LOG:  duration: {ms} ms  plan:\n\tQuery Text: {sql}\n\tSeq Scan on t  (cost=0..1)"


def took(ms: float, sql: str, pid: int = 7, n: int = 2) -> str:
    return f"{PREFIX.format(n, pid)}LOG:  duration: {ms} ms  statement: {sql}"


def gathered(path: Path, seen: Seen) -> list[dict[str, Any]]:
    return [data(one) for one in slow.gather(path, "pg1", seen)]


@pytest.fixture
def seen(tmp_path: Path) -> Seen:
    return Seen(tmp_path)


def test_a_statement_comes_with_its_plan_once(tmp_path: Path, seen: Seen) -> None:
    path = log(tmp_path / "log", plan(5001, "SELECT 1\n\tFROM t"), took(5002.5, "SELECT 1\n\tFROM t"))
    (one,) = gathered(path, seen)
    assert (one["metric_value"], one["is_slow_query"]) == (5002.5, True)
    assert one["query_sql"] == "SELECT 1\nFROM t" and one["execution_plan"] == "Seq Scan on t  (cost=0..1)"
    assert one["tags"] == {"host": "pg1", "user": "writer", "database": "quant_research", "application": "feed"}
    assert gathered(path, seen) == []


def test_a_warning_is_no_slow_one_and_less_is_nothing(tmp_path: Path, seen: Seen) -> None:
    path = log(tmp_path / "log", took(1999, "SELECT 1"), took(2000, "SELECT 2"), took(4999, "execute <unnamed>: x"))
    assert [one["is_slow_query"] for one in gathered(path, seen)] == [False, False]


def test_plans_of_two_processes_do_not_mix(tmp_path: Path, seen: Seen) -> None:
    path = log(
        tmp_path / "log", plan(3000, "SELECT 'a'", 1), plan(4000, "SELECT 'b'", 2), took(4001, "SELECT 'b'", 2),
        f"{PREFIX.format(3, 9)}ERROR:  no such thing\n\tover two lines", took(3001, "SELECT 'a'", 1),
    )  # fmt: skip
    assert [(one["query_sql"], bool(one["execution_plan"])) for one in gathered(path, seen)] == [
        ("SELECT 'b'", True), ("SELECT 'a'", True),
    ]  # fmt: skip


def test_a_plan_without_a_statement_is_told_as_it_is(tmp_path: Path, seen: Seen) -> None:
    path = log(tmp_path / "log", plan(3000, "FETCH ALL\n\tFROM c"))
    (one,) = gathered(path, seen)
    assert one["query_sql"] == "FETCH ALL\nFROM c" and one["execution_plan"].startswith("Seq Scan")


def test_what_is_being_written_is_read_when_it_is_whole(tmp_path: Path, seen: Seen) -> None:
    path = log(tmp_path / "log", took(3000, "SELECT 1"), plan(3000, "SELECT 2"), settled=False)
    assert [one["query_sql"] for one in gathered(path, seen)] == ["SELECT 1"]
    log(path, took(3001, "SELECT 2"), took(3000, "SELECT 3", 8), settled=False)
    (one,) = gathered(path, seen)
    assert one["query_sql"] == "SELECT 2" and one["execution_plan"]
    os.utime(path, (0, 0))
    assert [one["query_sql"] for one in gathered(path, seen)] == ["SELECT 3"]


def test_a_log_that_was_rotated_is_read_to_its_end_first(tmp_path: Path, seen: Seen) -> None:
    path = log(tmp_path / "log", took(3000, "SELECT 1"), took(3000, "SELECT 2", 8))
    assert len(gathered(path, seen)) == 2
    log(path, took(3000, "SELECT 3"))
    (tmp_path / "log.1").write_bytes(path.read_bytes())  # copytruncate
    path.write_bytes(b"")
    log(path, took(3000, "SELECT 4"))
    assert [one["query_sql"] for one in gathered(path, seen)] == ["SELECT 3", "SELECT 4"]


def test_a_long_log_is_read_in_turns_and_a_rotated_one_to_its_end(
    tmp_path: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing, "CHUNK", 300)
    path = log(tmp_path / "log", *(took(3000, f"SELECT {n}") for n in range(20)))
    first = gathered(path, seen)
    assert 0 < len(first) < 5
    path.rename(tmp_path / "log.1")
    log(path, took(3000, "SELECT 'new'"))
    found = [*first, *gathered(path, seen)]
    assert [one["query_sql"] for one in found] == [*(f"SELECT {n}" for n in range(20)), "SELECT 'new'"]


def test_a_real_server_tells_its_slow_statements(db: Monitoring, seen: Seen) -> None:
    pg = db.server
    pg.sql("LOAD 'auto_explain'", *(f"ALTER SYSTEM SET {setting}" for setting in (
        "session_preload_libraries = 'auto_explain'", "auto_explain.log_min_duration = '200ms'",
        "log_min_duration_statement = '200ms'", "log_line_prefix = '%m [%p] %q%u@%d %a '", "log_timezone = 'UTC'",
    )), "SELECT pg_reload_conf()", database="postgres")  # fmt: skip
    time.sleep(0.3)
    statement = "SELECT count(*), pg_sleep(0.25)\n  FROM pg_class\n WHERE relname <> 'x'"
    pg.sql("SELECT pg_sleep(0.01)", statement, database="postgres")
    with psycopg2.connect(host="127.0.0.1", port=pg.port, user="postgres", dbname="postgres") as connection:
        connection.cursor().execute("SELECT pg_sleep(0.22)")
    path = pg.folder / "log"
    os.utime(path, (0, 0))
    lines = slow.gather(path, "pg1", seen, slow_ms=240, warn_ms=200)
    told = [data(one) for one in lines]
    assert [(one["query_sql"], one["is_slow_query"]) for one in told] == [
        (statement, True), ("SELECT pg_sleep(0.22)", False),
    ]  # fmt: skip
    assert "Seq Scan on pg_class" in told[0]["execution_plan"] and "Result" in told[1]["execution_plan"]
    assert db.put(lines).new == 2 and db.put(lines).new == 0
    assert db.one("select count(*) from query_performance_logs where is_slow_query") == 1


def test_a_statement_longer_than_a_chunk_stops_nothing(
    tmp_path: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing, "CHUNK", 300)
    path = log(tmp_path / "log", took(3000, "x" * 1000), took(3000, "SELECT 2"))
    found = [one["query_sql"] for _ in range(6) for one in gathered(path, seen)]
    assert len(found) == 2 and found[0].startswith("xxx") and found[1] == "SELECT 2"


def test_a_log_that_is_never_quiet_is_read_on(tmp_path: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cursor's plan waits for a statement that does not come."""
    monkeypatch.setattr(growing, "CHUNK", 2000)
    others = [took(3000, f"SELECT {n}", 8, n) for n in range(60)]
    path = log(tmp_path / "log", plan(3000, "FETCH ALL"), *others, settled=False)
    found = [one["query_sql"] for _ in range(20) for one in gathered(path, seen)]
    assert set(found) >= {"FETCH ALL", *(f"SELECT {n}" for n in range(45))}


# ---- jobs and proofs


def state(folder: Path, job: str, started: float, **other: Any) -> None:
    folder.mkdir(exist_ok=True)
    told = {"job": job, "armed_at": 1.0, "started_at": started, "ended_at": started + 9, "outcome": "passed",
            "seconds": 9.0, "sentence": "done"}  # fmt: skip
    (folder / f"{job}.json").write_text(json.dumps(told | other))


def test_each_run_of_a_job_is_told_once(tmp_path: Path, seen: Seen) -> None:
    state(tmp_path / "jobs", "full", 1000.0)
    state(tmp_path / "jobs", "prove", 0, ended_at=None, outcome=None)
    (tmp_path / "jobs" / "torn.json").write_text("{")
    assert [data(one)["job"] for one in jobs.runs(tmp_path / "jobs", "e", seen)] == ["full"]
    assert list(jobs.runs(tmp_path / "jobs", "e", seen)) == []
    state(tmp_path / "jobs", "full", 2000.0, outcome="failed")
    (again,) = jobs.runs(tmp_path / "jobs", "e", seen)
    assert data(again)["outcome"] == "failed"


def test_each_proof_is_told_once(tmp_path: Path, seen: Seen) -> None:
    path = tmp_path / "proofs.jsonl"
    proof = {"label": "20261128-F", "kind": "full", "repo": 1, "proven_at": 1000.0, "outcome": "passed"}
    path.write_text(json.dumps(proof) + '\ntorn {\n{"kind": "verify", "outcome": "passed", "label": ""}\n')
    (one,) = jobs.proofs(path, "postgresql", "e", seen)
    assert data(one)["label"] == "20261128-F" and data(one)["told"] == proof
    with path.open("a") as more:
        more.write(json.dumps(proof | {"outcome": "failed"}) + "\n")
    (two,) = jobs.proofs(path, "postgresql", "e", seen)
    assert data(two)["outcome"] == "failed"
    assert list(jobs.proofs(path, "postgresql", "e", seen)) == []


# ---- a host's whole part


def test_a_host_gathers_and_ships_all_of_it(
    db: Monitoring, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state(tmp_path / "jobs", "full", 1000.0)
    path = log(tmp_path / "log", took(3000, "SELECT 1"))
    settings = {
        "estate": "e", "host": "backup1", "dsn": db.dsn(), "own": str(tmp_path / "own"),
        "jobs": str(tmp_path / "jobs"), "spools": [str(tmp_path / "none")], "server_log": str(path),
    }  # fmt: skip
    config = tmp_path / "monitor.json"
    config.write_text(json.dumps(settings))
    assert main.main(["ship", "--config", str(config)]) == 0
    assert db.one("select count(*) from job_runs") == 1
    assert db.one("select count(*) from query_performance_logs") == 1
    db.fresh()  # lost, and made anew: what is known here is told again
    assert main.main(["ship", "--config", str(config)]) == 0
    assert db.one("select count(*) from job_runs") == 1
    config.write_text(json.dumps(settings | {"dsn": "host=127.0.0.1 port=1"}))
    state(tmp_path / "jobs", "full", 2000.0)
    assert main.main(["ship", "--config", str(config)]) == 1
    assert "own waits: The monitoring database took nothing" in capsys.readouterr().err
    assert main.main(["status", "--config", str(config)]) == 0
    assert json.loads(capsys.readouterr().out)["spools"][str(tmp_path / "own")]["segments"] == 1


@pytest.mark.parametrize("text", ["{", "[]", '{"estate": "e"}', '{"estate": "e", "colour": 1}'])
def test_settings_that_are_wrong_are_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "monitor.json").write_text(text)
    with pytest.raises(BadConfig, match="is not what it should be"):
        main.load(tmp_path / "monitor.json")
