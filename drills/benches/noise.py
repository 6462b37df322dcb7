"""Noise: trouble during which the primary serves. A watch that acts on any of it has failed."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from drills import by_watch
from drills import feed as feeds
from drills.benches.headline import Figure
from inventories.errors import BadInput, DrError, VerificationFailed
from lab import faults, noise
from lab import state as lab_state
from runbooks.engine.rundir import new_run_dir
from runbooks.hosts import Estate, Host
from runbooks.probes.postgresql import server

RATE = 2000.0
SETTLES_S = 2.0
_DATA = "/var/lib/postgresql/{}"


@dataclass(frozen=True)
class Scene:
    """What an episode works with. `pids`: the watch's own processes."""

    lab: str
    estate: Estate
    primary: Host
    others: tuple[str, ...]  # addresses of everybody but the primary
    watch: by_watch.Watcher


Episode = Callable[[Scene, random.Random], None]


def _stopped(scene: Scene, chance: random.Random) -> None:
    version = scene.estate.data["postgres_version"]
    noise.freeze(scene.lab, scene.primary.name, f"postgresql@{version}-main", chance.uniform(0.8, 1.2))


def _blinks(scene: Scene, chance: random.Random) -> None:
    noise.blink(scene.lab, scene.primary.name, scene.others, chance.uniform(0.6, 0.9))


def _loses(scene: Scene, chance: random.Random) -> None:
    noise.lose(scene.lab, scene.primary.name, 0.3, chance.uniform(3, 5))


def _slow_disk(scene: Scene, chance: random.Random) -> None:
    folder = _DATA.format(scene.estate.data["postgres_version"])
    noise.slow_disk(scene.lab, scene.primary.name, folder, chance.uniform(2, 4))


def _alone(name: Callable[[Scene], str]) -> Episode:
    def cut(scene: Scene, chance: random.Random) -> None:
        host = name(scene)
        addresses = [one.address for one in scene.estate.hosts if one.name != host]
        noise.blink(scene.lab, host, [*addresses, lab_state.load(scene.lab).gateway], chance.uniform(3, 5))

    return cut


def _checkpoints(scene: Scene, chance: random.Random) -> None:
    until = time.monotonic() + chance.uniform(2, 4)
    while time.monotonic() < until:
        scene.primary.execute("CHECKPOINT; SELECT pg_switch_wal();")


def _stalled(scene: Scene, chance: random.Random) -> None:
    """Its own machine stands still: every process of the watch, and the primary blinks as it wakes up."""
    processes = family(scene.watch.process.pid)
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGSTOP)
    try:
        wait(chance.uniform(2, 4))
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)


def wait(seconds: float) -> None:
    threading.Event().wait(seconds)


def family(pid: int) -> list[int]:
    """A process and all that it has started."""
    found, ahead = [], [pid]
    while ahead:
        one = ahead.pop()
        found.append(one)
        with suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                ahead += [int(child) for child in (task / "children").read_text().split()]
    return found


EPISODES: Mapping[str, Episode] = {
    "primary's PostgreSQL stopped for a second": _stopped,
    "primary's line dead for less than a second": _blinks,
    "30 % packet loss": _loses,
    "slow disk": _slow_disk,
    "application host cut off": _alone(lambda scene: scene.estate.app.name),
    "backup host cut off": _alone(lambda scene: scene.estate.backup.name),
    "standby cut off": _alone(
        lambda scene: next(host.name for host in scene.estate.postgres if host.name != scene.primary.name)
    ),
    "checkpoint storm": _checkpoints,
    "the watch's own host stalled": _stalled,
}


@dataclass
class Noise:
    """What came of it: episodes by kind, and what the watch did about each that it acted on."""

    ran: dict[str, int] = field(default_factory=dict)
    acted: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @property
    def figures(self) -> tuple[Figure, ...]:
        episodes = float(sum(self.ran.values()))
        return (
            Figure("episodes of noise", "", (episodes,)),
            Figure("failovers while the primary served", "", (float(len(self.acted)),), 0, every=True),
        )


def bench(
    lab: str, estate: Estate, episodes: int, say: Callable[[str], None], seed: int | None = None, hasty: bool = False
) -> Noise:
    """So many episodes in a random order, each kind as often as every other. `hasty`: the twin, which must act.

    Raises BadInput, VerificationFailed where the primary did not serve in the end.
    """
    if episodes < 1:
        raise BadInput(f"{episodes} episodes would prove nothing", "./dr bench --watch --noise 20")
    folder, chance = new_run_dir("bench-noise"), random.Random(seed)  # noqa: S311 - moments, no secret
    found = Noise()
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
        scene = Scene(lab, estate, primary, others, watcher)
        for nr, kind in enumerate(order, 1):
            say(f"noise {nr} of {episodes}: {kind}")
            _one(scene, kind, chance, found, say)
            if found.acted:
                break  # what follows would be about another primary
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
    began = time.monotonic()
    try:
        EPISODES[kind](scene, chance)
    except DrError as error:
        say(f"WARNING: {kind}: {error}")
    finally:
        for host in scene.estate.hosts:
            faults.heal(scene.lab, host.name)
    wait(SETTLES_S)
    found.ran[kind] = found.ran.get(kind, 0) + 1
    for word in scene.watch.said("acts", began):
        found.acted.append(f"{kind}: {word.says}")
        say(f"the watch acted on {kind}: {word.says}")
