"""How long moving the data will take, for people: bytes by the rate measured last, or by one that nobody is below."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass

from inventories.errors import DrError
from runbooks.engine.step import Grows
from runbooks.hosts import Estate
from runbooks.probes.postgresql import pgbackrest, proofs

FLOOR = 20 << 20  # bytes a second that one old disk and a line of 200 Mbit/s both reach
TELLING = 64 << 20  # what moved less measures the start of programs
_PATIENCE_S = 10.0


@dataclass(frozen=True)
class Expected:
    """`bytes` at `rate` bytes a second, and from what that rate is known."""

    bytes: int
    rate: float
    seen: str

    @property
    def seconds(self) -> float:
        return self.bytes / self.rate

    def __str__(self) -> str:
        amount, rate = self.bytes / 2**30, self.rate / 2**20
        return f"about {span(self.seconds)} for {amount:.1f} GiB at {rate:.0f} MiB/s ({self.seen})"


UNMEASURED = "nothing was measured here, so at the least"


def restoring(size: int, passed: tuple[proofs.Proof, ...]) -> Expected:
    """By the newest proof that restored enough to tell."""
    for proof in reversed(passed):
        if proof.passed and proof.restore_s > 0 and proof.restore_bytes >= min(TELLING, size):
            return Expected(size, proof.restore_bytes / proof.restore_s, f"as the proof of {proof.label} did")
    return Expected(size, FLOOR, UNMEASURED)


def backing_up(repository: pgbackrest.Repository) -> Expected | None:
    """All of the cluster by the newest full backup's rate: after a change of timeline an incremental reads it all."""
    newest = repository.newest
    if newest is None:
        return None
    for one in sorted(repository.backups, key=lambda backup: backup.stopped_at, reverse=True):
        seconds = one.stopped_at - one.started_at
        if one.type == "full" and one.started_at and seconds > 0 and one.size_bytes >= TELLING:
            return Expected(newest.size_bytes, one.size_bytes / seconds, f"as the backup {one.label} did")
    return Expected(newest.size_bytes, FLOOR, UNMEASURED)


def restore(estate: Estate, size: int = 0) -> str:
    """How long a restore of the newest backup, or of `size` bytes, will take; empty where nobody can tell."""

    def ask() -> Expected | None:
        amount = size or _newest_size(estate)
        return restoring(amount, proofs.every(estate.backup)) if amount else None

    return _told(ask)


def backup(estate: Estate) -> str:
    """How long a backup may take at the most; empty where nobody can tell."""
    return _told(lambda: backing_up(pgbackrest.info(estate.backup, str(estate.data["stanza"]), _PATIENCE_S)))


def expected(estate: Estate, kinds: Set[Grows]) -> Mapping[Grows, str]:
    """What `restore` and `backup` tell, for a plan: a backup host that does not answer is not waited for."""
    asked = {Grows.RESTORE: restore, Grows.BACKUP: backup}
    wanted = [kind for kind in asked if kind in kinds]
    if not wanted or not estate.backup.reachable():
        return {}
    return {kind: told for kind in wanted if (told := asked[kind](estate))}


def _newest_size(estate: Estate) -> int:
    newest = pgbackrest.info(estate.backup, str(estate.data["stanza"]), _PATIENCE_S).newest
    return newest.size_bytes if newest else 0


def _told(ask: Callable[[], Expected | None]) -> str:
    """Nothing waits for a sentence: a repository that cannot be asked tells none."""
    try:
        found = ask()
    except DrError:
        return ""
    return str(found) if found else ""


def span(seconds: float) -> str:
    """`45 s`, `12 min`, `26.5 h`."""
    if seconds < 120:
        return f"{max(1, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def utc(at: float) -> str:
    """A moment (unix seconds): `2026-09-21 04:13:20 UTC`."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
