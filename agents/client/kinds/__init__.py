"""One column's values as COPY text, checked by the catalogue's type: what the store would refuse for ever is refused.

Each kind has two ways: `one` value with its reason, and `many` at a time where all are alike, which is most of the time
and several times faster. `many` gives None where it is not sure; it never refuses by itself.
"""

from __future__ import annotations

from agents.base.config import Column
from agents.base.errors import BadConfig
from agents.client.kinds import moment, number, text
from agents.client.kinds.base import MAX_BYTES, NULL, Kind, Precise, Wrong, is_missing, is_nan

__all__ = ["MAX_BYTES", "NULL", "Kind", "Precise", "Wrong", "is_missing", "is_nan", "kind_of"]

_BITS = {"tinyint": 8, "smallint": 16, "int": 32, "integer": 32, "bigint": 64}


def kind_of(column: Column, store_is_tdengine: bool, keep_days: float | None = None) -> Kind:
    """NaN comes to a kind only where it is to be kept. Raises BadConfig for a type that nobody knows here, as one of a
    newer catalogue is.
    """
    name, _, rest = column.type.partition("(")
    size = rest.rstrip(")")
    if name in _BITS:
        return number.integer(_BITS[name])
    if name in ("real", "double precision", "float", "double"):
        return number.floating(name in ("real", "float"), infinite=not store_is_tdengine)
    if name == "numeric":
        whole, _, scale = size.partition(",")
        return number.numeric(int(whole), int(scale))
    if name in ("boolean", "bool"):
        return number.boolean()
    if name in ("text", "varchar", "nchar", "binary"):
        return text.text(int(size) if size else None, name == "binary", frozenset(column.values))
    if name == "jsonb":
        return text.document()
    if name == "date":
        return moment.day()
    if name == "timestamptz":
        return moment.moment(moment.zone_of(column))
    if name == "timestamp":
        return moment.nanoseconds(moment.zone_of(column), keep_days)
    raise BadConfig(f"{column.name} has the type {column.type}, which this library does not know.", "Update it.")
