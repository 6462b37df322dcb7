"""The checks of a proof: structure and rows as the backup was taken, then every table and index, then every page.

Each says over how many things it went; over none of them it has failed.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.base.errors import AgentError
from agents.jobs.proofs import EMPTY, Check
from agents.postgresql import rows
from agents.postgresql.rows import TABLES, Counted
from agents.postgresql.side.content import collations
from agents.postgresql.side.place import PORT, Place, Unanswered

_NAMED = 5
# Of PostgreSQL's error classes those that speak of what was restored: damage, and what is not there. No memory for
# locks, a disk that is full, a library that this host lacks or a session that was ended speak of this host.
_BACKUPS_FAULT = ("XX", "42", "58", "22")
_THE_HOSTS = re.compile(r"out of (?:shared )?memory|could not (?:access|load|resize)|No space left|terminating")
_NO_VERDICT = "Nothing is said of the backup; repeat when that is mended."
_COLUMNS = """
select json_object_agg(t.name, json_build_object('columns', t.columns, 'key', t.key, 'time_column', t.time_column))
from (select c.relname as name,
  (select json_agg(json_build_object('name', attname, 'type', format_type(atttypid, atttypmod),
      'nullable', not attnotnull) order by attnum)
     from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped) as columns,
  (select json_agg(a.attname order by k.nr)
     from pg_index i, unnest(i.indkey) with ordinality k(attnum, nr), pg_attribute a
     where i.indrelid = c.oid and i.indisprimary and a.attrelid = c.oid and a.attnum = k.attnum) as key,
  {hypertable} as time_column
  from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')) t
"""
_HYPERTABLE = """(select column_name from timescaledb_information.dimensions d
     where d.hypertable_schema = 'public' and d.hypertable_name = c.relname and d.dimension_number = 1)"""


def while_paused(place: Place, annotation: Mapping[str, str]) -> list[Check]:
    """What the catalogue declares and what was counted around the backup, while nothing has been written yet."""
    return [structure(place), counts(place, annotation)]


def after_promotion(place: Place, annotation: Mapping[str, str]) -> list[Check]:
    """Promote, because amcheck may have to be made first, then every heap and btree of every database."""
    if place.query("select case when pg_is_in_recovery() then pg_promote(true, 600) else true end") != "t":
        raise AgentError(f"The side cluster {place.name} was not promoted within 600 s.", f"See {place.log}.")
    return [amcheck(place)]


def at_rest(place: Place, annotation: Mapping[str, str]) -> list[Check]:
    """Stop it and read every page."""
    place.halt("fast", 600)
    return [checksums(place)]


def structure(place: Place, path: Path = TABLES) -> Check:
    """Tables, columns, keys and hypertables against the catalogue."""
    declared = json.loads(path.read_text(encoding="utf-8"))["tables"]
    wrong: list[str] = []
    for database in dict.fromkeys(one["database"] for one in declared.values()):
        mine = {name: one for name, one in declared.items() if one["database"] == database}
        if place.query(f"select count(*) from pg_database where datname = '{database}'") != "1":  # noqa: S608
            wrong.append(f"database {database} is missing")
            continue
        has_extension = place.query("select count(*) from pg_extension where extname = 'timescaledb'", database) == "1"
        said = place.query(_COLUMNS.format(hypertable=_HYPERTABLE if has_extension else "null"), database)
        live = json.loads(said or "{}") or {}
        wrong += [line for name, one in mine.items() for line in _differs(name, one, live.get(name))]
    ok = bool(declared) and not wrong
    return Check("structure", ok, _some(wrong) if wrong else f"{len(declared)} tables are as the catalogue has them")


def counts(place: Place, annotation: Mapping[str, str]) -> Check:
    """Rows and newest times against what was counted before and after the backup."""
    restored = {}
    before, after = rows.parse(annotation.get("rows-before", "")), rows.parse(annotation.get("rows-after", ""))
    # The tracker's database may be younger than the backup.
    for table in (*rows.asked(), *(one for one in rows.of_tracker() if one.name in before)):
        try:
            counted = f"select json_build_array(n, a, z) from ({rows.query(table)}) q(n, a, z)"  # noqa: S608
            said = place.query(counted, table.database)
        except Unanswered as error:
            if error.state[:2] not in _BACKUPS_FAULT:
                raise AgentError(f"{table.name} cannot be read here: {error}", _NO_VERDICT) from error
            return Check("rows", False, f"{table.name} cannot be read: {error}")
        count, first, last = json.loads(said)
        restored[table.name] = Counted(int(count), first, last)
    total = sum(one.rows for one in restored.values())
    compared, wrong = rows.differences(before, after, restored)
    if wrong:
        return Check("rows", False, _some(wrong))
    if compared:
        return Check("rows", True, f"{total} rows of {compared} tables lie between the counts around the backup")
    if restored and not total:
        told = f"no counts were recorded with this backup, and none of its {len(restored)} tables holds a row"
        return Check(EMPTY, False, f"{told}: one that had lost them all would look the same")
    held = f"{len(restored)} tables hold {total} rows"
    return Check("rows", total > 0, f"no counts were recorded with this backup; {held}")


def amcheck(place: Place) -> Check:
    """pg_amcheck over every database; the extension is made only here, in the copy."""
    done = subprocess.run(
        [
            place.program("pg_amcheck"), "--all", "--install-missing", "--heapallindexed", "--progress",
            f"--jobs={os.cpu_count() or 1}", "-h", str(place.folder), "-p", str(PORT), "-U", "postgres", "-w",
        ],
        capture_output=True, text=True, errors="replace", check=False, cwd="/", stdin=subprocess.DEVNULL,
        env=place.environment,
    )  # fmt: skip
    looked = [int(number) for number in re.findall(r"(\d+)/\d+ relations", done.stderr)]
    found = _by_relation(done.stdout)
    if done.returncode or found:
        errors = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        _require_verdict(place, [*found, *errors])
        return Check("amcheck", False, _some(found or errors or [f"pg_amcheck ended with {done.returncode}"]))
    number = max(looked, default=0)
    return Check("amcheck", number > 0, f"{number} tables and indexes are sound")


def _by_relation(said: str) -> list[str]:
    """pg_amcheck's words, one line a table or index: the lines below its name go with it."""
    found: list[str] = []
    for line in said.splitlines():
        if line.startswith(("heap table", "btree index")) or not found:
            found.append(line.strip())
        elif line.strip():
            found[-1] += f" {line.strip()}"
    return [line for line in found if line]


def _require_verdict(place: Place, found: list[str]) -> None:
    """Raises AgentError when everything that was found may be this host's fault and not the backup's."""
    rest = [line for line in found if not _THE_HOSTS.search(line)]
    if found and not rest:
        raise AgentError(f"Not every table could be looked at here: {found[0][:300]}", _NO_VERDICT)
    other = collations(place)
    if other and all(line.startswith("btree index") for line in rest):
        raise AgentError(
            f"Indexes of text cannot be judged here, where text is ordered otherwise than there: {_some(other)} "
            f"(found: {_some(rest)}).",
            "Give this host the same release of the system's ICU and C libraries, or prove on one that has it.",
        )


def checksums(place: Place) -> Check:
    """pg_checksums over the stopped cluster."""
    done = subprocess.run(
        [place.program("pg_checksums"), "--check", "-D", place.data], capture_output=True, text=True, errors="replace",
        check=False, cwd="/", stdin=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    blocks = re.search(r"Blocks scanned:\s+(\d+)", done.stdout)
    number = int(blocks.group(1)) if blocks else 0
    bad = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    if done.returncode or not number:
        return Check("checksums", False, _some(bad or ["no page was read"]))
    return Check("checksums", True, f"{number} pages have the checksum they must have")


def _differs(name: str, declared: dict[str, Any], live: dict[str, Any] | None) -> list[str]:
    if live is None:
        return [f"table {name} is missing"]
    wrong = []
    there = {one["name"]: (one["type"], one["nullable"]) for one in live["columns"] or ()}
    for column in declared["columns"]:
        has, wanted = there.get(column["name"]), (_canonical(column["type"]), column["nullable"])
        if has is None:
            wrong.append(f"{name}.{column['name']} is missing")
        elif has != wanted:
            wrong.append(f"{name}.{column['name']} is {has[0]}, declared is {wanted[0]}")
    if list(live["key"] or ()) != list(declared["key"]):
        wrong.append(f"{name}: primary key is ({', '.join(live['key'] or ())})")
    if live["time_column"] != declared.get("time_column"):
        wrong.append(f"{name} is hypertable by {live['time_column']}, declared is {declared.get('time_column')}")
    return wrong


def _canonical(declared: str) -> str:
    """A catalogue type as PostgreSQL's format_type writes it."""
    if declared == "timestamptz":
        return "timestamp with time zone"
    return re.sub(r"^varchar\(", "character varying(", declared)


def _some(lines: list[str]) -> str:
    more = f" and {len(lines) - _NAMED} more" if len(lines) > _NAMED else ""
    return "; ".join(line[:200] for line in lines[:_NAMED]) + more
