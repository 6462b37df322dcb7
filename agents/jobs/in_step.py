"""Whether this host's clock is in step with the estate's. What takes backups or lets them go waits until it is.

The database hosts are asked for their time. Two clocks that agree outvote one that does not, whichever it is; where too
few answer, this host's own count of seconds since it last was in step in this boot decides, then the kernel's word that
its clock is being disciplined. The same count tells the right time while the clock is wrong (`now`).
"""

from __future__ import annotations

import ctypes
import json
import shlex
import socket
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from agents.base import clock, files
from agents.base.config import Config, Host
from agents.base.errors import AgentError
from agents.jobs.config import Settings

_NOTE = "clock"  # beside the states
_PATIENCE_S = 3.0
_SQL = "SELECT extract(epoch FROM clock_timestamp()) || ' ' || pg_is_in_recovery()"
_TIME_ERROR = 5  # of ntp_adjtime(3): the clock is not disciplined by anybody
TAKING = ("full", "diff", "incr")  # pgBackRest names a backup by the primary's clock
LETTING_GO = ("expire", "td-expire")
ANYWAY = ("check",)  # takes nothing and lets nothing go; whether WAL is archived must be known at any time


class OutOfStep(AgentError):  # noqa: N818 - named after what is wrong, as in the rest of the repository
    """A job waits for a clock."""

    exit_code = 3


@dataclass(frozen=True)
class Reading:
    """Another host's clock: by how many seconds it is ahead of this host's, and whether its server takes writes."""

    name: str
    ahead_s: float
    primary: bool = False


@dataclass(frozen=True)
class Clock:
    """This host's: the truth is `truth_s` ahead of it. `in_step` None: nobody can tell, `contradicted`: hosts differ.

    `wrong`: other hosts that are out of step, by how many seconds they are ahead of the truth; `sentence`: what is
    wrong, empty when nothing is known to be.
    """

    in_step: bool | None
    truth_s: float = 0.0
    contradicted: bool = False
    wrong: Mapping[str, float] = field(default_factory=dict)
    primary: str = ""
    sentence: str = ""


def judge(readings: Sequence[Reading], kept_s: float | None, disciplined: bool | None) -> Clock:
    """From what others say; `kept_s`: by how much the time that was kept since the last step is ahead of the clock."""
    agree, tied = _largest([0.0, *(one.ahead_s for one in readings)])
    if len(agree) > 1 and not tied:
        truth = 0.0 if 0.0 in agree else statistics.median(agree)
    elif kept_s is not None:
        truth = 0.0 if _same(kept_s, 0.0) else kept_s
    elif disciplined:
        truth = 0.0
    elif not readings:
        return Clock(None, sentence="")
    else:
        return Clock(None, contradicted=True, primary=_primary(readings), sentence=_contradiction(readings))
    wrong = {one.name: one.ahead_s - truth for one in readings if not _same(one.ahead_s, truth)}
    said = [f"the clock of {me()} is {_off(-truth)} the others'"] if truth else []
    said += [f"the clock of {name} is {_off(ahead)} the others'" for name, ahead in wrong.items()]
    return Clock(not truth, truth, False, wrong, _primary(readings), "; ".join(said))


def look(settings: Settings) -> Clock:
    """Ask, and keep the time from now on where it is known."""
    readings = ask(settings.database)
    note = _read(settings)
    found = judge(readings, _kept(note), disciplined())
    anchor = (clock.since_boot(), time.time() + found.truth_s) if found.in_step is not None else None
    if anchor is None and note:
        anchor = (float(note["since_boot"]), float(note["at"]))
    if anchor is not None:
        told = {"boot_id": clock.boot_id(), "since_boot": anchor[0], "at": anchor[1], "sentence": found.sentence}
        files.replace(settings.states / _NOTE, json.dumps(told) + "\n")
    return found


def now(settings: Settings) -> float:
    """Unix seconds, right also while this host's clock is wrong, where it was in step since the boot."""
    kept = _kept(_read(settings))
    return time.time() + (kept if kept is not None and not _same(kept, 0.0) else 0.0)


def doubt(settings: Settings) -> str:
    """What was last found wrong, or went wrong since; asks nobody. Empty when nothing is known to be."""
    note = _read(settings)
    kept, said = _kept(note), str(note.get("sentence", "")) if note else ""
    if kept is None or _same(kept, 0.0) or f"the clock of {me()} " in said:
        return said
    mine = f"the clock of {me()} is {_off(-kept)} what it was when it was last in step"
    return f"{mine}; {said}" if said else mine


def why_not(found: Clock, job: str) -> str:
    """Why this job waits, empty when it need not."""
    if job in ANYWAY:
        return ""
    if found.in_step is False or found.contradicted:
        return found.sentence
    if job in TAKING and found.primary in found.wrong:
        return f"{found.sentence}, and it would name the backup"
    if job in LETTING_GO and found.in_step is None:
        return f"nobody can be asked whether the clock of {me()} is right"
    return ""


def me() -> str:
    """This host, as the inventory and the other hosts know it."""
    return socket.gethostname().partition(".")[0]


def require(settings: Settings, job: str) -> None:
    """Raises OutOfStep."""
    why = why_not(look(settings), job)
    if why:
        raise OutOfStep(
            f"{job} waits for a clock: {why}.",
            "`chronyc makestep` on that host sets it; the hourly catch-up then runs what waited.",
        )


def ask(database: Config) -> list[Reading]:
    """The clocks of the database hosts that answer."""
    with ThreadPoolExecutor(max(1, len(database.hosts))) as pool:
        return [one for one in pool.map(lambda host: _ask(database, host), database.hosts) if one is not None]


def _ask(database: Config, host: Host) -> Reading | None:
    words = {
        "host": host.name, "hostaddr": host.address or "", "port": str(host.port), "user": database.user,
        "dbname": "postgres", "connect_timeout": "2", **database.libpq,
    }  # fmt: skip
    dsn = " ".join(f"{name}={shlex.quote(value)}" for name, value in words.items() if value)
    before = time.time()
    try:
        done = subprocess.run(
            ["psql", "-XAtq", "--no-password", "-d", dsn, "-c", _SQL], capture_output=True, text=True, check=False,
            timeout=_PATIENCE_S, stdin=subprocess.DEVNULL, cwd="/",
        )  # fmt: skip
        theirs, in_recovery = done.stdout.split()
        ahead = float(theirs) - (before + time.time()) / 2
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return Reading(host.name, 0.0 if _same(ahead, 0.0) else ahead, in_recovery == "false")


def disciplined() -> bool | None:
    """Whether the kernel's clock is kept in step by somebody (chrony, timesyncd); None where it does not tell."""
    try:
        state = int(ctypes.CDLL(None, use_errno=True).ntp_adjtime(ctypes.create_string_buffer(512)))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def _largest(ahead: Sequence[float]) -> tuple[list[float], bool]:
    """The most that agree with one of them, and whether others that disagree are as many."""
    groups = [[other for other in ahead if _same(one, other)] for one in ahead]
    best = max(groups, key=len)
    return best, any(len(group) == len(best) and not set(group) & set(best) for group in groups)


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= clock.SLACK_S


def _primary(readings: Sequence[Reading]) -> str:
    return next((one.name for one in readings if one.primary), "")


def _contradiction(readings: Sequence[Reading]) -> str:
    off = [one for one in readings if one.ahead_s]
    told = ", ".join(f"the clock of {one.name} is {_off(one.ahead_s)} that of {me()}" for one in off)
    return f"{told}, and too few answer to tell which is right"


def _off(ahead: float) -> str:
    return f"{clock.span(ahead)} {'ahead of' if ahead > 0 else 'behind'}"


def _kept(note: Mapping[str, Any] | None) -> float | None:
    """By how many seconds the time that was kept is ahead of this host's clock; None where none was, in this boot."""
    if not note:
        return None
    return float(note["at"]) + clock.since_boot() - float(note["since_boot"]) - time.time()


def _read(settings: Settings) -> dict[str, Any] | None:
    try:
        note: dict[str, Any] = json.loads((settings.states / _NOTE).read_text())
        if note["boot_id"] != clock.boot_id():
            return None
        return {**note, "at": float(note["at"]), "since_boot": float(note["since_boot"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None
