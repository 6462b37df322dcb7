"""The SQL that brings a copy's rows into the live database: one transaction for all tables of a run, or nothing.

Rows are written as a subscriber writes them (session_replication_role): what they hold has been decided once, so no
trigger and no rule has a say in it, and no foreign key sends a change on. That every child has its parent is proved
here instead, before the commit. The caller opens the transaction and commits it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runbooks.table_copy.counts import REPLACED, RESTORED, chosen_live
from runbooks.table_copy.names import beside as named_beside
from runbooks.table_copy.names import listed, literal, qualified, quoted
from runbooks.table_copy.pair import DAY_BITS, Pair, bucket, days, filtered, match, not_chosen, row_hash, rows
from runbooks.table_copy.shape import ForeignKey, Numbers, Shape, whole_numbers
from runbooks.table_copy.source import Source, own_triggers_off, own_triggers_on, plain_settings

SESSION = "mystocks-dr restore-table"
# Writers wait for our locks at most as long as for any other; we wait for them no longer than that either.
_SETTINGS = (
    f"SET application_name = {literal(SESSION)};\n"
    "SET statement_timeout = 0;\nSET idle_in_transaction_session_timeout = 0;\nSET lock_timeout = '30s';\n"
    "SET work_mem = '64MB';\nSET maintenance_work_mem = '256MB';\n"
    # Building indexes writes whole pages of WAL, and a third of its time goes into pglz; not every build has lz4.
    "SELECT set_config(name, CASE WHEN 'lz4' = ANY (enumvals) THEN 'lz4' ELSE setting END, false) AS compression "
    "FROM pg_settings WHERE name = 'wal_compression' \\gset\n"
)
# What pg_dump sets for its own statements and a session goes on with.
_AS_BEFORE = "".join(
    f"SET {name} = DEFAULT;\n"
    for name in ("default_tablespace", "default_table_access_method", "check_function_bodies")
)
AS_WRITTEN = "SET LOCAL session_replication_role = replica;\n"
AS_EVER = "SET LOCAL session_replication_role = origin;\n"
# TimescaleDB refuses ALTER TABLE for a hypertable's triggers, or hands it on to every chunk, unless it is restored.
_RESTORING, _RESTORED = "SET LOCAL timescaledb.restoring = on;\n", "SET LOCAL timescaledb.restoring = off;\n"
_UNITS = {"O": "ENABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}


def settings() -> str:
    """What the session needs; repeated after pg_dump's statements, which set their own."""
    return plain_settings() + _AS_BEFORE + _SETTINGS


def opening() -> str:
    """Each statement sees what was committed before it, whatever production's default is: rows are read before a lock
    is taken, and looked at again behind it.
    """
    begin = "BEGIN ISOLATION LEVEL READ COMMITTED;\nSELECT 'xid ' || pg_current_xact_id();\n"
    return f"{settings()}{begin}{own_triggers_off()}"


def closing(mark: str) -> str:
    """The mark becomes visible with the rows, or not at all: it tells a resumed run that the commit took place."""
    mark_it = f"INSERT INTO public.dr_probe (run) VALUES ({literal(mark)});\n"
    return f"{mark_it}SET CONSTRAINTS ALL IMMEDIATE;\n{own_triggers_on()}"


def made(pair: Pair, source: Source) -> str:
    """Fill a table that was just made, straight from the copy; what hangs on its rows is built afterwards."""
    query = f"SELECT {listed(pair.columns, 't.')} FROM {pair.origin}{filtered(pair.where)}"
    into = f"{qualified(pair.copy.name)} ({listed(pair.columns)})"
    return source.fetch(into, query, pair.format) + _told(pair, "inserted")


def beside_table(pair: Pair) -> str:
    """A plain table of the copy's columns next to the live one; no policy ever touches it."""
    types = {one.name: one.type for one in pair.fit.columns if one.type} if pair.fit else {}
    columns = [
        f"{quoted(c.name)} {types.get(c.name, c.type)}{'' if c.nullable else ' NOT NULL'}" for c in pair.copy.columns
    ]
    return f"CREATE TABLE {qualified(named_beside(pair.copy.name, RESTORED))} ({', '.join(columns)})"


def beside(pair: Pair, readers: Sequence[str], source: Source) -> str:
    """That table with its rows, computed columns as the copy has them."""
    alone = pair.alone
    name, names = named_beside(pair.copy.name, RESTORED), [column.name for column in pair.copy.columns]
    query = f"SELECT {listed(names, 't.')} FROM {alone.origin}{filtered(pair.where)}"
    fetch = source.fetch(f"{qualified(name)} ({listed(names)})", query, alone.format)
    return (
        f"{beside_table(alone)};\n" + fetch + _told(pair, "inserted")
        + (f"ALTER TABLE {qualified(name)} ADD PRIMARY KEY ({listed(pair.copy.key)});\n" if pair.copy.key else "")
        + _readable(name, pair.copy.name, readers)
    )  # fmt: skip


def merge(nr: int, pair: Pair, buckets: tuple[int, ...] | None, source: Source) -> str:
    """Insert the rows whose keys are not live. A row that is live stays as it is, older or newer."""
    text = _staged(nr, pair, buckets, source)
    quiet = pair.live is not None and pair.live.waits
    if quiet:
        text += lock([pair])
    off, on = _hooks(pair)
    return text + off + AS_WRITTEN + _insert(nr, pair, "" if quiet else _unless_there(pair)) + AS_EVER + on


def lock(pairs: Iterable[Pair]) -> str:
    """Writers wait from here to the commit, readers do not."""
    names = ", ".join(pair.live.rows if pair.live else qualified(pair.copy.name) for pair in pairs)
    return f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE;\n"


def lock_children(pairs: Iterable[Pair]) -> str:
    """Whoever writes a row that refers to these tables waits as well: its parent may go and come back meanwhile."""
    pairs = tuple(pairs)
    own = {pair.copy.name for pair in pairs}
    names = {fk.child for pair in pairs if pair.live for fk in pair.live.referred_by} - own
    listing = ", ".join(map(qualified, sorted(names)))
    return f"LOCK TABLE {listing} IN SHARE MODE;\n" if names else ""


def keep(nr: int, pair: Pair, readers: Sequence[str]) -> str:
    """The old content as a plain table, made while nobody can write to it and what replaces it is staged."""
    assert pair.live is not None
    name = named_beside(pair.copy.name, REPLACED)
    # A row that meets the condition in the copy alone is overwritten as well.
    chosen = f"({pair.where}) OR EXISTS (SELECT FROM stage_{nr} s WHERE {_same('s', 't', pair)})" if pair.where else ""
    return (
        f"CREATE TABLE {qualified(name)} AS SELECT * FROM {pair.live.rows} AS t{filtered(chosen)};\n"
        f"ALTER TABLE {qualified(name)} ADD PRIMARY KEY ({listed(pair.key)});\n"
        + _readable(name, pair.copy.name, readers)
    )


def stage(nr: int, pair: Pair, source: Source) -> str:
    return _staged(nr, pair, None, source)


def chosen(nr: int, pair: Pair, source: Source) -> str:
    """Ends here where the condition chooses live rows whose own rows in the copy it leaves out."""
    assert pair.live is not None
    if not pair.where:
        return ""
    absent = f"NOT EXISTS (SELECT FROM stage_{nr} s WHERE {_same('s', 't', pair)})"
    alone = f"FROM {pair.live.rows} AS t{filtered(pair.where, absent)}"
    there = f"EXISTS (SELECT FROM elsewhere_{nr} e WHERE {_same('e', 't', pair)})"
    return (
        f"SELECT count(*) > 0 AS alone_{nr} {alone} \\gset\n\\if :alone_{nr}\n"
        + not_chosen(nr, pair, pair.live, source)
        + _none(f"SELECT count(*) {alone} AND {there}", chosen_live(pair.live.name))
        + "\\endif\n"
    )


def remove(nr: int, pair: Pair) -> str:
    """Take out the rows that the copy does not have, and those that differ.

    Rows that differ are written again rather than changed: values that must be unique may have changed places.
    """
    assert pair.live is not None
    names = _gone(pair)
    columns = listed(names, "t.")
    live, took = pair.live.rows, f"INSERT INTO gone_{nr} SELECT * FROM d"
    absent = f"NOT EXISTS (SELECT FROM stage_{nr} s WHERE {_same('s', 't', pair)})"
    differs = f"{row_hash(pair)} <> {row_hash(pair, 's')}"
    spoilt = f"DELETE FROM {live} AS t USING stage_{nr} s WHERE {_same('s', 't', pair)} AND {differs}"
    return (
        f'CREATE TEMP TABLE gone_{nr} ON COMMIT DROP AS SELECT {columns}, false AS "dr:again" FROM {live} AS t '
        "WITH NO DATA;\n"
        + _counted(pair, "deleted", f"WITH d AS (DELETE FROM {live} AS t{filtered(pair.where, absent)} "
                   f"RETURNING {columns}, false) {took}")
        + f"WITH d AS ({spoilt} RETURNING {columns}, true) {took};\nANALYZE gone_{nr};\n"
    )  # fmt: skip


def replace(nr: int, pair: Pair) -> str:
    """Insert what was taken out to be written again, with what the copy does not know of it; then what was missing."""
    assert pair.live is not None
    names = (*pair.columns, *pair.added)
    again = (
        f"INSERT INTO {qualified(pair.live.name)} ({listed(names)}) OVERRIDING SYSTEM VALUE "
        f"SELECT {', '.join([listed(pair.columns, 's.'), *(f'g.{quoted(name)}' for name in pair.added)])} "
        f"FROM stage_{nr} s JOIN gone_{nr} g ON {_same('s', 'g', pair)} WHERE g.\"dr:again\""
    )
    return _written_table(nr, pair) + _counted(pair, "updated", _noted(nr, pair, again)) + _insert_rows(nr, pair, "")


def hooks(pairs: Iterable[Pair]) -> tuple[str, str]:
    found = [_hooks(pair) for pair in pairs]
    return "".join(off for off, _ in found), "".join(on for _, on in found)


def _hooks(pair: Pair) -> tuple[str, str]:
    """Statements that stop the triggers and rules that fire for a subscriber, too, and those that undo it."""
    assert pair.live is not None
    off, on = [], []
    # Each by itself: what a partition has set otherwise than its table stays so.
    only = "ONLY " if pair.live.partitioned else ""
    triggers = (*pair.live.triggers, *pair.live.chunk_triggers)
    for kind, found in (("TRIGGER", triggers), ("RULE", pair.live.rules)):
        for hook in found:
            if hook.enabled != "O":
                table = f"{only}{qualified(hook.table or pair.live.name)}"
                off.append(f"ALTER TABLE {table} DISABLE {kind} {quoted(hook.name)};\n")
                on.append(f"ALTER TABLE {table} {_UNITS[hook.enabled]} {kind} {quoted(hook.name)};\n")
    if pair.live.hypertable and off:
        off, on = ([_RESTORING, *lines, _RESTORED] for lines in (off, on))
    return "".join(off), "".join(on)


def proved(nr: int, pair: Pair, every: Sequence[Pair]) -> str:
    """Every row written has its parents, and no child has lost one: else the transaction ends here."""
    assert pair.live is not None
    text = ""
    own = {one.copy.name for one in every}
    keys = match("w", pair.key, "t", pair.key)
    for fk in pair.live.foreign_keys:
        if not set(fk.columns) <= set(pair.columns):
            continue
        found = match("p", fk.parent_columns, "t", fk.columns)
        there = f"written_{nr} w JOIN {pair.live.rows} AS t ON {keys}"
        if fk.parent not in own:  # as the server does it: nobody may delete that parent before our commit
            held = f"SELECT 1 FROM {fk.parents} p WHERE EXISTS (SELECT FROM {there} WHERE {found})"
            text += f"SELECT count(*) AS held FROM ({held} FOR KEY SHARE OF p) h \\gset\n"
        text += _none(
            f"SELECT count(*) FROM {there} WHERE {fk.missing('t')} "
            f"AND NOT EXISTS (SELECT FROM {fk.parents} p WHERE {found})",
            f"rows written to {pair.live.name} violate foreign key {fk.name}: "
            f"what they refer to is not present in table {fk.parent}",
        )
    return text


def unique(nr: int, pair: Pair) -> str:
    """What is checked at the commit is not checked for a subscriber: whether a written row meets another one."""
    assert pair.live is not None
    text = ""
    for index in (one for one in pair.live.uniques if one.deferred):
        shown = ", ".join(f'({expression}) AS "e:{i}"' for i, (expression, _) in enumerate(index.elements))
        keys = f"ROW({listed(pair.key, 't.')})::text"
        every = f"SELECT {shown}, {keys} AS of_dr_k FROM {pair.live.rows} AS t{filtered(index.predicate)}"
        ours, theirs = ([f'{side}."e:{i}"' for i in range(len(index.elements))] for side in "ab")
        alike = index.alike(ours, theirs)
        mine = f"SELECT ROW({listed(pair.key, 'w.')})::text FROM written_{nr} w"
        text += _none(
            f"SELECT count(*) FROM ({every}) a JOIN ({every}) b ON {alike} "
            f"WHERE a.of_dr_k <> b.of_dr_k AND a.of_dr_k IN ({mine})",
            f"rows written to {pair.live.name} have the values of another row in {index.name}",
        )
    return text


def still_referred(nr: int, pair: Pair) -> str:
    assert pair.live is not None
    text = ""
    for fk in pair.live.referred_by:
        there = match("p", fk.parent_columns, "k", fk.columns)
        text += _none(
            f"SELECT count(*) FROM {fk.children} k JOIN gone_{nr} g ON "
            f"{match('g', fk.parent_columns, 'k', fk.columns)} "
            f"WHERE NOT EXISTS (SELECT FROM {pair.live.rows} AS p WHERE {there})",
            f"rows of {fk.child} would refer to rows of {pair.live.name} that are no longer there ({fk.name})",
        )
    return text


def _none(count: str, what: str) -> str:
    body = (
        f"#variable_conflict use_column\nDECLARE of_dr bigint; BEGIN {count} INTO of_dr; IF of_dr > 0 THEN "
        f"RAISE EXCEPTION '% %', of_dr, {literal(what)} USING ERRCODE = 'foreign_key_violation'; END IF; END"
    )
    return f"DO {literal(body)};\n"


def referring(keys: Iterable[ForeignKey]) -> str:
    """Foreign keys that went with a dropped table; the server checks every row when it adds one."""
    return "".join(
        f"ALTER TABLE {qualified(fk.child)} ADD CONSTRAINT {quoted(fk.name)} {fk.definition};\n" for fk in keys
    )


def sequences(copied: Shape, live: Shape | None) -> str:
    """No number that the copy or the live table has given out is given out again: sequences only ever go forward."""
    last = {one.name: one.last for one in copied.sequences}
    found = {one.name: one for one in (*copied.sequences, *(live.sequences if live else ()))}
    table = live or copied
    return "".join(_forward(one, last.get(one.name), table) for one in found.values())


def _forward(one: Numbers, last: int | None, table: Shape) -> str:
    name, up = literal(one.name), one.step > 0
    further, least = ("greatest", "least") if up else ("least", "greatest")
    known = [str(last)] if last is not None else []
    if not one.cycles and whole_numbers(table.column(one.column)):
        edge = f"{'max' if up else 'min'}({quoted(one.column)})"
        bound = f"{least}({edge}, {one.high if up else one.low})::bigint"  # which is the bound, where there is no edge
        known.append(f"(SELECT CASE WHEN {edge} IS NOT NULL THEN {bound} END FROM {table.rows} AS t)")
    if not known:
        return ""
    value, used = f"{further}({', '.join(known)})", f"pg_sequence_last_value(to_regclass({name}))"
    # One that has given out nothing begins with its first number, not behind what somebody wrote by hand. Nobody can
    # tell what is ahead of one that goes round: it goes on where it was, if it was made again.
    ahead = f"s.last {'>' if up else '<'} coalesce({used}, {one.start - one.step})"
    return (
        f"SELECT count(setval(to_regclass({name}), s.last)) AS set FROM (SELECT {value} AS last) s "
        f"WHERE to_regclass({name}) IS NOT NULL AND s.last BETWEEN {one.low} AND {one.high} "
        f"AND {f'{used} IS NULL' if one.cycles else ahead} \\gset\n"
    )


def _staged(nr: int, pair: Pair, buckets: tuple[int, ...] | None, source: Source) -> str:
    assert pair.live is not None
    conditions = []
    if buckets is not None:
        conditions = [f"{bucket(pair)} IN ({', '.join(map(str, buckets)) or 'NULL'})"]
        if buckets:
            conditions.append(days(pair, str(min(buckets) >> DAY_BITS), str(max(buckets) >> DAY_BITS)))
    return (
        f"CREATE TEMP TABLE stage_{nr} ON COMMIT DROP AS SELECT {listed(pair.staged)} FROM {pair.live.rows} AS t "
        "WITH NO DATA;\n"
        + source.fetch(f"stage_{nr}", rows(pair, *conditions), pair.format)
        + f"ANALYZE stage_{nr};\n"
    )


def _insert(nr: int, pair: Pair, unless: str) -> str:
    return _written_table(nr, pair) + _insert_rows(nr, pair, unless)


def _insert_rows(nr: int, pair: Pair, unless: str) -> str:
    assert pair.live is not None
    absent = f"NOT EXISTS (SELECT FROM {pair.live.rows} AS t WHERE {_same('s', 't', pair)})"
    insert = (
        f"INSERT INTO {qualified(pair.live.name)} ({listed(pair.columns)}) OVERRIDING SYSTEM VALUE "
        f"SELECT {listed(pair.columns, 's.')} FROM stage_{nr} s WHERE {absent}{unless}"
    )
    return _counted(pair, "inserted", _noted(nr, pair, insert))


def _unless_there(pair: Pair) -> str:
    return f" ON CONFLICT ({listed(pair.key)}) DO NOTHING"


def _written_table(nr: int, pair: Pair) -> str:
    """The keys of what is written, where something has to be proved of it."""
    if not _to_prove(pair):
        return ""
    assert pair.live is not None
    columns = f"SELECT {listed(pair.key)} FROM {pair.live.rows} AS t WITH NO DATA"
    return f"CREATE TEMP TABLE written_{nr} ON COMMIT DROP AS {columns};\n"


def _noted(nr: int, pair: Pair, insert: str) -> str:
    if not _to_prove(pair):
        return insert
    return f"WITH d AS ({insert} RETURNING {listed(pair.key)}) INSERT INTO written_{nr} SELECT * FROM d"


def _to_prove(pair: Pair) -> bool:
    live = pair.live
    return live is not None and (bool(live.foreign_keys) or any(index.deferred for index in live.uniques))


def _gone(pair: Pair) -> tuple[str, ...]:
    assert pair.live is not None
    referred = [name for fk in pair.live.referred_by for name in fk.parent_columns]
    return tuple(dict.fromkeys([*pair.key, *pair.added, *referred]))


def _counted(pair: Pair, what: str, statement: str) -> str:
    return f"{statement};\n{_told(pair, what)}"


def _told(pair: Pair, what: str) -> str:
    """A line of JSON; psql has the number of rows of the last statement."""
    return f"SELECT json_build_array({literal(pair.copy.name)}, {literal(what)}, :ROW_COUNT);\n"


def _same(one: str, other: str, pair: Pair) -> str:
    return match(one, pair.key, other, pair.key)


def _readable(name: str, table: str, readers: Sequence[str]) -> str:
    """Whoever may read every row of the live table may read what lies beside it, and nobody else."""
    return "".join(
        f"DO {literal(_grant(qualified(name), qualified(table), reader))};\n" for reader in readers
    )  # fmt: skip


def _grant(name: str, table: str, reader: str) -> str:
    live = f"SELECT FROM pg_class WHERE oid = to_regclass({literal(table)})"
    hidden = f"relrowsecurity OR NOT has_table_privilege({literal(reader)}, oid, 'SELECT')"
    return (
        f"BEGIN IF NOT EXISTS ({live} AND ({hidden})) THEN GRANT SELECT ON {name} TO {quoted(reader)}; END IF; END"
    )
