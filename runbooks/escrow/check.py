"""Whether the keys in an escrow bundle open what the backup host holds: tried there, not only compared.

TDengine's backups are compared: each names the key that it was made with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from inventories import secrets
from inventories.errors import VerificationFailed
from runbooks.escrow.bundle import Bundle
from runbooks.hosts import Estate
from runbooks.probes.postgresql import pgbackrest
from runbooks.probes.sqlite import databases, kept
from runbooks.probes.tdengine import backups as td_backups


@dataclass(frozen=True)
class Checked:
    """`missing`: label -> id of a key that the bundle lacks; `unknown`: labels that record none. `snapshots`: of SQLite
    databases, that were opened, None where the estate has none; `spoilt`: those that no key opens, being damaged.
    """

    backups: int
    missing: Mapping[str, str]
    unknown: tuple[str, ...]
    snapshots: int | None = None
    spoilt: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Snapshots:
    opened: int | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    spoilt: tuple[str, ...] = ()


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
    files = _sqlite(estate, bundle)
    return Checked(
        backups=len(needed),
        missing={label: key for label, key in needed.items() if key and key not in have} | {**files.missing},
        unknown=tuple(label for label, key in needed.items() if not key),
        snapshots=files.opened, spoilt=files.spoilt,
    )  # fmt: skip


def _sqlite(estate: Estate, bundle: Bundle) -> _Snapshots:
    """Its key tried on every snapshot of every SQLite database. Raises DrError."""
    if not databases.names(estate):
        return _Snapshots()
    key = secrets.sqlite_key(bundle.secrets["pgbackrest_cipher"])
    ours, opened, missing, spoilt = secrets.key_id(key), 0, dict[str, str](), list[str]()
    for shelf in kept.look(estate, key):
        spoilt += [f"{label} of {shelf.name}" for label, _ in shelf.spoilt]
        for one in shelf.snapshots:
            if one.opens:
                opened += 1
            elif one.key_id != ours:
                missing[f"{one.label} of {shelf.name}"] = one.key_id
            else:
                spoilt.append(f"{one.label} of {shelf.name}")
    return _Snapshots(opened, missing, tuple(spoilt))
