"""Every host: service user, directories, CA, cron, UTC, a clock that is kept, names that need no name server."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path

import pytest
from cryptography import x509

from tests.verify.subject import Seen, Subject

CLOCK_TOLERANCE_S = 2.0
CA = "/etc/mystocks-dr/ca.crt"


def test_service_user_cannot_log_in(machine: Subject) -> None:
    user = machine.machine.user("mystocks")
    assert user.exists
    assert user.home == "/var/lib/mystocks-dr"
    assert user.shell == "/usr/sbin/nologin"


@pytest.mark.parametrize(
    ("path", "owner", "mode"),
    [
        ("/etc/mystocks-dr", "root", 0o755),
        ("/opt/mystocks-dr", "root", 0o755),
        pytest.param("/opt/mystocks-dr/upload", None, 0o700, marks=pytest.mark.operators),
    ],
)
def test_directory_is_closed_to_others(machine: Subject, path: str, owner: str | None, mode: int) -> None:
    found = machine.machine.file(path)
    assert found.is_directory
    assert (found.user, oct(found.mode)) == (owner or machine.host.entry.ssh_user, oct(mode))


def test_notes_are_closed_to_others_but_on_the_backup_host(machine: Subject, whole: Seen) -> None:
    found = machine.machine.file("/var/lib/mystocks-dr")
    assert (found.user, oct(found.mode)) == ("mystocks", oct(0o755 if machine.host == whole.estate.backup else 0o750))


@pytest.mark.operators
def test_ca_is_the_operators_and_lasts(machine: Subject, whole: Seen) -> None:
    found = machine.machine.file(CA)
    assert (found.user, oct(found.mode)) == ("root", oct(0o644))
    certificate = x509.load_pem_x509_certificate(found.content)
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert certificate.not_valid_after_utc - dt.datetime.now(dt.timezone.utc) > dt.timedelta(days=365)
    ours = Path(whole.estate.data["pki_dir"]).expanduser() / "ca.crt"
    if ours.exists():  # an operator at another machine has it not
        assert certificate == x509.load_pem_x509_certificate(ours.read_bytes())


def test_cron_runs(machine: Subject) -> None:
    cron = machine.machine.service("cron")
    assert cron.is_running
    assert cron.is_enabled


def test_time_is_utc(machine: Subject) -> None:
    assert machine.machine.check_output("date +%Z%z") == "UTC+0000"


def test_clock_is_kept(machine: Subject) -> None:
    """A container's clock is its machine's, here the operator's own: then the two must agree."""
    if machine.machine.run("systemd-detect-virt --container --quiet").rc != 0:
        assert machine.machine.service("chrony").is_running
        return
    before = time.time()
    there = float(machine.machine.check_output("date +%s.%N"))
    assert before - CLOCK_TOLERANCE_S <= there <= time.time() + CLOCK_TOLERANCE_S


def test_every_host_is_known_by_name(machine: Subject, whole: Seen) -> None:
    lines = machine.machine.file("/etc/hosts").content_string.splitlines()
    known = {name: line.split()[0] for line in lines if line.strip()[:1] not in ("", "#") for name in line.split()[1:]}
    assert {host.name: known.get(host.name) for host in whole.estate.hosts} == {
        host.name: host.address for host in whole.estate.hosts
    }
