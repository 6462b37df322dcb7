"""The second way to back TDengine up: its own taosdump, packed and locked, kept beside the other backups.

    python3 -m agents.tdengine.backup.dump take                              prints what was taken
    python3 -m agents.tdengine.backup.dump list
    python3 -m agents.tdengine.backup.dump verify [LABEL]                    exit 1 when anything is damaged
    python3 -m agents.tdengine.backup.dump prove [LABEL]                     restore one into a server of its own
    python3 -m agents.tdengine.backup.dump restore [LABEL] --into DATABASE   into a database that is not there yet

Always a whole database but for tables with types, names or tags that taosdump cannot take or writes as something else,
which are named; and portable: any TDengine reads what taosdump wrote. Rows are counted on the server before and after,
since taosdump ends well whatever it left out; and it forgets options of the database and how plain tables were made,
which are kept beside. Two stay, and older ones until a newer one was restored and found whole; see
agents/jobs/second.py.
"""

from __future__ import annotations

import argparse
import hmac
import json
import re
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agents.base import clock, files, signals
from agents.base.errors import AgentError, run
from agents.base.locks import held
from agents.jobs import config, leases, proofs, proving, second, verification
from agents.jobs.proofs import Check, Proof
from agents.jobs.retention import Backup, Plan
from agents.tdengine.backup import dump_pack, dump_tool, making, scan, schema
from agents.tdengine.backup import settings as td_settings
from agents.tdengine.backup.file import Broken
from agents.tdengine.backup.manifest import seal
from agents.tdengine.backup.raw import RawSession
from agents.tdengine.backup.scratch import server
from agents.tdengine.backup.settings import Settings
from agents.tdengine.session import Settings as Server
from agents.tdengine.sql import identifier, quoted

FOLDER_NAME = "td-dumps"
PROOFS = "td-dump-proofs.jsonl"  # beside the records of the first engine
DATA = "dump.tar.zst.enc"
_UNDUMPED = frozenset(("DECIMAL", "DECIMAL64", "BLOB", "MEDIUMBLOB"))
_CUT = frozenset(("FLOAT", "DOUBLE", "GEOMETRY"))  # as tags: it writes six decimals of them
_TEXTS = frozenset(("VARCHAR", "BINARY", "NCHAR", "JSON"))  # as tags: what it writes of a backslash is read otherwise
# What ends taosdump: a quote in the name of any table, and in names of supertables, plain tables and columns what its
# JSON does not escape.
_UNQUOTED, _UNESCAPED = re.compile("'"), re.compile(r'["\\]')
_A_QUOTE = quoted("%'%")
_A_BACKSLASH = quoted("%\\\\%")
_LABEL = re.compile(r"\d{8}-\d{6}D")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")


class Lacking(AgentError):  # noqa: N818 - named after what is wrong, as in the rest of the repository
    """Rows of a dump did not come back."""


@dataclass(frozen=True)
class Dump:
    """What is known of one. Times in unix seconds; `counts`: rows by table when it began; `options` of the
    database; `file`: {"bytes", "sha256"}; `left_out`: why, of the tables that taosdump cannot take; `plain`: how the
    tables without a supertable were made.
    """

    label: str
    started_at: float
    ended_at: float
    server_version: str
    database: str
    options: dict[str, Any]
    counts: dict[str, int]
    rows: int
    file: dict[str, Any]
    key_id: str
    seconds: float
    left_out: dict[str, str] = field(default_factory=dict)
    plain: dict[str, schema.Shape] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        size = self.file["bytes"] / 2**20
        said = f"{self.label}: {self.rows:,} rows in {self.seconds:.1f} s with taosdump, {size:.1f} MiB, read again"
        named = "; ".join(f"{name}: {why}" for name, why in self.left_out.items())
        return f"{said}; NOT in it: {named}" if named else said


class Dumps:
    """The folder with the dumps: LABEL/ with the packed dump and what is known of it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.folder = settings.folder.with_name(FOLDER_NAME)

    def take(self) -> Dump:
        """Take one and read it again. Raises AgentError."""
        with self._locked():
            began, started = time.monotonic(), time.time()
            label = f"{clock.label(self.labels())}D"
            with self._scratch(label) as partial:
                plain = partial / "plain"
                options, left_out, before, version, made_by_us = self._ask()
                only = list(before) if left_out else ()
                rows = dump_tool.out(self._settings.server(), self._settings.database, plain, partial, only)
                _account(before, self._count(only), rows)
                file = dump_pack.pack(plain, partial / DATA, self._settings.cipher, self._settings.zstd_level)
                shutil.rmtree(plain)
                (partial / dump_tool.RESULT).unlink(missing_ok=True)
                dump_pack.read(partial / DATA, self._settings.cipher, file)
                made = Dump(
                    label, started, time.time(), version, self._settings.database, options, before, rows, file,
                    self._settings.key_id(), round(time.monotonic() - began, 3), left_out, made_by_us,
                )  # fmt: skip
                self._publish(made, partial)
            return made

    def let_go(self, jobs: config.Settings) -> Plan:
        """Read those that are there again, then remove what newer, proven ones cover; nothing under a lease."""
        with self._locked(), leases.exclusively(jobs.leases):
            there, wrong = [], dict[str, str]()
            for label in self.labels():
                try:
                    one = self.verify(label)
                    there.append(Backup(label, "full", one.started_at, one.ended_at, int(one.file["bytes"])))
                except AgentError as error:
                    wrong[label] = str(error)
                    there.append(Backup(label, "full", 0.0, 0.0, 0, error=True))
            verification.note(self.proofs, wrong, [one.label for one in there])
            found = second.look(jobs, there, self.proofs)
            for gone in found.goes:
                shutil.rmtree(self.folder / gone.label)
            return found

    @property
    def proofs(self) -> Path:
        return self._settings.proofs.with_name(PROOFS)

    def prove(self, label: str = "") -> Proof:
        """Restore one, or the next in turn, into a server of its own, and record what became of it."""

        def trial() -> Proof:
            chosen = label or proving.turn("td-prove", self.labels(), proofs.read(self.proofs)) or ""
            began, found = time.monotonic(), self.load(chosen)
            try:
                with server(self.folder / ".proof") as reach:
                    said = self.restore(found.label, "proof", reach)
                check = Check("rows", True, said["sentence"])
            except (Broken, Lacking) as error:
                check = Check("restored", False, str(error))
            rows = {"restore_bytes": found.file["bytes"], "restore_rows": found.rows, "restore_s": 0.0}
            damaged = () if check.ok else (check.detail,)
            return Proof(
                found.label, time.time(), check.ok, damaged, "full", 1, time.monotonic() - began, rows, (check,),
                proving.judged(found.label, (check,), f": {found.rows:,} rows restored"),
            )  # fmt: skip

        return proving.prove("td-dump-prove", "a dump of TDengine", self.proofs, trial)

    def labels(self) -> list[str]:
        """Those that are whole, oldest first."""
        return sorted(path.name for path in self.folder.glob("*") if _LABEL.fullmatch(path.name))

    def load(self, label: str = "") -> Dump:
        """One, or the newest. Raises AgentError for one that is not there or was edited."""
        known = self.labels()
        if not known or (label and label not in known):
            there = ", ".join(known) or "none"
            raise AgentError(f"There is no dump{f' {label}' if label else ''}.", f"There is {there}.")
        path = self.folder / (label or known[-1]) / "manifest.json"
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            if hmac.compare_digest(str(said["seal"]), seal(said["body"], self._settings)):
                return Dump(**json.loads(said["body"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AgentError(f"{path} cannot be used: {error!r}.", "Use another dump.") from error
        raise AgentError(f"{path} was edited, or sealed with another key.", "Use another dump.")

    def verify(self, label: str = "") -> Dump:
        """Read it to its end. Raises Broken."""
        found = self.load(label)
        dump_pack.read(self.folder / found.label / DATA, self._settings.cipher, found.file)
        return found

    def restore(self, label: str, target: str, into: Server | None = None) -> dict[str, Any]:
        """Bring one back as the new database `target`, and count its rows there. Raises AgentError.

        `into` is a server of one node, for a trial.
        """
        if not _NAME.fullmatch(target):
            raise AgentError(f"{target!r} is no name for a database.", "Use letters, digits and underscores.")
        began, found = time.monotonic(), self.load(label)
        with self._locked(), self._scratch(f"{found.label}-restore") as partial:
            plain = partial / "plain"
            plain.mkdir(mode=0o700)
            dump_pack.unpack(self.folder / found.label / DATA, plain, self._settings.cipher, found.file)
            reach = into or self._settings.server()
            options = found.options | ({"replica": 1} if into else {})
            with RawSession(reach) as session:
                if session.rows(f"SELECT name FROM information_schema.ins_databases WHERE name = '{target}'"):
                    raise AgentError(f"Database {target} is there, and nothing is written over it.", "Name another.")
                session.execute(create_statement(target, options))
                for name, shape in found.plain.items():  # taosdump asks for one that it has not made yet, and ends
                    session.execute(making.table(target, name, shape))
                told = dump_tool.into(reach, plain, found.database, target, partial)
                there = _counts(session, target, schema.tables(session, target))
        lacking = {name: rows - there.get(name, 0) for name, rows in found.counts.items() if rows > there.get(name, 0)}
        if lacking or sum(there.values()) < found.rows:
            names = ", ".join(f"{rows} rows of {name}" for name, rows in lacking.items()) or f"rows of {target}"
            raise Lacking(f"The restore of {found.label} lacks {names}.", f"taosdump said that it wrote {told}.")
        seconds = round(time.monotonic() - began, 3)
        sentence = f"{found.label}: {sum(there.values()):,} rows in {target} after {seconds:.1f} s"
        return {"label": found.label, "into": target, "rows": there, "seconds": seconds, "sentence": sentence}

    def _ask(self) -> tuple[dict[str, Any], dict[str, str], dict[str, int], str, dict[str, schema.Shape]]:
        """Options of the database; why, of what taosdump cannot take; the rows of everything else; the version; plain
        tables.
        """
        database = self._settings.database
        with RawSession(self._settings.server()) as session:
            tables = schema.tables(session, database)
            changed = {name: why for name, why in _changed(session, database).items() if name in tables}
            left_out = changed | undumped(tables, _unquoted(session, database))
            taken = _counts(session, database, [name for name in tables if name not in left_out])
            if left_out and not taken:
                raise AgentError(f"taosdump can take no table of {database}.", "Take a backup without --engine.")
            plain = {name: shape for name, shape in tables.items() if name in taken and not shape["tags"]}
            return scan.options(session, database), left_out, taken, session.server, plain

    def _count(self, only: Sequence[str]) -> dict[str, int]:
        """The rows of these tables, or of all that there are by now: taosdump takes those that came meanwhile too."""
        database = self._settings.database
        with RawSession(self._settings.server()) as session:
            tables = schema.tables(session, database)
            return _counts(session, database, [name for name in tables if not only or name in only])

    def _publish(self, made: Dump, partial: Path) -> None:
        body = json.dumps(asdict(made), sort_keys=True)
        files.new(partial / "manifest.json", json.dumps({"seal": seal(body, self._settings), "body": body}))
        files.publish(partial, self.folder / made.label)

    @contextmanager
    def _scratch(self, name: str) -> Iterator[Path]:
        """A new folder beside the dumps, gone afterwards; so are those of runs that were killed."""
        for torn in self.folder.glob(".partial-*"):
            shutil.rmtree(torn)
        path = self.folder / f".partial-{name}"
        path.mkdir(mode=0o700)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with held(self.folder / ".lock", AgentError("Another dump is being taken or restored.", "Wait for it.")):
            yield


def create_statement(database: str, options: Mapping[str, Any]) -> str:
    """CREATE DATABASE with what a dump forgets; three values of KEEP are one for each tier."""
    return (
        f"CREATE DATABASE `{database}` PRECISION '{options['precision']}' KEEP {options['keep']} "
        f"DURATION {options['duration']} REPLICA {options['replica']} VGROUPS {options['vgroups']} "
        f"WAL_LEVEL {options['wal_level']} WAL_FSYNC_PERIOD {options['wal_fsync_period']}"
    )


def undumped(tables: Mapping[str, schema.Shape], unquoted: Mapping[str, str]) -> dict[str, str]:
    """Why taosdump, which ends at the first type or name that it does not take, cannot take these tables.

    `unquoted`: a subtable with a quote in its name, by supertable.
    """
    return {name: why for name, shape in tables.items() if (why := _why_not(name, shape, unquoted.get(name, name)))}


def _why_not(name: str, shape: schema.Shape, subtable: str) -> str:
    typed = [*((column, kind) for column, kind, _ in shape["columns"]), *shape["tags"]]
    odd = next(
        (one for one in (name, subtable) if _UNQUOTED.search(one)),
        next((one for one in (name, *(column for column, _ in typed)) if _UNESCAPED.search(one)), ""),
    )  # fmt: skip
    if odd:
        return f"taosdump cannot write the name {odd}"
    unknown = next((f"taosdump knows no {kind} ({one})" for one, kind in typed if schema.plain(kind) in _UNDUMPED), "")
    cut = (f"taosdump cuts a tag of {kind} ({one})" for one, kind in shape["tags"] if schema.plain(kind) in _CUT)
    return unknown or next(cut, "")


def _unquoted(session: RawSession, database: str) -> dict[str, str]:
    rows = session.rows(
        f"SELECT stable_name, table_name FROM {schema.TABLES} WHERE db_name = {quoted(database)} "
        f"AND `type` = 'CHILD_TABLE' AND table_name LIKE {_A_QUOTE}"
    )
    return {str(stable): str(name) for stable, name in rows if _UNQUOTED.search(str(name))}


def _changed(session: RawSession, database: str) -> dict[str, str]:
    """Why, of supertables with a text in a tag that comes back as another one, or ends taosdump when it comes back."""
    ask = (
        "SELECT DISTINCT stable_name, tag_name, tag_type FROM information_schema.ins_tags "
        f"WHERE db_name = {quoted(database)} AND tag_value LIKE "
    )
    found = [(*row, "backslash") for row in session.rows(ask + _A_BACKSLASH) if schema.plain(str(row[2])) in _TEXTS]
    found += [(*row, "quote") for row in session.rows(ask + _A_QUOTE) if schema.plain(str(row[2])) == "JSON"]
    return {str(name): f"taosdump cannot write a {what} in a tag ({tag})" for name, tag, _, what in found}


def _counts(session: RawSession, database: str, tables: Iterable[str]) -> dict[str, int]:
    of = identifier(database)
    return {name: int(session.rows(f"SELECT COUNT(*) FROM {of}.{identifier(name)}")[0][0]) for name in tables}


def _account(before: Mapping[str, int], after: Mapping[str, int], rows: int) -> None:
    """Raises AgentError when taosdump left rows out; rows that came meanwhile may be in it or not."""
    low, high = sorted((sum(before.values()), sum(after.values())))
    if not low <= rows <= high:
        span = f"{low}" if low == high else f"{low} to {high}"
        raise AgentError(
            f"taosdump brought {rows} rows, the server has {span}.", "Run it again, with a smaller -B when it repeats."
        )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.tdengine.backup.dump", description="TDengine's own dumps.")
    parser.add_argument("--config", type=Path, default=td_settings.PATH)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("take", help="dump the whole database")
    commands.add_parser("list", help="the dumps as JSON")
    commands.add_parser("verify", help="read one again").add_argument("label", nargs="?", default="")
    proving_one = commands.add_parser("prove", help="restore one into a server of its own")
    proving_one.add_argument("label", nargs="?", default="")
    restoring = commands.add_parser("restore", help="into a new database")
    restoring.add_argument("label", nargs="?", default="")
    restoring.add_argument("--into", required=True, metavar="DATABASE")
    options = parser.parse_args(arguments)
    dumps = Dumps(td_settings.load(options.config))
    if options.command == "list":
        answer: Any = {"dumps": [asdict(dumps.load(label)) for label in dumps.labels()]}
    elif options.command == "restore":
        answer = dumps.restore(options.label, options.into)
    elif options.command == "prove":
        with signals.as_errors():
            return proving.tell(dumps.prove(options.label))
    elif options.command == "take":
        found = dumps.take()
        answer = {**asdict(found), "sentence": f"{found.sentence}{second.told(dumps.let_go(config.load()))}"}
    else:
        found = dumps.verify(options.label)
        answer = {**asdict(found), "sentence": f"{found.label} is whole: {found.rows:,} rows"}
    print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
