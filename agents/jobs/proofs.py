"""The records of restore proofs, one file a store: one JSON line each, only ever appended to.

    {"label", "kind", "repo": 1|2, "proven_at", "outcome": "passed|failed", "seconds",
     figures of the store, such as "restore_bytes" and "restore_s",
     "checks": [{"name", "ok", "detail"}], "damaged": [...], "sentence"}
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agents.base import files

PATH = Path("/var/lib/mystocks-dr/proofs.jsonl")


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


def read(path: Path = PATH) -> tuple[Proof, ...]:
    """Every proof, in the order of the file. A line that cannot be read proves nothing."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    return tuple(proof for line in lines if (proof := _proof(line)) is not None)


def append(proof: Proof, path: Path = PATH) -> None:
    """Add one line, on the disk when this returns."""
    files.append(path, json.dumps(proof.line, separators=(",", ":")))


def verdicts(proofs: Sequence[Proof]) -> dict[str, Proof]:
    """The last proof of each backup: what was sound once may be damaged since."""
    found: dict[str, Proof] = {}
    for proof in proofs:
        if proof.label not in found or proof.proven_at >= found[proof.label].proven_at:
            found[proof.label] = proof
    return found


def newest_passed(path: Path = PATH) -> Proof | None:
    """The last proof that passed, whichever backup it was of."""
    return max((proof for proof in read(path) if proof.passed), key=lambda proof: proof.proven_at, default=None)


def _proof(line: str) -> Proof | None:
    """What decides something later; figures and checks are for people, who read the line itself."""
    try:
        said = json.loads(line)
        damaged = tuple(str(one) for one in said.get("damaged") or ())
        return Proof(str(said["label"]), float(said["proven_at"]), said["outcome"] == "passed", damaged)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
