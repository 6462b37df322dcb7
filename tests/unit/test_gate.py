"""What keeps a drill from beginning: an estate that is not whole, by its nodes alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from drills.gate import _nodes_wrong
from inventories.inventory import HostEntry
from runbooks.hosts import Host
from runbooks.probes.postgresql.server import Node, Standby


def host(name: str) -> Host:
    return Host(name, HostEntry(name=name, ssh_hostname="192.0.2.1"), Path("unused"))


FOLLOWS = Standby("pg2", "streaming", "sync", 0x5000000, 0x5000000, None)
PRIMARY = Node(host("pg1"), True, online=True, in_recovery=False, timeline=1, standbys=(FOLLOWS,))
STANDBY = Node(host("pg2"), True, online=True, in_recovery=True, timeline=1, receiving_from="pg1")


def test_a_primary_and_its_synchronous_standby_are_whole() -> None:
    assert _nodes_wrong((PRIMARY, STANDBY)) == ""


def test_a_standby_that_receives_and_replays_nothing_is_not() -> None:
    assert _nodes_wrong((PRIMARY, replace(STANDBY, replay_paused=True))).startswith("pg2 receives and replays nothing")


def test_nobody_who_follows_or_is_waited_for_is_not() -> None:
    assert "0 streaming standbys" in _nodes_wrong((PRIMARY, replace(STANDBY, receiving_from=None)))
    assert _nodes_wrong((replace(PRIMARY, standbys=()), STANDBY)) == "pg1 waits for no standby"
    assert "pg2 does not answer" in _nodes_wrong((PRIMARY, replace(STANDBY, online=False)))
