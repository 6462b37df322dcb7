"""Secrets: from DR_SECRET_<NAME> in the environment, else from a YAML file outside the repository.

Values are pydantic `SecretStr`: printed, logged or dumped they show asterisks. Only the line that hands one to its
consumer calls `.get_secret_value()`.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

import yaml
from pydantic import SecretStr

from inventories.errors import BadInput

NAMES = (
    "replicator", "rewind", "backup", "writer", "reader", "monitor", "pgbackrest_cipher", "restic",
    "td_root", "td_writer", "td_backup", "td_cipher",
)  # fmt: skip
SQLITE_PURPOSE = "mystocks-dr sqlite"


def load(path: str | Path) -> dict[str, SecretStr]:
    """Return every secret in NAMES. Raises BadInput naming the first one that is nowhere, or cannot be used."""
    file = Path(path).expanduser()
    stored = _read(file)
    found: dict[str, SecretStr] = {}
    for name in NAMES:
        value = os.environ.get(f"DR_SECRET_{name.upper()}") or stored.get(name)
        if not value:
            raise BadInput(
                f"secret {name!r} is neither in the environment (DR_SECRET_{name.upper()}) nor in {file}",
                f"./dr secrets.make {file} writes a file with new random secrets",
            )
        if not re.fullmatch(r"[!#-&(-\[\]-~]{8,}", str(value)):
            raise BadInput(
                f"secret {name!r} is shorter than 8 characters, or has one that password files cannot hold",
                "use printable ASCII without spaces, quotes and backslashes",
            )
        found[name] = SecretStr(str(value))
    return found


def stored(path: Path) -> dict[str, object]:
    """What a secrets file has, whatever it lacks; nothing where there is none. Raises BadInput."""
    return _read(path.expanduser())


def key_id(secret: SecretStr) -> str:
    """The id under which a backup names the key that it was encrypted with: tells keys apart, and none of them."""
    return hashlib.sha256(secret.get_secret_value().encode()).hexdigest()[:12]


def sqlite_key(pgbackrest_cipher: SecretStr) -> SecretStr:
    """What locks all that is kept of SQLite databases, as deploys/sqlite/hosts.py makes it of the repository's key: it
    changes with that and with nothing else, and whoever has escrowed that has both.
    """
    made = hmac.new(pgbackrest_cipher.get_secret_value().encode(), SQLITE_PURPOSE.encode(), hashlib.sha256)
    return SecretStr(made.hexdigest())


def _new() -> str:
    """A random one with the kinds of characters that TDengine asks a password for."""
    return f"Aa1-{secrets.token_urlsafe(24)}"


def make(path: str | Path) -> Path:
    """Write a new secrets file (mode 0600). Refuses to replace one: lost keys are lost backups."""
    file = Path(path).expanduser()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise BadInput(f"{file} exists already", "remove it yourself if nothing uses its secrets") from error
    with os.fdopen(handle, "w") as out:
        yaml.safe_dump({name: _new() for name in NAMES}, out)
    return file


def complete(path: str | Path) -> Path:
    """Make the file, or add to it what is missing; what is there stays, because hosts know it already."""
    file = Path(path).expanduser()
    stored = _read(file)
    missing = [name for name in NAMES if not stored.get(name)]
    if missing:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = file.with_name(f".{file.name}.{os.getpid()}")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            yaml.safe_dump({**stored, **{name: _new() for name in missing}}, out)
            out.flush()
            os.fsync(out.fileno())
        partial.replace(file)
    return file


def _read(file: Path) -> dict[str, object]:
    if not file.exists():
        return {}
    if file.stat().st_mode & 0o077:
        raise BadInput(f"{file} can be read by others (mode {file.stat().st_mode & 0o777:04o})", f"chmod 600 {file}")
    try:
        data = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        raise BadInput(
            f"{file} is not valid YAML: {str(error).splitlines()[0]}", "write lines such as `writer: PASSWORD`"
        ) from error
    if data is None:  # a file that a full disk left empty
        return {}
    if not isinstance(data, dict):
        raise BadInput(f"{file} must map secret names to values", "write lines such as `writer: PASSWORD`")
    return data
