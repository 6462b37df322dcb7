"""The SQL that compares a copy with its live table by key, in one snapshot of the live one.

Two rounds. First both servers hash their rows into buckets (a day and a part of it for hypertables, a part of the keys
for others), and only some thousand numbers travel. Then the keys and hashes of the buckets that differ are fetched and
joined with the live rows. Equal tables cost two scans, and a deleted row costs its bucket.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

from runbooks.table_copy import meetings
from runbooks.table_copy.counts import Mode
from runbooks.table_copy.meetings import Asked
from runbooks.table_copy.names import listed, literal, qualified, quoted
from runbooks.table_copy.pair import DAY_BITS, Pair, bucket, days, filtered, match, not_chosen, row_hash
from runbooks.table_copy.shape import EVENT_ID, Shape
from runbooks.table_copy.source import Source, own_triggers_off, plain_settings

MAX_BUCKETS = 4000  # of more that differ all in their days are fetched: a command line has its length
# Rows may be there twice, so that no XOR tells, and a plain sum forgets which values stood in one row: the hash of a
# record is a sum over its columns.
WITHOUT_KEY = "(sum((hash # (hash >> 29))::numeric) % 9223372036854775783)::bigint"
SETTINGS = "SET work_mem = '64MB';\nSET statement_timeout = 0;\nSET lock_timeout = '30s';\n"


def digest(pair: Pair, rows: str) -> str:
    values = f"{bucket(pair)} AS bucket, {row_hash(pair)} AS hash"
    hashed = f"SELECT {values} FROM {rows}{filtered(pair.where)}"
    # Two rows that are the same cancel each other out, and only a key says that there are none.
    folded = "bit_xor(hash)" if pair.key else WITHOUT_KEY
    return f"SELECT bucket, count(*) AS n, {folded} AS hash FROM ({hashed}) h GROUP BY bucket"


def script(pairs: Iterable[Pair], source: Source, mode: Mode | None = None) -> str:
    """Prints a line of JSON for each pair, in their order; reads only, but for temporary tables.

    `mode` is what would be done, None when it was: what it would meet is not asked for then.
    """
    body = [_one(nr, pair, source, mode) for nr, pair in enumerate(pairs)]
    begin = f"BEGIN ISOLATION LEVEL REPEATABLE READ;\n{own_triggers_off()}"
    return plain_settings() + SETTINGS + begin + "".join(body) + "ROLLBACK;\n"


def _one(nr: int, pair: Pair, source: Source, mode: Mode | None) -> str:
    # Nothing to compare with: a count will do.
    number = f"SELECT 0::bigint, count(*), 0::bigint FROM {pair.origin}{filtered(pair.where)}"
    query = digest(pair, pair.origin) if pair.live else number
    copied = (
        f"CREATE TEMP TABLE copied_{nr} (bucket bigint, n bigint, hash bigint);\n"
        + source.fetch(f"copied_{nr}", query)
    )
    if pair.live is None:
        return copied + _values(nr, pair, source) + _told_of_new(nr, pair)
    if not pair.key:
        return copied + _buckets(nr, pair, pair.live) + _told_by_buckets(nr, pair)
    asked = Asked.of(pair, pair.live, mode)
    return (
        copied + _buckets(nr, pair, pair.live) + _rows(nr, pair, pair.live, asked, source)
        + meetings.looked_for(nr, pair, pair.live, asked) + _told(nr, pair, pair.live, asked)
    )  # fmt: skip


def _buckets(nr: int, pair: Pair, live: Shape) -> str:
    """Which buckets differ; psql keeps their list in variables, as it becomes part of the next command."""
    whole = f"count(*) > {MAX_BUCKETS}"
    return (
        f"CREATE TEMP TABLE buckets_{nr} AS SELECT bucket, c.n AS copied, l.n AS live, "
        "(c.n, c.hash) IS DISTINCT FROM (l.n, l.hash) AS off "
        f"FROM copied_{nr} c FULL JOIN ({digest(pair, f'{live.rows} AS t')}) l USING (bucket);\n"
        f"SELECT {whole} AS all_{nr}, "
        f"CASE WHEN {whole} THEN 'NULL' ELSE coalesce(string_agg(bucket::text, ','), 'NULL') END AS list_{nr}, "
        f"coalesce(min(bucket) >> {DAY_BITS}, 0) AS first_{nr}, coalesce(max(bucket) >> {DAY_BITS}, 0) AS last_{nr} "
        f"FROM buckets_{nr} WHERE off \\gset\n"
    )


def _rows(nr: int, pair: Pair, live: Shape, asked: Asked, source: Source) -> str:
    """What is asked of the copy's rows in those buckets, and their hash; then what differs from the live."""
    numbers = range(len(asked.expressions))
    inside = f"SELECT {asked.selected}, {bucket(pair)} AS bucket, {row_hash(pair)} AS hash"

    def query(first: str, last: str, every: str, some: str) -> str:
        return (
            f"SELECT {listed(f'v:{i}' for i in numbers)}, hash FROM ({inside} FROM {pair.origin}"
            f"{filtered(pair.where, days(pair, first, last))}) h WHERE {every} OR bucket IN ({some})"
        )

    names = ("first", "last", "all", "list")
    plain = query("", "", "", "")
    mark = next(f"@{i}" for i in count() if f"@{i}" not in plain)  # whatever is in somebody's names
    asked_for = literal(query(*(f"{mark}{name}@" for name in names)))
    for name in names:
        shown = f"CASE WHEN :'all_{nr}' = 't' THEN 'true' ELSE 'false' END" if name == "all" else f":'{name}_{nr}'"
        asked_for = f"replace({asked_for}, '{mark}{name}@', {shown})"
    lives = (
        f"SELECT * FROM ({inside}, t.xmin FROM {live.rows} AS t"
        f"{filtered(pair.where, days(pair, f':first_{nr}', f':last_{nr}'))}) h "
        f"WHERE :'all_{nr}' OR bucket IN (:list_{nr})"
    )
    event = asked.at(f"t.{quoted(EVENT_ID)}") if pair.versioned else 0
    newer = [f'l."v:{event}" > c."v:{event}"'] if pair.versioned else []
    newer += [f"age(l.xmin) < age('{pair.since_xid}'::xid)"] if pair.since_xid else []
    both = ", ".join(f'c."v:{i}" AS "c:{i}", l."v:{i}" AS "l:{i}"' for i in numbers)
    keys = asked.columns(pair.key, "v")
    return (
        f"CREATE TEMP TABLE rows_{nr} AS SELECT {asked.selected}, 0::bigint AS hash FROM {live.rows} AS t "
        "WITH NO DATA;\n"
        + source.fetch_said(f"rows_{nr}", asked_for, pair.format)
        + f"ANALYZE rows_{nr};\n"
        f"CREATE TEMP TABLE off_{nr} AS SELECT {both}, l.hash IS NULL AS missing, c.hash IS NULL AS only_live, "
        "false AS elsewhere, "
        f"coalesce({' OR '.join(newer) or 'false'}, false) AS superseded "
        f"FROM rows_{nr} c FULL JOIN ({lives}) l ON {match('c', keys, 'l', keys)} "
        "WHERE c.hash IS DISTINCT FROM l.hash;\n"
        + (_outside(nr, pair, live, asked, newer) + _elsewhere(nr, pair, live, asked, source) if pair.where else "")
    )


def _outside(nr: int, pair: Pair, live: Shape, asked: Asked, newer: list[str]) -> str:
    """A row that the condition chose of the copy, and not of the live table, is there all the same."""
    taken = ", ".join(f'"l:{i}" = l."v:{i}"' for i in range(len(asked.expressions)))
    later = " OR ".join(newer).replace('c."v:', 'o."c:') or "false"
    return (
        f"UPDATE off_{nr} o SET missing = false, superseded = coalesce({later}, false), {taken} "
        f"FROM (SELECT {asked.selected}, t.xmin FROM {live.rows} AS t) l "
        f"WHERE o.missing AND {match('o', asked.columns(pair.key, 'c'), 'l', asked.columns(pair.key, 'v'))};\n"
    )


def _elsewhere(nr: int, pair: Pair, live: Shape, asked: Asked, source: Source) -> str:
    """And one that it chose of the live table may be in the copy, where it did not meet the condition yet."""
    found = match("o", asked.columns(pair.key, "l"), "e", pair.key)
    return (
        f"SELECT count(*) > 0 AS alone_{nr} FROM off_{nr} WHERE only_live \\gset\n\\if :alone_{nr}\n"
        + not_chosen(nr, pair, live, source)
        + f"UPDATE off_{nr} o SET elsewhere = true FROM elsewhere_{nr} e WHERE o.only_live AND {found};\n\\endif\n"
    )


def _told_by_buckets(nr: int, pair: Pair) -> str:
    """Without a key nobody knows which row it is: those of a bucket that differs count as missing."""
    return (
        f"SELECT json_build_object('table', {literal(pair.copy.name)}, 'restored', coalesce(sum(copied), 0), "
        "'live', coalesce(sum(live), 0), 'missing', coalesce(sum(copied) FILTER (WHERE off), 0), "
        f"'only_live', coalesce(sum(live) FILTER (WHERE off), 0)) FROM buckets_{nr};\n"
    )


def _told(nr: int, pair: Pair, live: Shape, asked: Asked) -> str:
    total = f"FROM buckets_{nr})"
    differ = "NOT missing AND NOT only_live"
    return (
        f"SELECT json_build_object('table', {literal(pair.copy.name)}, "
        f"'restored', (SELECT coalesce(sum(copied), 0) {total}, 'live', (SELECT coalesce(sum(live), 0) {total}, "
        f"'buckets', (SELECT CASE WHEN :'all_{nr}' THEN NULL ELSE "
        f"coalesce(json_agg(bucket ORDER BY bucket) FILTER (WHERE off), '[]') END {total}, "
        "'missing', count(*) FILTER (WHERE missing), 'only_live', count(*) FILTER (WHERE only_live "
        "AND NOT elsewhere), 'elsewhere', count(*) FILTER (WHERE elsewhere), "
        f"'differing', count(*) FILTER (WHERE {differ}), "
        f"'superseded', count(*) FILTER (WHERE {differ} AND superseded), "
        f"'orphans', {meetings.orphans(nr, pair, asked)}, 'bereaved', {meetings.bereaved(nr, pair, asked)}, "
        f"'collisions', {meetings.collisions(nr, pair, live, asked)}, 'unmet', {meetings.unmet(nr, pair, asked)}) "
        f"FROM off_{nr};\n"
    )


def _values(nr: int, pair: Pair, source: Source) -> str:
    """The distinct parents that the rows of a table that is not live refer to."""
    found = []
    for at, fk in enumerate(pair.parents):
        query = f"SELECT DISTINCT {listed(fk.columns)} FROM {pair.origin}{filtered(pair.where, fk.missing('t'))}"
        found.append(
            f"CREATE TEMP TABLE values_{nr}_{at} AS SELECT {listed(fk.parent_columns)} FROM {qualified(fk.parent)} "
            "WITH NO DATA;\n"
            + source.fetch(f"values_{nr}_{at}", query, pair.format)
        )
    return "".join(found)


def _told_of_new(nr: int, pair: Pair) -> str:
    counts = []
    for at, fk in enumerate(pair.parents):
        found = match("p", fk.parent_columns, "o", fk.parent_columns)
        missing = f"NOT EXISTS (SELECT FROM {fk.parents} p WHERE {found})"
        counts += [literal(fk.name), f"(SELECT count(*) FROM values_{nr}_{at} o WHERE {missing})"]
    return (
        f"SELECT json_build_object('table', {literal(pair.copy.name)}, 'restored', coalesce(sum(n), 0), "
        f"'missing', coalesce(sum(n), 0), 'orphans', json_build_object({', '.join(counts)})) FROM copied_{nr};\n"
    )
