"""The second way to back up: PostgreSQL's own pg_basebackup, always in full, kept on the backup host as it is.

    python3 -m agents.postgresql.native take               prints what was taken
    python3 -m agents.postgresql.native list
    python3 -m agents.postgresql.native verify [LABEL]     exit 1 when anything is damaged

Nothing of pgBackRest is needed to take, verify or restore one. Each is a plain directory with PostgreSQL's manifest,
since pg_verifybackup of PostgreSQL 17 verifies nothing else, so it is neither compressed nor encrypted: the folder is
open to postgres only and belongs on an encrypted disk. It carries the WAL that makes it consistent and no other: it is
restored as it ended. There are no incremental ones: what they need of the server may stop a promotion.

Of those that are taken two stay, and older ones until a newer one was restored and found whole, which
`agents.postgresql.prove --engine native` does; see agents/jobs/second.py.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agents.base import clock, files
from agents.base.errors import AgentError, run
from agents.base.locks import held
from agents.jobs import leases, retention, second, verification
from agents.jobs.config import PATH, Settings, load
from agents.jobs.retention import Plan
from agents.postgresql.pgbackrest import Backup, Missing

FOLDER = Path("/var/lib/mystocks-dr/native")
PROOFS = "native-proofs.jsonl"  # beside the records of the first engine
_LABEL = re.compile(r"\d{8}-\d{6}F")
_OURS = re.compile(r"\d{8}-\d{6}[FI]")  # earlier releases took incremental ones too


@dataclass(frozen=True)
class Store:
    """The folder with the backups: LABEL/ the cluster's files, LABEL.json what is known of it."""

    folder: Path = FOLDER
    config: Path = PATH

    def take(self) -> Backup:
        """Take one and verify it. Raises AgentError."""
        settings = load(self.config)
        busy = AgentError("Another native backup is being taken.", "Wait for it.")
        with held(self.folder / ".lock", busy):
            label = f"{clock.label(path.stem for path in self.folder.glob('*.json') if _OURS.fullmatch(path.stem))}F"
            partial = self.folder / f"{label}.partial"
            for torn in self.folder.glob("*.partial"):
                shutil.rmtree(torn)
            started = int(time.time())
            self._fetch(settings, partial)
            bad = self.damaged(partial)
            if bad:
                raise AgentError(f"What pg_basebackup brought is damaged: {bad[0]}.", "Run it again.")
            made = _described(label, partial, started)
            # It counts from its rename on: what is known of it must be there then, and never torn.
            files.replace(self.folder / f"{label}.json", json.dumps(asdict(made)))
            files.publish(partial, self.folder / label)
            return made

    def let_go(self) -> Plan:
        """Read those that are there again, then remove what newer, proven ones cover; nothing under a lease."""
        settings = load(self.config)
        busy = AgentError("Another native backup is being taken.", "Wait for it.")
        with held(self.folder / ".lock", busy), leases.exclusively(settings.leases):
            labels = [one.label for one in self.backups()]
            self.verify(labels)
            found = second.look(settings, self._known(), self.proofs)
            for one in found.goes:
                self._remove(one.label)
            if found.goes or not found.held:
                for path in self.folder.glob("*.json"):
                    if _OURS.fullmatch(path.stem) and path.stem not in labels:
                        self._remove(path.stem)
            return found

    @property
    def proofs(self) -> Path:
        return load(self.config).records / PROOFS

    def verify(self, labels: Sequence[str]) -> tuple[str, ...]:
        """What is damaged of these; it is noted, and they count no longer."""
        found = {label: bad for label in labels if (bad := self.damaged(self.directory(label)))}
        verification.note(self.proofs, {label: "; ".join(bad[:3]) for label, bad in found.items()}, labels)
        return tuple(line for bad in found.values() for line in bad)

    def _known(self) -> list[retention.Backup]:
        return [
            retention.Backup(one.label, one.kind, one.started_at, one.stopped_at, one.size) for one in self.backups()
        ]

    def backups(self) -> tuple[Backup, ...]:
        """Every one, oldest first."""
        found = sorted(path for path in self.folder.glob("*.json") if self._is_whole(path))
        return tuple(_known(path) for path in found)

    def directory(self, label: str) -> Path:
        """Where one lies. Raises Missing."""
        if not self._is_whole(self.folder / f"{label}.json"):
            there = ", ".join(one.label for one in self.backups()) or "none"
            raise Missing(f"There is no native backup {label}.", f"There is {there}.")
        return self.folder / label

    def damaged(self, path: Path) -> tuple[str, ...]:
        """What pg_verifybackup finds wrong, each with the backup it is in."""
        done = subprocess.run(
            [_program(path, "pg_verifybackup"), "--quiet", str(path)], capture_output=True, text=True,
            errors="replace", check=False, cwd="/", stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if not done.returncode:
            return ()
        said = [line.split("error: ", 1)[-1] for line in done.stderr.splitlines() if "error: " in line]
        return tuple(f"{path.name}: {line}" for line in said or [done.stderr.strip()[-200:]])

    def _fetch(self, settings: Settings, target: Path) -> None:
        """Run pg_basebackup against the primary, over TLS, as a role that may only replicate."""
        database = settings.database
        dsn = {
            "host": ",".join(host.name for host in database.hosts),
            "hostaddr": ",".join(host.address or "" for host in database.hosts),
            "port": ",".join(str(host.port) for host in database.hosts),
            "user": "replicator", "dbname": "postgres", "target_session_attrs": "read-write", "connect_timeout": "5",
            "application_name": "mystocks-native", **database.libpq,
        }  # fmt: skip
        command = [
            "pg_basebackup", "-d", " ".join(f"{name}={value}" for name, value in dsn.items() if value.strip(",")),
            "-D", str(target), "-X", "stream", "-c", "fast", "--manifest-checksums=SHA256", "--no-password",
        ]  # fmt: skip
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, cwd="/", stdin=subprocess.DEVNULL
        )
        if done.returncode:
            shutil.rmtree(target, ignore_errors=True)
            said = [line.split("error: ", 1)[-1] for line in done.stderr.splitlines() if "error: " in line]
            why = said[-1] if said else done.stderr.strip()[-300:]
            raise AgentError(f"pg_basebackup took nothing: {why}.", "See that the primary answers.")

    def _remove(self, label: str) -> None:
        """Its record first: without one it is no backup, whatever is left of it."""
        (self.folder / f"{label}.json").unlink(missing_ok=True)
        files.sync_folder(self.folder)
        shutil.rmtree(self.folder / label, ignore_errors=True)

    def _is_whole(self, path: Path) -> bool:
        return _LABEL.fullmatch(path.stem) is not None and path.exists() and path.with_suffix("").is_dir()


def _known(path: Path) -> Backup:
    said: dict[str, Any] = json.loads(path.read_text())
    said.pop("prior", None)  # earlier releases wrote it
    return Backup(**said)


def _described(label: str, path: Path, started: int) -> Backup:
    """From PostgreSQL's own manifest and label file."""
    manifest = json.loads((path / "backup_manifest").read_text())
    span = manifest["WAL-Ranges"][-1]
    segment = re.search(r"\(file ([0-9A-F]{24})\)", (path / "backup_label").read_text())
    first = segment.group(1) if segment else ""
    return Backup(
        label=label, kind="full", started_at=started, stopped_at=int(time.time()), lsn_start=span["Start-LSN"],
        lsn_stop=span["End-LSN"], wal_start=first, wal_stop=first, error=False,
        size=sum(_size(one) for one in manifest["Files"]), version=_version(path), archive_max="", annotation={},
    )  # fmt: skip


def _size(file: dict[str, Any]) -> int:
    return int(file["Size"])


def _version(path: Path) -> int:
    return int((path / "PG_VERSION").read_text().strip())


def _program(path: Path, name: str) -> str:
    return f"/usr/lib/postgresql/{_version(path)}/bin/{name}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.postgresql.native", description="Backups with pg_basebackup.")
    parser.add_argument("--config", type=Path, default=PATH)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("take")
    commands.add_parser("list")
    commands.add_parser("verify").add_argument("label", nargs="?", default="")
    options = parser.parse_args(arguments)
    store = Store(options.folder, options.config)
    if options.command == "take":
        made = store.take()
        sentence = f"{made.label}: native full, {made.size / 2**20:.1f} MiB{second.told(store.let_go())}"
        print(json.dumps({**asdict(made), "sentence": sentence}), flush=True)
        return 0
    if options.command == "list":
        print(json.dumps([asdict(one) for one in store.backups()]), flush=True)
        return 0
    return _verify(store, options.label)


def _verify(store: Store, label: str) -> int:
    labels = [label] if label else [one.label for one in store.backups()]
    if not labels:
        raise Missing("There is no native backup to verify.", "Take one: python3 -m agents.postgresql.native take")
    bad = store.verify(labels)
    print(json.dumps({"verified": labels, "damaged": bad}), flush=True)
    if bad:
        raise AgentError(f"Native backups are damaged: {'; '.join(bad[:3])}.", "Take another one.")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
