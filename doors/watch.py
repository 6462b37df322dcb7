"""The watch: look at the primary through several pairs of eyes, and act where nobody is awake."""

from __future__ import annotations

import json as jsonlib
import sys
import time
from typing import TYPE_CHECKING, Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.tasks import task

from doors.support import INVENTORY_HELP, LAB_HELP, door
from inventories.errors import BadInput, DrError, Refused, TargetFailed, TimedOut

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runbooks.hosts import Estate
    from runbooks.watch.service import Service

SAYS_S = 30.0  # a watch writes what it sees every two seconds, whatever it does
LOOKS_S = 30.0  # by then it has looked at its own rights, and has begun


@task(
    help={
        "act": "failover: run that runbook by itself, where nothing can be lost (default: only look, and tell)",
        "json": "a line of JSON for each thing it has to say, with the seconds of this machine's monotonic clock",
        "beat": "with --json: a line every so many seconds, of when each pair of eyes has looked last",
        "inventory": INVENTORY_HELP,
        "lab": LAB_HELP,
    },
    default=True,
)
@door
def on(
    c: Context, act: str = "", json: bool = False, beat: float = 0.0, inventory: str = "", lab: str = ""
) -> None:
    """Watch the primary; fail over by itself where it may.

    Looks several times a second through the application host, the standby and its own line, says what has changed and
    raises the alarm. Acts by the same runbook with the same gates as a person, without any --accept, once an hour at
    most, and never while maintenance is declared or somebody else acts.
    """
    from inventories.catalog.load import load_recovery
    from inventories.quorum import DECLARED_ASYNCHRONOUS
    from runbooks import hosts
    from runbooks.actions import fencing
    from runbooks.watch import rights
    from runbooks.watch.handed import Handed, become
    from runbooks.watch.settings import Settings
    from runbooks.watch.watching import require_eyes

    if beat and not (json and 0.05 <= beat <= 60):
        raise BadInput(f"a beat is a line of JSON every 0.05 to 60 seconds, not {beat:g}", "./dr watch --json --beat 1")
    if act not in ("", "failover"):
        raise BadInput(f"a watch can act by failover alone, not by {act!r}", "./dr watch --act failover")
    estate = hosts.load(inventory or None)
    require_eyes(estate)
    if estate.data.get("watch_key"):
        rights.require_key(estate)
        if away := rights.require(estate):
            _warn(f"nobody knows what this watch's key may do on {' and '.join(away)}, which cannot be asked now")
    if act and not estate.least:
        _warn(f"{DECLARED_ASYNCHRONOUS}: of a loss this watch tells, and it never fails over by itself")
    for unfit in fencing.unfit(estate.postgres) if act else ():
        _warn(f"{unfit}: where nothing of that host is heard, this watch could not fail over")
    settings = Settings(**load_recovery().watch.model_dump())
    # A watch's own host has no drills, and needs none.
    become("drills.beats" if beat else "runbooks.watch.main", Handed(estate, settings, bool(act), json, beat))


@task(
    help={
        "for_": "how long: 90s, 30min, 2h, 1d (7d at most); then it ends by itself",
        "reason": "what is done, for whoever is woken meanwhile",
        "end": "it is over",
        "inventory": INVENTORY_HELP,
        "lab": LAB_HELP,
    },
    auto_shortflags=False,
)
@door
def maintenance(
    c: Context, for_: str = "", reason: str = "", end: bool = False, inventory: str = "", lab: str = ""
) -> None:
    """Declare or end a time in which no watch acts.

    Kept where the estate record is. Without options it says what is declared. It always has an end.
    """
    # Of recovery.yaml nothing is read: a mistake there must not keep anybody from holding a watch back.
    from runbooks import hosts
    from runbooks.watch import maintenance as kept
    from runbooks.watch.desk import call

    if end and (for_ or reason):
        raise BadInput("--end and a new declaration are two things", "say one of them")
    estate = hosts.load(inventory or None)
    if end:
        print(kept.told(kept.end(estate)))
    elif for_ or reason:
        reason = _in_one_line(reason)
        if for_ and reason:
            _require_no_longer_one(estate, kept.seconds(for_))
        print(kept.told(kept.declare(estate, for_, reason)))
    else:
        print(kept.told(call(estate.backup, "show", {})))


def _in_one_line(text: str) -> str:
    """Whoever is woken reads it in an alarm, which is a line."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _require_no_longer_one(estate: Estate, seconds: int) -> None:
    """Raises Refused where this would end what is declared: a watch would act while somebody is still at work."""
    from runbooks.watch import maintenance as kept
    from runbooks.watch.desk import call

    notes = call(estate.backup, "show", {})
    if notes["maintenance"] and notes["maintenance"]["left_s"] > seconds:
        raise Refused(
            f"{kept.told(notes).rstrip('.')}: this one would end it sooner",
            "./dr watch.maintenance --end, once that work is over; then declare yours",
        )


@task(help={"inventory": INVENTORY_HELP, "lab": LAB_HELP})
@door
def stop(c: Context, inventory: str = "", lab: str = "") -> None:
    """End the watch. Refuses while it runs a failover.

    The one of this machine, and its service, which stays ended, over a reboot too, until `watch.start` or a deploy.
    """
    from runbooks import hosts
    from runbooks.watch import kept, service

    estate = hosts.load(inventory or None)
    if pid := kept.stop(estate.name):  # said before the service is asked, which may be away
        print(f"The watch of this machine (process {pid}) has ended.", flush=True)
    if ended := service.stop(estate):
        print(f"The service of {' and '.join(ended)} has ended; ./dr watch.start starts it again.")
    if not (pid or ended):
        print("No watch runs.")


@task(help={"inventory": INVENTORY_HELP, "lab": LAB_HELP})
@door
def start(c: Context, inventory: str = "", lab: str = "") -> None:
    """Start the watch's service again after watch.stop."""
    from runbooks import hosts
    from runbooks.watch import service

    estate = hosts.load(inventory or None)
    try:
        started = service.start(estate)
    except TargetFailed as error:
        hint = "./dr deploy lays it there" if "does not exist" in str(error) else error.hint
        raise TargetFailed(str(error), hint) from error
    if not started:
        raise BadInput(
            "the inventory has no host in group watch, so there is no service",
            "./dr watch looks from this machine; for a service name the backup host in `watch`, and deploy",
        )
    _require_looking(lambda: service.services(estate))
    print(f"The watch runs on {' and '.join(started)}.")


def _require_looking(services: Callable[[], Sequence[Service]]) -> None:
    """To systemd one runs that refuses a moment later, for its key or its settings. Raises TargetFailed."""
    from runbooks.engine.wait import until

    def idle() -> list[Service]:
        return [one for one in services() if one.known is None]

    try:
        until(idle, LOOKS_S, what="the watch to look", accept=lambda left: not left, every=0.5)
    except TimedOut as error:
        told = " and ".join(f"the one on {one.host} is {one.why or one.active}" for one in idle())
        raise TargetFailed(
            f"the watch was started and does not look: {told or error}", "journalctl -u mystocks-watch there says why"
        ) from error


@task(help={"json": "print JSON", "inventory": INVENTORY_HELP, "lab": LAB_HELP})
@door
def status(c: Context, json: bool = False, inventory: str = "", lab: str = "") -> None:
    """Show which watch runs and what it sees."""
    from runbooks import hosts
    from runbooks.watch import kept, maintenance, service
    from runbooks.watch.desk import call

    estate = hosts.load(inventory or None)
    here, services = kept.read(estate.name), service.services(estate)
    notes: dict[str, Any] | None = None
    why: DrError | None = None
    try:
        notes = call(estate.backup, "show", {})
    except DrError as error:  # a watch is looked for where nothing else answers
        why = error
    if json:
        there = {one.host.name: {"active": one.active, "why": one.why, "says": one.known} for one in services}
        print(jsonlib.dumps({"here": here, "services": there, "notes": notes}, indent=2))
    else:
        for one in services:
            print(_told(one.known, one.host.name) if one.known else f"{one.host}: its service is {_word(one)}.")
        if here or not services:
            print(_told(here, "this machine"))
    if why:
        raise why
    if notes and not json:
        print(maintenance.told(notes))
        if notes["acted"]:
            print(f"A watch has acted {notes['acted']['age_s'] / 60:.0f} min ago ({notes['acted']['by']}).")


def _word(one: Service) -> str:
    """systemd's word, or why nobody knows it."""
    if one.why:
        return f"unknown: {one.why}"
    if one.active == "active":
        return "active, and has not said yet what it sees"
    return f"{one.active or 'unknown'}; ./dr watch.start starts it"


def _told(known: dict[str, Any] | None, where: str) -> str:
    if known is None:
        return f"No watch runs on {where}."
    may = "may run failover" if known.get("act") else "only looks"
    eyes = ", ".join(f"{eye}: {sight}" for eye, sight in (known.get("eyes") or {}).items())
    says = known.get("says", "it begins")
    told = f"The watch on {where} (process {known.get('pid', 'unknown')}) {may}; {says} ({eyes or 'no eyes yet'})"
    silent_s = time.time() - float(known.get("at") or time.time())
    return f"{told}; by its clock that is {silent_s / 60:.0f} min old." if silent_s > SAYS_S else f"{told}."


def _warn(sentence: str) -> None:
    """Beside what it says, which may be read by program."""
    print(f"WARNING: {sentence}.", file=sys.stderr)


collection = Collection("watch", on, maintenance, start, stop, status)
