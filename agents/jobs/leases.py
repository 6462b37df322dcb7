"""Leases on the backup repository: while one lives, nothing in it expires.

A restore, a drill and a proof each hold one, by hand:

    python3 -m agents.jobs.leases hold ID --owner WHO --why SENTENCE [--label LABEL] --seconds N
    python3 -m agents.jobs.leases release ID
    python3 -m agents.jobs.leases list

A lease ends by itself at `until`, so that a holder who died does not stop retention for ever; who needs longer holds it
again. Taking one and expiring exclude each other: whoever holds a lease may then choose a backup and rely on it.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from agents.base import files
from agents.base.errors import AgentError, run
from agents.base.locks import held

FOLDER = Path("/var/lib/mystocks-dr/leases")
PATIENCE_S = 120.0  # an expire run that is under way has ended by then


@dataclass(frozen=True)
class Lease:
    """Who relies on the repository, why, on which backup (None: any of them), until when (unix seconds)."""

    id: str
    owner: str
    why: str
    label: str | None
    until: float

    @property
    def sentence(self) -> str:
        ends = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.until))
        return f"{self.owner} holds a lease until {ends}: {self.why}"


def hold(lease: Lease, folder: Path = FOLDER) -> None:
    """Take or prolong a lease. Raises AgentError for an id that is none, and when an expire run does not end."""
    with exclusively(folder):
        files.replace(_path(lease.id, folder), json.dumps(asdict(lease)) + "\n")


def release(identity: str, folder: Path = FOLDER) -> None:
    """Give it back; one that is not there was given back already."""
    _path(identity, folder).unlink(missing_ok=True)


def live(folder: Path = FOLDER, now: float | None = None) -> tuple[Lease, ...]:
    """Those that have not ended; ended ones are taken away. One that cannot be read counts, and never ends by itself.

    Call it inside `exclusively` when something is to depend on the answer.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        lease = _read(path)
        if lease.until > (time.time() if now is None else now):
            found.append(lease)
        else:
            path.unlink(missing_ok=True)
    return tuple(found)


@contextmanager
def exclusively(folder: Path = FOLDER, patience: float = PATIENCE_S) -> Iterator[None]:
    """Nobody takes a lease inside. Raises AgentError when somebody else stays inside for `patience` seconds."""
    expiring = AgentError(
        f"Backups have been expiring for more than {patience:g} s, and no lease is given meanwhile.",
        "Look at /var/lib/mystocks-dr/jobs/expire.json on the backup host, then try again.",
    )
    with held(folder / ".lock", expiring, patience, 0o644):
        yield


def _read(path: Path) -> Lease:
    try:
        return Lease(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return Lease(path.stem, "somebody", f"{path} cannot be read; remove it when nobody restores", None, 9e9)


def _path(identity: str, folder: Path) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", identity):
        raise AgentError(f"{identity!r} is no name for a lease.", "Use letters, digits, dots and dashes.")
    return folder / f"{identity}.json"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.jobs.leases", description="Leases on the backup repository.")
    commands = parser.add_subparsers(dest="command", required=True)
    holding = commands.add_parser("hold", help="keep everything in the repository for a while")
    holding.add_argument("id")
    for name in ("--owner", "--why"):
        holding.add_argument(name, required=True)
    holding.add_argument("--label", default=None)
    holding.add_argument("--seconds", type=float, required=True)
    commands.add_parser("release", help="give it back").add_argument("id")
    commands.add_parser("list", help="those that live, as JSON")
    for command in commands.choices.values():
        command.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args(arguments)
    if options.command == "hold":
        until = time.time() + options.seconds
        hold(Lease(options.id, options.owner, options.why, options.label, until), options.folder)
    elif options.command == "release":
        release(options.id, options.folder)
    else:
        print(json.dumps([asdict(lease) for lease in live(options.folder)]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
