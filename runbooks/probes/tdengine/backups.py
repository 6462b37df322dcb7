"""TDengine's backups on the backup host: what there is, what was proven, what retention would let go."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runbooks.hosts import Estate, Host
from runbooks.probes.jobs import Fate, Retention
from runbooks.probes.postgresql.proofs import VERIFY, Check, damaged, figure, records

PROOFS = "/var/lib/mystocks-dr/td-proofs.jsonl"
FOLDER = "/var/lib/mystocks-dr/tdengine"
LOST = "/var/lib/mystocks-dr/jobs/td-lost"
SETTINGS = "/etc/mystocks-dr/td-backup.json"
_AGENTS = "cd /opt/mystocks-dr && exec python3 -m agents."


@dataclass(frozen=True)
class Backup:
    """One backup. Times in unix seconds; `rows` of the whole database, `rows_dumped` those that its own files hold;
    `chain`: labels whose files a restore reads; `why` it cannot be restored, empty when it can; `tables`: what it has
    rows of; `left_out`: (table, why) of what it has nothing of.
    """

    label: str
    kind: str
    started_at: float
    ended_at: float
    rows: int
    rows_dumped: int
    bytes: int
    key_id: str
    chain: tuple[str, ...]
    why: str
    tables: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Dump:
    """One dump of the second engine, taosdump. `left_out`: (table, why) of what it cannot take."""

    label: str
    ended_at: float
    rows: int
    bytes: int
    why: str
    proven_at: float | None = None
    left_out: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Known:
    """Everything that is there, oldest first."""

    backups: tuple[Backup, ...]
    dumps: tuple[Dump, ...]

    @property
    def newest(self) -> Backup | None:
        return self.backups[-1] if self.backups else None

    def chain_bytes(self, label: str) -> int:
        """What a restore of this backup reads."""
        sizes = {one.label: one.bytes for one in self.backups}
        return sum(sizes.get(link, 0) for one in self.backups if one.label == label for link in one.chain)


@dataclass(frozen=True)
class Proof:
    """One backup's trial: restored into a server of its own and held against its manifest."""

    label: str
    kind: str
    proven_at: float
    passed: bool
    seconds: float
    restore_bytes: int
    restore_rows: int
    restore_s: float
    checks: tuple[Check, ...]
    damaged: tuple[str, ...]
    sentence: str

    @property
    def restored(self) -> bool:
        return self.kind != VERIFY


def is_there(estate: Estate) -> bool:
    """Whether this estate backs TDengine up. Raises DrError when the backup host does not answer."""
    if not estate.groups.get("tdengine"):
        return False
    return estate.backup.run("test -e %s", SETTINGS, expect=None).rc == 0


def look(backup: Host, timeout: float = 60) -> Known:
    """Asked of the agents' own program, which also measures the files. Raises DrError."""
    said = backup.run(f"{_AGENTS}tdengine.backup.listing", user="postgres", timeout=timeout).json()
    return Known(tuple(map(_backup, said["backups"])), tuple(map(_dump, said["dumps"])))


def labels(backup: Host, timeout: float | None = None) -> tuple[str, ...]:
    """Of what is published, oldest first; quick, and says nothing of what is in it. Raises DrError."""
    ran = backup.run("ls %s 2>/dev/null || true", FOLDER, user="postgres", timeout=timeout)
    return tuple(sorted(ran.stdout.split(), key=lambda label: label[-16:-1]))


def lost(backup: Host) -> tuple[str, str]:
    """The backup that has rows which TDengine, and so every newer backup, lacks; a sentence. Both empty: no such."""
    try:
        said = json.loads(backup.run("cat %s 2>/dev/null || true", LOST).stdout)
        return str(said["label"]), str(said["sentence"])
    except (ValueError, KeyError, TypeError):
        return "", ""


def proofs(backup: Host) -> tuple[Proof, ...]:
    """Every proof, oldest first; a line that is torn tells nothing. Raises DrError when the host does not answer."""
    return parse(backup.run("cat %s 2>/dev/null || true", PROOFS).stdout)


def parse(lines: str) -> tuple[Proof, ...]:
    """The same of the file's text."""
    return records(lines, _proof)


def failed(records: Sequence[Proof]) -> dict[str, str]:
    """label -> what was found, for backups whose newest proof failed or that the last verification found damaged."""
    return damaged(records, lambda proof: next(iter(proof.damaged), proof.sentence))


def retention(backup: Host, timeout: float = 60) -> tuple[Retention, tuple[str, ...]]:
    """The plan of agents/tdengine/backup/expire.py, and what no backup that stays has. Raises DrError."""
    said = backup.run(f"{_AGENTS}tdengine.backup.expire plan", user="postgres", timeout=timeout).json()
    goes, stays = (tuple(Fate(**one) for one in said[name]) for name in ("goes", "stays"))
    return Retention(goes, stays, said["why"], said["held"], said["restorable_from"]), tuple(said["uncovered"])


def _backup(said: dict[str, Any]) -> Backup:
    return Backup(
        label=said["label"], kind=said["kind"], started_at=float(said.get("started_at", 0)),
        ended_at=float(said.get("ended_at", 0)), rows=int(said.get("rows", 0)),
        rows_dumped=int(said.get("rows_dumped", 0)), bytes=int(said.get("bytes", 0)), key_id=said.get("key_id", ""),
        chain=tuple(said.get("chain", (said["label"],))), why=said["why"], tables=tuple(said.get("totals", ())),
        left_out=tuple(said.get("left_out", {}).items()),
    )  # fmt: skip


def _dump(said: dict[str, Any]) -> Dump:
    size = int((said.get("file") or {}).get("bytes", 0))
    ended, rows = float(said.get("ended_at", 0)), int(said.get("rows", 0))
    left_out = tuple(said.get("left_out", {}).items())
    return Dump(said["label"], ended, rows, size, said["why"], said.get("proven_at"), left_out)


def _proof(said: dict[str, Any]) -> Proof:
    return Proof(
        label=said["label"], kind=said["kind"], proven_at=float(said["proven_at"]), passed=said["outcome"] == "passed",
        seconds=float(said["seconds"]), restore_bytes=int(figure(said, "restore_bytes")),
        restore_rows=int(figure(said, "restore_rows")), restore_s=float(figure(said, "restore_s")),
        checks=tuple(Check(one["name"], bool(one["ok"]), one["detail"]) for one in said["checks"]),
        damaged=tuple(said["damaged"]), sentence=said["sentence"],
    )  # fmt: skip
