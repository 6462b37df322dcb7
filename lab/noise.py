"""Trouble that passes by itself while the primary goes on serving: what a watch must not act on.

Each kind asks the kernel of the host, while it lasts, whether it is in force, at its beginning and at its end: trouble
that was never made would be survived by anybody. It says from when to when that was.
"""

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from inventories.errors import TargetFailed
from lab.power import find

# The clock of `_moments`. A host of a lab shares this machine's kernel.
_SAYS = """
says() { read -r up _ </proc/uptime && echo "$1 $up"; }
fails() { echo "$*" >&2; exit 1; }
"""
_FREEZE = """
main=$(systemctl show --property MainPID --value "$1")
[ "${main:-0}" -gt 1 ] || fails "$1 has no process to stop"
still() { ps -o stat= -p "$main" | grep -q '^T' && ! ps -o stat= -p "$main" --ppid "$main" | grep -qv '^[TZ]'; }
trap 'systemctl kill --signal=CONT "$1"' EXIT
systemctl kill --signal=STOP "$1" || fails "$1 cannot be stopped"
tries=50
until still; do
  tries=$((tries - 1)); [ $tries -gt 0 ] || fails "not every process of $1 stands still"
  sleep 0.02
done
says since
sleep "$2"
still || fails "$1 did not stand still to the end"
says until
"""
# Both ways, as in lab.faults.isolate, and undone by the host itself: nobody is late.
_BLINK = """
seconds=$1; shift
[ $# -gt 0 ] || fails "nobody was named to be cut off from"
away() { for one; do ip route get "$one" | grep -q ' dev lo ' || fails "$one can be reached"; done; }
trap 'ip route flush dev lo' EXIT
for one; do ip route replace "$one/32" dev lo || fails "$one cannot be cut off"; done
away "$@"
says since
sleep "$seconds"
away "$@"
says until
"""
# In the host's own network, from outside: its image has no such program, and the machine of a lab has.
_LOSE = """
rule="-m statistic --mode random --probability $1 -j DROP"
lost() {
  iptables -w 2 -nvxL "$1" | awk '/statistic mode random/ {n++; s += $1} END {if (!n) exit 1; print s + 0}'
}
trap 'iptables -w 2 -D INPUT $rule; iptables -w 2 -D OUTPUT $rule' EXIT
iptables -w 2 -I INPUT $rule && iptables -w 2 -I OUTPUT $rule || exit 1
lost INPUT >/dev/null && lost OUTPUT >/dev/null || fails "no rule loses packets"
says since
sleep "$2"
in=$(lost INPUT) && out=$(lost OUTPUT) || fails "the rules that lose packets are gone"
[ "$2" = 0 ] || [ $((in + out)) -gt 0 ] || fails "not one packet was lost"
says until
"""
_HOG = """
full() { [ -n "$(find "$1" -maxdepth 1 -name '.hog.*' -size +0)" ]; }
trap 'wait; rm -f "$1"/.hog.*' EXIT
for nr in 1 2 3 4; do
  timeout "$2" sh -c 'while :; do dd if=/dev/zero of="$1" bs=1M count=64 conv=fsync 2>/dev/null; done' \\
    sh "$1/.hog.$nr" &
done
tries=50
until full "$1"; do
  tries=$((tries - 1)); [ $tries -gt 0 ] || fails "nothing is written to $1"
  sleep 0.02
done
says since
wait
full "$1" || fails "what was written to $1 is gone"
says until
"""


@dataclass(frozen=True)
class InForce:
    """From when to when trouble was there, by this machine's monotonic clock.

    `watch_still`: the watch itself stood. `closed`: through so many hosts nobody could look meanwhile.
    """

    since: float
    until: float
    watch_still: bool = False
    closed: int = 0


def freeze(lab: str, host: str, unit: str, seconds: float) -> InForce:
    """Every process of a service stands still for so long; its host answers all the while."""
    return _run(lab, host, _FREEZE, unit, f"{seconds:g}")


def blink(lab: str, host: str, from_: Sequence[str], seconds: float) -> InForce:
    """The host is cut off from these addresses for so long, both ways and without a word."""
    return _run(lab, host, _BLINK, f"{seconds:g}", *from_)


def lose(lab: str, host: str, share: float, seconds: float) -> InForce:
    """This share of its packets is lost, each way. Raises TargetFailed where this machine cannot do that."""
    engine, box = find(lab, host)
    pid = engine.run("inspect", "--format", "{{.State.Pid}}", box.container).strip()
    words = ("nsenter", "--target", pid, "--net", "sh", "-c", f"{_SAYS}{_LOSE}", "sh", f"{share:g}", f"{seconds:g}")
    try:
        done = subprocess.run([*engine.elevation, *words], capture_output=True, text=True, check=False)
    except OSError as error:
        raise TargetFailed(f"packets cannot be lost on purpose here: nsenter: {error.strerror}") from error
    if done.returncode:
        raise TargetFailed(f"packets cannot be lost on purpose here: {done.stderr.strip()[-200:]}")
    return moments(done.stdout)


def slow_disk(lab: str, host: str, folder: str, seconds: float) -> InForce:
    """Others write to the disk and sync it as fast as it goes."""
    return _run(lab, host, _HOG, folder, f"{seconds:g}")


def may_lose(lab: str, host: str) -> bool:
    """Whether this machine can lose packets on purpose: it takes iptables and rights of its own over the network."""
    try:
        lose(lab, host, 0.01, 0)
    except TargetFailed:
        return False
    return True


def moments(said: str) -> InForce:
    """What a script above said of its trouble. Raises TargetFailed where it said not both: then it was not in force."""
    told = dict(line.split() for line in said.splitlines() if line.startswith(("since ", "until ")))
    if set(told) != {"since", "until"}:
        raise TargetFailed(f"nothing says that the trouble was in force: {said.strip()[-200:]!r}")
    slept = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()  # a machine that slept counts that in its uptime
    return InForce(float(told["since"]) - slept, float(told["until"]) - slept)


def _run(lab: str, host: str, script: str, *args: str) -> InForce:
    engine, box = find(lab, host)
    return moments(engine.execute(box.container, "sh", "-c", f"{_SAYS}{script}", "sh", *args))
