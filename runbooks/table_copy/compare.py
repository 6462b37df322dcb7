"""The SQL that compares a copy with its live table by key, in one snapshot of the live one.

Two rounds. First both servers hash their rows into buckets (a day and a part of it for hypertables, a part of the keys
for others), and only some thousand numbers travel. Then the keys and hashes of the buckets that differ are fetched and
joined with the live rows. Equal tables cost two scans, and a deleted row costs its bucket.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runbooks.table_copy.shape import EVENT_ID, ForeignKey, Shape, listed, literal, public, quoted
from runbooks.table_copy.source import Source, plain_settings

EPOCH = "date '2000-01-01'"
PARTS, DAY_BITS = 1024, 6  # buckets of a plain table; bits of those of each day of a hypertable
DAY_PARTS = 1 << DAY_BITS
MAX_BUCKETS = 4000  # of more that differ all in their days are fetched: a command line has its length
SETTINGS = "SET work_mem = '64MB';\nSET statement_timeout = 0;\nSET lock_timeout = '30s';\n"


@dataclass(frozen=True)
class Pair:
    """A table of the copy and the live one to compare it with, which may have another name, or not be there.

    `parents` and `children` are the foreign keys to check: those whose other table is not restored in the same run.
    """

    copy: Shape
    live: Shape | None
    where: str = ""
    parents: tuple[ForeignKey, ...] = ()
    children: tuple[ForeignKey, ...] = ()
    since_xid: int | None = None  # live rows written by a later transaction supersede the copy's

    @property
    def columns(self) -> tuple[str, ...]:
        """What both have, in the copy's order."""
        there = {column.name for column in self.live.columns} if self.live else None
        return tuple(c.name for c in self.copy.copied if there is None or c.name in there)

    @property
    def key(self) -> tuple[str, ...]:
        return (self.live or self.copy).key

    @property
    def versioned(self) -> bool:
        return EVENT_ID in self.columns


def row_hash(pair: Pair, alias: str = "t") -> str:
    return _hash(pair, pair.columns, alias)


def bucket(pair: Pair, alias: str = "t") -> str:
    """An integer; days since 2000 times DAY_PARTS, plus a part, for a table that is ordered by time."""
    part = _hash(pair, pair.key, alias)
    if not pair.copy.time_column:
        return f"({part} & {PARTS - 1})"
    day = f"({alias}.{quoted(pair.copy.time_column)}::date - {EPOCH})::bigint"
    return f"({day} * {DAY_PARTS} + ({part} & {DAY_PARTS - 1}))"


def _hash(pair: Pair, names: Iterable[str], alias: str) -> str:
    shown = [f"{alias}.{column.hashed}" for name in names if (column := pair.copy.column(name))]
    return f"hash_record_extended(ROW({', '.join(shown)}), 0)"


def filtered(*conditions: str) -> str:
    """WHERE and its conditions, empty without any."""
    given = [f"({condition})" for condition in conditions if condition]
    return f" WHERE {' AND '.join(given)}" if given else ""


def digest(pair: Pair, table: str) -> str:
    values = f"{bucket(pair)} AS bucket, {row_hash(pair)} AS hash"
    hashed = f"SELECT {values} FROM {public(table)} AS t{filtered(pair.where)}"
    return f"SELECT bucket, count(*) AS n, bit_xor(hash) AS hash FROM ({hashed}) h GROUP BY bucket"


def days(pair: Pair, first: str, last: str) -> str:
    """The days that buckets span, as a condition that keeps other chunks from being read."""
    if not pair.copy.time_column:
        return ""
    column = f"t.{quoted(pair.copy.time_column)}"
    return f"{column} >= {EPOCH} + {first} AND {column} < {EPOCH} + {last} + 1"


def script(pairs: Iterable[Pair], source: Source) -> str:
    """Prints a line of JSON for each pair, in their order; reads only, but for temporary tables."""
    body = [_one(nr, pair, source) for nr, pair in enumerate(pairs)]
    begin = "BEGIN ISOLATION LEVEL REPEATABLE READ;\n"
    return plain_settings() + SETTINGS + begin + "".join(body) + "ROLLBACK;\n"


def _one(nr: int, pair: Pair, source: Source) -> str:
    # Nothing to compare with: a count will do.
    count = f"SELECT 0::bigint, count(*), 0::bigint FROM {public(pair.copy.name)} AS t{filtered(pair.where)}"
    query = digest(pair, pair.copy.name) if pair.live else count
    copied = (
        f"CREATE TEMP TABLE copied_{nr} (bucket bigint, n bigint, hash bigint);\n"
        f"COPY copied_{nr} FROM PROGRAM {source.program(query)} (FORMAT binary);\n"
    )
    if pair.live is None:
        return copied + _values(nr, pair, source) + _told_of_new(nr, pair)
    return copied + _buckets(nr, pair, pair.live) + _rows(nr, pair, pair.live, source) + _told(nr, pair)


def _buckets(nr: int, pair: Pair, live: Shape) -> str:
    """Which buckets differ; psql keeps their list in variables, as it becomes part of the next command."""
    whole = f"count(*) > {MAX_BUCKETS}"
    return (
        f"CREATE TEMP TABLE buckets_{nr} AS SELECT bucket, c.n AS copied, l.n AS live, "
        "(c.n, c.hash) IS DISTINCT FROM (l.n, l.hash) AS off "
        f"FROM copied_{nr} c FULL JOIN ({digest(pair, live.name)}) l USING (bucket);\n"
        f"SELECT {whole} AS all_{nr}, "
        f"CASE WHEN {whole} THEN 'NULL' ELSE coalesce(string_agg(bucket::text, ','), 'NULL') END AS list_{nr}, "
        f"coalesce(min(bucket) >> {DAY_BITS}, 0) AS first_{nr}, coalesce(max(bucket) >> {DAY_BITS}, 0) AS last_{nr} "
        f"FROM buckets_{nr} WHERE off \\gset\n"
    )


def _rows(nr: int, pair: Pair, live: Shape, source: Source) -> str:
    """Key, event id, foreign keys and hash of the copy's rows in those buckets; then what differs from the live."""
    names = dict.fromkeys([*pair.key, *([EVENT_ID] if pair.versioned else []), *_referring(pair)])
    inside = f"SELECT {listed(names, 't.')}, {bucket(pair)} AS bucket, {row_hash(pair)} AS hash"
    template = source.command(
        f"SELECT {listed(names)}, hash FROM ({inside} FROM {public(pair.copy.name)} AS t"
        f"{filtered(pair.where, days(pair, '@FIRST@', '@LAST@'))}) h WHERE @ALL@ OR bucket IN (@LIST@)"
    )
    program = literal(template)
    for name in ("first", "last", "all", "list"):
        shown = f"CASE WHEN :'all_{nr}' = 't' THEN 'true' ELSE 'false' END" if name == "all" else f":'{name}_{nr}'"
        program = f"replace({program}, '@{name.upper()}@', {shown})"
    lives = (
        f"SELECT * FROM ({inside}, t.xmin FROM {public(live.name)} AS t"
        f"{filtered(pair.where, days(pair, f':first_{nr}', f':last_{nr}'))}) h "
        f"WHERE :'all_{nr}' OR bucket IN (:list_{nr})"
    )
    newer = ["l.event_id > c.event_id"] if pair.versioned else []
    newer += [f"age(l.xmin) < age('{pair.since_xid}'::xid)"] if pair.since_xid else []
    keys = _match("l", pair.key, "c", pair.key)
    both = ", ".join(f"coalesce(c.{quoted(name)}, l.{quoted(name)}) AS {quoted(name)}" for name in names)
    return (
        f"CREATE TEMP TABLE rows_{nr} AS SELECT {listed(names)}, 0::bigint AS hash FROM {public(live.name)} "
        "WITH NO DATA;\n"
        f"SELECT {program} AS program_{nr} \\gset\n"
        f"COPY rows_{nr} FROM PROGRAM :'program_{nr}' (FORMAT binary);\n"
        f"ANALYZE rows_{nr};\n"
        f"CREATE TEMP TABLE off_{nr} AS SELECT {both}, l.hash IS NULL AS missing, c.hash IS NULL AS only_live, "
        f"coalesce({' OR '.join(newer) or 'false'}, false) AS superseded "
        f"FROM rows_{nr} c FULL JOIN ({lives}) l ON {keys} WHERE c.hash IS DISTINCT FROM l.hash;\n"
    )


def _told(nr: int, pair: Pair) -> str:
    total = f"FROM buckets_{nr})"
    differ = "NOT missing AND NOT only_live"
    return (
        f"SELECT json_build_object('table', {literal(pair.copy.name)}, "
        f"'restored', (SELECT coalesce(sum(copied), 0) {total}, 'live', (SELECT coalesce(sum(live), 0) {total}, "
        f"'buckets', (SELECT CASE WHEN :'all_{nr}' THEN NULL ELSE "
        f"coalesce(json_agg(bucket ORDER BY bucket) FILTER (WHERE off), '[]') END {total}, "
        "'missing', count(*) FILTER (WHERE missing), 'only_live', count(*) FILTER (WHERE only_live), "
        f"'differing', count(*) FILTER (WHERE {differ}), "
        f"'superseded', count(*) FILTER (WHERE {differ} AND superseded), "
        f"'orphans', {_orphans(nr, pair)}, 'bereaved', {_bereaved(nr, pair)}) FROM off_{nr};\n"
    )


def _orphans(nr: int, pair: Pair) -> str:
    """For each foreign key the rows to be restored whose parent is not live."""
    counts = []
    for fk in pair.parents:
        match = _match("p", fk.parent_columns, "o", fk.columns)
        given = " AND ".join(f"o.{quoted(name)} IS NOT NULL" for name in fk.columns)
        counts += [
            literal(fk.name),
            f"(SELECT count(*) FROM off_{nr} o WHERE NOT o.only_live AND {given} "
            f"AND NOT EXISTS (SELECT FROM {public(fk.parent)} p WHERE {match}))",
        ]
    return f"json_build_object({', '.join(counts)})"


def _bereaved(nr: int, pair: Pair) -> str:
    """For each foreign key that refers to this table the rows that would lose their parent in a replacement."""
    counts = []
    for fk in pair.children:
        if not set(fk.parent_columns) <= set(pair.key):
            continue  # the server refuses by itself, in its own words
        match = _match("o", fk.parent_columns, "k", fk.columns)
        counts += [
            literal(fk.name),
            f"(SELECT count(*) FROM off_{nr} o JOIN {public(fk.child)} k ON {match} WHERE o.only_live)",
        ]
    return f"json_build_object({', '.join(counts)})"


def _values(nr: int, pair: Pair, source: Source) -> str:
    """The distinct parents that the rows of a table that is not live refer to."""
    found = []
    for at, fk in enumerate(pair.parents):
        given = " AND ".join(f"{quoted(name)} IS NOT NULL" for name in fk.columns)
        query = f"SELECT DISTINCT {listed(fk.columns)} FROM {public(pair.copy.name)} AS t{filtered(pair.where, given)}"
        found.append(
            f"CREATE TEMP TABLE values_{nr}_{at} AS SELECT {listed(fk.parent_columns)} FROM {public(fk.parent)} "
            "WITH NO DATA;\n"
            f"COPY values_{nr}_{at} FROM PROGRAM {source.program(query)} (FORMAT binary);\n"
        )
    return "".join(found)


def _told_of_new(nr: int, pair: Pair) -> str:
    counts = []
    for at, fk in enumerate(pair.parents):
        match = _match("p", fk.parent_columns, "o", fk.parent_columns)
        missing = f"NOT EXISTS (SELECT FROM {public(fk.parent)} p WHERE {match})"
        counts += [literal(fk.name), f"(SELECT count(*) FROM values_{nr}_{at} o WHERE {missing})"]
    return (
        f"SELECT json_build_object('table', {literal(pair.copy.name)}, 'restored', coalesce(sum(n), 0), "
        f"'missing', coalesce(sum(n), 0), 'orphans', json_build_object({', '.join(counts)})) FROM copied_{nr};\n"
    )


def _match(one: str, columns: Iterable[str], other: str, others: Iterable[str]) -> str:
    return " AND ".join(f"{one}.{quoted(a)} = {other}.{quoted(b)}" for a, b in zip(columns, others, strict=True))


def _referring(pair: Pair) -> tuple[str, ...]:
    return tuple(name for fk in pair.parents for name in fk.columns if name in pair.columns)
