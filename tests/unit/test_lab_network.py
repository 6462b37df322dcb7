"""Choosing a subnet and telling our network from somebody else's."""

from ipaddress import IPv4Network
from pathlib import Path

import pytest

from inventories.errors import BadInput, Refused
from lab import network
from tests.unit.fake_engine import FakeEngine


def test_the_first_subnet_that_nobody_uses_is_taken() -> None:
    assert str(network.free_subnet([])) == "10.89.100.0/24"
    taken = [IPv4Network("10.89.100.0/24"), IPv4Network("10.89.101.128/25"), IPv4Network("192.0.2.0/24")]
    assert str(network.free_subnet(taken)) == "10.89.102.0/24"
    assert str(network.free_subnet([IPv4Network("10.89.199.0/24")], start=99)) == "10.89.100.0/24"


def test_a_machine_that_routes_all_of_ten_has_no_room() -> None:
    with pytest.raises(BadInput, match="in use"):
        network.free_subnet([IPv4Network("10.0.0.0/8")])


def test_both_engines_networks_are_read() -> None:
    podman = {"subnets": [{"subnet": "fd00::/64"}, {"subnet": "10.1.2.0/24"}]}
    docker = {"IPAM": {"Config": [{"Subnet": "172.17.0.0/16"}]}}
    bare: dict[str, object] = {"name": "host"}
    assert [str(net) for net in network.subnets_of([podman, docker, bare])] == [
        "10.1.2.0/24",
        "172.17.0.0/16",
    ]


def test_a_network_of_that_name_which_is_not_ours_is_refused_and_kept(tmp_path: Path) -> None:
    fake = FakeEngine(tmp_path)
    fake.answer(
        "network inspect", [{"subnets": [{"subnet": "10.1.2.0/24"}], "labels": {"mystocks-dr.lab": "other"}}]
    )
    with pytest.raises(Refused, match="no lab of ours made"):
        network.ensure_network(fake.engine, "t")
    assert network.remove_network(fake.engine, "t") is False
    assert not any(call.startswith(("network rm", "network create")) for call in fake.calls)


def test_removing_a_network_that_is_not_there_is_harmless(tmp_path: Path) -> None:
    fake = FakeEngine(tmp_path)
    fake.answer(
        "network inspect", "[]", err="Error: network dr-t: unable to find: network not found", code=125
    )
    assert network.remove_network(fake.engine, "t") is False
