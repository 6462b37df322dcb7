"""What a fork must not copy: locks of the kernel, connections of SQLite and of the store, threads that hold a lock.

Whoever registers here is told before a fork, and afterwards on both sides.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class Forks(Protocol):
    def before_fork(self) -> None: ...
    def after_fork(self, in_child: bool) -> None: ...


_watched: weakref.WeakSet[Forks] = weakref.WeakSet()
_told: list[Forks] = []  # from before a fork until after it
_one_at_a_time = threading.Lock()


def watch(one: Forks) -> None:
    with _one_at_a_time:
        _watched.add(one)


def _before() -> None:
    _one_at_a_time.acquire()
    _told[:] = list(_watched)
    for one in _told:
        one.before_fork()


def _after(in_child: bool) -> None:
    global _one_at_a_time
    for one in reversed(_told):
        one.after_fork(in_child)
    _told.clear()
    if in_child:
        _one_at_a_time = threading.Lock()
    else:
        _one_at_a_time.release()


os.register_at_fork(
    before=_before, after_in_parent=lambda: _after(in_child=False), after_in_child=lambda: _after(in_child=True)
)
