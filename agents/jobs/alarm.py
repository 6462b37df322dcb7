"""The alarm: success that did not come, proofs and off-site copies that are too old, a scheduled run that failed."""

from __future__ import annotations

import json
import subprocess
import sys
import syslog
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.jobs import state
from agents.jobs.config import Settings
from agents.jobs.proofs import newest_passed
from agents.jobs.state import State

_COMMAND_S = 30.0


@dataclass(frozen=True)
class Late:
    """What is late: the job, or `proof`, `td-proof`, `offsite-copy`, `td-rows`; since how long, and its limit (s)."""

    what: str
    sentence: str
    age_s: float
    limit_s: float


def late(settings: Settings, states: Mapping[str, State], now: float) -> tuple[Late, ...]:
    """Everything that is missed at `now` (unix seconds)."""
    return tuple(_late(settings, states, now))


def _late(settings: Settings, states: Mapping[str, State], now: float) -> Iterator[Late]:
    for job in settings.jobs.values():
        sentence = state.missed(job, states, now)
        if sentence:
            last = state.success(job.name, states, now) or states[job.name].armed_at
            yield Late(job.name, sentence, now - last, job.grace_s)
    yield from _unproven(settings, states, now, "prove", settings.proofs, "")
    yield from _unproven(settings, states, now, "td-prove", settings.td_proofs, " of TDengine")
    yield from _lost(settings, now)
    if settings.offsite and "offsite" in states:
        copied, limit = states["offsite"].last_success_at, settings.max_offsite_age_h * 3600
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
    settings: Settings, states: Mapping[str, State], now: float, job: str, proofs: Path, store: str
) -> Iterator[Late]:
    """`proof`, or `td-proof`: the last backup of a store that was restored and found whole is too long ago."""
    if job not in states:
        return
    proof, limit = newest_passed(proofs), settings.max_proof_age_h * 3600
    age = now - (proof.proven_at if proof else states[job].armed_at)
    if age > limit:
        never = f"no backup{store} was ever proven"
        what = f"the last proof{store}, of {proof.label}, is {_hours(age)} old" if proof else never
        yield Late(job.replace("prove", "proof"), f"{what}, the limit is {_hours(limit)}", age, limit)


def raise_alarm(settings: Settings, sentences: Sequence[str]) -> None:
    """One line each in the journal, at priority err, and all of them on the alarm command's standard input."""
    if not sentences:
        return
    lines = [f"{sentence.rstrip('.')}." for sentence in sentences]
    syslog.openlog("mystocks-dr", facility=syslog.LOG_CRON)
    for line in lines:
        syslog.syslog(syslog.LOG_ERR, f"ALARM: {line}")
    if settings.alarm_command:
        _tell(settings.alarm_command, "\n".join(lines) + "\n")


def _tell(command: Sequence[str], text: str) -> None:
    """An alarm that cannot be raised is one more line in the journal: there is nobody else to tell."""
    try:
        done = subprocess.run(command, input=text, text=True, capture_output=True, timeout=_COMMAND_S, check=False)
        failed = f"ended with {done.returncode}: {done.stderr.strip()[-300:]}" if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        failed = str(error)
    if failed:
        syslog.syslog(syslog.LOG_ERR, f"ALARM: the alarm command {json.dumps(list(command))} {failed}.")
        print(failed, file=sys.stderr)


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h"
