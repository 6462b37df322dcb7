"""What a scenario works with: the estate, the lab's levers, the running feed and its ledger."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from drills import killing
from drills.feed import Feed
from drills.judging.fate import Target
from drills.judging.result import Fact
from drills.measuring.measure import Mark
from drills.measuring.pressure import Watch
from drills.measuring.tally import Feed as State
from inventories.errors import DrError, TimedOut
from lab import faults
from lab.up import up
from runbooks.engine import outcome as ended
from runbooks.engine.context import Options
from runbooks.engine.procedure import Procedure
from runbooks.engine.result import RunResult
from runbooks.hosts import Estate, Host
from runbooks.run import execute

S = TypeVar("S", bound=BaseModel)


@dataclass
class Stage:
    """One drill in progress. `marks` are moments on the monotonic clock, in order.

    `target` is set by a scenario that restores to a point, `safe_at` by one that loses what was not in the repository:
    what was acknowledged before that moment was in it and must come back. `later` is undone in the end, newest first.
    `reclone` brings a host back from the repository where a rewind would be tried first. `killed` draws the moment at
    which the operator's process is killed in each runbook. `gone` rows that an outbox acknowledged are lost with its
    file: nobody waits for their replay.
    """

    lab: str
    estate: Estate
    primary: Host  # when the drill began
    standby: Host
    gateway: str  # the operator's address as the hosts see it
    run_dir: Path
    say: Callable[[str], None]
    marks: list[Mark] = field(default_factory=list)
    results: list[tuple[str, RunResult[Any]]] = field(default_factory=list)
    failover_started: float | None = None
    facts: list[Fact] = field(default_factory=list)
    target: Target | None = None
    safe_at: float | None = None
    bad_xid: str = ""  # the transaction that a restore has to stop before
    structure: str = ""  # what a table was before it was dropped
    damaged: str = ""  # label of the backup in which a byte was flipped
    outages: dict[str, int] = field(default_factory=dict)  # of each feed, before the fault
    running: dict[str, Feed] = field(default_factory=dict)  # by the name of the store that it writes to
    undo: list[tuple[str, Callable[[], object]]] = field(default_factory=list)
    reclone: bool = False
    killed: random.Random | None = None
    gone: int = 0
    watch: Watch = field(default_factory=Watch)
    marked: Callable[[str, float], None] = lambda name, at: None  # hears of each phase as it begins
    trader: object = None  # who trades into the SQLite database, in drills of that

    @property
    def feed(self) -> Feed:
        """The feed, or the first where there are several."""
        assert self.running, "the feed has not begun"
        return next(iter(self.running.values()))

    @property
    def run_number(self) -> int:
        """The number of the feed's run, which the event ids of its rows begin with."""
        return self.feed.run_number

    @property
    def standbys(self) -> tuple[Host, ...]:
        """Every standby when the drill began."""
        return tuple(host for host in self.estate.postgres if host.name != self.primary.name)

    @property
    def third(self) -> Host:
        """A standby that is left when `primary` and `standby` are gone. Raises StopIteration in an estate of two."""
        return next(host for host in self.standbys if host.name != self.standby.name and host.entry.synchronous)

    @property
    def database(self) -> str:
        return str(self.estate.data["database"])

    def pause(self, seconds: float) -> None:
        """Let the feeds write on."""
        with suppress(TimedOut):
            self.feed.ledger.wait_for(lambda view: view.feed is State.DIED, seconds, "time to pass")

    def fact(self, label: str, says: str) -> None:
        """Something for the report, said aloud now."""
        self.facts.append(Fact(label=label, says=says))
        self.say(f"{label}: {says}")

    def told(self, label: str) -> str:
        """What the newest fact of this label says; empty when there is none."""
        return next((fact.says for fact in reversed(self.facts) if fact.label == label), "")

    def later(self, says: str, action: Callable[[], object]) -> None:
        """Undo something when the drill ends, however it ends. It must be harmless when it was undone before."""
        self.undo.append((says, action))

    def undo_all(self) -> None:
        """Undo what was left for later, newest first; what fails is said and stops nothing."""
        while self.undo:
            says, action = self.undo.pop()
            try:
                action()
            except DrError as error:
                self.say(f"WARNING: {says} failed: {error}")

    def mark(self, name: str) -> float:
        """A phase begins now."""
        now = time.monotonic()
        self.marks.append(Mark(name, now))
        self.marked(name, now)
        return now

    def run(self, procedure: Procedure[S], options: Options, estate: Estate | None = None) -> RunResult[S]:
        """Run a runbook exactly as an operator would, its evidence below this drill's folder.

        Raises KeyboardInterrupt when it was interrupted: then the drill is, too.
        """
        if self.failover_started is None:
            self.failover_started = time.monotonic()
        on, runs = estate or self.estate, self.run_dir / "runbooks"
        if self.killed:
            result = killing.run(procedure, on, options, self.say, runs, self.killed)
        else:
            result = execute(procedure, on, options, self.say, runs=runs)
        self.results.append((procedure.name, result))
        self._mark_steps(result)
        if result.outcome is ended.Outcome.INTERRUPTED:
            raise KeyboardInterrupt(result.error)
        return result

    def _mark_steps(self, result: RunResult[Any]) -> None:
        gate = next((phase for phase in result.phases if phase.name == "gate"), None)
        if gate:
            self.marks.append(Mark("gate", result.started))
        self.marks.extend(Mark(step.name, step.started) for step in result.steps)
        self.marks.append(Mark("feed runs on", time.monotonic()))

    def in_order(self) -> list[Mark]:
        """The marks by time: a procedure's steps are known only when it has ended."""
        return sorted(self.marks, key=lambda mark: mark.at)

    def power_off(self, host: Host) -> None:
        faults.power_off(self.lab, host.name)

    def power_off_both(self, *hosts: Host) -> None:
        """At one moment."""
        faults.site_off(self.lab, [host.name for host in hosts])
        for host in hosts:
            host.hang_up()

    def power_on(self, host: Host) -> None:
        faults.power_on(self.lab, host.name)

    def site_off(self) -> None:
        """Every host of the estate loses power at one moment."""
        faults.site_off(self.lab, [host.name for host in self.estate.hosts])
        for host in self.estate.hosts:
            host.hang_up()

    def site_on(self) -> None:
        """Power is back, and every host answers."""
        faults.site_on(self.lab, [host.name for host in self.estate.hosts])

    def crash(self, host: Host, pid_file: str) -> None:
        faults.kill_process(self.lab, host.name, pid_file)

    def kill_service(self, host: Host, unit: str) -> None:
        faults.kill_service(self.lab, host.name, unit)

    def remove(self, host: Host) -> None:
        """The host and its disk are gone."""
        host.hang_up()
        faults.remove(self.lab, host.name)

    def replace_hosts(self) -> None:
        """Blank hosts take the place of those that were removed, at their old addresses."""
        self.mark("blank hosts")
        up(self.lab, self.say)

    def isolate(self, host: Host, *addresses: str) -> None:
        faults.isolate(self.lab, host.name, addresses)

    def heal(self, host: Host) -> None:
        faults.heal(self.lab, host.name)

