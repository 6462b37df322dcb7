"""What leaves this host is locked: AES-256-GCM, each piece bound to its place, so that none can be edited or moved."""

from __future__ import annotations

import hashlib
import os

from agents.base.errors import AgentError, BadConfig

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ImportError as error:  # the package python3-cryptography
    raise BadConfig("python3-cryptography is not installed here.", "./dr deploy installs it.") from error

_NONCE = 12
_SALT = b"mystocks-dr sqlite"
_ROUNDS = 100_000


class Broken(AgentError):  # noqa: N818 - named after what is wrong, as in the rest of the repository
    """A piece that is cut off, was edited or moved, or was locked with another key."""


class Seal:
    """One key, made of the secret."""

    def __init__(self, secret: bytes) -> None:
        self._lock = AESGCM(hashlib.pbkdf2_hmac("sha256", secret, _SALT, _ROUNDS))
        self.key_id = hashlib.sha256(secret).hexdigest()[:12]

    def close(self, data: bytes, place: str) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self._lock.encrypt(nonce, data, place.encode())

    def open(self, data: bytes, place: str) -> bytes:
        """Raises Broken."""
        try:
            return self._lock.decrypt(data[:_NONCE], data[_NONCE:], place.encode())
        except (InvalidTag, ValueError) as error:
            raise Broken(
                f"{place} is damaged, or was locked with another key.",
                "Take another backup (sqlite-restore --list), or the copy off-site.",
            ) from error
