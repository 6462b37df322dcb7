"""The headline figures, each measured beside its yardstick, turn by turn, on one whole estate."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from deploys import run as deploys
from drills import feed as feeds
from drills.benches import filling, yardsticks
from drills.benches.figures import Measured
from drills.gate import gate
from drills.measuring.events import Acked
from drills.measuring.ledger import read_ledger
from drills.measuring.measure import first_new_primary_ack
from drills.measuring.tally import Writing
from drills.stores import POSTGRESQL
from inventories.errors import DrError, TargetFailed, TimedOut
from lab import faults
from runbooks.actions import backup as backups
from runbooks.actions.postgresql import side as sides
from runbooks.engine.budgets import budget
from runbooks.engine.context import Options
from runbooks.engine.outcome import Outcome
from runbooks.engine.procedure import Procedure
from runbooks.engine.rundir import new_run_dir
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from runbooks.layout import Layout
from runbooks.long_work.work import Asker
from runbooks.probes.postgresql import pgbackrest, server
from runbooks.procedures.postgresql.failover import FAILOVER, FailoverOptions
from runbooks.procedures.postgresql.rejoin import REJOIN, RejoinOptions
from runbooks.run import execute

Say = Callable[[str], None]
Timed = Callable[[], float]
ROUNDS = 3
ROWS, GIB, RATE = 40_000, 1.0, 2000.0
SIZES: Mapping[str, str] = {"store": f"{ROWS:,} rows", "replay": f"{ROWS:,} rows", "restore": f"{GIB:g} GiB"}
_SIDE = "yardstick"
_LIMIT_S = 900.0
_SETTLES_S = 20.0  # a standby that was just rejoined, and the replayer after it


@dataclass
class Headlines:
    """One run of the gate on one lab. What was measured together is kept: two figures come from one agent's run."""

    lab: str
    estate: Estate
    say: Say
    _written: dict[str, list[float]] = field(default_factory=dict)
    _wrong: list[str] = field(default_factory=list)

    def measure(self, names: Collection[str]) -> tuple[Measured, ...]:
        """In the order in which they disturb each other least; one that breaks off is infinite and says why."""
        ways = {
            "store": self._store, "replay": self._replay, "deploy": self._deploy, "restore": self._restore,
            "failover": self._failover,
        }  # fmt: skip
        self._written, self._wrong = {}, []
        found = []
        for name, way in ways.items():
            if name not in names:
                continue
            self.say(f"measuring {name}")
            try:
                found.append(way())
            except DrError as error:
                found.append(Measured(name, (math.inf,), (1.0,), f"broke off: {error}"))
        return tuple(found)

    def _store(self) -> Measured:
        return self._of_written("store", "store", "copy")

    def _replay(self) -> Measured:
        return self._of_written("replay", "replay", "bulk")

    def _of_written(self, name: str, ours: str, yardstick: str) -> Measured:
        if not self._written:
            self._written = _write(self.estate)
        return Measured(name, tuple(self._written[ours]), tuple(self._written[yardstick]))

    def _deploy(self) -> Measured:
        """Once before, for what the last release left to change: it is deploys without a change that are compared."""
        deploys.deploy(self.estate.inventory)

        def deploy() -> float:
            began = time.monotonic()
            changes = deploys.deploy(self.estate.inventory)
            if changes:
                raise TargetFailed(f"a deploy after a deploy changed {', '.join(changes.by_operation)}")
            return time.monotonic() - began

        return _turns("deploy", deploy, lambda: yardsticks.round_trips(self.estate))

    def _restore(self) -> Measured:
        primary, _ = self._whole()
        layout, stanza = Layout(server.version(self.estate)), str(self.estate.data["stanza"])
        label = self._full_backup(primary, stanza)

        def ours() -> float:
            _settled(primary)
            began = time.monotonic()
            sides.restore(primary, sides.SideRequest(_SIDE, set=label, replace=True, hurries=True), Asker.door("bench"))
            seconds = time.monotonic() - began
            sides.drop(primary, _SIDE, _LIMIT_S)
            return seconds

        def bare() -> float:
            _settled(primary)
            return yardsticks.restore(primary, layout, stanza, label)

        return _turns("restore", ours, bare)

    def _full_backup(self, primary: Host, stanza: str) -> str:
        """Label of the newest full backup of a database of that size. Both are made where they are not there."""
        size = GIB * 2**30
        if filling.size_bytes(primary, str(self.estate.data["database"])) < size:
            self.say(f"writing {GIB:g} GiB, once in the life of a lab")
            filling.fill(self.estate, GIB, lambda _: None)
        full = [one for one in pgbackrest.info(self.estate.backup, stanza).backups if one.type == "full"]
        if not full or full[-1].size_bytes < size:
            self.say("taking a full backup of it")
            backups.take(self.estate.backup, "full", Asker.door("bench"))
        return [one for one in pgbackrest.info(self.estate.backup, stanza).backups if one.type == "full"][-1].label

    def _failover(self) -> Measured:
        layout = Layout(server.version(self.estate))

        def bare() -> float:
            return yardsticks.promotion(self._whole()[1], layout)

        measured = _turns("failover", self._round, bare)
        wrong = tuple(dict.fromkeys(self._wrong))
        more = f" ({len(wrong) - 1} more like it)" if len(wrong) > 1 else ""
        return replace(measured, why=f"{wrong[0]}{more}" if wrong else "")

    def _round(self) -> float:
        """The primary loses power under load. Seconds from the runbook's start to the new primary's first row.

        A runbook that fails after that row is noted, and is a failure; the next round still tells how long it takes.
        """
        folder = new_run_dir("gate-failover")
        primary, _ = self._whole()
        try:
            with feeds.running(self.estate.app, RATE, 1, folder) as feed:
                fault = time.monotonic()
                faults.power_off(self.lab, primary.name)
                feed.ledger.wait_for(
                    lambda view: view.writing is Writing.OUTBOX, budget("feed.start"), "the feed to notice"
                )
                began = time.monotonic()
                self._run(FAILOVER, FailoverOptions(yes=True), folder)
        finally:
            faults.power_on(self.lab, primary.name)
        acks = [event for event in read_ledger(folder / POSTGRESQL.ledger) if isinstance(event, Acked)]
        first = first_new_primary_ack(acks, fault)
        if first is None:
            why = "; ".join(self._wrong) or "the runbook passed"
            raise TargetFailed(f"no row was acknowledged by a new primary ({why})")
        self._run(REJOIN, RejoinOptions(yes=True, host=primary.name), folder)
        return first.at - began

    def _run(self, procedure: Procedure[Any], options: Options, folder: Path) -> None:
        ran = execute(procedure, self.estate, options, lambda _: None, runs=folder / "runbooks")
        if ran.outcome is not Outcome.PASSED:
            self._wrong.append(f"{procedure.name} ended {ran.outcome.value}: {ran.error}")

    def _whole(self) -> tuple[Host, Host]:
        """Primary and standby, once what the round before left has settled. Raises Refused."""
        with suppress(TimedOut):
            until(lambda: gate(self.estate), _SETTLES_S, what="a whole estate", retry=(DrError,), every=0.5)
        return gate(self.estate)


def _turns(name: str, ours: Timed, yardstick: Timed) -> Measured:
    """One and the other by turns, so that a machine that is busy for a while slows both."""
    pairs = [(yardstick(), ours()) for _ in range(ROUNDS)]
    return Measured(name, tuple(mine for _, mine in pairs), tuple(bare for bare, _ in pairs))


def _write(estate: Estate) -> dict[str, list[float]]:
    """Both ways to write beside theirs. The rows go again: no drill shall ever count them."""
    said = estate.app.run(
        "cd /opt/mystocks-dr && exec python3 -m agents.feed.yardstick --rows %s --rounds %s", ROWS, ROUNDS,
        user="mystocks", timeout=_LIMIT_S,
    ).json()  # fmt: skip
    primary, _ = gate(estate)
    between = f"event_id >= {int(said['first'])} AND event_id <= {int(said['last'])}"
    statements = [f"DELETE FROM public.{table} WHERE {between};" for table in said["tables"]]  # noqa: S608 - our agent's
    primary.execute("\n".join(statements), str(estate.data["database"]), timeout=_LIMIT_S)
    seconds: dict[str, list[float]] = json.loads(json.dumps(said["seconds"]))
    return seconds


def _settled(host: Host) -> None:
    """What was written before is on the disk, so that nobody pays for another's pages."""
    host.run("sync", timeout=_LIMIT_S)
