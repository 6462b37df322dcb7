"""The entrance: what ``./dr`` offers, as any user of invoke expects it (``invoke --list``). The doors are in doors/."""

from doors import ns as namespace

__all__ = ["namespace"]
