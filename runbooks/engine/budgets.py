"""Named wait budgets: one table (the catalogue), one multiplier for slow machines (DR_SLOW)."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache

from inventories.errors import BadInput


def budget(name: str, table: Mapping[str, float] | None = None) -> float:
    """Seconds for `name`: its entry in `table` (default: the catalogue's recovery.yaml) times DR_SLOW.

    Raises BadInput for a name that the table lacks, naming near matches, and for a DR_SLOW that is no
    positive number.
    """
    budgets = _catalogue() if table is None else table
    if name not in budgets:
        near = get_close_matches(name, budgets, n=3, cutoff=0.5) or sorted(budgets)
        raise BadInput(
            f"there is no budget named {name!r}",
            f"did you mean {', '.join(near)}? See inventories/catalog/recovery.yaml",
        )
    return float(budgets[name]) * slowness()


def seconds(given: str | float, table: Mapping[str, float] | None = None) -> float:
    """Seconds for a budget's name; a number is taken as it is."""
    return budget(given, table) if isinstance(given, str) else given


def slowness() -> float:
    """The multiplier for slow machines from DR_SLOW, 1 when unset."""
    text = os.environ.get("DR_SLOW", "").strip() or "1"
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise BadInput(
            f"DR_SLOW is {text!r}, which is not a positive number",
            "DR_SLOW=3 makes every wait three times as long",
        )
    return value


@cache
def _catalogue() -> Mapping[str, float]:
    # Loaded when first asked for: printing a task list must not parse YAML.
    from inventories.catalog.load import load_recovery  # type: ignore[import-not-found, unused-ignore]

    table: Mapping[str, float] = load_recovery().budgets
    return table
