"""Three TDengine nodes on real servers: by inventory alone, through losses, rejoin, drift and another package.

A lab of its own, DR_TEST_TDENGINE_LAB (default t-td3), because three nodes are no step on the way to one.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agents.feed.ticks import SHARES
from deploys.run import deploy, drift
from drills import feed as feeds
from drills import stores
from drills.measuring.tally import Writing
from drills.prepare import provision
from inventories.errors import BadInput, Refused
from lab import faults
from lab.down import down
from lab.up import up
from runbooks import hosts
from runbooks.actions import backup as backup_actions
from runbooks.actions.tdengine.servers import execute
from runbooks.engine.verify import verify
from runbooks.engine.wait import until
from runbooks.hosts import Estate
from runbooks.long_work.work import Asker
from runbooks.look import drift as beyond
from runbooks.probes import app
from runbooks.probes.tdengine import servers as tdengine
from runbooks.procedures.tdengine.rejoin import TDENGINE_REJOIN, TdengineRejoin, TdengineRejoinOptions
from runbooks.run import execute as run_procedure
from tests.drills import bars
from tests.drills.doors import dr
from tests.drills.test_tdengine import ids

PACKAGE = os.environ.get("TDENGINE_PACKAGE", "")
pytestmark = [
    pytest.mark.lab, pytest.mark.tdengine, pytest.mark.long, pytest.mark.timeout(900),
    pytest.mark.skipif(not PACKAGE, reason="TDENGINE_PACKAGE names no package"),
]  # fmt: skip
LAB = os.environ.get("DR_TEST_TDENGINE_LAB") or "t-td3"
NODES = ("tsdb1", "tsdb2", "tsdb3")
PARTS = ("app1", *NODES)
RATE = 2000.0
_ROW = (
    "INSERT INTO market_data.grown USING market_data.tick_data TAGS ('first', 'SSE') (ts, event_id, price, volume) "
    "VALUES (1700000000000000001, 7, 1.5, 100)"
)


def quiet(_: str) -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    """One node first, with rows in it; then the inventory names three. PostgreSQL and backups are not deployed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DR_LAB", LAB)
        patch.setenv("DR_INVENTORY", "lab")
        patch.setenv("DR_RUNS", str(tmp_path_factory.mktemp("runs")))
        try:
            patch.setenv("DR_LAB_TDENGINE", "1")
            up(LAB, quiet)
            if len(tdengine.hosts(hosts.load("lab"))) == 1:
                deploy("lab", ["app1", "tsdb1"])
                estate = hosts.load("lab")
                execute(estate.host("tsdb1"), _ROW)
            patch.setenv("DR_LAB_TDENGINE", "3")
            up(LAB, quiet)
            deploy("lab", PARTS)
            yield hosts.load("lab")
        finally:
            if os.environ.get("DR_TEST_KEEP") != "1":
                down(LAB, quiet)


@contextmanager
def load(estate: Estate, folder: Path, whoever: bool = False) -> Iterator[feeds.Feed]:
    """Write while the block runs; afterwards every acknowledged row must be there, once."""
    with feeds.running(estate.app, RATE, 1, folder, stores.TDENGINE, whoever=whoever) as feed:
        yield feed
        feed.ledger.wait_for(
            lambda view: view.writing is Writing.STORE and not view.awaiting_replay, 120, "rows in the store again"
        )
        feed.stop()
    until(
        lambda: app.outbox(estate.app, settings="agent-tdengine.json"), 60, what="an empty outbox",
        accept=lambda box: not box.pending_records,
    )  # fmt: skip
    acked = feed.ledger.acked_ids()
    assert set(acked) == set(SHARES)
    count_all(estate, feed)


def newest(estate: Estate) -> dict[tuple[str, str], int]:
    """The event id of every bar, by moment and symbol."""
    rows = execute(estate.host("tsdb1"), "SELECT ts, symbol, event_id FROM market_data.minute_kline")
    return {(str(row["ts"]), str(row["symbol"])): int(str(row["event_id"])) for row in rows}


def count_all(estate: Estate, feed: feeds.Feed, besides: tuple[str, ...] = ()) -> None:
    """Every acknowledged row is in the store, once, as a node that is ready tells it; `besides` these tables."""
    speaker = until(
        lambda: tdengine.speaker(tdengine.survey(estate)), 60, what="a node that speaks for the cluster", every=0.5
    )  # a new leader of the management hears of the nodes one after the other
    for table, numbers in feed.ledger.acked_ids().items():
        if table in besides:
            continue
        found = ids(speaker.host, table, feed.run_number)
        assert len(found) == len(set(found)), f"{table} has rows twice"
        assert not set(numbers) - set(found), f"acknowledged rows are missing in {table}"


def leader(estate: Estate) -> str:
    """The host that leads most of the database."""
    found = tdengine.leader(tdengine.survey(estate), "market_data")
    assert found is not None
    return found.name


def whole(estate: Estate) -> None:
    """Wait until every node is ready and every copy serves, on its own disk."""
    until(
        lambda: tdengine.survey(estate), 120, what="a whole cluster", every=0.5,
        accept=lambda servers: all(one.role == "ready" and not one.lacking for one in servers)
        and all(group.is_whole for group in servers[0].vgroups)
        and all(role in ("leader", "follower") for role in servers[0].mnodes.values()),
    )  # fmt: skip


def rejoin(estate: Estate, **options: object) -> TdengineRejoin:
    """Run the runbook; the state that it ended with."""
    result = run_procedure(TDENGINE_REJOIN, estate, TdengineRejoinOptions(yes=True, **options), quiet)  # type: ignore[arg-type]
    assert not result.exit_code, result.render()
    return result.state


def test_three_nodes_come_by_inventory_alone_and_keep_what_one_had(three: Estate, tmp_path: Path) -> None:
    again = deploy("lab", PARTS)
    assert again.by_operation == {}
    assert drift("lab", PARTS).by_operation == {}
    assert beyond.look(three, NODES) == ()
    found = execute(three.host("tsdb3"), "SELECT event_id FROM market_data.tick_data WHERE symbol = 'first'")
    assert [int(str(row["event_id"])) for row in found] == [7]
    result = verify(("test_tdengine.py",), run_dir=tmp_path, budget="verify")
    assert result.failures == ()
    assert result.skipped == 0
    assert result.passed >= 30


def test_lost_leader_stops_nobody_for_long(three: Estate, tmp_path: Path) -> None:
    """Its power is cut: rows go to the outbox while the others elect, then to the store; it comes back by itself."""
    whole(three)
    lost = leader(three)
    try:
        with load(three, tmp_path) as feed:
            faults.power_off(LAB, lost)
            feed.ledger.wait_for(lambda view: view.writing is Writing.OUTBOX, 30, "the outbox")
            feed.ledger.wait_for(lambda view: view.writing is Writing.STORE, 60, "the two others")
            before = feed.ledger.view().acked
            feed.ledger.wait_for(lambda view: view.acked > before + 2000, 30, "rows that two nodes acknowledge")
    finally:
        faults.power_on(LAB, lost)
    whole(three)


def test_a_correction_that_comes_while_nodes_are_lost_is_the_last_one(three: Estate) -> None:
    """The last write wins by its event id on three nodes, too: bars are corrected while the leader goes and comes."""
    whole(three)
    lost, first = leader(three), bars.minutes(1)
    symbol, event = "LWW003", int(time.time()) << 32  # beyond those of another run on this lab
    letters = app.outbox(three.app, settings=bars.SETTINGS).dead_rows
    try:
        with bars.corrected(three, symbol, first, 20, event) as told:
            assert bars.put(three, "outbox", first, 1, 1.0, symbol)
            faults.power_off(LAB, lost)
            until(
                lambda: app.outbox(three.app, settings=bars.SETTINGS), 60, what="the outbox",
                accept=lambda box: box.pending_records > 0,
            )  # fmt: skip
            bars.drained(three, 180)  # the management of the two others answered nobody for 52 s after its election
    finally:
        faults.power_on(LAB, lost)
    whole(three)
    bars.drained(three)
    found = bars.events(three.host("tsdb1"), symbol)
    assert set(told.by) == {"store", "outbox"} and len(told.acked) == 20
    assert {ts: found.get(ts) for ts, last in told.acked.items() if found.get(ts, 0) < last} == {}
    assert app.outbox(three.app, settings=bars.SETTINGS).dead_rows == letters


def test_blank_host_of_the_same_name_is_filled_by_the_others(three: Estate, tmp_path: Path) -> None:
    """The log is cut short first, so that the rows themselves are sent. Another node goes: all rows are there."""
    whole(three)
    lost = leader(three)
    others = [name for name in NODES if name != lost]
    with load(three, tmp_path) as feed:
        feed.ledger.wait_for(lambda view: view.acked > 5000, 60, "some rows")
    asked = three.host(others[0])
    execute(asked, "ALTER DATABASE market_data WAL_RETENTION_PERIOD 0")
    execute(asked, "FLUSH DATABASE market_data")
    faults.remove(LAB, lost)
    three.host(lost).hang_up()
    up(LAB, quiet)
    state = rejoin(hosts.load("lab"))
    assert state.host == lost
    assert len(state.lacking) >= 2
    assert state.manages
    execute(asked, "ALTER DATABASE market_data WAL_RETENTION_PERIOD 3600")
    whole(three)
    faults.power_off(LAB, others[0])
    try:
        until(lambda: _has_leaders(three, others[1]), 60, what="leaders among the two", every=0.5)
        count_all(three, feed)
    finally:
        faults.power_on(LAB, others[0])
    whole(three)


def test_our_own_database_with_its_only_copy_on_a_lost_node_stands_in_nobodys_way(three: Estate) -> None:
    """It was made while there was one node, or by an older version of this tool."""
    whole(three)
    asked = three.host("tsdb1")
    execute(asked, f"DROP DATABASE IF EXISTS {tdengine.OURS}")
    execute(asked, f"CREATE DATABASE {tdengine.OURS} VGROUPS 1 REPLICA 1")
    execute(asked, f"CREATE TABLE {tdengine.OURS}.covered (ts TIMESTAMP, started_at DOUBLE, label VARCHAR(64))")
    whole(three)
    seen = tdengine.look(asked)
    (group,) = [one for one in seen.vgroups if one.database == tdengine.OURS]
    lost = next(name for name, number in seen.numbers.items() if group.is_ours_alone(number))
    faults.remove(LAB, lost)
    three.host(lost).hang_up()
    up(LAB, quiet)
    state = rejoin(hosts.load("lab"), host=lost)
    assert (state.orphaned, group.id in state.lacking) == (True, False)
    whole(three)
    left = tdengine.speaker(tdengine.survey(three))
    assert left is not None
    assert not [one for one in left.vgroups if one.database == tdengine.OURS]


def test_replace_fills_a_node_that_has_its_data_anew_and_keeps_what_it_had(three: Estate, tmp_path: Path) -> None:
    """The leader, under load: who trusts its disk no more need not lose the host first."""
    whole(three)
    lost = leader(three)
    with load(three, tmp_path):
        state = rejoin(three, host=lost, replace=True)
    assert state.lacking and state.aside in " ".join(state.told)
    assert three.host(lost).run("ls %s/vnode", state.aside).text
    whole(three)
    three.host(lost).run("rm -rf %s", state.aside)


@pytest.fixture(scope="module")
def complete(three: Estate) -> Estate:
    """With the rest of the estate: a cluster that lost its majority has only its backups and the shadow."""
    provision(hosts.load("lab"), quiet)
    return hosts.load("lab")


@pytest.mark.parametrize("lost", [("tsdb1", "tsdb2"), NODES], ids=["two of three", "all three"])
def test_a_cluster_that_lost_its_majority_is_rebuilt_from_backup_and_outbox(
    complete: Estate, tmp_path: Path, lost: tuple[str, ...]
) -> None:
    """Every refusal leads on. Three copies stand in for a shadow: what it would have held is told to be lost."""
    whole(complete)
    left = [name for name in NODES if name not in lost]
    for name in left:  # of a run that failed
        complete.host(name).run("rm -rf /var/lib/taos.replaced-*")
    (before := tmp_path / "before").mkdir()
    with load(complete, before) as feed:
        feed.ledger.wait_for(lambda view: view.acked > 10_000, 60, "rows before the backup")
    covered = newest(complete)
    backup_actions.run_job(complete.backup, "td-full", Asker.door("a test"), wait_s=60)
    for name in lost:
        faults.remove(LAB, name)
        complete.host(name).hang_up()
    up(LAB, quiet)
    with load(complete, tmp_path, whoever=True) as meanwhile:
        meanwhile.ledger.wait_for(lambda view: view.writing is Writing.OUTBOX, 60, "the outbox")
        until(  # a busy host may not answer status in time, which is then what it says
            lambda: dr("status", "--json"), 60, what="status to name what brings a lost cluster back", every=0.5,
            accept=lambda told: told.code == 1 and "tdengine-rebuild" in told.out,
        )  # fmt: skip
        dr("tdengine-rejoin", "--host", lost[0], "--yes").assert_told(3, hint="tdengine-rebuild")
        if left:
            dr("tdengine-rebuild", "--yes").assert_told(3, left[0], "holds a copy", hint="--replace")
        ended = dr("tdengine-rebuild", *(("--replace",) if left else ()), "--yes", timeout=800)
        assert ended.code == 0, ended.err
        assert "keeps no shadow: what was acknowledged since the backup began may be lost" in ended.out
    complete = hosts.load("lab")
    whole(complete)
    count_all(complete, feed, besides=("minute_kline",))  # the second feed's bars may take the place of the first's
    back = newest(complete)
    assert covered and {key: event for key, event in covered.items() if back.get(key, 0) < event} == {}
    assert dr("validate").code == 0
    for name in left:
        kept = complete.host(name).run("ls -d /var/lib/taos.replaced-*").text
        assert kept in ended.out
        complete.host(name).run("rm -rf %s", kept)


def _has_leaders(estate: Estate, name: str) -> bool:
    server = tdengine.look(estate.host(name))
    alive = {server.numbers[one] for one, status in server.dnodes.items() if status == "ready"}
    return bool(server.vgroups) and len(alive) == 2 and all(
        any(r.role == "leader" and r.node in alive for r in group.replicas) for group in server.vgroups
    )  # fmt: skip


def test_node_that_has_its_data_is_only_started(three: Estate) -> None:
    whole(three)
    three.host("tsdb2").run("systemctl stop taosd")
    state = rejoin(three)
    assert (state.host, state.lacking) == ("tsdb2", ())
    whole(three)


def test_rejoin_refuses_where_there_is_nothing_to_do_or_nobody_to_ask(three: Estate) -> None:
    whole(three)
    with pytest.raises(AssertionError, match="nothing to rejoin"):
        rejoin(three)
    with pytest.raises(BadInput, match="is no TDengine host"):
        rejoin(three, host="pg1")
    for name in ("tsdb2", "tsdb3"):
        three.host(name).run("systemctl stop taosd")
    try:
        with pytest.raises(AssertionError, match=r"are out|no other TDengine node|no leader|no majority"):
            rejoin(three)
    finally:
        for name in ("tsdb2", "tsdb3"):
            three.host(name).run("systemctl start taosd")
    whole(three)


def test_drift_shows_what_was_changed_and_a_deploy_takes_back_what_it_may(three: Estate) -> None:
    whole(three)
    host = three.host("tsdb1")
    for statement in (
        "ALTER DATABASE market_data WAL_FSYNC_PERIOD 3000", "ALTER DATABASE market_data WAL_LEVEL 1",
        "ALTER DATABASE market_data KEEP 30", "DROP STABLE market_data.index_quotes",
        "ALTER STABLE market_data.minute_kline ADD COLUMN by_hand INT",
        "ALTER STABLE market_data.depth_data DROP COLUMN ask_volume_5",
    ):  # fmt: skip
        execute(host, statement)
    three.host("tsdb3").run("sed -i 's/^telemetryReporting.*/telemetryReporting 1/' /etc/taos/taos.cfg")
    changes = drift("lab", PARTS)
    assert changes.by_operation == {"TDengine server settings": ("tsdb3",), "TDengine tables": ("tsdb1",)}
    told = " ".join(one.detail for one in beyond.look(three, NODES))
    for words in (
        "WAL_FSYNC_PERIOD 3000, declared is 0", "WAL_LEVEL 1, declared is 2", "KEEP 30d,30d,30d, declared is 3650d",
        "supertable market_data.index_quotes is missing", "minute_kline.by_hand is not in the catalogue",
        "depth_data.ask_volume_5 is missing",
    ):  # fmt: skip
        assert words in told
    assert "TDengine tables" in deploy("lab", PARTS).by_operation
    assert drift("lab", PARTS).by_operation == {}
    # What nobody declared is shown, and never dropped unasked; nor are rows, by a shorter time to keep them.
    execute(host, "ALTER DATABASE market_data KEEP 4000")
    assert drift("lab", PARTS).by_operation == {}
    left = [one.detail for one in beyond.look(three, NODES)]
    assert len(left) == 2
    assert "no deploy shortens it" in " ".join(left)
    assert "by_hand is not in the catalogue" in " ".join(left)
    execute(host, "ALTER STABLE market_data.minute_kline DROP COLUMN by_hand")
    execute(host, "ALTER DATABASE market_data KEEP 3650")
    assert beyond.look(three, NODES) == ()


def repacked(folder: Path, version: str = "") -> tuple[str, str]:
    """The same package under another sum; with `version` its server says that it is that one. Path and SHA-256."""
    target = folder / f"repacked-{version or 'same'}.tar.gz"
    with (
        tarfile.open(PACKAGE) as source, gzip.open(target, "wb", 1) as packed,
        tarfile.open(fileobj=packed, mode="w") as out,
    ):  # fmt: skip
        for member in source:
            if not member.isfile() or not member.name.lstrip("./").startswith(("bin/", "lib/")):
                if member.issym():
                    out.addfile(member)
                continue
            content = source.extractfile(member)
            assert content is not None
            data = content.read()
            if version and member.name.endswith("bin/taosd"):
                data = data.replace(b"3.3.7.5.alpha", version.encode().ljust(13, b"\0"))
            out.addfile(member, io.BytesIO(data))
        note = tarfile.TarInfo("share/OTHER-BUILD")
        out.addfile(note, io.BytesIO())
    return str(target), hashlib.sha256(target.read_bytes()).hexdigest()


def test_another_package_comes_into_use_node_by_node_and_an_older_one_is_refused(
    three: Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole(three)
    before = three.host("tsdb1").run("readlink /opt/tdengine/current").text
    where, digest = repacked(tmp_path)
    with monkeypatch.context() as patch:
        patch.setenv("TDENGINE_PACKAGE", where)
        patch.setenv("TDENGINE_PACKAGE_SHA256", digest)
        with load(three, tmp_path):
            changes = deploy("lab", PARTS)
        assert changes.by_operation["TDengine reads its settings"] == NODES
        now = {three.host(name).run("readlink /opt/tdengine/current").text for name in NODES}
        assert now == {f"/opt/tdengine/{digest[:12]}-2"} != {before}
        assert deploy("lab", PARTS).by_operation == {}

        where, digest = repacked(tmp_path, "3.3.6.1")
        patch.setenv("TDENGINE_PACKAGE", where)
        patch.setenv("TDENGINE_PACKAGE_SHA256", digest)
        words = r"an older TDengine .*: the package is 3\.3\.6\.1, in use is 3\.3\.7\.5"
        with pytest.raises(Refused, match=words) as error:
            deploy("lab", PARTS)
        assert "no server was touched" in error.value.hint
        assert {three.host(name).run("readlink /opt/tdengine/current").text for name in NODES} == now
    whole(three)
    (back := tmp_path / "back").mkdir()
    with load(three, back):
        assert "TDengine in use" in deploy("lab", PARTS).by_operation
    assert three.host("tsdb1").run("readlink /opt/tdengine/current").text == before


@pytest.mark.parametrize("harm", ["sum", "torn", "machine"])
def test_package_that_cannot_be_used_touches_no_host(
    three: Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    file = tmp_path / "package.tar.gz"
    data = bytearray(Path(PACKAGE).read_bytes())
    digest = hashlib.sha256(data).hexdigest()
    if harm == "sum":
        data[len(data) // 2] ^= 1
    elif harm == "torn":
        data = data[: len(data) // 2]
        digest = hashlib.sha256(data).hexdigest()
    else:
        data = bytearray(Path(_for_another_machine(tmp_path)).read_bytes())
        digest = hashlib.sha256(data).hexdigest()
    file.write_bytes(data)
    monkeypatch.setenv("TDENGINE_PACKAGE", str(file))
    monkeypatch.setenv("TDENGINE_PACKAGE_SHA256", digest)
    words = {"sum": "has SHA-256", "torn": "cannot be unpacked", "machine": "for another machine"}[harm]
    with pytest.raises(BadInput, match=words) as error:
        deploy("lab", PARTS)
    assert error.value.hint
    whole(three)


def _for_another_machine(folder: Path) -> str:
    """The package with a server whose header says ARM."""
    target = folder / "arm.tar.gz"
    with tarfile.open(target, "w:gz", compresslevel=1) as out:
        header = b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\x02\x00\xb7\x00" + b"\0" * 44
        for name in ("bin/taosd", "lib/libtaos.so"):
            entry = tarfile.TarInfo(name)
            entry.size = len(header)
            out.addfile(entry, io.BytesIO(header))
    return str(target)
