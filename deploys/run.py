"""Run pyinfra as a child process and read what it did from its JSON.

In-process pyinfra (gevent) reaps other children's exit codes and breaks invoke; see docs/decisions.md.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from deploys.tdengine import package
from deploys.text import DOWNGRADE, NOT_EMPTY, OTHER_MACHINE
from inventories import secrets, ssh_config
from inventories.catalog import channels
from inventories.catalog.load import load_alarms, load_recovery, load_tables
from inventories.errors import BadInput, DrError, Refused, TargetFailed
from inventories.inventory import inventory_path, read_inventory

_TELLING = re.compile(r"[Ee]rror|failed|refused|denied|cannot|Unable|FATAL|E:")
_GUARD = "start guard: refusing"  # says all by itself; what else is said follows from it
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Changes:
    """operation name -> hosts on which it changed something, or would."""

    by_operation: Mapping[str, tuple[str, ...]]
    operations: int

    def __bool__(self) -> bool:
        return bool(self.by_operation)


def deploy(
    inventory: str | None, limit: Sequence[str] = (), log: Path | None = None,
    say: Callable[[str], None] | None = None, *, restoring: bool = False,
) -> Changes:  # fmt: skip
    """Bring the hosts to the declared state. `log` keeps what pyinfra said.

    `say` hears each operation's name as it begins, and may end the deploy there with a DrError.

    With `restoring` hosts get everything but data: no primary is begun, no standby cloned, no backup taken.
    Raises TargetFailed with pyinfra's own reason, Refused rather than begin an empty primary beside backups.
    """
    document = _pyinfra(inventory, limit, "-y", log, say, {"restoring": "true"} if restoring else {})
    operations = (document.get("results") or {}).get("operations", [])
    return _changes([(entry["name"], entry["success"]) for entry in operations])


def drift(inventory: str | None, limit: Sequence[str] = (), log: Path | None = None) -> Changes:
    """What differs from the declared state. Uses --dry without -y: with it pyinfra would detect no change at all."""
    plan = _pyinfra(inventory, limit, "--dry", log, None, {}).get("plan") or []
    return _changes([(entry["name"], entry["hosts_with_change"]) for entry in plan])


def _changes(operations: Sequence[tuple[str, Sequence[str]]]) -> Changes:
    """Two operations may have one name. Raises TargetFailed for none at all: nothing was looked at then."""
    if not operations:
        raise TargetFailed("pyinfra ran no operation at all", "is every host of the inventory in a group of its own?")
    changed: dict[str, set[str]] = {}
    for name, hosts in operations:
        if hosts:
            changed.setdefault(name, set()).update(hosts)
    return Changes({name: tuple(sorted(hosts)) for name, hosts in changed.items()}, len(operations))


def _pyinfra(
    inventory: str | None, limit: Sequence[str], mode: str, log: Path | None, say: Callable[[str], None] | None,
    data: Mapping[str, str],
) -> dict[str, Any]:  # fmt: skip
    require_sound_files(inventory)
    command = [*_ends_with_us(), sys.executable, "-m", "pyinfra", "--json", "--fail-percent", "0", mode]
    for host in limit:
        command += ["--limit", host]
    reached_by = ssh_config.pyinfras(read_inventory(inventory).hosts)
    for name, value in {**data, "ssh_config_file": reached_by}.items():
        command += ["--data", f"{name}={value}"]
    command += [str(inventory_path(inventory)), "deploys/cluster.py"]
    environment = {key: value for key, value in os.environ.items() if key != "PYINFRA_YES"}
    environment |= {"PYINFRA_PROGRESS": "off", "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryFile("w+") as answer, log.open("w") if log else nullcontext() as kept:
        with subprocess.Popen(
            command, stdout=answer, stderr=subprocess.PIPE, text=True, errors="replace", cwd=ROOT, env=environment,
            stdin=subprocess.DEVNULL,
        ) as child:  # fmt: skip
            try:
                said = _listen(child, kept, say)
            except DrError:  # whoever listens has a reason to go no further
                child.terminate()
                raise
        answer.seek(0)
        text = answer.read().strip()
    # Ctrl-C makes pyinfra exit 0 without a document; so no document is a failure whatever the exit code says.
    if child.returncode or not text:
        _refuse(said)
        hint = "mend the cause and run it again: a deploy may be repeated at any time"
        raise TargetFailed(f"pyinfra failed: {_reason(said)}", f"{hint}; {log} has all" if log else hint)
    document = json.loads(text)
    assert isinstance(document, dict)
    return document


def _ends_with_us() -> tuple[str, ...]:
    """A deploy that outlives the run which began it would change hosts beside the one that is repeated."""
    program = shutil.which("setpriv")
    return (program, "--pdeathsig", "KILL") if program else ()


def require_sound_files(inventory: str | None) -> None:
    """Raises BadInput for what pyinfra's child process would stumble over: inventory, catalogue, secrets, package."""
    found = read_inventory(inventory)
    load_tables()
    load_recovery()
    if "secrets_file" in found.data:
        secrets.load(str(found.data["secrets_file"]))
    if found.data.get("alarm_channels"):
        channels.routes(found.data, load_alarms().recipients)
    where, digest = package.named(found.data)
    if where and found.groups.get("tdengine"):
        package.fetch(where, digest, package.cache(str(found.data["pki_dir"])))


def _listen(child: subprocess.Popen[str], kept: IO[str] | None, say: Callable[[str], None] | None) -> str:
    """Everything that the child says, kept line by line so that also an interrupted run leaves its log."""
    lines = []
    assert child.stderr is not None
    for line in child.stderr:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
        lines.append(plain)
        if kept:
            kept.write(plain)
            kept.flush()
        started = re.match(r"--> Starting operation: (.*)", plain.strip())
        if say and started:
            say(started[1])
    return "".join(lines)


_REFUSALS: Mapping[str, tuple[type[DrError], str]] = {
    NOT_EMPTY: (Refused, "./dr restore-cluster restores it from there onto hosts that hold no data"),
    DOWNGRADE: (Refused, "name the package of the version in use, or a newer one; no server was touched"),
    OTHER_MACHINE: (BadInput, "name the package for that machine"),
}


def _refuse(stderr: str) -> None:
    """Raises what a host refused in words of ours, when that is what ended the deploy."""
    for words, (kind, hint) in _REFUSALS.items():
        if told := re.search(rf"([\w.-]+: {words}: .*)", stderr):
            raise kind(told[1].strip(), hint)


def _reason(stderr: str) -> str:
    """The lines of pyinfra's log that say what went wrong on which host."""
    plain = [line.strip() for line in stderr.splitlines()]
    guard = [line for line in plain if _GUARD in line]
    telling = guard or [line for line in plain if _TELLING.search(line)]
    return " | ".join(dict.fromkeys(telling or plain))[:900] or "pyinfra said nothing"
