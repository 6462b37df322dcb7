"""The monitoring database's own backups: taken, proven by a restore, and restored.

    python3 -m agents.monitor.backup take|prove|list|restore --dsn "port=5434" --folder /var/lib/mystocks-dr/monitoring

    FOLDER/LABEL/dump          pg_dump's own format        FOLDER/LABEL/manifest.json      what it held, in one moment
    FOLDER/proofs.jsonl        see agents/jobs/proofs.py

What was written after the newest backup is not lost with the database: every spool keeps what it has shipped for
longer than from one backup to the next, and ships it again to a database of another incarnation, which a restored one
is. Nor is what was told to a new, empty one before anybody restored: a restore adds, and takes the place of nothing.
Run by postgres on the database's host. Prints one JSON object. Exit codes: 0; 1 it failed, or a proof did; 3 another
proof or restore is under way.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import make_dsn

from agents.base import files
from agents.base.errors import AgentError, run
from agents.base.locks import held
from agents.jobs import proofs
from agents.jobs.proofs import Check, Proof
from agents.monitor import migrate
from agents.monitor.content import Content, content, differences
from agents.monitor.merging import merge
from agents.monitor.shipping import KEEP_S
from agents.monitor.take import CONNECT_S

DATABASE, SIDE = "monitoring", "monitoring_proof"
KEEP = 7
_PROOFS = "proofs.jsonl"


class Busy(AgentError):  # noqa: N818
    """The database beside is in use."""

    exit_code = 3


@dataclass(frozen=True)
class Backup:
    """`tables`: what it held when it was taken, at `taken_at` (unix seconds); `incarnation`: of which database."""

    label: str
    taken_at: float
    sha256: str
    tables: Content
    incarnation: str = ""

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

    def listed(self) -> dict[str, Any]:
        """As `list` prints it: `trouble`: why the database does not answer; `proven`: whether the last proof of a
        backup passed, None where there is none; `keep_s`: how long spools keep what they shipped.
        """
        verdicts = proofs.verdicts(proofs.read(self.folder / _PROOFS))
        every = [
            {"label": one.label, "taken_at": one.taken_at, "incarnation": one.incarnation,
             "proven": verdicts[one.label].passed if one.label in verdicts else None}
            for one in self.backups()
        ]  # fmt: skip
        return {"now": time.time(), "trouble": self._trouble(), "keep_s": KEEP_S, "backups": every}

    def _trouble(self) -> str:
        try:
            self._rows(DATABASE, "SELECT monitor_incarnation()")
        except AgentError as error:
            return str(error)
        return ""

    def take(self, label: str = "") -> Backup:
        """Raises AgentError."""
        label = label or time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        partial = self.folder / f".partial-{label}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True, mode=0o700)
        with self._connected(DATABASE) as connection, connection.cursor() as cursor:
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute("SELECT pg_export_snapshot(), monitor_incarnation()")
            snapshot, incarnation = cursor.fetchone()
            dump = partial / "dump"
            self._program("pg_dump", "-Fc", f"--snapshot={snapshot}", "-f", str(dump), "-d", self._to(DATABASE))
            made = Backup(label, time.time(), _sha256(dump), content(cursor), str(incarnation or ""))
        files.replace(partial / "manifest.json", json.dumps(made.as_json) + "\n")
        files.publish(partial, self.folder / label)
        self._expire()
        return made

    def prove(self) -> Proof:
        """Restore the newest one beside the database, and hold it against what it held. Raises AgentError."""
        backup = self._sound()[-1]
        began = time.monotonic()
        checks = [Check("bytes", self._is_as_taken(backup), "the dump is the one that was taken")]
        if checks[0].ok:
            with self._beside(backup), self._connected(SIDE) as connection, connection.cursor() as cursor:
                wrong = differences(backup.tables, content(cursor))
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
        """Have the history back: the newest sound backup of each database that there was. Raises AgentError.

        The newest of all takes the place of a database that is gone or has no row; every other row is added to what is
        there. `incarnate`: as another database, to which every spool ships again what it has.
        """
        chosen = self._newest_of_each()
        for backup in chosen:
            if not self._is_as_taken(backup):
                hint = "Move it away: then the one before it is next."
                raise AgentError(f"{backup.label} is not as it was taken.", hint)
        newest = chosen[-1]
        if self._is_empty():
            self._take_the_place(chosen.pop(), incarnate)
        return {"label": newest.label, "taken_at": newest.taken_at, "added": sum(map(self._added, chosen))}

    def _take_the_place(self, backup: Backup, incarnate: bool) -> None:
        """At once: nobody who ships finds half of it."""
        with self._beside(backup):
            with self._connected(SIDE) as connection:
                migrate.migrate(connection, migrate.migrations())
                if incarnate:
                    with connection, connection.cursor() as cursor:
                        cursor.execute("UPDATE incarnation SET id = gen_random_uuid(), since = now()")
            self._sql("postgres", f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
            self._sql("postgres", f"ALTER DATABASE {SIDE} RENAME TO {DATABASE}")

    def _added(self, backup: Backup) -> int:
        """How many of its rows were not there."""
        with self._beside(backup), self._connected(SIDE) as beside, self._connected(DATABASE) as live:
            for one in (beside, live):
                migrate.migrate(one, migrate.migrations())
            return merge(beside, live)

    def _sound(self) -> list[Backup]:
        """Those that no proof has found damaged, the oldest first; at least one."""
        verdicts = proofs.verdicts(proofs.read(self.folder / _PROOFS))
        sound = [one for one in self.backups() if one.label not in verdicts or verdicts[one.label].passed]
        if not sound:
            raise AgentError(f"{self.folder} has no backup that counts.", "Take one: agents.monitor.backup take.")
        return sound

    def _newest_of_each(self) -> list[Backup]:
        """Of each database, by its incarnation: what was told to one before it was lost may be in no later one's."""
        newest = {one.incarnation: one for one in self._sound()}
        return sorted(newest.values(), key=lambda one: one.label)

    def _expire(self) -> None:
        """The newest KEEP stay, of each database the newest, and whatever is the newest that was proven."""
        every = self.backups()
        verdicts = proofs.verdicts(proofs.read(self.folder / _PROOFS))
        proven = [one.label for one in every if one.label in verdicts and verdicts[one.label].passed]
        stay = {*proven[-1:], *(one.label for one in self._newest_of_each())}
        for one in every[:-KEEP]:
            if one.label not in stay:
                shutil.rmtree(self.folder / one.label)

    def _is_empty(self) -> bool:
        """Or gone."""
        if not self._rows("postgres", f"SELECT FROM pg_database WHERE datname = '{DATABASE}'"):
            return True
        if not self._rows(DATABASE, "SELECT to_regclass('kinds') IS NOT NULL")[0][0]:
            return True
        tables = [name for (name,) in self._rows(DATABASE, "SELECT table_name FROM kinds")]
        return not any(self._rows(DATABASE, f"SELECT FROM {table} LIMIT 1") for table in (*tables, "rejected"))

    @contextmanager
    def _beside(self, backup: Backup) -> Iterator[None]:
        """It is restored beside the database meanwhile. Raises AgentError."""
        busy = Busy("Another proof or restore is under way.", "Try again when it is over.")
        with held(self.folder / "side.lock", busy):
            try:
                self._load(backup)
                yield
            finally:
                self._sql("postgres", f"DROP DATABASE IF EXISTS {SIDE} WITH (FORCE)")

    def _load(self, backup: Backup) -> None:
        for role in ("recorder", "historian"):
            if not self._rows("postgres", f"SELECT FROM pg_roles WHERE rolname = '{role}'"):
                self._sql("postgres", f"CREATE ROLE {role}")
        self._sql("postgres", f"DROP DATABASE IF EXISTS {SIDE} WITH (FORCE)")
        self._sql("postgres", f"CREATE DATABASE {SIDE} TEMPLATE template0")
        dump = str(self._dump(backup))
        self._program("pg_restore", "--exit-on-error", "--no-owner", "-d", self._to(SIDE), dump)

    def _is_as_taken(self, backup: Backup) -> bool:
        return _sha256(self._dump(backup)) == backup.sha256

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
        whose = str(told.get("incarnation", ""))
        return Backup(str(told["label"]), float(told["taken_at"]), str(told["sha256"]), tables, whose)
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
    does: dict[str, Callable[[], dict[str, Any]]] = {
        "list": shelf.listed, "take": lambda: shelf.take().as_json, "restore": shelf.restore,
    }  # fmt: skip
    print(json.dumps(does[given.what]()))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
