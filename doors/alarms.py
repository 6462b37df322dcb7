"""Alarms: raise them, list them, acknowledge them, silence them, and find out whether they would arrive."""

from __future__ import annotations

import json as jsonlib
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from doors.support import INVENTORY_HELP, LAB_HELP, caller_path, door
from inventories.errors import BadInput, ExitCode

if TYPE_CHECKING:
    from runbooks.alarms.alarming import Source, Tell
    from runbooks.alarms.moving import Desk
    from runbooks.alarms.spool import Spool
    from runbooks.hosts import Estate

_CALENDAR_EVERY_S = 600.0
_SETTLES_S = 60.0


@task(
    help={
        "json": "print JSON instead of a table",
        "all": "also those that are over",
        "inventory": INVENTORY_HELP,
        "lab": LAB_HELP,
    },
    default=True,
    name="list",
)
@door
def list_(c: Context, json: bool = False, all: bool = False, inventory: str = "", lab: str = "") -> None:
    """List alarms, channels and silences.

    Ends with 1 while one fires, or while nobody looks.
    """
    from doors import alarms_screen
    from inventories.catalog.load import load_alarms
    from runbooks import hosts
    from runbooks.alarms.listing import look
    from runbooks.alarms.spool import Spool, path_of

    estate = hosts.load(inventory or None)
    _elsewhere(estate, ["alarms", *(["--json"] if json else []), *(["--all"] if all else [])])
    path = path_of(estate.name)
    if not path.exists():
        raise BadInput(f"no alarms of {estate.name} were ever raised on this machine", "./dr alarms.on raises them")
    found = look(Spool(path), load_alarms().every_s, all, time.time())
    if json:
        print(jsonlib.dumps(asdict(found), indent=2))
    else:
        alarms_screen.show(found)
    if found.firing or found.late:
        raise Exit(code=int(ExitCode.FAILED))


@task(
    help={
        "once": "one look, for a cron line; ends when what it had to say is sent, and with 1 while an alarm fires",
        "figures": "a file ending in .prom: what each look saw, for node exporter's textfile collector",
        "inventory": INVENTORY_HELP,
        "lab": LAB_HELP,
    }
)
@door
def on(c: Context, once: bool = False, figures: str = "", inventory: str = "", lab: str = "") -> None:
    """Look, keep what was seen, send it until it arrived.

    What is not as promised is what `./dr status` says; what that is worth, and to whom, says
    inventories/catalog/alarms.yaml. Nothing is sent before it is kept, and nothing is given up. Figures that cannot be
    written are said, and keep no alarm back.
    """
    from runbooks import hosts
    from runbooks.alarms.alarming import Alarming, estate_source
    from runbooks.alarms.heartbeat import Heartbeat
    from runbooks.alarms.held import held
    from runbooks.alarms.listing import look
    from runbooks.alarms.sending import Sender
    from runbooks.alarms.spool import path_of
    from runbooks.engine.signals import ended_by_signal

    estate = hosts.load(inventory or None)
    tell = _textfile(figures, estate)
    with held(path_of(estate.name)):
        desk = _desk(estate, say=_say)
        sender = Sender(desk.spool.path, desk.alarms.sending, desk.routes, _say)
        listeners = estate.group("app") if estate.data.get("watch_key") else ()  # of the service's host, and no other's
        heartbeat = Heartbeat(list(estate.data.get("alarm_heartbeat") or ()), _say, listeners)
        sources = [estate_source(estate), *_calendar(estate, 0 if once else _CALENDAR_EVERY_S)]
        alarming = Alarming(desk, sources, sender, heartbeat, _say, tell)
        if not once:
            with ended_by_signal() as over:
                alarming.run(over)
            return
        alarming.once()
        through = alarming.settle(_SETTLES_S)
        found = look(desk.spool, desk.alarms.every_s, True, time.time())
    firing, waiting = len(found.firing), sum(one["messages_waiting"] for one in found.alarms)
    print(f"{firing or 'No'} alarms fire; {waiting or 'no'} messages wait.")
    if firing or waiting or not through:
        raise Exit(code=int(ExitCode.FAILED))


@task(
    positional=["alarm"],
    help={
        "alarm": "its number (./dr alarms lists them)",
        "note": "what is done about it",
        "close": "it is over, although nobody can measure that any more",
        "by": "who says so (default: you)",
        "inventory": INVENTORY_HELP,
        "lab": LAB_HELP,
    },
)
@door
def ack(
    c: Context, alarm: str, note: str = "", close: bool = False, by: str = "", inventory: str = "", lab: str = ""
) -> None:
    """Say that somebody is at it: it is not escalated."""
    from runbooks import hosts
    from runbooks.alarms.listing import acknowledge

    number, estate = _number(alarm), hosts.load(inventory or None)
    by = by or _who()
    words = _options({"--note": note, "--by": by})
    _elsewhere(estate, ["alarms.ack", str(number), *words, *(["--close"] if close else [])])
    says = acknowledge(_spool(estate), number, by, note, close, time.time())
    print(f"Alarm {number} is {'over' if close else 'acknowledged'}: {says}.")


@task(
    help={
        "channel": "only this one",
        "confirm": "a code that arrived: the channel whose message had it is proved",
        "by": "who asks (default: you)",
        "json": "print JSON instead of sentences",
        "inventory": INVENTORY_HELP,
        "lab": LAB_HELP,
    }
)
@door
def test(
    c: Context, channel: str = "", confirm: str = "", by: str = "", json: bool = False, inventory: str = "",
    lab: str = "",
) -> None:  # fmt: skip
    """Send one on every channel; tell whether it arrived.

    A mail server only says that it took a mail: whoever receives that one confirms its code. Ends with 1 where a
    channel took nothing.
    """
    from runbooks import hosts
    from runbooks.alarms import proving

    estate = hosts.load(inventory or None)
    by = by or _who()
    words = _options({"--channel": channel, "--confirm": confirm, "--by": by})
    _elsewhere(estate, ["alarms.test", *words, *(["--json"] if json else [])])
    desk = _desk(estate)
    if confirm:
        print(f"The channel {proving.confirm(desk, confirm, time.time())} is proved.")
        return
    proofs = proving.test(desk, channel, by, time.time())
    if json:
        print(jsonlib.dumps([asdict(one) | {"arrived": one.arrived} for one in proofs], indent=2))
    else:
        for one in proofs:
            taken = "taken; ./dr alarms.test --confirm CODE once it arrived" if one.waits else "arrived"
            print(f"{one.channel} ({one.kind}): {one.why or taken}.")
    failed = [one.channel for one in proofs if one.why]
    if failed:
        hint = "alarm_channels of the inventory says where each leads; its secret is alarm_NAME of the secrets file"
        raise Exit(f"Nothing leaves on {', '.join(failed)}.\nHINT: {hint}", code=int(ExitCode.FAILED))


@task(
    help={
        "for_": "how long: 90s, 30min, 2h, 1d (7d at most); then it ends by itself",
        "reason": "what is done, for whoever wonders",
        "owner": "whose it is (default: you)",
        "rule": "only alarms of this rule of alarms.yaml",
        "about": "only what has this in its subject, such as pg1",
        "end": "the number of a silence that is over",
        "inventory": INVENTORY_HELP,
        "lab": LAB_HELP,
    },
    auto_shortflags=False,
)
@door
def silence(
    c: Context, for_: str = "", reason: str = "", owner: str = "", rule: str = "", about: str = "", end: str = "",
    inventory: str = "", lab: str = "",
) -> None:  # fmt: skip
    """Have nobody told for a while, until it ends.

    Alarms are noted all the same, and whoever is to be told is when it ends, of what is so still. Without options it
    lists what is in force.
    """
    from inventories.catalog.load import load_alarms
    from runbooks import hosts
    from runbooks.alarms import silencing

    given = {"--for": for_, "--reason": reason, "--rule": rule, "--about": about}
    if end and any(given.values()):
        raise BadInput("--end and a new silence are two things", "say one of them")
    estate = hosts.load(inventory or None)
    owned = owner or (_who() if any(given.values()) else "")
    _elsewhere(estate, ["silence", *_options({**given, "--owner": owned, "--end": end})])
    now = time.time()
    if end:
        silencing.end(_spool(estate), _number(end), now)
        print(f"Silence {end} is over.")
        return
    if any(given.values()):
        silencing.begin(_spool(estate), load_alarms(), for_, owned, reason, rule, about, now)
    found = silencing.in_force(_spool(estate), now)
    for one in found:
        what = f"rule {one.rule}" if one.rule else "every rule"
        about_what = f" about {one.subject}" if one.subject else ""
        left = max(1, round((one.until - now) / 60))
        print(f"{one.id}: {what}{about_what} for {left} min more: {one.reason} ({one.owner}).")
    if not found:
        print("Nothing is silenced.")


def _desk(estate: Estate, say: Callable[[str], None] | None = None) -> Desk:
    """Everything that sending takes. With `say` a damaged spool is moved aside, which it hears. Raises BadInput."""
    from inventories.catalog.channels import routes
    from inventories.catalog.load import load_alarms
    from runbooks.alarms.channels import require_usable
    from runbooks.alarms.evaluating import require_known
    from runbooks.alarms.moving import Desk
    from runbooks.alarms.spool import Spool, open_or_aside, path_of

    alarms = load_alarms()
    require_known(alarms)
    ways = routes(estate.data, alarms.recipients)
    for channel in ways.channels.values():
        require_usable(channel)
    path = path_of(estate.name)
    if say is None:
        return Desk(estate.name, Spool(path), alarms, ways)
    spool, damaged = open_or_aside(path)
    if damaged:
        say(f"ALARM: {damaged}.")
    return Desk(estate.name, spool, alarms, ways)


def _textfile(figures: str, estate: Estate) -> Tell | None:
    """Raises BadInput for a name that node exporter would never read."""
    from runbooks.figures.textfile import Told, require_name

    if not figures:
        return None
    path = caller_path(figures)
    require_name(path)
    return Told(path, estate.name, _say)


def _calendar(estate: Estate, every_s: float) -> list[Source]:
    """The drill calendar, where its history is: an alarming host without drills knows of none."""
    from importlib.util import find_spec

    if find_spec("drills") is None:
        return []
    from drills.board.watching import calendar_source

    return [calendar_source(estate, every_s)]


def _options(values: Mapping[str, str]) -> list[str]:
    """As words of a command line; what is empty was not given."""
    return [word for name, value in values.items() if value for word in (name, value)]


def _spool(estate: Estate) -> Spool:
    from runbooks.alarms.spool import Spool, path_of

    return Spool(path_of(estate.name))


def _elsewhere(estate: Estate, words: list[str]) -> None:
    """Where a host's service raises the alarms, the same command runs there, and ends this one with its word."""
    from runbooks.alarms import far

    there = far.host(estate)
    if there is None:
        return
    ran = far.run(there, words)
    sys.stdout.write(ran.stdout)
    raise Exit(ran.stderr.strip() or None, code=ran.rc)


def _number(text: str) -> int:
    if not text.isdigit():
        raise BadInput(f"{text!r} is no number", "./dr alarms lists alarms and silences with theirs")
    return int(text)


def _who() -> str:
    from runbooks.engine.process import user_at_machine

    return user_at_machine()


def _say(sentence: str) -> None:
    """To the journal, as the threads have it to say."""
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()


collection = Collection("alarms", list_, on, ack, test)
TOP_LEVEL = (silence,)
