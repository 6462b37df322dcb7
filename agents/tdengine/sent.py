"""What this host sent last to TDengine's subtables in which the newest of a key wins, and the right to send more.

TDengine keeps what arrives last, and rows of two programs that save at one moment arrive in whatever order. So of those
that write into one subtable one writes at a time, and notes the greatest event id in a file before it does. Who comes
with a smaller one looks at what is there first; nobody else needs to. Subtables share SLOTS places of the file, each
with a lock of its own, so that who fills up years of some symbols holds up nobody who saves others. A place that is
new, says nothing or cannot be had (a full disk) means a look: it never keeps a row from a store that takes it.
"""

from __future__ import annotations

import os
import struct
import sys
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from agents.base.deadline import DeadlineExceeded
from agents.base.errors import AgentError
from agents.base.locks import lock_range, opened, unlock_all

EVERY_S = 0.001
SLOTS = 1024
UNKNOWN = sys.maxsize
_ID = struct.Struct(">q")


@contextmanager
def turn(path: Path, subtables: Iterable[str], last: int, deadline: float) -> Iterator[int]:
    """Send alone what ends with the event `last`; inside, the greatest that was sent into any of these before.

    Raises DeadlineExceeded when others wrote there until `deadline` (monotonic seconds): who has his turn too late
    would leave a statement under way behind him when the next one writes.
    """
    try:
        handle = opened(path, 0o660)
    except AgentError:
        yield UNKNOWN
        return
    slots = sorted({zlib.crc32(name.encode()) % SLOTS for name in subtables})
    try:
        for slot in slots:  # everybody in this order, so that no two wait for one another
            while not lock_range(handle, slot * _ID.size, _ID.size) and time.monotonic() < deadline:
                time.sleep(EVERY_S)
        if time.monotonic() >= deadline:
            raise DeadlineExceeded("other programs of this host wrote rows into the same subtables all the time")
        yield _noted(handle, slots, last)
    finally:
        unlock_all(handle)
        os.close(handle)


def _noted(handle: int, slots: Sequence[int], last: int) -> int:
    before = 0
    try:
        for slot in slots:
            said = os.pread(handle, _ID.size, slot * _ID.size)
            known = _ID.unpack(said)[0] if len(said) == _ID.size else 0
            before = max(before, known if known > 0 else UNKNOWN)
            if last > known:
                os.pwrite(handle, _ID.pack(last), slot * _ID.size)
    except OSError:
        with suppress(OSError):  # the others must not believe what stood there before
            os.ftruncate(handle, 0)
        return UNKNOWN
    return before
