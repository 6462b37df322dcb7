"""`./dr validate --scheduled`: what a validation came to is kept on the backup host, a failure too."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol, TypeVar

from inventories.errors import DrError
from runbooks.agent import ask
from runbooks.engine.budgets import budget
from runbooks.engine.process import user_at_machine
from runbooks.hosts import Host
from runbooks.probes.validations import Outcome


class Found(Protocol):
    """What a validation found; `brief` is one sentence of it, `warns` what will be wrong before long."""

    @property
    def sound(self) -> bool: ...
    @property
    def brief(self) -> str: ...
    @property
    def warns(self) -> str: ...


F = TypeVar("F", bound=Found)


def kept(backup: Host, what: Mapping[str, str], look: Callable[[], F]) -> F:
    """What `look` finds. `what`: store, level and against. Raises DrError where it could not look, or nothing is kept:
    then `./dr status` tells of a validation that is late.
    """
    began = time.monotonic()
    try:
        found = look()
    except DrError as error:
        with suppress(DrError):  # what kept it from looking is told, whether it can be written down or not
            _keep(backup, what, Outcome.FAILED, str(error), began)
        raise
    _keep(backup, what, Outcome.WHOLE if found.sound else Outcome.DIFFERS, found.brief, began, found.warns)
    return found


def _keep(backup: Host, what: Mapping[str, str], outcome: Outcome, says: str, began: float, warns: str = "") -> None:
    took = time.monotonic() - began
    told = {**what, "outcome": outcome, "says": says, "seconds": took, "by": user_at_machine(), "warns": warns}
    ask(backup, "validation.keep", user="root", timeout=budget("validate.keep"), stdin=json.dumps(told))
