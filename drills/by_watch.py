"""The watch acts instead of the drill's own operator: started as it is in production, its words kept as evidence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drills.measuring.measure import Mark
from drills.stage import Stage
from inventories.errors import Refused, TargetFailed, TimedOut
from runbooks.engine.history import read_history, reload_state
from runbooks.engine.outcome import Outcome
from runbooks.engine.result import Phase, RunResult
from runbooks.engine.rundir import REPOSITORY
from runbooks.hosts import Host
from runbooks.procedures.postgresql.failover import FAILOVER, Failover
from runbooks.watch.desk import call

WATCH, OPERATOR = "watch", "operator"
NOTES = "/var/lib/mystocks-dr/watch.json"
BEGINS_S, SEES_S, ACTS_S, ENDS_S = 30.0, 30.0, 300.0, 20.0


@dataclass(frozen=True)
class Word:
    """One thing that the watch said, and when by this machine's monotonic clock."""

    at: float
    what: str
    says: str


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
                    self.words.append(Word(said["at"], said["what"], said["says"]))
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
        last = self.words[-1].says if self.words else "nothing"
        raise TimedOut(f"the watch has not said {what} within {seconds:g} s; it said last: {last}")

    def said(self, what: str, since: float = 0.0) -> tuple[Word, ...]:
        with self._changed:
            return tuple(word for word in self.words if word.what == what and word.at >= since)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def running(backup: Host, run_dir: Path, *more: str) -> Iterator[Watcher]:
    """A watch of the lab that sees its primary serve. What watches did in earlier drills does not keep it from acting.

    Raises Refused while maintenance is declared.
    """
    forget(backup)
    with begun(run_dir, "doors.main", "watch", "--json", *more) as watcher:
        yield watcher


@contextmanager
def hasty(backup: Host, run_dir: Path) -> Iterator[Watcher]:
    """The twin: a watch without patience."""
    forget(backup)
    with begun(run_dir, "drills.hasty") as watcher:
        yield watcher


@contextmanager
def begun(run_dir: Path, *module: str) -> Iterator[Watcher]:
    """This module as a process, which has come to see the primary serve; its words go into `run_dir`."""
    log = run_dir / "logs" / "watch.jsonl"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.with_suffix(".err").open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", *module], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
            cwd=REPOSITORY, env={**os.environ, "DR_RUNS": str(run_dir / "runbooks")},
        )  # fmt: skip
    watcher = Watcher(process, log)
    threading.Thread(target=watcher.listen, daemon=True).start()
    try:
        watcher.hears(lambda word: word.what == "sees" and " serves" in word.says, BEGINS_S, "that it serves")
        yield watcher
    finally:
        watcher.stop()


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
