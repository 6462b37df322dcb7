"""The last look of a recovery: each table as the catalogue declares it, and with rows where it must have some.

It costs the same however much the tables hold, so that no recovery waits for it; the whole answer is ./dr validate's.
"""

from __future__ import annotations

from typing import Any

from inventories.catalog import load_quality, load_tables
from inventories.errors import DrError
from runbooks.engine.step import Evidence, Step
from runbooks.hosts import Run
from runbooks.probes.postgresql.tables import Server
from runbooks.procedures.postgresql.recording import say_degraded
from runbooks.procedures.postgresql.roles import R, primary_of
from runbooks.validation.difference import Difference
from runbooks.validation.glance import glance

COMMAND = "./dr validate --store postgresql"
TOLD = 5  # of what differs; the command tells all of it


def glanced(context: Run, state: R) -> R:
    """Say what differs. It ends no recovery: writing works, and what is wrong may have been so for long."""
    known = load_tables()
    server = Server(primary_of(context, state), str(context.estate.data["database"]))
    try:
        looked = glance(server, known, load_quality().fits(known), context.remaining())
    except DrError as error:
        context.say(f"WARNING: nobody could look whether {state.primary}'s tables are whole: {error}; {COMMAND} does")
        return state
    found = [one for check in looked for one in check.differences]
    for one in looked:
        context.say(str(one))
    return say_degraded(context, state, told(state.primary, found)) if found else state


def told(primary: str, found: list[Difference]) -> str:
    """One sentence of all."""
    more = f", and {len(found) - TOLD:,} more" if len(found) > TOLD else ""
    some = "; ".join(map(str, found[:TOLD]))
    return f"{primary}'s tables are not as the catalogue says: {some}{more}; {COMMAND} tells each"


GLANCE: Step[Any] = Step(
    name="validate",
    role="primary",
    says="Look whether each table is there as the catalogue declares it, and has rows where it must have some.",
    action=glanced,
    evidence=Evidence("every table is so, or what differs was said"),
    budget="validate.glance",
    commands=(COMMAND,),
)
