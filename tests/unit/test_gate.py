"""What keeps a drill from beginning: an estate that is not whole, by its nodes alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from drills.gate import _nodes_wrong
from drills.scenarios.catalogue import SCENARIOS
from inventories.errors import Refused
from inventories.inventory import HostEntry
from runbooks.hosts import Estate, Host
from runbooks.probes.postgresql.server import Node, Standby


def host(name: str) -> Host:
    return Host(name, HostEntry(name=name, ssh_hostname="192.0.2.1"), Path("unused"))


FOLLOWS = Standby("pg2", "streaming", "sync", 0x5000000, 0x5000000, None)
PRIMARY = Node(host("pg1"), True, online=True, in_recovery=False, timeline=1, standbys=(FOLLOWS,))
STANDBY = Node(host("pg2"), True, online=True, in_recovery=True, timeline=1, receiving_from="pg1")


def test_a_primary_and_its_synchronous_standby_are_whole() -> None:
    assert _nodes_wrong((PRIMARY, STANDBY), 1) == ""


def test_a_standby_that_receives_and_replays_nothing_is_not() -> None:
    wrong = _nodes_wrong((PRIMARY, replace(STANDBY, replay_paused=True)), 1)
    assert wrong.startswith("pg2 receives and replays nothing")


def test_nobody_who_follows_or_is_waited_for_is_not() -> None:
    assert "0 streaming standbys" in _nodes_wrong((PRIMARY, replace(STANDBY, receiving_from=None)), 1)
    assert _nodes_wrong((replace(PRIMARY, standbys=()), STANDBY), 1) == "pg1 waits for no standby"
    assert "pg2 does not answer" in _nodes_wrong((PRIMARY, replace(STANDBY, online=False)), 1)


def test_an_estate_that_is_asynchronous_by_declaration_is_whole_where_its_standby_streams() -> None:
    alone = replace(PRIMARY, standbys=(replace(FOLLOWS, sync="async"),))
    assert _nodes_wrong((alone, STANDBY), 1) == "pg1 waits for no standby"
    assert _nodes_wrong((alone, STANDBY), 0) == ""


def test_there_only_the_drill_of_that_estate_is_begun() -> None:
    """Every other one promises that nothing is lost, which commits that wait for nobody do not give."""
    estate = Estate("two", "lab", (host("pg1"), host("pg2")), {"pg_primary": ("pg1",), "pg_standby": ("pg2",)}, {
        "synchronous_standbys": "none",
    })  # fmt: skip
    with pytest.raises(Refused, match="primary-power-loss promises what commits that wait"):
        SCENARIOS["primary-power-loss"].fitting(estate)
    assert SCENARIOS["async-primary-loss"].fitting(estate).name == "async-primary-loss"
