"""Whom a commit waits for: how many standbys, among which; as it is declared, written and read.

Every node that may be primary is in the list, the primary too, so that one line fits all of them: a server does not
wait for itself. With two nodes it is the one standby; with more, any `least` of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inventories.errors import BadInput

MOST_STANDBYS = 4
NOBODY = "none"  # an estate that is asynchronous by choice says so in this word; a number left empty or 0 is a mistake
DECLARED_ASYNCHRONOUS = f'commits wait for no standby, as the inventory declares (synchronous_standbys = "{NOBODY}")'
_SETTING = re.compile(r"\s*(?:(FIRST|ANY)\s+)?(?:(\d+)\s*)?\((.*)\)\s*|([^()]+)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Quorum:
    """A commit waits until `least` of `names`, host names, have it on their disks; the primary may be among them."""

    least: int
    names: tuple[str, ...]

    def others(self, primary: str) -> tuple[str, ...]:
        """Those that this primary's commits may wait for, sorted."""
        return tuple(sorted(set(self.names) - {primary}))


def setting(names: Sequence[str], least: int) -> str:
    """What `synchronous_standby_names` is for these nodes, the primary among them."""
    quoted = ", ".join(f'"{name}"' for name in names)
    return f"FIRST 1 ({quoted})" if len(names) <= 2 else f"ANY {fitting(names, least)} ({quoted})"


def line(names: Sequence[str], least: int) -> str:
    """The same as a line of a configuration file."""
    return f"synchronous_standby_names = '{setting(names, least)}'"


def least_of(declared: Any) -> int:
    """How many standbys a commit waits for by what the inventory says; 0 for none, by the word for it."""
    return 0 if declared == NOBODY else int(declared)


def fitting(names: Sequence[str], least: int) -> int:
    """How many of so few can be waited for: no more than there are besides the primary."""
    return max(1, min(least, len(names) - 1))


def parsed(text: str) -> Quorum | None:
    """What a server says its setting is; None where it waits for nobody, or for whoever comes (`*`)."""
    found = _SETTING.fullmatch(text)
    if found is None or not text.strip():
        return None
    names = tuple(name.strip().strip('"') for name in (found[3] or found[4] or "").split(","))
    return None if "*" in names else Quorum(int(found[2] or 1), names)


def check(path: Path, asynchronous: Sequence[str], groups: Mapping[str, tuple[str, ...]], least: Any) -> None:
    """Raises BadInput for nodes that no quorum can be made of. `asynchronous`: hosts that are so by declaration."""
    standbys = groups.get("pg_standby", ())
    if len(standbys) > MOST_STANDBYS:
        raise BadInput(
            f"{path}: pg_standby has {len(standbys)} hosts ({', '.join(standbys)}), and one primary has at most "
            f"{MOST_STANDBYS} standbys",
            "take one out; what only reads may follow a standby, outside this inventory",
        )
    for name in groups.get("pg_primary", ()):
        if name in asynchronous:
            raise BadInput(
                f"{path}: {name} is in pg_primary and asynchronous by declaration, which only a standby can be",
                "take `synchronous` off it, or make another host the first primary",
            )
    waited = [name for name in standbys if name not in asynchronous]
    if standbys and not waited:
        raise BadInput(
            f"{path}: every standby ({', '.join(standbys)}) is asynchronous by declaration, so every loss of the "
            "primary would lose rows",
            "leave `synchronous` off one of them at least; where no commit shall wait, "
            f'synchronous_standbys = "{NOBODY}" says that of all, and they can still be promoted',
        )
    if least == NOBODY:
        return
    if isinstance(least, bool) or not isinstance(least, int) or least < 1:
        raise BadInput(
            f"{path}: synchronous_standbys is {least!r}, and it is a whole number of standbys, 1 or more",
            f'1 is the default: a commit waits for whichever standby is first; "{NOBODY}" makes it asynchronous',
        )
    if waited and least > len(waited):
        raise BadInput(
            f"{path}: synchronous_standbys is {least}, and commits can wait for {len(waited)} "
            f"({', '.join(waited)}): every one of them would hang",
            f"make it {len(waited)} at most; one less, and a lost standby stops no commit",
        )
