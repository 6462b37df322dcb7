"""What a backup is annotated with, so that its restore can be held to it years later.

    key-id                  first 12 hex digits of the SHA-256 of the repository's key: which key it takes, not the key
    rows-before, rows-after table -> [rows, least time, greatest time], counted on the primary around the backup
    versions                postgresql, timescaledb, pgbackrest: a restore needs that very TimescaleDB
    revisions               database -> its newest migration, of those that have any; of when the backup ended

A backup is worth more than its annotations: what cannot be learnt is left out, and said.

    python3 -m agents.postgresql.manifest before          prints them as JSON
    python3 -m agents.postgresql.manifest after LABEL     counts again and adds rows-after to that backup
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg2

from agents.base.config import Config
from agents.base.errors import AgentError, run
from agents.jobs.config import PATH, Settings, load
from agents.postgresql import rows
from agents.postgresql.primary import connect, find_primary
from agents.postgresql.rows import Counted

CONFIG = Path("/etc/pgbackrest.conf")
ROLE = "reader"
LIMIT_S = 300.0  # of all counts together: production's primary has other work
_FIND_S = 10.0
_HAS_MIGRATIONS = "select to_regclass('public.alembic_version') is not null"
_REVISION = "select coalesce(max(version_num), 'base') from public.alembic_version"


@dataclass(frozen=True)
class Facts:
    """Annotations, name -> value, and sentences on what could not be learnt."""

    annotations: dict[str, str]
    left_out: tuple[str, ...]

    def options(self) -> list[str]:
        """As pgBackRest's options."""
        return [f"--annotation={name}={value}" for name, value in self.annotations.items()]


def before(settings: Settings, config: Path = CONFIG) -> Facts:
    """What is known when the backup begins."""
    known: dict[str, str] = {}
    identity = key_id(config)
    if identity:
        known["key-id"] = identity
    seen = _ask(settings)
    seen.versions["pgbackrest"] = _pgbackrest_version()
    known["versions"] = json.dumps(seen.versions, separators=(",", ":"))
    known |= seen.revised()
    if seen.counted:
        known["rows-before"] = rows.compact(seen.counted)
    return Facts(known, tuple(seen.wrong) if identity else (*seen.wrong, f"{config} has no key"))


def after(settings: Settings, label: str) -> Facts:
    """Count again and add it to the backup. Raises AgentError when pgBackRest does not take it."""
    seen = _ask(settings)
    if not seen.counted:
        return Facts({}, tuple(seen.wrong))
    facts = Facts({"rows-after": rows.compact(seen.counted), **seen.revised()}, tuple(seen.wrong))
    command = ["pgbackrest", f"--stanza={settings.stanza}", f"--set={label}", *facts.options(), "annotate"]
    done = subprocess.run(
        command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True, errors="replace", stdin=subprocess.DEVNULL,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise AgentError(f"Backup {label} cannot be annotated: {done.stderr.strip()[-300:]}.", "The backup is sound.")
    return facts


def key_id(config: Path = CONFIG) -> str:
    """Which key the repository is encrypted with; empty when it is not, or cannot be read."""
    try:
        found = re.search(r"^repo1-cipher-pass=(.+)$", config.read_text(), re.MULTILINE)
    except OSError:
        return ""
    return hashlib.sha256(found.group(1).strip().encode()).hexdigest()[:12] if found else ""


@dataclass
class _Seen:
    """Counts by table, versions, migrations by database, and what could not be learnt."""

    counted: dict[str, Counted] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def revised(self) -> dict[str, str]:
        """As an annotation; none where no database has migrations."""
        return {"revisions": json.dumps(self.revisions, separators=(",", ":"))} if self.revisions else {}


def _ask(settings: Settings) -> _Seen:
    """The primary, as a role that may only read."""
    seen = _Seen()
    deadline = time.monotonic() + LIMIT_S
    try:
        declared = settings.database.tables
        tables = (*rows.asked(declared), *rows.of_tracker(declared))
    except AgentError as error:
        return _Seen(wrong=[str(error)])
    for database in dict.fromkeys(table.database for table in tables):
        mine = [table for table in tables if table.database == database]
        try:
            _count(_as_reader(settings.database, database), mine, deadline, seen)
        except (AgentError, psycopg2.Error, OSError) as error:
            seen.wrong.append(f"{database}: {' '.join(str(error).split())[:200]}")
    return seen


def _as_reader(config: Config, database: str) -> Config:
    return replace(config, dbname=database, user=ROLE)


def _count(config: Config, tables: Sequence[rows.Asked], deadline: float, seen: _Seen) -> None:
    found = find_primary(config, _FIND_S, "mystocks-manifest")
    found.connection.close()
    host = next(one for one in config.hosts if one.name == found.name)
    connection = connect(config, host, "mystocks-manifest", "-c default_transaction_read_only=on -c timezone=Etc/UTC")
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "select current_setting('server_version'), "
                "(select extversion from pg_extension where extname = 'timescaledb')"
            )
            version, timescaledb = cursor.fetchone() or ("", None)
            seen.versions["postgresql"] = str(version).partition(" ")[0]
            if timescaledb:
                seen.versions["timescaledb"] = str(timescaledb)
            cursor.execute(_HAS_MIGRATIONS)
            if cursor.fetchone() == (True,):
                cursor.execute(_REVISION)
                seen.revisions[config.dbname] = str((cursor.fetchone() or ("",))[0])
            for table in tables:
                left_ms = int((deadline - time.monotonic()) * 1000)
                if left_ms <= 0:
                    seen.wrong.append(f"{table.name} was not counted: {LIMIT_S:g} s were over")
                    continue
                try:
                    cursor.execute(f"set statement_timeout = {left_ms}")
                    cursor.execute(rows.query(table))
                    row = cursor.fetchone()
                    assert row is not None
                    seen.counted[table.name] = Counted(int(row[0]), row[1], row[2])
                except psycopg2.Error as error:
                    if connection.closed:
                        raise
                    seen.wrong.append(f"{table.name} was not counted: {' '.join(str(error).split())[:120]}")
    finally:
        connection.close()


def _pgbackrest_version() -> str:
    said = subprocess.run(["pgbackrest", "version"], capture_output=True, text=True, check=False).stdout
    return said.strip().rpartition(" ")[2]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.postgresql.manifest", description="What a backup is annotated with.")
    parser.add_argument("--config", type=Path, default=PATH)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("before")
    commands.add_parser("after").add_argument("label")
    options = parser.parse_args(arguments)
    settings = load(options.config)
    facts = before(settings) if options.command == "before" else after(settings, options.label)
    print(json.dumps({"annotations": facts.annotations, "left_out": facts.left_out}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
