"""Trouble that passes by itself while the primary goes on serving: what a watch must not act on."""

import subprocess
from collections.abc import Sequence

from inventories.errors import TargetFailed
from lab.power import find

_FREEZE = """
trap 'systemctl kill --signal=CONT "$1"' EXIT
systemctl kill --signal=STOP "$1"
sleep "$2"
"""
# Both ways, as in lab.faults.isolate, and undone by the host itself: nobody is late.
_BLINK = """
trap 'ip route flush dev lo' EXIT
seconds=$1; shift
for address; do ip route replace "$address/32" dev lo || exit 1; done
sleep "$seconds"
"""
# In the host's own network, from outside: its image has no such program, and the machine of a lab has.
_LOSE = """
trap 'iptables -D INPUT $rule; iptables -D OUTPUT $rule' EXIT
rule="-m statistic --mode random --probability $1 -j DROP"
iptables -I INPUT $rule && iptables -I OUTPUT $rule || exit 1
sleep "$2"
"""
_HOG = """
trap 'rm -f "$1"/.hog.*' EXIT
for nr in 1 2 3 4; do
  timeout "$2" sh -c 'while :; do dd if=/dev/zero of="$1" bs=1M count=64 conv=fsync 2>/dev/null; done' \\
    sh "$1/.hog.$nr" &
done
wait
"""


def freeze(lab: str, host: str, unit: str, seconds: float) -> None:
    """Every process of a service stands still for so long; its host answers all the while."""
    _run(lab, host, _FREEZE, unit, f"{seconds:g}")


def blink(lab: str, host: str, from_: Sequence[str], seconds: float) -> None:
    """The host is cut off from these addresses for so long, both ways and without a word."""
    _run(lab, host, _BLINK, f"{seconds:g}", *from_)


def lose(lab: str, host: str, share: float, seconds: float) -> None:
    """This share of its packets is lost, each way. Raises TargetFailed where this machine cannot do that."""
    engine, box = find(lab, host)
    pid = engine.run("inspect", "--format", "{{.State.Pid}}", box.container).strip()
    words = ("nsenter", "--target", pid, "--net", "sh", "-c", _LOSE, "sh", f"{share:g}", f"{seconds:g}")
    try:
        done = subprocess.run([*engine.elevation, *words], capture_output=True, text=True, check=False)
    except OSError as error:
        raise TargetFailed(f"packets cannot be lost on purpose here: nsenter: {error.strerror}") from error
    if done.returncode:
        raise TargetFailed(f"packets cannot be lost on purpose here: {done.stderr.strip()[-200:]}")


def slow_disk(lab: str, host: str, folder: str, seconds: float) -> None:
    """Others write to the disk and sync it as fast as it goes."""
    _run(lab, host, _HOG, folder, f"{seconds:g}")


def may_lose(lab: str, host: str) -> bool:
    """Whether this machine can lose packets on purpose: it takes iptables and rights of its own over the network."""
    try:
        lose(lab, host, 0.01, 0)
    except TargetFailed:
        return False
    return True


def _run(lab: str, host: str, script: str, *args: str) -> None:
    engine, box = find(lab, host)
    engine.execute(box.container, "sh", "-c", script, "sh", *args)
