"""Small texts that several components put on a host."""

from __future__ import annotations

import io
import ipaddress
import json
import socket
from collections.abc import Sequence
from typing import Any

from inventories.errors import BadInput

MANAGED = "Managed by mystocks-dr (./dr deploy); what is edited here by hand is shown by ./dr drift and overwritten."


NOT_EMPTY = "an empty primary is not begun"  # run.py knows the refusal by these words
DOWNGRADE = "an older TDengine is not put in the place of a newer one"  # and these
OTHER_MACHINE = "the TDengine package is for another machine"


def cidr(address: str) -> str:
    """One host as a network for pg_hba.conf; a name is resolved on the operator's machine. Raises BadInput."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        try:
            ip = ipaddress.ip_address(socket.gethostbyname(address))
        except OSError as error:
            raise BadInput(
                f"the address {address!r} cannot be resolved on this machine: {error.strerror or error}",
                "give the host an `address` in the inventory that is an IP address",
            ) from error
    return f"{ip}/{ip.max_prefixlen}"


def network(text: str) -> str:
    """A client network as pg_hba.conf takes it. Raises BadInput for what is none, and for one with host bits set."""
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise BadInput(f"client_networks has {text!r}: {error}", "write it like 192.0.2.0/24") from error


def as_file(data: Any) -> io.StringIO:
    """Stable JSON for files.put: the same data is the same file."""
    return io.StringIO(json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def hosts_file(lines: Sequence[str], nodes: Sequence[tuple[str, str]]) -> list[str]:
    """The lines of /etc/hosts with each `(address, name)` in them, and none of the names at another address.

    Other names of a line stay, `localhost` beside Debian's 127.0.1.1 entry for the own host included; a file that is
    right already comes back unchanged.
    """
    wanted = {name: address for address, name in nodes}
    kept = [line for before in lines if (line := _without_strays(before, wanted)) is not None]
    there = {name for line in kept for name in _names(line) if name in wanted}
    return [*kept, *(f"{address} {name}" for name, address in wanted.items() if name not in there)]


def _without_strays(line: str, wanted: dict[str, str]) -> str | None:
    """The line without those of our names that it gives another address; None when no name is left."""
    address, *names = line.split("#")[0].split() or [""]
    stay = [name for name in names if wanted.get(name, address) == address]
    if stay == names:
        return line
    return " ".join([address, *stay]) if stay else None


def _names(line: str) -> list[str]:
    return line.split("#")[0].split()[1:]
