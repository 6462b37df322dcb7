"""A delayed standby when roles move: named for none, promoted by nobody, and following its primary wherever that is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inventories.errors import Refused
from inventories.inventory import HostEntry
from runbooks.actions.postgresql import server as act
from runbooks.actions.postgresql import side as sides
from runbooks.engine.context import Context
from runbooks.hosts import Estate, Host
from runbooks.probes.postgresql import server
from runbooks.probes.postgresql import side as side_probe
from runbooks.probes.postgresql.server import Node
from runbooks.procedures.postgresql import electing, rejoin, start_cluster, streaming, switchover
from runbooks.procedures.postgresql.failover import FailoverOptions
from runbooks.procedures.postgresql.roles import Roles
from runbooks.procedures.postgresql.start_cluster import StartClusterOptions
from runbooks.procedures.postgresql.switchover import SwitchoverOptions
from runbooks.validation import copies
from tests.unit.record_kit import SYSTEM

ROLES = Roles(primary="pg2", other="pg1", timeline=2)


def host(name: str) -> Host:
    more: dict[str, Any] = {"apply_delay": "1h", "synchronous": False} if name == "pg3" else {}
    return Host(name, HostEntry(name=name, ssh_hostname="192.0.2.1", **more), Path("/nowhere"))


def estate() -> Estate:
    groups = {"pg_primary": ("pg1",), "pg_standby": ("pg2", "pg3"), "backup": ("backup1",), "app": ("app1",)}
    hosts = tuple(map(host, ("pg1", "pg2", "pg3", "backup1", "app1")))
    return Estate("three", "lab", hosts, groups, {"postgres_version": 17, "synchronous_standbys": 1})


def context(options: Any) -> Any:
    return Context(estate(), options, Path("/runs/20260101T000000Z-run"))


BEHIND = Node(
    host("pg3"), ssh=True, online=True, in_recovery=True, system=SYSTEM, timeline=1, replayed=100, written=900,
    standby_signal=True, receiving_from="192.0.2.1",
)  # fmt: skip
RESTARTED = replace(BEHIND, written=None, receiving_from=None, delaying=True, heard=2)


def test_the_estate_names_it_and_takes_it_for_no_candidate() -> None:
    assert [one.name for one in estate().delayed] == ["pg3"]
    assert [one.name for one in estate().candidates] == ["pg1", "pg2"]


def test_it_is_promoted_by_nobody_although_it_has_received_most() -> None:
    second = replace(BEHIND, host=host("pg2"), written=100)
    assert [one.name for one in electing.electable([second, BEHIND])] == ["pg2"]
    with pytest.raises(Refused, match="only pg3 answers, delayed by declaration") as told:
        electing.electable([BEHIND])
    assert "`apply_delay`" in told.value.hint


def test_whoever_names_it_for_a_role_hears_in_one_sentence_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refused, match="pg3 is delayed by declaration, and is not promoted") as told:
        switchover.wanted(context(SwitchoverOptions(host="pg3")))
    assert "--host pg1 or pg2" in told.value.hint and "`apply_delay`" in told.value.hint
    monkeypatch.setattr(start_cluster, "nobody_works", lambda *_: None)
    with pytest.raises(Refused, match="pg3 is delayed by declaration, and is not the one to start") as told:
        start_cluster.wanted(context(StartClusterOptions(host="pg3")))
    assert "--host pg1 or pg2" in told.value.hint


def test_nobody_is_compared_with_it() -> None:
    primary = Node(host("pg2"), ssh=True, online=True, in_recovery=False, system=SYSTEM, timeline=1)
    with pytest.raises(Refused, match="no standby answers"):
        copies.standby((primary, BEHIND), primary, "quant_research")


class Restarts:
    """pg3 as it is before and after its restart, and what was done to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *seen: Node) -> None:
        self.seen, self.done = list(seen), []  # type: tuple[list[Node], list[str]]
        monkeypatch.setattr(server, "look", lambda *_: self.seen.pop(0) if len(self.seen) > 1 else self.seen[0])
        for name in ("stop", "start", "look_for_primary"):
            monkeypatch.setattr(act, name, lambda *_, name=name: self.done.append(name))


def test_after_a_failover_a_restart_shows_it_where_the_two_timelines_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have received more than was promoted: a running one would replay that, an hour from now."""
    there = Restarts(monkeypatch, BEHIND, replace(RESTARTED, heard=0), RESTARTED)
    assert electing._follows(context(FailoverOptions()), ROLES, host("pg3"))
    assert there.done == ["stop", "start"]


def test_one_that_has_found_the_new_timeline_already_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Restarts(monkeypatch, RESTARTED)
    assert electing._follows(context(FailoverOptions()), ROLES, host("pg3")) and there.done == []


def test_one_that_finds_no_new_timeline_is_said_with_what_brings_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    Restarts(monkeypatch, BEHIND, replace(RESTARTED, heard=0))
    monkeypatch.setattr(electing, "budget", lambda _: 0.2)
    said: list[str] = []
    run = replace(context(FailoverOptions()), say=said.append)
    assert not electing._follows(run, ROLES, host("pg3"))
    assert "./dr rejoin pg3 --yes" in said[0]


def test_a_rejoin_waits_for_its_delay_and_not_for_it_to_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    Restarts(monkeypatch, RESTARTED)
    streaming.follows_soon(context(FailoverOptions()), ROLES.model_copy(update={"other": "pg3"}))


def test_it_is_out_where_it_is_named_and_not_because_it_waits() -> None:
    assert not rejoin._is_out(RESTARTED, "") and rejoin._is_out(RESTARTED, "pg3")
    assert rejoin._is_out(replace(RESTARTED, delaying=False), "")


def test_a_rejoin_ends_what_a_restore_has_left_open_before_it_fences(monkeypatch: pytest.MonkeyPatch) -> None:
    left = side_probe.SideCluster(
        "pitr", "/data", "/socket", 5433, "ready", True, True, False, "delayed", None, 0, 1, 1, 1, "0/1", 1, None, "",
        None, standby=True,
    )  # fmt: skip
    dropped: list[str] = []
    monkeypatch.setattr(side_probe, "every", lambda _: (left, replace(left, name="mine", standby=False)))
    monkeypatch.setattr(sides, "drop", lambda _host, name, _timeout: dropped.append(name))
    rejoin._no_longer_open(context(FailoverOptions()), host("pg2"))
    assert dropped == []
    rejoin._no_longer_open(context(FailoverOptions()), host("pg3"))
    assert dropped == ["pitr"]
