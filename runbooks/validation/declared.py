"""Values that the catalogue rules out, column by column, and that no rule of ranges and sums tells: NaN is greater than
every number, a time without an end is newer than every row, and a text may be none of those that are declared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from inventories.catalog.tables import Nan, Table
from runbooks.table_copy.names import literal, quoted
from runbooks.validation.difference import Check, Difference

_FLOATS = ("real", "double precision", "numeric")  # what can hold NaN
_NAN, _ENDLESS = "nan", "endless"


def filled(table: Table, name: str) -> str:
    """SQL: how many rows have a value; NaN is none, unless the catalogue keeps it."""
    return f"count({quoted(name)})" + (f" FILTER (WHERE NOT {_is_nan(name)})" if name in _no_nan(table) else "")


def counts(table: Table) -> list[str]:
    """SQL: how many rows have what no row may have, by kind."""
    kinds = {_NAN: " OR ".join(map(_is_nan, _no_nan(table)))}
    if table.time_column:
        kinds[_ENDLESS] = f"NOT isfinite({quoted(table.time_column)})"
    for column in table.columns:
        if column.values:
            kinds[_other(column.name)] = f"{quoted(column.name)} NOT IN ({', '.join(map(literal, column.values))})"
    return [f"count(*) FILTER (WHERE {is_so}) AS {quoted(name)}" for name, is_so in kinds.items() if is_so]


def judge(table: Table, numbers: Mapping[str, object]) -> Iterable[Difference]:
    """Of one answer to `counts`."""
    told = {_NAN: (f"NaN in {', '.join(_no_nan(table))}", "none")}
    if table.time_column:
        told[_ENDLESS] = (table.time_column, "a moment that ends")
    for column in table.columns:
        if column.values:
            told[_other(column.name)] = (column.name, f"one of {', '.join(column.values)}")
    for name, (what, expected) in told.items():
        if number := int(str(numbers.get(name) or 0)):
            yield Difference(Check.RULE, table.name, what, expected, f"{number:,} rows with something else")


def _no_nan(table: Table) -> tuple[str, ...]:
    """Columns that can hold NaN and, by the catalogue, do not: a client takes it for a missing value, or refuses it."""
    return tuple(one.name for one in table.columns if one.type.startswith(_FLOATS) and one.nan is not Nan.KEEP)


def _is_nan(name: str) -> str:
    return f"{quoted(name)} = 'NaN'"


def _other(name: str) -> str:
    return f"other {name}"
