"""How sessions of ours differ from everybody's on a server that production uses."""

from __future__ import annotations

_FIRST = 17  # the first version with event triggers at login, and the first in which a session can be without any


def unwatched(version: int) -> str:
    """libpq's options (PGOPTIONS) of a session that production's event triggers neither see nor refuse.

    A trigger at login that writes a row ends every session on a standby and every one that may only read. Not for a
    session that makes, alters or drops tables: TimescaleDB keeps its own books by event triggers.
    """
    return "-c event_triggers=off" if version >= _FIRST else ""


def unwatched_roles(version: int, roles: tuple[str, ...]) -> tuple[str, ...]:
    """The same for roles that are not superusers and may not say so themselves, as statements."""
    return tuple(f"ALTER ROLE {role} SET event_triggers = off" for role in roles) if version >= _FIRST else ()
