"""The off-site copy: an account that is good for sftp and nothing else, and the backup host's pinned way to it."""

from __future__ import annotations

import pytest

from tests.verify.subject import Seen, Subject

HOME = "/var/lib/mystocks-offsite"
CLIENT = "/etc/mystocks-dr/offsite"


def _there(whole: Seen) -> str:
    """Name of the off-site host. Skips where there is none to talk to."""
    names = whole.estate.groups.get("offsite", ())
    if not names or names[0] in whole.expected.off:
        pytest.skip("no off-site host is expected to answer")
    return names[0]


def test_account_cannot_log_in_or_change_its_keys(offsite: Subject) -> None:
    user = offsite.machine.user("offsite")
    assert (user.home, user.shell) == (HOME, "/usr/sbin/nologin")
    keys = offsite.machine.file(f"{HOME}/.ssh/authorized_keys")
    assert (keys.user, oct(keys.mode)) == ("root", oct(0o644))
    lines = [line for line in keys.content_string.splitlines() if line and not line.startswith("#")]
    assert len(lines) == 1
    assert lines[0].startswith('restrict,command="internal-sftp" ssh-ed25519 ')
    for path in (HOME, f"{HOME}/.ssh"):
        assert (offsite.machine.file(path).user, oct(offsite.machine.file(path).mode)) == ("root", oct(0o755))


def test_copies_are_closed_to_others(offsite: Subject) -> None:
    found = offsite.machine.file(f"{HOME}/backups")
    assert (found.user, oct(found.mode)) == ("offsite", oct(0o700))


def test_offsite_host_holds_neither_the_password_nor_the_cipher(offsite: Subject) -> None:
    for path in (CLIENT, "/etc/pgbackrest.conf"):
        assert not offsite.machine.file(path).exists


def test_key_and_password_are_the_runners_alone(repository: Subject, whole: Seen) -> None:
    _there(whole)
    for name in ("id_ed25519", "password"):
        found = repository.machine.file(f"{CLIENT}/{name}")
        assert (found.user, oct(found.mode)) == ("postgres", oct(0o600))


def test_offsite_host_is_known_by_its_own_key(repository: Subject, whole: Seen) -> None:
    name = _there(whole)
    key = whole.estate.host(name).run("cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub").text
    assert repository.machine.file(f"{CLIENT}/known_hosts").content_string.split("\n")[0] == f"{name} {key}"


def test_backup_host_gets_sftp_there_and_no_shell(repository: Subject, whole: Seen) -> None:
    name = _there(whole)
    ssh = f"ssh -F {CLIENT}/ssh_config {name}"
    listed = repository.host.run(f"printf 'ls -1\\n' | sftp -b - -F {CLIENT}/ssh_config {name}", user="postgres")
    assert "backups" in listed.stdout.splitlines()
    shell = repository.host.run(f"timeout 5 {ssh} id </dev/null", user="postgres", expect=None)
    assert "uid=" not in shell.stdout
