"""Small texts that several components put on a host."""

from __future__ import annotations

import io
import ipaddress
import json
import socket
from typing import Any

MANAGED = "Managed by mystocks-dr (./dr deploy); what is edited here by hand is shown by ./dr drift and overwritten."


def cidr(address: str) -> str:
    """One host as a network for pg_hba.conf; a name is resolved on the operator's machine."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        ip = ipaddress.ip_address(socket.gethostbyname(address))
    return f"{ip}/{ip.max_prefixlen}"


def as_file(data: Any) -> io.StringIO:
    """Stable JSON for files.put: the same data is the same file."""
    return io.StringIO(json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
