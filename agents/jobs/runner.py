"""The backup host's scheduled jobs, run by cron as postgres and by hand.

    python3 -m agents.jobs.runner run JOB [--wait [SECONDS]] [--io-timeout SECONDS]      by hand
    python3 -m agents.jobs.runner run JOB --scheduled      by cron: jitter, waits for its turn, only when due in UTC
    python3 -m agents.jobs.runner catch-up                hourly and at boot: run what was missed, then raise the alarm,
                                                    also for what would delay or stop a promotion
    python3 -m agents.jobs.runner tell                     what the alarm command has not taken yet, once more
    python3 -m agents.jobs.runner wanted                   now and then: what must not wait for its time, see WANTED
    python3 -m agents.jobs.runner status                   every job and what is late
    python3 -m agents.jobs.runner arm                      begin to count: a job that never ran is late from then on

What takes backups or lets them go waits for a clock that is in step, see agents/jobs/in_step.py.

Prints one JSON object. Exit 0 passed, 1 failed, 2 bad settings, 3 not run (another job has the lock, a clock is wrong).
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from agents.base.errors import AgentError, BadConfig, run
from agents.jobs import child, cron, in_step, untold
from agents.jobs import state as jobs_state
from agents.jobs.alarm import late, raise_alarm
from agents.jobs.config import PATH, VARIABLE, Settings, load
from agents.jobs.in_step import Clock, OutOfStep
from agents.jobs.lock import Held, Lock, Owner, holder
from agents.jobs.state import State
from agents.postgresql import promotion

# What neither writes the repository nor needs it to stand still has a lock of its own: a proof may take hours, and
# whether the archive works must not wait for it.
ALONE = ("prove", "check", "td-prove")
TDENGINE = "td-"  # jobs of TDengine's backups, which wait for one another and not for PostgreSQL's
COMMANDS = {
    "full": ("agents.postgresql.backup", "full"),
    "diff": ("agents.postgresql.backup", "diff"),
    "incr": ("agents.postgresql.backup", "incr"),
    "verify": ("agents.postgresql.verify",),
    "offsite": ("agents.offsite.copies", "copy"),
    "prove": ("agents.postgresql.prove",),
    "check": ("agents.postgresql.check",),
    "expire": ("agents.postgresql.expire", "apply"),
    "td-full": ("agents.tdengine.backup.take", "full"),
    "td-incr": ("agents.tdengine.backup.take", "incr"),
    "td-verify": ("agents.tdengine.backup.verify", "--all"),
    "td-prove": ("agents.tdengine.backup.prove",),
    "td-expire": ("agents.tdengine.backup.expire", "apply"),
}
LABEL_OPTIONS = {"prove": "--set", "td-prove": "--label", "td-verify": "--label"}  # how a job is told which backup
WANTED = {"td-incr": ("agents.tdengine.backup.cover", "wanted")}  # who says, as JSON, why a job must not wait
_ASKED_S = 60.0
# cron starts a job within a minute of its time; what comes much later comes by a clock in another zone.
PUNCTUAL_S = 300.0
SETTLES_S, _LOOKS_EVERY_S = 90.0, 5.0  # chrony sets a clock that is far off once it has heard of its servers
CATCH_UP_ORDER = (
    "full", "diff", "incr", "td-full", "td-incr", "check", "prove", "td-prove", "verify", "td-verify", "expire",
    "td-expire", "offsite",
)  # fmt: skip


def lock_path(settings: Settings, job: str) -> Path:
    if job in ALONE:
        return settings.states / f"{job}.lock"
    return settings.states / "td.lock" if job.startswith(TDENGINE) else settings.repository_lock


def execute(settings: Settings, job: str, wait_s: float, further: Sequence[str] = ()) -> State:
    """Run one job now, under its lock, and note what became of it. Raises Held, OutOfStep, BadConfig."""
    in_step.require(settings, job)
    limits = settings.job(job)
    states = jobs_state.arm(settings)
    state, limit_s = states[job], jobs_state.limit(limits, states)
    lock, owner = Lock(lock_path(settings, job)), Owner.me(job)
    lock.acquire(owner, wait_s)
    try:
        started, log = in_step.now(settings), child.new_log(job, settings.keep_logs, settings.logs)
        command = [sys.executable, "-m", *COMMANDS[job], *further]
        env = {VARIABLE: str(settings.path)}
        ended = child.run(command, env, log, limit_s, lock.handle, lambda: lock.beat(owner))
        state = state.ended(ended.outcome, started, ended.seconds, ended.sentence, str(log), in_step.now(settings))
        jobs_state.write(state, settings.states)
        return state
    finally:
        lock.release()


def scheduled(settings: Settings, job: str) -> State | None:
    """What cron asks for; None when it is not this job's time in UTC, which catch-up puts right."""
    limits, now = settings.job(job), time.time()
    at = cron.previous(limits.schedule, now)  # by the same clock as cron's own
    if at is None or now - at > PUNCTUAL_S:
        print(f"{job} is not due now: cron's clock is not UTC. Restart cron.", file=sys.stderr)
        return None
    time.sleep(random.uniform(0, limits.jitter_s))  # noqa: S311 - spreads load, keeps no secret
    return _or_skipped(settings, job, settings.wait_s)


def _or_skipped(settings: Settings, job: str, wait_s: float) -> State:
    """A run that nobody watches: one that fails, or waits for a clock, raises the alarm; one that finds no room waits
    for the next time.
    """
    started, began = in_step.now(settings), time.monotonic()
    try:
        state = execute(settings, job, wait_s)
        if state.outcome != "passed":
            raise_alarm(settings, [f"{job} {state.outcome}: {state.sentence}"])
        return state
    except (Held, OutOfStep) as why:
        if isinstance(why, OutOfStep):
            raise_alarm(settings, [str(why)])
        now, seconds = in_step.now(settings), time.monotonic() - began
        state = jobs_state.arm(settings)[job].ended("skipped", started, seconds, str(why), "", now)
        jobs_state.write(state, settings.states)
        return state


def catch_up(settings: Settings) -> list[State]:
    """Run what was missed, most important first. The alarm follows in every case."""
    lock = Lock(settings.states / "catch-up.lock")
    done: list[State] = []
    try:
        lock.acquire(Owner.me("catch-up"), 0)
        clock = _settled(settings)
        for job in (name for name in CATCH_UP_ORDER if name in settings.jobs and not in_step.why_not(clock, name)):
            if jobs_state.due(settings.jobs[job], jobs_state.arm(settings), in_step.now(settings)):
                done.append(_or_skipped(settings, job, 0))
    except Held as held:
        print(held, file=sys.stderr)
    finally:
        lock.release()
        missing = late(settings, jobs_state.arm(settings), in_step.now(settings))
        hindered = promotion.hindered(settings.database, settings.max_promotion_delay_s)
        raise_alarm(settings, [*(one.sentence for one in missing), *hindered])
    return done


def wanted(settings: Settings) -> list[State]:
    """Run what somebody wants before its time. Who cannot be asked wants nothing: what is late is told hourly."""
    done = []
    for job, program in WANTED.items():
        if job not in settings.jobs:
            continue
        command = [sys.executable, "-m", *program]
        try:
            asked = subprocess.run(command, capture_output=True, text=True, timeout=_ASKED_S, check=False)
            why = json.loads(asked.stdout)["wanted"] if not asked.returncode else ""
        except (subprocess.TimeoutExpired, ValueError, KeyError):
            why = ""
        if why:
            print(f"{job} is wanted: {why}", file=sys.stderr, flush=True)
            done.append(_or_skipped(settings, job, 0))
    return done


def _settled(settings: Settings) -> Clock:
    """This host's clock, given a while to be set: at a boot it may not have been yet."""
    ends = time.monotonic() + SETTLES_S
    while True:
        clock = in_step.look(settings)
        if clock.in_step is not False or time.monotonic() > ends:
            return clock
        time.sleep(_LOOKS_EVERY_S)


def status(settings: Settings) -> dict[str, object]:
    """Every job with its schedule, state, holder of its lock and what is late about it."""
    if in_step.doubt(settings):
        in_step.look(settings)  # it may be in step again, or another clock be the wrong one
    now, states = in_step.now(settings), jobs_state.arm(settings)
    return {
        "now": now,
        "jobs": [_entry(settings, name, states, now) for name in settings.jobs],
        "late": [asdict(one) for one in late(settings, states, now)],
        "offsite": settings.offsite.host if settings.offsite else None,
        "left_out": _left_out(settings),
        "untold": [
            {"line": one.line, "age_s": max(0.0, time.time() - one.at)} for one in untold.read(settings.states)
        ],
    }


def _left_out(settings: Settings) -> dict[str, str]:
    """What TDengine's newest backup has nothing of, and why."""
    try:
        return {str(name): str(why) for name, why in json.loads(settings.td_left_out.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        return {"(nobody knows what)": f"{settings.td_left_out} cannot be read: {error!r}"}


def _entry(settings: Settings, name: str, states: dict[str, State], now: float) -> dict[str, object]:
    held = holder(lock_path(settings, name))
    return {
        **asdict(states[name]),
        "schedule": settings.jobs[name].schedule,
        "scheduled_at": cron.previous(settings.jobs[name].schedule, now),
        "running_since": held.since if held and held.job == name else None,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    settings = load(options.config)
    if options.command == "run":
        return _run(settings, options)
    if options.command == "tell":
        why = raise_alarm(settings, [])
        answer: object = {"untold": len(untold.read(settings.states)), "why": why}
    elif options.command == "catch-up":
        answer = {"ran": [asdict(state) for state in catch_up(settings)]}
    elif options.command == "wanted":
        answer = {"ran": [asdict(state) for state in wanted(settings)]}
    elif options.command == "status":
        answer = status(settings)
    else:
        answer = {"armed": sorted(jobs_state.arm(settings))}
    print(json.dumps(answer), flush=True)
    return 0


def _run(settings: Settings, options: argparse.Namespace) -> int:
    job = options.job
    if options.scheduled:
        state = scheduled(settings, job)
    else:
        wait_s = options.wait if options.wait >= 0 else settings.job(job).limit_s
        further = ["--io-timeout", f"{options.io_timeout:g}"] if options.io_timeout else []
        further += [_label_option(job), options.set] if options.set else []
        state = execute(settings, job, wait_s, further)
    if state is None:
        return 0
    print(json.dumps(asdict(state)), flush=True)
    if state.outcome in ("failed", "timeout"):
        hint = child.last_hint(Path(state.log))
        where = f"{state.log} has all of its output."
        raise AgentError(f"{job} {state.outcome}: {state.sentence}", f"{hint} {where}" if hint else where)
    return 3 if state.outcome == "skipped" else 0


def _label_option(job: str) -> str:
    if job not in LABEL_OPTIONS:
        raise BadConfig(f"{job} is of no backup in particular.", f"--set goes with {', '.join(LABEL_OPTIONS)}.")
    return LABEL_OPTIONS[job]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agents.jobs.runner", description="The backup host's scheduled jobs.")
    parser.add_argument("--config", type=Path, default=PATH)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="run one job under its lock")
    running.add_argument("job", choices=sorted(COMMANDS))
    how = running.add_mutually_exclusive_group()
    how.add_argument("--wait", type=float, nargs="?", const=-1.0, default=0.0, help="for the lock (default: its limit)")
    how.add_argument("--scheduled", action="store_true", help="as cron does")
    running.add_argument("--set", default="", help="with prove, td-prove, td-verify: this backup")
    running.add_argument("--io-timeout", type=float, default=0.0, help="seconds for a host that is silent")
    commands.add_parser("catch-up", help="run what was missed, then raise the alarm for what is late")
    commands.add_parser("tell", help="have the alarm command told what it has not taken yet")
    commands.add_parser("wanted", help="run what somebody wants before its time")
    commands.add_parser("status", help="every job as JSON")
    commands.add_parser("arm", help="begin to count")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
