"""What this machine has to tell: runs, alarms, validations, drills as lines, and `./dr history` from either side."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agents.monitor.backup import Shelf
from agents.monitor.seen import Seen
from agents.monitor.spool import Spool
from doors import monitor
from drills import telling
from inventories.errors import TargetFailed
from runbooks.alarms.spool import Spool as AlarmSpool
from runbooks.alarms.spool import path_of
from runbooks.hosts import Host
from runbooks.judge import monitoring as judge
from runbooks.monitoring import alarms, backups, quality, runs, shipping, where
from runbooks.probes import monitoring as probe
from runbooks.validation.difference import Check, Difference, Looked
from runbooks.validation.report import Report
from tests.unit.alarms_kit import NOON, finding, ground
from tests.unit.evidence_kit import History, history, told
from tests.unit.monitor_kit import Monitoring, data
from tests.unit.monitor_kit import typed as dr
from tests.unit.test_evidence_doors import ran

INVENTORY = """
_SHARED = {"estate": "mystocks", "monitoring_port": 5434, "ssh_key": "/none", "ssh_known_hosts_file": "/none"}
pg_primary = ([("pg1", {"ssh_hostname": "192.0.2.21"})], _SHARED)
pg_standby = ([("pg2", {"ssh_hostname": "192.0.2.22"})], _SHARED)
backup = ([("backup1", {"ssh_hostname": "192.0.2.31"})], _SHARED)
app = ([("app1", {"ssh_hostname": "192.0.2.11"})], _SHARED)
"""


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    made = history(tmp_path)
    monkeypatch.setenv("DR_RUNS", str(made.files.runs))
    monkeypatch.setenv("DR_STATE", str(tmp_path / "home"))
    return History(replace(made.files, secret=tmp_path / "home" / "evidence"))


@pytest.fixture
def seen(tmp_path: Path) -> Seen:
    return Seen(tmp_path)


# ---- lines


def test_a_run_is_told_again_when_it_went_on(kept: History, seen: Seen, db: Monitoring) -> None:
    folder = kept.files.runs
    ran(folder / "20261128T110000Z-failover", "failover", outcome="")
    ran(folder / "d" / "runbooks" / "20261128T110000Z-rejoin", "rejoin", estate="lab-x")
    first = list(runs.gather(folder, "mystocks", seen))
    assert db.put(first).new == len(first) == 4, "the run and three records of its journal"
    assert list(runs.gather(folder, "mystocks", seen)) == []
    with (folder / "20261128T110000Z-failover" / "journal.jsonl").open("a") as more:
        record = {"seq": 4, "at": "2026-11-28T11:00:09+00:00", "mono": 9.0, "event": "finished", "step": None}
        more.write(json.dumps({**record, "data": {"outcome": "passed"}}) + "\n")
    assert db.put(list(runs.gather(folder, "mystocks", seen))).new == 2
    assert db.sql("select procedure, outcome, steps_done from runs") == [("failover", "passed", 1)]
    assert db.sql("select event from run_steps order by seq")[-1] == ("finished",)
    assert db.one("select count(*) from run_steps where data ? 'state'") == 0


def test_an_alarm_is_told_when_something_happened_to_it(tmp_path: Path, seen: Seen, db: Monitoring) -> None:
    with ground(tmp_path) as made:
        path = made.spool.path

        def put() -> int:
            return db.put(list(alarms.gather(path, "mystocks", seen))).new

        made.see(finding())
        made.see(finding(), at=NOON + 600)
        assert put() == 1
        made.see(finding(), at=NOON + 610)
        assert put() == 0, "one that only goes on is no news"
        made.spool.run("update alarm set acked_at = ?, acked_by = 'ops', note = 'on it'", NOON + 620)
        assert put() == 1
        assert db.sql("select alert_level, alert_status, acknowledged_by, resolution_notes from alert_logs") == [
            ("CRITICAL", "ACKNOWLEDGED", "ops", "on it")
        ]
        made.see(at=NOON + 700)
        made.see(at=NOON + 4000)
        assert put() == 1
        ((status, count),) = db.sql("select alert_status, occurrence_count from alert_logs")
        assert (status, count) == ("RESOLVED", 3)


def test_no_alarms_were_ever_raised_here(tmp_path: Path, seen: Seen) -> None:
    assert list(alarms.gather(tmp_path / "none.db", "mystocks", seen)) == [] and not (tmp_path / "none.db").exists()


def test_a_validation_is_a_line_for_each_check_and_each_table_that_is_wrong(db: Monitoring) -> None:
    wrong = (
        Difference(Check.RULE, "trade_records", "price", "above 0", "-1"),
        Difference(Check.RULE, "trade_records", "volume", "above 0", "-2"),
        Difference(Check.RULE, "daily_kline", "high", "at least low", "3"),
    )
    report = Report("postgresql", "pg1", "full", "", 30, (
        Looked(Check.FRESHNESS, "tables", 12), Looked(Check.RULE, "rules", 40, differences=wrong),
        Looked(Check.COMPLETENESS, "columns", 0), Looked(Check.CONTENT, "days", 3, "2 days not comparable"),
    ), 2.5)  # fmt: skip
    lines = list(quality.lines(report, "postgresql", "mystocks", 2.5))
    assert db.put(lines).new == len(lines) == 6
    columns = "check_type, table_name, check_status, invalid_records"
    found = db.sql(f"select {columns} from data_quality_logs order by check_id")
    assert found == [
        ("FRESHNESS", None, "PASS", 0), ("ACCURACY", None, "FAIL", 3), ("ACCURACY", "daily_kline", "FAIL", 1),
        ("ACCURACY", "trade_records", "FAIL", 2), ("COMPLETENESS", None, "FAIL", 0), ("ACCURACY", None, "WARNING", 0),
    ]  # fmt: skip


def test_drills_come_with_what_was_promised_and_measured(kept: History, seen: Seen, db: Monitoring) -> None:
    kept.add(told(estate="mystocks"), told("bad-update", estate="lab-x"), told("bad-update", 2, estate="mystocks"))
    promised = {"rto_s": 5.0, "rpo_rows": 0, "rows_per_s": 5000.0}
    result = {"objectives": promised, "rto_s": 1.7, "lost": 3, "rows_per_s": 6000}
    folder = kept.files.runs / "run-primary-power-loss-1"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result))
    lines = list(telling.gather(kept.files, "mystocks", seen))
    db.put(lines)
    assert db.sql("select seq, scenario, outcome from drills order by seq") == [
        (1, "primary-power-loss", "passed"), (3, "bad-update", "passed"),
    ]  # fmt: skip
    assert db.sql("select name, promised, measured, kept from objectives o join drills using (drill_id) where seq = 1"
                  " order by name") == [
        ("rows_per_s", 5000, 6000, True), ("rpo_rows", 0, 3, False), ("rto_s", 5, 1.7, True),
    ]  # fmt: skip
    assert list(telling.gather(kept.files, "mystocks", seen)) == []
    kept.add(told("primary-crash", estate="mystocks"))
    assert [data(one)["seq"] for one in telling.gather(kept.files, "mystocks", seen) if "seq" in data(one)] == [4]


def test_a_backup_that_was_let_go_is_told(seen: Seen, monkeypatch: pytest.MonkeyPatch, db: Monitoring) -> None:
    there = [backups.Kept("postgresql full", "F1", 1000.0, "passed", 9.0, "F1: never proven")]
    monkeypatch.setattr(backups, "kept", lambda _: iter(there))
    estate: Any = type("Estate", (), {"name": "mystocks"})
    assert db.put(list(backups.gather(estate, seen))).new == 1
    assert list(backups.gather(estate, seen)) == []
    there.clear()
    assert db.put(list(backups.gather(estate, seen))).new == 1
    assert db.sql("select outcome from backups") == [("let go",)]


# ---- ./dr history and ./dr monitor


class Far:
    """The backup host: its programs run here, on the test's database. `away`: it does not answer."""

    def __init__(self, db: Monitoring) -> None:
        self.db, self.away = db, ""

    def must_answer(self, *_: object) -> None:
        if self.away:
            raise TargetFailed(self.away)

    def ask(self, _host: object, module: str, *words: str, timeout: float, stdin: str = "") -> Any:
        mine = [self.db.dsn() if "port=5434" in word else word for word in words]
        command = [sys.executable, "-m", f"agents.{module}", *mine]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=timeout)
        if done.returncode:
            raise TargetFailed(done.stderr.splitlines()[0])
        return json.loads(done.stdout)


@pytest.fixture
def far(db: Monitoring, kept: History, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Far:
    made = Far(db)
    for module in (shipping, probe):
        monkeypatch.setattr(module, "ask", made.ask)
    monkeypatch.setattr(probe, "BACKUPS", str(tmp_path / "backups"))
    monkeypatch.setattr(Host, "must_answer", lambda *_: made.must_answer())
    monkeypatch.setattr(backups, "kept", lambda _: iter(()))
    path = tmp_path / "estate.py"
    path.write_text(INVENTORY)
    monkeypatch.setenv("DR_INVENTORY", str(path))
    return made


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Run:
    return lambda *words: dr(capsys, *words)


def test_the_history_comes_from_the_database_or_from_here_and_says_which(kept: History, far: Far, typed: Run) -> None:
    kept.add(told("primary-crash", estate="mystocks"))
    ran(kept.files.runs / "20261128T110000Z-switchover", "switchover")
    there = json.loads(typed("history", "--json")[1])
    assert there["source"] == "the monitoring database on backup1" and there["troubles"] == []
    assert far.db.one("select count(*) from runs") == 1
    far.away = "backup1 is away"
    code, out, err = typed("history", "--json")
    here = json.loads(out)
    assert here["source"] == "this machine's files"
    assert code == 1 and "the monitoring database does not tell: backup1 is away." in err
    assert here["entries"] == there["entries"], "both tell the same of the same"
    assert {one["what"] for one in here["entries"]} == {"drills", "runs"}


def test_what_happened_while_the_database_was_away_is_there_afterwards(kept: History, far: Far, typed: Run) -> None:
    far.away = "backup1 is away"
    ran(kept.files.runs / "20261128T110000Z-switchover", "switchover")
    assert typed("monitor.ship")[0] == 1
    assert where.spool("mystocks").depth().segments == 1
    assert typed("monitor.status")[0] == 1
    far.away = ""
    code, out, _ = typed("monitor.ship")
    assert code == 0 and out.startswith("5 lines shipped, 5 of them new.")
    assert typed("monitor.ship")[1].startswith("0 lines shipped")


def test_a_status_says_whether_the_history_could_be_lost(kept: History, far: Far, typed: Run) -> None:
    shelf = Shelf(f"host=127.0.0.1 port={far.db.server.port} user=postgres", Path(probe.BACKUPS))
    code, out, _ = typed("monitor.status")
    assert code == 1 and "The database answers; there is no backup of it." in out
    shelf.take()
    code, out, _ = typed("monitor.status")
    assert code == 1 and "none was ever proven by a restore." in out
    shelf.prove()
    code, out, _ = typed("monitor.status", "--json")
    assert code == 0 and json.loads(out)["safe"] is True
    far.db.server.sql("DROP DATABASE monitoring WITH (FORCE)", database="postgres")
    code, out, _ = typed("monitor.status")
    assert code == 1 and re.search(r"The database does not answer; its newest backup is \d+ s old, ", out)
    far.away = "backup1 is away"
    code, out, _ = typed("monitor.status")
    assert code == 1 and "Whether it has a backup of its own is unknown: backup1 is away." in out


def known(*backups: probe.Backup, trouble: str = "") -> list[str]:
    return [one.measured for one in judge.findings(probe.Monitoring(trouble, backups, 172_800.0))]


def test_a_backup_older_than_what_spools_keep_or_damaged_is_none() -> None:
    good = probe.Backup("good", 3600.0, True)
    assert known(good) == [] and known(good, probe.Backup("new", 60.0, None)) == []
    assert known(probe.Backup("old", 176_400.0, True)) == [
        "the newest is 49.0 h old, and spools keep what they shipped for 48.0 h"
    ]
    assert known(good, probe.Backup("bad", 60.0, False)) == ["the newest, bad, was found damaged"]
    assert known(probe.Backup("new", 60.0, None)) == ["none was ever proven by a restore"]
    assert known(good, trouble="It refuses connections.") == ["It refuses connections"]


def test_a_source_that_cannot_be_read_keeps_no_other_back(
    kept: History, far: Far, typed: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(_: object) -> Iterator[backups.Kept]:
        yield backups.Kept("postgresql full", "F1", 1000.0, "passed", 9.0, "F1: never proven")
        raise TargetFailed("the repository is damaged")

    monkeypatch.setattr(backups, "kept", damaged)
    ran(kept.files.runs / "20261128T110000Z-switchover", "switchover")
    code, _, err = typed("monitor.ship")
    assert code == 1 and err.startswith("the repository is damaged")
    assert far.db.one("select count(*) from runs") == 1


def test_a_database_that_was_made_anew_is_told_everything(kept: History, far: Far, typed: Run) -> None:
    kept.add(told("primary-crash", estate="mystocks"))
    ran(kept.files.runs / "20261128T110000Z-switchover", "switchover")
    before = json.loads(typed("history", "--json")[1])["entries"]
    far.db.fresh()
    assert json.loads(typed("history", "--json")[1])["entries"] == before and len(before) == 2


def test_a_lost_database_is_restored_and_told_the_rest(
    kept: History, far: Far, typed: Run
) -> None:
    ran(kept.files.runs / "20261128T110000Z-switchover", "switchover")
    typed("monitor.ship")
    Shelf(f"host=127.0.0.1 port={far.db.server.port} user=postgres", Path(probe.BACKUPS)).take()
    ran(kept.files.runs / "20261128T120000Z-failover", "failover")
    typed("monitor.ship")
    before = json.loads(typed("history", "--json")[1])["entries"]
    code, _, err = typed("monitor.restore")
    assert code == 3 and "HINT: say so with --yes" in err
    far.db.server.sql("DROP DATABASE monitoring WITH (FORCE)", database="postgres")
    assert typed("history", "--json")[0] == 1
    code, out, err = typed("monitor.restore", "--yes")
    assert (code, err) == (0, "") and "this machine told it 5 lines that it lacked" in out
    assert json.loads(typed("history", "--json")[1])["entries"] == before


def test_a_history_with_a_hole_says_so(far: Far, typed: Run) -> None:
    far.db.put(["garbage"])
    code, _, err = typed("history")
    assert code == 1 and "1 lines fit no table." in err


def test_an_estate_without_a_monitoring_database_is_a_sentence(
    far: Far, typed: Run, tmp_path: Path
) -> None:
    (tmp_path / "estate.py").write_text(INVENTORY.replace('"monitoring_port": 5434, ', ""))
    for words in (("monitor.ship",), ("monitor.status",)):
        code, _, err = typed(*words)
        assert code == 2 and err.splitlines()[0] == "mystocks has no monitoring database" and "HINT: " in err
    assert json.loads(typed("history", "--what", "runs", "--json")[1])["source"] == "this machine's files"


@pytest.mark.parametrize("port", ['"5434"', "True", "80"])
def test_a_port_that_is_none_is_said_by_each(far: Far, typed: Run, tmp_path: Path, port: str) -> None:
    (tmp_path / "estate.py").write_text(INVENTORY.replace("5434", port))
    code, _, err = typed("monitor.ship")
    assert code == 2 and err.startswith("monitoring_port of mystocks is ")
    code, _, err = typed("history")
    assert code == 1 and "monitoring_port of mystocks is " in err


def test_a_validation_is_kept_for_the_database_and_fails_for_none(far: Far, tmp_path: Path) -> None:
    from runbooks import hosts

    estate = hosts.load()
    said: list[str] = []
    shipping.noted(estate, ["a"], said.append)
    assert where.spool("mystocks").depth().segments == 1 and said == []
    where.spool("mystocks").folder.rename(tmp_path / "moved")
    where.spool("mystocks").folder.write_text("no folder")
    shipping.noted(estate, ["b"], said.append)
    assert len(said) == 1 and "is not in the history of mystocks" in said[0]


def test_an_alarming_host_knows_of_no_drills(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    from runbooks import hosts

    assert len(monitor.sources(hosts.load())) == 4
    monkeypatch.setattr(monitor, "find_spec", lambda _: None)
    assert len(monitor.sources(hosts.load())) == 3


def test_alarms_come_from_where_they_are_raised(kept: History, far: Far, typed: Run) -> None:
    spool = AlarmSpool(path_of("mystocks"))
    spool.run(
        "insert into alarm (rule, subject, figure, labels, severity, says, hint, first_at, last_at, fired_at) "
        "values ('writes', 'pg1', 'finding', '{}', 2, 'nobody writes', './dr failover', ?, ?, ?)",
        *[datetime(2026, 11, 28, tzinfo=UTC).timestamp()] * 3,
    )
    spool.close()
    there = json.loads(typed("history", "--what", "alarms", "--json")[1])
    assert there["source"].startswith("the monitoring database") and there["entries"][0]["outcome"] == "open"
    far.away = "away"
    (here,) = json.loads(typed("history", "--what", "alarms", "--json")[1])["entries"]
    assert (here["name"], here["says"]) == ("writes", "critical: nobody writes, 1 times")


def test_a_spool_is_of_one_estate() -> None:
    assert isinstance(where.spool("a/b"), Spool) and where.spool("a/b").folder.name == "a%2Fb"
