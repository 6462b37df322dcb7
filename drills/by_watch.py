"""The watch acts instead of the drill's own operator: started as it is in production, its words kept as evidence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drills import looking
from drills.beats import BEAT, BEAT_S
from drills.looking import Word
from drills.measuring.measure import Mark
from drills.stage import Stage
from inventories.errors import Refused, TargetFailed, TimedOut
from runbooks.engine.history import read_history, reload_state
from runbooks.engine.outcome import Outcome
from runbooks.engine.result import Phase, RunResult
from runbooks.engine.rundir import REPOSITORY
from runbooks.hosts import Estate, Host
from runbooks.procedures.postgresql.failover import FAILOVER, Failover
from runbooks.watch.desk import call

WATCH, OPERATOR = "watch", "operator"
NOTES = "/var/lib/mystocks-dr/watch.json"
BEGINS_S, SEES_S, ACTS_S, ENDS_S, BEATS_S = 30.0, 30.0, 300.0, 20.0, 10.0


@dataclass
class Watcher:
    """A watch that runs; what it says is heard line by line and kept in `log`."""

    process: subprocess.Popen[str]
    log: Path
    words: list[Word] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _over: bool = False

    def listen(self) -> None:
        assert self.process.stdout is not None
        with self.log.open("a") as kept:
            for line in self.process.stdout:
                kept.write(line)
                kept.flush()
                said = json.loads(line)
                with self._changed:
                    self.words.append(Word(said["at"], said["what"], said["says"], said.get("looked", {})))
                    self._changed.notify_all()
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def hears(self, wanted: Callable[[Word], bool], seconds: float, what: str, since: float = 0.0) -> Word:
        """The first such word after `since`. Raises TimedOut, TargetFailed where the watch has ended."""

        def found() -> Word | None:
            return next((word for word in self.words if word.at >= since and wanted(word)), None)

        with self._changed:
            self._changed.wait_for(lambda: found() is not None or self._over, seconds)
            word = found()
        if word is not None:
            return word
        if self._over:
            raise TargetFailed(f"the watch has ended before it said {what}", f"see {self.log}")
        last = next((word.says for word in reversed(self.words) if word.what != BEAT), "nothing")
        raise TimedOut(f"the watch has not said {what} within {seconds:g} s; it said last: {last}")

    def said(self, what: str, since: float = 0.0) -> tuple[Word, ...]:
        with self._changed:
            return tuple(word for word in self.words if word.what == what and word.at >= since)

    def heard(self) -> tuple[Word, ...]:
        with self._changed:
            return tuple(self.words)

    def ended(self) -> str:
        """That it has, as a reason; empty while it lives."""
        code = self.process.poll()
        return "" if code is None else f"the watch has ended by itself with {code}, see {self.log}"

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def running(backup: Host, run_dir: Path, *more: str, own: Own | None = None) -> Iterator[Watcher]:
    """A watch of the lab that sees its primary serve. What watches did in earlier drills does not keep it from acting.

    It says in beats that it looks. Raises Refused while maintenance is declared.
    """
    forget(backup)
    with begun(run_dir, "doors.main", "watch", "--json", "--beat", f"{BEAT_S:g}", *more, own=own) as watcher:
        yield watcher


@contextmanager
def hasty(backup: Host, run_dir: Path) -> Iterator[Watcher]:
    """The twin: a watch without patience."""
    forget(backup)
    with begun(run_dir, "drills.hasty") as watcher:
        yield watcher


@dataclass(frozen=True)
class Own:
    """What a watch is started within (words before its own, such as a shell that enters a control group), and with."""

    within: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def begun(run_dir: Path, *module: str, own: Own | None = None) -> Iterator[Watcher]:
    """This module as a process, which has come to see the primary serve; its words go into `run_dir`."""
    own = own or Own()
    log = run_dir / "logs" / "watch.jsonl"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.with_suffix(".err").open("ab") as errors:
        process = subprocess.Popen(
            [*own.within, sys.executable, "-m", *module], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=errors, text=True, cwd=REPOSITORY,
            env={**os.environ, **own.environment, "DR_RUNS": runs_of(run_dir)},
        )  # fmt: skip
    watcher = Watcher(process, log)
    threading.Thread(target=watcher.listen, daemon=True).start()
    try:
        watcher.hears(lambda word: word.what == "sees" and " serves" in word.says, BEGINS_S, "that it serves")
        yield watcher
    finally:
        watcher.stop()


def runs_of(run_dir: Path) -> str:
    """Where a watch that is started for this folder keeps its runbooks' journals; by it its processes are known."""
    return str(run_dir / "runbooks")


def forget(backup: Host) -> None:
    """Drills follow one another faster than failovers by themselves may. Raises Refused while maintenance is declared.

    Only in a lab: in production a cooldown is waited for.
    """
    if declared := call(backup, "show", {})["maintenance"]:
        raise Refused(
            f"maintenance is declared ({declared['reason']}), so the watch would do nothing",
            "./dr watch.maintenance --end",
        )
    backup.run("rm -f %s", NOTES)


def saw(watcher: Watcher, stage: Stage, fault: float) -> Word:
    """The alarm: the watch begins to act. Raises TimedOut."""
    return watcher.hears(lambda word: word.what == "acts", SEES_S, "that it acts", fault)


def eyes(estate: Estate) -> int:
    """How many pairs of eyes a watch of it has: one on each application host and each database host."""
    return len(estate.group("app")) + len(estate.postgres)


def unproven(watcher: Watcher, estate: Estate, fault: float, acted: float, ended: float) -> str:
    """Why nothing proves that it looked before the fault, until it acted, and again once it had; empty where all does.

    Waits for the last, so it is asked when nothing is measured any more.
    """
    try:
        watcher.hears(lambda word: word.what == BEAT and bool(word.looked), BEATS_S, "that it looks again", ended)
    except (TargetFailed, TimedOut) as silent:
        return str(silent)
    told = watcher.heard()
    before = looking.blind(told, eyes(estate), fault - looking.NEAR_S, fault, "before the fault")
    return before or looking.blind(told, 1, fault, acted, "between the fault and its act") or watcher.ended()


def recovered(watcher: Watcher, stage: Stage, fault: float) -> RunResult[Failover]:
    """The failover that the watch ran, read back from its journal once it has ended; it is the drill's own then."""
    acts = saw(watcher, stage, fault)
    stage.failover_started = acts.at
    ended = watcher.hears(lambda word: word.what in ("acted", "declines"), ACTS_S, "how it ended", acts.at)
    stage.fact("who acted", f"the watch, {acts.at - fault:.2f} s after the fault ({acts.says.partition(': ')[2]})")
    folder = max((stage.run_dir / "runbooks").glob("*-failover*"), default=None)
    past = read_history(folder) if folder else None
    if past is None or past.outcome is None:
        raise TargetFailed(f"the watch left no failover that has ended: {ended.says}", f"see {watcher.log}")
    result = RunResult(
        outcome=past.outcome, exit_code=past.outcome.exit_code, steps=past.done,
        state=reload_state(past, Failover()), phases=_gate(acts, past.done), run_dir=past.run_dir, started=acts.at,
        seconds=ended.at - acts.at, error="" if past.outcome is Outcome.PASSED else ended.says,
    )  # fmt: skip
    stage.results.append((FAILOVER.name, result))
    stage.marks.extend(Mark(step.name, step.started) for step in result.steps)
    stage.marks.append(Mark("gate", acts.at))
    stage.marks.append(Mark("feed runs on", time.monotonic()))
    return result


def _gate(acts: Word, steps: Any) -> tuple[Phase, ...]:
    return (Phase("gate", max(0.0, steps[0].started - acts.at)),) if steps else ()
