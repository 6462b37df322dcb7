"""Measure what a delayed standby gives back, beside the restore of the same moments from the repository.

What was written before the moments is replayed beforehand, as by a standby whose delay has gone by since: what is
replayed to a moment is the WAL between the standby and that, and no size of a database is in it.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drills import feed as feeds
from drills import gather, prepare
from drills.benches import filling, moments
from drills.benches.headline import Bench, Figure
from drills.benches.own_lab import own_lab
from inventories import delay
from inventories.errors import BadInput
from lab.engine import find_engine
from runbooks import hosts
from runbooks.actions.postgresql import server as act
from runbooks.actions.postgresql import side
from runbooks.engine.rundir import new_run_dir
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from runbooks.layout import Layout
from runbooks.probes.postgresql import server
from runbooks.procedures.postgresql.delayed import DELAYED, REPOSITORY
from runbooks.procedures.postgresql.pitr_state import SIDE

Say = Callable[[str], None]
OPEN_S = 10.0
BESIDE = 3  # restores from the repository, each of which takes as long as the database is large
_COMMAND = "DR_LAB_POSTGRES=3 DR_LAB_DELAY=1h ./dr bench --delayed"
_LIMIT_S = 3600.0


@dataclass(frozen=True)
class Measured:
    """Hits of the delayed standby, the seconds until each was given back, and hits of the repository."""

    hits: tuple[moments.Hit, ...]
    back_s: tuple[float, ...]
    repository: tuple[moments.Hit, ...]


def bench(lab: str, gib: float, targets: int, say: Say) -> Bench:
    """In a lab of its own that is removed afterwards. Raises BadInput, Refused."""
    if not 0 < gib <= 1000:
        raise BadInput(f"{gib:g} GiB would measure nothing", "--gib 5 is the default")
    if targets < 1:
        raise BadInput(f"{targets} points in time would measure nothing", "--targets 20 is the default")
    behind, there = os.environ.get("DR_LAB_DELAY"), prepare.databases(lab)
    if not behind or there < 3:
        raise BadInput(f"a lab of {there} would have no delayed standby, and nothing to measure", _COMMAND)
    delay.declared(Path("DR_LAB_DELAY"), "the last standby", {"apply_delay": behind})
    with own_lab(find_engine(), lab, say):
        prepare.estate(lab, say)
        estate = hosts.load("lab")
        if not estate.delayed:
            raise BadInput(f"{len(estate.postgres)} PostgreSQL hosts have no delayed standby among them", _COMMAND)
        say(f"writing {gib:g} GiB")
        filling.fill(estate, gib, say)
        found = measure(estate, targets, new_run_dir("bench-delayed"), say)
        size = filling.size_bytes(server.the_primary(server.survey(estate)).host, str(estate.data["database"]))
        return Bench(figures(size / 2**30, found), gather.versions(estate))


def measure(estate: Estate, targets: int, folder: Path, say: Say) -> Measured:
    """So many random moments under load, taken from the delayed standby, and a few of them from the repository.

    Recovery goes forward, so the moments do. Each time it is given back, which is part of what is measured.
    """
    (host,) = estate.delayed
    say(f"{host} replays what there is, and a full backup is taken")
    _catch_up(estate, host)
    estate.backup.run("pgbackrest --stanza=%s --type=full backup", estate.data["stanza"], user="postgres",
                      timeout=_LIMIT_S)  # fmt: skip
    dice = random.Random(int(time.time()))  # noqa: S311 - moments, no secrets
    hits, back, others = [], [], []
    with feeds.running(estate.app, 1000.0, 1, folder):
        seen = moments.record(estate, max(40, 4 * targets), dice)
        aims = forward(seen, targets, dice)
        for nr, aimed in enumerate(aims, 1):
            hits.append(moments.restored(estate, seen, aimed, folder, DELAYED))
            back.append(_give_back(estate, host))
            _say(say, f"{nr} of {targets}", hits[-1])
        for nr, aimed in enumerate(aims[:BESIDE], 1):
            others.append(moments.restored(estate, seen, aimed, folder, REPOSITORY))
            _say(say, f"{nr} from the repository", others[-1])
    side.drop(server.the_primary(server.survey(estate)).host, SIDE, 60)
    return Measured(tuple(hits), tuple(back), tuple(others))


def forward(seen: moments.History, count: int, dice: random.Random) -> tuple[moments.Aim, ...]:
    """So many random targets, each with a commit between it and the one before."""
    found: dict[int, moments.Aim] = {}
    while len(found) < count:
        aimed = moments.aim(seen, moments.KINDS[len(found) % len(moments.KINDS)], dice)
        found.setdefault(aimed.before, aimed)
    return tuple(found[before] for before in sorted(found))


def figures(gib: float, found: Measured) -> tuple[Figure, ...]:
    """`gib`: the database's size."""
    count, good = len(found.hits), float(sum(not hit.wrong for hit in found.hits))
    others = float(sum(not hit.wrong for hit in found.repository))
    return (
        Figure("data in the database", "GiB", (gib,)),
        Figure("restore-pitr from a delayed standby: from the command to the side cluster open", "s",
               tuple(hit.open_s for hit in found.hits), OPEN_S, every=True),
        Figure("the same to its end, with what is in it told", "s", tuple(hit.seconds for hit in found.hits)),
        Figure(f"of {count} random points in time under load, reached exactly", "", (good,), count, at_least=True),
        Figure("given back: a delayed standby again", "s", found.back_s),
        Figure("the same from the repository: from the command to the side cluster open", "s",
               tuple(hit.open_s for hit in found.repository)),
        Figure(f"of {len(found.repository)} of these, reached exactly", "", (others,), len(found.repository),
               at_least=True),
    )  # fmt: skip


def _say(say: Say, which: str, hit: moments.Hit) -> None:
    told = hit.wrong or "reached the last commit before it, the next is absent"
    say(f"target {which}, {hit.aim.kind} {hit.aim.value}: {told} (open after {hit.open_s:.1f} s)")


def _catch_up(estate: Estate, host: Host) -> None:
    """Without its delay until it has everything that there is; its next restartpoint is behind all that then."""
    primary = server.the_primary(server.survey(estate)).host
    primary.execute("CHECKPOINT;", timeout=_LIMIT_S)
    version = server.version(estate)
    written = server.look(primary, version).written or 0
    host.execute("ALTER SYSTEM SET recovery_min_apply_delay = 0;")
    try:
        host.execute("SELECT pg_reload_conf();")
        until(
            lambda: server.look(host, version).replayed or 0, _LIMIT_S, what=f"{host} to replay what there is",
            accept=lambda replayed: replayed >= written, every=0.5,
        )  # fmt: skip
    finally:
        host.execute("ALTER SYSTEM RESET recovery_min_apply_delay;")
        host.execute("SELECT pg_reload_conf();")
    host.execute("CHECKPOINT;", timeout=_LIMIT_S)


def _give_back(estate: Estate, host: Host) -> float:
    """Seconds until it is a delayed standby again, whatever became of its target."""
    began, version = time.monotonic(), server.version(estate)
    side.drop(host, SIDE, 60)
    act.start(host, Layout(version))
    until(lambda: server.look(host, version), 60.0, what=f"{host} to follow again", accept=lambda node: node.follows)
    return time.monotonic() - began


__all__ = ["BESIDE", "OPEN_S", "Measured", "bench", "figures", "forward", "measure"]
