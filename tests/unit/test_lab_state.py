"""A lab's files: names, secrets, keys, SSH configuration, damage."""

import os
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from inventories import secrets
from inventories.errors import BadInput, Refused
from lab import spec, ssh, state

HOSTS = {name: state.LabHost(name, f"t-{name}", f"10.89.150.{n}") for name, n in (("pg1", 21), ("pg2", 22))}
LAB = state.LabState("t", "dr-t", "10.89.150.0/24", "10.89.150.1", "image:1", HOSTS)


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DR_STATE", str(tmp_path / "a state"))
    return tmp_path / "a state" / "t"


@pytest.mark.parametrize("name", ["", "Lab", "1lab", "a_b", "a" * 22, "../x", "a b", "lab\n"])
def test_a_bad_lab_name_is_one_sentence(name: str) -> None:
    with pytest.raises(BadInput, match="cannot be the name of a lab"):
        spec.lab_name(name)


def test_an_unknown_host_is_bad_input_and_none_means_all() -> None:
    assert spec.host_specs("") == spec.HOSTS
    assert [host.name for host in spec.host_specs("pg2, app1")] == ["app1", "pg2"]
    with pytest.raises(BadInput, match="no host named 'pg9'"):
        spec.host_specs("pg1,pg9")


def test_the_state_directory_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DR_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", "/x")
    assert state.files("t").root == Path("/x/mystocks-dr/t")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/h")
    assert state.files("t").root == Path("/h/.local/state/mystocks-dr/t")


def test_what_is_saved_is_read_again() -> None:
    state.save(LAB)
    assert state.load("t") == LAB


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"name": "t"}', '{"hosts": {"a": {"x": 1}}}', "\x00"])
def test_a_damaged_record_names_the_file(own_state: Path, text: str) -> None:
    state.write_atomically(own_state / "lab.json", text, 0o644)
    with pytest.raises(BadInput, match=r"lab\.json is damaged"):
        state.load("t")


def test_a_lab_that_was_never_made_says_how_to_make_it() -> None:
    with pytest.raises(BadInput, match="no lab named 't'") as error:
        state.load("t")
    assert "./dr lab.up --lab t" in error.value.hint


def test_secrets_are_private_random_and_kept(own_state: Path) -> None:
    state.ensure_secrets("t")
    path = own_state / "secrets.yaml"
    first = yaml.safe_load(path.read_text())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(first) == set(secrets.NAMES)
    assert len(set(first.values())) == len(secrets.NAMES)
    path.write_text(
        "".join(line for line in path.read_text().splitlines(True) if not line.startswith("reader"))
    )
    state.ensure_secrets("t")
    second = yaml.safe_load(path.read_text())
    assert {name for name in first if first[name] != second[name]} == {"reader"}


def test_a_lost_half_of_the_key_makes_a_new_pair(own_state: Path) -> None:
    first = state.ensure_key("t")
    assert state.ensure_key("t") == first
    (own_state / "id_ed25519").unlink()
    assert state.ensure_key("t") != first
    assert stat.S_IMODE((own_state / "id_ed25519").stat().st_mode) == 0o600


def test_ssh_itself_reads_the_configuration_by_name_and_by_address(own_state: Path) -> None:
    ssh.write_config(LAB)
    for alias in ("pg2", "10.89.150.22"):
        argv = ["ssh", "-G", "-F", str(own_state / "ssh_config"), alias]
        shown = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        options = dict(line.partition(" ")[::2] for line in shown.splitlines())
        assert options["hostname"] == "10.89.150.22"
        assert options["identityfile"] == str(own_state / "id_ed25519")
        assert options["userknownhostsfile"] == str(own_state / "known_hosts")
        assert options["stricthostkeychecking"] == "true"
        assert options["connecttimeout"] == "2"
        assert len(options["controlpath"]) < 80


def test_host_keys_are_pinned_and_those_of_other_hosts_are_kept(own_state: Path) -> None:
    ssh.write_known_hosts(LAB, {"pg1": "ssh-ed25519 AAA root@pg1\n", "pg2": "ssh-ed25519 BBB root@pg2\n"})
    ssh.write_known_hosts(LAB, {"pg2": "ssh-ed25519 CCC root@pg2\n"})
    lines = (own_state / "known_hosts").read_text().splitlines()
    assert lines == ["pg1,10.89.150.21 ssh-ed25519 AAA", "pg2,10.89.150.22 ssh-ed25519 CCC"]


def test_a_socket_directory_that_others_can_enter_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_uid = 4_000_000 + os.getpid()
    monkeypatch.setattr("os.getuid", lambda: fake_uid)
    path = Path("/tmp") / f"dr-{fake_uid}"
    try:
        with pytest.raises(Refused, match="not a private directory of this user"):
            ssh.sockets_dir()
    finally:
        path.rmdir()
