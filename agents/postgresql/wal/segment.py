"""What a WAL segment says of itself, and whether its records hold some bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from agents.base.errors import AgentError

PAGE = 8192
_LONG_HEADER = struct.Struct("<HHIQI4xQII")  # XLogLongPageHeaderData: the first page of a segment
_SHORT_BYTES = 24
_LONG = 2  # XLP_LONG_HEADER


@dataclass(frozen=True)
class Header:
    """What the first page says: timeline, where in the WAL it begins, the cluster's identifier, bytes of a segment."""

    timeline: int
    address: int
    system_id: int
    segment_bytes: int


def header(segment: bytes) -> Header:
    """Raises AgentError for what is no WAL segment."""
    if len(segment) < _LONG_HEADER.size:
        raise AgentError(f"A WAL segment of {len(segment)} bytes is none.", "The file in the repository is damaged.")
    _, _, timeline, address, _, system_id, size, _ = _LONG_HEADER.unpack_from(segment)
    return Header(timeline, address, system_id, size)


def record(content: bytes, at: int, size: int) -> bytes:
    """`size` bytes of the record that begins at this offset, without the headers of the pages that it goes across.

    `content` begins with a segment's first byte; what is not in it is left out.
    """
    found = b""
    while len(found) < size and at < len(content):
        end = at + PAGE - at % PAGE
        found += content[at:end]
        at = end + _header_bytes(content, end)
    return found[:size]


def holds(content: bytes, text: bytes) -> bool:
    """Whether the records hold these bytes, also across the header of a page."""
    pages = range(0, len(content), PAGE)
    return text in b"".join(content[at + _header_bytes(content, at) : at + PAGE] for at in pages)


def _header_bytes(content: bytes, at: int) -> int:
    """A segment's first page has the long header, and says so."""
    flags = int.from_bytes(content[at + 2 : at + 4], "little")
    return _LONG_HEADER.size if flags & _LONG or at == 0 else _SHORT_BYTES
