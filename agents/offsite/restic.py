"""restic as the off-site copy calls it: the password comes from a file, errors are told apart by exit code."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.base.errors import AgentError
from agents.jobs.config import Offsite

CACHE = Path("/var/cache/mystocks-dr/restic")
NO_REPOSITORY, WRONG_PASSWORD = 10, 12


class NoRepository(AgentError):  # noqa: N818 - named after what is wrong, as in the rest of the repository
    """There is no restic repository on the off-site host yet."""


def command(offsite: Offsite, *words: str) -> list[str]:
    """Nothing secret is on it."""
    ssh = f"ssh -F {offsite.ssh_config} {offsite.host} -s sftp"
    return [
        "restic", "--repo", offsite.repository, "--password-file", str(offsite.password_file), "--cache-dir",
        str(CACHE), "--cleanup-cache", "-o", f"sftp.command={ssh}", "--json", *words,
    ]  # fmt: skip


def run(offsite: Offsite, *words: str, cwd: str = "/") -> list[dict[str, Any]]:
    """Run to its end; its messages as dictionaries. Raises AgentError with restic's reason."""
    done = subprocess.run(
        command(offsite, *words), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, cwd=cwd
    )
    if done.returncode:
        raise _failure(offsite, words[0], done.returncode, done.stderr)
    return list(_messages(done.stdout))


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
    if code == NO_REPOSITORY:
        return NoRepository(
            f"{offsite.host} holds no copy: there is no restic repository at {offsite.repository}.",
            "./dr backup.run --type offsite makes the first copy.",
        )
    if code == WRONG_PASSWORD:
        return AgentError(
            f"The secret `restic` does not open the repository on {offsite.host}.",
            "It must be the one with which the first copy was made; the escrow bundle holds it.",
        )
    hint = f"`ssh -F {offsite.ssh_config} {offsite.host} -s sftp` as postgres shows whether it answers."
    return AgentError(f"restic {what} to {offsite.host} ended with {code}: {said}.", hint)


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
