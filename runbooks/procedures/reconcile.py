"""Which acknowledged rows a store has not, by the shadow of the application hosts; they are sent again, oldest first.

For a failover that was run although rows may be missing, and for estates whose commits wait for no standby: whoever is
promoted then lacks the newest rows of the one that is lost. A newer value of a key is kept, so that a row which was
superseded meanwhile changes nothing, and a run may be repeated.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import ClassVar

from inventories.catalog import load_tables
from inventories.catalog.tables import Store
from inventories.errors import BadInput, VerificationFailed
from runbooks.actions import reconcile as act
from runbooks.engine.procedure import Procedure
from runbooks.engine.step import Evidence, Gate, Grows, Step
from runbooks.hosts import Run
from runbooks.probes import reconcile as probe
from runbooks.probes.durations import utc
from runbooks.probes.outbox import TRACKER, Box
from runbooks.probes.reconcile import Lacking
from runbooks.procedures.postgresql import targets
from runbooks.procedures.replay_outbox import (
    ReplayOutbox,
    ReplayOutboxOptions,
    apps_answer,
    boxes,
    replay,
    takes_rows,
)

NAMED = 3  # rows of a table that are named aloud; the run's folder names each
_CLI = "cd /opt/mystocks-dr && sudo -u mystocks python3 -m agents.reconcile.lacking"


class ReconcileOptions(ReplayOutboxOptions):
    """`since`: a moment with its zone from which on rows are looked for, empty for all that the shadow keeps."""

    added_later: ClassVar[frozenset[str]] = ReplayOutboxOptions.added_later
    since: str = ""
    tables: tuple[str, ...] = ()


class Reconcile(ReplayOutbox):
    """By outbox (host/store), rows that were lacking when the run began, and rows that were sent again."""

    lacking: Mapping[str, int] = {}
    sent: Mapping[str, int] = {}

    @property
    def primary(self) -> str:
        return ", ".join(self.lacking)


def since_of(context: Run) -> float:
    """Unix seconds; 0 for all. Raises BadInput."""
    return targets.moment(context.options.since).timestamp() if context.options.since else 0.0


def shadowed(context: Run) -> tuple[Box, ...]:
    """Of the boxes those whose store has a shadow beside it. Raises BadInput where that is none."""
    found = tuple(box for box in boxes(context) if box.store != TRACKER)
    if not found:
        hint = "its rows are in the store or in its outbox: ./dr replay-outbox --store tracker"
        raise BadInput("the stock tracker keeps no shadow to reconcile with", hint)
    return found


def begins(context: Run) -> Reconcile:
    """Raises BadInput for a time, a table or a store that is none."""
    since_of(context)
    stores = {box.store for box in shadowed(context)}
    known = {table.name for store in Store if store.value in stores for table in load_tables().of(store)}
    for name in context.options.tables:
        if name not in known:
            raise BadInput(f"the catalogue has no table {name} in {' or '.join(sorted(stores))}")
    return Reconcile()


def as_assessed(context: Run, state: Reconcile) -> None:
    """Asked when a run is resumed. Raises Refused, Unreachable."""
    apps_answer(context)
    takes_rows(context)


def _of_box(context: Run, box: Box) -> tuple[str, ...]:
    mine = {table.name for store in Store if store.value == box.store for table in load_tables().of(store)}
    return tuple(name for name in context.options.tables if name in mine)


def _boxes(context: Run) -> Iterator[tuple[Box, tuple[str, ...]]]:
    """Those that hold a table which was asked for, each with these."""
    for box in shadowed(context):
        only = _of_box(context, box)
        if only or not context.options.tables:
            yield box, only


def assess(context: Run, state: Reconcile) -> Reconcile:
    """Name what is lacking: aloud by table, each row in the run's folder."""
    lacking: dict[str, int] = {}
    for box, only in _boxes(context):
        found = probe.lacking(box, since_of(context), only, context.remaining())
        lacking[box.key] = found.lacking
        _tell(context, box, found)
    return state.model_copy(update={"lacking": {**lacking, **state.lacking}})


def _tell(context: Run, box: Box, found: Lacking) -> None:
    if found.since is None:
        context.say(f"WARNING: {box} keeps nothing that was acknowledged in that time, so nobody can tell what is gone")
        return
    context.say(
        f"{box}: {found.looked:,} rows that were acknowledged from {utc(found.since)} to {utc(found.until or 0)} "
        f"were looked for in {found.seconds:.1f} s; {found.lacking:,} are not there"
    )
    for name, one in found.tables.items():
        events = ", ".join(map(str, one.events[:NAMED]))
        more = f" and {one.rows - NAMED:,} more" if one.rows > NAMED else ""
        context.say(
            f"  {one.rows:,} rows of {name}, acknowledged from {utc(one.first)} to {utc(one.last)}: "
            f"event {events}{more}"
        )
    if found.damaged_segments:
        context.say(f"WARNING: the end of {found.damaged_segments} files of {box.host}'s shadow cannot be read")
    if found.unknown:
        context.say(f"WARNING: {found.unknown:,} rows are of tables that the catalogue does not have: not looked for")
    if found.lacking:
        path = context.run_dir / f"lacking-{box.host.name}-{box.store}.json"
        path.write_text(json.dumps({name: one.events for name, one in found.tables.items()}), encoding="utf-8")
        context.say(f"  their event ids are in {path}")


def send(context: Run, state: Reconcile) -> Reconcile:
    """Into the outbox of the host that acknowledged them: durable, in order, and through whatever comes next."""
    sent: dict[str, int] = {}
    for box, only in _boxes(context):
        if state.lacking.get(box.key):
            sent[box.key] = act.send_again(box, since_of(context), only, context.remaining())
            context.say(f"{box}: {sent[box.key]:,} rows are sent again")
    return state.model_copy(update={"sent": {**state.sent, **sent}})


def drained(context: Run, state: Reconcile) -> Reconcile:
    """The replayers write them; a newer value of a key is kept."""
    replay(context, state)
    return state


def prove(context: Run, state: Reconcile) -> Reconcile:
    """Look for all of them once more. Raises VerificationFailed where one is lacking still."""
    for box, only in _boxes(context):
        found = probe.lacking(box, since_of(context), only, context.remaining())
        if found.lacking:
            name, one = next(iter(found.tables.items()))
            raise VerificationFailed(
                f"{found.lacking:,} rows that {box} acknowledged are still not in the store, such as event "
                f"{one.events[0]} of {name}",
                f"./dr outbox.dead --store {box.store} shows what the store refused; then ./dr reconcile again",
            )
        state = _told(context, state, box, found)
    return state


def _told(context: Run, state: Reconcile, box: Box, found: Lacking) -> Reconcile:
    was, sent = state.lacking.get(box.key, 0), state.sent.get(box.key, 0)
    sentence = f"{box}: {was:,} rows were lacking, {sent:,} were sent again; of {found.looked:,} none is lacking now"
    context.say(sentence)
    return state.model_copy(update={"told": (*state.told, sentence)})


RECONCILE: Procedure[Reconcile] = Procedure(
    name="reconcile",
    summary="Find acknowledged rows that a store has not, and send them again.",
    purpose=(
        "After a failover with --accept-loss, or in an estate whose commits wait for no standby, the new primary may "
        "lack rows that the old one had acknowledged. The application hosts keep what was acknowledged lately: every "
        "row of it is looked for by its key, what is lacking is named, and with --yes sent again through the outbox, "
        "the oldest first. A newer value of a key is kept. What somebody deleted on purpose since comes back as well: "
        "look at the names first, --since and --tables take less. Refuses while a store takes no rows."
    ),
    gate=(
        Gate("applications", "Every application host answers.", apps_answer),
        Gate("stores", "One PostgreSQL node takes writes; every TDengine server answers.", takes_rows),
    ),
    initial=begins,
    steps=(
        Step(
            name="assess", role="app", budget="reconcile.look", action=assess, observes=True,
            says="Look in the store for every row that was acknowledged, by its key; name what is lacking.",
            evidence=Evidence("every outbox's shadow was looked through, or that there is none was said"),
            still=Evidence("stores that take rows, application hosts that answer", as_assessed),
            commands=(f"{_CLI} --since 0",),
        ),
        Step(
            name="send", role="app", budget="reconcile.look", action=send, option="yes",
            when=lambda context, state: any(state.lacking.values()), when_says="rows are lacking",
            says="Put what is lacking back into the outbox, the oldest first.",
            evidence=Evidence("the outbox has taken them"),
            commands=(f"{_CLI} --since 0 --send",),
        ),
        Step(
            name="replay", role="app", budget="outbox.drain", action=drained, grows=Grows.ROWS, option="yes",
            says="Wait while the replayers write them; a newer value of a key is kept.",
            evidence=Evidence("no record is ready in any outbox; what waits for a table was named"),
            commands=("cd /opt/mystocks-dr && sudo -u mystocks python3 -m agents.writing.outbox_cli status",),
        ),
        Step(
            name="prove", role="app", budget="reconcile.look", action=prove, observes=True, option="yes",
            says="Look for all of them once more.",
            evidence=Evidence("no acknowledged row is lacking"),
            commands=(f"{_CLI} --since 0",),
        ),
    ),
)  # fmt: skip
