"""A restore ends with the old database or with the new one, whatever it is killed by, and keeps the old one."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

import pytest

from agents.base.errors import AgentError
from agents.sqlite import checks, placing, restore, swap
from agents.sqlite.database import TradingDatabase
from agents.sqlite.ground import InUse, NoDatabase
from agents.sqlite.one_table import NotFitting
from agents.sqlite.session import Damaged
from agents.sqlite.settings import load
from agents.sqlite.targets import NotReached, Target
from tests.unit.sqlite_kit import ROOT, Estate, protected, trade, trades, until, written

STEPS = ("built", "alone", "kept", "renamed", "swapped", "checked")


@pytest.fixture
def estate(tmp_path: Path) -> Iterator[Estate]:
    made = Estate(tmp_path, tmp_path / "pki")
    yield made
    made.end()


def ids(numbers: range) -> list[str]:
    return [f"t-{number:08d}" for number in numbers]


def wrote(estate: Estate, numbers: range) -> tuple[int, float]:
    """Trades that are protected: the last one's transaction, and a moment after it."""
    with closing(estate.database()) as database:
        for number in numbers:
            trade(database, number)
        tx = protected(estate.asking()).tx
    return tx, time.time()


def called(estate: Estate, *words: str) -> tuple[int, dict[str, object], str]:
    command = [sys.executable, "-m", "agents.sqlite.restore", "--config", str(estate.config), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def live(estate: Estate) -> list[str]:
    with closing(sqlite3.connect(estate.path)) as connection:
        checks.sound(connection, estate.path)
    return trades(estate.path)


def test_latest_by_time_by_transaction_and_by_backup(estate: Estate) -> None:
    estate.database().close()
    estate.start()
    tx, then = wrote(estate, range(10))
    wrote(estate, range(10, 20))
    until(lambda: bool(restore.listed(estate.settings, "trading")["snapshots"][0]["proven"]))
    first = restore.listed(estate.settings, "trading")["snapshots"][-1]
    estate.kill("protector", signal.SIGTERM)
    moment = datetime.fromtimestamp(then, timezone.utc).isoformat()
    for words, count in (
        (("--time", moment), 10),
        (("--backup", first["label"]), first["rows"]["trades"]),
        (("--tx", str(tx)), 10),
        (("--latest",), 20),
    ):
        code, said, errors = called(estate, *words)
        assert code == 0, errors
        assert (live(estate), len(said["rows"])) == (ids(range(count)), 5)  # type: ignore[arg-type]
        assert Path(str(said["safety"]), "trading.db").exists()
    assert len(called(estate, "--history")[1]["restores"]) == 4  # type: ignore[arg-type]
    assert len(called(estate, "--list")[1]["here"]) == 4  # type: ignore[arg-type]
    assert called(estate, "--verify")[1]["proven"] is True
    code, said, _ = called(estate, "--status")
    assert (code, said["whole"], said["protected"]) == (1, True, False)
    estate.start("protector")
    until(lambda: called(estate, "--status")[0] == 0)


def test_what_came_after_a_restore_is_protected_and_what_was_before_stays_within_reach(estate: Estate) -> None:
    estate.database().close()
    estate.start()
    tx, _ = wrote(estate, range(5))
    later, _ = wrote(estate, range(5, 10))
    estate.kill("protector", signal.SIGTERM)
    restore.restore(estate.settings, "trading", Target(tx=tx))
    estate.start("protector")
    until(lambda: estate.settings.socket("trading").exists())
    wrote(estate, range(100, 103))
    estate.kill("protector", signal.SIGTERM)
    estate.path.unlink()
    assert restore.restore(estate.settings, "trading", Target())["newest"]
    assert live(estate) == [*ids(range(5)), *ids(range(100, 103))]
    restore.restore(estate.settings, "trading", Target(tx=later))
    assert live(estate) == ids(range(10))


def test_a_plan_builds_and_checks_and_changes_nothing(estate: Estate) -> None:
    estate.database().close()
    estate.start()
    tx, _ = wrote(estate, range(3))
    before = estate.path.stat()
    code, said, _ = called(estate, "--tx", str(tx), "--plan")
    assert (code, said["rows"]["trades"], "safety" in said) == (0, 3, False)  # type: ignore[index]
    assert estate.path.stat().st_ino == before.st_ino
    assert not list(estate.path.parent.glob(".trading.db.restoring*"))


def test_who_has_it_open_is_named_and_nothing_is_changed(estate: Estate) -> None:
    estate.database().close()
    estate.start()
    wrote(estate, range(3))
    before = estate.path.stat()
    code, _, errors = called(estate, "--latest")
    assert code == 3
    assert f"(pid {estate.running['protector'].pid})" in errors and "is in use" in errors
    assert estate.path.stat().st_ino == before.st_ino
    with closing(estate.database()) as database:
        assert database._get_connection().execute("PRAGMA journal_mode").fetchone() == ("wal",)
        trade(database, 3)


DYING = """
import os, sys
from pathlib import Path
from agents.sqlite import placing, settings, swap
from agents.sqlite.ground import NoDatabase
step = sys.argv[3]
def reached(name):
    if name == step:
        os.kill(os.getpid(), 9)
swap.reached = reached
def failing(path):
    raise NoDatabase("it is not well in its place")
if sys.argv[4:] == ["ill"]:
    swap.open_again = failing
placing.from_file(settings.load(Path(sys.argv[1])).database("trading"), Path(sys.argv[2]))
"""


def killed(config: Path, source: Path, step: str, *ill: str) -> int:
    return subprocess.run(
        [sys.executable, "-c", DYING, str(config), str(source), step, *ill], cwd=ROOT, check=False
    ).returncode


def made(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Settings, the database with five trades in its file and three more in its log alone, a copy with two."""
    config = written(tmp_path)
    settings = load(config)
    database = TradingDatabase(settings=settings)
    for number in range(2):
        trade(database, number)
    copy = Path(database.backup_database(tmp_path / "backups"))
    for number in range(2, 5):
        trade(database, number)
    database._get_connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for number in range(5, 8):
        trade(database, number)
    # As a process that was killed leaves it: what is in the log is in the log alone.
    path = database.path
    aside = {e: Path(f"{path}{e}").read_bytes() for e in ("", "-wal")}
    database.close()
    for ending, content in aside.items():
        Path(f"{path}{ending}").write_bytes(content)
    return config, path, copy


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_it_ends_old_or_new_and_a_second_one_ends_new(tmp_path: Path, step: str) -> None:
    config, path, copy = made(tmp_path)
    assert killed(config, copy, step) == -signal.SIGKILL
    assert trades(path) == (ids(range(2)) if step in ("renamed", "swapped", "checked") else ids(range(8)))
    assert killed(config, copy, "none") == 0
    assert trades(path) == ids(range(2))
    assert not [one.name for one in path.parent.iterdir() if one.name.startswith(".") and "lock" not in one.name]


@pytest.mark.parametrize("seed", range(12))
def test_killed_at_any_moment_it_ends_old_or_new(tmp_path: Path, seed: int) -> None:
    config, path, copy = made(tmp_path)
    dying = subprocess.Popen([sys.executable, "-c", DYING, str(config), str(copy), "none"], cwd=ROOT)
    until(lambda: bool(list(path.parent.glob(".trading.db.restor*"))) or dying.poll() is not None)
    time.sleep(seed * 0.004)
    dying.kill()
    dying.wait()
    assert trades(path) in (ids(range(2)), ids(range(8)))


@pytest.mark.parametrize("step", ["kept", "bare", "renamed"])
def test_killed_over_a_file_that_is_none_the_old_one_is_kept_with_its_log(tmp_path: Path, step: str) -> None:
    config, path, copy = made(tmp_path)
    path.write_bytes(b"no database at all " * 500)
    log = Path(f"{path}-wal").read_bytes()
    assert killed(config, copy, step) == -signal.SIGKILL
    kept = next((path.parent / swap.SAFETY).glob("*/trading.db"))
    assert kept.read_bytes().startswith(b"no database") and Path(f"{kept}-wal").read_bytes() == log
    assert killed(config, copy, "none") == 0
    assert trades(path) == ids(range(2))


def test_a_log_beside_a_file_that_is_none_stays_when_somebody_tries_to_open_it(tmp_path: Path) -> None:
    config, path, _ = made(tmp_path)
    log = Path(f"{path}-wal").read_bytes()
    path.write_bytes(b"no database at all " * 500)
    with pytest.raises(NoDatabase, match="is no SQLite database"):
        TradingDatabase(settings=load(config))
    assert Path(f"{path}-wal").read_bytes() == log


def test_what_is_not_well_in_its_place_is_rolled_back(tmp_path: Path) -> None:
    config, path, copy = made(tmp_path)
    assert killed(config, copy, "none", "ill") == 1
    assert trades(path) == ids(range(8))


def test_a_log_that_a_lost_file_left_is_not_taken_for_the_new_ones(tmp_path: Path) -> None:
    config, path, copy = made(tmp_path)
    path.unlink()
    assert killed(config, copy, "none") == 0
    assert trades(path) == ids(range(2))
    assert list((path.parent / swap.SAFETY).glob("*/trading.db-wal"))


def test_a_page_that_was_overwritten_is_told_and_restored_and_nothing_protected_is_lost(estate: Estate) -> None:
    estate.database().close()
    estate.start()
    wrote(estate, range(2000))
    estate.kill("protector", signal.SIGTERM)
    with closing(sqlite3.connect(estate.path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(estate.path.read_bytes())
    content[20 * 4096 : 21 * 4096] = os.urandom(4096)
    estate.path.write_bytes(content)
    with pytest.raises(Damaged):
        estate.database()
    assert called(estate, "--latest")[0] == 0
    assert live(estate) == ids(range(2000))


def test_the_safety_copy_brings_back_what_a_restore_took_away(tmp_path: Path) -> None:
    config, path, copy = made(tmp_path)
    database = TradingDatabase(settings=load(config))
    assert database.restore_database(copy) is True
    assert database.get_database_stats()["trades_count"] == 2
    copy.unlink()  # every backup is gone
    kept = next((path.parent / swap.SAFETY).glob("*/trading.db"))
    assert database.restore_database(kept) is True
    assert database.get_database_stats()["trades_count"] == 8
    trade(database, 8)


def test_one_table_comes_back_and_the_others_stay(estate: Estate) -> None:
    database = estate.database()
    estate.start()
    tx, _ = wrote(estate, range(10))
    with database._transaction() as connection:
        connection.execute("DELETE FROM trades WHERE id > 3")
        connection.execute("INSERT INTO signals (asset, signal_type, strength, timestamp) VALUES ('BTC', 'x', 1, 'x')")
    code, said, errors = called(estate, "--tx", str(tx), "--table", "trades")
    assert code == 0, errors
    assert (said["before"], said["restored"]) == (3, 10)
    stats = database.get_database_stats()
    assert (stats["trades_count"], stats["signals_count"]) == (10, 1)
    assert estate.asking().protected(), "and the restore itself is protected"
    with database._transaction() as connection:
        connection.execute("DROP TABLE trades")
    assert called(estate, "--tx", str(tx), "--table", "trades")[1]["restored"] == 10
    index = "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND tbl_name = 'trades' AND sql IS NOT NULL"
    assert database._get_connection().execute(index).fetchone() == (2,)


def test_a_table_that_others_refer_to_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    settings = load(written(tmp_path))
    database = TradingDatabase(settings=settings)
    copy = Path(database.backup_database(tmp_path / "backups"))
    with database._transaction() as connection:
        connection.execute("INSERT INTO signals (asset, signal_type, strength, timestamp) VALUES ('BTC', 'x', 1, 'x')")
        connection.execute(
            "INSERT INTO trades (trade_id, asset, side, quantity, price, signal_id, timestamp) "
            "VALUES ('t', 'BTC', 'buy', 1, 1, 1, 'x')"
        )
    with pytest.raises(NotFitting, match="would refer to nothing in signals"):
        placing.from_file(settings.database("trading"), copy, "signals")
    assert database.get_database_stats()["signals_count"] == 1
    with pytest.raises(NotFitting, match="no table nobodys"):
        placing.from_file(settings.database("trading"), copy, "nobodys")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--time", "yesterday"), 2, "is no time"),
        (("--time", "2026-11-28T10:00:00"), 2, "has no zone"),
        (("--time", "2999-11-28T10:00:00Z"), 2, "still to come"),
        (("--time", "2001-11-28T10:00:00Z"), 2, "No sound snapshot is so old"),
        (("--tx", "4711"), 2, "No transaction 4711 is kept"),
        (("--backup", "20200101-000000F"), 2, "There is no snapshot 20200101-000000F"),
        (("--verify", "20200101-000000F"), 2, "There is no snapshot"),
        (("--file", "/nowhere/trading.db"), 2, "There is no /nowhere/trading.db"),
        (("--file", "TEXT"), 2, "is no SQLite database"),
        (("--file", "EMPTY"), 2, "has 0 bytes"),
        (("--file", "SELF"), 2, "is the database itself"),
    ],
)
def test_a_wrong_target_is_one_sentence_with_its_code(
    estate: Estate, words: tuple[str, ...], code: int, said: str
) -> None:
    estate.database().close()
    estate.start()
    wrote(estate, range(2))
    (estate.folder / "text").write_text("asset,price\n" * 1000)
    (estate.folder / "empty").touch()
    places = {"TEXT": estate.folder / "text", "EMPTY": estate.folder / "empty", "SELF": estate.path}
    ended, _, errors = called(estate, *(str(places.get(word, word)) for word in words))
    assert ended == code and said in errors
    assert errors.count("\n") <= 2 and "Traceback" not in errors


def test_two_restores_at_once_are_one(tmp_path: Path) -> None:
    config, path, copy = made(tmp_path)
    del config, copy
    with swap.restoring(path), pytest.raises(AgentError, match="being restored by somebody else"), swap.restoring(path):
        pass


def test_errors_of_this_page_have_their_codes() -> None:
    assert (InUse.exit_code, NoDatabase.exit_code, NotReached.exit_code, NotFitting.exit_code) == (3, 2, 2, 3)
