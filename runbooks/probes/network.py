"""What one host of the estate can reach of another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from inventories.errors import DrError
from runbooks.hosts import Host
from runbooks.knock import Door

# A second knock where the first met silence: a SYN that got lost is sent again after a second only.
_KNOCK = """
export LC_ALL=C
once() { timeout "$1" bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$2" "$3" 2>&1; echo "ended=$?"; }
first=$(once %s %s %s)
case $first in *ended=124*) once %s %s %s ;; *) printf '%%s\\n' "$first" ;; esac
"""


def look(viewer: Host, target: Host, port: int, seconds: float) -> Door:
    """What `viewer` finds of a port of `target`; UNKNOWN from a viewer that could not be asked, which saw nothing."""
    if not viewer.reachable():
        return Door.UNKNOWN
    first, second, words = f"{seconds / 3:.3f}", f"{seconds * 2 / 3:.3f}", (target.address, port)
    try:
        said = viewer.run(_KNOCK, first, *words, second, *words, timeout=seconds + 3).stdout
    except DrError:
        return Door.UNKNOWN
    return parse(said)


def look_from(viewers: tuple[Host, ...], target: Host, port: int, seconds: float) -> dict[str, Door]:
    """The same for several at once, by the viewer's name."""
    with ThreadPoolExecutor(max(1, len(viewers))) as pool:
        doors = pool.map(lambda viewer: look(viewer, target, port, seconds), viewers)
        return dict(zip((viewer.name for viewer in viewers), doors, strict=True))


def parse(said: str) -> Door:
    """What `_KNOCK` printed. No route and no neighbour are silence: nothing came back from the host itself."""
    ended = said.rpartition("ended=")[2].strip()
    if ended == "0":
        return Door.OPEN
    if "Connection refused" in said:
        return Door.REFUSED
    silent = ended == "124" or any(word in said for word in ("No route to host", "unreachable", "timed out"))
    return Door.SILENT if silent else Door.UNKNOWN


__all__ = ["look", "look_from", "parse"]
