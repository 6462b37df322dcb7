"""One thing that is not as promised."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One objective or limit that is not met, in words, and what to run."""

    objective: str
    measured: str
    limit: str
    hint: str
