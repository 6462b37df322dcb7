"""The trading system's scripts and method names: what it called works as it is called."""

from __future__ import annotations

import gzip
import inspect
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from agents.base.errors import AgentError
from agents.sqlite import scripts, settings
from agents.sqlite.database import TradingDatabase
from agents.sqlite.targets import NotReached
from tests.unit.sqlite_kit import ROOT, trade, trades, written

# As the trading system calls them: name -> its arguments with what they are when left out.
CALLED = {
    "_transaction": {}, "_get_connection": {}, "_check_integrity": {}, "backup_database": {"backup_dir": "backups"},
    "restore_database": {"backup_path": inspect.Parameter.empty}, "get_backup_history": {"limit": 10},
    "cleanup_old_backups": {"days": 30}, "get_database_stats": {},
}  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Path:
    made = written(tmp_path)
    with closing(TradingDatabase(settings=settings.load(made))) as database:
        for number in range(5):
            trade(database, number)
    return made


def live(config: Path) -> list[str]:
    return trades(settings.load(config).database("trading").path)


def told(capsys: pytest.CaptureFixture[str], config: Path, *words: str) -> str:
    assert scripts.main(["--config", str(config), *words]) == 0
    return capsys.readouterr().out


def test_every_method_that_the_trading_system_calls_is_there_with_its_arguments() -> None:
    for name, wanted in CALLED.items():
        found = inspect.signature(getattr(TradingDatabase, name)).parameters
        assert {one: found[one].default for one in found if one != "self"} == wanted, name


def test_a_backup_is_taken_listed_verified_and_restored(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "backups")
    path = told(capsys, config, "backup", "--dir", folder).split()[0]
    assert path in told(capsys, config, "restore", "--list")
    assert told(capsys, config, "backup", "--verify") == f"{path} is whole.\n"
    status = told(capsys, config, "backup", "--status")
    assert "trades_count: 5" in status and "integrity_ok: True" in status and path in status
    with closing(TradingDatabase(settings=settings.load(config))) as database:
        trade(database, 5)
    assert "pre_restore" in told(capsys, config, "restore", "--latest")
    assert len(live(config)) == 5


def test_a_copy_that_the_old_script_packed_is_restored(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(TradingDatabase(settings=settings.load(config))) as database:
        path = Path(database.backup_database(tmp_path / "backups"))
        trade(database, 5)
    packed = tmp_path / "trading_data_backup_20241028_120000.db.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    told(capsys, config, "restore", str(packed))
    assert len(live(config)) == 5
    folder = settings.load(config).database("trading").path.parent
    assert not list(folder.glob(".*unpacked*"))


def test_what_is_cut_off_gone_or_was_never_taken_changes_nothing(config: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.db.gz"
    torn.write_bytes(gzip.compress(b"x" * 100_000)[:-20])
    for words, why, kind in (
        (["restore", str(torn)], "does not unpack", AgentError),
        (["restore", str(tmp_path / "none.db.gz")], "There is no", NotReached),
        (["restore", "--latest"], "No copy was ever taken", NotReached),
        (["backup", "--verify"], "No copy was ever taken", NotReached),
    ):
        with pytest.raises(kind, match=why):
            scripts.main(["--config", str(config), *words])
    assert len(live(config)) == 5


def test_a_copy_that_was_damaged_since_fails_its_verification_and_old_ones_stay_without_a_whole_one(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(told(capsys, config, "backup", "--dir", str(tmp_path / "backups")).split()[0])
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(AgentError, match="is not whole"):
        scripts.main(["--config", str(config), "backup", "--verify"])
    assert told(capsys, config, "backup", "--cleanup", "--days", "0").startswith("0 copies")


def test_as_a_program_it_ends_with_a_sentence_and_its_code(config: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agents.sqlite.scripts", "--config", str(config), "restore", "--latest"], cwd=ROOT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("HINT: ")
