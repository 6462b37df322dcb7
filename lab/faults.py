"""The levers a drill pulls. Each can be undone, and none of them asks the host to cooperate.

What a container cannot show: killing it loses no page cache of the machine, so ``power_off`` is a power cut
for clients, replication and processes, and no test of fsync.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from inventories.errors import BadInput
from lab import containers, network, ssh
from lab.engine import EngineFailed, find_engine
from lab.power import find, kill
from lab.wait import wait_until

_ON_BUDGET_S = 60.0


def power_off(lab: str, host: str) -> None:
    """Cut the power: the host falls silent at once, then its processes are killed; its disk is kept.

    The network goes first, so that no peer is told by a FIN or RST what a real power cut would not tell it.
    A host that is off already stays off. TimedOut when the engine still calls it running after 10 s.
    """
    engine, box = find(lab, host)
    if engine.is_running(box.container):
        try:
            engine.execute(box.container, "ip", "link", "set", "eth0", "down")
        finally:
            kill(engine, box.container)


def site_off(lab: str, hosts: Sequence[str]) -> None:
    """Cut the power of all these hosts at one moment: first every link, then every process; the disks are kept."""
    found = [find(lab, host) for host in hosts]
    on = [(engine, box.container) for engine, box in found if engine.is_running(box.container)]
    if not on:
        return
    network.hold_bridge(on[0][0], lab)
    with ThreadPoolExecutor(len(on)) as pool:
        try:
            list(pool.map(lambda one: one[0].execute(one[1], "ip", "link", "set", "eth0", "down"), on))
        finally:
            list(pool.map(lambda one: kill(*one), on))


def site_on(lab: str, hosts: Sequence[str]) -> None:
    """Turn all these hosts on again at their old addresses, at the same time, and wait until SSH answers."""
    with ThreadPoolExecutor(len(hosts)) as pool:
        list(pool.map(lambda host: power_on(lab, host), hosts))
    network.let_bridge_go(find_engine(), lab)


def power_on(lab: str, host: str) -> None:
    """Turn the host on again at its old address and wait until SSH answers.

    What was cut off is connected again.
    """
    engine, box = find(lab, host)
    ssh.hang_up(lab, host)
    if not engine.is_running(box.container):
        engine.run("start", box.container)
    wait_until(f"An SSH answer of {host}", lambda: ssh.answers(lab, host), _ON_BUDGET_S)


def is_running(lab: str, host: str) -> bool:
    """Whether the host has power, as the engine sees it."""
    engine, box = find(lab, host)
    return engine.is_running(box.container)


def kill_process(lab: str, host: str, pid_file: str) -> int:
    """SIGKILL the process whose id is the first line of that file (PostgreSQL's postmaster.pid).

    Return the id.
    """
    engine, box = find(lab, host)
    script = 'read -r pid <"$1" && kill -KILL "$pid" && echo "$pid"'
    return int(engine.execute(box.container, "sh", "-c", script, "sh", pid_file))


def kill_service(lab: str, host: str, unit: str) -> None:
    """SIGKILL every process of a service at once. Whatever restarts it on that host may do so."""
    engine, box = find(lab, host)
    engine.execute(box.container, "systemctl", "kill", "--signal=KILL", unit)


def isolate(lab: str, host: str, from_: Sequence[str]) -> None:
    """Cut the host off from these addresses, both ways; everybody else still reaches it.

    Routes into the loopback device swallow what the host sends there, without a word, as a cut cable would (a
    blackhole route instead fails connect() at once). What comes from there is dropped as well, because lab
    hosts run with a strict reverse path filter: a sender who would not be answered over the same device is
    not listened to, not even on a connection that was open before.
    """
    engine, box = find(lab, host)
    if not from_:
        raise BadInput(f"{host} is to be isolated from nobody.", "Name at least one address.")
    script = 'for address; do ip route replace "$address/32" dev lo || exit 1; done'
    engine.execute(box.container, "sh", "-c", script, "sh", *from_)


def heal(lab: str, host: str) -> None:
    """Undo every ``isolate`` of the host; one that is off has forgotten it already."""
    engine, box = find(lab, host)
    if not engine.is_running(box.container):
        return
    engine.execute(box.container, "ip", "route", "flush", "dev", "lo")


def remove(lab: str, host: str) -> None:
    """The host is gone for good, and its disk with it; ``up`` puts a blank one in its place.

    The network goes first, as with ``power_off``. A host that is gone already stays gone.
    """
    engine, box = find(lab, host)
    ssh.hang_up(lab, host)
    try:
        power_off(lab, host)
    except EngineFailed:
        if box.container in containers.of_lab(engine, lab):
            raise
        return
    containers.remove(engine, box.container)
