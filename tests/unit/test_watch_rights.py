"""The key of a watch's service: enough to fail over, from its own host, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from inventories.errors import BadInput
from inventories.inventory import HostEntry
from runbooks.hosts import Estate, Host
from runbooks.judge.watch import findings
from runbooks.watch.rights import judged, require_key

KEY = 'restrict,from="192.0.2.31" ssh-ed25519 AAAA mystocks-dr watch'


def test_account_that_a_deploy_makes_will_do() -> None:
    assert judged("pg1", "998", "0", ["# Managed", KEY]) is None
    assert judged("pg1", "998", "0", [KEY.replace("192.0.2.31", "2001:db8::31")]) is None


@pytest.mark.parametrize(
    ("user", "by_sudo", "keys", "says"),
    [
        ("0", "0", [KEY], "too many rights"),
        ("998", "none", [KEY], "may not become root"),
        ("998", "0", [], "nobody can tell"),
        ("998", "0", ["ssh-ed25519 AAAA"], "too many rights"),
        ("998", "0", ['from="192.0.2.31" ssh-ed25519 AAAA'], "too many rights"),
        ("998", "0", ["restrict ssh-ed25519 AAAA"], "too many rights"),
        ("998", "0", [KEY, "ssh-ed25519 BBBB"], "too many rights"),
        ("998", "0", ['restrict,from="*" ssh-ed25519 AAAA'], "too many rights"),
        ("998", "0", ['restrict,from="192.0.2.*" ssh-ed25519 AAAA'], "too many rights"),
        ("998", "0", ['restrict,from="192.0.2.31,10.0.0.1" ssh-ed25519 AAAA'], "too many rights"),
        ("998", "0", ['restrict,from="192.0.2.0/24" ssh-ed25519 AAAA'], "too many rights"),
        ("998", "0", ['restrict,pty,port-forwarding,from="192.0.2.31" ssh-ed25519 AAAA'], "too many rights"),
        ("998", "0", ['restrict,from="192.0.2.31",pty ssh-ed25519 AAAA'], "too many rights"),
    ],
)
def test_too_many_rights_and_too_few(user: str, by_sudo: str, keys: list[str], says: str) -> None:
    refused = judged("pg1", user, by_sudo, keys)
    assert refused is not None
    assert says in str(refused)
    assert refused.hint


def estate(tmp_path: Path, key: str | None, user: str = "mystocks-watch") -> Estate:
    entry = HostEntry(name="pg1", ssh_hostname="192.0.2.1", ssh_key=key, ssh_user=user)
    return Estate("toy", "toy", (Host("pg1", entry, tmp_path),), {"pg_primary": ("pg1",)}, {})


def test_key_that_is_not_there(tmp_path: Path) -> None:
    for key in (None, str(tmp_path / "none")):
        with pytest.raises(BadInput, match="key"):
            require_key(estate(tmp_path, key))


def test_key_that_others_can_read(tmp_path: Path) -> None:
    key = tmp_path / "id"
    key.write_text("k")
    key.chmod(0o644)
    with pytest.raises(BadInput, match="can be read by others"):
        require_key(estate(tmp_path, str(key)))
    key.chmod(0o600)
    require_key(estate(tmp_path, str(key)))


def test_key_of_root(tmp_path: Path) -> None:
    key = tmp_path / "id"
    key.write_text("k")
    key.chmod(0o600)
    with pytest.raises(BadInput, match="as root: too many rights"):
        require_key(estate(tmp_path, str(key), "root"))


def test_watch_that_does_not_look_is_a_finding() -> None:
    assert list(findings({"backup1": "active"})) == []
    (found,) = findings({"backup1": "failed"})
    assert (found.objective, found.measured) == ("watch on backup1", "failed")
    assert "./dr watch.start" in found.hint
