"""Leases on the backup repository: while one lives, nothing in it expires.

A restore, a drill and a proof each hold one, by hand:

    python3 -m agents.jobs.leases hold ID --owner WHO --why SENTENCE [--label LABEL] --seconds N
    python3 -m agents.jobs.leases release ID
    python3 -m agents.jobs.leases list

A lease ends by itself after its seconds, so that a holder who died does not stop retention for ever; who needs longer
holds it again. They are counted since the boot and not by the clock, which may jump by months and end what still lives;
after a reboot, which nobody knows the length of, they are counted anew. Taking one and expiring exclude each other:
whoever holds a lease may then choose a backup and rely on it.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from agents.base import clock, files
from agents.base.errors import AgentError, run
from agents.base.locks import held

FOLDER = Path("/var/lib/mystocks-dr/leases")
PATIENCE_S = 120.0  # an expire run that is under way has ended by then


_OLDEST_S = 24 * 3600.0  # of an earlier release, which noted when it ends by the clock
_FOREVER_S = 1e12


@dataclass(frozen=True)
class Lease:
    """Who relies on the repository, why, on which backup (None: any of them), and for how many seconds.

    `ends`: seconds since the boot `boot_id`, set when it is taken.
    """

    id: str
    owner: str
    why: str
    label: str | None
    seconds: float
    boot_id: str = ""
    ends: float = 0.0

    @property
    def sentence(self) -> str:
        left = self.ends - clock.since_boot()
        told = f"for {clock.span(left)} more" if self.ends < _FOREVER_S else "without an end"
        return f"{self.owner} holds a lease {told}: {self.why}"

    @property
    def lives(self) -> bool:
        return self.ends > clock.since_boot()

    def begun(self) -> Lease:
        """The same, its seconds counted from now on."""
        return replace(self, boot_id=clock.boot_id(), ends=clock.since_boot() + self.seconds)


def hold(lease: Lease, folder: Path = FOLDER) -> None:
    """Take or prolong a lease. Raises AgentError for an id that is none, and when an expire run does not end."""
    with exclusively(folder):
        _write(lease.begun(), folder)


def release(identity: str, folder: Path = FOLDER) -> None:
    """Give it back; one that is not there was given back already."""
    _path(identity, folder).unlink(missing_ok=True)


def live(folder: Path = FOLDER) -> tuple[Lease, ...]:
    """Those that have not ended; ended ones are taken away. One that cannot be read counts, and never ends by itself.

    Call it inside `exclusively` when something is to depend on the answer.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        lease = _read(path)
        if lease.boot_id != clock.boot_id():
            lease = lease.begun()
            with suppress(OSError):  # whoever may not write here leaves it to the next who looks
                _write(lease, folder)
        if lease.lives:
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
        said = json.loads(path.read_text())
        if said.pop("until", None) is not None:
            said["seconds"] = _OLDEST_S
        return Lease(**said)
    except (OSError, ValueError, TypeError, AttributeError):
        why = f"{path} cannot be read; remove it when nobody restores"
        return Lease(path.stem, "somebody", why, None, _OLDEST_S, clock.boot_id(), _FOREVER_S)


def _write(lease: Lease, folder: Path) -> None:
    files.replace(_path(lease.id, folder), json.dumps(asdict(lease)) + "\n")


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
        hold(Lease(options.id, options.owner, options.why, options.label, options.seconds), options.folder)
    elif options.command == "release":
        release(options.id, options.folder)
    else:
        print(json.dumps([asdict(lease) for lease in live(options.folder)]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
