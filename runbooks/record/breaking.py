"""Break the estate's lock, with a person's word and a journal of it."""

from __future__ import annotations

from pathlib import Path

from inventories.errors import Refused
from runbooks.engine.journal import Event, Journal
from runbooks.engine.lock import break_local
from runbooks.engine.masking import Mask
from runbooks.engine.process import user_at_machine
from runbooks.hosts import Estate
from runbooks.record.arbiter import FileOn


def break_lock(estate: Estate, run_dir: Path, *, yes: bool) -> str:
    """What was broken, as a sentence. Raises Refused while its holder shows signs of life, and when nobody holds it."""
    arbiter = FileOn(estate.backup)
    holder = arbiter.show()["acting"]
    if not holder:
        run_dir.rmdir()
        raise Refused("nobody is acting on this estate, so there is no lock to break", "./dr lock.status")
    with Journal(run_dir, Mask()) as journal:
        journal.write(
            Event.OPENED, procedure="lock-break", estate=estate.name, steps=["break"], options={"yes": yes},
            owner=user_at_machine(), holder=holder,
        )  # fmt: skip
        try:
            arbiter.change("break", {"token": holder["token"], "by": user_at_machine(), "yes": yes})
        except Refused as error:
            journal.write(Event.FINISHED, outcome="refused", error=str(error), hint=error.hint)
            raise
        break_local(estate.name, holder["token"])
        journal.write(Event.FINISHED, outcome="passed", error="", hint="")
    return f"The lock of {holder['owner']}, running {holder['procedure']} since {holder['since']}, is broken."
