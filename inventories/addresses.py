"""IP addresses in one spelling, so that two of them are compared as what they are and not as texts; names of hosts."""

from __future__ import annotations

import ipaddress
import re

# PostgreSQL cuts a longer one off, and replaces what is not ASCII: commits would wait for a standby that never comes.
_NAME = re.compile(r"(?=.{1,63}\Z)[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*")


def canonical(text: str) -> str:
    """`2001:DB8:0::1` as `2001:db8::1`. Raises ValueError for what is no IP address."""
    return str(ipaddress.ip_address(text))


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def same(one: str | None, other: str | None) -> bool:
    """Whether both are the same address; what is no address is the same as nothing."""
    if one is None or other is None:
        return False
    try:
        return ipaddress.ip_address(one) == ipaddress.ip_address(other)
    except ValueError:
        return False


def is_host_name(text: str) -> bool:
    """Whether a host can have this name everywhere: an address is one, too."""
    return _NAME.fullmatch(text) is not None or (is_address(text) and "%" not in text)


__all__ = ["canonical", "is_address", "is_host_name", "same"]
