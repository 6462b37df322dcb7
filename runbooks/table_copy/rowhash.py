"""The hash of a row, and the day that it is of: the one expression by which two servers compare rows.

What counts as the same value is said by `Column.hashed`, column by column.
"""

from __future__ import annotations

from collections.abc import Iterable

from runbooks.table_copy.shape import Column

EPOCH = "date '2000-01-01'"
FIRST_DAY, LAST_DAY = -2_451_500, 200_000_000  # where infinity is counted: both are dates still
MOST_VALUES = 800  # of one row expression, which takes 1,664


def record_hash(columns: Iterable[Column], alias: str = "t") -> str:
    """64 bits of these columns' values, in their order."""
    shown = [column.hashed(alias) for column in columns]
    parts = [f"hash_record_extended(ROW({', '.join(some)}), 0)" for some in _batches(shown)]
    whole = ", ".join(f"int8send({part})" for part in parts)  # of a number the server would hash 32 bits
    return parts[0] if len(parts) == 1 else f"hash_record_extended(ROW({whole}), 0)"


def mixed(row_hash: str, seed: int) -> str:
    """A row's hash made ready to be added up.

    That of a record is a sum over its columns: added as it is, two rows that swap a value would come to the same. What
    a number is hashed with counts in all its 64 bits, of the number itself 32 would.
    """
    return f"hashint4extended({seed}, {row_hash})"


def day(column: str) -> str:
    """Days since 2000 of a date or timestamp, a bigint."""
    far = f"WHEN {column} > {EPOCH} THEN {LAST_DAY} ELSE {FIRST_DAY} END"
    return f"(CASE WHEN isfinite({column}) THEN {column}::date - {EPOCH} {far})::bigint"


def between(column: str, first: str, last: str) -> str:
    """The days from first to last, as a condition that keeps other chunks from being read."""
    return (
        f"({column} >= {EPOCH} + {first} OR {first} <= {FIRST_DAY}) AND "
        f"({column} < {EPOCH} + {last} + 1 OR {last} >= {LAST_DAY})"
    )


def _batches(values: list[str]) -> list[list[str]]:
    return [values[at : at + MOST_VALUES] for at in range(0, len(values), MOST_VALUES)]
