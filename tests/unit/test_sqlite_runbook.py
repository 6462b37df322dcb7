"""sqlite-restore on real processes of this machine: restored, rolled back, refused; systemd alone is played."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from agents.sqlite.database import TradingDatabase
from inventories.errors import BadInput, Refused
from runbooks import agent
from runbooks.actions.sqlite import restore as act
from runbooks.engine import runner
from runbooks.engine.context import Context
from runbooks.engine.outcome import Outcome
from runbooks.engine.result import RunResult
from runbooks.hosts import Ran
from runbooks.long_work.work import Work
from runbooks.procedures import checks
from runbooks.procedures.sqlite import restore as procedure
from runbooks.procedures.sqlite.restore import SQLITE_RESTORE, SqliteRestore, SqliteRestoreOptions
from tests.unit.sqlite_kit import ROOT, Estate, protected, trade, trades, until

WRITER = "trader.service"
UNITS = {WRITER: "writer", "mystocks-sqlite@trading": "protector"}


@dataclass
class Here:
    """An application host that is this machine: our programs run, systemctl starts and ends the kit's processes."""

    kit: Estate
    name: str = "app1"
    asked: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return self.name

    def reachable(self) -> bool:
        return True

    def run(
        self, command: str, *words: object, timeout: float | None = None, expect: int | None = 0, user: str = "root",
        stdin: str | None = None,
    ) -> Ran:  # fmt: skip
        self.asked.append(" ".join([command.split()[0], *command.split()[1:2], *map(str, words)]))
        if command.startswith("systemctl"):
            return self._systemctl(command.split()[1].strip(), [str(word) for word in words])
        if command.startswith(("test -e", "install -d")):
            return Ran(0, "", "", 0.0)
        text = command % tuple(shlex.quote(str(word)) for word in words)
        text = text.replace(agent.ROOT, str(ROOT)).replace("python3", sys.executable)
        done = subprocess.run(
            ["sh", "-c", text], env={"MYSTOCKS_SQLITE": str(self.kit.config), "PATH": "/usr/bin:/bin"},
            capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr, 0.0)

    def _systemctl(self, verb: str, units: list[str]) -> Ran:
        if verb == "is-active":
            return Ran(0, "\n".join("active" if UNITS[one] in self.kit.running else "inactive" for one in units), "", 0)
        for one in dict.fromkeys(units):
            if verb == "stop" and UNITS[one] in self.kit.running:
                self.kit.kill(UNITS[one], signal.SIGTERM)
            if verb == "reset-failed":  # and start, in one command
                self.kit.start(UNITS[one])
        return Ran(0, "", "", 0.0)


@dataclass
class Hosts:
    host_: Here
    name: str = "mine"
    inventory: str = "mine"
    data: dict[str, Any] = field(
        default_factory=lambda: {"sqlite_databases": ["trading"], "sqlite_writers": {"trading": [WRITER]}}
    )

    def group(self, _: str) -> tuple[Here, ...]:
        return (self.host_,)

    def host(self, _: str) -> Here:
        return self.host_


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Estate]:
    made = Estate(tmp_path, tmp_path / "pki")
    with closing(made.database()) as database:
        made.start()
        for number in range(10):
            trade(database, number)
        protected(made.asking())
    made.first = 10
    yield made
    made.end()


@pytest.fixture
def estate(kit: Estate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hosts:
    def work(host: Here, wanted: Work, *_: object, **__: object) -> Ran:
        module, *words = wanted.argv[2:]
        return agent.run(host, module.removeprefix("agents."), *words, timeout=60)  # type: ignore[arg-type]

    monkeypatch.setattr(agent, "run_work", work)
    monkeypatch.setattr(checks, "passed", lambda *_, **__: None)
    monkeypatch.setenv("DR_STATE", str(tmp_path / "state"))
    return Hosts(Here(kit))


def ran(estate: Any, *, yes: bool = True, resume: bool = False, **said: Any) -> RunResult[SqliteRestore]:
    """A new run, or the last one gone on with."""
    there = len(list(estate.host_.kit.folder.glob("run-*")))
    folder = estate.host_.kit.folder / f"run-{there - resume}"
    folder.mkdir(exist_ok=resume)
    return runner.run(SQLITE_RESTORE, Context(estate, SqliteRestoreOptions(yes=yes, **said), folder), resume=resume)


def ids(numbers: range) -> list[str]:
    return [f"t-{number:08d}" for number in numbers]


def live(kit: Estate) -> list[str]:
    with closing(TradingDatabase(settings=kit.settings)) as database:
        found = database._get_connection().execute("SELECT trade_id FROM trades ORDER BY id")
        return [one for (one,) in found]


def test_without_consent_it_is_built_and_checked_and_nobody_is_stopped(estate: Hosts, kit: Estate) -> None:
    found = ran(estate, yes=False)
    assert found.outcome is Outcome.PASSED, found.error
    assert "10 trades" in " ".join(found.state.told) and "repeat with --yes" in found.state.told[-1]
    assert "protector" in kit.running
    assert not [one for one in estate.host_.asked if "stop" in one]


def test_the_writer_is_stopped_and_started_again_and_the_new_database_is_protected(estate: Hosts, kit: Estate) -> None:
    """To a transaction: what came after is gone from the database, and is kept in pre_restore."""
    tx = kit.asking().protected().tx
    kit.start("writer")
    until(lambda: len(kit.noted()) > 20)
    found = ran(estate, tx=tx)
    assert found.outcome is Outcome.PASSED, found.error
    assert {"writer", "protector"} <= set(kit.running)
    kept = trades(Path(found.state.safety) / "trading.db")
    assert kept[:10] == ids(range(10)) and len(kept) > 30
    assert live(kit)[:10] == ids(range(10))
    assert protected(kit.asking()).based


def test_the_newest_has_what_was_committed_a_moment_before_the_writer_was_stopped(estate: Hosts, kit: Estate) -> None:
    kit.start("writer")
    until(lambda: len(kit.noted()) > 20)
    found = ran(estate)
    assert found.outcome is Outcome.PASSED, found.error
    assert set(trades(Path(found.state.safety) / "trading.db")) <= set(live(kit))


def test_to_a_moment_brings_what_was_committed_by_then_in_whichever_zone_it_is_said(estate: Hosts, kit: Estate) -> None:
    moment = datetime.fromtimestamp(protected(kit.asking()).at + 0.001, timezone(timedelta(hours=8)))
    time.sleep(0.05)
    kit.start("writer")
    until(lambda: len(kit.noted()) > 20)
    kit.kill("writer", signal.SIGTERM)
    found = ran(estate, to=moment.isoformat())
    assert found.outcome is Outcome.PASSED, found.error
    assert live(kit) == ids(range(10))
    assert len(trades(Path(found.state.safety) / "trading.db")) > 30


def test_a_table_of_a_moment_comes_back_and_the_others_stay_as_they_are_now(estate: Hosts, kit: Estate) -> None:
    moment = datetime.fromtimestamp(protected(kit.asking()).at + 0.001, timezone.utc)
    time.sleep(0.05)
    with closing(kit.database()) as database, database._transaction() as connection:
        connection.execute("UPDATE trades SET price = 0")
        connection.execute("INSERT INTO signals (asset, signal_type, strength, timestamp) VALUES ('BTC', 'x', 1, '1')")
    found = ran(estate, to=moment.isoformat(), table="trades")
    assert found.outcome is Outcome.PASSED, found.error
    with closing(kit.database()) as database:
        assert database.get_database_stats()["signals_count"] == 1
        [(least,)] = database._get_connection().execute("SELECT min(price) FROM trades")
    assert least == 100.25


@pytest.mark.parametrize("swapped", [False, True], ids=["before the swap", "after the swap"])
def test_a_run_that_was_cut_off_in_its_restore_is_resumed_to_the_end(
    estate: Hosts, kit: Estate, monkeypatch: pytest.MonkeyPatch, swapped: bool
) -> None:
    """Whoever ran it was killed; the writers stand still until somebody goes on."""
    tx = kit.asking().protected().tx
    kit.start("writer")
    until(lambda: len(kit.noted()) > 20)
    real = act.restore

    def cut_off(*words: Any) -> Any:
        if swapped:
            real(*words)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(act, "restore", cut_off)
        assert ran(estate, tx=tx).outcome is Outcome.INTERRUPTED
    assert kit.running.keys() == {"receiver"}
    found = ran(estate, tx=tx, resume=True)
    assert found.outcome is Outcome.PASSED, found.error
    assert live(kit)[:10] == ids(range(10)) and {"writer", "protector"} <= set(kit.running)
    kept = [path for path in kit.path.parent.glob("pre_restore/*/trading.db") if len(trades(path)) > 30]
    assert kept, "what was there before the first try is kept"


def test_a_run_is_not_resumed_beside_somebody_who_has_begun_to_write(
    estate: Hosts, kit: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.start("writer")
    until(lambda: len(kit.noted()) > 5)

    def cut_off(*_: object) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(act, "restore", cut_off)
        assert ran(estate).outcome is Outcome.INTERRUPTED
    before = len(live(kit))
    kit.first = 1000
    kit.start("writer")
    until(lambda: len(live(kit)) > before)
    found = ran(estate, resume=True)
    assert found.outcome is not Outcome.PASSED and "trading is in use" in found.error
    assert "writer" in kit.running


def test_who_else_has_it_open_is_named_and_what_was_stopped_goes_on(estate: Hosts, kit: Estate) -> None:
    kit.start("writer")
    until(lambda: len(kit.noted()) > 5)
    open_here = subprocess.Popen(
        [sys.executable, "-c", "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
         "c.execute('SELECT count(*) FROM trades').fetchone(); print(flush=True); sys.stdin.read()", str(kit.path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert open_here.stdout
    open_here.stdout.readline()
    try:
        found = ran(estate)
    finally:
        open_here.kill()
        open_here.wait()
    assert found.outcome is Outcome.FAILED and found.steps[-1].name == "stop"
    assert f"(pid {open_here.pid})" in found.error
    assert "sqlite_writers" in found.hint
    assert {"writer", "protector"} <= set(kit.running)
    assert not list(kit.path.parent.glob("pre_restore/*"))


def test_what_the_host_refuses_half_way_is_taken_back(
    estate: Hosts, kit: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise Refused("app1: trading.db is in use: python3 (pid 7).", "Stop it.")

    monkeypatch.setattr(act, "restore", refused)
    kit.start("writer")
    found = ran(estate)
    assert found.outcome is Outcome.FAILED and found.steps[-1].name == "restore"
    assert {"writer", "protector"} <= set(kit.running)


def test_one_table_comes_back_while_the_writer_writes_on(estate: Hosts, kit: Estate) -> None:
    tx = kit.asking().protected().tx
    with closing(kit.database()) as database, database._transaction() as connection:
        connection.execute("INSERT INTO signals (asset, signal_type, strength, timestamp) VALUES ('BTC', 'x', 1, '1')")
    kit.start("writer")
    until(lambda: len(kit.noted()) > 5)
    found = ran(estate, tx=tx, table="signals")
    assert found.outcome is Outcome.PASSED, found.error
    assert not [one for one in estate.host_.asked if one.startswith("systemctl stop")]
    with closing(kit.database()) as database:
        assert database.get_database_stats()["signals_count"] == 0
    assert len(live(kit)) > 15


def test_a_lost_database_comes_back_and_its_waiting_protector_goes_on(estate: Hosts, kit: Estate) -> None:
    kit.kill("protector")
    for path in [*kit.path.parent.glob("trading.db*")]:
        path.unlink()
    kit.start("protector")
    found = ran(estate)
    assert found.outcome is Outcome.PASSED, found.error
    assert any("there is no" in told for told in found.state.told)
    assert live(kit) == ids(range(10)) and found.state.safety == ""


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"to": "yesterday"}, "is no time"),
        ({"to": "2026-11-28T10:00:00"}, "has no zone"),
        ({"to": "2026-11-28T10:00:00Z", "tx": 4}, "--to and --tx were given"),
        ({"tx": -1}, "--tx is -1"),
        ({"database": "tradnig"}, "has no SQLite database 'tradnig'"),
        ({"host": "pg1"}, "'pg1' is no application host"),
    ],
)
def test_what_is_typed_wrongly_is_one_sentence_before_anything(said: dict[str, Any], why: str) -> None:
    there: Any = Hosts(Here(None))  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=why):
        procedure.wanted(Context(there, SqliteRestoreOptions(**said), Path()))


def test_a_moment_before_every_backup_stops_nobody(estate: Hosts, kit: Estate) -> None:
    found = ran(estate, to="2020-01-01T00:00:00+08:00")
    assert found.outcome is Outcome.FAILED and "No sound snapshot is so old" in found.error
    assert "protector" in kit.running


def test_a_host_without_the_programs_is_refused_with_the_deploy(estate: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Here, "run", lambda *_, **__: Ran(1, "", "", 0.0))
    found = ran(estate)
    assert found.outcome is Outcome.REFUSED and "./dr deploy --limit app1" in found.hint

