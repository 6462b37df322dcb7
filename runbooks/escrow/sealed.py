"""Seal bytes with a passphrase so that the openssl of any machine opens them: no tool of ours is needed for it.

The format is that of `openssl enc -aes-256-cbc -pbkdf2`: the word `Salted__`, eight bytes of salt, the ciphertext.
What is sealed twice needs two passphrases, the outer one first.
"""

from __future__ import annotations

import hashlib
import secrets

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from pydantic import SecretStr

from inventories.errors import BadInput

ITERATIONS = 600_000
MAGIC = b"Salted__"
OPEN = f"openssl enc -d -aes-256-cbc -md sha256 -pbkdf2 -iter {ITERATIONS}"
_BLOCK = 128  # bits


def seal(plain: bytes, passphrase: SecretStr) -> bytes:
    """What OPEN turns back into `plain`."""
    salt = secrets.token_bytes(8)
    padder = PKCS7(_BLOCK).padder()
    encryptor = _cipher(passphrase, salt).encryptor()
    padded = padder.update(plain) + padder.finalize()
    return MAGIC + salt + encryptor.update(padded) + encryptor.finalize()


def unseal(sealed: bytes, passphrase: SecretStr) -> bytes:
    """Raises BadInput when this is nothing sealed, or another passphrase sealed it.

    One wrong passphrase in 256 passes here and yields noise: look whether the content is what it must be.
    """
    if not is_sealed(sealed):
        raise BadInput("the file was not sealed by ./dr keys.escrow", "it begins with the word Salted__")
    decryptor = _cipher(passphrase, sealed[8:16]).decryptor()
    unpadder = PKCS7(_BLOCK).unpadder()
    try:
        padded = decryptor.update(sealed[16:]) + decryptor.finalize()
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError as error:
        raise BadInput("the passphrase does not open the file, or the file is damaged", "try again") from error


def is_sealed(data: bytes) -> bool:
    return data.startswith(MAGIC) and len(data) > 16


def _cipher(passphrase: SecretStr, salt: bytes) -> Cipher[modes.CBC]:
    word = passphrase.get_secret_value().encode()
    derived = hashlib.pbkdf2_hmac("sha256", word, salt, ITERATIONS, 48)
    return Cipher(algorithms.AES(derived[:32]), modes.CBC(derived[32:]))
