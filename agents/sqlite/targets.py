"""What may be restored to: a moment, a transaction, a snapshot as it is, or the newest of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agents.base.errors import AgentError
from agents.sqlite.manifest import Manifest, opened
from agents.sqlite.seal import Broken, Seal
from agents.sqlite.wire import Line


class NotReached(AgentError):  # noqa: N818 - named after what is wrong, as in the rest of the repository
    """No backup leads there."""

    exit_code = 2


@dataclass(frozen=True)
class Target:
    """At most one of them; none: the newest there is. `at` in unix seconds, `tx` a transaction's number; `stream`: only
    along this one, where numbers may stand twice, since streams came back from elsewhere.
    """

    label: str = ""
    at: float | None = None
    tx: int | None = None
    stream: str = ""

    def __post_init__(self) -> None:
        if sum((bool(self.label), self.at is not None, self.tx is not None)) > 1:
            raise NotReached("One target at a time: a moment, a transaction or a backup.", "Leave the others out.")

    def includes(self, at: float, tx: int) -> bool:
        """Whether a transaction is wanted."""
        if self.label:
            return False
        return (self.at is None or at <= self.at) and (self.tx is None or tx <= self.tx)


@dataclass(frozen=True)
class Kept:
    """What the receiver has of one database: snapshots oldest first, streams by name, what became of each proof."""

    snapshots: tuple[Manifest, ...]
    streams: tuple[str, ...]
    proofs: dict[str, tuple[bool, float, str]]
    last_at: float | None
    broken: tuple[str, ...] = ()

    def sound(self, one: Manifest) -> bool:
        return one.label not in self.proofs or self.proofs[one.label][0]


def kept(line: Line, seal: Seal | None) -> Kept:
    """Raises Away. A manifest that is not ours is named, and never restored from."""
    said, _ = line.ask("list")
    snapshots, broken = [], []
    for raw in said["snapshots"]:
        try:
            snapshots.append(opened(raw, seal))
        except Broken as error:
            broken.append(str(error))
    told = {label: (bool(ok), float(at), str(why)) for label, (ok, at, why) in said["proofs"].items()}
    last: dict[str, Any] | None = said["last"]
    return Kept(tuple(snapshots), tuple(said["streams"]), told, float(last["at"]) if last else None, tuple(broken))


def choose(there: Kept, target: Target) -> Manifest:
    """The snapshot that a restore begins with. Raises NotReached."""
    if target.label:
        return _named(there, target.label)
    along = [one for one in there.snapshots if target.stream in ("", one.stream)]
    fitting = [one for one in along if there.sound(one) and target.includes(one.at, one.tx)]
    if fitting:
        return fitting[-1]
    if not there.snapshots:
        raise NotReached("No snapshot was ever kept.", "Does mystocks-sqlite@ run, and the receiver?")
    if not along:
        raise NotReached(f"No snapshot of the changes {target.stream} is kept.", "sqlite-restore --list")
    first = along[0]
    raise NotReached(f"No sound snapshot is so old: the first is {first.label}.", "sqlite-restore --list")


def _named(there: Kept, label: str) -> Manifest:
    found = next((one for one in there.snapshots if one.label == label), None)
    if found is None:
        names = ", ".join(_newest([one.label for one in there.snapshots])) or "none"
        raise NotReached(f"There is no snapshot {label}.", f"There are {names}.")
    if not there.sound(found):
        raise NotReached(f"{label} was found damaged: {there.proofs[label][2]}", "Choose another one.")
    return found


def _newest(labels: Sequence[str]) -> list[str]:
    return list(labels[-5:])
