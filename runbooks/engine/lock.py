"""One procedure at a time per estate: a lock on this machine, and one in the estate record where it can be reached.

Who holds it is told by machine, boot, process and token, never by a host's name. A thread leaves signs of life while
a step takes long. A run whose lock was broken stops before its next step, and never takes it again by itself.
"""

from __future__ import annotations

import fcntl
import math
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError

from inventories.errors import BadInput, DrError, Refused, TargetFailed
from runbooks.engine import process

BEAT_EVERY_S = 10.0
_PATIENCE_S = 6.0  # for a sign of life that is under way
_SURE_S = 1.5  # how long a lock that was seen held counts as held: whoever breaks it needs longer to begin a step
_ANSWER_S = 1.0  # which a step waits at most to hear whether it is held still
_OTHER = "./dr lock.status shows who is acting"
STOPPED = f"{_OTHER}; --resume goes on where nobody has acted since, ./dr runbook.abandon takes back what was begun"


class Owner(BaseModel):
    """Who holds a lock. Times are UTC and for people; `token` tells this holding from every other."""

    model_config = ConfigDict(frozen=True)

    token: str
    owner: str  # user@machine, for people
    machine: str
    boot: str
    pid_space: str
    pid: int
    process_started: str
    procedure: str
    run_dir: Path
    resumes: bool
    since: datetime
    heartbeat: datetime
    run: str = ""  # of the run it is for, which every holding of that run shares
    touched: bool = False  # that run has changed something before

    @property
    def same_machine(self) -> bool:
        """Held from this machine, in this boot or an earlier one."""
        return bool(self.machine) and self.machine == process.machine_id()

    @property
    def here(self) -> bool:
        """Held from this machine, in this boot, where the process table can be asked."""
        mine = (process.machine_id(), process.boot_id(), process.pid_space())
        return any(mine) and (self.machine, self.boot, self.pid_space) == mine

    @property
    def alive(self) -> bool:
        """The very process is still running; only meaningful `here`."""
        return self.process_started == process.started_at(self.pid) != ""


class NoKeeper(TargetFailed):
    """Where the remote lock is to be kept there is nothing yet that keeps it: so begins every estate."""


class LockLost(Refused):
    """Somebody broke this run's lock: it ends before its next step."""


class RemoteLock(Protocol):
    """A second lock where operators on other machines meet: the estate record.

    `acquire` raises Refused when another holds it (`takeover` decides). Any other DrError (unreachable, its disk full)
    is a warning only: what may not go on without it says so itself. `heartbeat` raises LockLost when it was broken.
    `taken`: it was held once, so that it is not taken again by the same run.
    """

    taken: bool

    def acquire(self, owner: Owner) -> None: ...

    def heartbeat(self, owner: Owner) -> None: ...

    def release(self, owner: Owner) -> None: ...


def state_dir() -> Path:
    """DR_STATE, or mystocks-dr in the user's XDG state folder."""
    chosen = os.environ.get("DR_STATE")
    default = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state") / "mystocks-dr"
    return (Path(chosen) if chosen else default).expanduser()


def lock_path(estate: str) -> Path:
    """The lock file of an estate."""
    return state_dir() / "locks" / f"{quote(estate, safe='')}.json"


def this_process(procedure: str, run_dir: Path, *, resumes: bool, run: str = "", touched: bool = False) -> Owner:
    """This process as an owner, from now on; of the run that it resumes, or of one that begins."""
    now = datetime.now(UTC)
    token = secrets.token_hex(8)
    return Owner(
        token=token,
        run=run or token,
        touched=touched,
        owner=process.user_at_machine(),
        machine=process.machine_id(),
        boot=process.boot_id(),
        pid_space=process.pid_space(),
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

    A holder that died on this machine, in this boot, is followed, and so is this very run when it is resumed after a
    boot of its machine. One on another machine cannot be asked: its lock is broken by a person, or not at all.
    """
    age = _age(holder.since)
    if holder.here and not holder.alive:
        return (
            f"the lock of {holder.procedure} is taken over: its process {holder.pid} died, started {age} ago"
        )
    rebooted = holder.same_machine and holder.boot != process.boot_id()
    if rebooted and newcomer.resumes and holder.run_dir == newcomer.run_dir:
        return f"the lock of this run, held by {holder.owner} for {age}, is taken over"
    raise Refused(
        f"{holder.owner} (process {holder.pid}) has been running {holder.procedure} on this estate "
        f"for {age}; last sign of life {_age(holder.heartbeat)} ago",
        f"let it end, or interrupt it and repeat with --resume; its journal is in {holder.run_dir}; "
        "./dr lock.break ends the lock of a machine that is gone",
    )


@dataclass
class Held:
    """The locks of one run while it holds them. `lost`: why it holds them no more."""

    path: Path
    owner: Owner
    remote: RemoteLock | None
    say: Callable[[str], None]
    every: float = BEAT_EVERY_S
    deaf: bool = False  # the remote lock did not answer, which is said once
    lost: str = ""
    _refused: DrError | None = None
    _asked: threading.Event = field(default_factory=threading.Event)
    _wake: threading.Event = field(default_factory=threading.Event)
    _answered: threading.Event = field(default_factory=threading.Event)
    _end: threading.Event = field(default_factory=threading.Event)
    _seen_at: float = -math.inf  # when the remote lock was last known to be held, on the monotonic clock
    _told: list[str] = field(default_factory=list)
    _beats: threading.Thread | None = None

    def require(self, *, observes: bool = False) -> None:
        """Before a step: say what the signs of life met with.

        A step that only `observes` does not wait for the remote lock, which is being taken meanwhile; every other does,
        and is told whether it is held still. Raises Refused when somebody else holds it, LockLost when it was broken.
        """
        if not observes:
            self._asked.wait()
            self._ask()
        self._look_here()
        while self._told:
            self.say(self._told.pop(0))
        if self._refused and self._asked.is_set():
            raise self._refused
        if self.lost:
            raise LockLost(self.lost, STOPPED)

    @property
    def had(self) -> bool:
        """The remote lock was held by this run, so that it has been broken where it is not any more."""
        return self.remote is not None and self.remote.taken

    def seen(self) -> None:
        """The remote lock is held: who keeps it has just accepted what only its holder may do."""
        self._seen_at = time.monotonic()
        if self.remote:
            self.remote.taken = True

    def _ask(self) -> None:
        """A sign of life now, where the last one is older than it takes to break a lock and to act beside it."""
        if self.remote is None or self.deaf or self.lost or time.monotonic() - self._seen_at < _SURE_S:
            return
        self._answered.clear()
        self._wake.set()
        if not self._answered.wait(_ANSWER_S):
            self.deaf = True  # no step waits for it again before it has answered

    def _look_here(self) -> None:
        with suppress(OSError, DrError), _guard(self.path):
            self._require_mine()

    def _require_mine(self) -> bool:
        holder = _read(self.path)
        if holder is None or holder.token != self.owner.token:
            self.lost = self.lost or f"the lock of this run was broken on this machine: {self.path}"
            return False
        return True

    def begin(self) -> None:
        """Take the remote lock, and leave signs of life from then on, also while a step takes long."""
        self._beats = threading.Thread(target=self._go_on, name="lock", daemon=True)
        self._beats.start()

    def _go_on(self) -> None:
        try:
            self._acquire()
        finally:
            self._asked.set()
        while not self._end.is_set():
            self._wake.wait(self.every)
            self._wake.clear()
            if not self._end.is_set():
                self.beat()
                self._answered.set()

    def _acquire(self) -> None:
        if self.remote is None:
            return
        try:
            self.remote.acquire(self.owner)
            self._seen_at = time.monotonic()
        except Refused as error:
            self.remote, self._refused = None, error  # another holds it
        except NoKeeper as error:
            self.deaf = True
            self._told.append(f"{error}: until it has, an operator elsewhere could start a run beside this one")
        except DrError as error:
            self.deaf = True
            who = "an operator elsewhere could start one too"
            self._told.append(f"WARNING: the estate's lock is not held, {who}: {error}")
        except Exception as error:  # a defect of ours must not let a run go on as if it held the lock
            self._refused = Refused(f"the estate's lock could not be taken: {error!r}", _OTHER)

    def beat(self) -> None:
        """One sign of life; never raises, since a running recovery must not end for it."""
        self.owner = self.owner.model_copy(update={"heartbeat": datetime.now(UTC)})
        try:
            with _guard(self.path):
                if not self._require_mine():
                    return
                _write(self.path, self.owner)
            if self.remote:
                self.remote.heartbeat(self.owner)
                self._seen_at = time.monotonic()
            self.deaf = False
        except LockLost as error:
            self.lost = str(error)
        except (DrError, OSError) as error:
            if not self.deaf:
                self._told.append(f"WARNING: the lock's heartbeat could not be renewed: {error}")
            self.deaf = True

    def release(self) -> None:
        """Let go of both, where they are still ours; what cannot be reached is said and left to be broken."""
        self._end.set()
        self._wake.set()
        if self._beats:
            self._beats.join(timeout=_PATIENCE_S)
        try:
            if self.remote:
                self.remote.release(self.owner)
        except DrError as error:
            if not self.lost and not self.deaf:
                self.say(f"WARNING: the estate's lock could not be released: {error}")
        finally:
            with suppress(OSError, DrError), _guard(self.path):
                holder = _read(self.path)
                if holder and holder.token == self.owner.token:
                    self.path.unlink()


@contextmanager
def held(
    estate: str,
    owner: Owner,
    say: Callable[[str], None],
    remote: RemoteLock | None = None,
    every: float = BEAT_EVERY_S,
) -> Iterator[Held]:
    """Hold the estate's lock, and the remote one if reachable. Raises Refused while somebody here does.

    Somebody elsewhere is refused by `require`, which every step that changes something is preceded by.
    """
    path = lock_path(estate)
    _acquire(path, owner, say)
    # Also when it does not answer: it may have taken the lock and said so too late, or come back meanwhile.
    locks = Held(path, owner, remote, say, every)
    try:
        locks.begin()
        yield locks
    finally:
        locks.release()


def break_local(estate: str, token: str) -> bool:
    """Remove this machine's lock file where it belongs to that holding."""
    path = lock_path(estate)
    if not path.exists():
        return False
    with _guard(path):
        holder = _read(path)
        if holder and holder.token == token:
            path.unlink()
            return True
    return False


def left_behind(estate: str, *, yes: bool) -> Owner | None:
    """Whom this machine's lock file names although he is gone: his process died, or the machine was booted since.

    With `yes` also one that cannot be asked from here; one that is running never.
    """
    holder = _read(lock_path(estate))
    if holder is None or (holder.here and holder.alive):
        return None
    gone = holder.here or (holder.same_machine and holder.boot != process.boot_id())
    return holder if gone or yes else None


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
