from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deploys import pki
from inventories.errors import BadInput


def loaded(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def test_certificate_names_the_host_and_its_address(tmp_path: Path) -> None:
    certificate = loaded(pki.issue(tmp_path, "pg1", "192.0.2.21").certificate)
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "pg1"
    assert names(certificate).get_values_for_type(x509.DNSName) == ["pg1"]
    assert names(certificate).get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("192.0.2.21")]


def test_address_that_is_a_name_becomes_a_name(tmp_path: Path) -> None:
    certificate = loaded(pki.issue(tmp_path, "pg1", "pg1.example.org").certificate)
    assert names(certificate).get_values_for_type(x509.DNSName) == ["pg1", "pg1.example.org"]


def test_certificate_serves_both_ends_and_signs_nothing(tmp_path: Path) -> None:
    made = pki.issue(tmp_path, "pg1", "192.0.2.21")
    certificate = loaded(made.certificate)
    certificate.verify_directly_issued_by(loaded(made.ca))
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_keys_are_the_operators_alone(tmp_path: Path) -> None:
    made = pki.issue(tmp_path / "pki", "pg1", "192.0.2.21")
    assert made.key.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "pki" / "ca.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "pki").stat().st_mode & 0o777 == 0o700


def test_key_that_others_could_read_is_closed_when_it_is_made_anew(tmp_path: Path) -> None:
    key = tmp_path / "pg1.key"
    key.touch(mode=0o644)
    pki.issue(tmp_path, "pg1", "192.0.2.21")
    assert key.stat().st_mode & 0o777 == 0o600


def test_a_host_whose_clock_is_sixty_days_behind_takes_a_new_certificate(tmp_path: Path) -> None:
    made = pki.issue(tmp_path, "pg1", "192.0.2.21")
    behind = dt.datetime.now(dt.timezone.utc) - dt.timedelta(days=61)
    assert max(loaded(path).not_valid_before_utc for path in (made.certificate, made.ca)) < behind


def test_second_run_changes_nothing(tmp_path: Path) -> None:
    first = pki.issue(tmp_path, "pg1", "192.0.2.21")
    before = [path.read_bytes() for path in (first.certificate, first.key, first.ca)]
    again = pki.issue(tmp_path, "pg1", "192.0.2.21")
    assert [path.read_bytes() for path in (again.certificate, again.key, again.ca)] == before


def test_every_host_has_the_same_ca(tmp_path: Path) -> None:
    pki.issue(tmp_path, "pg1", "192.0.2.21")
    ca = (tmp_path / "ca.crt").read_bytes()
    pki.issue(tmp_path, "pg2", "192.0.2.22")
    assert (tmp_path / "ca.crt").read_bytes() == ca


def test_another_address_renews(tmp_path: Path) -> None:
    before = pki.issue(tmp_path, "pg1", "192.0.2.21").certificate.read_bytes()
    assert pki.issue(tmp_path, "pg1", "192.0.2.99").certificate.read_bytes() != before


def test_certificate_near_its_end_is_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pki, "HOST_DAYS", pki.RENEW_BEFORE.days - 1)
    before = pki.issue(tmp_path, "pg1", "192.0.2.21").certificate.read_bytes()
    monkeypatch.undo()
    renewed = loaded(pki.issue(tmp_path, "pg1", "192.0.2.21").certificate)
    assert renewed.public_bytes(serialization.Encoding.PEM) != before
    assert renewed.not_valid_after_utc - dt.datetime.now(dt.timezone.utc) > pki.RENEW_BEFORE


def test_certificate_of_another_ca_with_the_same_name_is_replaced(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    pki.issue(mine, "pg2", "192.0.2.22")
    stray = pki.issue(other, "pg1", "192.0.2.21")
    for path in (stray.certificate, stray.key):
        (mine / path.name).write_bytes(path.read_bytes())
    made = pki.issue(mine, "pg1", "192.0.2.21")
    loaded(made.certificate).verify_directly_issued_by(loaded(made.ca))


def test_certificate_without_its_own_key_is_replaced(tmp_path: Path) -> None:
    made = pki.issue(tmp_path, "pg1", "192.0.2.21")
    other = pki.issue(tmp_path, "pg2", "192.0.2.22")
    made.key.write_bytes(other.key.read_bytes())
    before = made.certificate.read_bytes()
    assert pki.issue(tmp_path, "pg1", "192.0.2.21").certificate.read_bytes() != before


@pytest.mark.parametrize("lost", ["ca.key", "ca.crt"])
def test_lost_half_of_the_ca_is_a_refusal_and_never_a_new_ca(tmp_path: Path, lost: str) -> None:
    pki.issue(tmp_path, "pg1", "192.0.2.21")
    (tmp_path / lost).unlink()
    with pytest.raises(BadInput, match=lost) as refused:
        pki.issue(tmp_path, "pg1", "192.0.2.21")
    assert refused.value.hint
    assert not (tmp_path / lost).exists()


def test_ssh_key_is_made_once_and_is_the_operators_alone(tmp_path: Path) -> None:
    first = pki.ssh_key(tmp_path / "pki", "offsite")
    before = first.private.read_bytes()
    assert first.private.stat().st_mode & 0o777 == 0o600
    assert first.public.read_text().startswith("ssh-ed25519 ")
    assert first.public.read_text().endswith(" mystocks-dr offsite\n")
    assert pki.ssh_key(tmp_path / "pki", "offsite") == first
    assert first.private.read_bytes() == before


def test_public_half_of_an_ssh_key_that_was_lost_is_made_anew(tmp_path: Path) -> None:
    first = pki.ssh_key(tmp_path, "offsite")
    text = first.public.read_text()
    first.public.unlink()
    assert pki.ssh_key(tmp_path, "offsite").public.read_text() == text
