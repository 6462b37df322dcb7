"""Trouble that passes by itself while the primary goes on serving: what a watch must not act on."""

from collections.abc import Sequence

from lab.engine import EngineFailed
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
_LOSE = """
tc qdisc replace dev eth0 clsact || exit 1
trap 'tc qdisc del dev eth0 clsact' EXIT
for way in ingress egress; do
  tc filter add dev eth0 "$way" matchall action pass random netrand drop "$1" || exit 1
done
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


def lose(lab: str, host: str, one_in: int, seconds: float) -> None:
    """One packet in so many is lost, each way. Raises EngineFailed where the kernel has no such action."""
    _run(lab, host, _LOSE, str(one_in), f"{seconds:g}")


def slow_disk(lab: str, host: str, folder: str, seconds: float) -> None:
    """Others write to the disk and sync it as fast as it goes."""
    _run(lab, host, _HOG, folder, f"{seconds:g}")


def may_lose(lab: str, host: str) -> bool:
    """Whether this machine's kernel can lose packets on purpose."""
    try:
        lose(lab, host, 100, 0)
    except EngineFailed:
        return False
    return True


def _run(lab: str, host: str, script: str, *args: str) -> None:
    engine, box = find(lab, host)
    engine.execute(box.container, "sh", "-c", script, "sh", *args)
