"""Measure what TDengine's writers promise: nothing lost when taosd is killed again and again, and what that costs."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from drills import feed as feeds
from drills.benches.headline import Figure
from drills.feed import Feed
from drills.judging.compare import Comparison, compare
from drills.judging.fate import Fate
from drills.measuring.events import Acked
from drills.measuring.ledger import read_ledger
from drills.measuring.measure import ack_gap, store_gap
from drills.measuring.tally import Feed as State
from drills.measuring.tally import LedgerView, Writing
from drills.stores import TDENGINE, Store
from inventories.errors import TargetFailed, TimedOut
from lab import faults
from runbooks.actions.tdengine import servers as act
from runbooks.engine.budgets import budget
from runbooks.engine.rundir import new_run_dir
from runbooks.hosts import Estate
from runbooks.probes.tdengine import servers
from runbooks.procedures.outbox import emptied

Say = Callable[[str], None]
KILLS, RATE, BATCH = 20, 10_000.0, 1000
LARGEST_BATCH = 10_000  # of the feed at full speed
CALM_S = 2.0  # between two kills at least; up to twice that
FULL_SPEED_S, FASTER_THAN_ANY = 12.0, 1_000_000.0
_NO_SHADOW = "agent-tdengine-bench.json"  # the writer's settings without their shadow
_WITHOUT = (
    "import json, sys; said = json.load(open(sys.argv[1])); said.pop('shadow', None); "
    "json.dump(said, open(sys.argv[2], 'w'))"
)


def kills(
    estate: Estate, lab: str, say: Say, count: int = KILLS, rate: float = RATE, seed: int = 1
) -> tuple[Figure, ...]:
    """Kill taosd on the first node at `count` random moments under load; then look for every acknowledged row."""
    chance, folder = random.Random(seed), new_run_dir("bench-tdengine-kills")  # noqa: S311 - a moment, no secret
    fallen: list[float] = []
    with feeds.running(estate.app, rate, seed, folder, TDENGINE, BATCH) as feed:
        for nr in range(1, count + 1):
            _pass(feed, CALM_S * (1 + chance.random()))
            before = feed.ledger.view().by_outbox
            fallen.append(time.monotonic())
            faults.kill_service(lab, servers.hosts(estate)[0].name, "taosd")
            _wait(feed, _more_than(before), budget("feed.start"), "the feed to notice the kill")
            _wait(feed, _as_before, budget("outbox.drain"), "rows to go to TDengine again")
            say(f"kill {nr} of {count}: {feed.ledger.view().acked:,} rows acknowledged, none waits")
        _pass(feed, CALM_S)
        feed.stop()
    acks = [event for event in read_ledger(folder / TDENGINE.ledger) if isinstance(event, Acked)]
    ends = [*fallen[1:], acks[-1].at]
    pauses = tuple(store_gap(acks, at, end).seconds for at, end in zip(fallen, ends, strict=True))
    found = _compared(estate, feed, say)
    view = feed.ledger.view()
    seconds = acks[-1].at - acks[0].at
    return (
        Figure(f"rows acknowledged across {count} random kills of taosd", "rows", (view.acked,)),
        Figure("of them by the outbox, and replayed", "rows", (view.replayed,)),
        Figure("rows acknowledged a second across the kills", "rows/s", (view.acked / seconds,)),
        Figure("rows lost", "rows", (found.lost,), 0, every=True),
        Figure("rows duplicated", "rows", (found.duplicated,), 0, every=True),
        Figure("pause of TDengine after a kill", "s", pauses),
        Figure("longest wait of a client for any acknowledgement", "s", (ack_gap(acks).seconds,)),
    )


def profiles(estate: Estate, say: Say) -> tuple[Figure, ...]:
    """The feed at full speed, in batches of 10,000: both profiles of the catalogue, with the shadow and without it."""
    names = {True: "WAL synced at every write", False: "WAL synced every 3 s"}
    rates: dict[tuple[bool, bool], float] = {}
    with _without_shadow(estate) as bare:
        for durable in (True, False):
            with _profile(estate, durable):
                for store in (TDENGINE, bare):
                    say(f"feed at full speed: {names[durable]}, {'with' if store is TDENGINE else 'without'} shadow")
                    rates[durable, store is TDENGINE] = _full_speed(estate, store, say)
    return (
        *(
            Figure(f"feed, {names[durable]}, {'with' if shadow else 'without'} shadow", "rows/s", (rate,))
            for (durable, shadow), rate in rates.items()
        ),
        Figure("what the shadow costs, no-loss profile", "rows/s", (rates[True, False] - rates[True, True],)),
        Figure("of the relaxed profile's rate", "%", (100 * rates[True, True] / rates[False, True],)),
    )


def _full_speed(estate: Estate, store: Store, say: Say) -> float:
    """Rows a second that TDengine itself acknowledges when the feed is not held back."""
    folder = new_run_dir("bench-tdengine-feed")
    with feeds.running(estate.app, FASTER_THAN_ANY, 1, folder, store, LARGEST_BATCH) as feed:
        before, began = feed.ledger.view().by_store, time.monotonic()
        _pass(feed, FULL_SPEED_S)
        view = feed.ledger.view()
        rate = (view.by_store - before) / (time.monotonic() - began)
    if view.by_outbox:
        say(f"WARNING: {view.by_outbox:,} rows went to the outbox: {view.store_down_why or 'it fell behind'}")
    _drained(estate)
    return rate


@contextmanager
def _without_shadow(estate: Estate) -> Iterator[Store]:
    """The same writer with settings of its own, which are removed in the end."""
    here, there = (f"/etc/mystocks-dr/{name}" for name in (TDENGINE.settings, _NO_SHADOW))
    estate.app.run("python3 -c %s %s %s", _WITHOUT, here, there)
    try:
        yield replace(TDENGINE, settings=_NO_SHADOW)
    finally:
        estate.app.run("rm -f %s", there)


@contextmanager
def _profile(estate: Estate, durable: bool) -> Iterator[None]:
    """The database with or without a sync at every write; in the end it has the one that it had."""
    node, database = servers.hosts(estate)[0], str(estate.data["tdengine_database"])
    before = servers.look(node).databases[database]["wal_fsync_period"]
    act.execute(node, f"ALTER DATABASE {database} WAL_FSYNC_PERIOD {0 if durable else 3000}", 60)
    try:
        yield
    finally:
        act.execute(node, f"ALTER DATABASE {database} WAL_FSYNC_PERIOD {before}", 60)


def _compared(estate: Estate, feed: Feed, say: Say) -> Comparison:
    _drained(estate)
    say(f"looking for {feed.ledger.view().acked:,} rows")
    return compare(Fate(feed.ledger.acked_ids()), TDENGINE.finder(estate, feed.run_number))


def _drained(estate: Estate) -> None:
    emptied(estate.app, "outbox.drain", TDENGINE.settings, TDENGINE.name)


def _more_than(rows: int) -> Callable[[LedgerView], bool]:
    """Whether the outbox took any since."""
    return lambda view: view.by_outbox > rows


def _as_before(view: LedgerView) -> bool:
    return view.writing is Writing.STORE and not view.awaiting_replay


def _wait(feed: Feed, enough: Callable[[LedgerView], bool], seconds: float, what: str) -> None:
    view = feed.ledger.wait_for(lambda view: view.feed is State.DIED or enough(view), seconds, what)
    if view.feed is State.DIED:
        raise TargetFailed("the feed died", "its messages are in logs/ of the benchmark's run")


def _pass(feed: Feed, seconds: float) -> None:
    with suppress(TimedOut):
        _wait(feed, lambda _: False, seconds, "time to pass")
