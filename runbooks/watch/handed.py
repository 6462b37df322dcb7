"""What a watch needs to know, from whoever has read and checked the inventory and the catalogue.

Reading them takes more memory than the watch, and none of it is given back: so a process that has read them becomes one
that has not, by the same number.
"""

from __future__ import annotations

import os
import pickle
import sys
from dataclasses import dataclass
from typing import NoReturn

from runbooks.hosts import Estate
from runbooks.watch.settings import Settings


@dataclass(frozen=True)
class Handed:
    """`beat`: seconds between two beats, see drills/beats.py; 0 for none."""

    estate: Estate
    settings: Settings
    act: bool
    json: bool
    beat: float = 0.0


def become(module: str, handed: Handed) -> NoReturn:
    """Run this module in the place of this process; it gets the number of the file where `received` finds it."""
    number = os.memfd_create("watch", 0)  # 0: it stays open
    os.write(number, pickle.dumps(handed))
    os.lseek(number, 0, os.SEEK_SET)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, str(number)])  # noqa: S606 - no shell is what is wanted


def received(number: str) -> Handed:
    with os.fdopen(int(number), "rb") as file:
        found = pickle.load(file)  # noqa: S301 - written by `become`, in this very process
    assert isinstance(found, Handed)
    return found
