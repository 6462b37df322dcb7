"""How a backup of any store is proven: nothing expires meanwhile, each has its turn, what became of it is recorded."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from agents.base.errors import AgentError
from agents.jobs import leases, proofs
from agents.jobs.leases import Lease
from agents.jobs.proofs import Check, Proof

_LEASE_S = 6 * 3600.0


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


def choose(labels: Sequence[str], tried: Sequence[Proof]) -> str | None:
    """Of backups, oldest first: the newest that was never tried, else the one whose last trial is longest ago."""
    last = {one.label: one.proven_at for one in sorted(tried, key=lambda one: one.proven_at)}
    untried = [label for label in labels if label not in last]
    return untried[-1] if untried else min(labels, key=lambda label: last[label], default=None)


def tell(proof: Proof) -> int:
    """Print it. Raises AgentError for one that failed."""
    print(json.dumps(proof.line), flush=True)
    if not proof.passed:
        raise AgentError(f"{proof.sentence}.", "Take a new full backup; older ones may be sound.")
    return 0


def judged(label: str, checks: Sequence[Check], how: str, also: str = "") -> str:
    """The sentence of a proof: which checks failed, and `also` what is damaged, or `how` it was restored."""
    failed = [check for check in checks if not check.ok]
    if failed:
        return f"{label} is NOT proven: {'; '.join(f'{check.name}: {check.detail}' for check in failed)}{also}"
    return f"{label} is proven by {len(checks)} checks{how}"
