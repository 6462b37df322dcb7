"""/etc/mystocks-dr/td-backup.json: where TDengine's backups lie, and the key that they are locked with.

    {"folder": "/var/lib/mystocks-dr/tdengine", "cipher": "/etc/mystocks-dr/td-cipher.pass",
     "proofs": "/var/lib/mystocks-dr/td-proofs.jsonl", "tdengine": "/etc/mystocks-dr/tdengine.json",
     "database": "market_data", "zstd_level": 1}
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from agents.base.errors import BadConfig
from agents.tdengine.session import Settings as Server
from agents.tdengine.session import load_settings

PATH = Path(os.environ.get("MYSTOCKS_TD_BACKUP") or "/etc/mystocks-dr/td-backup.json")
_HINT = "./dr deploy writes it on the backup host."


@dataclass(frozen=True)
class Settings:
    """`cipher` and `tdengine` are files; `zstd_level` 1 to 19."""

    folder: Path
    cipher: Path
    proofs: Path
    tdengine: Path
    database: str
    zstd_level: int

    def key(self) -> bytes:
        """The secret. Raises BadConfig."""
        try:
            found = self.cipher.read_bytes().strip()
        except OSError as error:
            raise BadConfig(f"The key of TDengine's backups cannot be read: {error}.", _HINT) from error
        if not found:
            raise BadConfig(f"{self.cipher} holds no key.", _HINT)
        return found

    def key_id(self) -> str:
        """The id under which a manifest names its key."""
        return hashlib.sha256(self.key()).hexdigest()[:12]

    def server(self) -> Server:
        """How the server is reached. Raises BadConfig."""
        return load_settings(self.tdengine)


def load(path: Path = PATH) -> Settings:
    """Read the settings. Raises BadConfig."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        folder, cipher, proofs, server = (Path(raw[name]) for name in ("folder", "cipher", "proofs", "tdengine"))
        return Settings(folder, cipher, proofs, server, str(raw["database"]), int(raw["zstd_level"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadConfig(f"{path} cannot be used: {error!r}.", _HINT) from error
