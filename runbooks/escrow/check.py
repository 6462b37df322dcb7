"""Whether the keys in an escrow bundle open what the repository holds: tried there, not only compared.

TDengine's backups are compared: each names the key that it was made with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from inventories.errors import VerificationFailed
from runbooks.escrow.bundle import Bundle
from runbooks.hosts import Estate
from runbooks.probes.postgresql import pgbackrest
from runbooks.probes.tdengine import backups as td_backups


@dataclass(frozen=True)
class Checked:
    """`missing`: label -> id of a key that the bundle lacks; `unknown`: labels that record none."""

    backups: int
    missing: Mapping[str, str]
    unknown: tuple[str, ...]


def look(estate: Estate, bundle: Bundle) -> Checked:
    """Raises VerificationFailed when its key does not open the repository, or that holds no backup; DrError."""
    seen = pgbackrest.opened_with(
        estate.backup, str(estate.data["stanza"]), bundle.secrets["pgbackrest_cipher"]
    )
    if seen.status:
        raise VerificationFailed(
            "the key in the bundle does not open the repository", "find the bundle that belongs to it"
        )
    if not seen.backups:
        raise VerificationFailed("the repository holds no backup: nothing was checked", "./dr deploy takes the first")
    needed = {backup.label: backup.annotations.get("key-id", "") for backup in seen.backups}
    if td_backups.is_there(estate):
        known = td_backups.look(estate.backup)
        needed |= {backup.label: backup.key_id for backup in known.backups if backup.key_id}
    have = set(bundle.key_ids.values())
    return Checked(
        backups=len(needed),
        missing={label: key for label, key in needed.items() if key and key not in have},
        unknown=tuple(label for label, key in needed.items() if not key),
    )
