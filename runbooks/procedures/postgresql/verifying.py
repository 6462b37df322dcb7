"""The last word of a procedure of PostgreSQL: every reachable host against its specification."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from runbooks.engine.step import Evidence, Step
from runbooks.engine.verify import EVERYTHING
from runbooks.hosts import Run
from runbooks.procedures import checks
from runbooks.procedures.postgresql.roles import Roles, asked, further_of, other_of


def verification(*, without: str | Callable[[Any], str] = "", backup_may_be_away: bool = False) -> Step[Any]:
    """Run tests/verify in a fresh process.

    `without` says what has become of the other node: `fenced`, `lost` (whether or not its host answers), or nothing.
    Backup and application hosts that do not answer are left out then, the backup host also where it may be away, as
    they stop no recovery.
    """

    def check(context: Run, state: Roles) -> None:
        fate = without if isinstance(without, str) else without(state)
        expected = _expected(context, state, fate, backup_may_be_away)
        report = f"verify-{state.primary}-{state.timeline}.xml"
        checks.passed(context, EVERYTHING, report, DR_VERIFY_EXPECT=json.dumps(expected))

    return Step(
        name="verify",
        role="all hosts",
        says="Check every host against its specification, in a fresh process.",
        action=lambda context, state: state,
        evidence=Evidence("every testinfra check of every reachable host passed", check),
        budget="verify",
        commands=("./dr verify",),
    )


def _expected(context: Run, state: Roles, fate: str, backup_may_be_away: bool) -> dict[str, Any]:
    """What tests/verify is told of this moment, by the names of runbooks/expect.py."""
    estate = context.estate
    # The off-site host stops no recovery either; status tells that its copy grows old.
    away = [name for name in estate.groups.get("offsite", ()) if not estate.host(name).reachable()]
    if backup_may_be_away and not estate.backup.reachable():
        away = [*away, estate.backup.name]
    if state.other:  # an estate of one node has no other
        away += _out(context, state)
    if not fate:
        return {"primary": state.primary, "off": away}
    there = fate == "fenced" and other_of(context, state).reachable()
    away += [] if there else [state.other]
    away += [host.name for host in (estate.backup, estate.app) if not host.reachable()]
    fenced = [state.other] if there else []
    off = list(dict.fromkeys(away))
    return {"primary": state.primary, "off": off, "fenced": fenced, "degraded": not state.beside}


def _out(context: Run, state: Roles) -> list[str]:
    """Further standbys that are out already: they are none of this procedure's business."""
    further = further_of(context, state)
    with ThreadPoolExecutor(max(1, len(further))) as pool:
        return [node.name for node in pool.map(lambda host: asked(context, host), further) if not node.follows]
