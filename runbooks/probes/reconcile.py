"""Which acknowledged rows a store has not, as an application host finds it by its shadow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from runbooks.agent import ask
from runbooks.probes.outbox import USER, Box


class OfTable(BaseModel):
    """Rows of one table that are lacking, when they were acknowledged (unix seconds), their event ids or some."""

    model_config = ConfigDict(frozen=True)

    rows: int
    first: float
    last: float
    events: tuple[int, ...]


class Lacking(BaseModel):
    """Of one outbox: rows that were looked for, acknowledged from `since` to `until`; None where nothing is kept."""

    model_config = ConfigDict(frozen=True)

    looked: int
    lacking: int
    sent: int
    unknown: int
    damaged_segments: int
    since: float | None
    until: float | None
    seconds: float
    tables: Mapping[str, OfTable]


def lacking(box: Box, since: float, tables: Sequence[str], timeout: float) -> Lacking:
    """Reads only. `since` in unix seconds; `tables` empty for all. Raises BadInput without a shadow, DrError."""
    words = ("--config", box.config, "--since", f"{since:.3f}", "--tables", ",".join(tables))
    said = ask(box.host, "reconcile.lacking", *words, user=USER, timeout=timeout)
    return Lacking.model_validate(said)
