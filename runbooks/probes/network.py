"""What one host of the estate can reach of another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from inventories.errors import DrError
from runbooks.hosts import Host
from runbooks.knock import Door

# A second knock where the first met silence: a SYN that got lost is sent again after a second only. Nothing is sent
# before the word has come. A viewer that was too busy to begin in time has met with nothing, not with silence.
_KNOCK = """
export LC_ALL=C
read -r word && test "$word" = go || exit 0
once() { timeout "$1" bash -c 'echo knocks; exec 3<>"/dev/tcp/$0/$1"' "$2" "$3" 2>&1; echo "ended=$?"; }
first=$(once %s %s %s)
case $first in *ended=124*) once %s %s %s ;; *) printf '%%s\\n' "$first" ;; esac
"""


def look(viewer: Host, target: Host, port: int, seconds: float) -> Door:
    """What `viewer` finds of a port of `target`; UNKNOWN from a viewer that could not be asked, which saw nothing."""
    if not viewer.reachable():
        return Door.UNKNOWN
    try:
        said = viewer.run(_KNOCK, *_words(target, port, seconds), stdin="go\n", timeout=seconds + 3).stdout
    except DrError:
        return Door.UNKNOWN
    return parse(said)


def begin(viewer: Host, target: Host, port: int, seconds: float) -> None:
    """Have `viewer` ready for the `look` of these very words."""
    if viewer.reachable():
        viewer.begin(_KNOCK, *_words(target, port, seconds))


def _words(target: Host, port: int, seconds: float) -> tuple[object, ...]:
    where = (target.address, port)
    return (f"{seconds / 3:.3f}", *where, f"{seconds * 2 / 3:.3f}", *where)


def look_from(viewers: tuple[Host, ...], target: Host, port: int, seconds: float) -> dict[str, Door]:
    """The same for several at once, by the viewer's name."""
    with ThreadPoolExecutor(max(1, len(viewers))) as pool:
        doors = pool.map(lambda viewer: look(viewer, target, port, seconds), viewers)
        return dict(zip((viewer.name for viewer in viewers), doors, strict=True))


def look_at(viewer: Host, targets: tuple[Host, ...], port: int, seconds: float) -> dict[str, Door]:
    """What one viewer finds of several at once, by the target's name."""
    with ThreadPoolExecutor(max(1, len(targets))) as pool:
        doors = pool.map(lambda target: look(viewer, target, port, seconds), targets)
        return dict(zip((target.name for target in targets), doors, strict=True))


def parse(said: str) -> Door:
    """What `_KNOCK` printed. No route and no neighbour are silence: nothing came back from the host itself."""
    ended = said.rpartition("ended=")[2].strip()
    if ended == "0":
        return Door.OPEN
    if "Connection refused" in said:
        return Door.REFUSED
    told = any(word in said for word in ("No route to host", "unreachable", "timed out"))
    return Door.SILENT if told or (ended == "124" and "knocks" in said) else Door.UNKNOWN


__all__ = ["begin", "look", "look_at", "look_from", "parse"]
