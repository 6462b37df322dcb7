"""pgBackRest as the agents call it: what the repository holds, and errors told apart by who must act.

The configuration is the one for restoring (/etc/pgbackrest/restore.conf), with which this host may restore into any
directory of its own.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.base.errors import AgentError

CONFIG = Path("/etc/pgbackrest/restore.conf")
_FULL_BYTES = 1 << 20
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

    def command(self, *words: str, level: str = "warn") -> list[str]:
        """The command line, logging to standard error only, from `level` on. Nothing secret is on it."""
        return [
            "pgbackrest", f"--config={self.config}", f"--stanza={self.stanza}", f"--repo={self.number}",
            "--log-level-file=off", "--log-level-console=off", f"--log-level-stderr={level}", *words,
        ]  # fmt: skip

    def backups(self) -> tuple[Backup, ...]:
        """Every backup, oldest first. Raises AgentError, a family of its own for each thing that is wrong."""
        done = run(self.command("--output=json", "info"))
        if done.returncode in range(27, 38):
            raise Missing(f"{self.config} has no usable repository {self.number}.", "Name another --repo.")
        if done.returncode:
            raise failure(done.returncode, done.stderr, f"repository {self.number}")
        try:
            said = json.loads(done.stdout)
        except ValueError as error:
            # With a wrong key it quotes what came out of the decryption, and that is no JSON.
            if "unable to load info file" in done.stdout:
                raise self._shut() from error
            raise AgentError(f"pgbackrest info said no JSON: {done.stdout[:200]!r}.", "Run it by hand.") from error
        if not said:
            raise Missing(f"The repository has no stanza {self.stanza}.", "./dr deploy makes it.")
        return _backups(said[0], self)

    def _shut(self) -> KeyFailed:
        return KeyFailed(
            f"The key in {self.config} does not open repository {self.number}: neither copy of its list of backups can "
            "be read with it.",
            "repo1-cipher-pass there must be the repository's key; ./dr keys.escrow holds it.",
        )

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
            # With a wrong key its messages quote what came out of the decryption, which is no text.
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=timeout, check=False,
            stdin=subprocess.DEVNULL, cwd="/",
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise RepositoryAway(
            f"pgBackRest did not answer within {timeout:g} s.", "Look at the repository's host and its disk."
        ) from error
    except OSError as error:
        raise AgentError(f"{command[0]} cannot be run: {error.strerror}.", "./dr deploy installs it.") from error


def failure(code: int, text: str, what: str) -> AgentError:
    """Exit code and words of a pgBackRest that read no backup yet, as one of our families; `what` it was asked for."""
    said = first_error(text, code)
    if code == 95 or "cipher" in said or "CryptoError" in text:
        return KeyFailed(
            f"The repository's key does not open {what}: {said}.",
            "repo1-cipher-pass of the configuration must be the key that was used; ./dr keys.escrow says which.",
        )
    if code in (49, 56, 101, 105, 39) or re.search(r"unable to connect|timeout|connection", said):
        return RepositoryAway(f"The repository does not answer: {said}.", "Start its host, or name another --repo.")
    if code in (55, 73, 75, 103):
        return Missing(f"The repository lacks {what}: {said}.", "./dr backup.list shows what is there.")
    if code in (26, 28, 29):
        return Damaged(f"The repository is damaged at {what}: {said}.", "Use the off-site copy, or an older backup.")
    return AgentError(f"pgBackRest failed on {what} ({code}): {said}.", "Run `pgbackrest info` by hand.")


def restore_failure(code: int, text: str, label: str, data: Path) -> AgentError:
    """The same of a restore. The key has opened the list of backups, so what does not decrypt now is damaged."""
    said = first_error(text, code)
    # Its words lie on the disk that it fills: of a full one it may say nothing.
    if re.search(r"No space left|ENOSPC|Disk quota", text) or ("ERROR" not in text and _is_full(data.parent)):
        return NoSpace(f"The disk became full while {label} was restored: {said}.", "Make room, then run it again.")
    files = tuple(dict.fromkeys(_files(said, data)))
    if code in (26, 28, 29, 55, 95) or re.search(r"decompress|decrypt|checksum|unexpected eof", said, re.IGNORECASE):
        return Damaged(
            f"Backup {label} is damaged: {said.replace(f'{data}/', '')}.",
            "Restore an older one with --set; ./dr prove-backup --set names every damaged file.",
            files,
        )
    if code in (49, 56, 101, 105, 39, 63) or re.search(r"unable to connect|timeout|connection", said):
        return RepositoryAway(f"The repository went away during the restore of {label}: {said}.", "Run it again.")
    return AgentError(f"pgBackRest failed to restore {label} ({code}): {said}.", "restore.log beside it says more.")


def _is_full(folder: Path) -> bool:
    with suppress(OSError):
        return shutil.disk_usage(folder).free < _FULL_BYTES
    return False


def first_error(text: str, code: int = 0) -> str:
    """The first ERROR of pgBackRest's output in one line, without prefixes of processes, retries and hints."""
    match = re.search(r"ERROR: (?:\[\d+\]: )?(.*(?:\n {5,}.*)*)", text)
    if not match:
        return " ".join(text.split())[:300] or f"exit code {code}"
    words = " ".join(line.strip() for line in match.group(1).splitlines() if not line.strip().startswith("HINT:"))
    words = re.sub(r"\s*\[\w+Error\] on (?:retry|\d+ retries).*", "", words)
    words = re.sub(r"raised from [\w-]+ (?:shim )?protocol[^:]*: ", "", words)
    words = "".join(letter if letter.isprintable() else "?" for letter in words)
    words = words.strip().rstrip(".")
    return words if len(words) <= 300 else f"{words[:300]}..."


def damaged_files(repository: Repository, timeout: float = 3600) -> tuple[str, ...]:
    """What `pgbackrest verify` finds wrong, each 'what: file', over the whole repository; empty when nothing is."""
    done = run(repository.command("--verbose", "--output=text", "verify", level="info"), timeout)
    found = re.findall(
        r"INFO: ((?:invalid|missing|unable|size|checksum|error)[^\n']*'[^'\n]+')", done.stderr + done.stdout
    )
    if done.returncode and not found:
        found = [first_error(done.stderr, done.returncode)]
    return tuple(dict.fromkeys(found))


def _files(said: str, data: Path) -> list[str]:
    """Files that a message names: those of the cluster relative to its directory, those of the repository whole."""
    named = re.findall(r"'(/[^']+)'", said)
    return [name.removeprefix(f"{data}/") for name in named]


def taken(said: dict[str, Any]) -> tuple[int, int, int]:
    """The place of a backup, as `info` has it, in the order in which they were taken: by cluster, timeline and LSN.

    Its label and its times are what a clock said, which may have been wrong.
    """
    archive, high_low = said.get("archive") or {}, (said.get("lsn") or {}).get("stop") or "0/0"
    high, low = high_low.split("/")
    timeline = int((archive.get("stop") or "0" * 8)[:8], 16)
    return int(said.get("database", {}).get("id", 0)), timeline, (int(high, 16) << 32) + int(low, 16)


def _backups(said: dict[str, Any], repository: Repository) -> tuple[Backup, ...]:
    versions = {one["id"]: int(str(one["version"]).partition(".")[0]) for one in said.get("db", ())}
    status = said.get("status", {})
    if status.get("code") not in (0, 2):
        for one in said.get("repo", ()):
            if one.get("key") == repository.number and one["status"]["code"] not in (0, 2):
                message = str(one["status"]["message"])
                if "unable to load info file" in message or "CryptoError" in message:
                    raise repository._shut()
                raise failure(int(one["status"]["code"]), f"ERROR: {message}", f"repository {repository.number}")
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
        for one in sorted(said.get("backup", ()), key=taken)
        if one["database"].get("repo-key", 1) == repository.number
    ]
    return tuple(found)
