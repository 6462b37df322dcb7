"""That the old primary is fenced: what its clients find there after the fence, and what that proves."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from pydantic import BaseModel, ConfigDict, Field

from inventories.errors import DrError, VerificationFailed
from runbooks.engine.budgets import budget
from runbooks.hosts import Host, Run
from runbooks.knock import Door
from runbooks.probes import app, network
from runbooks.probes.app import WriteAttempt
from runbooks.procedures.postgresql.roles import Roles, other_of, primary_of

PORT = 5432


class Views(BaseModel):
    """What each found of the old primary's port, and what became of a write; None when nobody could try one."""

    model_config = ConfigDict(frozen=True)

    doors: Mapping[str, Door]
    tried: WriteAttempt | None


class Fenced(Roles):
    """`fenced_by`: the way that worked. `views`: what was found after that, for this process only.

    No journal keeps them: a run that is resumed looks anew.
    """

    fenced_by: str = ""
    views: Views | None = Field(default=None, exclude=True)

    @property
    def unfenced(self) -> bool:
        """The operator's word stands in for a fence."""
        return self.fenced_by.startswith("nobody")


def begin(context: Run, old: Host, new: Host) -> None:
    """Have everybody ready whom `look` asks, with its very words: nobody knocks before that."""
    seconds = budget("fence.prove")
    with suppress(DrError), ThreadPoolExecutor(4) as pool:
        for viewer in _viewers(context, new):
            pool.submit(network.begin, viewer, old, PORT, seconds)
        pool.submit(app.begin_to_write, context.estate.app, seconds, old.name)


def look(context: Run, state: Fenced) -> Views | None:
    """What every client of the old primary finds there now; None where there is no fence to prove."""
    if state.unfenced:
        return None
    old, seconds = other_of(context, state), budget("fence.prove")
    with ThreadPoolExecutor(1) as pool:
        attempt = pool.submit(_write_from_app, context, old, seconds)
        doors = network.look_from(_viewers(context, primary_of(context, state)), old, PORT, seconds)
        return Views(doors=doors, tried=attempt.result())


def judge(context: Run, state: Fenced) -> None:
    """Every client's view must agree: no write is taken, and no connection either, since a slow host is not a dead one.

    A client that cannot be asked has seen nothing: one besides the new primary must have looked, or the old one itself
    must have said over SSH that nobody listens. Raises VerificationFailed otherwise.
    """
    views = state.views or look(context, state)
    if views is None:
        return
    tried, application = views.tried, context.estate.app
    if tried and not tried.refused:
        raise VerificationFailed(
            f"the fence leaks: {state.other} {'took a write' if tried.wrote else 'got as far as a commit'} "
            f"from {application}",
            f"cut {state.other} off by hand before anything is promoted",
        )
    if open_from := [name for name, door in views.doors.items() if door is Door.OPEN]:
        raise VerificationFailed(
            f"the fence leaks: {state.other} still listens on its port {PORT}, seen from {', '.join(open_from)}"
        )
    _somebody_looked(context, state, views.doors)
    if tried:
        context.say(f"a write to {state.other} from {application} failed as it must: {tried.error}")


def _viewers(context: Run, new: Host) -> tuple[Host, ...]:
    return new, context.estate.backup, context.estate.app


def _write_from_app(context: Run, old: Host, seconds: float) -> WriteAttempt | None:
    """None when the application host cannot be asked."""
    try:
        context.estate.app.must_answer()
        return app.try_to_write(context.estate.app, seconds, old.name)
    except DrError as error:
        context.say(f"WARNING: {context.estate.app} cannot try to write to {old.name}: {error}")
        return None


def _somebody_looked(context: Run, state: Fenced, doors: Mapping[str, Door]) -> None:
    """Say what each found of the old primary's port; silence is what a host that is off, and a cut line, sound like."""
    asked = [name for name, door in doors.items() if door is not Door.UNKNOWN]
    not_asked = [name for name in doors if name not in asked]
    told = ", ".join(f"{doors[name].value} from {name}" for name in asked)
    away = f"; {' and '.join(not_asked)} could not be asked" if not_asked else ""
    context.say(f"port {PORT} of {state.other}: {told or 'nobody has looked'}{away}")
    if state.fenced_by == "ssh" or [name for name in asked if name != state.primary]:
        return
    if context.options.accept_split_brain:
        context.say(f"WARNING: that {state.other} is fenced is its hook's word alone")
        return
    raise VerificationFailed(
        f"the fence is not proved: {' and '.join(not_asked)} could not be asked whether {state.other} still serves",
        f"bring one of them back, or make sure by hand that {state.other} is off, then "
        "./dr failover --yes --accept-split-brain",
    )
