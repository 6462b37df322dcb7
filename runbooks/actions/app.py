"""Change things on the application host: replay the outbox by hand, queue again what the store has lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runbooks.engine.budgets import budget
from runbooks.hosts import Host


def replay(host: Host) -> None:
    """Replay everything that waits; beside a running service this watches the service do it.

    Raises TargetFailed when rows still wait at the end.
    """
    seconds = budget("outbox.drain")
    host.run(
        "cd /opt/mystocks-dr && "
        "exec python3 -m agents.replayer --config /etc/mystocks-dr/agent.json --once --timeout %s",
        seconds,
        user="mystocks",
        timeout=seconds + 10,
    )


def requeue(host: Host, since: float, timeout: float) -> None:
    """Queue again what the store acknowledged at `since` (unix seconds) or later; writing a row twice is harmless.

    Raises TargetFailed where the estate keeps no shadow.
    """
    host.run(
        "cd /opt/mystocks-dr && "
        "exec python3 -m agents.outbox_cli --config /etc/mystocks-dr/agent.json requeue --since %s",
        f"{since:.3f}",
        user="mystocks",
        timeout=timeout,
    )


@dataclass(frozen=True)
class Requeued:
    """Rows that were queued again, and files of the shadow whose end could not be read."""

    rows: int
    damaged_segments: int


def requeue_tdengine(host: Host, since: float, tables: Sequence[str], timeout: float) -> Requeued:
    """The same for TDengine's rows; `tables` empty means all. Raises TargetFailed where no shadow is kept."""
    said = host.run(
        "cd /opt/mystocks-dr && exec python3 -m agents.outbox_cli --config /etc/mystocks-dr/agent-tdengine.json "
        "requeue --since %s --tables %s",
        f"{since:.3f}", ",".join(tables), user="mystocks", timeout=timeout,
    ).json()  # fmt: skip
    return Requeued(int(said["rows"]), int(said["damaged_segments"]))
