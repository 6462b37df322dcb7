"""The records of proofs and verifications: what was restored, which checks it passed, what was damaged."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from runbooks.hosts import Host
from runbooks.layout import PROOFS

P = TypeVar("P")
VERIFY = "verify"  # the kind of a record of files that were read, of nothing that was restored


@dataclass(frozen=True)
class Check:
    """One check of a proof; `detail` says over how many things it went."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Proof:
    """One backup's trial. `proven_at` in unix seconds, bytes and seconds of the restore and of the replay of WAL."""

    label: str
    kind: str
    repo: int
    proven_at: float
    passed: bool
    seconds: float
    restore_bytes: int
    restore_s: float
    wal_bytes: int
    replay_s: float
    checks: tuple[Check, ...]
    damaged: tuple[str, ...]

    @property
    def restored(self) -> bool:
        return self.kind != VERIFY


class Trial(Protocol):
    """What the records of every store have in common."""

    @property
    def label(self) -> str: ...
    @property
    def passed(self) -> bool: ...
    @property
    def restored(self) -> bool: ...


T = TypeVar("T", bound=Trial)


def damaged(trials: Sequence[T], found: Callable[[T], str]) -> dict[str, str]:
    """label -> why not, of records oldest first: a newest proof that failed, or files that the last verification found
    damaged, which no older or newer proof makes good.
    """
    proven = {one.label: one for one in trials if one.restored}
    read = {one.label: one for one in trials if not one.restored and one.label}
    return {
        **{label: f"its newest proof failed: {found(one)}" for label, one in proven.items() if not one.passed},
        **{label: f"its files are damaged: {found(one)}" for label, one in read.items() if not one.passed},
    }


def every(backup: Host) -> tuple[Proof, ...]:
    """Every record, oldest first; a line that is torn tells nothing. Raises DrError when the host does not answer."""
    return parse(backup.run("cat %s 2>/dev/null || true", PROOFS).stdout)


def newest(backup: Host, since: float = 0) -> Proof | None:
    """The last proof by a restore, if it ended after `since` by the backup host's clock."""
    found = [one for one in every(backup) if one.restored]
    return found[-1] if found and found[-1].proven_at >= since else None


def parse(lines: str) -> tuple[Proof, ...]:
    """The same of the file's text."""
    return records(lines, _proof)


def records(lines: str, make: Callable[[dict[str, Any]], P]) -> tuple[P, ...]:
    """What `make` makes of each line of a file of proofs; a line that is torn is passed over."""
    found = []
    for line in lines.splitlines():
        try:
            found.append(make(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return tuple(found)


def figure(said: dict[str, Any], name: str) -> Any:
    """A measured figure, which a proof has and a verification has not."""
    return said.get(name, 0) if said["kind"] == VERIFY else said[name]


def _proof(said: dict[str, Any]) -> Proof:
    return Proof(
        label=said["label"], kind=said["kind"], repo=said["repo"], proven_at=float(said["proven_at"]),
        passed=said["outcome"] == "passed", seconds=float(said["seconds"]),
        restore_bytes=int(figure(said, "restore_bytes")), restore_s=float(figure(said, "restore_s")),
        wal_bytes=int(figure(said, "wal_bytes")), replay_s=float(figure(said, "replay_s")),
        checks=tuple(Check(one["name"], bool(one["ok"]), one["detail"]) for one in said["checks"]),
        damaged=tuple(said["damaged"]),
    )  # fmt: skip
