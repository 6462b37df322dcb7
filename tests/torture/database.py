"""One database as the torture tests look at it: rows by key and hash, definitions by pg_dump, how far sequences are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from runbooks.hosts import Host

RESTORED, REPLACED = "_restored", "_replaced"
_ROW = "tor__row"  # an alias that is no column's name, as t or c would be
_SPELLING = """
SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres'; SET extra_float_digits = 1;
SET bytea_output = 'hex'; SET xmloption = 'content'; SET row_security = off; SET client_min_messages = warning;
"""
_ENTRY = re.compile(r"^-- Name: (.*; Type: .*; Schema: .*; Owner: .*)$", re.MULTILINE)
_NOISE = re.compile(r"^(--.*|SET default_.*|\\(un)?restrict .*|)$")
_DIMENSIONS = r"""
SELECT to_regclass('timescaledb_information.dimensions') IS NOT NULL AS there \gset
\if :there
SELECT coalesce(json_object_agg(name, fact), '{}') FROM (
  SELECT format('hypertable %I.%I; dimension %s', hypertable_schema, hypertable_name, dimension_number) AS name,
    to_json(d)::text AS fact FROM timescaledb_information.dimensions d
  UNION ALL SELECT format('hypertable %I.%I; chunks', schema_name, table_name), format('schema %I, prefix %s',
    associated_schema_name, replace(associated_table_prefix, '_hyper_' || id, 'its own'))
    FROM _timescaledb_catalog.hypertable WHERE schema_name <> '_timescaledb_internal') q;
\endif
"""
# Chunks are numbered anew with their table, and may be in any schema.
_CHUNKS = r"""
SELECT to_regclass('_timescaledb_catalog.hypertable') IS NOT NULL AS there \gset
\if :there
SELECT coalesce(json_agg(format('%I.%I', n.nspname, c.relname)), '[]')
FROM _timescaledb_catalog.hypertable h JOIN pg_inherits i
    ON i.inhparent = to_regclass(format('%I.%I', h.schema_name, h.table_name))
  JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname <> '_timescaledb_internal';
\endif
"""
# Of each sequence the last number it gave out, times the sign of its step: what may only grow.
_POSITION = (
    "SELECT coalesce(pg_sequence_last_value(s.seqrelid), s.seqstart - s.seqincrement) * sign(s.seqincrement)::bigint"
)


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def suffixed(table: str, suffix: str) -> str:
    """The name of the table that a mode leaves beside this one."""
    return f'{table[:-1]}{suffix}"' if table.endswith('"') else table + suffix


@dataclass(frozen=True)
class Row:
    """One row: its key as text (its own hash where it has none) and a hash of all that it shows."""

    key: str
    hash: str


Rows = tuple[Row, ...]
Content = Mapping[str, Rows | None]  # by table; None where it is not there


@dataclass(frozen=True)
class Database:
    """A database of a server on a host; `connect` are psql's options, none for the host's own server."""

    host: Host
    name: str
    connect: str = ""

    def sql(self, statements: str, *, stop: bool = True, timeout: float = 180) -> str:
        """What the statements print, in one session."""
        command = f"psql -qAtX -v ON_ERROR_STOP={int(stop)} {self.connect} -d %s"
        return self.host.run(command, self.name, user="postgres", stdin=statements, timeout=timeout).stdout

    def content(self, tables: Iterable[str], keys: Mapping[str, str], only: Iterable[str] = ()) -> Content:
        """Rows of these tables; `keys` are expressions, `only` those whose heirs do not count."""
        asked, alone = tuple(dict.fromkeys(tables)), set(only)
        script = "".join(_rows(table, keys.get(table, ""), table in alone) for table in asked)
        lines = self.sql(_SPELLING + script).splitlines()
        assert len(lines) == len(asked), lines[-3:]
        return {table: _parsed(json.loads(line)) for table, line in zip(asked, lines, strict=True)}

    def columns(self, table: str) -> tuple[str, ...]:
        """Its columns as SQL writes them, in alphabetical order."""
        return tuple(
            json.loads(
                self.sql(
                    "SELECT coalesce(json_agg(quote_ident(attname) ORDER BY attname), '[]') FROM pg_attribute "
                    f"WHERE attrelid = to_regclass({literal(table)}) AND attnum > 0 AND NOT attisdropped;"
                )
            )
        )

    def values(self, table: str, columns: Sequence[str]) -> list[str]:
        """What these columns show, row by row, in an order of their own."""
        shown = ", ".join(f"{_ROW}.{column}" for column in columns)
        return json.loads(
            self.sql(
                f"{_SPELLING}SELECT coalesce(json_agg(r ORDER BY r), '[]') FROM "
                f'(SELECT md5(ROW({shown})::text) COLLATE "C" AS r FROM {table} AS {_ROW}) q;'
            )
        )

    def keys(self, tables: Iterable[str]) -> dict[str, str]:
        """The primary keys, or else the unique ones, as expressions; tables without one are left out."""
        wanted = ", ".join(f"({literal(table)})" for table in tables)
        found = self.sql(
            "SELECT coalesce(json_object_agg(q.t, q.key), '{}') FROM (SELECT DISTINCT ON (w.t) w.t, (SELECT 'ROW(' || "
            f"string_agg('{_ROW}.' || quote_ident(a.attname), ', ' ORDER BY k.nr) || ')::text' "
            "FROM unnest(i.indkey) WITH ORDINALITY k(attnum, nr) JOIN pg_attribute a ON a.attrelid = i.indrelid "
            f"AND a.attnum = k.attnum WHERE k.nr <= i.indnkeyatts) AS key FROM (VALUES {wanted}) w(t) JOIN pg_index i "
            "ON i.indrelid = to_regclass(w.t) WHERE i.indisunique AND i.indexprs IS NULL AND i.indpred IS NULL "
            "ORDER BY w.t, i.indisprimary DESC, i.indexrelid) q;"
        )
        return dict(json.loads(found))

    def positions(self, sequences: Iterable[str]) -> dict[str, int]:
        """How far each sequence has gone in its direction."""
        return {
            name: int(self.sql(f"{_POSITION} FROM pg_sequence s WHERE s.seqrelid = to_regclass({literal(name)});") or 0)
            for name in sequences
        }

    def definitions(self) -> dict[str, str]:
        """Every object as pg_dump tells it, and every dimension of a hypertable, by what it is called."""
        dump = self.host.run(
            f"/usr/lib/postgresql/17/bin/pg_dump --schema-only {self.connect} -d %s", self.name, user="postgres",
            timeout=180,
        ).stdout  # fmt: skip
        found = dict(json.loads(self.sql(_DIMENSIONS) or "{}"))
        names = json.loads(self.sql(_CHUNKS) or "[]")
        chunks = re.compile(rf"(?<![\w\"])(?:{'|'.join(map(re.escape, names))})(?![\w\"])") if names else None
        parts = _ENTRY.split(dump)
        for name, text in zip(parts[1::2], parts[2::2], strict=True):
            if "; Schema: _timescaledb_internal;" not in name and not (chunks and chunks.search(text)):
                body = "\n".join(line for line in text.splitlines() if not _NOISE.match(line))
                found[name] = f"{found[name]}\n{body}" if name in found else body
        assert len(found) > 1
        return found


def _rows(table: str, key: str, only: bool) -> str:
    heirs = "ONLY " if only else ""
    seen = f"md5({_ROW}::text)"
    return (
        f"SELECT to_regclass({literal(table)}) IS NOT NULL AS there \\gset\n\\if :there\n"
        f"SELECT coalesce(json_agg(json_build_array(k, r) ORDER BY k, r), '[]') FROM "
        f'(SELECT ({key or seen})::text COLLATE "C" AS k, {seen} COLLATE "C" AS r FROM {heirs}{table} AS {_ROW}) q;\n'
        "\\else\nSELECT 'null';\n\\endif\n"
    )


def _parsed(said: list[list[str]] | None) -> Rows | None:
    return None if said is None else tuple(Row(str(key), row) for key, row in said)


def merged(original: Rows, damaged: Rows) -> Rows:
    """What a merge must leave: every living row as it is, and those of the copy whose keys are not alive."""
    alive = {row.key for row in damaged}
    back = (row for row in original if row.key not in alive)
    return tuple(sorted((*damaged, *back), key=lambda row: (row.key, row.hash)))


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Definitions that are not what they were; what the tool itself leaves beside does not count."""
    return {
        name: (before.get(name, ""), after.get(name, ""))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name) and not re.search(f"{RESTORED}|{REPLACED}|dr_probe", name)
    }
