"""Break the estate's lock, with a person's word and a journal of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inventories.errors import DrError, Refused, TimedOut, Unreachable
from runbooks.engine.journal import Event, Journal
from runbooks.engine.lock import Owner, break_local, left_behind
from runbooks.engine.masking import Mask
from runbooks.engine.process import user_at_machine
from runbooks.hosts import Estate
from runbooks.record.arbiter import FileOn


def break_lock(estate: Estate, run_dir: Path, *, yes: bool) -> str:
    """What was broken, as a sentence. Raises Refused while its holder shows signs of life, and when nobody holds it.

    A lock file that a dead run left on this machine alone ends too: the arbiter may have been away, or have let go of
    it at the word of somebody elsewhere.
    """
    arbiter = FileOn(estate.backup)
    try:
        holder, left, away = _held(arbiter, left_behind(estate.name, yes=yes))
    except DrError:
        run_dir.rmdir()
        raise
    with Journal(run_dir, Mask()) as journal:
        journal.write(
            Event.OPENED, procedure="lock-break", estate=estate.name, steps=["break"], options={"yes": yes},
            owner=user_at_machine(), holder=holder, left=left.model_dump(mode="json") if left else None,
        )  # fmt: skip
        try:
            if holder:
                arbiter.change("break", {"token": holder["token"], "by": user_at_machine(), "yes": yes})
        except Refused as error:
            journal.write(Event.FINISHED, outcome="refused", error=str(error), hint=error.hint)
            raise
        for token in filter(None, (holder and holder["token"], left and left.token)):
            break_local(estate.name, token)
        journal.write(Event.FINISHED, outcome="passed", error="", hint="")
    if holder:
        return f"The lock of {holder['owner']}, running {holder['procedure']} since {holder['since']}, is broken."
    assert left
    also = f"; {away}, so what it keeps of a lock is left to another ./dr lock.break" if away else ""
    return f"What {left.procedure} of {left.owner} left on this machine is broken{also}."


def _held(arbiter: FileOn, left: Owner | None) -> tuple[dict[str, Any] | None, Owner | None, str]:
    """Who is acting, what is left here, and why the arbiter could not be asked."""
    try:
        holder, away = arbiter.show()["acting"], ""
    except (Unreachable, TimedOut) as error:
        if left is None:
            raise
        return None, left, str(error)
    if not holder and left is None:
        raise Refused("nobody is acting on this estate, so there is no lock to break", "./dr lock.status")
    return holder, left, away
