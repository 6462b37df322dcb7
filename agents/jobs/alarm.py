"""The alarm: success that did not come, proofs and copies that are too old, a run that failed, a wrong clock."""

from __future__ import annotations

import json
import subprocess
import sys
import syslog
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.base.clock import has_been
from agents.jobs import in_step, proofs, proving, state, untold
from agents.jobs.config import Settings
from agents.jobs.state import State

_COMMAND_S = 30.0
_TELLING_S = 20.0  # the watch, which has an alarm raised here, waits for a minute


@dataclass(frozen=True)
class Late:
    """What is late: the job, or `proof`, `td-proof`, `full-proof`, `td-full-proof`, `offsite-copy`, `td-rows`; since
    how long, and its limit (s). `clock` is not late but out of step.
    """

    what: str
    sentence: str
    age_s: float
    limit_s: float


def late(settings: Settings, states: Mapping[str, State], now: float) -> tuple[Late, ...]:
    """Everything that is missed at `now` (unix seconds, by a clock that is right)."""
    return tuple(_late(settings, states, now))


def _late(settings: Settings, states: Mapping[str, State], now: float) -> Iterator[Late]:
    doubt = in_step.doubt(settings)
    if doubt:
        yield Late("clock", doubt, 0.0, 0.0)
    for job in settings.jobs.values():
        sentence = state.missed(job, states, now)
        if sentence:
            last = state.success(job.name, states, now) or states[job.name].armed_at
            yield Late(job.name, sentence, max(0.0, now - last), job.grace_s)
    postgresql, tdengine = settings.full_backups
    for prove, path, place, store in (
        ("prove", settings.proofs, postgresql, ""), ("td-prove", settings.td_proofs, tdengine, " of TDengine")
    ):  # fmt: skip
        yield from _unproven(settings, states, now, prove, path, store)
        yield from _overdue(settings, states, now, prove, path, place, store)
    yield from _lost(settings, now)
    if settings.offsite and "offsite" in states:
        copied, limit = state.success("offsite", states, now), settings.max_offsite_age_h * 3600
        age = now - (copied or states["offsite"].armed_at)
        if age > limit:
            what = f"the copy on {settings.offsite.host} is {_hours(age)} old"
            none = f"there is no copy on {settings.offsite.host} yet"
            yield Late("offsite-copy", f"{what if copied else none}, the limit is {_hours(limit)}", age, limit)


def _lost(settings: Settings, now: float) -> Iterator[Late]:
    """`td-rows`: rows that an earlier backup has and TDengine no longer, until they are back or not wanted."""
    try:
        said = json.loads(settings.td_lost.read_text())
        yield Late("td-rows", str(said["sentence"]), now - float(said["since"]), 0.0)
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield Late("td-rows", f"{settings.td_lost} cannot be read: {error!r}", 0.0, 0.0)


def _unproven(
    settings: Settings, states: Mapping[str, State], now: float, job: str, path: Path, store: str
) -> Iterator[Late]:
    """`proof`, or `td-proof`: the last backup of a store that was restored and found whole is too long ago."""
    if job not in states:
        return
    proof, limit = proofs.newest_passed(path), settings.max_proof_age_h * 3600
    if proof is not None and not has_been(proof.proven_at, now):
        proof = None
    age = now - (proof.proven_at if proof else states[job].armed_at)
    if age > limit:
        never = f"no backup{store} was ever proven"
        what = f"the last proof{store}, of {proof.label}, is {_hours(age)} old" if proof else never
        yield Late(job.replace("prove", "proof"), f"{what}, the limit is {_hours(limit)}", age, limit)


def _overdue(
    settings: Settings, states: Mapping[str, State], now: float, job: str, path: Path, place: Path, store: str
) -> Iterator[Late]:  # fmt: skip
    """`full-proof`, or `td-full-proof`: a full backup in use that was not restored for too long."""
    if job not in states:
        return
    limit = settings.max_full_proof_age_d * 86400
    found = list(proving.overdue(proving.fulls(place), proofs.read(path), now, limit))
    if found:
        told = ", ".join(f"{label} for {age / 86400:.1f} d" for label, age in found)
        what = f"full backups{store} were not restored and found whole: {told}"
        yield Late(job.replace("prove", "full-proof"), what, max(age for _, age in found), limit)


def raise_alarm(settings: Settings, sentences: Sequence[str]) -> str:
    """One line each in the journal, at priority err, and on the alarm command's standard input, after those that it
    has not taken yet; without any sentence those alone.

    Returns why that could not be told; empty where it was, and where there is no such command.
    """
    lines = [f"{sentence.rstrip('.')}." for sentence in sentences]
    syslog.openlog("mystocks-dr", facility=syslog.LOG_CRON)
    for line in lines:
        syslog.syslog(syslog.LOG_ERR, f"ALARM: {line}")
    if not settings.alarm_command:
        return ""
    return untold.tell(settings.states, lines, lambda text: _tell(settings.alarm_command, text), _TELLING_S)


def _tell(command: Sequence[str], text: str) -> str:
    """An alarm that cannot be raised is one more line in the journal: there is nobody else to tell."""
    try:
        done = subprocess.run(command, input=text, text=True, capture_output=True, timeout=_COMMAND_S, check=False)
        failed = f"ended with {done.returncode}: {done.stderr.strip()[-300:]}" if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        failed = str(error)
    if failed:
        syslog.syslog(syslog.LOG_ERR, f"ALARM: the alarm command {json.dumps(list(command))} {failed}.")
        print(failed, file=sys.stderr)
    return failed


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h"
