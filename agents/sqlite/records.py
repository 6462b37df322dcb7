"""One piece of a stream of changes, as it is sent, kept and read again.

A stream is a database's write-ahead log without a gap, epoch after epoch; a new one begins where the log was lost sight
of. Its records lie one behind the other in a file an epoch: two lengths, a header (JSON), the locked frames, a CRC.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from agents.sqlite.seal import Broken, Seal

_LENGTHS = struct.Struct(">II")
_CRC = struct.Struct(">I")


@dataclass(frozen=True)
class Header:
    """Record `no` of a stream: frames `first` to `last` of an epoch, read at `at` (unix seconds).

    `tx_before` and `tx` count the transactions of the stream's database before and after it; `salts` and `checksum`
    are hexadecimal, as they stand in the last frame.
    """

    no: int
    epoch: int
    salts: str
    page: int
    first: int
    last: int
    checksum: str
    tx_before: int
    tx: int
    at: float

    @property
    def text(self) -> str:
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))


def header(raw: dict[str, Any]) -> Header:
    """Raises TypeError, ValueError for what is none."""
    kinds = {"salts": str, "checksum": str, "at": float}
    return Header(**{name: kinds.get(name, int)(value) for name, value in raw.items()})


def locked(seal: Seal, database: str, stream: str, one: Header, data: bytes) -> bytes:
    """Frames as they leave this host."""
    return seal.close(zlib.compress(data, 1), _place(database, stream, one))


def unlocked(seal: Seal, database: str, stream: str, one: Header, data: bytes) -> bytes:
    """Raises Broken."""
    return zlib.decompress(seal.open(data, _place(database, stream, one)))


def _place(database: str, stream: str, one: Header) -> str:
    """What a record is locked to; it is named in the error as well."""
    return f"record {one.no} of {stream} of {database}: {one.text}"


def packed(one: Header, data: bytes) -> bytes:
    text = one.text.encode()
    body = _LENGTHS.pack(len(text), len(data)) + text + data
    return body + _CRC.pack(zlib.crc32(body))


def headers(path: Path) -> Iterator[tuple[Header, int]]:
    """Each record that is whole, and where it ends; what is torn behind them was never confirmed."""
    with path.open("rb") as source:
        while (one := _next(source)) is not None:
            yield one[0], source.tell()


def is_torn(path: Path, end: int) -> bool:
    """Whether what lies behind `end` is a record that a crash cut off, and not a damaged one with others behind it."""
    with path.open("rb") as source:
        source.seek(end)
        rest = source.read(_LENGTHS.size)
        if len(rest) < _LENGTHS.size or not any(rest):
            return True
        ends = end + _LENGTHS.size + sum(map(int, _LENGTHS.unpack(rest))) + _CRC.size
        return ends >= path.stat().st_size


def read(path: Path) -> Iterator[tuple[Header, bytes]]:
    """Header and locked frames of each. Raises Broken where one between others is damaged."""
    size = path.stat().st_size
    with path.open("rb") as source:
        while source.tell() < size:
            one = _next(source)
            if one is None:
                raise Broken(
                    f"{path.parent.name}/{path.name} is damaged.", "Take another backup, or the copy off-site."
                )
            yield one


def _next(source: BinaryIO) -> tuple[Header, bytes] | None:
    lengths = source.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    text_length, data_length = _LENGTHS.unpack(lengths)
    body = source.read(text_length + data_length)
    crc = source.read(_CRC.size)
    if len(crc) < _CRC.size or zlib.crc32(lengths + body) != _CRC.unpack(crc)[0]:
        return None
    try:
        return header(json.loads(body[:text_length])), body[text_length:]
    except (ValueError, TypeError):
        return None
