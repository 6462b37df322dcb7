"""What an outbox of an application host says of its rows: accounts, dead letters, what is proved to be in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runbooks.agent import ask, run
from runbooks.hosts import Estate, Host
from runbooks.probes import app
from runbooks.probes.app import Outbox
from runbooks.probes.tdengine import servers
from runbooks.probes.tracker import has_it

USER = "mystocks"
CLI = "writing.outbox_cli"
POSTGRESQL, TDENGINE, TRACKER = "postgresql", "tdengine", "tracker"
SETTINGS: Mapping[str, str] = {
    POSTGRESQL: "agent.json", TDENGINE: "agent-tdengine.json", TRACKER: "agent-tracker.json",
}  # fmt: skip
NAMES: Mapping[str, str] = {POSTGRESQL: "PostgreSQL", TDENGINE: "TDengine", TRACKER: "the stock tracker"}


@dataclass(frozen=True)
class Box:
    """One outbox: a store's, on one application host."""

    host: Host
    store: str

    @property
    def config(self) -> str:
        return f"/etc/mystocks-dr/{SETTINGS[self.store]}"

    @property
    def key(self) -> str:
        """What a run's state calls it."""
        return f"{self.host.name}/{self.store}"

    def __str__(self) -> str:
        return f"{NAMES[self.store]}'s outbox on {self.host}"


@dataclass(frozen=True)
class Account:
    """Rows of one table in one lane; `missing` is what nobody accounts for."""

    table: str
    lane: int
    enqueued: int
    applied: int
    dead: int
    pending: int
    discarded: int
    missing: int


@dataclass(frozen=True)
class Accounts:
    rows: tuple[Account, ...]
    last_applied_no: int


@dataclass(frozen=True)
class Proof:
    """Rows that were looked for in the store; `examples` name some that are not there."""

    proven: int
    missing: int
    unknown: int
    examples: tuple[str, ...]


def boxes(estate: Estate, store: str = "") -> tuple[Box, ...]:
    """Every outbox of the estate, or those of one store. A watch's inventory has no TDengine host, and says of one."""
    stores = [POSTGRESQL, *([TDENGINE] if servers.hosts(estate) or estate.data.get("tdengine_beside") else [])]
    stores += [TRACKER] if has_it(estate) else []
    return tuple(Box(host, one) for host in estate.group("app") for one in stores if store in ("", one))


def status(box: Box, timeout: float = 10) -> Outbox:
    return app.outbox(box.host, timeout, SETTINGS[box.store])


def accounts(box: Box, timeout: float) -> Accounts:
    """Counted record by record, which takes its time where many wait."""
    said = ask(box.host, CLI, "--config", box.config, "accounts", user=USER, timeout=timeout)
    return Accounts(tuple(Account(**one) for one in said["accounts"]), int(said["last_applied_no"]))


def prove(box: Box, after: int, timeout: float) -> Proof:
    """Look in the store for every row that was applied after this application number."""
    said = ask(
        box.host, CLI, "--config", box.config, "prove", "--after", after, user=USER, timeout=timeout, verdict=True
    )
    return Proof(int(said["proven"]), int(said["missing"]), int(said["unknown"]), tuple(said["examples"]))


def dead(box: Box, table: str, most: int, timeout: float) -> Sequence[Mapping[str, object]]:
    """The dead letters without their rows, oldest first."""
    words = ["dead", f"--most={most}", *([f"--table={table}"] if table else [])]
    found: Sequence[Mapping[str, object]] = ask(
        box.host, CLI, "--config", box.config, *words, user=USER, timeout=timeout
    )
    return found


def letter(box: Box, number: int, timeout: float) -> Mapping[str, object]:
    """One dead letter with its rows and what was done to it."""
    found: Mapping[str, object] = ask(
        box.host, CLI, "--config", box.config, "show", number, user=USER, timeout=timeout
    )
    return found


def export(box: Box, table: str, timeout: float) -> str:
    """Every row of every dead letter, one JSON object a line."""
    words = ["export", *([f"--table={table}"] if table else [])]
    return run(box.host, CLI, "--config", box.config, *words, user=USER, timeout=timeout).stdout
