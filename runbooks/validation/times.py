"""What sample queries of a store took once, kept in a file, for a store whose rows are held against its backups."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from inventories.errors import BadInput
from runbooks import files


class Times(BaseModel):
    """Milliseconds by query; `at` unix seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    form: int = 1
    estate: str
    at: float
    samples: Mapping[str, float]


def save(path: Path, estate: str, samples: Mapping[str, float]) -> None:
    """Raises BadInput where nothing was answered: a baseline of nothing says nothing."""
    if not samples:
        raise BadInput("no sample query had anything to answer, and a baseline of none says nothing", "fill it first")
    path.parent.mkdir(parents=True, exist_ok=True)
    files.put(path, Times(estate=estate, at=time.time(), samples=samples).model_dump_json())


def took(path: Path, estate: str) -> Mapping[str, float]:
    """Of that estate; empty where nothing was kept, or something else."""
    try:
        found = Times.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError):
        return {}
    return found.samples if found.estate == estate else {}
