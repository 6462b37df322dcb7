"""The backup host's scheduled jobs: what became of each, what is late, and what retention would let go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runbooks.hosts import Host

_AGENTS = "cd /opt/mystocks-dr && python3 -m"


@dataclass(frozen=True)
class Job:
    """One job. Times are unix seconds; `outcome` is passed, failed, skipped or timeout, None before the first run."""

    name: str
    schedule: str
    ended_at: float | None
    outcome: str | None
    last_success_at: float | None
    running_since: float | None
    sentence: str
    log: str

    @property
    def broken(self) -> bool:
        return self.outcome in ("failed", "timeout")


@dataclass(frozen=True)
class Late:
    """A success, a proof or an off-site copy that is missed: seconds since the last one, and how many there may be."""

    what: str
    sentence: str
    age_s: float
    limit_s: float


@dataclass(frozen=True)
class Untold:
    """An alarm that the alarm command has not taken, and for how long (seconds)."""

    line: str
    age_s: float


@dataclass(frozen=True)
class Jobs:
    """All of them; `offsite` names the host that holds the off-site copy, None where the estate has none; `left_out`:
    (table, why) of what TDengine's newest backup has nothing of; `untold`: the oldest first.
    """

    jobs: tuple[Job, ...]
    late: tuple[Late, ...]
    offsite: str | None
    left_out: tuple[tuple[str, str], ...] = ()
    untold: tuple[Untold, ...] = ()


@dataclass(frozen=True)
class Fate:
    """One backup that goes or stays; `proven_at` is when it was last restored and found whole (unix seconds)."""

    label: str
    type: str
    stopped_at: float
    bytes: int
    proven_at: float | None
    damaged: bool


@dataclass(frozen=True)
class Retention:
    """What would expire now and what stays; `held`: something would go but for a missing proof or a lease."""

    goes: tuple[Fate, ...]
    stays: tuple[Fate, ...]
    why: str
    held: bool
    restorable_from: float | None


def look(backup: Host, timeout: float | None = None) -> Jobs:
    """Asked of the runner itself, which reckons the schedules. Raises DrError."""
    said = backup.run(f"{_AGENTS} agents.jobs.runner status", user="postgres", timeout=timeout).json()
    late, untold = (Late(**one) for one in said["late"]), (Untold(**one) for one in said.get("untold", ()))
    left_out = tuple(said.get("left_out", {}).items())
    return Jobs(tuple(map(_job, said["jobs"])), tuple(late), said["offsite"], left_out, tuple(untold))


def retention(backup: Host, timeout: float = 60) -> Retention:
    """The plan of agents/postgresql/expire.py, which changes nothing. Raises DrError."""
    said = backup.run(f"{_AGENTS} agents.postgresql.expire plan", user="postgres", timeout=timeout).json()
    return Retention(
        tuple(Fate(**one) for one in said["goes"]), tuple(Fate(**one) for one in said["stays"]), said["why"],
        said["held"], said["restorable_from"],
    )  # fmt: skip


def _job(said: dict[str, Any]) -> Job:
    names = [name for name in Job.__dataclass_fields__ if name != "name"]
    return Job(name=said["job"], **{name: said[name] for name in names})
