"""Run one of the agents' programs on a host: its JSON, or its sentence and hint in the family of its exit code."""

from __future__ import annotations

import json
from typing import Any

from inventories.errors import BadInput, DrError, Refused, TargetFailed
from runbooks.hosts import Host, Ran

_FAMILIES: dict[int, type[DrError]] = {2: BadInput, 3: Refused}


def ask(
    host: Host, module: str, *words: object, timeout: float, user: str = "postgres", stdin: str | None = None,
    verdict: bool = False,
) -> Any:  # fmt: skip
    """The JSON that `python3 -m agents.<module> <words>` prints.

    With `verdict` also the JSON of a program that found something wrong and ended with 1. Raises BadInput (the program
    ended with 2), Refused (3), TargetFailed (anything else), TimedOut, Unreachable.
    """
    command = f"cd /opt/mystocks-dr && exec python3 -m agents.{module}" + " %s" * len(words)
    ran = host.run(command, *words, user=user, timeout=timeout, expect=None, stdin=stdin)
    if ran.rc == 0 or (verdict and ran.rc == 1 and _is_json(ran.stdout)):
        return ran.json()
    raise failure(host, ran)


def failure(host: Host, ran: Ran) -> DrError:
    """What an agent that ended badly said, as an error of ours."""
    lines = [line.strip() for line in ran.stderr.splitlines() if line.strip()] or ["it said nothing"]
    hint = lines.pop().removeprefix("HINT: ") if lines[-1].startswith("HINT: ") and len(lines) > 1 else ""
    return _FAMILIES.get(ran.rc, TargetFailed)(f"{host}: {lines[-1]}", hint)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
