"""Which acknowledged rows a store has not, as an application host finds it by its shadow."""

from __future__ import annotations

import json
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


def lacking(
    box: Box, since: float, tables: Sequence[str], timeout: float, bounds: Mapping[str, object] | None = None
) -> Lacking:
    """Reads only. `since` in unix seconds; `tables` empty for all; `bounds`: no further than a mark's positions.

    Raises BadInput without a shadow, DrError.
    """
    words = ("--config", box.config, "--since", f"{since:.3f}", "--tables", ",".join(tables))
    marked, stdin = ((), None) if bounds is None else (("--marked",), json.dumps(bounds))
    said = ask(box.host, "reconcile.lacking", *words, *marked, user=USER, timeout=timeout, stdin=stdin)
    return Lacking.model_validate(said)
