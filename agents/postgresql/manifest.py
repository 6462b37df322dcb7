"""What a backup is annotated with, so that its restore can be held to it years later.

    key-id                  first 12 hex digits of the SHA-256 of the repository's key: which key it takes, not the key
    rows-before, rows-after table -> [rows, least time, greatest time], counted on the primary around the backup
    versions                postgresql, timescaledb, pgbackrest: a restore needs that very TimescaleDB

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
from dataclasses import dataclass, replace
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
    counted, versions, left_out = _ask(settings)
    versions["pgbackrest"] = _pgbackrest_version()
    known["versions"] = json.dumps(versions, separators=(",", ":"))
    if counted:
        known["rows-before"] = rows.compact(counted)
    return Facts(known, left_out if identity else (*left_out, f"{config} has no key"))


def after(settings: Settings, label: str) -> Facts:
    """Count again and add it to the backup. Raises AgentError when pgBackRest does not take it."""
    counted, _, left_out = _ask(settings)
    if not counted:
        return Facts({}, left_out)
    facts = Facts({"rows-after": rows.compact(counted)}, left_out)
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


def _ask(settings: Settings) -> tuple[dict[str, Counted], dict[str, str], tuple[str, ...]]:
    """Counts by table, versions, and what could not be learnt, from the primary as a role that may only read."""
    counted: dict[str, Counted] = {}
    versions: dict[str, str] = {}
    wrong: list[str] = []
    deadline = time.monotonic() + LIMIT_S
    try:
        tables = rows.asked(settings.database.tables)
    except AgentError as error:
        return {}, {}, (str(error),)
    for database in dict.fromkeys(table.database for table in tables):
        try:
            _count(_as_reader(settings.database, database), [t for t in tables if t.database == database], deadline,
                   counted, versions, wrong)  # fmt: skip
        except (AgentError, psycopg2.Error, OSError) as error:
            wrong.append(f"{database}: {' '.join(str(error).split())[:200]}")
    return counted, versions, tuple(wrong)


def _as_reader(config: Config, database: str) -> Config:
    return replace(config, dbname=database, user=ROLE)


def _count(
    config: Config,
    tables: Sequence[rows.Asked],
    deadline: float,
    counted: dict[str, Counted],
    versions: dict[str, str],
    wrong: list[str],
) -> None:
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
            versions["postgresql"] = str(version).partition(" ")[0]
            if timescaledb:
                versions["timescaledb"] = str(timescaledb)
            for table in tables:
                left_ms = int((deadline - time.monotonic()) * 1000)
                if left_ms <= 0:
                    wrong.append(f"{table.name} was not counted: {LIMIT_S:g} s were over")
                    continue
                try:
                    cursor.execute(f"set statement_timeout = {left_ms}")
                    cursor.execute(rows.query(table))
                    row = cursor.fetchone()
                    assert row is not None
                    counted[table.name] = Counted(int(row[0]), row[1], row[2])
                except psycopg2.Error as error:
                    if connection.closed:
                        raise
                    wrong.append(f"{table.name} was not counted: {' '.join(str(error).split())[:120]}")
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
