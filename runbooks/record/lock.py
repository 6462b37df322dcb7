"""Who is acting: the estate's lock as a part of the record, where operators on different machines meet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from inventories.errors import Refused
from runbooks.engine.lock import STOPPED, LockLost, Owner, takeover
from runbooks.record.arbiter import Arbiter, Conflict

Json = dict[str, Any]


class RecordLock:
    """Implements runbooks.engine.lock.RemoteLock. `anew` also takes it where the document cannot be believed."""

    def __init__(self, arbiter: Arbiter, say: Callable[[str], None], *, anew: bool = False) -> None:
        self._arbiter, self._say, self._anew = arbiter, say, anew
        self.taken = False

    def acquire(self, owner: Owner) -> None:
        """Take it, or take it over from an owner that `takeover` declares gone. Raises Refused, or what a host may."""
        take(self._arbiter, owner, self._say, anew=self._anew)
        self.taken = True

    def heartbeat(self, owner: Owner) -> None:
        """Raises LockLost when somebody else acts now. One that was never had is taken as soon as it can be."""
        try:
            if self.taken:
                self._arbiter.change("beat", {"token": owner.token})
            else:
                self.acquire(owner)
        except Refused as error:
            raise lost(error) from error

    def release(self, owner: Owner) -> None:
        """Nothing happens to anybody else's. Raises what a host may."""
        try:
            self._arbiter.change("free", {"token": owner.token})
        except Conflict:
            return


def lost(refused: Refused) -> LockLost:
    """What a run is told that finds its lock not held any more."""
    holder = refused.holder if isinstance(refused, Conflict) else None
    who = f"{holder['owner']} acts now, running {holder['procedure']}" if holder else str(refused)
    return LockLost(f"the lock of this run was broken: {who}", STOPPED)


def take(arbiter: Arbiter, owner: Owner, say: Callable[[str], None], *, anew: bool = False) -> None:
    """The program on the arbiter's host compares and writes; only whether a holder lives is judged here.

    Raises LockLost where this very holding of it has ended already.
    """
    request: Json = {"acting": acting(owner), "anew": anew}
    try:
        arbiter.change("take", request)
    except Conflict as held:
        if held.kind == "ended":
            raise lost(held) from held
        if held.kind != "held" or held.holder is None:
            raise
        say(takeover(holder(held.holder), owner))
        # Another newcomer may have judged the same: only one of us finds the dead holder's token still there.
        arbiter.change("take", {**request, "instead_of": held.holder["token"]})


def acting(owner: Owner) -> Json:
    return {
        "token": owner.token, "machine_id": owner.machine, "boot_id": owner.boot, "pid_space": owner.pid_space,
        "pid": owner.pid, "started": owner.process_started, "owner": owner.owner, "procedure": owner.procedure,
        "run_dir": str(owner.run_dir), "resumes": owner.resumes, "run": owner.run,
        "touched": owner.touched,
    }  # fmt: skip


def holder(said: Json) -> Owner:
    """Raises Refused when it names nobody."""
    try:
        return Owner.model_validate({
            "token": said["token"], "machine": said["machine_id"], "boot": said["boot_id"],
            "pid_space": said["pid_space"], "pid": said["pid"], "process_started": said["started"],
            "owner": said["owner"], "procedure": said["procedure"], "run_dir": said["run_dir"],
            "resumes": said.get("resumes", False), "run": said.get("run", ""), "since": said["since"],
            "heartbeat": said["heartbeat"],
        })  # fmt: skip
    except (KeyError, ValidationError) as error:
        raise Refused(
            "somebody is acting on this estate, and the record does not say who in words of this version",
            "./dr lock.status shows it; ./dr lock.break ends it",
        ) from error
