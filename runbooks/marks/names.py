"""What a mark may be called: a restore point has the same name in the WAL, and a file on the backup host."""

from __future__ import annotations

import re

from inventories.errors import BadInput

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
TAKEN = ("standby", "restored", "baseline", "backup")  # what else ./dr validate --against is told


def check(name: str) -> None:
    """Raises BadInput."""
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"{name!r} is no name of a mark",
            "1 to 63 letters, digits, dots, dashes and underlines, first a letter or a digit: before-etl.2026-11-28",
        )


def check_new(name: str) -> None:
    """Of a mark that is to be taken; one that stands may be called whatever it is. Raises BadInput."""
    check(name)
    if name in TAKEN:
        raise BadInput(
            f"a mark cannot be called {name!r}: ./dr validate --against {name} means something else",
            "give it another name: before-etl.2026-11-28",
        )
