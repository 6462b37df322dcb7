"""Rows as statements have them: every type, every digit, nothing that a statement would take for something else."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from agents.base.errors import AgentError
from agents.tdengine.backup import geometry, literals
from agents.tdengine.backup.block import Block, Column
from agents.tdengine.sql import MAX_BYTES


def fixed(kind: int, width: int, *values: bytes | None) -> Column:
    held = width >> 24 or width
    raw = b"".join(value if value is not None else b"\0" * held for value in values)
    nulls = np.array([value is None for value in values])
    return Column(kind, width, nulls, np.frombuffer(raw, np.uint8).reshape(len(values), held))


def text(kind: int, *values: bytes | None) -> Column:
    held = [value or b"" for value in values]
    nulls = np.array([value is None for value in values])
    return Column(kind, 9, nulls, np.frombuffer(b"".join(held), np.uint8), np.cumsum([len(one) for one in held]))


def rows(*columns: Column) -> list[str]:
    return list(literals.rows(Block(len(columns[0].nulls), columns)))


@pytest.mark.parametrize(
    ("kind", "form", "value", "written"),
    [
        (1, "?", True, "True"), (2, "b", -7, "-7"), (11, "B", 200, "200"), (3, "<h", -300, "-300"),
        (12, "<H", 60000, "60000"), (4, "<i", -70000, "-70000"), (13, "<I", 4000000000, "4000000000"),
        (5, "<q", -(2**62), "-4611686018427387904"), (14, "<Q", 2**64 - 1, "18446744073709551615"),
        (9, "<q", 1795000000000000001, "1795000000000000001"), (6, "<f", 1.1, "1.100000023841858"),
        (7, "<d", 0.1 + 0.2, "0.30000000000000004"), (7, "<d", float("nan"), "NULL"), (7, "<d", float("-inf"), "NULL"),
    ],
)  # fmt: skip
def test_numbers_keep_every_digit(kind: int, form: str, value: Any, written: str) -> None:
    assert rows(fixed(kind, struct.calcsize(form), struct.pack(form, value), None)) == [f"({written})", "(NULL)"]


def test_decimals_keep_their_scale() -> None:
    small = fixed(21, 8 << 24 | 18 << 8 | 4, struct.pack("<q", 1234567), struct.pack("<q", -5), None)
    large = (-123456789012345678900123456789).to_bytes(16, "little", signed=True)
    assert rows(small) == ["(123.4567)", "(-0.0005)", "(NULL)"]
    assert rows(fixed(17, 16 << 24 | 38 << 8 | 10, large)) == ["(-12345678901234567890.0123456789)"]


def test_texts_and_bytes_are_quoted() -> None:
    assert rows(text(8, b"it's \\", None, b"")) == ["('it\\'s \\\\')", "(NULL)", "('')"]
    assert rows(text(10, "中'".encode("utf-32-le"))) == ["('中\\'')"]
    assert rows(text(16, b"\0\xff"), text(18, b"'"), text(20, point(1.5, -2.0))) == [
        "('\\x00ff','\\x27','POINT (1.5 -2.0)')"
    ]


def point(x: float, y: float) -> bytes:
    return struct.pack("<BIdd", 1, 1, x, y)


def test_every_kind_of_geometry_keeps_every_digit() -> None:
    line = struct.pack("<BII4d", 1, 2, 2, 0.1234567890123456, 1e-9, 3.0, 4.0)
    polygon = struct.pack("<BIII6d", 1, 3, 1, 3, 0, 0, 1, 0, 0, 0)
    assert geometry.text(line) == "LINESTRING (0.1234567890123456 1e-09, 3.0 4.0)"
    assert geometry.text(polygon) == "POLYGON ((0.0 0.0, 1.0 0.0, 0.0 0.0))"
    points = struct.pack("<BII", 1, 4, 2) + point(1, 2) + point(3, 4)
    assert geometry.text(points) == "MULTIPOINT ((1.0 2.0), (3.0 4.0))"
    assert geometry.text(struct.pack("<BII", 1, 7, 2) + point(1, 2) + line) == (
        "GEOMETRYCOLLECTION (POINT (1.0 2.0), LINESTRING (0.1234567890123456 1e-09, 3.0 4.0))"
    )
    assert geometry.text(struct.pack(">BIdd", 0, 1, 1, 2)) == "POINT (1.0 2.0)"
    assert geometry.text(struct.pack("<BII", 1, 5, 0)) == "MULTILINESTRING EMPTY"
    with pytest.raises(AgentError, match="is no geometry"):
        geometry.text(b"\1\1")


def test_statements_stay_below_what_a_server_takes_and_lose_no_row() -> None:
    long = [b"x" * 300_000] * 7
    stamps = fixed(9, 8, *(struct.pack("<q", n) for n in range(7)))
    found = list(literals.inserts("`d`.`t`", ("ts", "列"), Block(7, (stamps, text(8, *long)))))
    assert sum(n for _, n in found) == 7
    assert all(len(sql) < MAX_BYTES + 100 for sql, _ in found) and len(found) == 4
    assert found[0][0].startswith("INSERT INTO `d`.`t` (`ts`, `列`) VALUES (0,'xxx")
