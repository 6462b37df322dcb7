"""Measure Patroni as the watch is measured: from the crash of the primary's host to the first row on the new one.

Two PostgreSQL hosts and one for etcd and nobody else, of the lab's own image, with Debian 13's packages, in a lab that
is made for it and removed. First with Patroni's defaults, then with the fastest clocks that it takes, each proven by
what its nodes and etcd say. It replicates asynchronously, as it does by default: acknowledged rows may be lost, and
are counted. Every crash comes at a random moment between two looks of Patroni's.

What flatters it: etcd is one node that never fails, and the client tries both hosts at the same time on connections
that are open. What does not: nothing is set but its three clocks.
"""

from __future__ import annotations

import itertools
import math
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from drills.benches.headline import Bench, Figure
from drills.benches.own_lab import own_lab
from drills.benches.patroni import asks, rows, setup
from drills.benches.patroni.asks import Roles
from drills.benches.patroni.setup import DEFAULTS, FASTEST, NODES, SPECS, STORE, Pace
from inventories.errors import BadInput, DrError, TargetFailed, TimedOut
from lab import faults, machine, up
from lab.engine import Engine
from lab.power import find
from lab.state import LabState
from runbooks.engine.wait import until

Say = Callable[[str], None]
_INSTALL_S, _BEGINS_S, _WHOLE_S, _TAKES_S, _FAILS_OVER_S = 600.0, 120.0, 240.0, 30.0, 180.0
_CALM_S = 2.0


@dataclass(frozen=True)
class Crash:
    """What one came to: seconds to the first row, acknowledged rows that are gone, and why it is not proven."""

    seconds: float = math.inf
    lost: float = math.inf
    why: str = ""


@dataclass(frozen=True)
class Scene:
    """A lab where Patroni runs. No number is given to two rows, of whichever crash."""

    lab: LabState
    password: str
    chance: random.Random
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def address(self, host: str) -> str:
        return self.lab.hosts[host].address


def bench(lab: str, runs: int, say: Say, seed: int | None = None) -> Bench:
    """So many crashes with each pace, in a lab of this name that is removed afterwards.

    Raises BadInput, Refused where the lab is there already, TargetFailed and TimedOut where Patroni does not begin.
    """
    if runs < 1:
        raise BadInput(f"{runs} crashes would measure nothing", "./dr bench --patroni --runs 5")
    engine = machine.ensure_engine(say)
    found: list[tuple[Pace, tuple[Crash, ...]]] = []
    with own_lab(engine, lab, say):
        chance = random.Random(seed)  # noqa: S311 - moments, no secret
        scene = Scene(up.up(lab, say, SPECS), secrets.token_hex(16), chance)
        versions = provisioned(engine, scene, say)
        for pace in (DEFAULTS, FASTEST):
            keep(scene, pace, say)
            found.append((pace, tuple(_said(scene, pace, f"crash {nr} of {runs}", say) for nr in range(1, runs + 1))))
    return Bench(tuple(itertools.chain(*(figures(*one) for one in found))), versions, failed(found))


def figures(pace: Pace, crashes: tuple[Crash, ...]) -> tuple[Figure, ...]:
    seconds, lost = tuple(one.seconds for one in crashes), tuple(one.lost for one in crashes)
    return (
        Figure(f"Patroni, {pace}: host crash to the first row on the new primary", "s", seconds),
        Figure(f"Patroni, {pace}: acknowledged rows lost", "rows", lost),
    )


def failed(found: list[tuple[Pace, tuple[Crash, ...]]]) -> tuple[str, ...]:
    """Why the bench has: a crash that is not proven is none that was survived quickly."""
    if not all(crashes for _, crashes in found) or not found:
        return ("nothing was measured",)
    return tuple(f"Patroni, {pace}: {crash.why}" for pace, crashes in found for crash in crashes if crash.why)


def provisioned(engine: Engine, scene: Scene, say: Say) -> dict[str, str]:
    """Packages on every host, etcd, then Patroni on both; versions by package. Raises TargetFailed, TimedOut."""
    say("installing etcd and Patroni from Debian's packages")
    packages = {STORE: setup.STORE_PACKAGES, **dict.fromkeys(NODES, setup.NODE_PACKAGES)}
    with ThreadPoolExecutor(len(packages)) as pool:
        said = list(pool.map(lambda one: _run(engine, scene, one[0], setup.INSTALL, *one[1]), packages.items()))
    _run(engine, scene, STORE, setup.PLACE, setup.STORE_CONFIG, "root", "etcd", stdin=setup.store_settings(scene.lab))
    until(lambda: asks.etcd_serves(scene.lab), _BEGINS_S, what="etcd to serve", retry=(TargetFailed,), every=0.5)
    say("starting Patroni")
    for name in NODES:
        text = setup.node_settings(scene.lab, name, DEFAULTS, scene.password)
        _run(engine, scene, name, setup.PLACE, setup.CONFIG, "postgres", "patroni", stdin=text)
    leader = _whole(scene).leader
    rows.make_table(scene.address(leader), scene.password)
    return {name: number for text in said for name, number in setup.versions(text).items()}


def _run(engine: Engine, scene: Scene, host: str, script: str, *args: str, stdin: str = "") -> str:
    _, box = find(scene.lab.name, host)
    return engine.execute(box.container, "sh", "-c", script, "sh", *args, stdin=stdin, timeout=_INSTALL_S)


def keep(scene: Scene, pace: Pace, say: Say) -> None:
    """Have the cluster keep this pace, and hear from it that it does. Raises TargetFailed, TimedOut."""
    say(f"Patroni is to keep {pace}")
    asks.set_pace(scene.lab, _whole(scene).leader, pace)
    until(
        lambda: asks.keeps(scene.lab, pace), _BEGINS_S, what=f"Patroni to keep {pace}", retry=(TargetFailed,), every=0.5
    )
    # A node takes up new clocks with its next look, which is due by the old ones.
    wait(2.0 * DEFAULTS.loop_wait)


def _said(scene: Scene, pace: Pace, name: str, say: Say) -> Crash:
    """One crash, told; what keeps it from being measured is its reason, and the next one is tried."""
    try:
        found = crash(scene, pace)
    except (TargetFailed, TimedOut) as error:
        found = Crash(why=str(error))
    told = found.why or f"first row {found.seconds:.1f} s after the crash, {found.lost:g} acknowledged rows lost"
    say(f"{pace}, {name}: {told}")
    return found


def crash(scene: Scene, pace: Pace) -> Crash:
    """One, from a whole cluster to a whole cluster. Raises TargetFailed, TimedOut."""
    lab, before = scene.lab.name, _whole(scene)
    addresses = {name: scene.address(name) for name in NODES}
    try:
        with rows.writing(addresses, scene.password, scene.numbers) as written:
            written.first(before.leader, 0.0, _TAKES_S)
            wait(_CALM_S + scene.chance.uniform(0, pace.loop_wait))
            if not asks.keeps(scene.lab, pace):
                raise TargetFailed(f"the cluster does not keep {pace}")
            fault = time.monotonic()
            faults.power_off(lab, before.leader)
            first = written.first(before.standby, fault, _FAILS_OVER_S)
            if faults.is_running(lab, before.leader):
                raise TargetFailed(f"{before.leader} is not off, so that nothing was survived")
        gone = written.of(before.leader) - rows.there(addresses[before.standby], scene.password)
    finally:
        faults.power_on(lab, before.leader)
    after = _whole(scene)
    if after.leader != before.standby:
        return Crash(why=f"{after.leader} leads in the end, not {before.standby}")
    return Crash(first.at - fault, float(len(gone)))


def _whole(scene: Scene) -> Roles:
    return until(
        lambda: asks.whole(scene.lab), _WHOLE_S, what="a leader and a streaming standby", retry=(DrError,), every=0.5
    )


def wait(seconds: float) -> None:
    threading.Event().wait(seconds)
