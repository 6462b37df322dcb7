"""What a backup engine does, so that nothing else knows which one it is: list, restore, verify.

pgBackRest is the first path: encrypted, compressed, with the archive. PostgreSQL's own pg_basebackup is the second, for
the day on which the first one's repository or program is what is broken; see agents/postgresql/native.py.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agents.base.errors import AgentError
from agents.jobs import leases
from agents.jobs.leases import Lease
from agents.postgresql import native, pgbackrest
from agents.postgresql.pgbackrest import Backup, Repository
from agents.postgresql.side import turns
from agents.postgresql.side.place import BadRequest, Place

NAMES = ("pgbackrest", "native")
_LEASE_S = 6 * 3600.0  # while what is being copied must not be let go


@dataclass(frozen=True)
class Speed:
    """`processes` at once, 0 for one a core. `gives_way`: in turns, on a quarter of the cores: production is here."""

    processes: int = 0
    gives_way: bool = False

    @property
    def workers(self) -> int:
        cores = os.cpu_count() or 1
        return self.processes or (max(1, cores // 4) if self.gives_way else cores)


FULL = Speed()


class Engine(Protocol):
    """One way to keep backups. Every method raises AgentError, a family of its own for each thing that is wrong."""

    @property
    def name(self) -> str: ...

    def backups(self) -> tuple[Backup, ...]:
        """Every backup, oldest first."""

    def restore(self, backup: Backup, place: Place, speed: Speed, lock: int) -> None:
        """Put it into the empty data directory of a side cluster, writing no recovery settings."""

    def wal(self, place: Place) -> list[str] | None:
        """The command before `archive-get`; None where a backup carries the WAL it needs, and no other is there."""

    def verify(self, label: str) -> tuple[str, ...]:
        """What is damaged of it; empty when nothing is."""


@dataclass(frozen=True)
class PgBackRest:
    """The estate's repository, as this host may restore from it."""

    repository: Repository
    name: str = "pgbackrest"

    def backups(self) -> tuple[Backup, ...]:
        return self.repository.backups()

    def restore(self, backup: Backup, place: Place, speed: Speed, lock: int) -> None:
        command = self.repository.command(
            f"--pg1-path={place.data}", f"--set={backup.label}", "--type=none", "--archive-mode=off",
            "--job-retry=1", "--job-retry-interval=1", f"--process-max={speed.workers}",
            f"--lock-path={place.folder}", f"--log-path={place.folder}",
            f"--tablespace-map-all={place.tablespaces}", "restore",
        )  # fmt: skip
        code, said = watched(command, place, speed, lock)
        if code:
            raise pgbackrest.restore_failure(code, said, backup.label, place.data)

    def wal(self, place: Place) -> list[str] | None:
        return self.repository.command(
            f"--pg1-path={place.data}", f"--lock-path={place.folder}", f"--log-path={place.folder}"
        )

    def verify(self, label: str) -> tuple[str, ...]:
        full = label.partition("_")[0]
        # Files of other full backups are not this one's; the archive is everybody's.
        return tuple(one for one in pgbackrest.damaged_files(self.repository) if full in one or "F/" not in one)


@dataclass(frozen=True)
class Native:
    """Plain directories on this host."""

    store: native.Store
    name: str = "native"

    def backups(self) -> tuple[Backup, ...]:
        return self.store.backups()

    def restore(self, backup: Backup, place: Place, speed: Speed, lock: int) -> None:
        source = self.store.directory(backup.label)
        damaged = self.store.damaged(source)
        if damaged:
            named = "; ".join(damaged[:3])
            raise pgbackrest.Damaged(
                f"Backup {backup.label} is damaged: {named}.", "Restore an older one with --set.", damaged
            )
        # In a process of its own, which can rest.
        command = ["sh", "-c", '"$@"; exit $?', "sh", "cp", "-a", "--reflink=auto", f"{source}/.", str(place.data)]
        identity, why = f"native-{os.getpid()}", f"{backup.label} is being copied"
        leases.hold(Lease(identity, f"a restore (pid {os.getpid()})", why, None, _LEASE_S))
        try:
            code, said = watched(command, place, speed, lock)
        finally:
            leases.release(identity)
        if code:
            raise AgentError(f"{backup.label} cannot be copied: {said.strip()[-300:]}.", "Is the disk full?")

    def wal(self, place: Place) -> list[str] | None:
        return None

    def verify(self, label: str) -> tuple[str, ...]:
        return self.store.damaged(self.store.directory(label))


def of(name: str, config: Path, repo: int) -> Engine:
    """The engine of this name. Raises BadRequest."""
    if name == "pgbackrest":
        return PgBackRest(Repository(config, repo))
    if name == "native":
        return Native(native.Store())
    raise BadRequest(f"There is no engine {name!r}.", f"One of {', '.join(NAMES)}.")


def watched(command: Sequence[str], place: Place, speed: Speed, lock: int) -> tuple[int, str]:
    """Run a program that restores, its words in a log; it ends with us, and holds the name's lock until it has."""
    log = place.folder / "restore.log"
    with log.open("w") as file:
        child = subprocess.Popen(
            [*(turns.MANNERS if speed.gives_way else ()), *command], stdout=file, stderr=file,
            stdin=subprocess.DEVNULL, cwd="/", pass_fds=(lock,), preexec_fn=turns.lead,
        )  # fmt: skip
        try:
            code = turns.take(child) if speed.gives_way else child.wait()
        finally:
            if child.poll() is None:
                turns.end(child)
    return code, log.read_text(errors="replace")
