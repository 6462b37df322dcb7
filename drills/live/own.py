"""The drill that this very process runs, looked at by another of its threads."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from drills.live.course import Writer
from drills.live.expected import Expected, expected
from drills.live.snapshot import Snapshot, snapshot

if TYPE_CHECKING:
    from drills.stage import Stage


@dataclass
class Own:
    """`look` takes what the drill holds in memory: it asks nobody, and reads past drills at its first time alone."""

    stage: Stage
    writer: Writer

    @cached_property
    def _known(self) -> Expected | None:
        return expected(self.stage.run_dir.parent, self.writer.head.scenario)

    def look(self) -> Snapshot | None:
        """None once it is over. Raises TargetFailed where a ledger cannot be written, which ends the drill, too."""
        if self.writer.over:
            return None
        views = [(name, feed.ledger.view()) for name, feed in tuple(self.stage.running.items())]
        return snapshot(self.writer.head, tuple(self.writer.marks), views, self._known, time.monotonic())
