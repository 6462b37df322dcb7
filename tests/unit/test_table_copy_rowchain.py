"""The hash of a row tells apart whatever may be told apart, on a real server, and is never NULL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runbooks.table_copy.rowchain import MOST_LINKS, chained
from runbooks.table_copy.shape import Column
from tests.unit.postgres_server import Server

TYPES = {
    "smallint": ("1", "-1", "0"),
    "integer": ("1", "-1", "0"),
    "bigint": ("1", "-1", "0", "4294967296", "4294967297", "-4294967296"),
    "boolean": ("true", "false"),
    "numeric(18,4)": ("5", "-5", "0", "0.0001", "50000", "'NaN'"),
    "numeric": ("5", "-5", "5.0", "0", "'NaN'", "'Infinity'", "'-Infinity'"),
    "double precision": ("0", "-0.0", "1", "'NaN'", "'Infinity'"),
    "text": ("''", "' '", "'a'", "'A'"),
    "character varying(9)": ("''", "'a'", "'A'"),
    "date": ("'2026-11-01'", "'2026-11-02'", "'infinity'", "'-infinity'", "'2000-01-01'", "'2000-01-02'"),
    "timestamp with time zone": (
        "'2026-11-01 10:00:00+00'", "'2026-11-01 10:00:00.000001+00'", "'infinity'", "'-infinity'",
        "'2026-11-01 11:11:34.967296+00'", "'2026-11-01 11:11:34.967297+00'", "'2026-11-01 11:11:34.967295+00'",
    ),
    "timestamp without time zone": ("'2026-11-01 10:00:00'", "'2026-11-01 10:00:00.000001'", "'infinity'"),
    "uuid": ("'00000000-0000-0000-0000-000000000000'", "'00000000-0000-0000-0000-000000000001'"),
    "jsonb": ("'{\"a\": 1}'", "'{\"a\": 1.0}'", "'{\"a\": -1}'", "'null'"),
    "bytea": (r"'\x'", r"'\x00'"),
    "integer[]": ("'{}'", "'{1}'", "'{-1}'"),
}  # fmt: skip


@pytest.fixture(scope="module")
def server(copying_server: Server) -> Iterator[Server]:
    yield copying_server


def hashes(server: Server, columns: list[Column], rows: list[tuple[str, ...]]) -> list[object]:
    """Of each row, in their order; values as SQL writes them."""
    values = ", ".join(
        f"({nr}, " + ", ".join(f"{value}::{c.type}" for value, c in zip(row, columns, strict=True)) + ")"
        for nr, row in enumerate(rows)
    )
    names = ", ".join(f'"{column.name}"' for column in columns)
    asked = f"SELECT {chained(columns)} FROM (VALUES {values}) t(nr, {names}) ORDER BY nr"
    return [row[0] for row in server.sql("SET timezone = 'UTC'", asked)]


@pytest.mark.parametrize("nullable", [False, True])
@pytest.mark.parametrize("kind", TYPES)
def test_values_that_differ_have_other_hashes_and_no_value_is_one_of_them(
    server: Server, kind: str, nullable: bool
) -> None:
    """NULL too where the column may not be NULL: a damaged catalogue lets that be."""
    column = Column(name="x", type=kind, nullable=nullable)
    found = hashes(server, [column], [(value,) for value in (*TYPES[kind], "NULL")])
    assert None not in found
    assert len(set(found)) == len(found), dict(zip((*TYPES[kind], "NULL"), found, strict=True))


@pytest.mark.parametrize("nullable", [False, True])
def test_values_count_in_the_column_that_they_are_in(server: Server, nullable: bool) -> None:
    for kind, values in TYPES.items():
        pair = [Column(name=name, type=kind, nullable=nullable) for name in "ab"]
        one, other = hashes(server, pair, [(values[0], values[1]), (values[1], values[0])])
        assert one != other, kind
        some = hashes(server, pair, [("NULL", values[0]), (values[0], "NULL"), ("NULL", "NULL")])
        assert len({*some}) == 3, kind


def test_a_sign_counts_in_each_of_many_columns(server: Server) -> None:
    columns = [Column(name=f"c{nr}", type="numeric(9,2)", nullable=nr % 2 == 0) for nr in range(MOST_LINKS + 5)]
    rows = [tuple("-1" if nr == at else "1" for nr in range(len(columns))) for at in range(len(columns) + 1)]
    assert len(set(hashes(server, columns, rows))) == len(rows)


def test_rows_that_swap_a_value_come_to_another_sum(server: Server) -> None:
    """Added as they are: nothing is mixed here but by the hash itself."""
    kinds = ("bigint", "text", "numeric(18,4)", "date")
    columns = [Column(name=f"c{nr}", type=kind, nullable=False) for nr, kind in enumerate(kinds)]
    missed = 0
    for nr in range(200):
        a = [str(nr), f"'s{nr}'", f"{nr}.5", "'2026-11-01'"]
        b = [str(nr + 1), f"'s{nr + 7}'", f"{nr}.25", "'2026-11-02'"]
        for at in range(len(kinds)):
            c, d = [*a], [*b]
            c[at], d[at] = b[at], a[at]
            one, two, three, four = hashes(server, columns, [tuple(a), tuple(b), tuple(c), tuple(d)])
            missed += int(str(one)) + int(str(two)) == int(str(three)) + int(str(four))
        if nr > 20 and missed == 0:
            break
    assert missed == 0


def test_equal_values_have_one_hash_whatever_the_session_is_set_to(server: Server) -> None:
    columns = [Column(name="n", type="numeric(18,4)"), Column(name="t", type="timestamp with time zone")]
    one, other = hashes(
        server, columns, [("1", "'2026-11-01 10:00:00+00'"), ("1.000", "'2026-11-01 18:00:00+08'")]
    )
    assert one == other
