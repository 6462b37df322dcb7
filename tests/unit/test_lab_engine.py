"""Speaking to the container engine, its errors, and what the machine allows."""

import os
import resource
import subprocess
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from inventories.errors import BadInput, ExitCode, Refused, TargetFailed, TimedOut
from lab import containers, engine, limits, machine, power, state
from lab.containers import ContainerState
from lab.engine import Engine, EngineFailed, EngineMissing, Kind
from lab.spec import HOSTS, LabSpec
from tests.unit.fake_engine import FakeEngine


def test_a_failure_becomes_a_sentence_with_the_engines_last_line(tmp_path: Path) -> None:
    fake = FakeEngine(tmp_path)
    fake.answer("start", err="warning: x\nError: no such container y\n\n", code=125)
    with pytest.raises(
        EngineFailed, match="podman start y ended with code 125: Error: no such container y"
    ) as failed:
        fake.engine.run("start", "y")
    assert failed.value.exit_code is ExitCode.FAILED


def test_an_engine_that_hangs_is_given_up(tmp_path: Path) -> None:
    program = tmp_path / "podman"
    program.write_text("#!/bin/sh\nexec sleep 5\n")
    program.chmod(0o755)
    with pytest.raises(TimedOut):
        Engine(Kind.PODMAN, (str(program),)).run("ps", timeout=0.1)


def test_no_engine_is_bad_input_with_the_command_that_helps(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("DR_ENGINE", raising=False)
    with pytest.raises(EngineMissing) as missing:
        engine.find_engine()
    assert missing.value.exit_code is ExitCode.BAD_INPUT
    assert missing.value.hint.startswith("sudo apt-get install -y --no-install-recommends podman runc")


def test_an_engine_that_we_do_not_know_is_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_ENGINE", "lxc")
    with pytest.raises(BadInput, match="'lxc'"):
        engine.find_engine()


def test_without_rights_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "apt-get").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(BadInput, match="lacks nosuch-pkg") as error:
        machine.ensure_programs({"nosuch-program": "nosuch-pkg", "apt-get": "apt"}, lambda _: None)
    assert error.value.hint == "sudo apt-get install -y -q --no-install-recommends nosuch-pkg"


def test_rootless_podman_outside_of_its_namespace_is_told_who_goes_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = FakeEngine(tmp_path)
    monkeypatch.setattr("lab.machine.find_engine", lambda: fake.engine)
    monkeypatch.setattr("lab.machine.may_sudo", lambda: False)
    monkeypatch.setattr("lab.rootless_needs.check", lambda: None)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(BadInput, match="rootless podman") as error:
        machine.ensure_engine(lambda _: None)
    assert "podman unshare --rootless-netns" in error.value.hint


def test_what_a_lab_without_root_lacks_is_said_before_anything_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks() -> None:
        raise BadInput("A lab without root needs what is missing here: uidmap.", "sudo apt-get install uidmap")

    def missing() -> Engine:
        raise EngineMissing("Neither podman nor docker is here.")

    monkeypatch.delenv("DR_ENGINE", raising=False)
    monkeypatch.setattr("lab.machine.find_engine", missing)
    monkeypatch.setattr("lab.machine.may_sudo", lambda: False)
    monkeypatch.setattr("lab.rootless_needs.check", lacks)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(BadInput, match="uidmap"):
        machine.ensure_engine(lambda _: None)


def test_root_of_a_namespace_may_not_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_ROOTLESS", "1000")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("apt-get was started"))
    with pytest.raises(BadInput, match="lacks nosuch-pkg"):
        machine.ensure_programs({"nosuch-program": "nosuch-pkg"}, lambda _: None)


def test_limits_never_exceed_the_shells_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (100, 200))
    assert limits.ulimits() == ("--ulimit", "nofile=200:200", "--ulimit", "nproc=200:200")
    monkeypatch.setattr("resource.getrlimit", lambda _: (100, resource.RLIM_INFINITY))
    assert "nofile=65536:65536" in limits.ulimits()


def test_runc_is_asked_for_only_on_the_old_cgroup_hierarchy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    podman, docker = Engine(Kind.PODMAN, ("podman",)), Engine(Kind.DOCKER, ("docker",))
    unified = tmp_path / "cgroup.controllers"
    monkeypatch.setattr("shutil.which", lambda *_, **__: "/x/runc")
    assert limits.runtime(podman, unified) == ("--runtime", "/x/runc")
    assert limits.runtime(docker, unified) == ()
    unified.touch()
    assert limits.runtime(podman, unified) == ()


def test_both_engines_lists_are_understood(tmp_path: Path) -> None:
    podman, docker = FakeEngine(tmp_path / "p"), FakeEngine(tmp_path / "d", Kind.DOCKER)
    podman.answer("ps", [{"Names": ["lab-pg1"], "Labels": None, "State": "exited", "Status": "Exited"}])
    docker.answer(
        "ps", '{"Names":"lab-pg1","Labels":"mystocks-dr.lab=lab,a=b","State":"running","Status":"Up"}\n'
    )
    assert containers.list_all(podman.engine)["lab-pg1"].state is ContainerState.OFF
    assert containers.of_lab(podman.engine, "lab") == {}
    assert containers.of_lab(docker.engine, "lab")["lab-pg1"].state is ContainerState.RUNNING


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("initialized", ContainerState.NEVER_RAN),
        ("created", ContainerState.NEVER_RAN),
        ("stopping", ContainerState.OFF),
        ("paused", ContainerState.PAUSED),
    ],
)
def test_a_container_whose_making_was_interrupted_is_told_from_one_that_lost_power(
    tmp_path: Path, word: str, state: ContainerState
) -> None:
    fake = FakeEngine(tmp_path)
    fake.answer("ps", [{"Names": ["x"], "Labels": {}, "State": word, "Status": ""}])
    assert containers.list_all(fake.engine)["x"].state is state


@pytest.mark.parametrize("word", ["running", "stopping"])
@pytest.mark.parametrize("whose", ["nobody", "somebody else"])
@pytest.mark.parametrize("answers", [False, True])
def test_a_container_whose_first_process_is_not_here_is_lost_unless_the_engine_can_work_in_it(
    tmp_path: Path, word: str, whose: str, answers: bool
) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    pid = ended.pid if whose == "nobody" else os.getpid()
    fake = FakeEngine(tmp_path)
    ours = {"mystocks-dr.lab": "lab"}
    fake.answer("ps", [{"Names": ["x"], "Labels": ours, "State": word, "Status": "Up 3 minutes", "Pid": pid}])
    fake.answer("exec x true", err="Error: cannot exec in a stopped container", code=0 if answers else 255)
    assert (containers.list_all(fake.engine)["x"].state is ContainerState.LOST) is not answers


def test_nothing_is_tried_in_a_container_of_somebody_else(tmp_path: Path) -> None:
    fake = FakeEngine(tmp_path)
    row = {"Names": ["x"], "Labels": {}, "State": "running", "Status": "Up 3 minutes", "Pid": os.getpid()}
    fake.answer("ps", [row])
    fake.answer("exec x true", err="Error: no such program", code=127)
    assert containers.list_all(fake.engine)["x"].state is ContainerState.RUNNING


def test_a_container_of_that_name_which_is_not_ours_is_left_alone() -> None:
    box = containers.Container("lab-pg1", {"mystocks-dr.lab": "other"}, ContainerState.RUNNING, "")
    with pytest.raises(Refused, match="which no lab of ours made"):
        containers.refuse_foreign("lab", "pg1", box)


@pytest.fixture
def any_cgroups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether this machine needs runc is asked of the machine, and tested elsewhere."""
    monkeypatch.setattr(containers.limits, "runtime", lambda _engine: ())


@pytest.mark.usefixtures("any_cgroups")
def test_a_host_is_made_with_its_address_label_peers_and_no_restart(tmp_path: Path) -> None:
    fake = FakeEngine(tmp_path)
    containers.create(fake.engine, LabSpec("t", IPv4Network("10.89.150.0/24")), HOSTS[1], "image:1")
    call = fake.calls[0]
    for part in (
        *("--name t-pg1", "--hostname pg1", "--ip 10.89.150.21", "--network dr-t", "--restart no"),
        "--mac-address 02:64:0a:59:96:15",
        *("--label mystocks-dr.lab=t", "--add-host app1:10.89.150.11", "--add-host backup1:10.89.150.31"),
    ):
        assert part in call
    assert call.endswith("image:1 /sbin/init")


@pytest.mark.usefixtures("any_cgroups")
def test_an_address_that_a_killed_engine_kept_has_a_way_out(tmp_path: Path) -> None:
    fake = FakeEngine(tmp_path)
    fake.answer("", err="Error: IPAM error: requested ip address 10.89.150.21 is already allocated", code=126)
    with pytest.raises(TargetFailed, match="for a dead container") as error:
        containers.create(fake.engine, LabSpec("t", IPv4Network("10.89.150.0/24")), HOSTS[1], "image:1")
    assert "lab.down --lab t" in error.value.hint


def test_a_container_that_is_not_there_does_not_run(tmp_path: Path) -> None:
    fake = FakeEngine(tmp_path)
    fake.answer("inspect", err='Error: no such container "x"', code=125)
    assert fake.engine.is_running("x") is False


def test_an_engine_that_cannot_tell_is_not_taken_for_off(tmp_path: Path) -> None:
    fake = FakeEngine(tmp_path)
    fake.answer("inspect", err="Error: database is locked", code=125)
    with pytest.raises(EngineFailed):
        fake.engine.is_running("x")


def test_an_engine_that_is_not_there_is_not_taken_for_a_container_that_is_off(tmp_path: Path) -> None:
    fake = FakeEngine(tmp_path)
    fake.answer("inspect", err="Error: dial unix /run/podman.sock: connect: no such file or directory", code=125)
    with pytest.raises(EngineFailed):
        fake.engine.is_running("x")


# ---- the fence


@pytest.fixture
def fenced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """A lab of one host, and the engine that its fence finds."""
    monkeypatch.setenv("DR_STATE", str(tmp_path / "state"))
    (tmp_path / "state" / "t").mkdir(parents=True)
    hosts = {"pg1": state.LabHost("pg1", "t-pg1", "10.89.150.21")}
    state.save(state.LabState("t", "dr-t", "10.89.150.0/24", "10.89.150.1", "image:1", hosts))
    fake = FakeEngine(tmp_path)
    monkeypatch.setattr(power, "find_engine", lambda: fake.engine)
    monkeypatch.setattr(power, "_OFF_BUDGET_S", 0.05)
    return fake


@pytest.mark.parametrize("word", ["running", "paused", "stopping", "restarting", "unknown"])
def test_a_host_that_is_not_certainly_off_is_killed_and_fenced_only_once_it_is(fenced: FakeEngine, word: str) -> None:
    fenced.answer("inspect", f"{word}\n")
    with pytest.raises(TimedOut, match="The end of t-pg1"):
        power.fence("t", "pg1")
    assert "kill --signal KILL t-pg1" in fenced.calls


def test_a_host_that_is_off_already_is_fenced_with_one_question(fenced: FakeEngine) -> None:
    fenced.answer("inspect", "exited\n")
    power.fence("t", "pg1")
    assert len(fenced.calls) == 1


@pytest.mark.parametrize("knows", [True, False])
def test_a_host_that_the_engine_does_not_know_is_gone_only_where_that_engine_has_its_lab(
    fenced: FakeEngine, knows: bool
) -> None:
    fenced.answer("inspect", err="Error: no such container t-pg1", code=125)
    fenced.answer("network inspect dr-t", "[]", "" if knows else "Error: network dr-t: not found", 0 if knows else 125)
    if knows:
        power.fence("t", "pg1")
    else:
        with pytest.raises(EngineFailed):
            power.fence("t", "pg1")
