"""The records of restore proofs: what was restored, which checks it passed, what was damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from runbooks.hosts import Host
from runbooks.layout import PROOFS

P = TypeVar("P")


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


def every(backup: Host) -> tuple[Proof, ...]:
    """Every proof, oldest first; a line that is torn tells nothing. Raises DrError when the host does not answer."""
    return parse(backup.run("cat %s 2>/dev/null || true", PROOFS).stdout)


def newest(backup: Host, since: float = 0) -> Proof | None:
    """The last proof, if it ended after `since` by the backup host's clock."""
    found = every(backup)
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


def _proof(said: dict[str, Any]) -> Proof:
    return Proof(
        label=said["label"], kind=said["kind"], repo=said["repo"], proven_at=float(said["proven_at"]),
        passed=said["outcome"] == "passed", seconds=float(said["seconds"]), restore_bytes=int(said["restore_bytes"]),
        restore_s=float(said["restore_s"]), wal_bytes=int(said["wal_bytes"]), replay_s=float(said["replay_s"]),
        checks=tuple(Check(one["name"], bool(one["ok"]), one["detail"]) for one in said["checks"]),
        damaged=tuple(said["damaged"]),
    )  # fmt: skip
