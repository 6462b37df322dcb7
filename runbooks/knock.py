"""Knock at a TCP port: open, refused and silent are three answers, and one lost packet is none of them."""

from __future__ import annotations

import errno
import selectors
import socket
import time
from contextlib import ExitStack
from enum import StrEnum

from inventories.errors import Unreachable


class Door(StrEnum):
    """What knocking came to."""

    OPEN = "open"
    REFUSED = "refused"  # a kernel said that nobody listens: the host, or a firewall in its name, is alive
    SILENT = "silent"  # nothing came back, which tells a host that is off from a slow or cut line no more than it says
    UNKNOWN = "unknown"  # nobody could knock


def knock(name: str, port: int, seconds: float) -> Door:
    """Knock, and again after a third of `seconds`: a SYN that got lost is sent again by the kernel after a second only.

    Raises Unreachable for a name that cannot be resolved here.
    """
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unreachable(f"{name} cannot be resolved on this machine: {error.strerror or error}") from error
    heard: set[Door] = set()
    end = time.monotonic() + seconds
    with ExitStack() as closing, closing.enter_context(selectors.DefaultSelector()) as waiting:
        for until in (end - seconds * 2 / 3, end):
            for family, kind, protocol, _, address in found:
                _begin(closing.enter_context(socket.socket(family, kind, protocol)), address, waiting, heard)
            _listen(waiting, until, heard)
            if heard - {Door.SILENT} or not waiting.get_map():
                break
    return next((door for door in (Door.OPEN, Door.REFUSED) if door in heard), Door.SILENT)


def _listen(waiting: selectors.BaseSelector, until: float, heard: set[Door]) -> None:
    """Until one is open, all have answered, or the time is over; who wakes up late looks once more."""
    while waiting.get_map() and Door.OPEN not in heard:
        left = until - time.monotonic()
        for key, _ in waiting.select(max(left, 0)):
            waiting.unregister(key.fileobj)
            assert isinstance(key.fileobj, socket.socket)
            heard.add(_door(key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)))
        if left <= 0:
            return


def _begin(knocking: socket.socket, address: object, waiting: selectors.BaseSelector, heard: set[Door]) -> None:
    knocking.setblocking(False)
    code = knocking.connect_ex(address)  # type: ignore[arg-type]
    if code == errno.EINPROGRESS:
        waiting.register(knocking, selectors.EVENT_WRITE)
    else:
        heard.add(_door(code))


def _door(code: int) -> Door:
    """No route, no neighbour, or a rule of this machine: nothing came back from the host itself."""
    return {0: Door.OPEN, errno.ECONNREFUSED: Door.REFUSED}.get(code, Door.SILENT)


__all__ = ["Door", "knock"]
