"""Rows of any shape as columns: dicts, tuples, dataclasses, a DataFrame of pandas or polars, an Arrow table.

Nothing is imported for that: who has a DataFrame has imported its library already.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from agents.base.errors import BadRow
from agents.client.kinds import Precise, is_missing, is_nan


@dataclass(frozen=True)
class Columns:
    """`n` rows as columns; what a row leaves out is None in it. `strange`: row -> why it is no row of this table."""

    n: int
    values: dict[str, list[object]]
    strange: dict[int, tuple[str, str]] = field(default_factory=dict)  # row -> (column, why)


def columns_of(rows: object, names: Sequence[str], table: str) -> Columns:
    """`names` are the table's columns, in order. Raises BadRow for what is no set of rows at all."""
    found = _frame(rows, frozenset(names), table)
    if found is None:
        found = _of_rows(_sequence(rows), names)
    if found.n == 0:
        raise BadRow(f"There are no rows for {table}.", "Save at least one row.")
    return found


def _sequence(rows: object) -> list[object]:
    if isinstance(rows, (str, bytes, bytearray)):
        raise BadRow(f"{type(rows).__name__} is no set of rows.", "Give dicts, tuples, dataclasses or a DataFrame.")
    if isinstance(rows, Mapping) or (dataclasses.is_dataclass(rows) and not isinstance(rows, type)):
        return [rows]
    if not isinstance(rows, Iterable):
        raise BadRow(f"{type(rows).__name__} is no set of rows.", "Give dicts, tuples, dataclasses or a DataFrame.")
    return list(rows)


def _of_rows(rows: list[object], names: Sequence[str]) -> Columns:
    strange: dict[int, tuple[str, str]] = {}
    known = frozenset(names)
    kinds = set(map(type, rows))
    dicts: list[Mapping[str, object]] = []
    if kinds == {dict}:
        dicts = cast("list[Mapping[str, object]]", rows)
        for number, given in enumerate(dicts):
            if not given.keys() <= known:
                strange[number] = _unknown(given, known)
    else:
        for number, row in enumerate(rows):
            try:
                dicts.append(_dict(row, names))
                if not dicts[-1].keys() <= known:
                    strange[number] = _unknown(dicts[-1], known)
            except ValueError as error:
                dicts.append({})
                strange[number] = ("", str(error))
    used = [name for name in names if any(name in row for row in dicts)]
    return Columns(len(rows), {name: [row.get(name) for row in dicts] for name in used}, strange)


def _unknown(row: Mapping[str, object], known: frozenset[str]) -> tuple[str, str]:
    names = sorted(str(name) for name in row.keys() - known)
    return names[0], "is no column of the table"


def _dict(row: object, names: Sequence[str]) -> Mapping[str, object]:
    if isinstance(row, Mapping):
        return row
    if dataclasses.is_dataclass(row) and not isinstance(row, type):
        return {one.name: getattr(row, one.name) for one in dataclasses.fields(row)}
    if isinstance(row, tuple) and hasattr(row, "_fields"):
        return dict(zip(row._fields, row, strict=True))
    if isinstance(row, (tuple, list)):
        if len(row) != len(names):
            raise ValueError(f"the row has {len(row)} values, the table has {len(names)} columns without its event id")
        return dict(zip(names, row, strict=True))
    raise ValueError(f"{type(row).__name__} is no row: give a dict, a tuple or a dataclass")


def _frame(rows: object, known: frozenset[str], table: str) -> Columns | None:
    """A DataFrame or an Arrow table; None for everything else."""
    for library, reads in (("pandas", _pandas), ("polars", _polars), ("pyarrow", _arrow)):
        module = sys.modules.get(library)
        if module is not None and (found := reads(module, rows)) is not None:
            names, n, values = found
            twice = sorted({str(name) for name in names if names.count(name) > 1})
            if twice:
                raise BadRow(f"The frame for {table} has the column {twice[0]} twice.", "Rename or drop one of them.")
            for name in names:
                if name not in known:
                    hint = f"{table} has {', '.join(sorted(known))}; drop or rename it."
                    raise BadRow(f"The frame's column {name} is no column of {table}.", hint)
            return Columns(n, {name: values(name) for name in names} if n else {})
    return None


def _pandas(pandas: Any, rows: Any) -> Any:
    if isinstance(rows, pandas.Series):
        raise BadRow("A pandas Series is no set of rows.", "Give a DataFrame, or series.to_frame().T for one row.")
    if not isinstance(rows, pandas.DataFrame):
        return None
    frame = _with_index(pandas, rows)

    def values(name: str) -> list[object]:
        series = frame[name]
        if str(series.dtype) == "category":
            series = series.astype(object)
        found: list[object] = series.tolist()
        # NaN of a float column is judged by the column's own rule; every other gap is None.
        if series.dtype.kind in "fiub":
            return [None if is_missing(value) else value for value in found] if series.hasnans else found
        return [None if is_missing(value) or is_nan(value) else value for value in _scalars(found)]

    return list(frame.columns), len(frame), values


def _scalars(values: list[Any]) -> list[object]:
    """An array that is one value (a list of JSON) as such."""
    return [value.tolist() if hasattr(value, "__array__") else value for value in values]


def _with_index(pandas: Any, frame: Any) -> Any:
    """An index that has a name is a column. One of whole numbers without a name is a count of rows."""
    names = list(frame.index.names)
    if any(name is not None for name in names):
        if None in names:
            raise BadRow("A level of the DataFrame's index has no name.", "Name it, or reset_index(drop=True).")
        if all(name in frame.columns for name in names):
            return frame
        return frame.reset_index()
    if not isinstance(frame.index, pandas.MultiIndex) and frame.index.dtype.kind in "iu":
        return frame
    if len(frame) == 0:
        return frame
    raise BadRow(
        "The DataFrame's index holds values and has no name.",
        "Name it after its column (df.index.name = ...), or drop it with reset_index(drop=True).",
    )


def _polars(polars: Any, rows: Any) -> Any:
    if isinstance(rows, polars.LazyFrame):
        raise BadRow("A LazyFrame holds no rows yet.", "Call collect() first.")
    if not isinstance(rows, polars.DataFrame):
        return None

    def values(name: str) -> list[object]:
        series = rows[name]
        if isinstance(series.dtype, polars.Datetime) and series.dtype.time_unit == "ns":
            return _with_nanoseconds(series.to_list(), series.cast(polars.Int64).to_list())
        found: list[object] = series.to_list()
        return found

    return list(rows.columns), rows.height, values


def _arrow(pyarrow: Any, rows: Any) -> Any:
    if not isinstance(rows, (pyarrow.Table, pyarrow.RecordBatch)):
        return None

    def values(name: str) -> list[object]:
        column = rows.column(rows.schema.get_field_index(name))
        kind = column.type
        if pyarrow.types.is_timestamp(kind) and kind.unit == "ns":
            whole = column.cast(pyarrow.timestamp("us", tz=kind.tz), safe=False).to_pylist()
            return _with_nanoseconds(whole, column.cast(pyarrow.int64()).to_pylist())
        found: list[object] = column.to_pylist()
        return found

    return list(rows.schema.names), rows.num_rows, values


def _with_nanoseconds(moments: list[Any], nanoseconds: list[Any]) -> list[object]:
    """Moments to the microsecond, with what a datetime has no room for."""
    return [
        None if moment is None else moment if number % 1000 == 0 else Precise(moment, number % 1000)
        for moment, number in zip(moments, nanoseconds, strict=True)
    ]
