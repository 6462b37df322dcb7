"""WAL segments in the repository: which there are, which are missing between them, and what one of them holds."""

from __future__ import annotations

import itertools
import json
import re
import struct
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agents.errors import AgentError

SEGMENT_BYTES = 16 << 20
_PER_LOG = (1 << 32) // SEGMENT_BYTES
_NAME = re.compile(r"([0-9A-F]{24})-([0-9a-f]{40})(\.\w+)?$")
_UNPACK = {".zst": ("zstd", "-dc"), ".gz": ("gzip", "-dc"), ".lz4": ("lz4", "-dc"), ".bz2": ("bzip2", "-dc"), "": ()}
_PAGE = 8192
_LONG_HEADER = struct.Struct("<HHIQI4xQII")  # XLogLongPageHeaderData: the first page of a segment
_SHORT_BYTES = 24
_COMMAND_S = 120.0


@dataclass(frozen=True)
class Stored:
    """One segment in the repository: its name, the SHA-1 of its content by its file's name, its path from the root."""

    segment: str
    sha1: str
    path: str


@dataclass(frozen=True)
class Header:
    """What the first page of a segment says of itself."""

    timeline: int
    address: int
    system_id: int
    segment_bytes: int


@dataclass(frozen=True)
class Gap:
    """Segments of one timeline that the archive lacks between two that it has."""

    first: str
    last: str
    count: int

    def __str__(self) -> str:
        return self.first if self.count == 1 else f"{self.first} to {self.last} ({self.count} segments)"


def stored(stanza: str, only: str = "") -> tuple[Stored, ...]:
    """Every segment in the archive, or the one of this name; sorted by name, several versions of a cluster included."""
    wanted = f"{only}-" if only else "[0-9A-F]{24}-"
    folder = f"archive/{stanza}"
    said = json.loads(_pgbackrest(stanza, "--output=json", "--recurse", f"--filter=/{wanted}", "repo-ls", folder))
    found = []
    for name in said:
        match = _NAME.search(name)
        if match:
            found.append(Stored(match[1], match[2], f"{folder}/{name}"))
    return tuple(sorted(found, key=lambda one: one.segment))


def content(stanza: str, one: Stored) -> bytes:
    """The segment as PostgreSQL would get it: decrypted and unpacked. Raises AgentError when it cannot be."""
    suffix = (_NAME.search(one.path) or [""] * 4)[3] or ""
    if suffix not in _UNPACK:
        raise AgentError(f"{one.path} is packed in a way that is not known here.", "Set compress-type=zst.")
    fetch = subprocess.Popen(
        _command(stanza, "repo-get", one.path), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert fetch.stdout is not None and fetch.stderr is not None
    with fetch:
        unpacked = subprocess.run(_UNPACK[suffix] or ("cat",), stdin=fetch.stdout, capture_output=True, check=False)
        said = fetch.stderr.read().decode(errors="replace")
    if fetch.returncode or unpacked.returncode:
        said = said + unpacked.stderr.decode(errors="replace")
        raise AgentError(
            f"{one.segment} in the repository cannot be read: {said.strip().splitlines()[-1:] or 'no message'}.",
            "It is damaged, or the key is another one: `pgbackrest verify` names every damaged file.",
        )
    return unpacked.stdout


def header(segment: bytes) -> Header:
    """Raises AgentError for what is no WAL segment."""
    if len(segment) < _LONG_HEADER.size:
        raise AgentError(f"A segment of {len(segment)} bytes is none.", "The file in the repository is damaged.")
    _, _, timeline, address, _, system_id, size, _ = _LONG_HEADER.unpack_from(segment)
    return Header(timeline, address, system_id, size)


def holds(segment: bytes, text: bytes) -> bool:
    """Whether the records hold these bytes, also across the header of a page."""
    records = segment[_LONG_HEADER.size : _PAGE] + b"".join(
        segment[at + _SHORT_BYTES : at + _PAGE] for at in range(_PAGE, len(segment), _PAGE)
    )
    return text in records


def gaps(segments: Iterable[str]) -> tuple[Gap, ...]:
    """What is missing between the first and the last segment of each timeline."""
    by_timeline: dict[str, list[int]] = {}
    for segment in sorted(set(segments)):
        by_timeline.setdefault(segment[:8], []).append(_number(segment))
    return tuple(
        Gap(_segment(timeline, before + 1), _segment(timeline, after - 1), after - before - 1)
        for timeline, numbers in by_timeline.items()
        for before, after in itertools.pairwise(numbers)
        if after - before > 1
    )


def _number(segment: str) -> int:
    return int(segment[8:16], 16) * _PER_LOG + int(segment[16:24], 16)


def _segment(timeline: str, number: int) -> str:
    return f"{timeline}{number // _PER_LOG:08X}{number % _PER_LOG:08X}"


def _command(stanza: str, *words: str) -> Sequence[str]:
    return ["pgbackrest", f"--stanza={stanza}", "--log-level-console=off", "--log-level-stderr=error", *words]


def _pgbackrest(stanza: str, *words: str) -> str:
    done = subprocess.run(
        _command(stanza, *words), capture_output=True, text=True, timeout=_COMMAND_S, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise AgentError(f"pgBackRest cannot list the archive: {said}.", "Look at /var/log/pgbackrest.")
    return done.stdout
