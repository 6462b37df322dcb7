"""Let snapshots of an append-only off-site copy go, from the operator's machine: the backup host cannot, on purpose.

What may go the backup host says, by the law of its own backups; the off-site host lets it go, and is handed the copy's
password for that moment, on standard input.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from inventories.errors import BadInput, Refused
from runbooks import agent
from runbooks.engine.budgets import budget
from runbooks.hosts import Estate

REST = "rest-server"
FOLDER = "/var/lib/mystocks-offsite/backups"
# The password comes on standard input and stays out of every process list.
_FORGET = """
IFS= read -r RESTIC_PASSWORD && export RESTIC_PASSWORD
exec restic --repo %s --no-cache --json forget{rules} --prune{look}
"""


@dataclass(frozen=True)
class Gone:
    """Snapshots that stay and that went, or would; `held`: why none may, empty when they may."""

    host: str
    stays: tuple[str, ...]
    goes: tuple[str, ...]
    held: str

    @property
    def sentence(self) -> str:
        if self.held:
            further = f" {len(self.goes)} of its {len(self.stays) + len(self.goes)} copies would go otherwise."
            return f"Nothing expires on {self.host}: {self.held}.{further if self.goes else ''}"
        return f"Of the copies on {self.host} {len(self.stays)} stay, {len(self.goes)} go."


def expire(estate: Estate, password: SecretStr, only_look: bool) -> Gone:
    """Raises BadInput where the backup host lets them go by itself, Refused when none may go, DrError."""
    there = estate.groups.get("offsite", ())
    if not there:
        raise BadInput(f"estate {estate.name} has no off-site host", "add a group `offsite` to the inventory")
    if estate.data.get("offsite_kind") != REST:
        hint = "./dr backup.run --type offsite copies, then lets go what may go"
        raise BadInput("the backup host lets snapshots go by itself where the copy is not append only", hint)
    said = agent.ask(estate.backup, "offsite.copies", "holds", timeout=120)
    held = str(next(iter(said["holds"]), ""))
    if held and not only_look:
        raise Refused(f"nothing expires on {there[0]}: {held}", "./dr prove-backup proves one; a lease ends by itself")
    rules = [str(rule) for rule in said["rules"]]
    host = estate.group("offsite")[0]
    command = _FORGET.format(rules=" %s" * len(rules), look=" --dry-run" if only_look else "")
    ran = host.run(
        command, FOLDER, *rules, user="offsite", stdin=f"{password.get_secret_value()}\n",
        timeout=budget("restore.copy"),
    )  # fmt: skip
    return _told(host.name, ran.stdout, held)


def _told(name: str, text: str, held: str) -> Gone:
    """From restic's list of groups, the first line of what it says that is one."""
    lists = (json.loads(line) for line in text.splitlines() if line.startswith("[{"))
    groups: Sequence[dict[str, Any]] = next(lists, [])
    stays, goes = (
        tuple(str(one["id"])[:8] for group in groups for one in group.get(kind) or ()) for kind in ("keep", "remove")
    )
    return Gone(name, stays, goes, held)
