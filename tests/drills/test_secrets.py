"""Secrets are where they belong on the estate's hosts, and nowhere else: no log, no journal, no leftover upload."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploys.run import deploy
from inventories import secrets
from runbooks.engine.rundir import runs_dir
from runbooks.hosts import Estate

pytestmark = pytest.mark.lab
PLACES = "/etc /opt /root /run/systemd /tmp /var/lib/mystocks-dr /var/lib/postgresql/.mystocks.pgpass /var/log /var/tmp"
NODE = "/var/lib/postgresql/.mystocks.pgpass"
TDENGINE = "/etc/mystocks-dr/tdengine"
BELONG: dict[str, dict[str, tuple[str, ...]]] = {
    "replicator": {"pg1": (NODE,), "pg2": (NODE,), "backup1": (NODE,)},  # the native backups are replication
    "rewind": {"pg1": (NODE,), "pg2": (NODE,)},
    "monitor": {"pg1": (NODE,), "pg2": (NODE,), "backup1": (NODE,)},  # asks whether WAL arrives
    "writer": {"app1": ("/etc/mystocks-dr/pgpass",)},
    "pgbackrest_cipher": {"backup1": ("/etc/pgbackrest.conf", "/etc/pgbackrest/restore.conf")},
    "backup": {},  # peer authentication only
    "reader": {"backup1": (NODE,)},  # counts the rows that a backup must hold
    "restic": {"backup1": ("/etc/mystocks-dr/offsite/password",)},
    "td_root": {"tsdb1": (f"{TDENGINE}-root.pass",)},
    "td_writer": {"app1": (f"{TDENGINE}.pass",)},
    "td_backup": {"backup1": (f"{TDENGINE}.pass",)},
    "td_cipher": {"backup1": ("/etc/mystocks-dr/td-cipher.pass",)},
}


@pytest.mark.parametrize("name", secrets.NAMES)
def test_a_secret_lies_only_where_it_is_used(estate_lab: Estate, name: str) -> None:
    value = secrets.load(estate_lab.data["secrets_file"])[name].get_secret_value()
    assert len(value) >= 16
    lacking = not os.environ.get("TDENGINE_PACKAGE") and name.startswith("td_")
    for host in estate_lab.hosts:
        found = host.run(f"grep -rlF -f /dev/stdin {PLACES} 2>/dev/null || true", stdin=f"{value}\n").text.split()
        allowed = () if lacking else BELONG[name].get(host.name, ())
        assert sorted(found) == sorted(allowed), host.name
        for path in allowed:
            assert host.run("stat -c %%a %s", path).text in ("600", "640")


@pytest.fixture(scope="module")
def evidence(estate_lab: Estate) -> dict[Path, bytes]:
    """Every file that runs have left, a deploy's log among them."""
    runs_dir().mkdir(parents=True, exist_ok=True)
    deploy("lab", log=runs_dir() / "pyinfra.log")
    found = {path: path.read_bytes() for path in runs_dir().rglob("*") if path.is_file()}
    assert any(found.values())
    return found


@pytest.mark.parametrize("name", secrets.NAMES)
def test_no_evidence_holds_a_secret(estate_lab: Estate, evidence: dict[Path, bytes], name: str) -> None:
    value = secrets.load(estate_lab.data["secrets_file"])[name].get_secret_value().encode()
    assert [path for path, content in evidence.items() if value in content] == []
