"""Act on an estate outside a runbook, as deploy does: under its lock, journalled, the record settled afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from inventories.catalog.load import load_recovery
from inventories.errors import Interrupted
from runbooks.engine import lock
from runbooks.engine.journal import Event, Journal
from runbooks.engine.masking import Mask
from runbooks.engine.outcome import exit_code_of, outcome_of
from runbooks.engine.signals import interruptible
from runbooks.hosts import Estate
from runbooks.record.arbiter import FileOn
from runbooks.record.keep import Keeper
from runbooks.record.lock import RecordLock


def while_held(keeper: Keeper, say: Callable[[str], None]) -> Callable[[str], None]:
    """The same voice, for what says each of its operations before it begins: LockLost ends it where it was broken."""

    def told(sentence: str) -> None:
        if keeper.locks:
            keeper.locks.require(observes=True)
        say(sentence)

    return told


@contextmanager
def acting(
    estate: Estate, procedure: str, run_dir: Path, say: Callable[[str], None], *, anew: bool = False
) -> Iterator[Keeper]:
    """Hold the estate's lock; the journal of `run_dir` says when it began and how it ended.

    Raises BadInput for a recovery.yaml that nobody could be asked by, Refused while another acts.
    """
    load_recovery()  # whoever takes the lock beside this could only say that it was not taken
    owner = lock.this_process(procedure, run_dir, resumes=False)
    remote = RecordLock(FileOn(estate.backup), say, anew=anew)
    with interruptible(), lock.held(estate.name, owner, say, remote) as locks, Journal(run_dir, Mask()) as journal:
        journal.write(
            Event.OPENED, procedure=procedure, estate=estate.name, steps=[procedure], options={}, owner=owner.owner,
            pid=owner.pid,
        )  # fmt: skip
        try:
            locks.require()
            yield Keeper(estate, locks.owner, say, locks=locks)
        except BaseException as error:
            outcome = outcome_of(exit_code_of(error))
            journal.write(Event.FINISHED, outcome=outcome.value, error=str(error), hint=getattr(error, "hint", ""))
            if isinstance(error, KeyboardInterrupt):
                raise Interrupted(f"{procedure} was interrupted ({error})", "it may be repeated") from error
            raise
        journal.write(Event.FINISHED, outcome="passed", error="", hint="")


