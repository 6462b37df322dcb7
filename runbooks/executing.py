"""Run one procedure, whichever it is: with its lock, its journal, and an end to what it has begun ahead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from inventories.catalog.load import load_recovery
from runbooks import begun
from runbooks.engine import runner
from runbooks.engine.context import Context, Options
from runbooks.engine.history import open_run
from runbooks.engine.procedure import Procedure
from runbooks.engine.result import RunResult
from runbooks.hosts import Estate
from runbooks.record.arbiter import FileOn
from runbooks.record.lock import RecordLock

S = TypeVar("S", bound=BaseModel)


def execute(
    procedure: Procedure[S],
    estate: Estate,
    options: Options,
    say: Callable[[str], None],
    *,
    resume: bool = False,
    runs: Path | None = None,
) -> RunResult[S]:
    """Run or resume it, holding the estate's lock here and on the backup host. What it has begun ahead ends with it."""
    max_age_s = load_recovery().limits.max_resume_age_h * 3600
    run_dir = open_run(procedure, estate.name, resume=resume, runs=runs, max_age_s=max_age_s)
    context = Context(estate=estate, options=options, run_dir=run_dir, say=say)
    try:
        return runner.run(procedure, context, resume=resume, remote_lock=RecordLock(FileOn(estate.backup), say))
    finally:
        begun.drop()
