"""What is observed of the stock tracker's database, which an estate has whose inventory says `tracker = True`."""

from __future__ import annotations

from runbooks.hosts import Estate


def has_it(estate: Estate) -> bool:
    """Whether the inventory says that this estate has the stock tracker."""
    return bool(estate.data.get("tracker"))
