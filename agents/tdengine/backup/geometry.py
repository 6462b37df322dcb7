"""A GEOMETRY as the server hands it out (well-known binary) and as a statement has it (well-known text)."""

from __future__ import annotations

import struct

from agents.base.errors import AgentError

_NAMES = {1: "POINT", 2: "LINESTRING", 3: "POLYGON", 4: "MULTIPOINT", 5: "MULTILINESTRING", 6: "MULTIPOLYGON",
          7: "GEOMETRYCOLLECTION"}  # fmt: skip
_POINT, _LINE, _POLYGON, _COLLECTION = 1, 2, 3, 7


def text(data: bytes) -> str:
    """Every digit of every coordinate, which the server's own ST_AsText cuts. Raises AgentError."""
    try:
        return _Reader(data).geometry()
    except (struct.error, IndexError, KeyError) as error:
        raise AgentError(f"{data.hex()} is no geometry: {error!r}.", "Leave the table out.") from error


class _Reader:
    """Reads from one place on."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at, self._order = data, 0, "<"

    def geometry(self) -> str:
        kind = self._head()
        return f"{_NAMES[kind]} {self._body(kind)}"

    def _head(self) -> int:
        self._order = "<" if self._data[self._at] else ">"
        self._at += 1
        return int(self._read("I")[0])

    def _body(self, kind: int) -> str:
        if kind == _POINT:
            return f"({self._coordinates()})"
        count = int(self._read("I")[0])
        if not count:
            return "EMPTY"
        return f"({', '.join(self._part(kind) for _ in range(count))})"

    def _part(self, kind: int) -> str:
        if kind == _LINE:
            return self._coordinates()
        if kind == _POLYGON:
            return self._body(_LINE)
        if kind == _COLLECTION:
            return self.geometry()
        return self._body(self._head())

    def _coordinates(self) -> str:
        return " ".join(map(repr, self._read("dd")))

    def _read(self, what: str) -> tuple[float, ...]:
        format_ = f"{self._order}{what}"
        values = struct.unpack_from(format_, self._data, self._at)
        self._at += struct.calcsize(format_)
        return values
