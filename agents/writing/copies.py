"""A second copy of every outbox record on another host, before it is acknowledged: the file itself may be lost.

The application host's end. One TLS connection, both sides known by certificates of the estate's own CA; messages are
JSON, compressed, behind their length. Copies belong to the outbox file that asked for them, by a mark that a file gets
when it is made: a new file on a new disk can neither forget nor overwrite what the lost one left, only adopt it.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from agents.base.config import CopySettings
from agents.base.errors import BadRow, OutboxFull

LENGTH = struct.Struct(">I")
MAX_BYTES = 256 << 20
PAGE = 20  # copies in one answer
SLOWEST_BYTES_PER_S = 4 << 20  # of text, before it is compressed: sent, read, synced there and told


class NoSecondCopy(OutboxFull):
    """The other host did not say that it has the record: NOT acknowledged, and may be written again."""


@dataclass(frozen=True)
class Copy:
    """One record as it was sent: `body` has what `Outbox.adopt` needs."""

    no: int
    body: Mapping[str, Any]


class Copies:
    """One connection, for one thread. Raises NoSecondCopy for whatever goes wrong on the way, BadRow for too much."""

    def __init__(self, settings: CopySettings, mark: str) -> None:
        self._settings, self._mark = settings, mark
        self._socket: ssl.SSLSocket | None = None

    def keep(self, body: Mapping[str, Any]) -> int:
        """The number of the copy, which is on the other host's disk when this returns."""
        return int(self._ask({"do": "keep", "mark": self._mark, "body": body})["no"])

    def forget(self, below: int) -> int:
        """Copies of this file with a smaller number go, but for the youngest; how many."""
        return int(self._ask({"do": "forget", "mark": self._mark, "below": below})["gone"])

    def orphans(self) -> int:
        """How many copies other files left, whose disks are lost or which somebody removed."""
        return int(self._ask({"do": "count", "mark": self._mark})["others"])

    def left(self) -> Iterator[Copy]:
        """Copies of other files, oldest first."""
        after = 0
        asked = {"do": "left", "mark": self._mark, "most": PAGE}
        while found := self._ask({**asked, "after": after}, answer_bytes=MAX_BYTES)["copies"]:
            for one in found:
                yield Copy(int(one["no"]), one["body"])
            after = int(found[-1]["no"])

    def mine(self, numbers: list[int]) -> None:
        """These copies are this file's from now on: it has the records."""
        self._ask({"do": "mine", "mark": self._mark, "numbers": numbers})

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ask(self, message: Mapping[str, Any], answer_bytes: int = 0) -> dict[str, Any]:
        text = _text({**message, "store": self._settings.store})
        try:
            answer = self._exchanged(text, self._settings.deadline_s + (len(text) + answer_bytes) / SLOWEST_BYTES_PER_S)
        except (OSError, ValueError, zlib.error) as error:  # ssl.SSLError is an OSError
            self.close()
            where = f"{self._settings.host}:{self._settings.port}"
            raise NoSecondCopy(f"No second copy at {where}: {error}.", "Does mystocks-copies run there?") from error
        if "error" in answer:
            raise NoSecondCopy(f"{self._settings.host} keeps no second copy: {answer['error']}.", "Look at it there.")
        return answer

    def _exchanged(self, text: bytes, deadline_s: float) -> dict[str, Any]:
        """A connection that was idle may be gone: once more on a new one, which writes nothing twice that matters."""
        if self._socket is not None:
            try:
                return _exchange(self._socket, text, deadline_s)
            except OSError:
                self.close()
        self._socket = self._connected()
        return _exchange(self._socket, text, deadline_s)

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


class Adopting(Protocol):
    """The outbox that takes over."""

    def adopt(self, no: int, body: Mapping[str, Any]) -> bool: ...


def adopt(outbox: Adopting, copies: Copies) -> int:
    """Put what a lost file left into this one; how many records. May be repeated."""
    done = 0
    for copy in copies.left():
        done += outbox.adopt(copy.no, copy.body)
        copies.mine([copy.no])
    return done


def _exchange(connection: socket.socket, text: bytes, deadline_s: float) -> dict[str, Any]:
    connection.settimeout(deadline_s)
    _send(connection, text)
    answer = receive(connection)
    if answer is None:
        raise OSError("the connection was closed")
    return answer


def send(connection: socket.socket, message: Mapping[str, Any]) -> None:
    """Raises BadRow for what the other end would refuse at every try."""
    _send(connection, _text(message))


def _text(message: Mapping[str, Any]) -> bytes:
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
    if len(text) > MAX_BYTES:
        size, most = len(text) >> 20, MAX_BYTES >> 20
        sentence = f"A batch of {size} MiB is too large for a second copy, {most} MiB are the most."
        raise BadRow(sentence, "Write it in smaller batches.")
    return text


def _send(connection: socket.socket, text: bytes) -> None:
    data = zlib.compress(text, 1)
    connection.sendall(LENGTH.pack(len(data)) + data)


def receive(connection: socket.socket) -> dict[str, Any] | None:
    """The next message, None at the end of the connection. Raises OSError, ValueError, zlib.error."""
    head = _exactly(connection, LENGTH.size)
    if not head:
        return None
    size = LENGTH.unpack(head)[0]
    if size > MAX_BYTES:
        raise ValueError(f"a message of {size} bytes")
    unpacking = zlib.decompressobj()
    data = unpacking.decompress(_exactly(connection, size), MAX_BYTES)
    if not unpacking.eof:
        raise ValueError("a message that is too long, or cut off")
    said = json.loads(data)
    if not isinstance(said, dict):
        raise ValueError("a message that is no object")
    return said


def _exactly(connection: socket.socket, size: int) -> bytes:
    blocks = []
    left = size
    while left:
        block = connection.recv(min(left, 1 << 20))
        if not block:
            if left == size and size == LENGTH.size:
                return b""
            raise OSError("the connection was cut off")
        blocks.append(block)
        left -= len(block)
    return b"".join(blocks)
