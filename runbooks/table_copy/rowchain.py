"""SQL for the hash of a row in few steps: each column is hashed with the hash of the columns before it as its seed.

It tells apart what `Column.hashed` tells apart, without the row, the texts and the bytes that would be made for it on
the way: a row costs less than `hash_record_extended` of its columns does. And it is no sum over columns: two rows that
swap a value come to other hashes as they are.
"""

from __future__ import annotations

from collections.abc import Iterable

from runbooks.table_copy import rowhash
from runbooks.table_copy.names import quoted
from runbooks.table_copy.shape import Column

MOST_LINKS = 60  # expressions in one another, and bits of the signs
# The server's hash of a zero is its seed less one, that of NaN its seed; a record of NULL alone comes to 0.
_BEGIN, _ALONE, _NOTHING = 2, 1, 5
_TEXT = 'hashtextextended({x}::text COLLATE "C", {seed})'
# A double has every microsecond until 2255, and is no number of which the server would hash 32 bits.
_MOMENT = "hashfloat8extended(date_part('epoch', {x}), {seed})"
_FAR = f"2147483647 * date_cmp({{x}}, {rowhash.EPOCH})"
_DAY = f"(CASE WHEN isfinite({{x}}) THEN {{x}} - {rowhash.EPOCH} ELSE {_FAR} END)"
_LINKS = {
    "smallint": "hashint2extended({x}, {seed})",
    "integer": "hashint4extended({x}, {seed})",
    "boolean": "hashint4extended({x}::integer, {seed})",
    "bigint": "hashint4extended(1, ({seed}) # {x})",  # of a seed all 64 bits count, of a bigint 32
    "date": f"hashint4extended({_DAY}, {{seed}})",
    "uuid": "uuid_hash_extended({x}, {seed})",
    "text": _TEXT,
    "character varying": _TEXT,
    "timestamp with time zone": _MOMENT,
    "timestamp without time zone": _MOMENT,
}
_NUMBER = "hash_numeric_extended({x}, {seed})"


def chained(columns: Iterable[Column], alias: str = "t") -> str:
    """64 bits of these columns' values; never NULL.

    Columns that may be NULL are taken so. One that is, though it is said not to be, has its row hashed as a record.
    """
    columns = tuple(columns)
    linked = [column for column in columns if _link(column)][:MOST_LINKS]
    others = [column for column in columns if column not in linked]
    seed = rowhash.record_hash(others, alias) if others else f"{_BEGIN}::bigint"
    if signs := _signs([column for column in linked if _link(column) == _NUMBER], alias):
        seed = f"({seed}) # {signs}"
    # Those without NULL last: of the others each takes a step more, and none of them is the outermost.
    for column in sorted(linked, key=lambda one: not one.nullable):
        seed = _linked(column, seed, alias)
    if all(column.nullable for column in linked):
        return seed
    return f"coalesce({seed}, {rowhash.record_hash(columns, alias)})"


def _linked(column: Column, seed: str, alias: str) -> str:
    name = f"{alias}.{quoted(column.name)}"
    if not column.nullable:
        return _link(column).format(x=name, seed=seed)
    alone = _link(column).format(x=name, seed=_ALONE)
    return f"hashint4extended(1, ({seed}) # coalesce({alone}, {_NOTHING}))"


def _link(column: Column) -> str:
    """Empty for what is hashed as part of a record."""
    if column.domain or column.folds or column.type.endswith("[]"):
        return ""
    if column.plain == "numeric":  # of one scale, so that equal ones are written alike
        return _NUMBER if "(" in column.type else ""
    return _LINKS.get(column.plain, "")


def _signs(columns: Iterable[Column], alias: str) -> str:
    """Which numerics are negative, in bits: the server hashes 5 and -5 alike. Where none is, that is all it asks."""
    below = [f"{alias}.{quoted(column.name)} < 0" for column in columns]
    bits = " | ".join(f"(CASE WHEN {one} THEN {1 << nr}::bigint ELSE 0 END)" for nr, one in enumerate(below))
    return f"(CASE WHEN {' OR '.join(below)} THEN hashint4extended(1, {bits}) ELSE 0 END)" if below else ""
