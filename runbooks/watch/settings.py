"""How a watch looks, without the catalogue that it is read from: that would take more memory than all of a watch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Seconds, as `watch` in recovery.yaml explains each (inventories/catalog/recovery.py)."""

    every_s: float
    look_s: float
    patience_s: float
    restart_s: float
    blind_s: float
    stall_s: float
    cooldown_s: float
