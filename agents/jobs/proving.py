"""How a backup of any store is proven: nothing expires meanwhile, each has its turn, what became of it is recorded."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from agents.base.clock import has_been
from agents.base.errors import AgentError
from agents.jobs import config, cron, in_step, leases, proofs
from agents.jobs.leases import Lease
from agents.jobs.proofs import EMPTY, Check, Proof

_LEASE_S = 6 * 3600.0
_DAY_S = 86400.0
_FULL = ("backup.manifest", "manifest.json")  # in the folder of a backup that was published, of one store or the other


def prove(who: str, what: str, path: Path, trial: Callable[[], Proof]) -> Proof:
    """Run `trial` and record what became of it. Nothing expires meanwhile, so it may choose and rely on a backup."""
    identity = f"{who}-{os.getpid()}"
    owner = f"{who} (pid {os.getpid()})"
    leases.hold(Lease(identity, owner, f"{what} is being proven", None, _LEASE_S))
    try:
        proof = trial()
        proofs.append(proof, path)
        return proof
    finally:
        leases.release(identity)


def choose(
    labels: Sequence[str], records: Sequence[Proof], now: float, every_s: float = 14 * _DAY_S, turn_s: float = _DAY_S
) -> str | None:
    """Of backups, oldest first: a full one whose turn must not wait, else the newest that was never tried, else the
    one whose last trial is longest ago.

    Each full backup comes again within `every_s` where there is a trial every `turn_s`: from the moment on from which
    those that are due, one a turn, would else come too late.
    """
    tried = [one for one in records if one.restored]
    last = {one.label: n for n, one in enumerate(tried)}
    stamps = {**{label: proofs.labelled_at(label) for label in labels}, **{one.label: one.proven_at for one in tried}}
    at = {label: stamp if has_been(stamp, now) else 0.0 for label, stamp in stamps.items()}
    fulls = sorted((label for label in labels if "_" not in label), key=lambda one: at[one])
    waiting = [label for n, label in enumerate(fulls, start=2) if at[label] + every_s - n * turn_s <= now]
    if waiting:
        return fulls[0]
    untried = [label for label in labels if label not in last]
    return untried[-1] if untried else min(labels, key=lambda label: last[label], default=None)


def turn(job: str, labels: Sequence[str], records: Sequence[Proof]) -> str | None:
    """`choose` as the settings of this host have it: when the job comes round, and how long no full one may wait."""
    settings = config.load()
    now, every_s = in_step.now(settings), settings.max_full_proof_age_d * _DAY_S
    if job not in settings.jobs:
        return choose(labels, records, now, every_s)
    schedule = settings.jobs[job].schedule
    last = cron.previous(schedule, now)
    before = cron.previous(schedule, last - 60) if last is not None else None
    return choose(labels, records, now, every_s, last - before if last is not None and before is not None else _DAY_S)


def overdue(labels: Sequence[str], records: Sequence[Proof], now: float, every_s: float) -> Iterator[tuple[str, float]]:
    """(full backup, seconds since it was last restored and found whole) where that is longer ago than it may be.

    One that was never tried counts from its label's time on; one that is known to be damaged is told elsewhere.
    """
    known = {one.label: one for one in records if one.restored}
    for label in labels:
        one = known.get(label)
        if "_" in label or (one and not one.passed):
            continue
        stamp = one.proven_at if one else proofs.labelled_at(label)
        age = now - stamp if has_been(stamp, now) else every_s + 1
        if age > every_s:
            yield label, age


def fulls(folder: Path) -> list[str]:
    """The labels of the full backups that are published in a folder, oldest first."""
    found = {path.parent.name for name in _FULL for path in folder.glob(f"[0-9]*/{name}")}
    return sorted(label for label in found if "_" not in label)


def tell(proof: Proof) -> int:
    """Print it. Raises AgentError for one that failed."""
    print(json.dumps(proof.line), flush=True)
    if not proof.passed:
        raise AgentError(f"{proof.sentence}.", _way_on(proof))
    return 0


def _way_on(proof: Proof) -> str:
    if {check.name for check in proof.checks if not check.ok} == {EMPTY}:
        return "Nothing says that it is damaged: one that is taken once there are rows can be proven."
    return "Take a new full backup; older ones may be sound."


def judged(label: str, checks: Sequence[Check], how: str, also: str = "") -> str:
    """The sentence of a proof: which checks failed, and `also` what is damaged, or `how` it was restored."""
    failed = [check for check in checks if not check.ok]
    if failed:
        return f"{label} is NOT proven: {'; '.join(f'{check.name}: {check.detail}' for check in failed)}{also}"
    return f"{label} is proven by {len(checks)} checks{how}"
