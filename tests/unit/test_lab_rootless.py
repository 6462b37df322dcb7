"""A lab without root: the way into podman's namespace, and what a machine lacks for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from invoke.parser import Parser

import doors
from doors import rootless as door
from inventories import whoami
from inventories.errors import BadInput
from lab import engine, programs, rootless, rootless_needs, ssh

ROOT = Path(__file__).resolve().parents[2]
# The namespace is this machine's own; what podman makes known in it is there.
_PODMAN = """\
#!/bin/sh
[ "$1 $2" = "unshare --rootless-netns" ] || exit 9
[ -z "$BROKEN" ] || { echo "Error: $BROKEN" >&2; exit 125; }
shift 2
export _CONTAINERS_ROOTLESS_UID=4711 TMPDIR=/elsewhere
"$@"
echo closed >"$CLOSED"
"""
_NSENTER = """\
#!/bin/sh
while [ "$1" != env ]; do shift; done
cd /
exec "$@"
"""
# What these tests were started with may ignore signals (nohup, a shell's background), and a shell cannot change that.
_ENTER = (
    "import signal, sys; [signal.signal(one, signal.SIG_DFL) for one in (signal.SIGHUP, signal.SIGINT)]; "
    "from lab import rootless; rootless.enter(tuple(sys.argv[1:]))"
)


class Machine:
    """A PATH on which podman and nsenter are ours."""

    def __init__(self, folder: Path) -> None:
        self.closed = folder / "closed"
        for name, text in (("podman", _PODMAN), ("nsenter", _NSENTER)):
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        path = f"{folder}:{os.environ['PATH']}"
        self.env = {**os.environ, "PATH": path, "CLOSED": str(self.closed), "HOME": str(folder), "BROKEN": ""}

    def enter(self, script: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", _ENTER, "sh", "-c", script],
            env={**self.env, **env}, cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def namespace_closes(self) -> bool:
        deadline = time.monotonic() + 10
        while not self.closed.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.closed.exists()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_command_takes_our_place_with_input_folder_and_exit_code(machine: Machine) -> None:
    entered = machine.enter('read line; echo "$$ $line $PWD $DR_ROOTLESS $_CONTAINERS_ROOTLESS_UID $TMPDIR"; exit 3')
    out, err = entered.communicate("typed\n", timeout=30)
    assert (entered.returncode, err) == (3, "")
    ours = [str(entered.pid), "typed", str(ROOT), str(os.getuid()), "4711", *os.environ.get("TMPDIR", "").split()]
    assert out.split() == ours
    assert machine.namespace_closes()


def test_the_namespace_stays_for_as_long_as_the_command_runs(machine: Machine) -> None:
    entered = machine.enter("echo here; read line")
    assert entered.stdout is not None
    assert entered.stdout.readline() == "here\n"
    assert not machine.closed.exists()
    entered.communicate("\n", timeout=30)
    assert machine.namespace_closes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_reaches_the_command_and_nobody_else(machine: Machine, number: signal.Signals) -> None:
    told = "trap 'echo told; exit 4' INT TERM HUP; echo here; while :; do sleep 0.05; done"
    entered = machine.enter(told)
    assert entered.stdout is not None
    entered.stdout.readline()
    entered.send_signal(number)
    out, _ = entered.communicate(timeout=30)
    assert (out, entered.returncode) == ("told\n", 4)


def test_a_namespace_that_does_not_open_is_said_in_podmans_own_words(
    monkeypatch: pytest.MonkeyPatch, machine: Machine
) -> None:
    for name, value in {**machine.env, "BROKEN": "cannot set up namespace"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadInput, match="without root: cannot set up namespace") as error:
        rootless.enter(("true",))
    assert "podman system migrate" in error.value.hint


def test_everybody_is_root_in_the_namespace_but_shares_no_sockets_with_root(monkeypatch: pytest.MonkeyPatch) -> None:
    number = 4_100_000 + os.getpid()
    monkeypatch.setenv("DR_ROOTLESS", str(number))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert whoami.user_id() == number
    path = ssh.sockets_dir()
    assert path == Path("/tmp") / f"dr-{number}"
    path.rmdir()
    monkeypatch.delenv("DR_ROOTLESS")
    assert whoami.user_id() == os.getuid()


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine that lacks nothing: its files are below the folder."""
    (tmp_path / "cgroup.controllers").touch()
    (tmp_path / "bus").touch()
    (tmp_path / "tun").touch()
    (tmp_path / "dbus.socket").touch()
    for kind in ("uids", "gids"):
        (tmp_path / kind).write_text("other:100000:65536\nme:165536:65536\n")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(rootless_needs, "_CGROUPS", tmp_path)
    monkeypatch.setattr(rootless_needs, "_SYSTEMD", tmp_path)
    monkeypatch.setattr(rootless_needs, "_USER_BUS", tmp_path / "dbus.socket")
    monkeypatch.setattr(rootless_needs, "_TUN", tmp_path / "tun")
    monkeypatch.setattr(rootless_needs, "_RANGES", {kind: tmp_path / kind for kind in ("uids", "gids")})
    monkeypatch.setattr(rootless_needs, "has", lambda _program: True)
    monkeypatch.setattr(rootless_needs, "_user", lambda: "me")
    monkeypatch.setattr(rootless_needs, "podmans_way_out", lambda: ("slirp4netns", "slirp4netns"))
    monkeypatch.setattr(rootless_needs, "_own_cgroup_is_ours", lambda: False)
    monkeypatch.setattr("shutil.which", lambda name, *_, **__: "/usr/bin/apt-get" if name == "apt-get" else None)
    return tmp_path


@pytest.mark.usefixtures("whole")
def test_a_machine_that_has_everything_is_let_through() -> None:
    rootless_needs.check()


def test_everything_that_is_missing_is_one_sentence_and_one_line_of_commands(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = ("newuidmap", "slirp4netns", "mmdebstrap")
    monkeypatch.setattr(rootless_needs, "has", lambda program: program not in lacking)
    monkeypatch.setattr(rootless_needs, "os_release", lambda: "ID=debian\n")
    monkeypatch.delenv("DR_LAB_BASE", raising=False)
    (whole / "dbus.socket").unlink()
    (whole / "gids").write_text("other:100000:65536\nme:165536:1000\n")
    (whole / "tun").unlink()
    with pytest.raises(BadInput) as error:
        rootless_needs.check()
    packages = ("uidmap", "slirp4netns", "dbus-user-session", "mmdebstrap")
    assert error.value.sentence == (
        f"A lab without root needs what is missing here: the packages {', '.join(packages)}; "
        f"65,536 subordinate ids for me; {whole}/tun open to everybody."
    )
    assert error.value.hint == (
        f"sudo apt-get install -y --no-install-recommends {' '.join(packages)} && "
        "sudo usermod --add-subgids 231072-296607 me && podman system migrate && "
        f"sudo chmod 666 {whole}/tun"
    )


def test_no_packages_help_under_the_old_cgroup_hierarchy(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (whole / "cgroup.controllers").unlink()
    monkeypatch.setattr(rootless_needs, "has", lambda _program: False)
    with pytest.raises(BadInput, match="old cgroup hierarchy"):
        rootless_needs.check()


def test_a_login_without_a_session_is_told_how_to_get_one(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (whole / "bus").unlink()
    with pytest.raises(BadInput, match="no systemd session") as error:
        rootless_needs.check()
    assert "sudo loginctl enable-linger me" in error.value.hint
    monkeypatch.setattr(rootless_needs, "_own_cgroup_is_ours", lambda: True)
    rootless_needs.check()


@pytest.mark.parametrize(
    ("typed", "needs"),
    [
        ("drill", True),
        ("demo --lab made", True),
        ("lab.up", True),
        ("test", True),
        ("test --fast", False),
        ("lint", False),
        ("scenarios", False),
        ("runs", False),
        ("runbook.list", False),
        ("secrets.make file", False),
        ("status --lab made", True),
        ("status --lab absent", False),
        ("lab.down --lab made", True),
        ("lab.ssh pg1 --lab made", True),
        ("status --lab made --inventory production", False),
        ("failover --lab made", True),
        ("failover --lab made --plan", False),
        ("runs status --lab made", True),
    ],
)
def test_only_what_reaches_a_lab_goes_into_its_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, typed: str, needs: bool
) -> None:
    monkeypatch.setenv("DR_STATE", str(tmp_path))
    monkeypatch.delenv("DR_INVENTORY", raising=False)
    monkeypatch.delenv("DR_LAB", raising=False)
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "lab.json").touch()
    entered: list[tuple[str, ...]] = []
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("lab.machine.lacks_root", lambda: True)
    monkeypatch.setattr("lab.rootless_needs.check", lambda: None)
    monkeypatch.setattr("lab.rootless.enter", entered.append)
    door.go_to_the_lab(Parser(contexts=doors.ns.to_contexts()).parse_argv(typed.split()), typed.split())
    assert entered == ([(sys.executable, "-m", "doors.main", *typed.split())] if needs else [])


def test_who_has_root_or_is_there_already_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.rootless.enter", lambda _: pytest.fail("entered"))
    contexts = Parser(contexts=doors.ns.to_contexts()).parse_argv(["drill"])
    monkeypatch.setattr("os.geteuid", lambda: 0)  # so it is for everybody in the namespace
    door.go_to_the_lab(contexts, ["drill"])
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("lab.machine.lacks_root", lambda: False)
    door.go_to_the_lab(contexts, ["drill"])


def test_a_machine_that_lacks_something_leaves_the_word_to_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks() -> None:
        raise BadInput("uidmap is missing")

    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("lab.machine.lacks_root", lambda: True)
    monkeypatch.setattr("lab.rootless_needs.check", lacks)
    monkeypatch.setattr("lab.rootless.enter", lambda _: pytest.fail("entered"))
    door.go_to_the_lab(Parser(contexts=doors.ns.to_contexts()).parse_argv(["drill"]), ["drill"])


def test_the_sockets_of_somebody_else_are_not_taken_for_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert rootless.runtime_dir() == tmp_path
    monkeypatch.setattr("os.getuid", lambda: 4_200_000)
    assert rootless.runtime_dir() == Path("/run/user/4200000")
    rootless.prepare()
    assert "XDG_RUNTIME_DIR" not in os.environ


@pytest.mark.parametrize(("store", "driver"), [("", "overlay"), ("overlay-images", "overlay"), ("vfs-images", None)])
def test_a_store_that_there_is_keeps_its_kind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store: str, driver: str | None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("STORAGE_DRIVER", "")
    monkeypatch.delenv("STORAGE_DRIVER")
    monkeypatch.setattr("platform.release", lambda: "6.1.0-18-amd64")
    monkeypatch.setattr(rootless, "_CONFIGURED", ())
    (tmp_path / ".local/share/containers/storage" / store).mkdir(parents=True)
    rootless.prepare()
    assert os.environ.get("STORAGE_DRIVER") == driver


@pytest.mark.parametrize(
    ("said", "release", "packages"),
    [
        ("podman version 4.3.1", "", ("iptables", "slirp4netns")),
        ("podman version 5.4.2", "", ("nftables", "passt")),
        ("", "VERSION_CODENAME=bookworm", ("iptables", "slirp4netns")),
        ("", "VERSION_CODENAME=trixie", ("nftables", "passt")),
    ],
)
def test_each_podman_is_given_the_programs_that_it_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, release: str, packages: tuple[str, str]
) -> None:
    """Seen on Debian 13: without nft every start of a host hangs for a minute, and ends with no word of it."""
    if said:
        (tmp_path / "podman").write_text(f"#!/bin/sh\necho {said}\n")
        (tmp_path / "podman").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin" if said else str(tmp_path))
    monkeypatch.setattr(programs, "os_release", lambda: release)
    assert (programs.podmans_firewall()[1], programs.podmans_way_out()[1]) == packages
    assert packages[0] in engine.EngineMissing("x").hint
