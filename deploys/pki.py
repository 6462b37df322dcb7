"""The estate's own certificate authority: one CA, one certificate a host, kept on the operator's machine.

Source of the choices: PostgreSQL's `sslmode=verify-full` needs the name that the client dials in the certificate's
alternative names; pgBackRest's TLS server matches the client's common name.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from inventories.errors import BadInput

CA_DAYS = 3650
HOST_DAYS = 825
RENEW_BEFORE = dt.timedelta(days=60)
# A host whose clock is months behind must archive and replicate: it would call a younger certificate not yet valid.
VALID_SINCE = dt.timedelta(days=90)


@dataclass(frozen=True)
class Certificate:
    """Paths of one host's PEM files and of the CA certificate that signed them."""

    certificate: Path
    key: Path
    ca: Path


@dataclass(frozen=True)
class SshKey:
    """Paths of one key pair in OpenSSH's format."""

    private: Path
    public: Path


def ssh_key(directory: Path, name: str) -> SshKey:
    """Return the key pair of this name, made when it is missing; the public half can always be made anew."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    paths = SshKey(directory / f"{name}_ed25519", directory / f"{name}_ed25519.pub")
    if not paths.private.exists():
        made = ed25519.Ed25519PrivateKey.generate()
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
        _write(paths.private, made.private_bytes(*form))
    key = serialization.load_ssh_private_key(paths.private.read_bytes(), password=None)
    form_public = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    text = key.public_key().public_bytes(*form_public) + f" mystocks-dr {name}\n".encode()
    if not paths.public.exists() or paths.public.read_bytes() != text:
        paths.public.write_bytes(text)
    return paths


def issue(directory: Path, host: str, address: str) -> Certificate:
    """Return the host's certificate, made or renewed when it is missing, near its end or names another address.

    Raises BadInput when one half of the CA is lost.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    ca = _authority(directory)
    paths = Certificate(directory / f"{host}.crt", directory / f"{host}.key", directory / "ca.crt")
    if not _still_good(paths, host, address):
        _sign(ca, paths, host, address)
    return paths


def _authority(directory: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    certificate, key = directory / "ca.crt", directory / "ca.key"
    if certificate.exists() != key.exists():
        there, lost = (certificate, key) if certificate.exists() else (key, certificate)
        # A new CA in its place would cut every host off from every other one.
        raise BadInput(f"{there} is there, but {lost.name} beside it is not", "put it back from where you keep it safe")
    if certificate.exists():
        return x509.load_pem_x509_certificate(certificate.read_bytes()), _load_key(key)
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mystocks-dr estate CA")])
    built = (
        _builder(name, name, private.public_key(), CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_ca_usage(), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        .sign(private, hashes.SHA256())
    )
    _write_key(key, private)
    certificate.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    return built, private


def _sign(ca: tuple[x509.Certificate, ec.EllipticCurvePrivateKey], paths: Certificate, host: str, address: str) -> None:
    authority, ca_key = ca
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    built = (
        _builder(name, authority.subject, private.public_key(), HOST_DAYS)
        .add_extension(x509.SubjectAlternativeName(_alternative_names(host, address)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(both), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    _write_key(paths.key, private)
    paths.certificate.write_bytes(built.public_bytes(serialization.Encoding.PEM))


def _still_good(paths: Certificate, host: str, address: str) -> bool:
    if not (paths.certificate.exists() and paths.key.exists()):
        return False
    certificate = x509.load_pem_x509_certificate(paths.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    ours = _load_key(paths.key).public_key() == certificate.public_key() and _signed_by(certificate, paths.ca)
    lasts = certificate.not_valid_after_utc - dt.datetime.now(dt.UTC) > RENEW_BEFORE
    return ours and lasts and list(names) == _alternative_names(host, address)


def _signed_by(certificate: x509.Certificate, ca: Path) -> bool:
    """By the CA's key, not by its name: every estate's CA has the same one."""
    try:
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(ca.read_bytes()))
    except (ValueError, InvalidSignature):
        return False
    return True


def _alternative_names(host: str, address: str) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = [x509.DNSName(host)]
    try:
        names.append(x509.IPAddress(ipaddress.ip_address(address)))
    except ValueError:
        if address != host:
            names.append(x509.DNSName(address))
    return names


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - VALID_SINCE)
        .not_valid_after(now + dt.timedelta(days=days))
    )


def _ca_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path} holds no elliptic-curve key")
    return key


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(path, pem)


def _write(path: Path, pem: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        os.fchmod(out.fileno(), 0o600)  # also when a file that others could read was there
        out.write(pem)
