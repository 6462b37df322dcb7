from __future__ import annotations

from pathlib import Path

import pytest

from inventories.errors import BadInput
from inventories.inventory import HERE, inventory_path, read_inventory


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "estate.py"
    path.write_text(text)
    return str(path)


def test_production_example_loads() -> None:
    found = read_inventory(str(HERE / "production.example.py"))
    assert [host.name for host in found.hosts] == ["pg1", "pg2", "backup1", "offsite1", "app1"]
    assert {name: hosts for name, hosts in found.groups.items() if hosts} == {
        "pg_primary": ("pg1",), "pg_standby": ("pg2",), "backup": ("backup1",), "offsite": ("offsite1",),
        "watch": ("backup1",), "app": ("app1",),
    }  # fmt: skip
    assert found.estate == "mystocks"
    assert found.hosts[0].fence_command == ("/usr/local/sbin/fence-host", "off", "pg1")
    assert found.hosts[2].fence_command is None
    assert {host.ssh_user for host in found.hosts} == {"dr"}


def test_production_example_holds_no_secret_and_checks_host_keys() -> None:
    found = read_inventory(str(HERE / "production.example.py"))
    assert {host.ssh_strict_host_key_checking for host in found.hosts} == {"yes"}
    assert not [name for name in found.data if "password" in name or "cipher" in name]


def test_values_that_all_hosts_share_are_there_and_may_be_overridden(tmp_path: Path) -> None:
    found = read_inventory(written(tmp_path, 'pg_primary = (["192.0.2.1"], {"database": "other", "estate": "mine"})\n'))
    assert found.data["postgres_version"] == 17
    assert found.data["database"] == "other"
    assert found.estate == "mine"


def test_host_that_clients_dial_elsewhere(tmp_path: Path) -> None:
    text = 'pg = [("pg1", {"ssh_hostname": "203.0.113.1", "address": "192.0.2.21"})]\n'
    assert read_inventory(written(tmp_path, text)).hosts[0].address == "192.0.2.21"


def test_name_that_ssh_dials_may_stay_one_and_addresses_have_one_spelling(tmp_path: Path) -> None:
    text = 'pg = [("pg1", {"ssh_hostname": "pg1.example", "address": "2001:DB8:0::0:21"})]\n'
    found = read_inventory(written(tmp_path, text)).hosts[0]
    assert (found.ssh_hostname, found.address) == ("pg1.example", "2001:db8::21")


def test_groups_may_name_a_host_again_without_its_address(tmp_path: Path) -> None:
    text = 'a = ["app1"]\nb = [("app1", {"ssh_hostname": "192.0.2.1"})]\nc = ["app1"]\n'
    found = read_inventory(written(tmp_path, text))
    assert [(host.name, host.address) for host in found.hosts] == [("app1", "192.0.2.1")]


def test_private_names_are_no_groups(tmp_path: Path) -> None:
    found = read_inventory(written(tmp_path, '_all = ["x"]\npg = ["192.0.2.1"]\nport = 5432\n'))
    assert list(found.groups) == ["pg"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "declares no host"),
        ("pg = []\n", "declares no host"),
        ("pg = [\n", "SyntaxError"),
        ("pg = missing\n", "NameError"),
        ('pg = [("pg1", {"ssh_port": 70000})]\n', "pg1.ssh_port is 70000"),
        ('pg = [("pg1", {"fence_command": "power off"})]\n', "pg1.fence_command is 'power off'"),
        ('pg_primary = ["pg1", "pg2"]\n', "pg_primary is pg1, pg2, but one host alone"),
        ('pg_primary = ["pg1"]\npg_standby = ["pg1"]\n', "pg1 is in pg_primary and in pg_standby"),
        (
            'pg_standby = [("pg2", {"ssh_hostname": "192.0.2.1"}), ("pg2", {"ssh_hostname": "192.0.2.1"})]\n',
            "pg_standby names pg2 twice",
        ),
        ('pg_primary = ["192.0.2.1", "192.0.2.1"]\n', "pg_primary names 192.0.2.1 twice"),
        (
            'a = [("pg2", {"ssh_hostname": "192.0.2.1"})]\nb = [("pg2", {"ssh_hostname": "192.0.2.9"})]\n',
            "pg2 is named twice, with ssh_hostname '192.0.2.1' and with ssh_hostname '192.0.2.9'",
        ),
        (
            'a = [("pg2", {"ssh_hostname": "192.0.2.1", "address": "192.0.2.2"})]\n'
            'b = ([("pg2", {})], {"address": "192.0.2.9"})\n',
            "pg2 is named twice, with address '192.0.2.2' and with address '192.0.2.9'",
        ),
        (
            'a = [("pg-1", {"ssh_hostname": "192.0.2.1"})]\nb = [("PG_1", {"ssh_hostname": "192.0.2.9"})]\n',
            "pg-1 and PG_1 are one name to PostgreSQL's slots",
        ),
        (
            'a = [("pg1", {"ssh_hostname": "192.0.2.1"})]\nb = [("pg2", {"ssh_hostname": "192.0.2.1"})]\n',
            "pg1 and pg2 have the same address, 192.0.2.1:22",
        ),
        (
            'a = [("pg1", {"ssh_hostname": "192.0.2.1", "ssh_port": 1})]\n'
            'b = [("pg2", {"ssh_hostname": "192.0.2.1", "ssh_port": 2})]\n',
            "pg1 and pg2 have the same address, 192.0.2.1",
        ),
        (
            'a = [("pg1", {"ssh_hostname": "a.example", "address": "2001:db8::1"})]\n'
            'b = [("pg2", {"ssh_hostname": "b.example", "address": "2001:DB8:0:0::1"})]\n',
            "pg1 and pg2 have the same address, 2001:db8::1",
        ),
        (
            'pg_standby = [("pg2", {"ssh_hostname": "192.0.2.1"})]\nwatch = ["pg2"]\n',
            "pg2 is in watch and in pg_standby",
        ),
        (
            'app = [("app1", {"ssh_hostname": "192.0.2.1"})]\nwatch = ["app1"]\n',
            "app1 is in watch and in app",
        ),
        (
            'backup = ([("backup1", {"ssh_hostname": "192.0.2.1"})], {"watch_act": "rejoin"})\n',
            "watch_act is 'rejoin'",
        ),
        ('pg = ["pg1"]\n', "ssh_hostname of pg1 is 'pg1', which is no IP address"),
        (
            'pg = [("pg1", {"ssh_hostname": "192.0.2.1", "address": "pg1.example"})]\n',
            "address of pg1 is 'pg1.example', which is no IP address",
        ),
        (
            'pg = [("pg1", {"ssh_hostname": "192.0.2.1", "ssh_user": "dr", "_use_sudo_password": True})]\n',
            "pg1 has _use_sudo_password, and no runbook types a password",
        ),
        (
            'pg = [("pg1", {"ssh_hostname": "192.0.2.1", "ssh_proxy_jump": "a b"})]\n',
            "pg1.ssh_proxy_jump is 'a b'",
        ),
        ('pg_primary = ["192.0.2.1"]\npg_standby = ("pg2", "pg3")\n', "pg_standby is ('pg2', 'pg3'), and a group is"),
        ('pg_primary = ["192.0.2.1"]\nwatch = "backup1"\n', "watch is 'backup1', and a group is a list"),
        ('pg_primary = ["192.0.2.1"]\npg_standbys = ["192.0.2.2"]\n', "nothing is deployed to a group pg_standbys"),
        ('pg = [("pg1",)]\n', "pg has ('pg1',), and a host is its name"),
        ('pg = [("pg1", "192.0.2.1")]\n', "pg has ('pg1', '192.0.2.1'), and a host is its name"),
        ("pg = [5]\n", "pg has 5, and a host is its name"),
        ('pg_standby = ["192.0.2.2"]\n', "192.0.2.2 in pg_standby, and no host in pg_primary"),
        (
            'backup = [("b", {"ssh_hostname": "192.0.2.3"}), ("a", {"ssh_hostname": "192.0.2.4"})]\n',
            "backup is b, a, but one host alone keeps the repository",
        ),
        ('offsite = ["192.0.2.3", "192.0.2.4"]\n', "offsite is 192.0.2.3, 192.0.2.4, but one host alone"),
        ('pg_primary = ["192.0.2.1"]\napp = ["192.0.2.1"]\n', "192.0.2.1 is in app and in pg_primary"),
        ('pg_primary = ["192.0.2.1"]\nbackup = ["192.0.2.1"]\n', "192.0.2.1 is in backup and in pg_primary"),
        ('backup = ["192.0.2.1"]\noffsite = ["192.0.2.1"]\n', "192.0.2.1 is in offsite and in backup"),
        (
            'pg_primary = ([("pg1", {"ssh_hostname": "192.0.2.1"})], {"synchronous_standbys": 2})\n'
            'pg_standby = ["192.0.2.2", "192.0.2.3"]\n',
            "synchronous_standbys is 2, and 1 at 192.0.2.2",
        ),
        (
            'pg_primary = ["192.0.2.1"]\napp = ([("app1", {"ssh_hostname": "192.0.2.4", "database": "b"})], {})\n',
            "database is 'quant_research', and 'b' at app1",
        ),
        (
            'backup = (["192.0.2.1"], {"estate": "mine"})\nwatch = [("c1", {"ssh_hostname": "192.0.2.2"})]\n',
            "estate is 'mine', and 'mystocks' at c1",
        ),
        ('backup = [("b1", {"ssh_hostname": "192.0.2.1", "watch_act": "reboot"})]\n', "watch_act is 'reboot'"),
        ('backup = ([("b1", {"ssh_hostname": "192.0.2.1"})], {"watch_act": None})\n', "watch_act is None"),
        (
            'pg = [("pg1", {"ssh_hostname": "192.0.2.1", "watch_fence_command": "fence off"})]\n',
            "pg1.watch_fence_command is 'fence off'",
        ),
        (
            'pg = [("pg1", {"ssh_hostname": "192.0.2.1", "fence_command": [""]})]\n',
            "its first word is the program",
        ),
    ],
)
def test_mistake_is_one_sentence_with_file_and_value(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(BadInput) as refused:
        read_inventory(written(tmp_path, text))
    assert named in str(refused.value)
    assert "estate.py" in str(refused.value)
    assert "\n" not in str(refused.value)


ODD = (
    "", "pg 2", "pg2\n", "-pg2", "../pg2", "pg2'", 'pg"2', "pg2,pg1", "*", "%s", "@local", "börse", "x" * 64,
    "fe80::1%;",
)  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_name_that_commits_could_not_wait_for_is_refused(tmp_path: Path, name: str) -> None:
    """PostgreSQL cuts a longer one off and replaces what is no ASCII; a quote would end its line of settings."""
    text = f'pg_primary = ["192.0.2.1"]\npg_standby = [({name!r}, {{"ssh_hostname": "192.0.2.2"}})]\n'
    with pytest.raises(BadInput, match="pg_standby has a host") as refused:
        read_inventory(written(tmp_path, text))
    assert refused.value.hint and "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["PG2", "pg-2", "pg_2", "pg2.example.com", "x" * 63, "2001:db8::1"])
def test_name_that_real_hosts_have_is_one(tmp_path: Path, name: str) -> None:
    text = f'pg_primary = ["192.0.2.1"]\npg_standby = [({name!r}, {{"ssh_hostname": "192.0.2.2"}})]\n'
    assert read_inventory(written(tmp_path, text)).groups["pg_standby"] == (name,)


def test_two_watches_may_differ_in_what_they_do(tmp_path: Path) -> None:
    """One that acts, and one that only looks."""
    text = (
        'backup = [("b1", {"ssh_hostname": "192.0.2.1"})]\n'
        'watch = ["b1", ("c1", {"ssh_hostname": "192.0.2.2", "watch_act": ""})]\n'
    )
    assert read_inventory(written(tmp_path, text)).groups["watch"] == ("b1", "c1")


def test_unknown_inventory_names_those_there_are() -> None:
    with pytest.raises(BadInput, match="'nowhere'") as refused:
        inventory_path("nowhere")
    assert "lab" in refused.value.hint


def test_missing_production_says_what_to_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inventories.inventory.HERE", tmp_path)
    with pytest.raises(BadInput) as refused:
        inventory_path("production")
    assert "production.example.py" in refused.value.hint
