"""Every backup of TDengine with what it holds and whether it was proven, and the check of the newest."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from inventories.errors import DrError
from runbooks import agent
from runbooks.engine.budgets import budget
from runbooks.hosts import Estate, Host
from runbooks.probes import jobs
from runbooks.probes.tdengine import backups as td_backups
from runbooks.probes.tdengine.backups import Backup, Dump, Known, Proof

HERE = "backup host"
_WRITER = "/etc/mystocks-dr/agent-tdengine.json"


@dataclass(frozen=True)
class Listed:
    """One backup. `rows` of the whole database as it was when it began, `own_rows` those that changed since its base;
    `proven_at` (unix seconds) is when it was last restored and found whole; `trouble` says why it may not be used;
    `left_out`: (table, why) of what it has nothing of.
    """

    label: str
    kind: str
    started_at: float
    ended_at: float
    age_s: float
    rows: int
    own_rows: int
    bytes: int
    chain: tuple[str, ...]
    proven_at: float | None
    copies: tuple[str, ...]
    key_id: str
    trouble: str
    left_out: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Listing:
    """All of them, oldest first, the dumps of the second engine, and what is wrong with asking."""

    at: float
    backups: tuple[Listed, ...]
    dumps: tuple[Dump, ...]
    troubles: tuple[str, ...]

    @property
    def sound(self) -> bool:
        spoilt = [one.trouble or one.left_out for one in self.backups] + [one.why for one in self.dumps]
        return bool(self.backups) and not (any(spoilt) or self.troubles)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"sound": self.sound}


@dataclass(frozen=True)
class Checked:
    """The newest backup was read to its last byte. `covered_label`, `shadow_bytes`: what the application host was told
    last, and what it keeps until the next; None where it keeps nothing.
    """

    label: str
    rows: int
    seconds: float
    covered_label: str | None
    shadow_bytes: int | None
    sentence: str


def look(estate: Estate) -> Listing:
    """Ask the backup host. Raises DrError when it does not answer."""
    host, troubles = estate.backup, []
    copied: tuple[float | None, str] = (None, "")
    try:
        seen = jobs.look(host, timeout=30)
        done = next((one.last_success_at for one in seen.jobs if one.name == "offsite"), None)
        copied = (done, seen.offsite or "")
    except DrError as error:
        troubles.append(f"the jobs of {host} do not say when the off-site copy was made: {error}")
    return listing(td_backups.look(host), td_backups.proofs(host), copied, time.time(), troubles)


def listing(
    known: Known, proofs: Sequence[Proof], offsite: tuple[float | None, str], at: float, troubles: Sequence[str] = ()
) -> Listing:
    """Put together what was asked for; `offsite` is when the copy there was last whole, and its host's name."""
    proven = {proof.label: proof.proven_at for proof in proofs if proof.passed and proof.restored}
    failed = td_backups.failed(proofs)
    listed = tuple(_listed(one, proven, failed, offsite, at) for one in known.backups)
    return Listing(at, listed, known.dumps, tuple(troubles))


def why_not(backup: Backup, failed: Mapping[str, str]) -> str:
    """Why this one may not be restored; empty when it may."""
    if backup.why:
        return backup.why
    damaged = next((label for label in (backup.label, *backup.chain) if label in failed), None)
    if damaged is None:
        return ""
    return failed[damaged] if damaged == backup.label else f"it needs {damaged}: {failed[damaged]}"


def _listed(
    one: Backup, proven: Mapping[str, float], failed: Mapping[str, str], offsite: tuple[float | None, str], at: float
) -> Listed:
    copied_at, where = offsite
    copies = (HERE, *([where] if copied_at is not None and one.ended_at <= copied_at else []))
    return Listed(
        label=one.label, kind=one.kind, started_at=one.started_at, ended_at=one.ended_at, age_s=at - one.ended_at,
        rows=one.rows, own_rows=one.rows_dumped, bytes=one.bytes, chain=one.chain, proven_at=proven.get(one.label),
        copies=copies, key_id=one.key_id, trouble=why_not(one, failed),
        left_out=one.left_out,
    )  # fmt: skip


def check(estate: Estate) -> Checked:
    """Read the newest backup with all that it needs, and ask what the application host keeps besides.

    Raises DrError that names the file, the window or the missing backup.
    """
    started = time.monotonic()
    said = agent.ask(estate.backup, "tdengine.backup.verify", timeout=budget("restore.copy"))
    covered, shadow = _shadow(estate.app)
    return Checked(
        said["label"], int(said["rows"]), time.monotonic() - started, covered, shadow, _sentence(said, covered, shadow)
    )


def _shadow(app: Host) -> tuple[str | None, int | None]:
    said = agent.ask(app, "tdengine.backup.cover", "show", "--config", _WRITER, user="mystocks", timeout=30)
    covered = said["covered"]
    return (covered["label"] if covered else None), said.get("size_bytes")


def _sentence(said: Mapping[str, Any], covered: str | None, shadow: int | None) -> str:
    if shadow is None:
        return f"{said['sentence']}; no shadow is kept"
    told = f"up to {covered}" if covered else "nothing yet"
    return f"{said['sentence']}; the application host knows {told} as covered and keeps {shadow / 2**20:.1f} MiB"
