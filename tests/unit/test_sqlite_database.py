"""The trading database by the trading system's method names, and what it says to a file that is none."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from agents.base.errors import AgentError, BadConfig
from agents.sqlite import ground, session, settings
from agents.sqlite.database import TradingDatabase
from agents.sqlite.ground import NoDatabase
from agents.sqlite.session import Damaged
from tests.unit.sqlite_kit import ROOT, trade, written

POSITION = (
    "INSERT INTO positions (asset, quantity, entry_price, opened_at, updated_at) VALUES ('BTC', 2, 100, 'x', 'x')"
)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return written(tmp_path)


def opened(config: Path) -> TradingDatabase:
    return TradingDatabase(settings=settings.load(config))


def audit(database: TradingDatabase) -> list[tuple[str, float | None, float | None]]:
    """Event, quantity before and after."""
    rows = database._get_connection().execute(
        "SELECT event_type, old_values, new_values FROM position_history ORDER BY id"
    )
    return [
        (event, json.loads(old)["quantity"] if old else None, json.loads(new)["quantity"] if new else None)
        for event, old, new in rows
    ]


def test_every_change_of_a_position_is_in_its_history_with_the_row_before_and_after(config: Path) -> None:
    database = opened(config)
    with database._transaction() as connection:
        connection.execute(POSITION)
        connection.execute("UPDATE positions SET quantity = 1")
        connection.execute("UPDATE positions SET quantity = 3")
        connection.execute("UPDATE positions SET current_price = 5")
        connection.execute("UPDATE positions SET status = 'liquidated', quantity = 0")
        connection.execute("DELETE FROM positions")
    assert audit(database) == [
        ("opened", None, 2.0), ("reduced", 2.0, 1.0), ("increased", 1.0, 3.0), ("changed", 3.0, 3.0),
        ("liquidated", 3.0, 0.0), ("removed", 0.0, None),
    ]  # fmt: skip


def test_a_replaced_position_leaves_the_old_row_in_its_history(config: Path) -> None:
    database = opened(config)
    for statement in (POSITION, POSITION.replace("INSERT", "REPLACE").replace("2, 100", "7, 100")):
        with database._transaction() as connection:
            connection.execute(statement)
    assert audit(database) == [("opened", None, 2.0), ("removed", 2.0, None), ("opened", None, 7.0)]


def test_a_transaction_is_all_or_nothing_and_foreign_keys_hold(config: Path) -> None:
    database = opened(config)
    with pytest.raises(sqlite3.IntegrityError), database._transaction() as connection:
        connection.execute(POSITION)
        connection.execute(
            "INSERT INTO trades (trade_id, asset, side, quantity, price, signal_id, timestamp) "
            "VALUES ('t', 'BTC', 'buy', 1, 1, 4711, 'x')"
        )
    assert database.get_database_stats()["positions_count"] == 0


def test_a_trade_that_is_written_again_is_the_same_trade(config: Path) -> None:
    database = opened(config)
    trade(database, 1)
    with pytest.raises(sqlite3.IntegrityError):
        trade(database, 1)
    assert database.get_database_stats()["trades_count"] == 1


def test_statistics_have_the_names_of_the_trading_system(config: Path) -> None:
    database = opened(config)
    trade(database, 1)
    stats = database.get_database_stats()
    assert set(stats) == {
        "trades_count", "positions_count", "signals_count", "database_file_size_bytes", "wal_file_size_bytes",
        "total_size_bytes", "page_count", "page_size", "integrity_ok",
    }  # fmt: skip
    assert stats["integrity_ok"] is True
    assert stats["total_size_bytes"] == stats["database_file_size_bytes"] + stats["wal_file_size_bytes"] > 0


def test_a_commit_is_synced_and_written_ahead(config: Path) -> None:
    connection = opened(config)._get_connection()
    found = {
        name: connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys")
    }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_backup_holds_what_is_in_the_log_too_and_is_listed(config: Path, tmp_path: Path) -> None:
    database = opened(config)
    for number in range(20):
        trade(database, number)
    path = Path(database.backup_database(tmp_path / "backups"))
    assert Path(database.backup_database(tmp_path / "backups")) != path, "two in one second"
    with closing(sqlite3.connect(path)) as copied:
        assert copied.execute("SELECT count(*) FROM trades").fetchone() == (20,)
    newest, oldest = database.get_backup_history()
    assert (oldest["backup_path"], oldest["trades_count"], oldest["verified"]) == (str(path), 20, 1)
    assert newest["backup_id"] > oldest["backup_id"]
    assert len(database.get_backup_history(limit=1)) == 1
    assert sorted(one.name for one in (tmp_path / "backups").iterdir()) == sorted(
        Path(one["backup_path"]).name for one in (newest, oldest)
    )


def test_old_backups_go_only_when_a_newer_one_is_whole(config: Path, tmp_path: Path) -> None:
    database = opened(config)
    paths = [Path(database.backup_database(tmp_path / "backups")) for _ in range(3)]
    with database._transaction() as connection:
        connection.execute("UPDATE backup_metadata SET backup_time = '2020-01-01T00:00:00+00:00' WHERE backup_id < 3")
    whole = paths[2].read_bytes()
    for path in paths[1:]:
        path.write_bytes(b"no database at all" * 100)
    assert database.cleanup_old_backups() == 0, "the only whole one is an old one"
    paths[2].write_bytes(whole)
    assert database.cleanup_old_backups(days=10**5 // 10) == 0
    assert database.cleanup_old_backups() == 2
    assert [path.exists() for path in paths] == [False, False, True]
    assert [one["backup_id"] for one in database.get_backup_history()] == [3]


def test_a_damaged_page_is_told_when_the_database_is_opened(config: Path) -> None:
    database = opened(config)
    for number in range(2000):
        trade(database, number)
    database._get_connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    path = settings.load(config).database("trading").path
    content = bytearray(path.read_bytes())
    content[20 * 4096 : 21 * 4096] = os.urandom(4096)
    path.write_bytes(content)
    with pytest.raises(Damaged, match="is damaged") as told:
        opened(config)
    assert "sqlite-restore" in told.value.hint


def test_a_reference_to_nothing_is_told(config: Path) -> None:
    opened(config).close()
    path = settings.load(config).database("trading").path
    with closing(sqlite3.connect(path)) as careless, careless:
        careless.execute(
            "INSERT INTO trades (trade_id, asset, side, quantity, price, signal_id, timestamp) "
            "VALUES ('t', 'BTC', 'buy', 1, 1, 4711, 'x')"
        )
    with pytest.raises(Damaged, match="refers to a row of signals that is not there"):
        opened(config)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has 0 bytes"),
        (b"asset,price\nBTC,1\n" * 100, "is no SQLite database: it begins with b'asset,price"),
        (os.urandom(8 * 4096), "is encrypted"),
        (gzip.compress(b"x" * 100_000), "is a gzip file"),
        (b"SQLite format 3\0" + b"\xff" * 5000, "damaged header"),
    ],
)
def test_a_file_that_is_no_database_is_told_in_one_sentence_and_stays_as_it_is(
    config: Path, content: bytes, said: str
) -> None:
    path = settings.load(config).database("trading").path
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(NoDatabase) as told:
        opened(config)
    sentence = str(told.value)
    assert said in sentence and told.value.hint and told.value.exit_code == 2
    assert "\n" not in sentence
    assert path.read_bytes() == content
    assert [one.name for one in path.parent.iterdir()] == ["trading.db"], "nothing was laid beside it"


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "9p", "fuse.sshfs"])
def test_a_disk_of_another_host_is_refused(tmp_path: Path, kind: str) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n"
        f"22 21 0:5 / /mnt/a\\040disk rw,relatime shared:2 master:1 - {kind} there:/x rw\n"
        "23 22 8:2 / /mnt/a\\040disk/local rw - ext4 /dev/sdb1 rw\n"
    )
    with pytest.raises(NoDatabase, match=f"lies on /mnt/a disk, which is {kind}"):
        ground.check_disk(Path("/mnt/a disk/trading.db"), mounts)
    ground.check_disk(Path("/mnt/a disk/local/trading.db"), mounts)
    ground.check_disk(Path("/mnt/a diskette.db"), mounts)
    ground.check_disk(tmp_path / "trading.db")


def test_who_has_the_file_is_named_where_it_is_in_use(config: Path) -> None:
    opened(config).close()
    path = settings.load(config).database("trading").path
    holding = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE'); "
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holding, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as other:
        assert other.stdout is not None and other.stdin is not None
        assert other.stdout.readline() == b"held\n"
        named = pytest.raises(ground.InUse, match=rf"in use: python3?[\d.]* \(pid {other.pid}\)")
        with closing(session.connect(path, busy_s=0.1)) as waiting, named, session.transaction(waiting, path):
            pass
        other.stdin.close()


def test_what_was_replaced_while_it_was_open_takes_no_more_rows(config: Path) -> None:
    database = opened(config)
    trade(database, 1)
    database.path.rename(database.path.with_name("aside.db"))
    with pytest.raises(AgentError, match="restored or removed while it was open"):
        trade(database, 2)


def test_two_that_make_it_at_once_have_one_file(config: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from agents.sqlite.database import TradingDatabase; "
        "from agents.sqlite.settings import load; from tests.unit.sqlite_kit import trade\n"
        "trade(TradingDatabase(settings=load(Path(sys.argv[1]))), int(sys.argv[2]))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(config), str(number)], cwd=ROOT) for number in range(4)
    ]
    assert [one.wait() for one in started] == [0] * 4
    database = opened(config)
    assert database.get_database_stats()["trades_count"] == 4
    assert not list(database.path.parent.glob(".trading*"))


def test_settings_that_cannot_be_used_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "sqlite.json"
    for text, said in (("[", "is no JSON"), ('{"databases": {}}', "cipher is missing"), ("7", "'int'")):
        path.write_text(text)
        with pytest.raises(BadConfig, match=said):
            settings.load(path)
    with pytest.raises(BadConfig, match="no SQLite database 'nobodys'"):
        settings.load(written(tmp_path)).database("nobodys")
