"""When snapshots of the off-site copy may go: as backups here, only when what is newer was proven and all is well."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from agents.base import files
from agents.base.clock import has_been
from agents.jobs import in_step, leases, proofs, verification
from agents.jobs.config import Offsite, Settings
from agents.offsite import restic, shelves

READ = "offsite.read"  # beside the states: {"part", "of", "at", "round_at"}, see `read_back`
_DAY_S = 86400.0


def holds(settings: Settings, postgresql: Sequence[str], tdengine: Sequence[str]) -> list[str]:
    """Why no snapshot may go; `postgresql`, `tdengine`: the labels that this host, and so the newest copy, has."""
    now = in_step.now(settings)
    found = [lease.sentence for lease in leases.live(settings.leases)]
    found += filter(None, [in_step.why_not(in_step.look(settings), "expire")])
    found += _store(settings, postgresql, settings.proofs, "verify", "", now)
    if tdengine:
        found += _store(settings, tdengine, settings.td_proofs, "td-verify", " of TDengine", now)
    for one in shelves.every(settings):
        found += _proven(settings, shelves.labels(one), one / shelves.PROOFS, f" of {one.name}", now)
    return found


def _store(
    settings: Settings, labels: Sequence[str], path: Path, verify: str, store: str, now: float
) -> Iterator[str]:
    """A verification that failed may have named less than is spoilt: older snapshots are then what is left."""
    yield from verification.holds(settings, verify, path, now)
    newest = proofs.newest_verification(proofs.read(path))
    if newest is not None and not newest.passed:
        yield f"the last verification{store} failed: {newest.sentence}"
    yield from _proven(settings, labels, path, store, now)


def _proven(settings: Settings, labels: Sequence[str], path: Path, store: str, now: float) -> Iterator[str]:
    known = proofs.verdicts(proofs.read(path))
    damaged = [label for label in labels if label in known and not known[label].passed]
    if damaged:
        yield f"{damaged[0]} is damaged here, and an older snapshot may have it whole"
    limit = settings.max_proof_age_h * 3600
    fresh = [
        one for label in labels if (one := known.get(label)) and one.passed and has_been(one.proven_at, now)
        and now - one.proven_at <= limit
    ]  # fmt: skip
    if not fresh:
        yield f"no backup{store} that is there was restored and found whole in the last {limit / 3600:g} h"


def read_back(settings: Settings, offsite: Offsite, first: bool) -> str:
    """Read the next part of the copy back: all of it once in `read_days`, one part a day, by count and not by clock.

    Raises AgentError that names what is damaged there.
    """
    path, of = settings.states / READ, max(1, min(256, round(offsite.read_days)))
    now, part, at, round_at = in_step.now(settings), 0, 0.0, 0.0
    try:
        said = json.loads(path.read_text())
        part, at, round_at = int(said["part"]), float(said["at"]), float(said["round_at"])
        part = part if int(said["of"]) == of else 0
    except (OSError, ValueError, KeyError, TypeError):
        pass
    if not first and has_been(at, now) and now - at < _DAY_S * 0.75:
        return ""
    part = part % of + 1
    restic.run(offsite, "check", f"--read-data-subset={part}/{of}")
    note = {"part": part, "of": of, "at": now, "round_at": now if part == of else round_at}
    files.replace(path, json.dumps(note) + "\n")
    return f"; checked, part {part} of {of} of it read"
