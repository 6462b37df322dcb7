"""What a WAL segment says of itself, and whether its records hold some bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from agents.base.errors import AgentError

_PAGE = 8192
_LONG_HEADER = struct.Struct("<HHIQI4xQII")  # XLogLongPageHeaderData: the first page of a segment
_SHORT_BYTES = 24


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


def holds(segment: bytes, text: bytes) -> bool:
    """Whether the records hold these bytes, also across the header of a page."""
    records = segment[_LONG_HEADER.size : _PAGE] + b"".join(
        segment[at + _SHORT_BYTES : at + _PAGE] for at in range(_PAGE, len(segment), _PAGE)
    )
    return text in records
