"""The key that signs: ed25519, made on first use, readable by its owner alone, in no report and on no screen."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from inventories.errors import BadInput

_BLOCK = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----\n?", re.DOTALL)


@dataclass(frozen=True)
class Public:
    """One public key. `name`: the first 16 digits of the SHA-256 of its 32 bytes, by which records name it."""

    name: str
    pem: str
    key: Ed25519PublicKey = field(repr=False)

    def signed(self, signature: bytes, content: bytes) -> bool:
        try:
            self.key.verify(signature, content)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class Signer:
    """The private key; shows nothing of itself."""

    public: Public
    _key: Ed25519PrivateKey = field(repr=False)

    def sign(self, content: bytes) -> bytes:
        return self._key.sign(content)


def signer(path: Path) -> Signer:
    """The key in that file, made there if there is none. Raises BadInput for one that is none, or that others may read.
    """
    if not path.exists():
        _make(path)
    if path.stat().st_mode & 0o077:
        raise BadInput(f"{path} can be read by others (mode {path.stat().st_mode & 0o777:04o})", f"chmod 600 {path}")
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise _no_key(path) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path)
    return Signer(_public(key.public_key()), key)


def publics(path: Path) -> Mapping[str, Public]:
    """Name -> key of each in a file of PEM blocks. Raises BadInput where it cannot be read, or has none."""
    try:
        blocks = _BLOCK.findall(path.read_bytes())
    except OSError as error:
        hint = "name a file with the public key that signed"
        raise BadInput(f"{path} cannot be read: {error.strerror}", hint) from error
    found = {}
    for block in blocks:
        try:
            key = serialization.load_pem_public_key(block)
        except ValueError as error:
            hint = "take the file anew from its source"
            raise BadInput(f"{path} holds a public key that is damaged", hint) from error
        if isinstance(key, Ed25519PublicKey):
            one = _public(key)
            found[one.name] = one
    if not found:
        raise BadInput(f"{path} holds no public ed25519 key", "such a file is runs/evidence/public.pem")
    return found


def _public(key: Ed25519PublicKey) -> Public:
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Public(hashlib.sha256(raw).hexdigest()[:16], pem.decode(), key)


def _make(path: Path) -> None:
    """Whole or not at all; of two that make one at the same moment the first wins."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(pem)
        out.flush()
        os.fsync(out.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _no_key(path: Path) -> BadInput:
    return BadInput(
        f"{path} holds no ed25519 key that can sign",
        "put it back from a copy, or move it aside: a new one is made, and every record names the key that signed it",
    )
