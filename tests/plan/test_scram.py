from __future__ import annotations

import base64
import hashlib
import hmac
import re

from pydantic import SecretStr

from deploys.postgresql.scram import ITERATIONS, keys, verifier

# The exchange that RFC 7677 prints in full.
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
FIRST = "n=user,r=rOprNGfwEbeRWgbNEkqO"
NONCE = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
MESSAGE = f"{FIRST},{NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,{NONCE}".encode()
PROOF = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
SERVER_SIGNATURE = base64.b64decode("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")


def test_keys_accept_the_clients_proof_of_rfc_7677() -> None:
    stored, _ = keys(b"pencil", SALT, 4096)
    signature = hmac.new(stored, MESSAGE, hashlib.sha256).digest()
    client_key = bytes(a ^ b for a, b in zip(PROOF, signature, strict=True))
    assert hashlib.sha256(client_key).digest() == stored


def test_keys_give_the_servers_signature_of_rfc_7677() -> None:
    _, server = keys(b"pencil", SALT, 4096)
    assert hmac.new(server, MESSAGE, hashlib.sha256).digest() == SERVER_SIGNATURE


def test_verifier_has_postgresqls_form_and_its_own_salt() -> None:
    text = verifier("writer", SecretStr("pencil"))
    match = re.fullmatch(r"SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):(.+)", text)
    assert match
    salt, stored, server = (base64.b64decode(part) for part in match.groups()[1:])
    assert int(match[1]) == ITERATIONS >= 4096
    assert len(salt) == 16
    assert (stored, server) == keys(b"pencil", salt, ITERATIONS)


def test_verifier_is_stable_and_differs_by_role_and_password() -> None:
    one = verifier("writer", SecretStr("pencil"))
    assert one == verifier("writer", SecretStr("pencil"))
    assert len({one, verifier("reader", SecretStr("pencil")), verifier("writer", SecretStr("pencils"))}) == 3


def test_verifier_does_not_hold_the_password() -> None:
    assert "pencil" not in verifier("writer", SecretStr("pencil"))
