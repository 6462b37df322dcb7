"""A model of the estate for the walk over hints: states as data, what is said of them, what follows.

What is said is not modelled: findings and refusals come from the code itself, over faked probes. What a command does
once it was not refused is declared here, in a few lines each.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from agents.postgresql.promotion import judge
from agents.postgresql.promotion_facts import Facts
from inventories.errors import BadInput, DrError, Refused
from inventories.inventory import HostEntry
from runbooks.actions import fencing
from runbooks.actions.postgresql import directory
from runbooks.actions.postgresql import server as act
from runbooks.engine import history
from runbooks.engine.context import Context
from runbooks.engine.lock import this_process
from runbooks.hosts import Estate, Host
from runbooks.judge import objectives
from runbooks.knock import Door
from runbooks.look.status import Status
from runbooks.probes import app, disk, network
from runbooks.probes.app import WriteAttempt
from runbooks.probes.postgresql import ground, pgbackrest, server, stopped
from runbooks.probes.postgresql.ground import Ground, Holds
from runbooks.probes.postgresql.promotion import Hindrance, Outlook
from runbooks.probes.postgresql.server import Node, Standby
from runbooks.probes.postgresql.stopped import Stopped
from runbooks.procedures.postgresql import abandon_choice, failover, guards, start_cluster, streaming, working
from runbooks.procedures.postgresql.abandon_choice import Back
from runbooks.record import keep
from runbooks.record.read import Pages
from runbooks.record.types import Mode as RecordMode
from runbooks.record.types import Page, Record
from runbooks.run import PROCEDURES
from tests.unit.start_kit import SYSTEM, alike
from tests.unit.test_objectives import ARCHIVER, JOBS, LIMITS, NOW, OUTBOX, REPOSITORY

NAMES = ("pg1", "pg2")
RUN = "20260101T000000Z-half-done"  # of whatever is under way; its journal is on another machine
END, BEHIND, FORK = 0x7000060, 0x6000060, 0x7000090


@dataclass(frozen=True)
class Pg:
    """One PostgreSQL host. `full`: it has every acknowledged row. `lost`: the machine is gone, and its disk."""

    role: Literal["primary", "standby", "half"] = "standby"
    up: bool = True
    on: bool = True
    lost: bool = False
    hung: bool = False
    fenced: bool = False
    full: bool = True
    streams: bool = False
    paused: bool = False
    small: bool = False  # smaller than its WAL asks for: it paused, and ends when it is told to go on or starts
    stepped_down: bool = False
    timeline: int = 1
    data: Literal["whole", "damaged", "blank", "foreign"] = "whole"

    @property
    def answers(self) -> bool:
        return self.on and self.up and not self.hung

    @property
    def writes(self) -> bool:
        return self.answers and self.role == "primary"


@dataclass(frozen=True)
class World:
    """The estate: both nodes, who else answers, what is noted, whether commits wait. `lost`: acknowledged rows are."""

    pg1: Pg = Pg(role="primary")
    pg2: Pg = Pg(streams=True)
    backup: bool = True
    app: bool = True
    noted: str = "synchronous"
    waits: bool = True
    lost: bool = False
    recorded: tuple[str, int] = ("pg1", 1)  # primary and timeline of the estate record
    changing: str = ""  # what was begun, and is not confirmed: the role is to move to the other one

    def __getitem__(self, name: str) -> Pg:
        found = getattr(self, name)
        assert isinstance(found, Pg)
        return found

    def with_(self, name: str, **changes: Any) -> World:
        return replace(self, **{name: replace(self[name], **changes)})

    @property
    def primaries(self) -> list[str]:
        return [name for name in NAMES if self[name].writes]

    @property
    def newest(self) -> int:
        """The repository's newest timeline: of whoever was primary."""
        return max(self[name].timeline for name in NAMES if self[name].role != "standby" or self[name].data == "whole")


ESTATE = Estate(
    "walk", "lab",
    tuple(
        Host(name, HostEntry(name=name, ssh_hostname=f"192.0.2.{nr}", fence_command=("true",)), Path("/nowhere"))
        for nr, name in enumerate((*NAMES, "backup1", "app1"), 1)
    ),
    {"pg_primary": ("pg1",), "pg_standby": ("pg2",), "backup": ("backup1",), "app": ("app1",)},
    {"postgres_version": 17, "stanza": "main", "database": "quant_research"},
)  # fmt: skip


# ---- what the probes see of it


@dataclass
class Eyes:
    """The probes of every runbook, looking at `world`."""

    world: World = field(default_factory=World)

    def host_on(self, name: str) -> bool:
        return {"backup1": self.world.backup, "app1": self.world.app}.get(name, name in NAMES and self.world[name].on)

    def knock(self, host: Host, timeout: float | None = None) -> Door:
        return Door.OPEN if self.host_on(host.name) else Door.SILENT

    def node(self, host: Host, *_: object, **__: object) -> Node:
        pg = self.world[host.name]
        if not pg.on:
            return Node(host, ssh=False, why="no answer")
        if pg.hung:
            return Node(host, ssh=True, runs=True, why="PostgreSQL hangs", standby_signal=pg.role == "standby")
        node = Node(
            host, ssh=True, fenced=f"failover, run {RUN}" if pg.fenced else "", installed=pg.data != "blank",
            standby_signal=pg.role == "standby",
        )  # fmt: skip
        if not pg.up:
            return node
        position = END if pg.full else BEHIND
        if pg.role == "primary":
            others = [name for name in NAMES if name != host.name and self.world[name].streams]
            standbys = tuple(Standby(n, "streaming", "sync" if self.world.waits else "async", position, position, 0.0)
                             for n in others)  # fmt: skip
            return replace(
                node, online=True, system=SYSTEM, in_recovery=False, timeline=pg.timeline, written=position,
                synchronous=self.world.waits and self.world.primaries[:1] == [host.name], standbys=standbys,
            )  # fmt: skip
        source = next((name for name in NAMES if name != host.name and self.world[name].up), None)
        return replace(
            node, online=True, system=SYSTEM, in_recovery=True, timeline=pg.timeline, written=position,
            replayed=position,
            replay_paused=pg.paused, receiving_from=source if pg.streams else None,
        )  # fmt: skip

    def survey(self, estate: Estate, *_: object) -> tuple[Node, ...]:
        return tuple(self.node(host) for host in estate.postgres)

    def stopped(self, hosts: tuple[Host, ...], *_: object) -> tuple[Stopped, ...]:
        return alike(*(self._stopped(host) for host in hosts))

    def _stopped(self, host: Host) -> Stopped:
        pg = self.world[host.name]
        if not pg.on:
            return Stopped(host, ssh=False, why="no answer")
        if pg.data in ("damaged", "blank"):
            why = "PostgreSQL is not installed" if pg.data == "blank" else "its control file cannot be read"
            return Stopped(host, why=why, fenced=pg.fenced)
        state = {"primary": "in production", "standby": "in archive recovery", "half": "in archive recovery"}[pg.role]
        newest, last = pg.timeline, pg.timeline - (pg.role == "half")
        return Stopped(
            host, fenced=pg.fenced, runs=pg.up, standby_signal=pg.role == "standby",
            state="shut down" if pg.stepped_down else state, system="1" if pg.data == "foreign" else SYSTEM,
            newest=newest, timeline=last, end=(END if pg.full else BEHIND) + 0x1000000 * (last - 1),
            forks={timeline: FORK + 0x1000000 * (timeline - 1) for timeline in range(1, newest)},
        )  # fmt: skip

    def grounds(self, hosts: tuple[Host, ...], *_: object) -> tuple[Ground, ...]:
        holds = {"blank": Holds.EMPTY, "whole": Holds.DATA, "damaged": Holds.DATA, "foreign": Holds.DATA}
        return tuple(
            Ground(host, holds[self.world[host.name].data], True, self.world[host.name].up, 1 << 40, 2, "m", ())
            for host in hosts
        )

    def room(self, host: Host, _: object, incoming: directory.Incoming, needs: int = 0) -> directory.Room:
        """What is no older copy of the primary's is moved aside."""
        own = self.world[host.name].data in ("whole", "blank")
        return directory.Room("holds something", "" if own else f"/main{incoming.aside}", own)

    def writes(self, *_: object) -> WriteAttempt:
        if not self.world.app:
            raise DrError("app1 does not answer")
        taker = next((name for name in self.world.primaries if self._commits(name)), None)
        address = ESTATE.host(taker).address if taker else None
        return WriteAttempt(bool(taker), "done" if taker else "search", address, 1, 1.0, None if taker else "nobody")

    def _commits(self, name: str) -> bool:
        return not self.world.waits or any(self.world[other].streams for other in NAMES if other != name)

    def pages(self, *_: object) -> Pages:
        """The same record on every host that answers; none where nothing was ever noted."""
        on = {name: Page(name, self._record(), "sum") for name in ("backup1", *NAMES)}
        away = {name: Page(name, why=f"{name} does not answer", away=True) for name in on if not self.host_on(name)}
        return Pages((on | away)["backup1"], tuple((on | away)[name] for name in NAMES))

    def _record(self) -> Record | None:
        if not self.world.noted:
            return None
        primary, timeline = self.world.recorded
        other = next(name for name in NAMES if name != primary)
        change = {"procedure": self.world.changing, "run": RUN, "to": other} if self.world.changing else None
        return Record.model_validate({
            "revision": 4, "system_identifier": SYSTEM, "epoch": timeline, "primary": primary, "timeline": timeline,
            "mode": RecordMode(self.world.noted), "synchronous": (other,) if self.world.noted == "synchronous" else (),
            "since": "2026-01-01T00:00:00Z", "why": "as noted", "changing": change,
        })  # fmt: skip

    def write_record(self, hand: keep.Keeper, _: object, record: Record, procedure: str, **__: object) -> Record:
        """As the keeper does it: without the arbiter only on the operator's word."""
        return record if self.world.backup or hand.alone else hand._alone(record, procedure, "backup1 is away")

    def following(self, _: object, primary: Node) -> set[str]:
        return {standby.name for standby in primary.standbys}

    def status(self) -> Status:
        world = self.world
        lone = world.primaries[0] if len(world.primaries) == 1 else ""
        repository = REPOSITORY if world.backup else None
        if repository and lone:
            newest = replace(repository.backups[-1], wal_stop=f"{world[lone].timeline:08X}0000000000000004")
            repository = replace(repository, backups=(newest,))
        return Status(
            "walk", NOW, 0.1, self.survey(ESTATE), {lone: replace(ARCHIVER, open_bytes=1 << 20)} if lone else {},
            repository, OUTBOX if world.app else None, record=self.pages(),
            jobs=JOBS if world.backup else None, promotions=self.outlooks(),
        )  # fmt: skip

    def outlooks(self) -> dict[str, Outlook]:
        """What each server that answers says of its next promotion."""
        return {
            node.name: Outlook(node.is_standby, 0.1, self._hindrances(node.name) if node.replay_paused else ())
            for node in self.survey(ESTATE)
            if node.online
        }

    def _hindrances(self, name: str) -> tuple[Hindrance, ...]:
        return (_small(name),) if self.world[name].small else (_paused(name),)

    def put_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every probe that an assess or a gate asks, and every action that would refuse."""
        archive = (lambda *_: self.world.newest, lambda *_, **__: replace(REPOSITORY, system_id=SYSTEM, archive_max=""))
        for where, name, fake in (
            (Host, "knock", self.knock), (Host, "begin", lambda *_, **__: None),
            (server, "survey", self.survey), (server, "look", self.node),
            (stopped, "survey", self.stopped), (ground, "survey", self.grounds), (app, "try_to_write", self.writes),
            (failover, "read", lambda *_: self.pages().answer), (start_cluster, "read", lambda *_: self.pages().answer),
            (guards, "read", lambda *_: self.pages().answer), (abandon_choice, "read", lambda *_: self.pages().answer),
            (history, "find_unfinished", lambda *_, **__: None), (history, "find_run", lambda *_: None),
            (keep, "pages", self.pages), (keep.Keeper, "_write", self.write_record),
            (streaming, "following", self.following), (working, "others_work", lambda *_: None),
            (pgbackrest, "newest_timeline", archive[0]), (pgbackrest, "info", archive[1]),
            (network, "look_from", lambda *_: {}), (network, "look_at", _nobody_knows),
            (server, "size", lambda *_: server.Size(1 << 30, ())), (directory, "would_make_room", self.room),
            (fencing, "power_off", lambda *_: None), (act, "fence", lambda *_: None), (disk, "look", lambda *_: ()),
        ):
            monkeypatch.setattr(where, name, _as_method(fake) if where in (Host, keep.Keeper) else fake)


def _paused(name: str) -> Hindrance:
    hint = f"psql -c 'select pg_wal_replay_resume()' on {name}"
    return Hindrance("paused", "paused; 0.0 MiB of WAL wait to be replayed first", "goes on", None, False, hint)


def _nobody_knows(_: Host, targets: tuple[Host, ...], *__: object) -> dict[str, Door]:
    return {target.name: Door.UNKNOWN for target in targets}


def _small(name: str) -> Hindrance:
    """As the host itself tells it."""
    facts = Facts(in_recovery=True, settings={"max_connections": "100"}, needed={"max_connections": 120})
    (one,) = judge(name, facts, 2.0)
    return Hindrance(**asdict(one))


def _as_method(fake: Callable[..., Any]) -> Callable[..., Any]:
    return lambda host, *words, **more: fake(host, *words, **more)


# ---- what is said of it


@dataclass(frozen=True, order=True)
class Advice:
    """One thing that a hint tells to do: a command with its words, or an act by hand."""

    what: str
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"./dr {shlex.join((self.what, *self.words))}" if self.words or "-" in self.what else self.what


_BY_HAND = {
    r"bring (?:the host|\S+) back|power (?:it|the hosts) on": "power on",
    r"bring the (?:backup|application) host back": "surroundings on",
    r"blank machines? in (?:their|its) place|another machine in its place": "blank machines",
    r"pg_wal_replay_resume": "resume replay",
    r"put the right data director": "right directory",
}
_VALUED = ("--host", "--limit", "--type", "--tables", "--set")


def advice(hint: str) -> Iterator[Advice]:
    """Everything that a hint names, placeholders filled with each host."""
    for pattern, what in _BY_HAND.items():
        if re.search(pattern, hint):
            yield Advice(what)
    for task, rest in re.findall(r"\./dr ([a-z]+(?:[.-][a-z]+)*)((?: (?!\./dr)[^ ]+)*)", hint):
        words = tuple(_words(rest.split()))
        for name in NAMES if {"HOST", "OTHER"} & set(words) else ("",):
            yield Advice(task, tuple(name if word in ("HOST", "OTHER") else word for word in words))


def _words(rest: list[str]) -> Iterator[str]:
    """Host and options that follow a task's name; the prose after them is none."""
    for nr, written in enumerate(rest):
        word = written.rstrip(".,;:)")
        value = nr > 0 and rest[nr - 1] in _VALUED
        if not (word.startswith("--") or value or (nr == 0 and word in (*NAMES, "HOST", "OTHER"))):
            return
        yield word
        if word != written:
            return


def findings(eyes: Eyes) -> list[objectives.Finding]:
    return list(objectives.findings(eyes.status(), LIMITS))


def whole(eyes: Eyes) -> bool:
    return findings(eyes) == [] and objectives.degraded(eyes.status()) == ()


# ---- what follows from it


def options_of(what: str, words: tuple[str, ...]) -> dict[str, Any]:
    """As the task would give them; consent is given, for asking it is no state of the estate."""
    said: dict[str, Any] = {"yes": what != "start-cluster" or "--yes" in words}
    for nr, word in enumerate(words):
        if word in _VALUED:
            said[word[2:].replace("-", "_")] = words[nr + 1]
        elif word.startswith("--") and word != "--yes":
            said[word[2:].replace("-", "_")] = True
        elif word in NAMES and (nr == 0 or words[nr - 1] not in _VALUED):
            said["host"] = word
    return said


@dataclass(frozen=True)
class Outcome:
    """The next state, or the hint of a refusal."""

    world: World | None = None
    hint: str = ""


def follow(eyes: Eyes, given: Advice) -> Outcome:
    """Do what was advised. Raises AssertionError for advice that nobody has declared."""
    world = eyes.world
    if given.what in _ACTS:
        return Outcome(_ACTS[given.what](world))
    if given.what in ("status", "help", "drift"):
        return Outcome(hint="; ".join(finding.hint for finding in findings(eyes)))
    if given.what == "deploy":
        return _deploy(world)
    if "--resume" in given.words:
        return _resumed(world, given.what)
    known = PROCEDURES.get(given.what.removeprefix("runbook."))
    assert known is not None and given.what in _EFFECTS, f"nobody says what {given} does"
    said = options_of(given.what, given.words)
    run = Path("20260101T000000Z-walk")
    owner = this_process(given.what, run, resumes=False)
    context: Any = Context(ESTATE, known.options(**said), run, owner=owner)
    try:
        for gate in known.procedure.gate:
            gate.check(context)
        state = known.procedure.initial(context)
        for step in known.procedure.steps:
            if step.name in _JUDGES.get(given.what, ("assess",)) and (not step.when or step.when(context, state)):
                state = step.action(context, state)
    except (Refused, BadInput) as refused:
        assert refused.hint, f"{given} refuses without a hint: {refused}"
        return Outcome(hint=refused.hint)
    return _EFFECTS[given.what](world, state, said)


def _resumed(world: World, what: str) -> Outcome:
    """The run that the record names goes on; one whose new primary is not there any more fails."""
    old = world.recorded[0]
    new = next(name for name in NAMES if name != old)
    if world.changing != what or not world[new].answers or world[new].role != "standby":
        return Outcome(hint="./dr start-cluster; ./dr status")
    return _EFFECTS[what](world, SimpleNamespace(primary=new, other=old), {})


# Steps that may refuse, and change nothing in this model.
_JUDGES = {"failover": ("assess", "fence"), "detach": ("assess", "note"), "restore-cluster": (),
           "start-cluster": ("assess", "fence"), "runbook.abandon": ("assess",)}  # fmt: skip


def _taken_out(world: World, name: str) -> World:
    """Fenced over SSH where that answers, else its power is cut."""
    on = world[name].on  # what hangs is killed over SSH
    return world.with_(name, on=on, up=False, hung=False, streams=False, fenced=world[name].fenced or on, full=False)


def _alone(world: World, name: str) -> World:
    return _recorded(replace(world, waits=False), name, "degraded")


def _together(world: World, name: str) -> World:
    return _recorded(replace(world, waits=True), name, "synchronous")


def _recorded(world: World, name: str, noted: str) -> World:
    """Also while the arbiter is away: what the copies say is carried to it."""
    return replace(world, noted=noted, recorded=(name, world[name].timeline), changing="")


def _promoted(world: World, new: str) -> World:
    timeline = world.newest + 1
    lost = world.lost or not world[new].full
    world = world.with_(new, role="primary", timeline=timeline, full=True, streams=False, up=True, stepped_down=False)
    return _alone(replace(world, lost=lost), new)


def _failover(world: World, state: Any, said: dict[str, Any]) -> Outcome:
    return Outcome(_promoted(_taken_out(world, state.other), state.primary))


def _rejoin(world: World, state: Any, said: dict[str, Any]) -> Outcome:
    mine, primary = world[state.other], world[state.primary]
    if (mine.data != "whole" or said.get("reclone")) and not world.backup:
        return Outcome(hint="bring the backup host back")
    if mine.role == "standby" and not mine.full and mine.data == "whole" and mine.paused and not said.get("reclone"):
        return Outcome(hint=f"./dr rejoin {state.other} --reclone --yes")  # what it needs is gone from the primary
    world = world.with_(
        state.other, role="standby", up=True, fenced=False, full=True, streams=True, paused=False, small=False,
        data="whole", timeline=primary.timeline, stepped_down=False,
    )  # fmt: skip
    return Outcome(_together(world, state.primary))


def _detach(world: World, state: Any, said: dict[str, Any]) -> Outcome:
    return Outcome(_alone(world.with_(state.other, streams=False, full=False), state.primary))


def _switchover(world: World, state: Any, said: dict[str, Any]) -> Outcome:
    world = world.with_(state.other, role="standby", streams=True)
    return Outcome(_together(_promoted(world, state.primary).with_(state.other, streams=True), state.primary))


def _start_cluster(world: World, state: Any, said: dict[str, Any]) -> Outcome:
    for name in state.fence:
        world = _taken_out(world, name)
    if state.how == "promote":
        world = _promoted(world, state.primary)
    else:
        lost = world.lost or not world[state.primary].full
        world = replace(world, lost=lost).with_(
            state.primary, role="primary", up=True, full=True, streams=False, stepped_down=False
        )
    for name in state.standbys:
        world = world.with_(
            name, role="standby", up=True, streams=True, full=True, timeline=world[state.primary].timeline,
            stepped_down=False,
        )  # fmt: skip
    return Outcome(_together(world, state.primary) if state.standbys else _alone(world, state.primary))


def _abandon(world: World, state: Any, said: dict[str, Any]) -> Outcome:
    """The role is given back, the other one held down unless it is known never to have been promoted; recorded."""
    if state.back is Back.NOTHING:
        if len(world.primaries) == 1:
            world = replace(world, recorded=(world.primaries[0], world[world.primaries[0]].timeline))
        return Outcome(world if not world.primaries and state.unproved else replace(world, changing=""))
    world = replace(world, lost=world.lost or not world[state.primary].full)
    world = world.with_(state.primary, role="primary", up=True, fenced=False, stepped_down=False)
    if state.hold:
        other = world[state.other]
        role = "standby" if other.role == "half" else other.role
        return Outcome(_alone(_taken_out(world.with_(state.other, role=role, full=False), state.other), state.primary))
    return Outcome(replace(world.with_(state.other, streams=world[state.other].up), changing=""))


def _restore_cluster(world: World, state: Any, said: dict[str, Any]) -> Outcome:
    fresh = Pg(role="primary", timeline=world.newest + 1)
    return Outcome(_together(replace(world, pg1=fresh, pg2=replace(fresh, role="standby", streams=True)), "pg1"))


def _deploy(world: World) -> Outcome:
    """Starts what is down and unfenced, as far as the start guard lets it; clones into a blank standby; notes."""
    if not (world.backup and world.app and all(world[name].on for name in NAMES)):
        return Outcome(world)  # what answers is brought to its state, and nothing of this model changes
    if all(world[name].data == "blank" for name in NAMES):
        return Outcome(hint="./dr restore-cluster")  # "an empty primary is not begun"
    for name in NAMES:
        pg = world[name]
        if not pg.up and not pg.fenced and pg.data == "whole" and pg.role == "standby" and not pg.small:
            other = next(world[other] for other in NAMES if other != name)
            streams = other.writes and (pg.full or not pg.paused)
            world = world.with_(name, up=True, streams=streams, full=pg.full or streams)
    if len(world.primaries) == 1:
        primary = world.primaries[0]
        for name in NAMES:
            if world[name].data == "blank" and not world[name].fenced:
                timeline = world[primary].timeline
                world = world.with_(
                    name, role="standby", data="whole", up=True, streams=True, full=True, timeline=timeline
                )
        if world.recorded[1] > world[primary].timeline and world.noted:
            return Outcome(hint=f"./dr rejoin {primary} --yes")
        if any(world[name].streams for name in NAMES):
            world = _together(world, primary)
        elif not world.waits:
            world = _alone(world, primary)
    return Outcome(world)


_EFFECTS: dict[str, Callable[[World, Any, dict[str, Any]], Outcome]] = {
    "failover": _failover, "rejoin": _rejoin, "detach": _detach, "switchover": _switchover,
    "start-cluster": _start_cluster, "restore-cluster": _restore_cluster,
    "runbook.abandon": _abandon,
}  # fmt: skip


def _power_on(world: World) -> World:
    """Machines that are gone do not come back; on those that do PostgreSQL stays down."""
    for name in NAMES:
        if not world[name].on and not world[name].lost:
            world = world.with_(name, on=True, up=False)
    return world


def _blank_machines(world: World) -> World:
    for name in NAMES:
        if world[name].lost:
            world = world.with_(name, on=True, lost=False, up=False, data="blank", fenced=False, full=False)
    return world


def _resume(world: World) -> World:
    for name in NAMES:
        if world[name].paused and world[name].streams:
            world = world.with_(name, paused=False)
    return world


def _right_directory(world: World) -> World:
    for name in NAMES:
        if world[name].data == "foreign" or (world[name].role == "primary" and not world[name].full):
            world = world.with_(name, data="whole", full=True)
    return world


_ACTS: dict[str, Callable[[World], World]] = {
    "power on": _power_on, "blank machines": _blank_machines, "resume replay": _resume,
    "right directory": _right_directory, "surroundings on": lambda world: replace(world, backup=True, app=True),
}  # fmt: skip


__all__ = ["ESTATE", "NAMES", "Advice", "Eyes", "Pg", "World", "advice", "failover", "findings", "follow", "whole"]
