"""PostgreSQL's own regression database in a lab: its test suite's SQL, run on the primary, leaves some hundred tables.

The source is Debian's package of the lab's own release, as apt finds it on the primary; POSTGRES_SOURCE names a folder
with src/test/regress where no mirror has it. Nothing of it is kept in this repository. Its C functions are not built:
what needs them is an error that the suite's psql passes over, and a handful of tables fewer.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from inventories.errors import TargetFailed
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host

DATABASE, KEPT = "regression", "regression_kept"
FOLDER = "/var/lib/postgresql/regress"
# What waits for another session or for settings that no production has, and what would speak of the whole cluster.
LEFT_OUT = ("psql", "psql_crosstab", "prepared_xacts", "subscription", "infinite_recurse", "stats", "password")
_FETCH = """
set -e
cd %s
mkdir -p lists/partial parts
touch sources.list
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
  test ! -e $file || sed 's/^deb /deb-src /' $file >>sources.list
done
for file in /etc/apt/sources.list.d/*.sources; do
  test ! -e $file || sed 's/^Types:.*/Types: deb-src/' $file >parts/${file##*/}
done
apt="-q -o Dir::Etc::SourceList=$PWD/sources.list -o Dir::Etc::SourceParts=$PWD/parts -o Dir::State::Lists=$PWD/lists"
apt-get $apt update >/dev/null
apt-get $apt -o APT::Sandbox::User=root --download-only source %s >/dev/null
python3 - <<'SCRIPT'
import pathlib, tarfile
(path,) = pathlib.Path().glob("*.orig.tar.*")
with tarfile.open(path) as archive:
    for member in archive:
        head, found, rest = member.name.partition("/src/test/regress/")
        if found and rest and (member.isfile() or member.isdir()):
            member.name = rest
            archive.extract(member, filter="data")
SCRIPT
"""
_SUITE = """
export PGTZ=America/Los_Angeles PGDATESTYLE='Postgres, MDY' PG_ABS_SRCDIR=$PWD PG_ABS_BUILDDIR=$PWD
export PG_LIBDIR=/usr/lib/postgresql/17/lib PG_DLSUFFIX=.so
mkdir -p results testtablespace
for name in $(sed -n 's/^test: *//p' parallel_schedule); do
  case " %s " in *" $name "*) continue;; esac
  test -e sql/$name.sql || continue
  timeout 120 psql -Xaq -d %s -v HIDE_TABLEAM=on -v HIDE_TOAST_COMPRESSION=on <sql/$name.sql >results/$name.out 2>&1
done
ls results/*.out | wc -l
"""
_TABLES = r"""
SELECT coalesce(json_agg(json_build_object('schema', n.nspname, 'table', c.relname,
    'sql', format('%I.%I', n.nspname, c.relname), 'alone', c.relkind = 'r', 'key', (
      SELECT 'ROW(' || string_agg('tor__row.' || quote_ident(a.attname), ', ' ORDER BY k.nr) || ')::text'
      FROM unnest(i.indkey) WITH ORDINALITY k(attnum, nr) JOIN pg_attribute a
        ON a.attrelid = i.indrelid AND a.attnum = k.attnum WHERE k.nr <= i.indnkeyatts))
  ORDER BY n.nspname, c.relname), '[]')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN LATERAL (
  SELECT * FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
    AND i.indexprs IS NULL AND NOT EXISTS (SELECT FROM unnest(i.indkey) WITH ORDINALITY k(attnum, nr)
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum WHERE k.nr <= i.indnkeyatts
      AND NOT a.attnotnull)
  ORDER BY i.indisprimary DESC, i.indexrelid LIMIT 1) i ON true
WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema';
"""


@dataclass(frozen=True)
class Keyed:
    """A table that has a key: how SQL writes it, its key as an expression, and whether heirs' rows are not its own."""

    schema: str
    table: str
    sql: str
    alone: bool
    key: str

    @property
    def rows(self) -> str:
        """What follows FROM."""
        return f"ONLY {self.sql}" if self.alone else self.sql


def estate_of(estate: Estate) -> Estate:
    """The same, whose database is this one."""
    return replace(estate, data={**estate.data, "database": DATABASE})


def bring_source(host: Host) -> str:
    """Lay src/test/regress in FOLDER of a host; why it could not be had, empty when it is there."""
    host.run("rm -rf %s && mkdir -p %s", FOLDER, FOLDER)
    given = os.environ.get("POSTGRES_SOURCE")
    if given:
        _send(host, Path(given))
    else:
        fetched = host.run(_FETCH, FOLDER, "postgresql-17", timeout=300, expect=None)
        if fetched.rc:
            return "this machine's mirror has no source package of PostgreSQL; POSTGRES_SOURCE names a folder"
    host.run("chown -R postgres: %s", FOLDER)
    return ""


def _send(host: Host, source: Path) -> None:
    folder = source / "src" / "test" / "regress"
    command = ["tar", "-C", str(folder), "-c", "sql", "data", "expected", "parallel_schedule"]
    packed = subprocess.run(command, capture_output=True, check=True)
    receiving = host.start("tar -C %s -x", FOLDER)
    assert receiving.stdin
    receiving.communicate(packed.stdout, timeout=120)
    assert receiving.returncode == 0


def make(host: Host) -> int:
    """Run the suite; how many of its files were run. Afterwards KEPT is as it left DATABASE."""
    clear(host)
    host.execute(f"CREATE DATABASE {DATABASE} TEMPLATE template0 ENCODING 'UTF8'")
    settings = {
        "lc_messages": "C", "lc_monetary": "C", "lc_numeric": "C", "lc_time": "C", "bytea_output": "hex",
        "timezone_abbreviations": "Default", "synchronous_commit": "local",
    }  # fmt: skip
    host.execute("".join(f"ALTER DATABASE {DATABASE} SET {name} = '{value}';" for name, value in settings.items()))
    words = _SUITE % (" ".join(LEFT_OUT), DATABASE)
    ran = host.run("cd %s && sh -c %s", FOLDER, words, user="postgres", timeout=900)
    # A tablespace within the data directory is for tests alone, and no backup tool takes it for one.
    left = host.query("select spcname from pg_tablespace where spcname like 'regress%'")
    for row in left:
        host.execute(f"SET allow_in_place_tablespaces = on; DROP TABLESPACE {row['spcname']}", DATABASE)
    until(lambda: sessions(host), 30, what="the end of the suite's sessions", accept=lambda n: n == 0)
    _copy(host, DATABASE, KEPT)
    return int(ran.text.splitlines()[-1])


def sessions(host: Host) -> int:
    found = host.query(f"select count(*) as n from pg_stat_activity where datname = '{DATABASE}'")
    return int(found[0]["n"])


def fresh(host: Host) -> None:
    """As the suite left it, every identifier of an object included."""
    host.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)", timeout=60)
    _copy(host, KEPT, DATABASE)


def _copy(host: Host, source: str, made: str) -> None:
    """Once nobody is in the source: TimescaleDB's launcher looks into new databases, and autovacuum works there."""

    def copied() -> bool:
        host.execute(f"CREATE DATABASE {made} TEMPLATE {source} STRATEGY file_copy", timeout=120)
        return True

    until(copied, 60, what=f"a copy of {source}", retry=(TargetFailed,), every=1)


def tables(host: Host) -> int:
    """How many the suite left, with or without a key."""
    found = host.query(
        "select count(*) as n from pg_class where relkind in ('r', 'p') and oid >= 16384 "
        "and relnamespace not in (select oid from pg_namespace where nspname ~ '^pg_')",
        DATABASE,
    )
    return int(found[0]["n"])


def clear(host: Host) -> None:
    for name in (DATABASE, KEPT):
        host.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", timeout=60)
    roles = host.query("select rolname from pg_roles where rolname like 'regress%'")
    for row in roles:
        host.run("psql -qX -c %s", f'DROP ROLE IF EXISTS "{row["rolname"]}"', user="postgres", expect=None)


def keyed(host: Host) -> tuple[Keyed, ...]:
    """Every table that has a key and rows."""
    told = host.run("psql -qAtX -v ON_ERROR_STOP=1 -d %s", DATABASE, user="postgres", stdin=_TABLES).text
    found = [Keyed(**one) for one in json.loads(told)]
    return tuple(one for one in found if _has_rows(host, one))


def _has_rows(host: Host, table: Keyed) -> bool:
    return bool(host.query(f"select exists (select from {table.rows}) as found", DATABASE)[0]["found"])


def spoil(table: Keyed) -> str:
    """Two of every three rows are deleted, with no trigger, rule or foreign key hearing of it."""
    numbered = f"SELECT tableoid AS o, ctid AS c, row_number() OVER (ORDER BY tableoid, ctid) AS n FROM {table.rows}"
    return (
        "SET session_replication_role = replica;\n"
        f"DELETE FROM {table.rows} t USING ({numbered}) s "
        "WHERE t.tableoid = s.o AND t.ctid = s.c AND s.n % 3 <> 0;\n"
    )


def shorter(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
