"""What a lab is: its name, its hosts and the last byte of their addresses. Pure data."""

import os
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from inventories.errors import BadInput

LABEL_LAB = "mystocks-dr.lab"
LABEL_HOST = "mystocks-dr.host"
DEFAULT_LAB = "lab"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,20}")


@dataclass(frozen=True)
class HostSpec:
    """One host: its plain host name and the last byte of its address in the lab's /24."""

    name: str
    octet: int


HOSTS = (
    HostSpec("app1", 11),
    HostSpec("pg1", 21),
    HostSpec("pg2", 22),
    HostSpec("backup1", 31),
    HostSpec("offsite1", 41),
)
# One standby is the rule; DR_LAB_POSTGRES=3 makes three nodes, up to 5.
FURTHER_STANDBYS = (HostSpec("pg3", 23), HostSpec("pg4", 24), HostSpec("pg5", 25))
# With a TDengine package one node is the rule; DR_LAB_TDENGINE=3 makes a cluster.
TDENGINE_HOSTS = (HostSpec("tsdb1", 51), HostSpec("tsdb2", 52), HostSpec("tsdb3", 53))
EVERY_HOST = (*HOSTS, *FURTHER_STANDBYS, *TDENGINE_HOSTS)  # that a lab may have


@dataclass(frozen=True)
class LabSpec:
    """A lab that is wanted: a checked name, the hosts to have running and the /24 they live in."""

    name: str
    subnet: IPv4Network
    hosts: tuple[HostSpec, ...] = HOSTS

    @property
    def gateway(self) -> IPv4Address:
        """The operator's address inside the lab."""
        return self.subnet[1]

    def address(self, host: HostSpec) -> IPv4Address:
        return self.subnet[host.octet]

    def mac(self, host: HostSpec) -> str:
        """The host's hardware address.

        It survives a power cut, as a real card's does: peers that remember another one (ARP) would not reach
        the host for half a minute after it came back.
        """
        return _mac_of(self.address(host))

    @property
    def gateway_mac(self) -> str:
        """The hardware address of the operator's end of the network."""
        return _mac_of(self.gateway)


def lab_name(name: str) -> str:
    """Give the name back when it can be part of container, network and file names.

    Raise BadInput otherwise.
    """
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"{name!r} cannot be the name of a lab.",
            "Use a small letter, then up to 20 small letters, digits or dashes, such as lab or drill-2.",
        )
    return name


def host_specs(names: str) -> tuple[HostSpec, ...]:
    """Read ``app1,pg1`` into specs; an empty string means all. Raise BadInput for an unknown host."""
    everyone = hosts_of_this_lab()
    known = {host.name: host for host in everyone}
    wanted = [name.strip() for name in names.split(",") if name.strip()] or list(known)
    for name in wanted:
        if name not in known:
            raise BadInput(f"The lab has no host named {name!r}.", f"Its hosts are {', '.join(known)}.")
    return tuple(host for host in everyone if host.name in wanted)


def hosts_of_this_lab() -> tuple[HostSpec, ...]:
    """Every host, those of TDengine only where its package is named: without one there is nothing to run there."""
    nodes = os.environ.get("DR_LAB_POSTGRES") or "2"
    if nodes not in ("2", "3", "4", "5"):
        raise BadInput(
            f"DR_LAB_POSTGRES is {nodes!r}.", "It is 2 to 5, the number of PostgreSQL nodes: one to four standbys."
        )
    hosts = (*HOSTS, *FURTHER_STANDBYS[: int(nodes) - 2])
    if not os.environ.get("TDENGINE_PACKAGE"):
        return hosts
    wanted = os.environ.get("DR_LAB_TDENGINE") or "1"
    if wanted not in ("1", "3"):
        raise BadInput(f"DR_LAB_TDENGINE is {wanted!r}.", "It is 1 or 3, the number of TDengine nodes.")
    return (*hosts, *TDENGINE_HOSTS[: int(wanted)])


def container_name(lab: str, host: str) -> str:
    return f"{lab}-{host}"


def network_name(lab: str) -> str:
    return f"dr-{lab}"


def _mac_of(address: IPv4Address) -> str:
    return ":".join(f"{byte:02x}" for byte in (0x02, 0x64, *address.packed))
