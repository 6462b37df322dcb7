"""Change things on the application host: queue again, or write again, what a store has lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runbooks.agent import ask
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
