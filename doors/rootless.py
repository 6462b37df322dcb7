"""Whether what was typed needs the network of a lab, and the way there for a user without root."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence

from invoke.parser.context import ParserContext

MAKE_A_LAB = frozenset({"drill", "demo", "bench", "test", "lab.up"})
_WITHOUT_A_HOST = ("plan", "fast")  # options with which a task touches none


def go_to_the_lab(contexts: Iterable[ParserContext], typed: Sequence[str]) -> None:
    """Start again inside the network of a rootless podman, when that is where the hosts are. Else return.

    Raises BadInput when podman cannot open it. What the machine lacks is said by whoever needs the lab, once it has
    looked at what was typed.
    """
    if os.geteuid() == 0 or not any(needs_the_lab(str(one.name), values(one)) for one in contexts):
        return
    from inventories.errors import BadInput
    from lab import rootless, rootless_needs
    from lab.machine import lacks_root

    if not lacks_root():
        return
    try:
        rootless_needs.check()
    except BadInput:
        return
    rootless.enter((sys.executable, "-m", "doors.main", *typed))


def needs_the_lab(task: str, options: Mapping[str, object]) -> bool:
    """Whether a task reaches hosts of a lab of this machine: it makes one, or there is one and the inventory is its."""
    if any(options.get(name) for name in _WITHOUT_A_HOST):
        return False
    if task in MAKE_A_LAB:
        return True
    inventory = options.get("inventory", "lab") or os.environ.get("DR_INVENTORY") or "lab"
    return "lab" in options and inventory == "lab" and _made(str(options["lab"] or os.environ.get("DR_LAB") or "lab"))


def values(context: ParserContext) -> dict[str, object]:
    """The options of one task by name, as they were given or by default."""
    return {str(argument.name): argument.value for argument in context.args.values()}


def _made(lab: str) -> bool:
    from inventories.errors import BadInput
    from lab import state

    try:
        return state.files(lab).lab_json.exists()
    except BadInput:  # no name for a lab, as the task itself will say
        return False
