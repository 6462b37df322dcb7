"""The application's side: a row committed by the new primary, and an outbox that is empty."""

from __future__ import annotations

from typing import Any

from inventories.addresses import same
from inventories.errors import DrError, VerificationFailed
from runbooks.engine.step import Evidence, Step
from runbooks.engine.wait import until
from runbooks.hosts import Run
from runbooks.probes import app
from runbooks.probes.postgresql import server
from runbooks.procedures.outbox import emptied
from runbooks.procedures.postgresql.recording import say_degraded
from runbooks.procedures.postgresql.roles import R, primary_of


def must_write(context: Run, state: R) -> R:
    """Commit a row from the application host over its own connection settings, to the new primary."""
    if not context.estate.app.reachable():
        return _written_from_elsewhere(context, state)
    attempt = until(
        lambda: app.try_to_write(context.estate.app, 2.0),
        min(context.remaining(), 20.0),
        what=f"a committed write to {state.primary} from {context.estate.app}",
        accept=lambda tried: tried.wrote and same(tried.host, primary_of(context, state).address),
    )
    if attempt.timeline != state.timeline:
        raise VerificationFailed(
            f"{state.primary} took a write on timeline {attempt.timeline}, expected {state.timeline}"
        )
    context.say(f"{context.estate.app} wrote to {state.primary} on timeline {attempt.timeline} in {attempt.ms:.0f} ms")
    return state


def _written_from_elsewhere(context: Run, state: R) -> R:
    """A recovery does not wait for an application that is away: somebody else commits over the network, and it is said.

    The backup host, or, where that is away too, the new primary over its own address.
    """
    estate, primary = context.estate, primary_of(context, state)
    viewer = estate.backup if estate.backup.reachable() else primary
    timeline = until(
        lambda: server.commit_from(viewer, primary, 5.0),
        min(context.remaining(), 20.0),
        what=f"a commit on {state.primary} over the network from {viewer}",
        retry=(DrError,),
    )
    if timeline != state.timeline:
        raise VerificationFailed(f"{state.primary} committed on timeline {timeline}, expected {state.timeline}")
    return say_degraded(
        context, state,
        f"{estate.app} does not answer: a commit on {state.primary} over the network from {viewer} stands in for its "
        "own, and rows that its outbox acknowledged wait there until it is back",
    )  # fmt: skip


WRITE_PATH: Step[Any] = Step(
    name="write-path",
    role="app",
    says="Commit a row from the application host over the application's own connection settings.",
    action=must_write,
    evidence=Evidence(
        "the row was committed by the new primary, on the new timeline; where the application host is away another "
        "host committed over the network, and that is said"
    ),
    budget="write.probe",
    commands=("cd /opt/mystocks-dr && sudo -u mystocks python3 -m agents.writing.write_probe",),
)


def drained(context: Run, state: R) -> R:
    emptied(context.estate.app, context.remaining())
    return state


DRAIN: Step[Any] = Step(
    name="drain-outbox",
    role="app",
    says="Wait until the replayer has put the outbox's rows into the database.",
    action=drained,
    evidence=Evidence("no record is pending in the outbox"),
    budget="outbox.drain",
    when=lambda context, state: context.estate.app.reachable(),
    when_says="the application host answers",
    commands=(
        "cd /opt/mystocks-dr && sudo -u mystocks python3 -m agents.writing.outbox_cli status",
        "systemctl status mystocks-replayer",
    ),
)
