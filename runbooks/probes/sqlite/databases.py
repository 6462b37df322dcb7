"""SQLite databases of an application host: whether each is whole and protected, and what there is to restore."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runbooks import agent
from runbooks.hosts import Estate, Host
from runbooks.layout import SQLITE_PROGRAM as PROGRAM
from runbooks.layout import SQLITE_USER as USER

RECEIVER = "mystocks-sqlite-receiver"
# Who writes the files of our own agents; writers of the trading database stand in the inventory.
_OUR_WRITERS: Mapping[str, str] = {"outbox": "mystocks-replayer", "outbox_tdengine": "mystocks-replayer-tdengine"}
_LOOK_S = 60.0  # the quick check reads the whole file
_PROOF_S = 1800.0


@dataclass(frozen=True)
class Status:
    """One database now. `protected`: all that was committed is on the backup host; `why` it is not, or is not whole.

    `rows` of each table; `tx` transactions that are protected; `snapshot_age_s` None where none was ever kept.
    """

    name: str
    path: str
    there: bool
    whole: bool
    protected: bool
    why: str
    rows: Mapping[str, int]
    tx: int | None
    snapshot_age_s: float | None


@dataclass(frozen=True)
class Glance:
    """As `Status`, without reading the file. `streamed`: every commit is sent, and not snapshots alone. `damaged`: what
    the newest proof found, empty where it passed; `proven_age_s`: of the last that did.
    """

    name: str
    path: str
    there: bool
    streamed: bool
    protected: bool
    why: str
    snapshot_age_s: float | None
    proven_age_s: float | None
    damaged: str


@dataclass(frozen=True)
class Snapshot:
    """`to`: the moment of its newest transaction. `proven`: what became of its proof, None while nobody tried."""

    label: str
    to: str
    tx: int
    bytes: int
    rows: Mapping[str, int]
    proven: bool | None


@dataclass(frozen=True)
class Kept:
    """Snapshots, newest first; how far changes go; files of earlier restores on the host; what is wrong with any."""

    snapshots: tuple[Snapshot, ...]
    changes_until: str
    here: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Built:
    """What a restore would bring, built and checked beside, or has brought: up to transaction `tx`, which is of `to`.

    `source`: the snapshot, or the file. `changes`: transactions that were laid on the snapshot. `safety`: the folder
    with what was there before, empty where nothing was.
    """

    source: str
    tx: int | None
    to: str
    rows: Mapping[str, int]
    seconds: float
    warnings: tuple[str, ...]
    safety: str = ""
    before: int | None = None  # rows of the one table before
    restored: int | None = None  # and after
    changes: int = 0


def names(estate: Estate) -> tuple[str, ...]:
    """Databases that the inventory names; none where nothing of SQLite is deployed."""
    return tuple(estate.data.get("sqlite_databases") or ())


def service(name: str) -> str:
    return f"mystocks-sqlite@{name}"


def writers(estate: Estate, name: str) -> tuple[str, ...]:
    """Units that write to it, as the inventory says, and ours."""
    said = tuple((estate.data.get("sqlite_writers") or {}).get(name, ()))
    return said or ((_OUR_WRITERS[name],) if name in _OUR_WRITERS else ())


def status(host: Host, name: str, timeout: float = _LOOK_S) -> Status:
    """Raises DrError where the host or its programs do not answer."""
    said = agent.ask(host, PROGRAM, "--name", name, "--status", timeout=timeout, user=USER, verdict=True)
    age = said.get("snapshot_age_s")
    return Status(
        name, said["path"], bool(said["there"]), bool(said["whole"]), bool(said["protected"]),
        str(said.get("damage") or said["why"]), said.get("rows", {}), said.get("tx"),
        None if age is None else float(age),
    )  # fmt: skip


def glance(host: Host, timeout: float) -> tuple[Glance, ...]:
    """Every database of the host at once. Raises DrError."""
    said = agent.ask(host, PROGRAM, "--glance", timeout=timeout, user=USER)
    return tuple(Glance(**one) for one in said["databases"])


def listed(host: Host, name: str) -> Kept:
    """Raises DrError, also where the backup host does not answer the application host."""
    said = agent.ask(host, PROGRAM, "--name", name, "--list", timeout=_LOOK_S, user=USER)
    return Kept(
        tuple(Snapshot(**one) for one in said["snapshots"]), said["changes_until"] or "", tuple(said["here"]),
        tuple(said["warnings"]),
    )  # fmt: skip


def history(host: Host, name: str) -> tuple[Mapping[str, Any], ...]:
    """Restores of it, newest first, as the host noted them: at, to, snapshot or file, table, safety."""
    return tuple(agent.ask(host, PROGRAM, "--name", name, "--history", timeout=_LOOK_S, user=USER)["restores"])


def prove(host: Host, name: str, label: str = "") -> tuple[str, int]:
    """Restore a snapshot beside and hold it against its manifest: its label and rows. Raises DrError where it fails."""
    words = ("--name", name, "--verify", *((label,) if label else ()))
    said = agent.ask(host, PROGRAM, *words, timeout=_PROOF_S, user=USER)
    return str(said["label"]), sum(said["rows"].values())


def users(host: Host, name: str) -> tuple[str, ...]:
    """Processes that have it open, of whomever."""
    said = agent.ask(host, PROGRAM, "--name", name, "--users", timeout=_LOOK_S, user="root")
    return tuple(said["users"])


def running(host: Host, units: tuple[str, ...]) -> tuple[str, ...]:
    """Those of these units that run."""
    if not units:
        return ()
    ran = host.run("systemctl is-active" + " %s" * len(units), *units, expect=None)
    states = ran.stdout.split()
    return tuple(unit for unit, state in zip(units, states, strict=False) if state in ("active", "activating"))


def built(said: Mapping[str, Any]) -> Built:
    """Of what the program prints."""
    return Built(
        str(said.get("snapshot") or said.get("file") or ""), said.get("tx"), str(said.get("to") or ""), said["rows"],
        float(said["seconds"]), tuple(said.get("warnings", ())), str(said.get("safety") or ""), said.get("before"),
        said.get("restored"), int(said.get("changes") or 0),
    )  # fmt: skip
