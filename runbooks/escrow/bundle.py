"""The escrow bundle: all that a blank machine needs to restore the estate, sealed, openable without this tool."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import SecretStr

from inventories import secrets
from inventories.errors import BadInput, Refused
from inventories.inventory import Inventory
from runbooks.escrow import sealed
from runbooks.escrow.page import page

TOP = "mystocks-dr-escrow"
MANIFEST = "MANIFEST.sha256"
KEYS = ("pgbackrest_cipher", "restic", "td_cipher")  # secrets without which a backup cannot be opened
SQLITE = "sqlite"
SECRETS, KEY_IDS, PAGE = "secrets.yaml", "key-ids.json", "README.txt"
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Bundle:
    """What is in it: path below the bundle's folder -> content."""

    files: Mapping[str, bytes]

    @property
    def key_ids(self) -> Mapping[str, str]:
        """Secret -> the id under which backups name the key."""
        return dict(json.loads(self.files[KEY_IDS]))

    @property
    def secrets(self) -> Mapping[str, SecretStr]:
        return {name: SecretStr(str(value)) for name, value in yaml.safe_load(self.files[SECRETS]).items()}


def collect(inventory: Inventory) -> Bundle:
    """Secrets, CA, keys and the inventory, as this machine has them. Raises BadInput for what is missing."""
    stored = secrets.load(str(inventory.data["secrets_file"]))
    pki = Path(str(inventory.data["pki_dir"])).expanduser()
    keys = {f"pki/{path.relative_to(pki)}": path.read_bytes() for path in sorted(pki.rglob("*")) if path.is_file()}
    if not {"pki/ca.crt", "pki/ca.key"} <= keys.keys():
        raise BadInput(f"{pki} holds no CA, so there is no estate to keep the keys of", "./dr deploy makes one")
    plain = {name: secret.get_secret_value() for name, secret in stored.items()}
    hosts = [host.model_dump(mode="json", by_alias=True, exclude={"ssh_key"}) for host in inventory.hosts]
    files = {
        SECRETS: yaml.safe_dump(plain).encode(),
        KEY_IDS: _json({name: secrets.key_id(key) for name, key in _keys(stored).items()}),
        "inventory/hosts.json": _json({"hosts": hosts, "groups": inventory.groups}),
        f"inventory/{inventory.path.name}": inventory.path.read_bytes(),
        PAGE: page(inventory, sorted(keys)).encode(),
        **keys,
    }
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items()))
    return Bundle({**files, MANIFEST: sums.encode()})


def _keys(stored: Mapping[str, SecretStr]) -> dict[str, SecretStr]:
    """Name -> key, of all that backups are locked with; that of SQLite databases is made of another."""
    return {name: stored[name] for name in KEYS} | {SQLITE: secrets.sqlite_key(stored["pgbackrest_cipher"])}


def write(bundle: Bundle, path: Path, passphrases: Sequence[SecretStr]) -> None:
    """Seal it with each passphrase in turn, read it back, and only then give it its name. Never replaces a file."""
    data = _packed(bundle)
    for passphrase in reversed(passphrases):
        data = sealed.seal(data, passphrase)
    if path.exists():
        raise BadInput(f"{path} exists already", "give it another name; an old bundle opens old backups")
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        if read(partial, passphrases).files != bundle.files:
            raise BadInput(f"{path} does not hold what was written", "is its disk sound?")
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)


def read(path: Path, passphrases: Sequence[SecretStr]) -> Bundle:
    """Open it and hold it against its manifest. Raises BadInput; one that needs a second passphrase says so."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", "give the path of an escrow bundle") from error
    for passphrase in passphrases:
        data = sealed.unseal(data, passphrase)
    if sealed.is_sealed(data):
        raise BadInput(f"{path} needs a second passphrase", "two persons sealed it: ask the other one")
    if not data.startswith(_GZIP):
        raise BadInput(f"the passphrase does not open {path}, or the file is damaged", "try again")
    return _checked(path, _unpacked(path, data))


def needs_two(path: Path, first: SecretStr) -> bool:
    """Whether a second person sealed it too. Raises BadInput when `first` does not open it."""
    return sealed.is_sealed(sealed.unseal(path.read_bytes(), first))


def lay_out(bundle: Bundle, folder: Path) -> tuple[Path, ...]:
    """Write every file below `folder`, readable by its owner alone. Raises Refused rather than change one."""
    targets = {folder / name: data for name, data in bundle.files.items()}
    differing = [path for path, data in targets.items() if path.exists() and path.read_bytes() != data]
    if differing:
        raise Refused(f"{differing[0]} differs from the bundle's", "move it away, or choose another folder")
    for path, data in targets.items():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.exists():
            continue
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(data)
    return tuple(targets)


def differences(bundle: Bundle, now: Bundle) -> tuple[str, ...]:
    """What has changed since the bundle was made, by name; never a value."""
    old, new = bundle.secrets, now.secrets
    found = [f"secret {name}" for name in sorted(new) if old.get(name) != new[name]]
    keys = {name for name in (*bundle.files, *now.files) if name.startswith(("pki/", "inventory/"))}
    return (*found, *(name for name in sorted(keys) if bundle.files.get(name) != now.files.get(name)))


def _packed(bundle: Bundle) -> bytes:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for name, data in sorted(bundle.files.items()):
            entry = tarfile.TarInfo(f"{TOP}/{name}")
            entry.size, entry.mode = len(data), 0o600
            archive.addfile(entry, io.BytesIO(data))
    return gzip.compress(tar.getvalue(), mtime=0)


def _unpacked(path: Path, data: bytes) -> dict[str, bytes]:
    try:
        # Whole and at once: tarfile would not read as far as the checksum.
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as archive:
            found = {}
            for entry in archive.getmembers():
                name = entry.name.removeprefix(f"{TOP}/")
                content = archive.extractfile(entry) if entry.isfile() else None
                if content is None or name.startswith("/") or ".." in Path(name).parts:
                    raise BadInput(f"{path} holds {entry.name!r}, which no bundle does", "it was not made by this tool")
                found[name] = content.read()
            return found
    except (tarfile.TarError, zlib.error, OSError, EOFError) as error:
        raise BadInput(f"{path} is damaged: {error}", "take another copy of it") from error


def _checked(path: Path, files: Mapping[str, bytes]) -> Bundle:
    lines = [line.partition("  ") for line in files.get(MANIFEST, b"").decode().splitlines()]
    listed = {name: digest for digest, _, name in lines}
    actual = {name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name != MANIFEST}
    if not listed or listed != actual:
        bad = sorted(name for name in listed.keys() | actual.keys() if listed.get(name) != actual.get(name))
        raise BadInput(f"{path} is damaged: {', '.join(bad) or MANIFEST} is not as listed", "take another copy of it")
    return Bundle(files)


def _json(data: object) -> bytes:
    return (json.dumps(data, indent=1, sort_keys=True) + "\n").encode()
