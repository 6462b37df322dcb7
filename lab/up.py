"""Bring a lab up, or complete one that is half there."""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from lab import containers, image, machine, network, ssh, state
from lab.containers import ContainerState
from lab.engine import Engine, EngineFailed
from lab.machine import Say
from lab.spec import EVERY_HOST, HostSpec, LabSpec, container_name, hosts_of_this_lab, lab_name, network_name
from lab.wait import wait_until

_BOOT_BUDGET_S = 60.0
# One call a host: let the operator in, wait for systemd, show the host's key.
_WELCOME = """
set -eu
install -d -m 700 /root/.ssh
cat >/root/.ssh/authorized_keys
chmod 600 /root/.ssh/authorized_keys
ip route flush dev lo  # what a drill that was killed had cut
systemctl start ssh 2>/dev/null || true  # somebody may have stopped it
systemctl is-system-running --wait >/dev/null || test "$(systemctl is-system-running)" = degraded
cat /etc/ssh/ssh_host_ed25519_key.pub
"""


def up(name: str, say: Say, hosts: tuple[HostSpec, ...] = ()) -> state.LabState:
    """Have these hosts (none: all) of the lab running and reachable over SSH; what is there already stays as it is.

    Errors: BadInput (name, no engine, no right to install one), Refused (a name is taken by somebody else's
    container or network), TargetFailed (the engine or the image's build), TimedOut (a host does not boot).
    """
    lab_name(name)
    hosts = hosts or hosts_of_this_lab()
    machine.ensure_ssh(say)
    engine = machine.ensure_engine(say)
    with state.making_or_removing(say):
        tag = image.ensure_image(engine, say)
        say(f"Starting {len(hosts)} hosts of lab {name}")
        spec = LabSpec(name, network.ensure_network(engine, name), hosts)
        _start_hosts(engine, spec, tag, say)
        network.pin_gateway(engine, name, spec.gateway_mac)
        public_key = state.ensure_key(name)
        state.ensure_secrets(name)
        lab = _record(engine, spec, tag)
    say(f"Waiting for {', '.join(host.name for host in hosts)} to answer")
    _let_in(engine, lab, [host.name for host in hosts], public_key)
    return lab


def _start_hosts(engine: Engine, spec: LabSpec, tag: str, say: Say) -> None:
    there = _without_lost(engine, spec.name, say)
    # Names that a later, larger lab of this name brings are known from the start: a container that is started again
    # has the /etc/hosts that it was created with.
    everyone = LabSpec(spec.name, spec.subnet, EVERY_HOST)
    for host in spec.hosts:
        box = there.get(container_name(spec.name, host.name))
        if box is not None:
            containers.refuse_foreign(spec.name, host.name, box)

    def start(host: HostSpec) -> None:
        box = there.get(container_name(spec.name, host.name))
        if box is None or box.state is not ContainerState.RUNNING:
            ssh.hang_up(spec.name, host.name)  # a connection to what was there before would only hang
        if box is not None and box.state is ContainerState.NEVER_RAN:
            containers.remove(engine, box.name)
        if box is None or box.state is ContainerState.NEVER_RAN:
            containers.create(engine, everyone, host, tag)
        elif box.state is ContainerState.PAUSED:
            engine.run("unpause", box.name)
        elif box.state is ContainerState.OFF:
            engine.run("start", box.name)

    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(start, spec.hosts))


def _without_lost(engine: Engine, lab: str, say: Say) -> dict[str, containers.Container]:
    """Every container that is there, once those of this lab are removed which no engine can start again."""

    def lost() -> set[str]:
        return {name for name, box in containers.of_lab(engine, lab).items() if box.state is ContainerState.LOST}

    if lost():
        time.sleep(1.0)  # one that ends this moment is lost until its keeper has written that down
        for name in sorted(lost()):
            why = "its processes were ended from outside, and the engine cannot start it again"
            say(f"{name} is made anew, empty: {why}")
            containers.remove(engine, name)
    return containers.list_all(engine)


def _record(engine: Engine, spec: LabSpec, tag: str) -> state.LabState:
    ours = containers.of_lab(engine, spec.name)
    hosts = {
        host.name: state.LabHost(host.name, name, str(spec.address(host)))
        for host in EVERY_HOST
        if (name := container_name(spec.name, host.name)) in ours
    }
    lab = state.LabState(spec.name, network_name(spec.name), str(spec.subnet), str(spec.gateway), tag, hosts)
    state.save(lab)
    ssh.write_config(lab)
    return lab


def _let_in(engine: Engine, lab: state.LabState, hosts: list[str], public_key: str) -> None:
    with ThreadPoolExecutor(max_workers=len(hosts)) as pool:
        keys: Mapping[str, str] = dict(
            zip(
                hosts,
                pool.map(lambda host: _welcome(engine, lab.hosts[host].container, public_key), hosts),
                strict=True,
            )
        )
        ssh.write_known_hosts(lab, keys)
        list(pool.map(lambda host: _wait_for_ssh(lab.name, host), hosts))


def _welcome(engine: Engine, container: str, public_key: str) -> str:
    """Let the key in, wait for systemd and return the host's public key, read past the network."""
    seen: list[str] = []

    def booted() -> bool:
        try:
            seen.append(
                engine.execute(container, "sh", "-c", _WELCOME, stdin=public_key, timeout=_BOOT_BUDGET_S)
            )
        except EngineFailed:
            return False  # systemd's bus is not there in the first tenths of a second
        return True

    wait_until(
        f"The boot of {container}", booted, _BOOT_BUDGET_S, hint=f"podman exec {container} systemctl --failed"
    )
    return seen[-1]


def _wait_for_ssh(lab: str, host: str) -> None:
    wait_until(f"An SSH answer of {host}", lambda: ssh.answers(lab, host), _BOOT_BUDGET_S)
