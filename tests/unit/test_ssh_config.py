"""What reaches a host stands in the inventory alone, and OpenSSH and pyinfra are told the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from inventories import ssh_config
from inventories.inventory import HostEntry

TARGET = HostEntry(
    name="pg1", ssh_hostname="pg1.inside.example", ssh_user="dr", ssh_port=2022, ssh_key="/keys/dr",
    ssh_known_hosts_file="/keys/known", address="192.0.2.21", ssh_proxy_jump="jump@bastion.example:2222,app1",
)  # fmt: skip
APP = HostEntry(name="app1", ssh_hostname="192.0.2.11", ssh_user="dr")


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def asked(config: Path, host: str) -> dict[str, str]:
    """What OpenSSH makes of it."""
    shown = subprocess.run(["ssh", "-G", "-F", str(config), host], capture_output=True, text=True, check=True).stdout
    return dict(line.split(" ", 1) for line in shown.splitlines() if " " in line)


def test_host_behind_bastions_is_reached_through_them_by_openssh() -> None:
    seen = asked(ssh_config.ours([TARGET, APP]), "pg1")
    assert seen["hostname"] == "pg1.inside.example"
    assert seen["proxyjump"] == "jump@bastion.example:2222,app1"
    assert (seen["port"], seen["user"], seen["controlmaster"]) == ("2022", "dr", "auto")


def test_bastion_is_trusted_by_the_known_hosts_of_whom_it_leads_to_and_ours_keeps_its_own() -> None:
    config = ssh_config.ours([TARGET, APP])
    bastion, app = asked(config, "bastion.example"), asked(config, "app1")
    assert (bastion["userknownhostsfile"], bastion["identityfile"]) == ("/keys/known", "/keys/dr")
    assert bastion["stricthostkeychecking"] in ("yes", "true")
    assert app["hostname"] == "192.0.2.11"


def test_pyinfra_finds_the_bastion_by_what_it_dials() -> None:
    client = pytest.importorskip("pyinfra.connectors.sshuserclient.client")
    config = client.get_ssh_config(str(ssh_config.pyinfras([TARGET, APP])))
    assert config.lookup("pg1.inside.example")["proxyjump"] == "jump@bastion.example:2222,app1"
    assert "proxyjump" not in config.lookup("192.0.2.11")


def test_host_without_bastion_has_no_proxy() -> None:
    assert "proxyjump" not in asked(ssh_config.ours([APP]), "app1")
