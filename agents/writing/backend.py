"""Which store a configuration is for: how to reach it, and what writes to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from agents.base.config import Config, Table
from agents.base.failures import Kind, Refusal
from agents.postgresql import store as postgresql
from agents.postgresql.primary import find_primary
from agents.postgresql.store import Store, StoreFailure
from agents.tdengine import store as tdengine
from agents.tdengine.newest import subtables
from agents.tdengine.session import TdengineError
from agents.tdengine.store import TdStore, connector
from agents.writing.batch import Part

Failure = (*StoreFailure, TdengineError)
SENT = ".sent"  # beside the outbox


class Place(Protocol):
    """Where a session is: its server's name and address, and its timeline."""

    name: str
    host: str
    timeline: int


class AnyStore(Protocol):
    """One session. After an error that is no refusal it is of no further use: close it."""

    primary: Any

    def write(self, parts: Iterable[Part], deadline_s: float) -> None: ...
    def write_sound_rows(
        self, parts: Iterable[Part], deadline_s: float
    ) -> tuple[list[Part], list[tuple[Part, Refusal]]]: ...
    def absent(self, part: Part, deadline_s: float) -> list[int]: ...
    def ping(self, deadline_s: float) -> None: ...
    def abandon(self) -> None: ...
    def close(self) -> None: ...
    @property
    def closed(self) -> bool: ...


@dataclass(frozen=True)
class Backend:
    """`connect` raises NoPrimary; `open` takes what it returned, and so does `open_late`, whose rows may be older than
    what the store holds by now and then change nothing.

    `compares`: the store itself compares event ids in the same statement that writes, so that a row may go past others
    of its key. `place`: where a part of one row goes; other rows of its table may go to a part of the store that is
    there while this one's is away.
    """

    connect: Callable[[float, threading.Event | None], Any]
    open: Callable[[Any, Mapping[str, Table]], AnyStore]
    open_late: Callable[[Any, Mapping[str, Table]], AnyStore]
    has_rivals: bool  # another server may become the primary while a call hangs
    compares: bool
    place: Callable[[Part, Table], str] = lambda part, table: table.name


def backend(config: Config, application: str) -> Backend:
    """The backend of this configuration, for one thread."""
    if config.tdengine is None:
        return Backend(
            lambda timeout_s, stop: find_primary(config, timeout_s, application, stop), Store, Store,
            has_rivals=True, compares=True,
        )  # fmt: skip
    sent = config.outbox.path.with_suffix(SENT)
    return Backend(
        connector(config).connect, lambda node, tables: TdStore(node, tables, sent=sent),
        lambda node, tables: TdStore(node, tables, late=True, sent=sent), has_rivals=False, compares=False,
        place=lambda part, table: next(iter(subtables([part], {table.name: table}))),
    )  # fmt: skip


def kind_of(error: BaseException) -> Kind:
    """What an error of a store says about what to do next."""
    return tdengine.kind_of(error) if isinstance(error, TdengineError) else postgresql.kind_of(error)


def refusal(error: Any) -> Refusal:
    """Of an error whose kind is REFUSED."""
    return tdengine.refusal(error) if isinstance(error, TdengineError) else postgresql.refusal(error)
