"""The right to replay: two replayers can never run."""

from __future__ import annotations

from pathlib import Path

from agents.base.locks import FileLock, is_held


class Lease(FileLock):
    """A lock beside the outbox; `take` is False when another process is the replayer."""

    def __init__(self, outbox: Path) -> None:
        super().__init__(outbox.with_name(outbox.name + ".lock"), 0o660)

    @property
    def taken(self) -> bool:
        """Whether a replayer runs now; it is not kept from beginning meanwhile."""
        return is_held(self.path)
