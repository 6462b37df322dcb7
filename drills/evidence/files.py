"""Where evidence is kept: beside the runs what anybody may read, in the operator's state what nobody else may."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from lab.state import state_root
from runbooks.engine.rundir import runs_dir


@dataclass(frozen=True)
class Files:
    """`runs` holds the folders of all runs; `secret` the key, and how far each history of this machine had come;
    `folder` the history and what goes with it.
    """

    runs: Path
    secret: Path
    folder: Path

    @property
    def history(self) -> Path:
        return self.folder / "history.jsonl"

    @property
    def public(self) -> Path:
        """Every public key that has signed here, one PEM block after another."""
        return self.folder / "public.pem"

    def basis(self, name: str) -> Path:
        return self.folder / "basis" / f"{name}.json"

    @property
    def key(self) -> Path:
        return self.secret / "signing-key.pem"

    @property
    def head(self) -> Path:
        """By the place of the history: one that was removed with its folder is missed all the same."""
        place = hashlib.sha256(str(self.history.resolve()).encode()).hexdigest()[:16]
        return self.secret / "heads" / f"{place}.json"


def files(folder: Path | None = None) -> Files:
    """Below DR_RUNS and DR_STATE, or where those are by default; `folder` of a history that was copied elsewhere."""
    return Files(runs_dir(), state_root() / "evidence", folder or runs_dir() / "evidence")
