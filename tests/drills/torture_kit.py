"""The torture schema in a lab: laid, spoilt, looked at on the live server and on a side cluster, and made anew."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runbooks.hosts import Estate, Host
from runbooks.probes.postgresql import side
from tests.drills.doors import Ended, dr
from tests.torture.cases import Case, Kind

DATABASE, KEPT = "torture", "torture_kept"
SIDE = "pitr"
RESTORED, REPLACED = "_restored", "_replaced"
_ROW = "tor__row"  # an alias that is no column's name, as t or c would be
_SPELLING = """
SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres'; SET extra_float_digits = 1;
SET bytea_output = 'hex'; SET xmloption = 'content'; SET row_security = off; SET client_min_messages = warning;
"""
_ENTRY = re.compile(r"^-- Name: (.*; Type: .*; Schema: .*; Owner: .*)$", re.MULTILINE)
_DDL = re.compile(r"\b(ALTER|CREATE|DROP)\b")
_NOISE = re.compile(r"^(--.*|SET default_.*|\\(un)?restrict .*|)$")
_DIMENSIONS = r"""
SELECT to_regclass('timescaledb_information.dimensions') IS NOT NULL AS there \gset
\if :there
SELECT coalesce(json_object_agg(format('hypertable %I.%I; dimension %s', hypertable_schema, hypertable_name,
    dimension_number), to_json(d)::text), '{}')
FROM timescaledb_information.dimensions d;
\endif
"""
# Of each sequence the last number it gave out, times the sign of its step: what may only grow.
_POSITION = "SELECT coalesce(pg_sequence_last_value(s.seqrelid), s.seqstart - s.seqincrement) * sign(s.seqincrement)"


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
    """A database of a server on a host: `connect` are psql's options, none for the live one."""

    host: Host
    connect: str = ""
    name: str = DATABASE

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
        parts = _ENTRY.split(dump)
        for name, text in zip(parts[1::2], parts[2::2], strict=True):
            if "; Schema: _timescaledb_internal;" not in name:
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
        f'(SELECT ({key or seen}) COLLATE "C" AS k, {seen} COLLATE "C" AS r FROM {heirs}{table} AS {_ROW}) q;\n'
        "\\else\nSELECT 'null';\n\\endif\n"
    )


def _parsed(said: list[list[str]] | None) -> Rows | None:
    return None if said is None else tuple(Row(str(key), row) for key, row in said)


def merged(original: Rows, damaged: Rows) -> Rows:
    """What a merge must leave: every living row as it is, and those of the copy whose keys are not alive."""
    alive = {row.key for row in damaged}
    back = (row for row in original if row.key not in alive)
    return tuple(sorted((*damaged, *back), key=lambda row: (row.key, row.hash)))


@dataclass(frozen=True)
class Tried:
    """One restore-table: what it said without --yes where that was asked, its end, the rows before it and after."""

    cases: tuple[Case, ...]
    compared: Ended | None
    unwilling: Ended | None  # with --yes, where something does not come back and nobody has agreed to that
    ended: Ended
    damaged: Content
    after: Content
    positions: tuple[Mapping[str, int], Mapping[str, int]]
    changed: Mapping[str, tuple[str, str]]  # definitions that differ: before and after


@dataclass
class Scene:
    """The schema in a database of the lab, what it was at the restore point, and a side cluster of that moment.

    Databases are made anew from KEPT, so that every table and type is the very one that the copy has. `inventory` is
    the lab's with this database.
    """

    estate: Estate
    primary: Host
    kinds: Mapping[str, Kind]
    point: str
    inventory: Path
    keys: Mapping[str, str]
    before: Content
    positions: Mapping[str, int]
    definitions: Mapping[str, str]
    _together: dict[tuple[str, str], Tried | None] = field(default_factory=dict)

    @property
    def live(self) -> Database:
        return Database(self.primary)

    @property
    def copy(self) -> Database:
        there = side.look(self.primary, SIDE)
        assert there is not None and there.ready
        return Database(self.primary, " ".join(there.connection))

    def dr(self, *words: str) -> Ended:
        return dr(*words, env={"DR_INVENTORY": str(self.inventory)})

    def content(self, cases: Iterable[Case], server: Database | None = None) -> Content:
        given = tuple(cases)
        tables = [table for case in given for table in (*case.tables, *case.same)]
        only = [case.table for case in given if case.rows_by_only]
        return (server or self.live).content(tables, self.keys, only)

    def tried(self, case: Case, mode: str) -> Tried:
        """With all others of its file in one command where nothing is against that; alone where that did not pass."""
        if not _goes_together(case, mode):
            return self._try((case,), mode)
        wanted = case.kind, mode
        if wanted not in self._together:
            cases = tuple(other for other in self.kinds[case.kind].cases if _goes_together(other, mode))
            found = self._try(cases, mode)
            self._together[wanted] = found if found.ended.code == 0 else None
        return self._together[wanted] or self._try((case,), mode)

    def _try(self, cases: tuple[Case, ...], mode: str) -> Tried:
        live, one = self.live, cases[0]
        fresh(self.primary)
        harm = [case.loss if mode == "drop" else case.damage for case in cases]
        live.sql("RESET ALL;\n".join(harm))
        sequences = [name for case in cases for name in case.sequences]
        damaged, before = self.content(cases), live.positions(sequences)
        expected = live.definitions() if mode == "drop" or any(_DDL.search(text) for text in harm) else self.definitions
        words = ["restore-table", "--tables", ",".join(table for case in cases for table in case.tables),
                 "--from", SIDE, "--mode", "merge" if mode == "drop" else mode]  # fmt: skip
        live.sql("".join(case.armed for case in cases))
        try:
            compared = self.dr(*words) if one.told or one.lost or one.changes else None
            ended = self.dr(*words, "--yes")
            consent = mode != "beside" and bool(one.changes or (one.lost and mode == "drop"))
            unwilling = ended if consent else None
            if consent:
                ended = self.dr(*words, "--yes", "--accept-loss")
        finally:
            live.sql("".join(case.disarmed for case in cases))
        if mode == "drop" and ended.code == 0:
            expected = self.definitions
        return Tried(
            cases, compared, unwilling, ended, damaged, self.content(cases), (before, live.positions(sequences)),
            differences(expected, live.definitions()),
        )  # fmt: skip


def _goes_together(case: Case, mode: str) -> bool:
    alone = case.told or case.armed or case.same or case.lost or case.changes is not None or len(case.tables) > 1
    return mode in case.modes and mode not in case.refused and not alone


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Definitions that are not what they were; what the tool itself leaves beside does not count."""
    return {
        name: (before.get(name, ""), after.get(name, ""))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name) and not re.search(f"{RESTORED}|{REPLACED}|dr_probe", name)
    }


def of_case(tried: Tried, case: Case) -> dict[str, tuple[str, str]]:
    """Of what was changed: what tells of this case's tables, and what tells of no case's."""
    return {
        name: texts
        for name, texts in tried.changed.items()
        if _tells_of(case, texts) or not any(_tells_of(other, texts) for other in tried.cases)
    }


def _tells_of(case: Case, texts: tuple[str, str]) -> bool:
    return any(re.search(rf'(?<![\w"]){re.escape(table)}(?![\w"])', text) for table in case.tables for text in texts)


def lay(host: Host, kinds: Mapping[str, Kind]) -> None:
    """All of it, whatever is left of an earlier time: KEPT, where nobody connects any more, and a copy of it."""
    clear(host, kinds)
    host.execute(f"CREATE DATABASE {KEPT} TEMPLATE template0 ENCODING 'UTF8'", timeout=60)
    kept = Database(host, name=KEPT)
    for kind in kinds.values():
        kept.sql(kind.load)
    # TimescaleDB's workers come back wherever they may, and nobody may be in a database that is copied.
    host.execute(f"ALTER DATABASE {KEPT} ALLOW_CONNECTIONS off")
    host.execute(f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{KEPT}'")
    fresh(host)


def fresh(host: Host) -> None:
    """The database as it was at first, every identifier of an object included."""
    host.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)", timeout=60)
    host.execute(f"CREATE DATABASE {DATABASE} TEMPLATE {KEPT} STRATEGY file_copy", timeout=120)


def clear(host: Host, kinds: Mapping[str, Kind]) -> None:
    for name in (DATABASE, KEPT):
        host.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", timeout=60)
    for kind in kinds.values():
        Database(host, name="postgres").sql(kind.clean, stop=False)


def inventory(folder: Path) -> Path:
    """An inventory of the lab's hosts whose database is this one."""
    path = folder / "torture.py"
    path.write_text(
        "from inventories import lab as _lab\n\n"
        f'_lab._SHARED["database"] = {DATABASE!r}\n'
        "app, pg_primary, pg_standby, backup, offsite = (\n"
        "    _lab.app, _lab.pg_primary, _lab.pg_standby, _lab.backup, _lab.offsite\n)\n",
        encoding="utf-8",
    )
    return path
