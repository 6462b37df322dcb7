"""Kill the operator's process (SIGKILL) at a random moment of a runbook, and go on with it as an operator would."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TypeVar

from pydantic import BaseModel

from inventories.errors import ExitCode, TargetFailed
from runbooks.engine import journal
from runbooks.engine.context import Context, Options
from runbooks.engine.history import History, read_history, reload_state
from runbooks.engine.journal import Event
from runbooks.engine.outcome import Outcome
from runbooks.engine.procedure import Procedure
from runbooks.engine.result import RunResult
from runbooks.engine.rundir import REPOSITORY
from runbooks.hosts import Estate
from runbooks.run import execute

S = TypeVar("S", bound=BaseModel)
# After the step that was drawn has begun. Most steps of a failover are over sooner; then it falls into a later one.
WITHIN_S = 0.6
LOOKS_EVERY_S = 0.005


def run(
    procedure: Procedure[S], estate: Estate, options: Options, say: Callable[[str], None], runs: Path,
    chance: random.Random,
) -> RunResult[S]:  # fmt: skip
    """The runbook in a process of its own that is killed, then resumed here; afresh when it had recorded nothing.

    Raises TargetFailed when it ended by itself without having passed.
    """
    began = time.monotonic()
    before = set(runs.glob("*")) if runs.exists() else set()
    nr, after = chance.randint(1, len(procedure.steps)), chance.uniform(0, WITHIN_S)
    code = _killed(procedure, options, say, runs, lambda: _begun(procedure.name, runs, before, nr), after)
    past = _history(procedure.name, runs, before)
    if code is not None:
        if past is None or past.outcome is not Outcome.PASSED:
            raise TargetFailed(f"{procedure.name} ended with {code} before it could be killed", f"see {runs}")
        say(f"{procedure.name} was over before it could be killed")
        context = Context(estate=estate, options=options, run_dir=past.run_dir, say=say)
        return _passed(procedure, context, past, began)
    say(f"WARNING: the operator's process was killed {_where(past)}")
    if past is None:
        return execute(procedure, estate, options, say, runs=runs)
    return execute(procedure, estate, options, say, resume=True, runs=runs)


def _killed(
    procedure: Procedure[Any], options: Options, say: Callable[[str], None], runs: Path, due: Callable[[], bool],
    after: float,
) -> int | None:  # fmt: skip
    """None when it was killed, else the code that it ended with by itself."""
    process = subprocess.Popen(
        [sys.executable, "-m", "doors.main", procedure.name, *words(options)], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=REPOSITORY,
        env={**os.environ, "DR_RUNS": str(runs)},
    )  # fmt: skip
    assert process.stdout is not None
    heard = threading.Thread(target=_hear, args=(process.stdout, say), daemon=True)
    heard.start()
    while not due():
        with suppress(subprocess.TimeoutExpired):
            process.wait(LOOKS_EVERY_S)
            break
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None
    heard.join(1.0)
    return process.returncode


def words(options: Options) -> tuple[str, ...]:
    """What an operator types to say the same."""
    said = []
    for name, value in options:
        if value != type(options).model_fields[name].default:
            said += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return tuple(said)


def _hear(pipe: IO[str], say: Callable[[str], None]) -> None:
    for line in pipe:
        say(line.rstrip())


def _folder(name: str, runs: Path, before: set[Path]) -> Path | None:
    new = [path for path in runs.glob(f"*-{name}*") if path not in before and (path / journal.FILE_NAME).exists()]
    return max(new, default=None)


def _history(name: str, runs: Path, before: set[Path]) -> History | None:
    folder = _folder(name, runs, before)
    return read_history(folder) if folder else None


def _begun(name: str, runs: Path, before: set[Path], nr: int) -> bool:
    """Whether the step of this number has begun."""
    folder = _folder(name, runs, before)
    if folder is None:
        return False
    text = (folder / journal.FILE_NAME).read_text(encoding="utf-8", errors="replace")
    return text.count(f'"{Event.STEP_STARTED}"') >= nr


def _where(past: History | None) -> str:
    if past is None:
        return "before it had recorded anything"
    left = past.steps[len(past.done) :]
    return f"in step {left[0]}" if left else "after its last step"


def _passed(
    procedure: Procedure[S], context: Context[Any, Any], past: History, began: float
) -> RunResult[S]:
    """What a run that was over left, read back."""
    return RunResult(
        outcome=Outcome.PASSED, exit_code=ExitCode.PASSED, steps=past.done,
        state=reload_state(past, procedure.initial(context)), phases=(), run_dir=past.run_dir, started=began,
        seconds=time.monotonic() - began,
    )  # fmt: skip
