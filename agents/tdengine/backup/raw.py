"""Raw blocks from and to a TDengine server, through the client library below taospy."""

from __future__ import annotations

import ctypes
import queue
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, suppress
from typing import Any

from agents.base.errors import AgentError
from agents.tdengine.backup.block import rows_of
from agents.tdengine.session import Session, Settings, TdengineError


class _Field(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char * 65), ("type", ctypes.c_int8), ("bytes", ctypes.c_int32))


class RawSession(Session):
    """A session that also moves blocks. Not to be shared by threads."""

    def __init__(self, settings: Settings, database: str | None = None, password: str | None = None) -> None:
        if settings.rest:
            raise AgentError(
                "Raw blocks need TDengine's native connection, the settings ask for REST.", "Set rest to false."
            )
        super().__init__(settings, database, password)
        self._c: Any = __import__("taos.cinterface", fromlist=["_libtaos"])._libtaos
        self._c.taos_fetch_raw_block.restype = ctypes.c_int
        self._c.taos_write_raw_block.restype = ctypes.c_int
        self._c.taos_write_raw_block_with_fields.restype = ctypes.c_int
        self._c.taos_errstr.restype = ctypes.c_char_p

    def __enter__(self) -> RawSession:
        return self

    def blocks(self, sql: str) -> Iterator[bytes]:
        """The blocks of a query, one at a time. Raises TdengineError."""
        result = self.query(sql)
        try:
            rows, data = ctypes.c_int(), ctypes.c_void_p()
            while True:
                code = self._c.taos_fetch_raw_block(result._result, ctypes.byref(rows), ctypes.byref(data))
                if code:
                    raise self._failure(code, sql)
                if not rows.value or not data.value:
                    return
                size = ctypes.c_int32.from_address(data.value + 4).value
                yield ctypes.string_at(data.value, size)
        finally:
            result.close()

    def write(self, table: str, raw: bytes) -> int:
        """Write a block into a table of the session's database; the number of its rows. Raises TdengineError."""
        rows = rows_of(raw)
        code = self._c.taos_write_raw_block(self._connection._conn, rows, raw, table.encode())
        if code:
            raise self._failure(code, f"write {table}")
        return rows

    def write_fields(self, table: str, raw: bytes, names: Sequence[str]) -> int:
        """The same into a table that has these columns, in whatever order and beside others."""
        rows = rows_of(raw)
        # The library finds a column by its name alone; type and width are the block's.
        told = (_Field * len(names))(*(_Field(name.encode(), 0, 0) for name in names))
        code = self._c.taos_write_raw_block_with_fields(
            self._connection._conn, rows, raw, table.encode(), told, len(names)
        )
        if code:
            raise self._failure(code, f"write {table}")
        return rows

    def _failure(self, code: int, what: str) -> TdengineError:
        said = (self._c.taos_errstr(None) or b"").decode(errors="replace").strip()
        number = code & 0xFFFF
        short = " ".join(what.split())[:90]
        return TdengineError(
            f"{said} (0x{number:04x}) at `{short}`", "Look at the server's log in /var/log/taos.", number
        )


def ahead(blocks: Generator[bytes, None, None], depth: int = 4) -> Generator[bytes, None, None]:
    """The same blocks, fetched by a thread while the one before is worked on. Whoever stops early waits for it."""
    ready: queue.Queue[bytes | BaseException | None] = queue.Queue(depth)
    stop = threading.Event()

    def fetch() -> None:
        try:
            with closing(blocks):
                for block in blocks:
                    if stop.is_set():
                        return
                    ready.put(block)
            ready.put(None)
        except BaseException as error:
            ready.put(error)

    thread = threading.Thread(target=fetch, daemon=True)
    thread.start()
    try:
        while (found := ready.get()) is not None:
            if isinstance(found, BaseException):
                raise found
            yield found
    finally:
        stop.set()
        while thread.is_alive():
            with suppress(queue.Empty):
                ready.get_nowait()
            thread.join(0.01)
