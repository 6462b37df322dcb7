"""The estate as the deploys see it: nodes by group with the address that the others dial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import SecretStr
from pyinfra import host, inventory
from pyinfra.api.host import Host

from deploys import pki
from inventories import secrets
from inventories.addresses import canonical, is_address

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = ROOT / "templates"
AGENTS = ROOT / "agents"
CLIENT = ROOT / "client"
CA = "/etc/mystocks-dr/ca.crt"
PG_PASSFILE = "/var/lib/postgresql/.mystocks.pgpass"
SNAPSHOTS = "/var/lib/mystocks-offsite/backups/snapshots"  # on the off-site host: one file a copy of the repository
POSTGRES_GROUPS = ("pg_primary", "pg_standby")


@dataclass(frozen=True)
class Node:
    """One host: its name in the inventory and the address that other hosts and clients use."""

    name: str
    address: str


def nodes(*groups: str) -> tuple[Node, ...]:
    """Hosts of these groups (of all, without arguments), sorted by name."""
    members = [h for group in groups for h in inventory.groups.get(group, [])] if groups else list(inventory)
    found = {h.name: Node(h.name, _address(h)) for h in members}
    return tuple(found[name] for name in sorted(found))


def candidates() -> tuple[Node, ...]:
    """PostgreSQL nodes that may be primary: all but those that are asynchronous, or delayed, by declaration."""
    left_out = {h.name for h in inventory if h.data.get("synchronous") is False or h.data.get("apply_delay")}
    return tuple(node for node in nodes(*POSTGRES_GROUPS) if node.name not in left_out)


def delayed() -> tuple[Node, ...]:
    """Standbys that are behind by declaration."""
    behind = {h.name for h in inventory if h.data.get("apply_delay")}
    return tuple(node for node in nodes(*POSTGRES_GROUPS) if node.name in behind)


def _address(member: Host) -> str:
    """In the spelling that runbooks compare with."""
    address = str(member.data.get("address") or member.data.get("ssh_hostname") or member.name)
    return canonical(address) if is_address(address) else address


def me() -> Node:
    return next(node for node in nodes() if node.name == host.name)


def others(*groups: str) -> tuple[Node, ...]:
    return tuple(node for node in nodes(*groups) if node.name != host.name)


def addresses(members: tuple[Node, ...]) -> tuple[str, ...]:
    return tuple(node.address for node in members)


def template(component: str, name: str) -> str:
    return str(TEMPLATES / component / name)


def secret() -> Mapping[str, SecretStr]:
    return _secrets(host.data.get("secrets_file"))


def certificate() -> pki.Certificate:
    """This host's certificate, made on the operator's machine when it is missing."""
    return pki.issue(Path(host.data.get("pki_dir")).expanduser(), host.name, me().address)


@cache
def _secrets(path: str) -> Mapping[str, SecretStr]:
    return secrets.load(path)
