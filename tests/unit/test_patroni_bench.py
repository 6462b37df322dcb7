"""Patroni's bench, without Patroni: what it is set to, when its cluster counts as whole, and what a crash comes to."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
import yaml

from drills.benches import own_lab
from drills.benches.patroni import asks, crashing, rows, setup
from drills.benches.patroni.asks import Roles
from drills.benches.patroni.crashing import Crash, Scene
from drills.benches.patroni.rows import Rows, Taken
from drills.benches.patroni.setup import DEFAULTS, FASTEST, NODES
from inventories.errors import BadInput, Refused, TargetFailed, TimedOut
from lab.state import LabHost, LabState

ADDRESSES = {"app1": "192.0.2.11", "pg1": "192.0.2.21", "pg2": "192.0.2.22"}
LAB = LabState(
    "toy", "dr-toy", "192.0.2.0/24", "192.0.2.1", "image",
    {name: LabHost(name, f"toy-{name}", address) for name, address in ADDRESSES.items()},
)  # fmt: skip


@pytest.mark.parametrize("pace", [DEFAULTS, FASTEST])
def test_paces_are_ones_that_patroni_takes(pace: setup.Pace) -> None:
    assert pace.ttl >= 20 and pace.loop_wait >= 1 and pace.retry_timeout >= 3
    assert pace.loop_wait + 2 * pace.retry_timeout <= pace.ttl


def test_settings_of_a_node_name_its_own_addresses_and_the_store() -> None:
    said = yaml.safe_load(setup.node_settings(LAB, "pg2", DEFAULTS, "secret"))
    assert said["name"] == "pg2"
    assert said["restapi"]["connect_address"] == "192.0.2.22:8008"
    assert said["postgresql"]["connect_address"] == "192.0.2.22:5432"
    assert said["etcd3"] == {"hosts": ["192.0.2.11:2379"]}
    assert {clock: said["bootstrap"]["dcs"][clock] for clock in DEFAULTS.as_settings()} == {
        "ttl": 30, "loop_wait": 10, "retry_timeout": 10,
    }  # fmt: skip
    assert "host replication replicator 192.0.2.0/24 scram-sha-256" in said["postgresql"]["pg_hba"]
    assert "synchronous_mode" not in said["bootstrap"]["dcs"]


def test_both_nodes_are_of_one_cluster() -> None:
    one, other = (json.loads(setup.node_settings(LAB, name, DEFAULTS, "secret")) for name in NODES)
    assert one["scope"] == other["scope"]
    assert one["postgresql"]["authentication"] == other["postgresql"]["authentication"]


def test_store_is_reached_from_other_hosts() -> None:
    assert "ETCD_ADVERTISE_CLIENT_URLS=http://192.0.2.11:2379\n" in setup.store_settings(LAB)


@pytest.mark.parametrize("script", [setup.INSTALL, setup.PLACE])
def test_scripts_are_shell(script: str) -> None:
    assert subprocess.run(["sh", "-n"], input=script, text=True, check=False).returncode == 0


def test_versions_are_those_of_what_was_asked_for() -> None:
    said = "Setting up\npatroni 4.0.7-3~deb13u1\netcd-server 3.5.16-4\nlibpq5 17\n"
    assert setup.versions(said) == {"patroni": "4.0.7-3~deb13u1", "etcd-server": "3.5.16-4"}


def member(name: str, role: str, state: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "role": role, "state": state, "timeline": 2, "lag": 0, **more}


LEADS, STREAMS = member("pg1", "leader", "running"), member("pg2", "replica", "streaming")


def test_cluster_is_whole_with_a_leader_and_one_that_streams() -> None:
    assert asks.roles({"members": [LEADS, STREAMS]}) == Roles("pg1", "pg2")


@pytest.mark.parametrize(
    "members",
    [
        [],
        [LEADS],
        [LEADS, member("pg2", "replica", "running")],
        [LEADS, member("pg2", "replica", "streaming", timeline=1)],
        [LEADS, member("pg2", "replica", "streaming", lag="unknown")],
        [LEADS, member("pg2", "replica", "streaming", lag=2**21)],
        [member("pg1", "leader", "starting"), STREAMS],
        [LEADS, member("pg2", "leader", "running")],
    ],
)
def test_cluster_is_not_whole(members: list[dict[str, Any]]) -> None:
    assert asks.roles({"members": members}) is None


def test_pace_is_kept_when_every_node_has_it_and_the_lease_runs_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    configured, granted = dict.fromkeys(NODES, FASTEST), {"ttl": 30}

    def ask(address: str, _: int, path: str, method: str = "GET", body: Any = None) -> dict[str, Any]:
        if path == "/config":
            (name,) = (name for name in NODES if ADDRESSES[name] == address)
            return {**configured[name].as_settings(), "postgresql": {}}
        if path == "/v3/kv/range":
            assert body == {"key": "L3NlcnZpY2UvdG95L2xlYWRlcg=="}  # /service/toy/leader
            return {"kvs": [{"lease": "77"}]}
        assert (path, body) == ("/v3/lease/timetolive", {"ID": "77"})
        return {"grantedTTL": str(granted["ttl"])}

    monkeypatch.setattr(asks, "ask", ask)
    assert not asks.keeps(LAB, FASTEST)  # the leader has its key by the old clocks
    granted["ttl"] = 20
    assert asks.keeps(LAB, FASTEST)
    configured["pg2"] = DEFAULTS
    assert not asks.keeps(LAB, FASTEST)


class Line:
    """A connection to a standby, which refuses until it is promoted."""

    closed = 0

    def __init__(self, promoted: threading.Event) -> None:
        self.promoted = promoted

    def cursor(self) -> Line:
        return self

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, *_: object) -> None:
        if not self.promoted.is_set():
            raise psycopg2.errors.ReadOnlySqlTransaction

    def close(self) -> None:
        pass


def test_first_row_of_a_promoted_standby_is_the_one_it_took() -> None:
    promoted, over, taken, opened = threading.Event(), threading.Event(), Rows(), list[str]()

    def open_(address: str, _: str) -> Any:
        opened.append(address)
        return Line(promoted)

    thread = threading.Thread(
        target=rows._writes, args=("pg2", "192.0.2.22", "", itertools.count(1), taken, over, open_)
    )
    thread.start()
    try:
        with pytest.raises(TimedOut):
            taken.first("pg2", 0.0, 0.1)
        fault = time.monotonic()
        promoted.set()
        assert fault <= taken.first("pg2", fault, 5).at < fault + 5
        assert opened == ["192.0.2.22"]  # the connection outlives what the standby refused
    finally:
        over.set()
        thread.join()
    assert taken.of("pg2")
    assert not taken.of("pg1")


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    """A cluster whose leader dies and whose standby takes over at once, after two rows of which one is lost."""
    clusters = iter((Roles("pg1", "pg2"), Roles("pg2", "pg1")))
    monkeypatch.setattr(crashing, "_whole", lambda _: next(clusters))
    monkeypatch.setattr(crashing, "wait", lambda _: None)
    monkeypatch.setattr(asks, "keeps", lambda *_: True)
    monkeypatch.setattr(crashing.faults, "power_on", lambda *_: None)
    monkeypatch.setattr(crashing.faults, "is_running", lambda *_: False)
    monkeypatch.setattr(rows, "there", lambda *_: frozenset({1, 3}))
    written = Rows([Taken(1.0, "pg1", 1), Taken(2.0, "pg1", 2)])

    class Writing:
        def __enter__(self) -> Rows:
            return written

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(rows, "writing", lambda *_: Writing())
    monkeypatch.setattr(
        crashing.faults, "power_off", lambda *_: written.take(Taken(time.monotonic() + 1, "pg2", 3))
    )
    return Scene(LAB, "secret", SimpleNamespace(uniform=lambda *_: 0.0))  # type: ignore[arg-type]


def test_crash_is_measured_to_the_first_row_and_what_was_lost_is_counted(scene: Scene) -> None:
    found = crashing.crash(scene, FASTEST)
    assert 0.5 < found.seconds < 5
    assert (found.lost, found.why) == (1.0, "")


def test_crash_of_a_host_that_lives_on_is_none(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crashing.faults, "is_running", lambda *_: True)
    found = crashing._said(scene, FASTEST, "crash 1", lambda _: None)
    assert "is not off" in found.why
    assert found.seconds == math.inf


def test_crash_at_another_pace_is_none(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asks, "keeps", lambda *_: False)
    with pytest.raises(TargetFailed, match="does not keep ttl 20"):
        crashing.crash(scene, FASTEST)


def test_bench_fails_where_a_crash_is_not_proven() -> None:
    good, bad = Crash(21.0, 0.0), Crash(why="pg2 has taken no row within 180 s")
    assert crashing.failed([(DEFAULTS, (good,))]) == ()
    assert "has taken no row" in crashing.failed([(DEFAULTS, (good, bad))])[0]
    assert crashing.failed([]) == ("nothing was measured",)
    assert crashing.failed([(DEFAULTS, ())]) == ("nothing was measured",)
    assert crashing.figures(DEFAULTS, (good, bad))[0].worst == math.inf


def test_bench_of_no_crash_is_none() -> None:
    with pytest.raises(BadInput):
        crashing.bench("toy", 0, lambda _: None)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    downs: list[str] = []
    monkeypatch.setattr(crashing.machine, "ensure_engine", lambda _: SimpleNamespace())
    monkeypatch.setattr(own_lab.down, "down", lambda lab, _: downs.append(lab))
    monkeypatch.setattr(crashing.up, "up", lambda *_: LAB)
    monkeypatch.setattr(crashing, "keep", lambda *_: None)
    yield downs


def test_lab_that_is_there_is_left_alone(engine: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_lab.containers, "of_lab", lambda *_: {"toy-pg1": None})
    with pytest.raises(Refused, match="is there already"):
        crashing.bench("toy", 1, lambda _: None)
    assert engine == []


def test_lab_is_removed_whatever_happens(engine: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Any:
        raise TargetFailed("apt-get failed")

    monkeypatch.setattr(own_lab.containers, "of_lab", lambda *_: {})
    monkeypatch.setattr(crashing, "provisioned", broken)
    with pytest.raises(TargetFailed):
        crashing.bench("toy", 1, lambda _: None)
    assert engine == ["toy"]


def test_both_paces_are_measured(engine: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_lab.containers, "of_lab", lambda *_: {})
    monkeypatch.setattr(crashing, "provisioned", lambda *_: {"patroni": "4.0.7"})
    monkeypatch.setattr(crashing, "crash", lambda _, pace: Crash(float(pace.ttl), 0.0))
    found = crashing.bench("toy", 3, lambda _: None)
    assert [(figure.values, figure.median) for figure in found.figures[::2]] == [
        ((30.0, 30.0, 30.0), 30.0), ((20.0, 20.0, 20.0), 20.0),
    ]  # fmt: skip
    assert found.failed == ()
    assert engine == ["toy"]


def test_it_says_that_it_flatters_patroni_in_the_page_of_decisions() -> None:
    said = (Path(crashing.__file__).parents[3] / "docs" / "decisions.md").read_text()
    assert "`./dr bench --patroni`" in said
