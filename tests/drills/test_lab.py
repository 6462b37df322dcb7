"""The lab itself, on a real engine: completing, taking away, and the levers; in labs of their own names."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from inventories.errors import BadInput, Refused
from lab import containers, faults, network, ssh, state
from lab.containers import ContainerState
from lab.down import down
from lab.engine import Engine, Kind, find_engine
from lab.spec import host_specs
from lab.status import look
from lab.up import up
from lab.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
LAB, OTHER = "t-lab", "t-lab-2"
TWO = host_specs("pg1,pg2")


def quiet(_: str) -> None:
    """Nobody watches."""


@pytest.fixture(scope="module", autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DR_STATE", str(tmp_path_factory.mktemp("state")))
        for name in (LAB, OTHER):
            down(name, quiet)
        yield
        for name in (LAB, OTHER):
            down(name, quiet)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return find_engine()


@pytest.fixture
def lab() -> state.LabState:
    return up(LAB, quiet, TWO)


def on(host: str, *command: str, lab: str = LAB) -> str:
    argv = [*ssh.argv(lab, host, "-o", "ControlPath=none"), *command]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20).stdout.strip()


def can_connect(lab: state.LabState, from_: str, to: str, port: int = 22) -> bool:
    """Whether a TCP connection opens, tried from inside a host, or from here for ``operator``."""
    script = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 1)"
    inside = [] if from_ == "operator" else [*find_engine().prefix, "exec", lab.hosts[from_].container]
    argv = [*inside, "python3", "-c", script, to, str(port)]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def test_hosts_have_their_names_addresses_systemd_and_keys_of_their_own(lab: state.LabState) -> None:
    assert on("pg1", "hostname") == "pg1"
    assert on("pg1", "systemctl", "is-system-running") == "running"
    assert on("pg2", "systemctl", "is-active", "ssh", "cron") == "active\nactive"
    assert lab.hosts["pg2"].address in on("pg2", "ip", "-br", "address")
    assert on("pg1", "getent", "hosts", "pg2").split() == [lab.hosts["pg2"].address, "pg2"]
    pinned = state.files(LAB).known_hosts.read_text().split()
    assert pinned[2] != pinned[5], "two hosts share a host key"
    assert on("pg1", "cat", "/etc/machine-id") != on("pg2", "cat", "/etc/machine-id")


def test_a_deploy_can_install_without_updating_or_downloading(lab: state.LabState) -> None:
    wanted = ("postgresql-17-timescaledb", "pgbackrest", "restic", "python3-psycopg2")
    assert "Inst postgresql-17 " in on("pg1", "apt-get", "install", "--simulate", *wanted)
    uris = on("pg1", "apt-get", "install", "--yes", "--print-uris", *wanted).splitlines()
    assert not [line for line in uris if line.startswith("'http")]


def test_a_host_that_a_killed_drill_left_isolated_is_healed_by_up(lab: state.LabState) -> None:
    faults.isolate(LAB, "pg2", [lab.gateway])
    up(LAB, quiet, TWO)
    assert on("pg2", "hostname") == "pg2"


def test_a_half_removed_lab_is_completed_and_what_was_there_is_kept(
    lab: state.LabState, engine: Engine
) -> None:
    on("pg2", "touch", "/root/kept")
    secrets = state.files(LAB).secrets.read_text()
    containers.remove(engine, lab.hosts["pg1"].container)
    engine.run("stop", "--time", "0", lab.hosts["pg2"].container)
    state.files(LAB).key.unlink()
    state.files(LAB).known_hosts.unlink()
    assert {host.host: host.state for host in look(LAB)} == {"pg1": "missing", "pg2": "off"}
    again = up(LAB, quiet, TWO)
    assert again == lab
    assert on("pg1", "hostname") == "pg1"
    assert on("pg2", "ls", "/root/kept") == "/root/kept"
    assert state.files(LAB).secrets.read_text() == secrets


def test_a_host_whose_processes_were_ended_from_outside_is_told_and_made_anew(
    lab: state.LabState, engine: Engine
) -> None:
    if engine.kind is not Kind.PODMAN:
        pytest.skip("docker keeps its containers itself: they have no keeper of their own to be ended")
    box = lab.hosts["pg1"].container
    on("pg2", "touch", "/root/kept-beside")
    told = engine.run("inspect", "--format", "{{.State.ConmonPid}} {{.State.Pid}}", box).split()
    # The keeper first: it would write the end down. So ends a machine that is restarted and keeps its /run.
    subprocess.run([*engine.elevation, "kill", "-9", *told], check=True)
    wait_until("The end of pg1", lambda: not Path(f"/proc/{told[1]}").exists(), 10.0)
    assert {host.host: host.state for host in look(LAB)} == {"pg1": "lost", "pg2": "running"}
    said: list[str] = []
    assert up(LAB, said.append, TWO) == lab
    assert [line for line in said if "anew" in line] == [
        f"{box} is made anew, empty: its processes were ended from outside, and the engine cannot start it again"
    ]
    assert on("pg1", "hostname") == "pg1"
    assert on("pg2", "ls", "/root/kept-beside") == "/root/kept-beside"


def test_a_power_cut_is_silent_keeps_the_disk_and_ends_with_the_same_address(lab: state.LabState) -> None:
    on("pg1", "sh", "-c", "'echo kept >/root/disk; sync'")
    faults.power_off(LAB, "pg1")
    assert not faults.is_running(LAB, "pg1")
    faults.power_off(LAB, "pg1")
    assert not can_connect(lab, "pg2", lab.hosts["pg1"].address)
    faults.power_on(LAB, "pg1")
    assert on("pg1", "cat", "/root/disk") == "kept"
    assert can_connect(lab, "pg2", lab.hosts["pg1"].address)


def test_an_open_connection_hears_nothing_of_a_power_cut(lab: state.LabState) -> None:
    import socket

    with socket.create_connection((lab.hosts["pg1"].address, 22), 5) as wire:
        wire.recv(100)
        wire.settimeout(1.5)
        faults.power_off(LAB, "pg1")
        with pytest.raises(TimeoutError):  # a FIN would be b"", a RST ConnectionResetError
            wire.recv(100)
    faults.power_on(LAB, "pg1")


def test_an_isolated_host_is_cut_off_both_ways_and_others_still_reach_it(lab: state.LabState) -> None:
    pg1, pg2 = lab.hosts["pg1"].address, lab.hosts["pg2"].address
    faults.isolate(LAB, "pg1", [lab.gateway])
    assert not can_connect(lab, "operator", pg1)
    assert not can_connect(lab, "pg1", lab.gateway)
    assert not ssh.answers(LAB, "pg1")
    assert can_connect(lab, "pg2", pg1)
    assert can_connect(lab, "pg1", pg2)
    faults.isolate(LAB, "pg1", [pg2])
    assert not can_connect(lab, "pg2", pg1)
    assert not can_connect(lab, "pg1", pg2)
    faults.heal(LAB, "pg1")
    assert can_connect(lab, "operator", pg1)
    assert can_connect(lab, "pg2", pg1)


def test_nothing_gets_through_an_open_connection_to_an_isolated_host(
    lab: state.LabState, engine: Engine
) -> None:
    import socket

    box, address = lab.hosts["pg1"].container, lab.hosts["pg1"].address
    receiver = (
        "import socket, pathlib; s = socket.create_server(('', 7001))\n"
        "pathlib.Path('/tmp/r').touch(); c, _ = s.accept()\n"
        "while d := c.recv(99): pathlib.Path('/tmp/r').write_bytes(d)"
    )
    engine.run("exec", "--detach", box, "python3", "-c", receiver)
    engine.execute(box, "sh", "-c", "until test -e /tmp/r; do sleep 0.05; done")
    with socket.create_connection((address, 7001), 5) as wire:
        faults.isolate(LAB, "pg1", [lab.gateway])
        wire.sendall(b"leak")
        time.sleep(1)  # several retransmissions
        assert engine.execute(box, "cat", "/tmp/r") == ""
    faults.heal(LAB, "pg1")


def test_a_process_is_killed_by_its_pid_file(lab: state.LabState) -> None:
    pid = int(on("pg1", "cat", "/run/crond.pid"))
    assert faults.kill_process(LAB, "pg1", "/run/crond.pid") == pid
    assert on("pg1", "sh", "-c", f"'kill -0 {pid} 2>/dev/null || echo dead'") == "dead"


def test_the_fence_is_certain_quick_to_repeat_and_knows_its_hosts(lab: state.LabState) -> None:
    fence = [sys.executable, "-m", "lab.fence", "--lab", LAB]
    for _ in range(2):
        assert subprocess.run([*fence, "pg1"], check=False).returncode == 0
        assert not faults.is_running(LAB, "pg1")
    unknown = subprocess.run([*fence, "pg9"], capture_output=True, text=True, check=False)
    assert unknown.returncode == 2
    assert unknown.stderr.splitlines()[0] == f"Lab {LAB} has no host named 'pg9'."


def test_a_lever_on_an_unknown_host_or_nobody_is_bad_input(lab: state.LabState) -> None:
    with pytest.raises(BadInput, match="no host named 'pg9'"):
        faults.power_off(LAB, "pg9")
    with pytest.raises(BadInput, match="from nobody"):
        faults.isolate(LAB, "pg1", [])


def test_down_removes_exactly_its_own_and_twice_is_harmless(lab: state.LabState, engine: Engine) -> None:
    other = up(OTHER, quiet, host_specs("app1"))
    assert other.subnet != lab.subnet
    foreign = f"{LAB}-backup1"
    engine.run("create", "--name", foreign, lab.image, "/bin/true")
    try:
        removed = down(LAB, quiet)
        assert set(removed.containers) == {f"{LAB}-pg1", f"{LAB}-pg2"}
        assert removed.network
        assert not state.files(LAB).root.exists()
        assert not down(LAB, quiet).anything
        left = containers.list_all(engine)
        assert foreign in left
        assert left[f"{OTHER}-app1"].state is ContainerState.RUNNING
        assert on("app1", "hostname", lab=OTHER) == "app1"
        with pytest.raises(Refused, match="which no lab of ours made"):
            up(LAB, quiet, host_specs("backup1"))
    finally:
        containers.remove(engine, foreign)


def test_the_state_of_a_lab_whose_record_is_damaged_does_not_keep_it_alive(engine: Engine) -> None:
    up(LAB, quiet, host_specs("app1"))
    Path(state.files(LAB).lab_json).write_text("{")
    assert down(LAB, quiet).containers == (f"{LAB}-app1",)
    assert containers.of_lab(engine, LAB) == {}


def test_a_lab_whose_site_lost_its_power_leaves_nothing_of_its_network_behind(engine: Engine) -> None:
    if engine.kind is not Kind.PODMAN or engine.elevation:
        pytest.skip("bridges and rules of this engine are not ours to see")
    made = up(LAB, quiet, host_specs("app1"))
    bridge = Path("/sys/class/net", network._bridge(engine, LAB))
    faults.site_off(LAB, ["app1"])
    assert bridge.exists() and _rules(str(made.subnet)), "held, or this shows nothing"
    down(LAB, quiet)
    assert not bridge.exists() and not _rules(str(made.subnet))


def _rules(subnet: str) -> list[str]:
    """Of the machine's firewall, those that name the subnet."""
    save = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    return [line for line in save.splitlines() if subnet in line]
