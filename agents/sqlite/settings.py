"""/etc/mystocks-dr/sqlite.json: which SQLite files there are, where their changes go, and the key that locks them.

    {"databases": {"trading": {"path": "/var/lib/mystocks-dr/trading/trading.db", "kind": "trading",
                               "protect": "stream", "tables": ["trades", ...], "schema": ["CREATE TABLE ...", ...]}},
     "receiver": {"host": "backup1", "address": "192.0.2.30", "port": 8434, "ca": "...", "certificate": "...",
                  "key": "...", "deadline_s": 2.0},                                left out: nothing leaves this host
     "cipher": "/etc/mystocks-dr/sqlite-cipher.pass",
     "run": "/run/mystocks-dr", "snapshot_every_s": 3600, "wal_bytes": 16777216, "max_wal_bytes": 1073741824}

The last four may be left out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.base.errors import BadConfig

PATH = Path(os.environ.get("MYSTOCKS_SQLITE") or "/etc/mystocks-dr/sqlite.json")
_HINT = "./dr deploy writes it from inventories/catalog/databases.yaml."


@dataclass(frozen=True)
class Database:
    """One file. `kind` is trading or outbox, `protect` stream or snapshots; `schema` may be run again and again."""

    name: str
    path: Path
    kind: str = "trading"
    protect: str = "stream"
    tables: tuple[str, ...] = ()
    schema: tuple[str, ...] = ()


@dataclass(frozen=True)
class Receiver:
    """Where changes and snapshots are kept: `host` is in its certificate. `deadline_s`: for one message."""

    host: str
    ca: str
    certificate: str
    key: str
    address: str | None = None
    port: int = 8434
    deadline_s: float = 2.0


@dataclass(frozen=True)
class Settings:
    """`wal_bytes`: a write-ahead log of that size is begun anew once all of it is protected. `max_wal_bytes`: with the
    receiver away it grows to this, then protection is given up until a new snapshot, rather than the disk filled.
    """

    databases: Mapping[str, Database]
    receiver: Receiver | None
    cipher: Path
    run: Path = Path("/run/mystocks-dr")
    snapshot_every_s: float = 3600.0
    wal_bytes: int = 16 << 20
    max_wal_bytes: int = 1 << 30

    def database(self, name: str) -> Database:
        """Raises BadConfig naming those that there are."""
        if name not in self.databases:
            raise BadConfig(f"There is no SQLite database {name!r} here.", f"There are {', '.join(self.databases)}.")
        return self.databases[name]

    def socket(self, name: str) -> Path:
        """Where whoever writes asks whether what it wrote is protected."""
        return self.run / f"sqlite-{name}.sock"

    def secret(self) -> bytes:
        """Raises BadConfig."""
        try:
            found = self.cipher.read_bytes().strip()
        except OSError as error:
            raise BadConfig(f"The key of SQLite's backups cannot be read: {error}.", _HINT) from error
        if not found:
            raise BadConfig(f"{self.cipher} holds no key.", _HINT)
        return found

    def there(self) -> Receiver:
        """Raises BadConfig where nothing leaves this host."""
        if self.receiver is None:
            raise BadConfig("sqlite.json names no receiver: nothing is protected here.", _HINT)
        return self.receiver


def load(path: Path = PATH) -> Settings:
    """Read sqlite.json. Raises BadConfig."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfig(f"{path} cannot be read: {error.strerror}.", _HINT) from error
    except ValueError as error:
        raise BadConfig(f"{path} is no JSON: {error}.", _HINT) from error
    try:
        return _settings(raw)
    except KeyError as error:
        raise BadConfig(f"{path}: {error.args[0]} is missing.", _HINT) from error
    except (TypeError, ValueError, AttributeError) as error:
        raise BadConfig(f"{path}: {error}.", _HINT) from error


def _settings(raw: dict[str, Any]) -> Settings:
    numbers = {
        "snapshot_every_s": float(raw.get("snapshot_every_s", Settings.snapshot_every_s)),
        "wal_bytes": int(raw.get("wal_bytes", Settings.wal_bytes)),
        "max_wal_bytes": int(raw.get("max_wal_bytes", Settings.max_wal_bytes)),
    }
    if min(numbers.values()) <= 0:
        raise ValueError("seconds and bytes are positive")
    return Settings(
        databases={name: _database(name, one) for name, one in raw["databases"].items()},
        receiver=_receiver(raw["receiver"]) if raw.get("receiver") else None,
        cipher=Path(raw["cipher"]),
        run=Path(raw.get("run", Settings.run)),
        snapshot_every_s=numbers["snapshot_every_s"],
        wal_bytes=int(numbers["wal_bytes"]),
        max_wal_bytes=int(numbers["max_wal_bytes"]),
    )


def _database(name: str, raw: dict[str, Any]) -> Database:
    return Database(
        name, Path(raw["path"]), str(raw["kind"]), str(raw["protect"]), tuple(raw["tables"]), tuple(raw["schema"])
    )


def _receiver(raw: dict[str, Any]) -> Receiver:
    return Receiver(
        host=str(raw["host"]), ca=str(raw["ca"]), certificate=str(raw["certificate"]), key=str(raw["key"]),
        address=raw.get("address"), port=int(raw.get("port", Receiver.port)),
        deadline_s=float(raw.get("deadline_s", Receiver.deadline_s)),
    )  # fmt: skip
