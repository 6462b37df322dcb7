"""Put acknowledged rows that a store has not back into the outbox of the host that acknowledged them."""

from __future__ import annotations

from collections.abc import Sequence

from runbooks.actions.outbox import Box
from runbooks.agent import ask


def send_again(box: Box, since: float, tables: Sequence[str], timeout: float) -> int:
    """The oldest first; how many rows. `since` in unix seconds, `tables` empty for all. Raises DrError."""
    said = ask(
        box.host, "reconcile.lacking", "--config", box.config, "--since", f"{since:.3f}",
        "--tables", ",".join(tables), "--send", user="mystocks", timeout=timeout,
    )  # fmt: skip
    return int(said["sent"])
