"""The records of restore proofs and of verifications, one file a store: one JSON line each, only ever appended to.

    {"label", "kind": "full|diff|incr|verify", "repo": 1|2, "proven_at", "outcome": "passed|failed", "seconds",
     figures of the store, such as "restore_bytes" and "restore_s",
     "checks": [{"name", "ok", "detail"}], "damaged": [...], "sentence"}

The order of the lines is the order of things: what the clock said meanwhile decides nothing. A line of kind verify is
no proof, since nothing was restored: with a label it tells that this backup, or WAL segment, is damaged, or is sound
again; without one it ends a verification of everything.
"""

from __future__ import annotations

import json
import time
from calendar import timegm
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agents.base import files

PATH = Path("/var/lib/mystocks-dr/proofs.jsonl")
VERIFY = "verify"
EMPTY = "no rows"  # the check that a backup of tables without rows fails, and no damaged one


@dataclass(frozen=True)
class Check:
    """One check; `detail` is a sentence without its full stop."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Proof:
    """That a backup was restored and found whole, or not, at `proven_at` (unix seconds).

    `figures` are what this store measured, by name; `damaged` names files, or says what is wrong.
    """

    label: str
    proven_at: float
    passed: bool
    damaged: tuple[str, ...] = ()
    kind: str = ""
    repo: int = 1
    seconds: float = 0.0
    figures: Mapping[str, float] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    sentence: str = ""

    @property
    def line(self) -> dict[str, Any]:
        """As it is recorded and printed."""
        return {
            "label": self.label, "kind": self.kind, "repo": self.repo, "proven_at": self.proven_at,
            "outcome": "passed" if self.passed else "failed", "seconds": round(self.seconds, 3), **self.figures,
            "checks": [asdict(check) for check in self.checks], "damaged": list(self.damaged),
            "sentence": self.sentence,
        }  # fmt: skip

    @property
    def restored(self) -> bool:
        """Whether it is of a restore, and not of a verification, which reads files and starts nothing."""
        return self.kind != VERIFY


def read(path: Path = PATH) -> tuple[Proof, ...]:
    """Every line, in the order of the file. One that cannot be read proves nothing."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    return tuple(proof for line in lines if (proof := _proof(line)) is not None)


def append(proof: Proof, path: Path = PATH) -> None:
    """Add one line, on the disk when this returns."""
    files.append(path, json.dumps(proof.line, separators=(",", ":")))


def verdicts(records: Sequence[Proof]) -> dict[str, Proof]:
    """What holds of each backup now: a failed line where its last restore or its last verification found damage, else
    the last restore of it.

    While the newest verification of everything failed, a proof from before it is worth nothing: what it found damaged
    since may be more than it could name.
    """
    runs = [n for n, one in enumerate(records) if not one.restored and not one.label]
    counts_from = runs[-1] if runs and not records[runs[-1]].passed else -1
    restored: dict[str, Proof] = {}
    for n, one in enumerate(records):
        if not one.restored:
            continue
        if one.repo == 1 and (n > counts_from or not one.passed):  # another repository tells nothing of this one
            restored[one.label] = one
    return restored | {one.label: one for one in spoilt(records)}


def spoilt(records: Sequence[Proof]) -> list[Proof]:
    """What the last verification that looked at it found damaged: backups, and WAL segments by their names."""
    verified = {one.label: one for one in records if not one.restored and one.label}
    return [one for one in verified.values() if not one.passed]


def newest_verification(records: Sequence[Proof]) -> Proof | None:
    """The last line that ends a verification of everything."""
    return next((one for one in reversed(records) if not one.restored and not one.label), None)


def newest_passed(path: Path = PATH) -> Proof | None:
    """The last proof that passed, whichever backup it was of."""
    return next((one for one in reversed(read(path)) if one.passed and one.restored), None)


def labelled_at(label: str) -> float:
    """What the clock said when a backup was taken, by its label, in unix seconds; 0 for what is no label."""
    try:
        return float(timegm(time.strptime(label[-16:-1], "%Y%m%d-%H%M%S")))
    except ValueError:
        return 0.0


def _proof(line: str) -> Proof | None:
    """What decides something later; figures and checks are for people, who read the line itself."""
    try:
        said = json.loads(line)
        damaged = tuple(str(one) for one in said.get("damaged") or ())
        kind, sentence = str(said.get("kind", "")), str(said.get("sentence", ""))
        passed, repo = said["outcome"] == "passed", int(said.get("repo", 1))
        at, seconds = float(said["proven_at"]), float(said.get("seconds") or 0)
        return Proof(str(said["label"]), at, passed, damaged, kind, repo, seconds, sentence=sentence)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
