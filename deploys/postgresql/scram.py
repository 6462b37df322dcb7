"""SCRAM-SHA-256 verifiers, so that no password reaches a command line, a server log or pg_stat_activity.

Format from PostgreSQL's `scram_build_secret`: SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from pydantic import SecretStr

ITERATIONS = 4096


def verifier(role: str, password: SecretStr) -> str:
    """Return the verifier of `password`. The salt follows from role and password, so a second run changes nothing."""
    plain = password.get_secret_value().encode()
    salt = hmac.new(plain, f"mystocks-dr salt {role}".encode(), hashlib.sha256).digest()[:16]
    parts = (base64.b64encode(part).decode() for part in (salt, *keys(plain, salt, ITERATIONS)))
    return "SCRAM-SHA-256${}:{}${}:{}".format(ITERATIONS, *parts)


def keys(plain: bytes, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    """StoredKey and ServerKey of RFC 5802; `plain` is printable ASCII, which SASLprep leaves as it is."""
    salted = hashlib.pbkdf2_hmac("sha256", plain, salt, iterations)
    stored = hashlib.sha256(hmac.new(salted, b"Client Key", hashlib.sha256).digest()).digest()
    return stored, hmac.new(salted, b"Server Key", hashlib.sha256).digest()
