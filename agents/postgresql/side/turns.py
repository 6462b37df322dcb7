"""How a program that writes much gives way to a server on the same disk and cores: it works in short turns.

What waits in the page cache is what the next commit's fdatasync waits for. So what was written in a turn is flushed
at once, a few hundred KiB at a time, and the program rests as long as it worked: a commit meets little of it, and most
meet nothing. Shares of processor and disk alone do not do it: the disk writes back on nobody's behalf. Measured on
two cores, 99th of a hundred commits, 3.8 ms without: two processes at full speed 82, one 31, one in turns 4.4.

pgBackRest takes a write into a pipe for whole (2.55 to 2.60, src/common/io/fdWrite.c), and a signal that stops a
process which waits in one cuts it short: both sides then wait for ever. So only its workers rest, who write nothing but
answers, and into pipes that hold its largest write.

Whoever takes the turns may be killed while they rest. So the program and its workers are a group of processes in our
own session: when we are gone the kernel ends a group of ours that has somebody stopped (SIGHUP, then SIGCONT).
"""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

_TURN_S = 0.002
_LONGEST_REST_S = 2.0  # a disk that hangs says nothing of the next turn
_ENDS_WITHIN_S = 10.0
# For processes that were begun meanwhile: until it is found one works at full speed, and all that has to be flushed.
# Half a second of that held up commits for two (96 ms); workers begin together, and a look costs a millisecond.
_LOOKS_EVERY_S, _LOOKS_OFTEN_S, _BEGINNING_S = 0.5, 0.01, 3.0
_PIPE_BYTES = 1 << 20  # pgBackRest's buffer, and what the kernel allows everybody
MANNERS = ("chrt", "--idle", "0")  # before the command: whoever else wants a core has it at once


def lead() -> None:
    """What the child does before it runs the program: its group, which has its number, holds what it starts."""
    os.setpgrp()  # by the child itself, as Python 3.10 has no word for it


def take(child: subprocess.Popen[bytes]) -> int:
    """Let the workers of a program that leads a group of processes (`lead`) work in turns until it ends; its exit code.

    Its workers are the group's other processes; a program without them just gets its files flushed. A file that is
    opened and closed within a turn is flushed by whoever closes it.
    """
    workers: dict[str, int] = {}  # folder in /proc, and a handle that no later process of that number answers to
    looked, newest = 0.0, time.monotonic()  # the last look, and when somebody was last found
    with ExitStack() as opened:
        try:
            while child.poll() is None:
                began = time.monotonic()
                if began - looked >= (_LOOKS_OFTEN_S if began - newest < _BEGINNING_S else _LOOKS_EVERY_S):
                    looked = began
                    for path in {path for path in _group_of(child.pid) if path not in workers}:
                        handle = _worker(path, child.pid)
                        if handle is not None:
                            workers[path], newest = handle, began
                            opened.callback(os.close, handle)
                time.sleep(_TURN_S)
                _tell(workers, signal.SIGSTOP)
                _flush((f"/proc/{child.pid}", *workers))
                time.sleep(min(_LONGEST_REST_S, time.monotonic() - began))
                _tell(workers, signal.SIGCONT)
        finally:
            _tell(workers, signal.SIGCONT)  # whenever a signal interrupts us, half way through the line above too
    return child.wait()


def end(child: subprocess.Popen[bytes]) -> None:
    """End a program that leads a group, and the group with it: whoever removes its files is refused by a worker of it
    that is still ending, and where others want the cores that takes a while.
    """
    for what in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, what)
        deadline = time.monotonic() + _ENDS_WITHIN_S
        while time.monotonic() < deadline:
            if child.poll() is not None and not any(_group_of(child.pid)):
                return
            time.sleep(0.02)


def _tell(workers: dict[str, int], what: signal.Signals) -> None:
    for handle in workers.values():
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, what)


def _group_of(leader: int) -> Iterator[str]:
    """The folders in /proc of its other processes."""
    for one in os.scandir("/proc"):
        if one.name.isdigit() and int(one.name) != leader and _group(one.path) == leader:
            yield one.path


def _worker(path: str, leader: int) -> int | None:
    """A handle of a process of the group; None when it has ended, its pipe does not hold a whole write, or it runs no
    program of its own yet: on a busy host it may be long before a fork has the pipe that it is meant for.
    """
    try:
        handle = os.pidfd_open(int(Path(path).name))
    except OSError:
        return None
    # Asked again: between the look and the handle the number may have become somebody else's.
    if _group(path) == leader and _words(path) != _words(f"/proc/{leader}") and _widened(path):
        return handle
    os.close(handle)
    return None


def _group(path: str) -> int:
    """The leader of a process' group, 0 for one that has ended."""
    with suppress(OSError, ValueError, IndexError):
        # After the name, which may have spaces and parentheses: state, parent, group.
        state, _, group = Path(path, "stat").read_text().rpartition(")")[2].split()[:3]
        return 0 if state in "ZX" else int(group)
    return 0


def _words(path: str) -> bytes:
    """The command line of a process, empty for one that has ended."""
    with suppress(OSError):
        return Path(path, "cmdline").read_bytes()
    return b""


def _widened(path: str) -> bool:
    """Whether its standard output is a pipe that takes a whole write of pgBackRest's, or no pipe."""
    output = Path(path, "fd/1")
    try:
        if not stat.S_ISFIFO(output.stat().st_mode):  # raises for one that has ended, which `is_fifo` calls none
            return True
        handle = os.open(output, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return fcntl.fcntl(handle, fcntl.F_SETPIPE_SZ, _PIPE_BYTES) >= _PIPE_BYTES
        finally:
            os.close(handle)
    except OSError:
        return False


def _flush(members: tuple[str, ...]) -> None:
    """The files that these processes have open; what cannot be had is flushed by whoever closes it."""
    for path in {path for member in members for path in _files(member)}:
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                os.fdatasync(handle)
            finally:
                os.close(handle)


def _files(member: str) -> Iterator[str]:
    with suppress(OSError):
        for one in os.scandir(f"{member}/fd"):
            with suppress(OSError):
                if Path(one.path).is_file():
                    yield str(Path(one.path).readlink())
