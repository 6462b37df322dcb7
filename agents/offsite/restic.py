"""restic as the off-site copy calls it, from 0.12 (Ubuntu 22.04) on: passwords come from files, errors are told apart.

Before 0.17 it ended with 1 whatever was wrong, named folders of a snapshot in no way, and told nothing of a restore; so
its words count where its code says nothing, and a folder is brought back by way of another.
"""

from __future__ import annotations

import functools
import json
import re
import socket
import subprocess
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.base.errors import AgentError
from agents.jobs.config import Offsite

CACHE = Path("/var/cache/mystocks-dr/restic")
NO_REPOSITORY, LOCKED, WRONG_PASSWORD = 10, 11, 12
KNOCK_S = 10.0
FOLDERS_SINCE = (0, 17)  # `restore SNAPSHOT:FOLDER`, and what was restored as JSON


class NoRepository(AgentError):  # noqa: N818 - named after what is wrong, as in the rest of the repository
    """There is no restic repository on the off-site host yet."""


def command(offsite: Offsite, *words: str) -> list[str]:
    """Nothing secret is on it: the address of a rest-server, with the account's password in it, comes from a file."""
    if offsite.repository_file:
        where = ["--repository-file", str(offsite.repository_file), "--cacert", str(offsite.ca_file)]
    else:
        ssh = f"ssh -F {offsite.ssh_config} {offsite.host} -s sftp"
        where = ["--repo", offsite.repository, "-o", f"sftp.command={ssh}"]
    return [
        "restic", *where, "--password-file", str(offsite.password_file), "--cache-dir", str(CACHE), "--cleanup-cache",
        "--json", *words,
    ]  # fmt: skip


def run(offsite: Offsite, *words: str, cwd: str = "/") -> list[dict[str, Any]]:
    """Run to its end; its messages as dictionaries. Raises AgentError with restic's reason."""
    _knock(offsite)
    done = subprocess.run(
        command(offsite, *words), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, cwd=cwd
    )
    if done.returncode:
        raise _failure(offsite, words[0], done.returncode, done.stderr)
    return list(_messages(done.stdout))


def _knock(offsite: Offsite) -> None:
    """restic asks a rest-server that is gone again for a quarter of an hour before it says so; ssh says it at once."""
    if not offsite.repository_file:
        return
    where = urllib.parse.urlsplit(offsite.repository.removeprefix("rest:"))
    try:
        socket.create_connection((where.hostname or "", where.port or 443), KNOCK_S).close()
    except OSError as error:
        said = error.strerror or str(error)
        raise AgentError(f"The rest-server of {offsite.host} does not answer: {said}.", _hint(offsite)) from error


@functools.cache
def version() -> tuple[int, ...]:
    """Of the restic of this host; nothing where there is none."""
    try:
        said = subprocess.run(["restic", "version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return ()
    match = re.match(r"restic (\d+)\.(\d+)", said)
    return (int(match[1]), int(match[2])) if match else ()


def summary(messages: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The message that sums a command up; empty without one."""
    return next((one for one in reversed(messages) if one.get("message_type") == "summary"), {})


def _messages(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict):
            yield said
        elif isinstance(said, list):  # snapshots and forget answer with one list
            yield from (one for one in said if isinstance(one, dict))


def _failure(offsite: Offsite, what: str, code: int, text: str) -> AgentError:
    said = _reason(text)
    gone = re.search(r"no such file|does not exist|not found|\b404\b", text, re.IGNORECASE)
    if code == NO_REPOSITORY or (gone and "Is there a repository at the following location" in text):
        return NoRepository(
            f"{offsite.host} holds no copy: there is no restic repository at {offsite.repository}.",
            "./dr backup.run --type offsite makes the first copy.",
        )
    if code == WRONG_PASSWORD or "wrong password or no key found" in text:
        return AgentError(
            f"The secret `restic` does not open the repository on {offsite.host}.",
            "It must be the one with which the first copy was made; the escrow bundle holds it.",
        )
    if "401 Unauthorized" in text:
        return AgentError(
            f"The rest-server of {offsite.host} does not know this account.", "./dr deploy gives both the same one."
        )
    if code == LOCKED or "already locked" in text:
        return AgentError(
            f"The repository on {offsite.host} is locked: {said}.",
            "When nobody works on it, `restic unlock --remove-all` as postgres takes the lock away.",
        )
    return AgentError(f"restic {what} to {offsite.host} ended with {code}: {said}.", _hint(offsite))


def _hint(offsite: Offsite) -> str:
    if offsite.repository_file:
        return f"`systemctl status mystocks-offsite` on {offsite.host} shows whether it runs."
    return f"`ssh -F {offsite.ssh_config} {offsite.host} -s sftp` as postgres shows whether it answers."


def _reason(text: str) -> str:
    """The first line that says something, out of JSON or not."""
    lines = []
    for line in text.splitlines():
        try:
            said = json.loads(line)
            error = said.get("error")
            lines.append(str(said.get("message") or (error or {}).get("message") or ""))
        except (ValueError, AttributeError):
            lines.append(line.strip())
    telling = [line for line in lines if line]
    return " ".join(telling)[:400].rstrip(".") or "no message"
