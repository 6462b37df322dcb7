"""Run pyinfra as a child process and read what it did from its JSON.

In-process pyinfra (gevent) reaps other children's exit codes and breaks invoke; see docs/decisions.md.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inventories.errors import TargetFailed
from inventories.inventory import inventory_path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Changes:
    """operation name -> hosts on which it changed something, or would."""

    by_operation: Mapping[str, tuple[str, ...]]
    operations: int

    def __bool__(self) -> bool:
        return bool(self.by_operation)


def deploy(inventory: str | None, limit: Sequence[str] = (), log: Path | None = None) -> Changes:
    """Bring the hosts to the declared state. Raises TargetFailed with pyinfra's own reason."""
    document = _pyinfra(inventory, limit, "-y", log)
    operations = (document.get("results") or {}).get("operations", [])
    changed = {entry["name"]: tuple(sorted(entry["success"])) for entry in operations if entry["success"]}
    return Changes(changed, len(operations))


def drift(inventory: str | None, limit: Sequence[str] = ()) -> Changes:
    """What differs from the declared state. Uses --dry without -y: with it pyinfra would detect no change at all."""
    plan = _pyinfra(inventory, limit, "--dry", None).get("plan") or []
    wanted = {entry["name"]: sorted(entry["hosts_with_change"]) for entry in plan if entry["hosts_with_change"]}
    return Changes({name: tuple(hosts) for name, hosts in wanted.items()}, len(plan))


def _pyinfra(inventory: str | None, limit: Sequence[str], mode: str, log: Path | None) -> dict[str, Any]:
    command = [sys.executable, "-m", "pyinfra", "--json", "--fail-percent", "0", mode]
    for host in limit:
        command += ["--limit", host]
    command += [str(inventory_path(inventory)), "deploys/cluster.py"]
    environment = {key: value for key, value in os.environ.items() if key != "PYINFRA_YES"}
    environment |= {"PYINFRA_PROGRESS": "off", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=False
    )
    if log:
        log.write_text(done.stderr)
    # Ctrl-C makes pyinfra exit 0 without a document; so no document is a failure whatever the exit code says.
    if done.returncode or not done.stdout.strip():
        raise TargetFailed(f"the deploy failed: {_reason(done.stderr)}", "the deploy is idempotent: mend the cause and run it again")
    document = json.loads(done.stdout)
    assert isinstance(document, dict)
    return document


def _reason(stderr: str) -> str:
    """The lines of pyinfra's log that say what went wrong on which host."""
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in stderr.splitlines()]
    telling = [line for line in plain if re.search(r"[Ee]rror|failed|refused|denied|cannot|Unable|FATAL|E:", line)]
    return " | ".join(dict.fromkeys(telling or plain))[:900] or "pyinfra said nothing"
