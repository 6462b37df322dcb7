"""Event ids: a hybrid logical clock that all processes of a host share, and that never goes back.

An id holds 31 bits of unix seconds, 20 bits of the second's fraction (a tick is about a microsecond), 12 bits that
name the host. So `id >> 32` is the second in which the row was saved, ids of two hosts are never the same, and of two
saves on one host the later has the greater ids whichever process made them.

What was given last stands in one small file under a lock of the kernel. The disk is asked to hold a ceiling a few
seconds ahead of it; after a power cut ids go on behind the ceiling, since what the file said beyond it may be gone.
Time is the host's own until a store has told its time in this boot, and from then on that one, counted by a clock that
nobody can set: a step of the host's clock changes nothing, and hosts of one estate agree.
"""

from __future__ import annotations

import os
import struct
import threading
import time
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

from agents.base.errors import AgentError, BadConfig
from agents.base.files import sync_folder
from agents.base.locks import FileLock

NODE_BITS = 12
NODES = 1 << NODE_BITS
FRACTION_BITS = 20
STEP = NODES  # between an id and the next one of the same host
AHEAD = 10 << FRACTION_BITS  # ticks between the ceiling on the disk and what was given
LEAP_NS = 86_400 * 10**9
LOCK_S, LOOK_EVERY_S = 5.0, 0.0002
LAST_TICK = (1 << (63 - NODE_BITS)) - 1
_STATE = struct.Struct(">4sqq16sq")
_CRC = struct.Struct(">I")
_MAGIC = b"DRC1"
CLOCK = "clock"  # the file's name, beside the outbox
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class ClockUnusable(AgentError):  # noqa: N818 - named after what is wrong
    """No event id can be given: nothing was acknowledged."""


@dataclass(frozen=True)
class _State:
    last: int = 0
    ceiling: int = 0
    boot: bytes = bytes(16)
    anchor_ns: int = 0  # a store's time less the time since this boot; 0: no store has told its time


class Clock:
    """For all threads of a process and all processes of a host that name the same file. `node` names the host."""

    def __init__(self, path: Path, node: int) -> None:
        if not 0 <= node < NODES:
            raise BadConfig(f"The node {node} is none of 0 to {NODES - 1}.", "Deploy the application host again.")
        self.path = path
        self._node = node
        self._lock = threading.Lock()

    def reserve(self, n: int) -> range:
        """The next `n` ids. Raises ClockUnusable."""
        with self._lock, _Locked(self.path) as held:
            state = held.state
            first = max(state.last + 1, _ticks(_physical_ns(state)))
            last = first + n - 1
            if last > LAST_TICK:
                raise ClockUnusable(
                    "This host's clock stands behind the year 2037, which no event id can express.",
                    f"Set it right, then remove {self.path} if it was wrong when rows were saved.",
                )
            raised = last > state.ceiling
            held.put(replace(state, last=last, ceiling=last + AHEAD if raised else state.ceiling), sync=raised)
        begin = first << NODE_BITS | self._node
        return range(begin, begin + n * STEP, STEP)

    def calibrate(self, store_ns: int, since_boot_ns: int) -> None:
        """A store's clock said `store_ns` (unix) when this host had been up for `since_boot_ns`.

        What is far ahead of all that is known here is not believed: ids never come back from there.
        """
        with self._lock, _Locked(self.path) as held:
            known_ns = max(time.time_ns(), held.state.last * 1_000_000_000 >> FRACTION_BITS)
            if store_ns - known_ns < LEAP_NS:
                held.put(replace(held.state, anchor_ns=store_ns - since_boot_ns), sync=False)

    def ahead_s(self) -> float:
        """How far the ids are ahead of the time, in seconds; a second after a clock that had been wrong it shows."""
        with self._lock, _Locked(self.path) as held:
            return max(0.0, (held.state.last - _ticks(_physical_ns(held.state))) / (1 << FRACTION_BITS))

    def before_fork(self) -> None:
        """A child must not share the open file: the kernel's lock belongs to it, and would shut out neither."""
        self._lock.acquire()

    def after_fork(self, in_child: bool) -> None:
        if in_child:
            self._lock = threading.Lock()
        else:
            self._lock.release()


class _Locked:
    """The file, held alone, and what it says."""

    def __init__(self, path: Path) -> None:
        self._file = FileLock(path, 0o660, LOOK_EVERY_S)
        self._is_new = False
        self.state = _State()

    def __enter__(self) -> _Locked:
        """It is held for microseconds, unless its holder was stopped in the middle: then nobody saves for a moment."""
        try:
            taken = self._file.take(LOCK_S)
        except AgentError as error:
            raise ClockUnusable(
                f"The clock cannot be used: {error}",
                "Programs that save rows run as the outbox's user, on a host that was deployed.",
            ) from error
        if not taken:
            sentence = f"Another process has held the clock for {LOCK_S:g} s."
            raise ClockUnusable(sentence, "One that saves rows was stopped (SIGSTOP, a debugger).")
        try:
            found = _read(self._file.handle)
            self._is_new = found is None
            self.state = _current(found or _State())
        except BaseException:
            self._file.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._file.release()

    def put(self, state: _State, sync: bool) -> None:
        data = _STATE.pack(_MAGIC, state.last, state.ceiling, state.boot, state.anchor_ns)
        try:
            os.pwrite(self._file.handle, data + _CRC.pack(zlib.crc32(data)), 0)
            if sync:
                os.fdatasync(self._file.handle)
                if self._is_new:
                    sync_folder(self._file.path.parent)
        except OSError as error:
            raise ClockUnusable(f"The clock takes no more: {error.strerror}.", "Look at the disk: df -h.") from error


def _read(handle: int) -> _State | None:
    """None when nothing was ever written."""
    data = os.pread(handle, _STATE.size + _CRC.size, 0)
    if not data:
        return None
    body = data[: _STATE.size]
    if len(data) < _STATE.size + _CRC.size or _CRC.unpack(data[_STATE.size :])[0] != zlib.crc32(body):
        raise ClockUnusable(
            "The clock's file is damaged, so nobody knows which event ids were given.",
            "See that this host's clock is right, then move the file away; ids go on from the time.",
        )
    magic, last, ceiling, boot, anchor = _STATE.unpack(body)
    if magic != _MAGIC:
        raise ClockUnusable("The clock's file is of another program or a newer one.", "Deploy this host again.")
    return _State(last, ceiling, boot, anchor)


def _current(state: _State) -> _State:
    """Of an earlier boot only the ceiling is certain, and the time that a store told is no longer known."""
    boot = bytes.fromhex(_BOOT.read_text().strip().replace("-", ""))
    if boot == state.boot:
        return state
    return _State(max(state.last, state.ceiling), max(state.last, state.ceiling), boot)


def since_boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _physical_ns(state: _State) -> int:
    return since_boot_ns() + state.anchor_ns if state.anchor_ns else time.time_ns()


def _ticks(ns: int) -> int:
    return (max(ns, 0) << FRACTION_BITS) // 1_000_000_000
