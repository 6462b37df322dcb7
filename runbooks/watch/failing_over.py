"""Run the failover by itself: the same runbook with the same gates, and never a word of acceptance.

    python -m runbooks.watch.failing_over

The process that runbooks/watch/deputy.py begins. Its input: the estate and the primary's name, then a line for each
thing to do, `ready` or `act`. It answers `act` in lines of JSON; where its input ends, so does it, and a failover that
is under way is interrupted.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from inventories.errors import DrError
from runbooks import begun
from runbooks.engine.context import Context
from runbooks.engine.outcome import Outcome, StepOutcome, exit_code_of, outcome_of
from runbooks.engine.result import RunResult
from runbooks.engine.signals import interruptible
from runbooks.executing import execute
from runbooks.hosts import Estate, Host, Run
from runbooks.procedures.postgresql import ahead
from runbooks.procedures.postgresql.failover import FAILOVER, FailoverOptions
from runbooks.record.arbiter import FileOn
from runbooks.watch.deputy import ACT, READY, Deed

OPTIONS = FailoverOptions(yes=True)  # consent to its steps; what a person accepts on top of it nobody accepts here
AFRESH = "./dr failover --yes looks at everything afresh; ./dr runbook.abandon --yes takes back what was begun"
_OBSERVES = frozenset(step.name for step in FAILOVER.steps if step.observes)
_STEP = re.compile(r"\d+/\d+ ([\w-]+): ")  # how a run says that a step begins
Say = Callable[[str], None]


def get_ready(estate: Estate, primary: Host) -> None:
    """Log in and start what a failover will ask first, while patience lasts; nothing is done before its word.

    What is not needed in the end is dropped. Never raises.
    """
    context: Run = Context(estate=estate, options=OPTIONS, run_dir=Path())
    arbiter, standbys = FileOn(estate.backup), [host for host in estate.postgres if host != primary]
    with suppress(DrError), ThreadPoolExecutor(3) as pool:
        for verb in ("take", "swap"):
            pool.submit(arbiter.begin, verb)
        if len(standbys) == 1:  # of several the runbook chooses
            pool.submit(ahead.get_ready, context, primary, standbys[0], ())


class _Heard:
    """Passes on what a run says; `touched`: it has begun steps, by name, that change something."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self.touched: list[str] = []

    def __call__(self, sentence: str) -> None:
        begins = _STEP.match(sentence)
        if begins and begins[1] not in _OBSERVES:
            self.touched.append(begins[1])
        self._say(sentence)


def fail_over(estate: Estate, say: Say, begins: Callable[[], None] = lambda: None) -> Deed:
    """Run it to its end. Never raises: what a signal interrupts has ended so. `begins`: from then on one does."""
    heard = _Heard(say)
    try:
        with interruptible():
            begins()
            result = execute(FAILOVER, estate, OPTIONS, heard)
    except (DrError, OSError) as error:
        code = exit_code_of(error)
        deed = Deed(outcome_of(code), str(error), getattr(error, "hint", ""), bool(heard.touched))
    except KeyboardInterrupt:
        deed = Deed(Outcome.INTERRUPTED, "the failover was interrupted", AFRESH, bool(heard.touched))
    else:
        if result.outcome is Outcome.PASSED:
            passed = f"failover passed: {result.state.primary} is primary, run {result.run_dir.name}"
            return Deed(result.outcome, passed)
        deed = Deed(result.outcome, result.error, result.hint, _touched(heard.touched, result))
    refused = deed.outcome is Outcome.REFUSED and deed.touched
    # Its journal is on this host, and whoever reads this is on another.
    hint = AFRESH if "--resume" in deed.hint else deed.hint
    return Deed(Outcome.FAILED if refused else deed.outcome, deed.says, hint, deed.touched)


def _touched(begun: Sequence[str], result: RunResult[Any]) -> bool:
    """A step that changes something was done, or left half way; a step that refuses has touched nothing."""
    refused = result.steps[-1].name if result.steps and result.steps[-1].outcome is StepOutcome.REFUSED else ""
    return bool(begun) and list(begun) != [refused]


class _Words:
    """Lines to the watch, which may have died: the journal knows what it does not hear."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a step's program prints is no word of ours

    def tell(self, **word: object) -> None:
        with suppress(OSError):
            self._out.write(json.dumps(word) + "\n")
            self._out.flush()


def _ends_with_its_input() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: None)  # it would end this process before its deed is told
    words = _Words()
    estate, name = pickle.load(sys.stdin.buffer)  # noqa: S301 - the watch's own, over a pipe
    primary = estate.host(name)

    def begins() -> None:
        threading.Thread(target=_ends_with_its_input, daemon=True).start()
        words.tell(begins=True)

    def ready() -> None:
        threading.Thread(target=get_ready, args=(estate, primary), name="ready", daemon=True).start()

    ready()
    for line in sys.stdin.buffer:
        if line == READY:
            ready()
        elif line == ACT:
            words.tell(deed=asdict(fail_over(estate, lambda sentence: words.tell(says=sentence), begins)))
            return 0
    begun.drop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
