"""pgBackRest as the agents call it: what the repository holds, and errors told apart by who must act.

The configuration is the one for restoring (/etc/pgbackrest/restore.conf), with which this host may restore into any
directory of its own.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.errors import AgentError

CONFIG = Path("/etc/pgbackrest/restore.conf")
STANZA = "main"


class KeyFailed(AgentError):  # noqa: N818 - named after what is wrong, as in the rest of the repository
    """The repository's key is not the one that this was encrypted with."""


class Damaged(AgentError):  # noqa: N818
    """A file of the repository is not what it was. `files` names what could not be restored."""

    def __init__(self, sentence: str, hint: str, files: tuple[str, ...] = ()) -> None:
        super().__init__(sentence, hint)
        self.files = files


class Missing(AgentError):  # noqa: N818
    """The repository lacks what was asked for."""


class RepositoryAway(AgentError):  # noqa: N818
    """The host that keeps the repository does not answer."""


class NoSpace(AgentError):  # noqa: N818
    """The target's file system is too small, or was."""


@dataclass(frozen=True)
class Backup:
    """One backup as `info` has it. Times are unix seconds, `size` the bytes of a restored cluster."""

    label: str
    kind: str
    started_at: int
    stopped_at: int
    lsn_start: str
    lsn_stop: str
    wal_start: str
    wal_stop: str
    size: int
    error: bool
    version: int
    archive_max: str
    annotation: Mapping[str, str] = field(default_factory=dict)

    @property
    def timeline(self) -> int:
        return int(self.wal_stop[:8], 16)


@dataclass(frozen=True)
class Repository:
    """One repository of one stanza, seen from this host."""

    config: Path = CONFIG
    number: int = 1
    stanza: str = STANZA

    def command(self, *words: str) -> list[str]:
        """The command line, logging to standard error only. Nothing secret is on it."""
        return [
            "pgbackrest", f"--config={self.config}", f"--stanza={self.stanza}", f"--repo={self.number}",
            "--log-level-file=off", "--log-level-console=off", "--log-level-stderr=warn", *words,
        ]  # fmt: skip

    def backups(self) -> tuple[Backup, ...]:
        """Every backup, oldest first. Raises AgentError, a family of its own for each thing that is wrong."""
        done = run(self.command("--output=json", "info"))
        if done.returncode:
            raise failure(done.returncode, done.stderr, f"repository {self.number}")
        try:
            said = json.loads(done.stdout)
        except ValueError as error:
            raise AgentError(f"pgbackrest info said no JSON: {done.stdout[:200]!r}.", "Run it by hand.") from error
        if not said:
            raise Missing(f"The repository has no stanza {self.stanza}.", "./dr deploy makes it.")
        return _backups(said[0], self)

    def backup(self, label: str) -> Backup:
        """The one of this label. Raises Missing naming those there are."""
        every = self.backups()
        for one in every:
            if one.label == label:
                return one
        known = ", ".join(one.label for one in every) or "none"
        raise Missing(f"There is no backup {label} in repository {self.number}.", f"It holds {known}.")


def run(command: Sequence[str], timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run to its end. Raises RepositoryAway when it does not end in time."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL, cwd="/"
        )
    except subprocess.TimeoutExpired as error:
        raise RepositoryAway(
            f"pgBackRest did not answer within {timeout:g} s.", "Look at the repository's host and its disk."
        ) from error
    except OSError as error:
        raise AgentError(f"{command[0]} cannot be run: {error.strerror}.", "./dr deploy installs it.") from error


def failure(code: int, text: str, what: str) -> AgentError:
    """pgBackRest's exit code and words as one of our families, `what` naming what it was doing."""
    said = errors(text)
    first = said[0] if said else f"exit code {code}"
    whole = " ".join(said)
    if re.search(r"CryptoError|cipher header invalid|\[095\]|unable to decrypt|option '\S*cipher", whole):
        # One file that does not decrypt is damaged; when nothing does, the key is wrong.
        if _files(whole) and "info" not in whole:
            return _damaged(what, whole)
        return KeyFailed(
            f"The repository's key does not open {what}: {first}.",
            "repo1-cipher-pass of restore.conf must be the key of the day of the backup; see ./dr keys.escrow.",
        )
    if re.search(r"No space left|\[028\].*space|ENOSPC", whole):
        return NoSpace(f"The disk became full while {what} was restored: {first}.", "Make room, then run it again.")
    if re.search(r"checksum|decompress|\[026\]|zst|unexpected eof|FormatError|\[029\]|block incremental", whole, re.I):
        return _damaged(what, whole)
    if code in (49, 56, 105, 101) or re.search(r"unable to connect|timeout|host.*not|\[049\]|\[039\]", whole):
        return RepositoryAway(f"The repository does not answer: {first}.", "Start its host, or name another --repo.")
    if code in (55, 73, 75, 103) or re.search(r"\[055\]|missing file|unable to open missing", whole):
        files = _files(whole)
        if files:
            return _damaged(what, whole)
        return Missing(f"The repository lacks something of {what}: {first}.", "./dr backup.list shows what is there.")
    return AgentError(f"pgBackRest failed on {what} ({code}): {first}.", "Its log lies beside the side cluster.")


def errors(text: str) -> list[str]:
    """Messages of ERROR lines with what follows them, the host and process prefixes taken off."""
    found: list[str] = []
    for line in text.splitlines():
        match = re.search(r"(?:P\d+\s+)?(?:ERROR|WARN):\s*(.*)", line)
        if match and "WARN" not in line:
            found.append(match.group(1).strip())
        elif found and line.strip() and not re.match(r"\s*(HINT|P\d+)", line.strip()):
            found[-1] += " " + line.strip()
    return [one.rstrip(".") for one in found]


def _damaged(what: str, whole: str) -> Damaged:
    files = _files(whole)
    named = f" at {', '.join(files[:3])}" if files else ""
    return Damaged(
        f"Backup {what} is damaged{named}: {whole[:300]}.",
        "Restore an older backup with --set; `pgbackrest verify` lists every damaged file.",
        files,
    )


def _files(text: str) -> tuple[str, ...]:
    found = re.findall(r"(?:'|\s)(/[^\s':]*/(?:backup|archive)/[^\s':]+|/[^\s':]+/side-[^\s':]+)", text)
    return tuple(dict.fromkeys(found))


def _backups(said: dict[str, Any], repository: Repository) -> tuple[Backup, ...]:
    versions = {one["id"]: int(str(one["version"]).partition(".")[0]) for one in said.get("db", ())}
    status = said.get("status", {})
    if status.get("code") not in (0, 2):
        for one in said.get("repo", ()):
            if one.get("key") == repository.number and one["status"]["code"] not in (0, 2):
                raise failure(int(one["status"]["code"]), f"ERROR: {one['status']['message']}", "the repository")
    newest = {one["database"]["id"]: one.get("max") or "" for one in said.get("archive", ())}
    found = [
        Backup(
            label=one["label"],
            kind=one["type"],
            started_at=one["timestamp"]["start"],
            stopped_at=one["timestamp"]["stop"],
            lsn_start=one["lsn"]["start"],
            lsn_stop=one["lsn"]["stop"],
            wal_start=one["archive"]["start"],
            wal_stop=one["archive"]["stop"],
            size=one["info"]["size"],
            error=bool(one.get("error")),
            version=versions.get(one["database"]["id"], 0),
            archive_max=newest.get(one["database"]["id"], ""),
            annotation=one.get("annotation") or {},
        )
        for one in said.get("backup", ())
        if one["database"].get("repo-key", 1) == repository.number
    ]
    return tuple(sorted(found, key=lambda one: one.stopped_at))
