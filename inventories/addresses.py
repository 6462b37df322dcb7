"""IP addresses in one spelling, so that two of them are compared as what they are and not as texts."""

from __future__ import annotations

import ipaddress


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


__all__ = ["canonical", "is_address", "same"]
