"""What servers say becomes a state, a sentence, a finding; a copy with a blank disk is found whatever is said of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inventories.catalog.load import load_recovery
from inventories.errors import DrError, TargetFailed, TimedOut, Unreachable
from inventories.inventory import HostEntry
from runbooks.hosts import Host, Ran
from runbooks.judge import outbox
from runbooks.judge import tdengine as judge
from runbooks.probes.app import Outbox
from runbooks.probes.tdengine.servers import Server, abilities, leader, look, parse, speaker

FEATURES = {
    "version": "3.3.7.5", "edition": "community", "privileges_hold": False, "restores_dnodes": False, "rest": False,
}  # fmt: skip
TABLES = ("depth_data", "index_quotes", "level2_snapshot", "minute_kline", "tick_data")
SAID: dict[str, Any] = {
    "version": "3.3.7.5", "edition": "community", "default_password": False, "users": ["root"],
    "dnodes": {f"tsdb{n}:6030": "ready" for n in (1, 2, 3)}, "numbers": {f"tsdb{n}:6030": n for n in (1, 2, 3)},
    "mnodes": {"tsdb1:6030": "leader", "tsdb2:6030": "follower", "tsdb3:6030": "follower"},
    "databases": {}, "columns": {f"market_data.{name}": [] for name in TABLES}, "held": [2], "features": FEATURES,
    "vgroups": [
        {
            "id": 2, "database": "market_data",
            "replicas": {"1": ["leader", 9, 9], "2": ["follower", 9, 9], "3": ["follower", 9, 9]},
        }
    ],
}  # fmt: skip


def host(name: str) -> Host:
    return Host(name, HostEntry(name=name, ssh_hostname="192.0.2.1"), Path("/nowhere"))


def server(name: str, **changed: Any) -> Server:
    return parse(host(name), {**SAID, **changed})


WHOLE = tuple(server(name) for name in ("tsdb1", "tsdb2", "tsdb3"))
GONE = Server(host("tsdb3"), ssh=False, why="no answer")


def told(*servers: Server) -> dict[str, str]:
    return {one.objective: one.measured for one in judge.findings(servers)}


def test_the_leader_of_a_database_is_told_by_any_node_that_speaks() -> None:
    """A drill whose lost node leads nothing is one that no client notices."""
    second = {"1": ["follower", 9, 9], "2": ["leader", 9, 9], "3": ["follower", 9, 9]}
    groups = [
        {"id": 2, "database": "market_data", "replicas": second},
        {"id": 4, "database": "mystocks_dr", "replicas": {"1": ["leader", 9, 9]}},
    ]
    servers = (server("tsdb1", vgroups=groups), server("tsdb2", vgroups=groups), GONE)
    found = leader(servers, "market_data")
    assert found is not None and found.name == "tsdb2"
    electing = [{**groups[0], "replicas": {**second, "2": ["candidate", 9, 9]}}]
    assert leader((server("tsdb1", vgroups=electing),), "market_data") is None
    assert leader((GONE,), "market_data") is None


def test_agents_of_an_older_tool_are_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    older = {name: said for name, said in SAID.items() if name != "edition"}
    monkeypatch.setattr(Host, "reachable", lambda *_: True)
    monkeypatch.setattr(Host, "run", lambda *_, **__: Ran(0, json.dumps(older), "", 0.1))
    seen = look(host("tsdb1"))
    assert not seen.online
    assert "nothing of edition" in seen.why and "./dr deploy --limit tsdb1" in seen.why


@pytest.mark.parametrize(
    ("error", "role", "hint"),
    [
        (TimedOut("tsdb1 did not finish within 2 s"), "unknown", "./dr status asks again"),
        (Unreachable("tsdb1 cannot be reached over SSH"), "unreachable", "bring the host back"),
        (TargetFailed("tsdb1: ended with 124"), "down", "./dr tdengine-rejoin tsdb1"),
    ],
)
def test_a_host_that_is_slow_is_not_called_away(
    monkeypatch: pytest.MonkeyPatch, error: DrError, role: str, hint: str
) -> None:
    def fails(*_: object, **__: object) -> Ran:
        raise error

    monkeypatch.setattr(Host, "reachable", lambda *_: True)
    monkeypatch.setattr(Host, "run", fails)
    seen = look(host("tsdb1"))
    assert (seen.role, seen.blank) == (role, False)
    found = {one.objective: one for one in judge.findings((seen, *WHOLE[1:]))}["TDengine on tsdb1"]
    assert hint in found.hint and str(error) in found.measured


def test_whole_cluster_meets_everything() -> None:
    assert told(*WHOLE) == {}
    assert list(judge.degraded(WHOLE)) == []
    assert speaker(WHOLE) is WHOLE[0]
    assert all(group.is_whole for group in WHOLE[0].vgroups)


def test_a_supertable_that_was_dropped_is_found_with_the_way_back() -> None:
    left = {f"market_data.{name}": [] for name in TABLES if name != "tick_data"}
    (lost,) = judge.findings([server("tsdb1", columns=left), *WHOLE[1:]])
    assert (lost.objective, lost.measured) == ("supertable market_data.tick_data", "missing")
    assert "tdengine-restore" in lost.hint


def test_copy_on_a_blank_disk_is_found_though_the_cluster_calls_it_a_follower() -> None:
    blank = server("tsdb3", held=[])
    assert blank.lacking == (2,)
    assert told(*WHOLE[:2], blank) == {"copies on tsdb3": "1 of its vgroups have no data on its disk"}


def test_lost_node_is_to_be_rejoined_and_another_speaks() -> None:
    dnodes = {**SAID["dnodes"], "tsdb1:6030": "offline"}
    lost = Server(host("tsdb1"), ssh=False, why="no answer")
    left = (lost, server("tsdb2", dnodes=dnodes), server("tsdb3", dnodes=dnodes))
    found = {one.objective: one.hint for one in judge.findings(left)}
    assert "./dr tdengine-rejoin tsdb1" in found["TDengine on tsdb1"]
    assert speaker(left) is left[1]


def test_a_cluster_whose_majority_lost_its_disks_is_rebuilt() -> None:
    """A rejoin has nobody who could fill a node, and a deploy on blank hosts makes no cluster of one that is left."""
    blank = tuple(parse(host(name), None) for name in ("tsdb1", "tsdb2"))
    left = Server(host("tsdb3"), ssh=True, why="no majority")
    found = {one.objective: one.hint for one in judge.findings((*blank, left), ("20261121-100000F",))}
    assert found.keys() == {"TDengine on tsdb1", "TDengine on tsdb2", "TDengine on tsdb3"}
    assert all("tsdb1, tsdb2 lost their copies" in hint and "tdengine-rebuild --replace" in hint
               for hint in found.values())  # fmt: skip
    (lost,) = judge.findings((*blank, parse(host("tsdb3"), None)), ("20261121-100000F",))
    assert "20261121-100000F is a backup of one that was" in lost.measured
    assert lost.hint == "./dr tdengine-rebuild --yes"


def test_stopped_server_of_one_is_started_by_a_deploy() -> None:
    down = Server(host("tsdb1"), ssh=True, why="nobody listens")
    (found,) = judge.findings([down])
    assert "./dr deploy --limit tsdb1" in found.hint


def test_vgroup_without_a_leader_is_found() -> None:
    away = [{**SAID["vgroups"][0], "replicas": {"1": ["candidate", 9, 9], "2": ["offline", 0, 0]}}]
    assert "no leader" in told(server("tsdb1", vgroups=away), WHOLE[1])["vgroup 2 of market_data"]


def test_node_that_manages_no_more_is_found() -> None:
    mnodes = {**SAID["mnodes"], "tsdb3:6030": "offline"}
    assert told(server("tsdb1", mnodes=mnodes), *WHOLE[1:]) == {"management by tsdb3": "offline"}


def test_open_door_and_mixed_versions_are_found() -> None:
    found = told(WHOLE[0], server("tsdb2", default_password=True), server("tsdb3", version="3.3.8.0"))
    assert found["TDengine's root on tsdb2"] == "everybody knows the password"
    assert found["TDengine's version"] == "3.3.7.5 and 3.3.8.0"


def test_estate_without_a_package_is_degraded_and_promises_nothing() -> None:
    bare = parse(host("tsdb1"), None)
    assert bare.role == "not installed"
    assert told(bare) == {}
    assert "TDENGINE_PACKAGE" in next(iter(judge.degraded([bare])))


def test_edition_is_one_plain_sentence() -> None:
    said = abilities(WHOLE)
    assert said.startswith("TDengine 3.3.7.5 (community): every user may do everything")
    assert said.count(".") == said.count("3.3.7.5") * 3 + 2  # ./dr and the full stop
    assert abilities([replace(one, features=None) for one in WHOLE]) == ""


def test_outbox_of_its_own_is_judged() -> None:
    box = Outbox(1, 60, 2, 1.0, None, 4096, 1 << 30, False)
    names = {one.objective for one in outbox.findings(box, load_recovery().limits, outbox.TDENGINE)}
    assert names == {"dead letters in TDengine's outbox", "TDengine's replayer"}
