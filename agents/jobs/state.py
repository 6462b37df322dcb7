"""What became of each job: jobs/<job>.json, and which jobs are due or missed.

    {"job", "armed_at", "started_at", "ended_at", "outcome": "passed|failed|skipped|timeout", "last_success_at",
     "seconds", "sentence", "log", "success_s"}       unix seconds; null before the first run
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from agents.base import files
from agents.base.clock import has_been
from agents.jobs import cron, in_step
from agents.jobs.config import Job, Settings

# A full backup is more than an incremental one: whoever has it does not miss the lesser.
GREATER: Mapping[str, tuple[str, ...]] = {"incr": ("diff", "full"), "diff": ("full",), "td-incr": ("td-full",)}
_STARTING_S = 300.0  # cron may still be about to start what was due so recently


@dataclass(frozen=True)
class State:
    """Of one job; `armed_at` is when its schedule was first put here, `success_s` what its last success took."""

    job: str
    armed_at: float
    started_at: float | None = None
    ended_at: float | None = None
    outcome: str | None = None
    last_success_at: float | None = None
    seconds: float | None = None
    sentence: str = ""
    log: str = ""
    success_s: float | None = None

    @property
    def took(self) -> float:
        """What its last success took; 0 where none is known. An older version noted it only of the last run."""
        if self.success_s is None and self.outcome == "passed":
            return self.seconds or 0.0
        return self.success_s or 0.0

    def ended(
        self, outcome: str, started_at: float, seconds: float, sentence: str, log: str, at: float | None = None
    ) -> State:
        """What became of a run; `at` in unix seconds, where this host's clock is not to be believed."""
        now = time.time() if at is None else at
        success = now if outcome == "passed" else self.last_success_at
        return replace(
            self, started_at=started_at, ended_at=now, outcome=outcome, last_success_at=success,
            seconds=round(seconds, 3), sentence=sentence, log=log,
            success_s=round(seconds, 3) if outcome == "passed" else self.took or None,
        )  # fmt: skip


def read(job: str, folder: Path) -> State | None:
    """None for a job that was never armed; a torn file is as good as none."""
    try:
        return State(**json.loads((folder / f"{job}.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write(state: State, folder: Path) -> None:
    """Replace the file as a whole, so that nobody reads half of it."""
    files.replace(folder / f"{state.job}.json", json.dumps(asdict(state)) + "\n")


def arm(settings: Settings) -> dict[str, State]:
    """The state of every job; one that has none is armed now."""
    found = {}
    for name in settings.jobs:
        state = read(name, settings.states)
        if state is None:
            state = State(name, in_step.now(settings))
            write(state, settings.states)
        found[name] = state
    return found


def success(job: str, states: Mapping[str, State], now: float) -> float | None:
    """The last success that counts for a job: its own, or that of a greater one; none that is still to come."""
    times = [states[name].last_success_at for name in (job, *GREATER.get(job, ())) if name in states]
    return max((at for at in times if at is not None and has_been(at, now)), default=None)


def limit(job: Job, states: Mapping[str, State]) -> float:
    """Seconds after which it is ended: its own limit, or twice what its last success took, or that of a greater one.

    An incremental backup after a change of timeline reads as much as a full one.
    """
    known = [states[name] for name in (job.name, *GREATER.get(job.name, ())) if name in states]
    return max([job.limit_s, *(2 * one.took for one in known)])


def due(job: Job, states: Mapping[str, State], now: float) -> bool:
    """Whether its last scheduled time has passed without a success since."""
    at = cron.previous(job.schedule, now - job.jitter_s - _STARTING_S)
    return at is not None and _base(job, states, now) < at


def missed(job: Job, states: Mapping[str, State], now: float) -> str | None:
    """The sentence for a success that the schedule promised and that did not come, grace included; None when it did."""
    at = cron.previous(job.schedule, now - job.grace_s)
    if at is None or _base(job, states, now) >= at:
        return None
    state, last = states[job.name], success(job.name, states, now)
    since = f"since {_utc(last)}" if last is not None else f"since it was armed on {_utc(state.armed_at)}"
    why = f"; its last run {state.outcome}: {state.sentence}" if state.outcome not in (None, "passed") else ""
    return f"{job.name} has not succeeded {since}, though it was due on {_utc(at)}{why}"


def _base(job: Job, states: Mapping[str, State], now: float) -> float:
    last, armed = success(job.name, states, now), states[job.name].armed_at
    return last if last is not None else armed if has_been(armed, now) else 0.0


def _utc(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
