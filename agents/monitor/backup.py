"""The monitoring database's own backups: taken, proven by a restore, and restored.

    python3 -m agents.monitor.backup take|prove|list|restore --dsn "port=5434" --folder /var/lib/mystocks-dr/monitoring

    FOLDER/LABEL/dump          pg_dump's own format        FOLDER/LABEL/manifest.json      what it held, in one moment
    FOLDER/proofs.jsonl        see agents/jobs/proofs.py

What was written after the newest backup is not lost with the database: every spool keeps what it has shipped for
longer than from one backup to the next, and ships it again to a database of another incarnation, which a restored one
is. Run by postgres on the database's host. Prints one JSON object. Exit codes: 0; 1 it failed, or a proof did; 3 there
is something that a restore would take the place of.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import make_dsn

from agents.base import files
from agents.base.errors import AgentError, run
from agents.jobs import proofs
from agents.jobs.proofs import Check, Proof
from agents.monitor import migrate
from agents.monitor.content import Content, content, differences
from agents.monitor.take import CONNECT_S

DATABASE, SIDE = "monitoring", "monitoring_proof"
KEEP = 7
_PROOFS = "proofs.jsonl"
_HELD = ("operation_logs", "runs", "drills", "alert_logs")  # with a row in one of these it is no empty database


class InTheWay(AgentError):  # noqa: N818
    """A restore would take the place of what is there."""

    exit_code = 3


@dataclass(frozen=True)
class Backup:
    """`tables`: what it held when it was taken, at `taken_at` (unix seconds)."""

    label: str
    taken_at: float
    sha256: str
    tables: Content

    @property
    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Shelf:
    """The folder of the backups, and the server with the database."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self.dsn, self.folder = dsn, folder

    def backups(self) -> list[Backup]:
        """The oldest first."""
        found = (_read(path) for path in sorted(self.folder.glob("[0-9]*/manifest.json")))
        return [one for one in found if one is not None]

    def take(self, label: str = "") -> Backup:
        """Raises AgentError."""
        label = label or time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        partial = self.folder / f".partial-{label}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True, mode=0o700)
        with self._connected(DATABASE) as connection, connection.cursor() as cursor:
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute("SELECT pg_export_snapshot()")
            snapshot = cursor.fetchone()[0]
            dump = partial / "dump"
            self._program("pg_dump", "-Fc", f"--snapshot={snapshot}", "-f", str(dump), "-d", self._to(DATABASE))
            made = Backup(label, time.time(), _sha256(dump), content(cursor))
        files.replace(partial / "manifest.json", json.dumps(made.as_json) + "\n")
        files.publish(partial, self.folder / label)
        self._expire()
        return made

    def prove(self) -> Proof:
        """Restore the newest one beside the database, and hold it against what it held. Raises AgentError."""
        backup = self._newest()
        began = time.monotonic()
        checks = [Check("bytes", _sha256(self._dump(backup)) == backup.sha256, "the dump is the one that was taken")]
        if checks[0].ok:
            try:
                self._load(backup, SIDE)
                with self._connected(SIDE) as connection, connection.cursor() as cursor:
                    wrong = differences(backup.tables, content(cursor))
            finally:
                self._sql("postgres", f"DROP DATABASE IF EXISTS {SIDE} WITH (FORCE)")
            number = sum(rows for rows, _ in backup.tables.values())
            checks.append(Check("content", not wrong, "; ".join(wrong) or f"{number:,} rows, each as it was"))
            checks.append(Check(proofs.EMPTY, number > 0, f"{number:,} rows"))
        bad = [one for one in checks if not one.ok]
        proof = Proof(
            backup.label, time.time(), not bad, tuple(one.detail for one in bad), "dump",
            seconds=time.monotonic() - began, checks=tuple(checks),
            sentence="; ".join(one.detail for one in bad) or f"{backup.label} was restored, every row as it was",
        )  # fmt: skip
        proofs.append(proof, self.folder / _PROOFS)
        return proof

    def restore(self, incarnate: bool = True) -> dict[str, Any]:
        """The newest sound one in the place of a database that is empty or gone. Raises InTheWay, AgentError.

        `incarnate`: as another database, to which every spool ships again what it has.
        """
        self._must_be_free()
        backup = self._newest()
        if _sha256(self._dump(backup)) != backup.sha256:
            raise AgentError(f"{backup.label} is not as it was taken.", "Move it away: then the one before it is next.")
        self._load(backup, DATABASE)
        with self._connected(DATABASE) as connection:
            applied = migrate.migrate(connection, migrate.migrations())
            if incarnate:
                with connection, connection.cursor() as cursor:
                    cursor.execute("UPDATE incarnation SET id = gen_random_uuid(), since = now()")
        return {"label": backup.label, "taken_at": backup.taken_at, "applied": applied}

    def _newest(self) -> Backup:
        """Of those that no proof has found damaged."""
        verdicts = proofs.verdicts(proofs.read(self.folder / _PROOFS))
        sound = [one for one in self.backups() if one.label not in verdicts or verdicts[one.label].passed]
        if not sound:
            raise AgentError(f"{self.folder} has no backup that counts.", "Take one: agents.monitor.backup take.")
        return sound[-1]

    def _expire(self) -> None:
        """The newest KEEP stay, and whatever is the newest that was proven."""
        every = self.backups()
        verdicts = proofs.verdicts(proofs.read(self.folder / _PROOFS))
        proven = [one.label for one in every if one.label in verdicts and verdicts[one.label].passed]
        for one in every[:-KEEP]:
            if one.label not in proven[-1:]:
                shutil.rmtree(self.folder / one.label)

    def _must_be_free(self) -> None:
        if not self._rows("postgres", f"SELECT FROM pg_database WHERE datname = '{DATABASE}'"):
            return
        for table in _HELD:
            there = self._rows(DATABASE, f"SELECT to_regclass('{table}') IS NOT NULL")[0][0]
            if there and self._rows(DATABASE, f"SELECT FROM {table} LIMIT 1"):
                raise InTheWay(f"The monitoring database has rows in {table}.", "A restore is for one that is lost.")

    def _load(self, backup: Backup, database: str) -> None:
        for role in ("recorder", "historian"):
            if not self._rows("postgres", f"SELECT FROM pg_roles WHERE rolname = '{role}'"):
                self._sql("postgres", f"CREATE ROLE {role}")
        self._sql("postgres", f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        self._sql("postgres", f"CREATE DATABASE {database} TEMPLATE template0")
        dump = str(self._dump(backup))
        self._program("pg_restore", "--exit-on-error", "--no-owner", "-d", self._to(database), dump)

    def _dump(self, backup: Backup) -> Path:
        return self.folder / backup.label / "dump"

    def _to(self, database: str) -> str:
        return str(make_dsn(self.dsn, dbname=database))

    @contextmanager
    def _connected(self, database: str) -> Iterator[Any]:
        try:
            with closing(psycopg2.connect(self._to(database), connect_timeout=CONNECT_S)) as connection:
                yield connection
        except psycopg2.Error as error:
            says = (str(error).strip().splitlines() or ["it does not answer"])[0]
            raise AgentError(f"The monitoring database's server: {says}.", "Is its cluster up?") from error

    def _rows(self, database: str, statement: str) -> list[tuple[Any, ...]]:
        with self._connected(database) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            found: list[tuple[Any, ...]] = cursor.fetchall()
            return found

    def _sql(self, database: str, statement: str) -> None:
        with self._connected(database) as connection:
            connection.autocommit = True
            connection.cursor().execute(statement)

    def _program(self, name: str, *words: str) -> None:
        """Of the newest release here, which reads what every older one wrote."""
        there = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda one: int(one.parts[-3]))
        done = subprocess.run([there[-1] if there else name, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            says = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
            raise AgentError(f"{name}: {says}.", "Is there room? df -h")


def _read(path: Path) -> Backup | None:
    try:
        told = json.loads(path.read_text())
        tables = {name: (int(rows), int(hashed)) for name, (rows, hashed) in told["tables"].items()}
        return Backup(str(told["label"]), float(told["taken_at"]), str(told["sha256"]), tables)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    try:
        with path.open("rb") as source:
            while block := source.read(1 << 20):
                found.update(block)
    except OSError as error:
        raise AgentError(f"{path} cannot be read: {error.strerror}.", "") from error
    return found.hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.monitor.backup", description="Back the monitoring database up.")
    parser.add_argument("what", choices=("take", "prove", "list", "restore"))
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args(arguments)
    shelf = Shelf(given.dsn, given.folder)
    if given.what == "prove":
        proof = shelf.prove()
        print(json.dumps(proof.line))
        return 0 if proof.passed else 1
    if given.what == "list":
        told: Any = {"backups": [one.as_json for one in shelf.backups()]}
    else:
        told = shelf.take().as_json if given.what == "take" else shelf.restore()
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
