"""Which store a configuration is for: how to reach it, and what writes to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from agents.base.config import Config, Table
from agents.postgresql.primary import find_primary
from agents.postgresql.store import Store, StoreFailure, is_data_error
from agents.tdengine.session import TdengineError
from agents.tdengine.store import TdStore, connector, is_data_code
from agents.writing.batch import Part

Failure = (*StoreFailure, TdengineError)


class Place(Protocol):
    """Where a session is: its server's name and address, and its timeline."""

    name: str
    host: str
    timeline: int


class AnyStore(Protocol):
    """One session. After any exception but a data error it is of no further use: close it."""

    primary: Any

    def write(self, parts: Iterable[Part], deadline_s: float) -> None: ...
    def write_sound_rows(
        self, parts: Iterable[Part], deadline_s: float
    ) -> tuple[list[Part], list[tuple[Part, str]]]: ...
    def ping(self, deadline_s: float) -> None: ...
    def abandon(self) -> None: ...
    def close(self) -> None: ...
    @property
    def closed(self) -> bool: ...


@dataclass(frozen=True)
class Backend:
    """`connect` raises NoPrimary; `open` takes what it returned."""

    connect: Callable[[float, threading.Event | None], Any]
    open: Callable[[Any, Mapping[str, Table]], AnyStore]
    has_rivals: bool  # another server may become the primary while a call hangs


def backend(config: Config, application: str) -> Backend:
    """The backend of this configuration, for one thread."""
    if config.tdengine is None:
        return Backend(lambda timeout_s, stop: find_primary(config, timeout_s, application, stop), Store, True)
    return Backend(connector(config).connect, TdStore, False)


def is_at_fault(error: BaseException) -> bool:
    """The rows themselves are, so that trying again changes nothing."""
    return is_data_code(error.code) if isinstance(error, TdengineError) else is_data_error(error)
