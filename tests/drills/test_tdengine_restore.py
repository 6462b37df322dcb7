"""TDengine's rows brought back on a real server: dropped, deleted, spoiled, lost with the host; and what is refused.

The tests of TestMistakes share one filled database and run in the order in which they stand. Nothing asserts on time.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agents.feed.ticks import SHARES
from drills import feed as feeds
from drills.measuring.tally import Writing
from drills.stores import TDENGINE
from lab.up import up
from runbooks.actions import backup as backup_actions
from runbooks.engine.context import Context
from runbooks.engine.outcome import Outcome
from runbooks.engine.procedure import replace_step
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from runbooks.long_work.work import Asker
from runbooks.probes import app
from runbooks.probes.tdengine import backups, ground
from runbooks.procedures.tdengine import restore as tdengine_restore
from runbooks.procedures.tdengine.restore import TDENGINE_RESTORE, TdengineRestore, TdengineRestoreOptions
from runbooks.run import execute
from tests.drills import estate as seen
from tests.drills.doors import Ended, Started, dr

pytestmark = [
    pytest.mark.lab, pytest.mark.tdengine, pytest.mark.destructive, pytest.mark.timeout(600),
    pytest.mark.skipif(not os.environ.get("TDENGINE_PACKAGE"), reason="TDENGINE_PACKAGE names no package"),
]  # fmt: skip
MINE = "market_data"
SIDE = "market_side"
ROWS = 120_000
MANY = 1 << 62  # ids of a feed are far above or below
DAYS = 5
AGENT = "cd /opt/mystocks-dr && exec python3 -m agents."
SPOILT = "sh -c 'head -c 100000 %s; printf xxxx; tail -c +100005 %s'"  # four other bytes in the middle
ODD = ("'O''Hare'", "'引号\"\\\\'")  # tags with quotes, a backslash and Chinese characters, as statements have them


@dataclass(frozen=True)
class Scene:
    """The estate, its TDengine host and the full backup that was taken when everything was right."""

    estate: Estate
    server: Host
    label: str

    def restore(self, *words: str) -> Ended:
        return dr("tdengine-restore", "--label", self.label, *words)

    def sql(self, statement: str) -> list[dict[str, object]]:
        return ground.ask(self.server, statement)

    def count(self, condition: str = "1 = 1", table: str = "tick_data", database: str = MINE) -> int:
        """Of the rows that these tests made: what a feed wrote shortly before may come back out of the shadow."""
        ours = f"(event_id BETWEEN 1 AND {ROWS} OR event_id BETWEEN {MANY} AND {MANY + 1000})"
        rows = self.sql(f"SELECT COUNT(*) AS n FROM {database}.{table} WHERE {ours} AND {condition}")
        return int(str(rows[0]["n"])) if rows else 0

    def subtable(self, symbol: str) -> str:
        return str(self.sql(f"SELECT DISTINCT tbname AS t FROM {MINE}.tick_data WHERE symbol = '{symbol}'")[0]["t"])

    def spans(self, symbol: str) -> tuple[int, int]:
        """First and last moment (ns) of a symbol's rows."""
        where = f"FROM {MINE}.tick_data WHERE symbol = '{symbol}' AND event_id BETWEEN 1 AND {ROWS}"
        first = self.sql(f"SELECT CAST(MIN(CAST(ts AS BIGINT)) AS BIGINT) AS a, MAX(CAST(ts AS BIGINT)) AS b {where}")
        return int(str(first[0]["a"])), int(str(first[0]["b"]))


def server_of(estate: Estate) -> Host:
    return estate.group("tdengine")[0]


def take(estate: Estate, kind: str) -> str:
    """A backup now; its label."""
    backup_actions.run_job(estate.backup, f"td-{kind}", Asker.door("a test"), wait_s=60)
    return backups.labels(estate.backup)[-1]


def accepted(estate: Estate) -> str:
    """A full backup now, of which what was deleted before is meant to be gone; its label."""
    label = take(estate, "full")
    estate.backup.run(f"{AGENT}tdengine.backup.take accept", user="postgres", timeout=60)
    return label


def filled(estate: Estate) -> None:
    estate.backup.run(f"{AGENT}tdengine.fill --rows %s --days %s", ROWS, DAYS, user="postgres", timeout=120)


@pytest.fixture(scope="class")
def scene(estate_lab: Estate) -> Iterator[Scene]:
    server = server_of(estate_lab)
    ground.ask(server, f"DROP DATABASE IF EXISTS {SIDE}")
    for table in SHARES:
        ground.ask(server, f"DELETE FROM {MINE}.{table}")
    filled(estate_lab)
    for number, symbol in enumerate(ODD, 1):
        ground.ask(
            server,
            f"INSERT INTO {MINE}.odd_{number} USING {MINE}.tick_data TAGS ({symbol}, '上海') "
            f"(ts, event_id, price, volume) VALUES (NOW - 1d, {MANY + number}, 1.5, 100)",
        )  # fmt: skip
    yield Scene(estate_lab, server, accepted(estate_lab))
    for name in ("odd_1", "odd_2"):
        ground.ask(server, f"DROP TABLE IF EXISTS {MINE}.{name}")
    ground.ask(server, f"DROP DATABASE IF EXISTS {SIDE}")
    accepted(estate_lab)


class TestMistakes:
    def test_without_consent_it_counts_and_writes_nothing(self, scene: Scene) -> None:
        before = scene.count()
        gone = scene.subtable("600003")
        scene.sql(f"DELETE FROM {MINE}.{gone}")
        lacking = before - scene.count()
        ended = scene.restore()
        assert ended.code == 0, ended.err
        assert lacking > 0
        assert f"{lacking:,} missing, 0 with other content" in ended.out
        assert "nothing was written" in ended.out
        assert scene.count() == before - lacking
        told = dr("validate")
        assert told.code == 1
        assert f"{lacking:,} of {before:,} rows" in told.out or f"{lacking:,} missing" in told.out
        ended = scene.restore("--yes")
        assert ended.code == 0, ended.err
        assert scene.count() == before
        whole = dr("validate", "--label", scene.label)
        assert whole.code == 0 and "sample: 3 queries" in whole.out, whole.out

    def test_a_dropped_supertable_comes_back_with_its_odd_tags(self, scene: Scene) -> None:
        before, depth = scene.count(), scene.count(table="depth_data")
        scene.sql(f"DROP STABLE {MINE}.tick_data")
        ended = scene.restore("--tables", "tick_data", "--yes")
        assert ended.code == 0, ended.err
        assert (scene.count(), scene.count(table="depth_data")) == (before, depth)
        tags = {str(row["symbol"]) for row in scene.sql(f"SELECT DISTINCT symbol FROM {MINE}.tick_data")}
        assert {"O'Hare", '引号"\\'} <= tags

    def test_corrections_survive_and_overwrite_takes_them_back(self, scene: Scene) -> None:
        table = scene.subtable("600005")
        rows = scene.sql(f"SELECT CAST(ts AS BIGINT) AS ts, event_id, price FROM {MINE}.{table} LIMIT 3")
        for row in rows:
            scene.sql(f"INSERT INTO {MINE}.{table} (ts, event_id, price) VALUES ({row['ts']}, {row['event_id']}, 99.5)")
        ended = scene.restore("--symbols", "600005", "--yes")
        assert ended.code == 0, ended.err
        assert "3 with other content" in ended.out
        assert scene.count("symbol = '600005' AND price = 99.5") == 3
        told = dr("validate", "--label", scene.label)  # which stays, but no writer of ours writes a tick again
        assert told.code == 1 and "3 rows of tick_data are not what they were" in told.out
        ended = scene.restore("--symbols", "600005", "--mode", "overwrite", "--yes")
        assert ended.code == 0, ended.err
        assert scene.count("symbol = '600005' AND price = 99.5") == 0

    def test_some_symbols_and_hours_go_into_a_side_database(self, scene: Scene) -> None:
        first, last = scene.spans("600007")
        middle = (first + last) // 2
        wanted = scene.count(f"symbol IN ('600007', '600008') AND ts >= {middle}")
        moment = datetime.fromtimestamp(middle // 1000 / 10**6, UTC).isoformat()
        ended = scene.restore(
            "--tables", "tick_data", "--symbols", "600007,600008", "--from", moment, "--into", SIDE, "--yes"
        )
        assert ended.code == 0, ended.err
        assert abs(scene.count(database=SIDE) - wanted) <= 2  # the moment is told in whole microseconds
        assert scene.count(database=SIDE) > 0
        where = f"FROM information_schema.ins_databases WHERE name = '{SIDE}'"
        options = scene.sql(f"SELECT `precision`, `wal_level` {where}")
        assert (options[0]["precision"], str(options[0]["wal_level"])) == ("ns", "2")
        again = scene.restore(
            "--tables", "tick_data", "--symbols", "600007,600008", "--from", moment, "--into", SIDE, "--yes"
        )
        assert again.code == 0, again.err
        scene.sql(f"DROP DATABASE {SIDE}")

    def test_rows_that_keep_no_longer_allows_are_left_out_counted_and_said(self, scene: Scene) -> None:
        scene.sql(f"CREATE DATABASE {SIDE} PRECISION 'ns' KEEP 3d DURATION 1d")
        try:
            ended = scene.restore("--into", SIDE, "--yes")
            assert ended.code == 0, ended.err
            said = re.search(r"([0-9,]+) rows older than KEEP \(3 d\) are left out", ended.out)
            assert said, ended.out
            gone = int(said[1].replace(",", ""))
            assert 0 < gone < scene.count() and 0 < scene.count(database=SIDE) < scene.count()
        finally:
            scene.sql(f"DROP DATABASE {SIDE}")

    def test_a_restore_that_was_interrupted_goes_on(self, scene: Scene) -> None:
        before = scene.count()
        scene.sql(f"DROP STABLE {MINE}.tick_data")
        started = Started("tdengine-restore", "--label", scene.label, "--yes")
        started.hears("4/8 restore")
        started.send(signal.SIGINT)
        assert started.ends().code == 4
        ended = dr("tdengine-restore", "--resume", "--yes")
        assert ended.code == 0, ended.err
        assert scene.count() == before

    def test_a_restore_that_lost_rows_afterwards_does_not_pass(self, scene: Scene, tmp_path: Path) -> None:
        """The negative twin: the check must fail, and for that reason."""

        def tampered(
            context: Context[Estate, TdengineRestoreOptions], state: TdengineRestore
        ) -> TdengineRestore:  # fmt: skip
            state = tdengine_restore.write(context, state)
            scene.sql(f"DELETE FROM {MINE}.{scene.subtable('600011')}")
            return state

        twin = replace_step(TDENGINE_RESTORE, "restore", action=tampered)
        options = TdengineRestoreOptions(label=scene.label, yes=True)
        result = execute(twin, scene.estate, options, seen.quiet, runs=tmp_path)
        assert result.outcome is Outcome.FAILED
        assert "are not in market_data" in result.error and "tick_data" in result.error
        assert scene.restore("--yes").code == 0

    def test_what_no_writer_of_ours_makes_is_found(self, scene: Scene) -> None:
        table = scene.subtable("600012")
        row = scene.sql(f"SELECT CAST(ts AS BIGINT) AS ts, event_id FROM {MINE}.{table} LIMIT 1")[0]
        ts = int(str(row["ts"])) + 7
        scene.sql(f"INSERT INTO {MINE}.{table} (ts, event_id, price, volume) VALUES ({ts}, {row['event_id']}, 1.0, 1)")
        scene.sql(f"INSERT INTO {MINE}.{table} (ts, event_id, volume) VALUES ({ts + 1}, {MANY + 9}, 1)")
        told = dr("validate")
        assert told.code == 1
        assert "1 rows of tick_data are there a second time" in told.out
        assert "1 rows of tick_data have no price" in told.out
        scene.sql(f"DELETE FROM {MINE}.{table} WHERE ts >= {ts} AND ts <= {ts + 1}")
        assert dr("validate").code == 0


class TestRefusals:
    """Found before the first row, with nothing changed."""

    @pytest.mark.parametrize(
        ("words", "code", "told", "hint"),
        [
            (("--label", "20200101-000000F"), 2, "20200101-000000F", "there is"),
            (("--label", "yesterday"), 2, "'yesterday'", "there is"),
            (("--tables", "tick_dat"), 2, "tick_dat", "tick_data"),
            (("--symbols", "123456"), 2, "'123456'", "first tag"),
            (("--from", "2026-11-21T10:00:00"), 2, "no time zone", "+08:00"),
            (("--from", "tomorrow"), 2, "is no time", "2026"),
            (("--to", "1999-01-01T00:00:00Z"), 2, "no row", "rows are from"),
            (("--into", "information_schema"), 2, "information_schema", "market_side"),
            (("--into", "a b"), 2, "'a b'", "small letters"),
            (("--mode", "upsert"), 2, "'upsert'", "overwrite"),
            (("--jobs", "0"), 2, "--jobs is 0", "16"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_restored_is_one_sentence(
        self, scene: Scene, words: tuple[str, ...], code: int, told: str, hint: str
    ) -> None:
        dr("tdengine-restore", *words, "--yes").assert_told(code, told, hint=hint)

    def test_another_precision(self, scene: Scene) -> None:
        scene.sql(f"CREATE DATABASE {SIDE} PRECISION 'ms'")
        try:
            scene.restore("--into", SIDE, "--yes").assert_told(2, "counts time in ms", hint="--into")
        finally:
            scene.sql(f"DROP DATABASE {SIDE}")

    def test_other_columns(self, scene: Scene) -> None:
        scene.sql(f"CREATE DATABASE {SIDE} PRECISION 'ns'")
        scene.sql(f"CREATE STABLE {SIDE}.tick_data (ts TIMESTAMP, colour INT) TAGS (symbol VARCHAR(16))")
        try:
            ended = scene.restore("--tables", "tick_data", "--into", SIDE, "--yes")
            ended.assert_told(2, "its key is TIMESTAMP now and was TIMESTAMP and BIGINT", hint="--into")
        finally:
            scene.sql(f"DROP DATABASE {SIDE}")

    def test_a_wrong_password(self, scene: Scene) -> None:
        with changed(scene.estate.backup, "/etc/mystocks-dr/tdengine.pass", "printf 'Wr0ng-one\\n'"):
            scene.restore("--yes").assert_told(1, "backup1", hint="")

    def test_a_truncated_file_and_an_edited_manifest(self, scene: Scene) -> None:
        folder = f"{backups.FOLDER}/{scene.label}"
        data = scene.estate.backup.run("ls %s | grep ^data | head -n1", folder, user="postgres").text
        with changed(scene.estate.backup, f"{folder}/{data}", "head -c 1000 %s"):
            scene.restore("--yes").assert_told(3, scene.label, "cannot be restored", data)
        with changed(scene.estate.backup, f"{folder}/{data}", SPOILT):
            scene.sql(f"DELETE FROM {MINE}.{scene.subtable('600020')}")
            ended = scene.restore("--yes")
            assert ended.code == 1, ended.err
            assert "Traceback" not in ended.err and data in ended.err
        with changed(scene.estate.backup, f"{folder}/manifest.json", "sed 's/tick_data/tock_data/' %s"):
            scene.restore("--yes").assert_told(3, scene.label, "edited")
        assert scene.restore("--yes").code == 0

    def test_a_disk_without_room(self, scene: Scene) -> None:
        """On a disk of its own, so that nobody else's fills up."""
        before = scene.count()
        scene.sql(f"DELETE FROM {MINE}.{scene.subtable('600030')}")
        lacking = before - scene.count()
        with seen.small_disk(scene.estate, scene.server.name, ground.DATA, "taosd"):
            until(lambda: ground.look(scene.server, MINE), 60, what="TDengine", accept=lambda one: bool(one.rows))
            scene.restore("--yes").assert_told(3, "MiB free", f"{lacking:,} rows", hint="make room")
            assert scene.count() == before - lacking
        until(lambda: ground.look(scene.server, MINE), 60, what="TDengine", accept=lambda one: bool(one.rows))
        ended = scene.restore("--yes")
        assert ended.code == 0, ended.err
        assert scene.count() == before

    def test_a_missing_link(self, scene: Scene) -> None:
        place, whole = scene.subtable('600021'), f'(NOW, {MANY + 21}, 3.5, 100)'  # one that no validate complains of
        scene.sql(f"INSERT INTO {MINE}.{place} (ts, event_id, price, volume) VALUES {whole}")
        newest = take(scene.estate, "incr")
        folder = f"{backups.FOLDER}/{scene.label}"
        scene.estate.backup.run("mv %s %s.away", folder, folder)
        try:
            ended = dr("tdengine-restore", "--label", newest, "--yes")
            ended.assert_told(3, newest, scene.label, "is not there")
        finally:
            scene.estate.backup.run("mv %s.away %s", folder, folder)

    def test_a_server_that_has_rows_is_not_rebuilt(self, scene: Scene) -> None:
        dr("tdengine-rebuild").assert_told(3, "serves", "not lost", hint="tdengine-restore")
        scene.server.run("systemctl stop taosd")
        try:
            dr("tdengine-rebuild").assert_told(3, "holds data", "does not run", hint="--replace")
        finally:
            scene.server.run("systemctl start taosd")
            until(lambda: ground.look(scene.server, MINE), 60, what="TDengine", accept=lambda one: bool(one.rows))


@contextmanager
def changed(host: Host, path: str, how: str) -> Iterator[None]:
    """The file holds what the command `how` makes of it (its path for each %s) while the block runs."""
    command = f"cp -p %s %s.kept && {how.replace('%s', path + '.kept')} > %s"
    host.run(command, path, path, path)
    try:
        yield
    finally:
        host.run("cat %s.kept > %s && rm %s.kept", path, path, path)


def lose(estate: Estate) -> None:
    """TDengine's host and its disk are gone, and a blank one stands in its place."""
    seen.remove(estate, server_of(estate).name)
    up(seen.lab_of(estate), seen.quiet)


class TestLost:
    def test_a_lost_host_costs_no_acknowledged_row(self, estate_lab: Estate, tmp_path: Path) -> None:
        """Backup, then rows that only the shadow has, then rows that only the outbox has: all come back, once."""
        if not ground.rows(server_of(estate_lab), MINE):
            filled(estate_lab)
        with feeds.running(estate_lab.app, 3000, 5, tmp_path, TDENGINE) as feed:
            take(estate_lab, "incr")
            before = feed.ledger.view().acked
            feed.ledger.wait_for(lambda view: view.acked > before + 20_000, 60, "rows after the backup")
            lose(estate_lab)
            feed.ledger.wait_for(lambda view: view.writing is Writing.OUTBOX, 30, "rows in the outbox")
            started = Started("tdengine-rebuild", "--yes")
            started.hears("restore: Restore the backup")
            started.send(signal.SIGINT)
            assert started.ends().code == 4
            ended = dr("tdengine-rebuild", "--resume", "--yes", "--json", timeout=500)
            assert ended.code == 0, ended.err
            feed.ledger.wait_for(
                lambda view: view.writing is Writing.STORE and not view.awaiting_replay, 120, "rows in the store again"
            )
            feed.stop()
        state = json.loads(ended.out)["state"]
        assert state["rows_written"] > 0
        assert state["requeued"] >= 20_000
        until(
            lambda: app.outbox(estate_lab.app, settings=TDENGINE.settings), 60, what="an empty outbox",
            accept=lambda box: not box.pending_records,
        )  # fmt: skip
        view = feed.ledger.view()
        assert view.run is not None
        acked = feed.ledger.acked_ids()
        assert set(acked) == set(SHARES)
        for table, numbers in acked.items():
            found = ids(server_of(estate_lab), table, view.run)
            assert len(found) == len(set(found)), f"{table} has rows twice"
            lacking = set(numbers) - set(found)
            assert not lacking, f"{len(lacking)} of {len(set(numbers))} acknowledged rows are missing in {table}"
        assert dr("validate").code == 0

    def test_a_server_that_starts_no_more_is_moved_aside_and_nothing_is_deleted(self, estate_lab: Estate) -> None:
        server = server_of(estate_lab)
        if not ground.rows(server, MINE):
            filled(estate_lab)
        take(estate_lab, "incr")
        before = ground.rows(server, MINE)
        server.run("systemctl stop taosd && printf torn > /var/lib/taos/mnode/mnode.json")
        ended = dr("tdengine-rebuild", "--replace", "--yes", timeout=500)
        assert ended.code == 0, ended.err
        assert ground.rows(server, MINE) == before
        kept = server.run("ls -d /var/lib/taos.replaced-*").text
        assert kept in ended.out
        server.run("rm -rf %s", kept)


def ids(server: Host, table: str, run: int) -> list[int]:
    """The numbers of one feed's rows in a supertable, each as often as it is there."""
    low = run << 32
    where = f"event_id BETWEEN {low} AND {low + (1 << 32) - 1}"
    rows = ground.ask(server, f"SELECT event_id FROM {MINE}.`{table}` WHERE {where}")
    return sorted(int(str(row["event_id"])) - low for row in rows)
