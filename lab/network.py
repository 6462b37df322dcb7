"""A lab's own network: a free private /24, so that two labs can live side by side."""

import json
import random
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network, ip_network
from pathlib import Path
from typing import Any

from inventories.errors import BadInput, Refused
from lab.engine import Engine, EngineFailed, Kind
from lab.spec import LABEL_LAB, network_name

_CANDIDATES = tuple(IPv4Network(f"10.89.{third}.0/24") for third in range(100, 200))


def ensure_network(engine: Engine, lab: str) -> IPv4Network:
    """The lab's subnet; its network is made when missing. Refused when the name is another's."""
    found = inspect(engine, lab)
    if found is not None:
        labels, subnet = found
        if labels.get(LABEL_LAB) != lab:
            raise Refused(
                f"There is a network named {network_name(lab)} which no lab of ours made.",
                "Choose another lab with --lab, or remove that network by hand.",
            )
        return subnet
    # Not always the same one: an engine that was killed while it made a host keeps that address taken.
    start = random.randrange(len(_CANDIDATES))  # noqa: S311
    subnet = free_subnet([*_networks_of(engine), *_routes()], start)
    without_dns = ("--disable-dns",) if engine.kind is Kind.PODMAN else ()
    where = ("--subnet", str(subnet), "--gateway", str(subnet[1]))
    engine.run("network", "create", "--label", f"{LABEL_LAB}={lab}", *where, *without_dns, network_name(lab))
    return subnet


def remove_network(engine: Engine, lab: str) -> bool:
    """Remove the lab's network if it is ours; whether there was one."""
    found = inspect(engine, lab)
    if found is None or found[0].get(LABEL_LAB) != lab:
        return False
    engine.run("network", "rm", network_name(lab))
    return True


def pin_gateway(engine: Engine, lab: str, mac: str) -> None:
    """Give the lab's bridge an address of its own.

    Left alone, a bridge wears the lowest address of its ports: when that host lost power the gateway changed its
    address too, and every other host waited a second for ARP to find it again. No switch does that. Docker pins it
    itself; a rootless engine's bridge is out of our reach.
    """
    if engine.kind is not Kind.PODMAN:
        return
    interface = _bridge(engine, lab)
    if interface:
        _ip(engine, "link", "set", "dev", interface, "address", mac)  # a lab without it works, with noisier numbers


def hold_bridge(engine: Engine, lab: str) -> None:
    """Keep the lab's bridge while none of its hosts runs, by a port of its own; `let_bridge_go` takes that away.

    Podman removes a bridge with its last container. What is sent to the hosts' addresses then leaves by the machine's
    own way out, where anybody may answer; no switch goes because its hosts have no power.
    """
    interface = _bridge(engine, lab) if engine.kind is Kind.PODMAN else ""
    if interface:
        port = f"{interface}k"
        _ip(engine, "link", "add", port, "type", "veth", "peer", "name", f"{interface}p")
        _ip(engine, "link", "set", port, "master", interface)
        _ip(engine, "link", "set", port, "up")


def let_bridge_go(engine: Engine, lab: str) -> bool:
    """Undo `hold_bridge`; harmless where nothing holds it. Whether something did."""
    interface = _bridge(engine, lab) if engine.kind is Kind.PODMAN else ""
    held = bool(interface) and Path("/sys/class/net", f"{interface}k").exists()
    if held:
        _ip(engine, "link", "del", f"{interface}k")
    return held


def _bridge(engine: Engine, lab: str) -> str:
    """The network's interface on this machine; empty where there is none, or none that we can see."""
    name = str(engine.json("network", "inspect", network_name(lab))[0].get("network_interface", ""))
    return name if name and Path("/sys/class/net", name).exists() else ""


def _ip(engine: Engine, *words: str) -> None:
    subprocess.run([*engine.elevation, "ip", *words], capture_output=True, check=False)


def inspect(engine: Engine, lab: str) -> tuple[Mapping[str, str], IPv4Network] | None:
    """The labels and the subnet of the network that has the lab's name, or None."""
    try:
        found = engine.json("network", "inspect", network_name(lab))
    except EngineFailed as failed:
        if "not found" in failed.stderr.lower() or "no such" in failed.stderr.lower():
            return None
        raise
    subnets = list(subnets_of(found))
    if not subnets:
        raise Refused(f"The network {network_name(lab)} has no IPv4 subnet.", f"./dr lab.down --lab {lab}")
    return {**(found[0].get("labels") or found[0].get("Labels") or {})}, subnets[0]


def subnets_of(networks: Iterable[Mapping[str, Any]]) -> Iterator[IPv4Network]:
    """The IPv4 subnets in what ``network inspect`` prints, podman's spelling or docker's."""
    for network in networks:
        blocks = network.get("subnets") or (network.get("IPAM") or {}).get("Config") or []
        for block in blocks:
            subnet = ip_network(block.get("subnet") or block.get("Subnet"), strict=False)
            if isinstance(subnet, IPv4Network):
                yield subnet


def free_subnet(taken: Iterable[IPv4Network], start: int = 0) -> IPv4Network:
    """The first candidate, counted from ``start`` on and round, that overlaps nothing that is taken."""
    used = tuple(taken)
    for candidate in (*_CANDIDATES[start:], *_CANDIDATES[:start]):
        if not any(candidate.overlaps(other) for other in used):
            return candidate
    raise BadInput(
        "All of 10.89.100.0 to 10.89.199.0 is in use on this machine.", "./dr lab.down an old lab."
    )


def _networks_of(engine: Engine) -> Iterator[IPv4Network]:
    names = engine.run("network", "ls", "--quiet").split()
    return subnets_of(engine.json("network", "inspect", *names)) if names else iter(())


def _routes() -> Iterator[IPv4Network]:
    shown = subprocess.run(
        ["ip", "-j", "-4", "route", "show", "table", "all"], capture_output=True, text=True, check=False
    )
    for route in json.loads(shown.stdout or "[]"):
        destination = str(route.get("dst", ""))
        if destination[:1].isdigit():
            yield IPv4Network(destination, strict=False)
