"""Damage to a stopped server's heap pages, byte by byte, that no WAL tells of: what a bad disk or a bad tool leaves."""

from __future__ import annotations

import struct
from pathlib import Path

PAGE = 8192
_HEADER, _POINTER = 24, 4


def _place(path: Path, needle: bytes) -> tuple[bytearray, int]:
    data = bytearray(path.read_bytes())
    at = data.find(needle)
    assert at >= 0, f"{needle!r} is not in {path.name}"
    assert data.find(needle, at + 1) < 0, f"{needle!r} is there more than once"
    return data, at


def exchange(path: Path, needle: bytes, by: bytes) -> None:
    """Other bytes of the same length in the one place that has these."""
    assert len(needle) == len(by)
    data, at = _place(path, needle)
    data[at : at + len(by)] = by
    path.write_bytes(data)


def remove(path: Path, needle: bytes) -> None:
    """Take the row that holds these bytes out of its page: its line pointer is unused from now on."""
    data, at = _place(path, needle)
    page = at // PAGE * PAGE
    (lower,) = struct.unpack_from("<H", data, page + 12)
    for pointer in range(page + _HEADER, page + lower, _POINTER):
        (word,) = struct.unpack_from("<I", data, pointer)
        begins, length = word & 0x7FFF, word >> 17
        if page + begins <= at < page + begins + length:
            struct.pack_into("<I", data, pointer, 0)
            path.write_bytes(data)
            return
    raise AssertionError(f"no row of its page holds {needle!r}")
