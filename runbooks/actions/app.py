"""Change things on the application host: queue again, or write again, what a store has lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runbooks.agent import ask
from runbooks.engine.budgets import budget
from runbooks.hosts import Host

TD_REPLAYER = "mystocks-replayer-tdengine"


def requeue(host: Host, since: float, timeout: float) -> None:
    """Queue again what the store acknowledged at `since` (unix seconds) or later; writing a row twice is harmless.

    Raises TargetFailed where the estate keeps no shadow.
    """
    host.run(
        "cd /opt/mystocks-dr && "
        "exec python3 -m agents.writing.outbox_cli --config /etc/mystocks-dr/agent.json requeue --since %s",
        f"{since:.3f}",
        user="mystocks",
        timeout=timeout,
    )


@dataclass(frozen=True)
class Item:
    """An item of a recovery queue that was set aside; `rows`: how many of it are not saved, None where nobody knows."""

    id: int
    classification: str
    rows: int | None
    why: str


@dataclass(frozen=True)
class TakenOver:
    """What of a recovery queue is acknowledged, by whom, and what is not.

    `failed_before`: items that were marked as failed already, left alone. `marked`: the file says what was taken.
    """

    items: int
    rows: int
    by_store: int
    by_outbox: int
    set_aside: tuple[Item, ...]
    failed_before: int
    left: int
    marked: bool
    why_left: str


def take_over(host: Host, queue: str) -> TakenOver:
    """Save the pending items of a recovery queue that the trading system left on this host; harmless twice.

    Raises BadInput where there is no such file, TargetFailed for one that is no queue.
    """
    seconds = budget("outbox.import")
    said = ask(host, "client.takeover", queue, timeout=seconds, user="mystocks", verdict=True)
    return TakenOver(**{**said, "set_aside": tuple(Item(**one) for one in said["set_aside"])})


@dataclass(frozen=True)
class Replayed:
    """Rows that were written again, those that the store refused now, and files of the shadow with a damaged end."""

    rows: int
    refused: int
    damaged_segments: int


def replay_shadow(host: Host, since: float, tables: Sequence[str], timeout: float) -> Replayed:
    """Write into TDengine again what it acknowledged at `since` (unix seconds) or later; `tables` empty means all.

    The outbox stands still meanwhile, because its rows are newer. Raises BadInput where no shadow is kept.
    """
    host.run("systemctl stop %s", TD_REPLAYER, timeout=60)
    said = ask(
        host, "writing.shadow_replay", "--config", "/etc/mystocks-dr/agent-tdengine.json", "--since", f"{since:.3f}",
        "--tables", ",".join(tables), user="mystocks", timeout=timeout,
    )  # fmt: skip
    start_replayer(host)
    return Replayed(int(said["rows"]), int(said["refused"]), int(said["damaged_segments"]))


def start_replayer(host: Host) -> None:
    """Let TDengine's outbox drain; harmless when it does."""
    host.run("systemctl start %s", TD_REPLAYER, timeout=60)
