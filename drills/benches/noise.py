"""Noise: trouble during which the primary serves. A watch that acts on any of it has failed.

An episode counts where it proves that its trouble was in force (lab/noise.py asks the host) and that the watch looked
before, meanwhile and afterwards (drills/looking.py). Any that does not is not proven, which fails the bench.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from drills import by_watch, looking
from drills import feed as feeds
from drills.beats import BEAT
from drills.benches.headline import Figure
from inventories.errors import BadInput, DrError, TargetFailed, TimedOut, VerificationFailed
from lab import faults, noise
from lab import state as lab_state
from lab.noise import InForce
from runbooks.engine.rundir import new_run_dir
from runbooks.hosts import Estate, Host
from runbooks.probes.postgresql import server

RATE = 2000.0
SETTLES_S = 2.0
AGAIN_S = 15.0  # a line that was dead for seconds is tried again by TCP after as many, and by SSH later still
STOPS_S = 0.1  # a process that is in the middle of something stands still a little later
_DATA = "/var/lib/postgresql/{}"


@dataclass(frozen=True)
class Scene:
    """What an episode works with."""

    lab: str
    estate: Estate
    primary: Host
    others: tuple[str, ...]  # addresses of everybody but the primary
    watch: by_watch.Watcher
    run_dir: Path
    hasty: bool = False  # the twin, which cannot tell that it stood still, and has to act: its patience proves nothing


Episode = Callable[[Scene, random.Random], InForce]


def _stopped(scene: Scene, chance: random.Random) -> InForce:
    version = scene.estate.data["postgres_version"]
    return noise.freeze(scene.lab, scene.primary.name, f"postgresql@{version}-main", chance.uniform(0.8, 1.2))


def _blinks(scene: Scene, chance: random.Random) -> InForce:
    return noise.blink(scene.lab, scene.primary.name, scene.others, chance.uniform(0.6, 0.9))


def _loses(scene: Scene, chance: random.Random) -> InForce:
    return noise.lose(scene.lab, scene.primary.name, 0.3, chance.uniform(3, 5))


def _slow_disk(scene: Scene, chance: random.Random) -> InForce:
    folder = _DATA.format(scene.estate.data["postgres_version"])
    return noise.slow_disk(scene.lab, scene.primary.name, folder, chance.uniform(2, 4))


def _alone(name: Callable[[Scene], str], closed: int = 1) -> Episode:
    """`closed`: through that host the watch looks, and cannot meanwhile."""

    def cut(scene: Scene, chance: random.Random) -> InForce:
        host = name(scene)
        addresses = [one.address for one in scene.estate.hosts if one.name != host]
        everybody = [*addresses, lab_state.load(scene.lab).gateway]
        return replace(noise.blink(scene.lab, host, everybody, chance.uniform(3, 5)), closed=closed)

    return cut


def _checkpoints(scene: Scene, chance: random.Random) -> InForce:
    since, last = time.monotonic(), _checkpoint(scene.primary)
    until = since + chance.uniform(2, 4)
    while time.monotonic() < until:
        scene.primary.execute("CHECKPOINT; SELECT pg_switch_wal();")
        before, last = last, _checkpoint(scene.primary)
        if last == before:
            raise VerificationFailed(f"{scene.primary} says that it has made no checkpoint since the last one")
    return InForce(since, time.monotonic())


def _checkpoint(host: Host) -> str:
    """Which checkpoint is the host's newest."""
    return str(host.query("select checkpoint_lsn::text as at from pg_control_checkpoint()")[0]["at"])


def _stalled(scene: Scene, chance: random.Random) -> InForce:
    """Its own machine stands still: every process of the watch, the SSH sessions it began included."""
    seconds, stopped = chance.uniform(2, 4), set[int]()
    try:
        while fresh := of_run(scene.run_dir) - stopped:  # one that was starting others may have gone on meanwhile
            stopped |= fresh
            for process in fresh:
                _signal(process, signal.SIGSTOP)
        wait(STOPS_S)
        since = time.monotonic()
        _require_still(stopped, scene.watch.process.pid)
        wait(seconds)
        _require_still(stopped, scene.watch.process.pid)
        until = time.monotonic()
    finally:
        for process in stopped:
            _signal(process, signal.SIGCONT)
    return InForce(since, until, watch_still=True)


def _require_still(processes: Iterable[int], judge: int) -> None:
    """Raises VerificationFailed unless the watch and every other process stands still."""
    states = {process: _state(process) for process in processes}
    if states.get(judge) != "T":
        raise VerificationFailed(f"the watch's own process does not stand still ({states.get(judge) or 'gone'})")
    if going := [process for process, state in states.items() if state not in ("T", "Z", "")]:
        raise VerificationFailed(f"{len(going)} of the watch's {len(states)} processes did not stand still")


def _state(process: int) -> str:
    """The kernel's letter, T for one that is stopped; empty where it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def _signal(process: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, number)


def wait(seconds: float) -> None:
    threading.Event().wait(seconds)


def of_run(run_dir: Path) -> set[int]:
    """Every process of a watch: those whose environment names its folder, also where they have cut themselves loose."""
    mark = f"DR_RUNS={by_watch.runs_of(run_dir)}".encode()
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found.add(int(folder.name))
    return found


EPISODES: Mapping[str, Episode] = {
    "primary's PostgreSQL stopped for a second": _stopped,
    "primary's line dead for less than a second": _blinks,
    "30 % packet loss": _loses,
    "slow disk": _slow_disk,
    "application host cut off": _alone(lambda scene: scene.estate.app.name),
    "backup host cut off": _alone(lambda scene: scene.estate.backup.name, closed=0),
    "standby cut off": _alone(
        lambda scene: next(host.name for host in scene.estate.postgres if host.name != scene.primary.name)
    ),
    "checkpoint storm": _checkpoints,
    "the watch's own host stalled": _stalled,
}


@dataclass
class Noise:
    """What came of it: proven episodes by kind, what the watch did about any, and why others are not proven."""

    asked: int = 0
    ran: dict[str, int] = field(default_factory=dict)
    acted: list[str] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @property
    def proven(self) -> int:
        return sum(self.ran.values())

    @property
    def figures(self) -> tuple[Figure, ...]:
        return (
            Figure("episodes of noise, each proven", "", (float(self.proven),), max(1, self.asked), at_least=True),
            Figure("episodes that are not proven", "", (float(len(self.unproven)),), 0, every=True),
            Figure("failovers while the primary served", "", (float(len(self.acted)),), 0, every=True),
        )

    def wrong(self, hasty: bool) -> tuple[str, ...]:
        """Why the bench has failed; nothing where it has not. `hasty`: the twin ran, which has to act."""
        reasons = [f"not proven: {why}" for why in self.unproven]
        if hasty and not self.acted:
            reasons.append("the watch without patience acted on nothing, so that the noise proves nothing")
        if self.acted and not hasty:
            reasons.append(f"a watch acted while the primary served: {'; '.join(self.acted)}")
        if not hasty and not self.acted and self.proven < max(1, self.asked):
            reasons.append(f"{self.proven} of {self.asked} episodes were proven")
        return tuple(reasons)


def bench(
    lab: str, estate: Estate, episodes: int, say: Callable[[str], None], seed: int | None = None, hasty: bool = False
) -> Noise:
    """So many episodes in a random order, each kind as often as every other. `hasty`: the twin, which must act.

    It ends early where the watch has acted, or is no more. Raises BadInput, VerificationFailed where the primary did
    not serve in the end.
    """
    if episodes < 1:
        raise BadInput(f"{episodes} episodes would prove nothing", "./dr bench --watch --noise 20")
    folder, chance = new_run_dir("bench-noise"), random.Random(seed)  # noqa: S311 - moments, no secret
    found = Noise(episodes)
    primary = server.the_primary(server.survey(estate)).host
    kinds = _kinds(lab, primary, found)
    order = [kinds[nr % len(kinds)] for nr in range(episodes)]
    chance.shuffle(order)
    timeline = server.the_primary(server.survey(estate)).timeline
    others = (lab_state.load(lab).gateway, *(host.address for host in estate.hosts if host.name != primary.name))
    how = by_watch.hasty(estate.backup, folder) if hasty else by_watch.running(
        estate.backup, folder, "--act", "failover"
    )  # fmt: skip
    with feeds.running(estate.app, RATE, 1, folder), how as watcher:
        scene = Scene(lab, estate, primary, others, watcher, folder, hasty)
        wait(SETTLES_S)  # before the first one it has to have looked, too
        for nr, kind in enumerate(order, 1):
            say(f"noise {nr} of {episodes}: {kind}")
            _one(scene, kind, chance, found, say)
            if found.acted or watcher.ended():
                break  # what follows would be about another primary, or about no watch
    if not found.acted:
        now = server.the_primary(server.survey(estate))
        if (now.name, now.timeline) != (primary.name, timeline):
            raise VerificationFailed(f"{now.name} is primary now on timeline {now.timeline}, though no watch acted")
    return found


def _kinds(lab: str, primary: Host, found: Noise) -> list[str]:
    kinds = list(EPISODES)
    if not noise.may_lose(lab, primary.name):
        found.skipped.append("30 % packet loss")
        kinds.remove("30 % packet loss")
    return kinds


def _one(scene: Scene, kind: str, chance: random.Random, found: Noise, say: Callable[[str], None]) -> None:
    declined, force, why = len(scene.watch.said("declines")), None, ""
    try:
        force = EPISODES[kind](scene, chance)
    except DrError as error:
        why = str(error)
    finally:
        for host in scene.estate.hosts:
            faults.heal(scene.lab, host.name)
    healed = time.monotonic()
    wait(SETTLES_S)
    _looks_again(scene, healed)
    acts = scene.watch.said("acts")[len(found.acted) :]
    for word in acts:
        found.acted.append(f"{kind}: {word.says}")
        say(f"the watch acted on {kind}: {word.says}")
    if force and not acts and not scene.hasty:  # one that acts is busy with that, and has looked
        why = _unproven(scene, force, scene.watch.said("declines")[declined:])
    if why:
        found.unproven.append(f"{kind}: {why}")
        say(f"WARNING: not proven: {kind}: {why}")
    elif force:
        found.ran[kind] = found.ran.get(kind, 0) + 1


def _looks_again(scene: Scene, since: float) -> None:
    """Wait until it looks through every pair of eyes, or acts; one that never does is told by what is not proven."""
    eyes = 0 if scene.hasty else by_watch.eyes(scene.estate)

    def looks(word: looking.Word) -> bool:
        seeing = word.what == BEAT and sum(at > since for at in word.looked.values()) >= eyes
        return seeing or word.what in ("acts", "declines")

    with suppress(TimedOut, TargetFailed):
        scene.watch.hears(looks, AGAIN_S, "that it looks through all its eyes", since)


def _unproven(scene: Scene, force: InForce, declined: tuple[looking.Word, ...]) -> str:
    """Why nothing proves that a watch which could act looked on and saw no loss; empty where all does."""
    told, eyes = scene.watch.heard(), by_watch.eyes(scene.estate)
    if why := scene.watch.ended():
        return why
    if declined:
        return f"the watch took the primary for lost, and only something else kept it from acting: {declined[0].says}"
    if not force.watch_still:
        return looking.unproven(told, eyes, force.since, force.until, force.closed)
    return (
        looking.blind(told, eyes, force.since - looking.NEAR_S, force.since, "before the fault")
        or looking.stood_still(told, force.since, force.until)
        or looking.blind(told, eyes, force.until, float("inf"), "after the fault")
    )
