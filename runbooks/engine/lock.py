"""One procedure at a time per estate: a lock on this machine, and one on the backup host where reachable."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError

from inventories.errors import BadInput, DrError, Refused
from runbooks.engine import process

_BEAT_EVERY = 10  # seconds: a fast recovery must not spend its time on heartbeats


class Owner(BaseModel):
    """Who holds a lock. Times are UTC; the heartbeat is renewed between steps."""

    model_config = ConfigDict(frozen=True)

    owner: str  # user@machine
    boot: str
    pid: int
    process_started: str
    procedure: str
    run_dir: Path
    resumes: bool
    since: datetime
    heartbeat: datetime

    @property
    def here(self) -> bool:
        """Held from this machine (whoever the user), where the process table can be asked."""
        return self.owner.rpartition("@")[2] == process.user_at_machine().rpartition("@")[2]

    @property
    def alive(self) -> bool:
        """The very process is still running; only meaningful `here`."""
        return self.boot == process.boot_id() and self.process_started == process.started_at(self.pid) != ""

    def is_process(self, other: Owner) -> bool:
        """Both are the same process."""
        return (self.owner, self.boot, self.pid, self.process_started) == (
            other.owner,
            other.boot,
            other.pid,
            other.process_started,
        )


class RemoteLock(Protocol):
    """A second lock where operators on other machines meet, for example on the backup host.

    `acquire` is given an Owner as JSON and raises Refused when another holds it (`takeover` decides). Any
    other DrError (unreachable, its disk full) is a warning only: recovery must not depend on the backup host.
    `heartbeat` may do nothing.
    """

    def acquire(self, owner_json: str) -> None: ...

    def heartbeat(self, owner_json: str) -> None: ...

    def release(self) -> None: ...


def state_dir() -> Path:
    """DR_STATE, or mystocks-dr in the user's XDG state folder."""
    chosen = os.environ.get("DR_STATE")
    default = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state") / "mystocks-dr"
    return (Path(chosen) if chosen else default).expanduser()


def lock_path(estate: str) -> Path:
    """The lock file of an estate."""
    return state_dir() / "locks" / f"{quote(estate, safe='')}.json"


def this_process(procedure: str, run_dir: Path, *, resumes: bool) -> Owner:
    """This process as an owner, from now on."""
    now = datetime.now(UTC)
    return Owner(
        owner=process.user_at_machine(),
        boot=process.boot_id(),
        pid=os.getpid(),
        process_started=process.started_at(os.getpid()),
        procedure=procedure,
        run_dir=run_dir.resolve(),
        resumes=resumes,
        since=now,
        heartbeat=now,
    )


def takeover(holder: Owner, newcomer: Owner) -> str:
    """Why `newcomer` may take the lock from `holder`, as a sentence; raises Refused when it may not.

    A holder that died on this machine is followed. One on another machine cannot be asked: only the same run,
    resumed, follows it.
    """
    age = _age(holder.since)
    if holder.here and not holder.alive:
        return (
            f"the lock of {holder.procedure} is taken over: its process {holder.pid} died, started {age} ago"
        )
    if not holder.here and newcomer.resumes and holder.run_dir == newcomer.run_dir:
        return f"the lock of this run, held by {holder.owner} for {age}, is taken over"
    raise Refused(
        f"{holder.owner} (process {holder.pid}) has been running {holder.procedure} on this estate "
        f"for {age}; last sign of life {_age(holder.heartbeat)} ago",
        "let it end, or interrupt it and repeat with --resume; its journal is in " + str(holder.run_dir),
    )


@dataclass
class Held:
    """The locks of one run while it holds them."""

    path: Path
    owner: Owner
    remote: RemoteLock | None
    say: Callable[[str], None]
    deaf: bool = False  # the remote lock did not answer: no step waits for it again

    def beat(self) -> None:
        """Renew a heartbeat that is due; a failure is said, since a running recovery must not end for it."""
        if (datetime.now(UTC) - self.owner.heartbeat).total_seconds() < _BEAT_EVERY:
            return
        self.owner = self.owner.model_copy(update={"heartbeat": datetime.now(UTC)})
        try:
            with _guard(self.path):
                _write(self.path, self.owner)
            if self.remote and not self.deaf:
                self.remote.heartbeat(self.owner.model_dump_json())
        except (DrError, OSError) as error:
            self.deaf = self.deaf or isinstance(error, DrError)
            self.say(f"the lock's heartbeat could not be renewed: {error}")

    def release(self) -> None:
        """Let go of both; a remote lock that cannot be reached is said and left to be taken over."""
        try:
            if self.remote:
                self.remote.release()
        except DrError as error:
            self.say(f"the remote lock could not be released: {error}")
        finally:
            with suppress(OSError, DrError), _guard(self.path):
                holder = _read(self.path)
                if holder and holder.is_process(self.owner):
                    self.path.unlink()


@contextmanager
def held(
    estate: str,
    owner: Owner,
    say: Callable[[str], None],
    remote: RemoteLock | None = None,
) -> Iterator[Held]:
    """Hold the estate's lock, and the remote one if reachable. Raises Refused while somebody else does."""
    path = lock_path(estate)
    _acquire(path, owner, say)
    locks = Held(path, owner, None, say)
    try:
        locks.remote = _acquire_remote(remote, owner, say)
        yield locks
    finally:
        locks.release()


def _acquire(path: Path, owner: Owner, say: Callable[[str], None]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _guard(path):
            holder = _read(path)
            if holder:
                say(takeover(holder, owner))
            _write(path, owner)
    except OSError as error:
        raise BadInput(
            f"cannot take the lock {path}: {error.strerror or error}",
            "set DR_STATE to a folder you may write to",
        ) from error


def _acquire_remote(remote: RemoteLock | None, owner: Owner, say: Callable[[str], None]) -> RemoteLock | None:
    if remote is None:
        return None
    try:
        remote.acquire(owner.model_dump_json())
    except Refused:
        raise
    except DrError as error:
        say(f"WARNING: the remote lock is not held, an operator elsewhere could start one too: {error}")
        return None
    return remote


@contextmanager
def _guard(path: Path) -> Iterator[None]:
    """Keep look and take together: two newcomers must not both take over the lock of the same dead owner."""
    with path.with_suffix(".guard").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield


def _read(path: Path) -> Owner | None:
    try:
        return Owner.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise Refused(
            f"the lock {path} cannot be read, so its owner is unknown",
            "make sure that no procedure runs, then remove the file",
        ) from error


def _write(path: Path, owner: Owner) -> None:
    """Whole or not at all, for readers as for a power cut."""
    fresh = path.with_suffix(".new")
    with fresh.open("w") as file:
        file.write(owner.model_dump_json())
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _age(since: datetime) -> str:
    seconds = max(0, round((datetime.now(UTC) - since).total_seconds()))
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
