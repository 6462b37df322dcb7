"""Messages between an application host and the receiver: JSON and bytes, each behind its length, over TLS."""

from __future__ import annotations

import json
import socket
import ssl
import struct
from collections.abc import Mapping
from typing import Any

from agents.base.errors import AgentError
from agents.sqlite.settings import Receiver

_LENGTHS = struct.Struct(">II")
MAX_JSON, MAX_DATA = 4 << 20, 64 << 20
SLOWEST_BYTES_PER_S = 4 << 20


class Away(AgentError):  # noqa: N818 - named after what happened, as in the rest of the repository
    """The receiver did not say that it has it: it counts as not there."""


class Refused(AgentError):  # noqa: N818
    """The receiver said no."""


class Line:
    """One connection to the receiver, for one thread and one database. Any error closes it."""

    def __init__(self, settings: Receiver, database: str) -> None:
        self._settings, self._database = settings, database
        self._socket: ssl.SSLSocket | None = None

    def ask(self, what: str, data: bytes = b"", **said: Any) -> tuple[dict[str, Any], bytes]:
        """Raises Away, Refused."""
        try:
            if self._socket is None:
                self._socket = self._connected()
            self._socket.settimeout(self._settings.deadline_s + len(data) / SLOWEST_BYTES_PER_S)
            send(self._socket, {**said, "do": what, "database": self._database}, data)
            answer = receive(self._socket)
            if answer is None:
                raise OSError("the connection was closed")
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            self.close()
            where = f"{self._settings.host}:{self._settings.port}"
            raise Away(f"{where} does not keep what is written: {error}.", "Does mystocks-sqlite run there?") from error
        if "error" in answer[0]:
            raise Refused(f"{self._settings.host} refused: {answer[0]['error']}.", "Look at its journal.")
        return answer

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> ssl.SSLSocket:
        mine = self._settings
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=mine.ca)
        context.load_cert_chain(mine.certificate, mine.key)
        plain = socket.create_connection((mine.address or mine.host, mine.port), mine.deadline_s)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            return context.wrap_socket(plain, server_hostname=mine.host)
        except BaseException:
            plain.close()
            raise


def send(connection: socket.socket, said: Mapping[str, Any], data: bytes = b"") -> None:
    text = json.dumps(said, separators=(",", ":")).encode()
    connection.sendall(_LENGTHS.pack(len(text), len(data)) + text + data)


def receive(connection: socket.socket) -> tuple[dict[str, Any], bytes] | None:
    """The next message, None at the end of the connection. Raises OSError, ValueError."""
    head = _exactly(connection, _LENGTHS.size, at_start=True)
    if not head:
        return None
    text, data = _LENGTHS.unpack(head)
    if text > MAX_JSON or data > MAX_DATA:
        raise ValueError(f"a message of {text + data} bytes")
    said = json.loads(_exactly(connection, text))
    if not isinstance(said, dict):
        raise ValueError("a message that is no object")
    return said, _exactly(connection, data)


def _exactly(connection: socket.socket, size: int, *, at_start: bool = False) -> bytes:
    blocks = []
    left = size
    while left:
        block = connection.recv(min(left, 1 << 20))
        if not block:
            if at_start and left == size:
                return b""
            raise OSError("the connection was cut off")
        blocks.append(block)
        left -= len(block)
    return b"".join(blocks)
