"""One table of the trading system as an entry of ours, with every change that was made on the way as a thing to decide.

Nothing is dropped in silence: what does not fit, contradicts or is unsafe is told with what was taken instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pydantic import ValidationError

from inventories.catalog.foreign.read import ForeignColumn, ForeignTable
from inventories.catalog.tables import Classification, Table

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_MONEY = re.compile(
    r"price|amount|cost|value|cash|pnl|commission|duty|fee|assets|balance|fund|profit|^(open|high|low|close)$"
)
_SECRET = re.compile(r"api_?key|password|passwd|secret|token|credential")
_OWNERS = {
    Classification.MARKET_DATA: "market-data", Classification.REFERENCE_DATA: "reference-data",
    Classification.DERIVED_DATA: "research", Classification.TRANSACTION_DATA: "trading",
    Classification.META_DATA: "platform",
}  # fmt: skip
_WORDS = (
    (re.compile(r"order|trade|position|account|fund|transaction"), Classification.TRANSACTION_DATA),
    (re.compile(r"indicator|factor|signal|model|backtest|risk|strategy"), Classification.DERIVED_DATA),
    (re.compile(r"kline|tick|quote|price"), Classification.MARKET_DATA),
)
_PLAIN = {
    "postgresql": {
        "SMALLINT": "smallint", "INT": "integer", "INTEGER": "integer", "BIGINT": "bigint", "REAL": "real",
        "DOUBLE": "double precision", "FLOAT": "double precision", "BOOLEAN": "boolean", "BOOL": "boolean",
        "TEXT": "text", "DATE": "date", "TIMESTAMP": "timestamptz", "TIMESTAMPTZ": "timestamptz",
        "DATETIME": "timestamptz", "JSON": "jsonb", "JSONB": "jsonb",
    },
    "tdengine": {
        "TIMESTAMP": "timestamp", "BOOL": "bool", "BOOLEAN": "bool", "TINYINT": "tinyint", "SMALLINT": "smallint",
        "INT": "int", "INTEGER": "int", "BIGINT": "bigint", "FLOAT": "double", "DOUBLE": "double",
    },
}  # fmt: skip
_TEXTS = {"postgresql": ("VARCHAR", "CHAR"), "tdengine": ("VARCHAR", "BINARY", "NCHAR")}
_WIDEST = 9999
_CHUNKS = {"date": "1 year", "timestamptz": "1 month"}


class Matter(str, Enum):
    """What kind of thing there is to decide."""

    UNSAFE = "unsafe"
    CONTRADICTS = "contradicts"
    DOES_NOT_FIT = "does not fit"
    NOT_TAKEN = "not taken"


@dataclass(frozen=True)
class Decision:
    """`where` is a table, or `table.column`; `taken` is what is so for now."""

    matter: Matter
    where: str
    what: str
    taken: str

    def __str__(self) -> str:
        return f"{self.matter.value}: {self.where} {self.what}; {self.taken}"


def listed(decisions: Iterable[Decision]) -> list[str]:
    """A line for each thing; what is said of several columns of a table alike is one."""
    columns: dict[tuple[Matter, str, str, str], list[str]] = {}
    for one in decisions:
        table, _, column = one.where.partition(".")
        columns.setdefault((one.matter, table, one.what, one.taken), []).append(column)
    return [
        str(Decision(matter, f"{table}.{', '.join(found)}" if any(found) else table, what, taken))
        for (matter, table, what, taken), found in columns.items()
    ]


@dataclass
class Draft:
    """An entry on its way; `table` is None where it cannot be one."""

    source: ForeignTable
    decisions: list[Decision] = field(default_factory=list)
    entry: dict[str, Any] = field(default_factory=dict)
    table: Table | None = None

    def decide(self, matter: Matter, column: str, what: str, taken: str) -> None:
        where = f"{self.source.name}.{column}" if column else self.source.name
        self.decisions.append(Decision(matter, where, what, taken))


def drafted(source: ForeignTable, classes: Mapping[str, Classification], core: bool) -> Draft:
    """`classes`: what each known classification belongs to."""
    draft = Draft(source)
    if not _NAME.fullmatch(source.name):
        draft.decide(Matter.DOES_NOT_FIT, "", "is no name of ours (lower case, digits, underscore)", "left out")
        return draft
    klass = _class(draft, classes)
    columns = [one for column in source.columns if (one := _column(draft, column))]
    entry = draft.entry = {
        "store": source.store, "database": source.database or _database(source.store),
        "classification": klass.value, "subclassification": _subclassification(source),
        "owner": _OWNERS[klass], **({"core": True} if core else {}),
    }  # fmt: skip
    plain = [entry for column, entry in columns if not column.tag]
    if source.store == "tdengine":
        _supertable(draft, plain, [entry for column, entry in columns if column.tag])
    else:
        _relation(draft, plain)
    for key in source.unread:
        draft.decide(Matter.NOT_TAKEN, "", f"says {key}, which nothing here reads", "left out")
    try:
        draft.table = Table.model_validate({"name": source.name, **entry})
    except ValidationError as error:
        context = error.errors()[0].get("ctx", {})
        why = context.get("why") or error.errors()[0]["msg"]
        draft.decide(Matter.DOES_NOT_FIT, str(context.get("at", "")), f"cannot be an entry: {why}", "left out")
    return draft


def _database(store: str) -> str:
    return "market_data" if store == "tdengine" else "quant_research"


def _class(draft: Draft, classes: Mapping[str, Classification]) -> Classification:
    source = draft.source
    for name in (source.classification, source.name):
        if name in classes:
            return classes[name]
    if source.classification in {one.value for one in Classification}:
        return Classification(source.classification)
    if source.store == "tdengine":
        return Classification.MARKET_DATA
    guess = next((klass for words, klass in _WORDS if words.search(source.name)), Classification.META_DATA)
    known = f"says {source.classification}, which nobody knows" if source.classification else "does not say what it is"
    draft.decide(Matter.DOES_NOT_FIT, "", known, f"taken as {guess.value}")
    return guess


def _subclassification(source: ForeignTable) -> str:
    classes_of_ours = {one.value for one in Classification}
    usable = _NAME.fullmatch(source.classification) and source.classification not in classes_of_ours
    return source.classification if usable else source.name


def _column(draft: Draft, column: ForeignColumn) -> tuple[ForeignColumn, dict[str, Any]] | None:
    if not _NAME.fullmatch(column.name):
        draft.decide(Matter.DOES_NOT_FIT, column.name, "is no name of ours", "left out")
        return None
    if column.serial:
        what = "is numbered by the server, so that each copy of a row would have another number"
        draft.decide(Matter.UNSAFE, column.name, what, "left out; event_id tells rows apart")
        return None
    kind = _kind(draft, column)
    if kind is None:
        return None
    if _SECRET.search(column.name):
        what = "looks like a credential, and every backup would carry it"
        draft.decide(Matter.UNSAFE, column.name, what, "kept; better the name of a secret than the secret")
    for key in column.unread:
        draft.decide(Matter.NOT_TAKEN, column.name, f"says {key}, which nothing here reads", "left out")
    return column, {"name": column.name, "type": kind, **({"nullable": True} if column.nullable else {})}


def _kind(draft: Draft, column: ForeignColumn) -> str | None:
    store = draft.source.store
    if column.kind in ("NUMERIC", "DECIMAL"):
        return _decimal(draft, column)
    if column.kind in _TEXTS[store]:
        return _text(draft, column)
    if (plain := _PLAIN[store].get(column.kind)) is None:
        draft.decide(Matter.DOES_NOT_FIT, column.name, f"is {column.kind}, which {store} has not with us", "left out")
        return None
    if column.kind in ("FLOAT", "REAL", "DOUBLE") and _MONEY.search(column.name):
        digits = "fifteen" if column.kind == "DOUBLE" or store == "postgresql" else "seven"
        what = f"is {column.kind}, which holds {digits} digits of money and none of them exactly"
        taken = "double, which holds fifteen" if store == "tdengine" else f"{plain}; numeric(18,4) would be exact"
        draft.decide(Matter.UNSAFE, column.name, what, taken)
    if plain == "timestamptz" and column.kind in ("TIMESTAMP", "DATETIME"):
        what = "is a time without a zone, which means another instant wherever it is read"
        draft.decide(Matter.UNSAFE, column.name, what, "timestamptz, read in naive_times of the catalogue")
    return plain


def _decimal(draft: Draft, column: ForeignColumn) -> str | None:
    if draft.source.store == "tdengine":
        draft.decide(Matter.DOES_NOT_FIT, column.name, f"is {column.kind}, which our supertables have not", "double")
        return "double"
    if not column.size:
        draft.decide(Matter.DOES_NOT_FIT, column.name, "is NUMERIC without precision and scale", "numeric(24,8)")
        return "numeric(24,8)"
    precision, scale = (*column.size, 0)[:2]
    return f"numeric({precision},{scale})"


def _text(draft: Draft, column: ForeignColumn) -> str | None:
    size = column.size[0] if column.size else 0
    if draft.source.store == "tdengine":
        if not size:
            draft.decide(Matter.DOES_NOT_FIT, column.name, f"is {column.kind} without a length", "binary(64)")
        return f"{'nchar' if column.kind == 'NCHAR' else 'binary'}({size or 64})"
    if not size or size > _WIDEST:
        draft.decide(Matter.DOES_NOT_FIT, column.name, f"is {column.kind} of {size or 'no'} characters", "text")
        return "text"
    return f"varchar({size})"


def _supertable(draft: Draft, columns: list[dict[str, Any]], tags: list[dict[str, Any]]) -> None:
    source = draft.source
    if columns:
        columns[0].pop("nullable", None)
    event_id = {"name": "event_id", "type": "bigint"}
    what = "is keyed by its time alone, so that rows of one subtable in one instant overwrite each other"
    taken = "by time and event_id; where the newer row is to replace the other: key [%s], on_conflict newest"
    if not source.is_supertable:
        draft.decide(Matter.DOES_NOT_FIT, "", "is a plain table of TDengine", "a supertable with its tags")
    draft.decide(Matter.UNSAFE, "", what, taken % (columns[0]["name"] if columns else "ts"))
    draft.entry |= {
        "columns": [*columns[:1], event_id, *columns[1:]], "key": [columns[0]["name"] if columns else "ts", "event_id"],
        "on_conflict": "ignore", "supertable": {"tags": tags},
    }  # fmt: skip
    for index in source.indexes:
        draft.decide(Matter.NOT_TAKEN, "", f"has an index on {', '.join(index.columns)}; TDengine has none", "left out")


def _relation(draft: Draft, columns: list[dict[str, Any]]) -> None:
    source = draft.source
    by_name = {column["name"]: column for column in columns}
    key, others = _key(draft, set(by_name))
    time_column = source.time_column if source.is_hypertable else ""
    if source.is_hypertable and by_name.get(time_column, {}).get("type") not in _CHUNKS:
        draft.decide(Matter.CONTRADICTS, "", f"is a hypertable by {time_column or 'no column'}", "a plain table")
        time_column = ""
    if time_column and time_column not in key:
        if key != ["event_id"]:
            what = f"has the key {', '.join(key)} without {time_column}, by which a hypertable is cut"
            draft.decide(Matter.CONTRADICTS, "", what, f"the key is {', '.join([*key, time_column])}")
        key = [*key, time_column]
    for name in key:
        if name in by_name and by_name[name].pop("nullable", None):
            draft.decide(Matter.CONTRADICTS, name, "is part of the key and may be missing", "it may not")
    for unique in others:
        what = f"is unique by {', '.join(unique)} too, which nothing enforces beside the key"
        draft.decide(Matter.NOT_TAKEN, "", what, "an index")
    plain = dict.fromkeys([*(index.columns for index in source.indexes if not index.unique), *others])
    indexes = [list(one) for one in plain if set(one) <= set(by_name) and list(one) != key]
    draft.entry |= {
        "columns": [{"name": "event_id", "type": "bigint"}, *columns], "key": key,
        "on_conflict": "ignore" if "event_id" in key else "newest",
        **({"hypertable": {"time_column": time_column, "chunk_interval": _CHUNKS[by_name[time_column]["type"]]}}
           if time_column else {}),
        **({"indexes": [{"columns": one} for one in indexes]} if indexes else {}),
    }  # fmt: skip
    defaults = [column.name for column in source.columns if column.has_default and column.name in by_name]
    if defaults:
        what = f"has defaults for {', '.join(defaults)}, which no replayed row would have alike"
        draft.decide(Matter.NOT_TAKEN, "", what, "whoever saves gives the value")


def _key(draft: Draft, usable: set[str]) -> tuple[list[str], list[tuple[str, ...]]]:
    """The natural key, and what else is unique."""
    candidates = [one for one in _unique(draft.source) if set(one) <= usable]
    if not candidates:
        what = "has no natural key: a row that is written twice would be there twice"
        draft.decide(Matter.UNSAFE, "", what, "keyed by event_id, append only")
        return ["event_id"], []
    return list(candidates[0]), list(dict.fromkeys(candidates[1:]))


def _unique(source: ForeignTable) -> Iterator[tuple[str, ...]]:
    """Sets of columns that tell rows apart, the primary key first."""
    seen = set()
    primary = tuple(column.name for column in source.columns if column.primary)
    for one in (
        primary, *(index.columns for index in source.indexes if index.unique),
        *((column.name,) for column in source.columns if column.unique),
    ):  # fmt: skip
        if one and one not in seen:
            seen.add(one)
            yield one
