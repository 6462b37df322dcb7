"""Put a finished database in the place of the one that is there: nobody has it open, it is kept, one rename decides.

Killed at whatever moment it leaves the old one or the new one. The old one is first made a single file by SQLite
itself: its log beside a new file would be taken for the new one's.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from agents.base import clock, files
from agents.base.errors import AgentError
from agents.base.locks import held
from agents.sqlite import copying, ground, session
from agents.sqlite.ground import MAGIC, InUse, NoDatabase, sidecar, sidecars
from agents.sqlite.session import Damaged, told

SAFETY = "pre_restore"
_PARTIAL = ".partial-"
_HEADER = 100  # bytes that make a file a database


@dataclass(frozen=True)
class Swapped:
    """`safety`: the folder with the old one as it was, None where there was none."""

    safety: Path | None


def reached(step: str) -> None:
    """A step is done; tests end the process here."""


@contextmanager
def restoring(path: Path) -> Iterator[Path]:
    """One restore at a time; gives the name under which to build the new file. What a killed one left is removed."""
    ground.check_disk(path)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    busy = AgentError(f"{path} is being restored by somebody else.", "Wait for it.")
    with held(path.with_name(f".{path.name}.restore.lock"), busy):
        partial = path.with_name(f".{path.name}.restoring")
        copying.discard(partial)
        partial.with_name(f"{partial.name}.epoch").unlink(missing_ok=True)
        try:
            yield partial
        finally:
            copying.discard(partial)


def swap(path: Path, new: Path, check: Callable[[Path], None]) -> Swapped:
    """`new` is whole and checked; `check` looks at it once more where it is to be used, and raises AgentError when it
    is not well there: then the old one is back. Raises InUse before anything was changed.
    """
    reached("built")
    if not path.exists():
        safety = _without_database(path)
        _rename(new, path)
    else:
        _same_owner(path, new)
        safety = _over(path, new)
    reached("swapped")
    try:
        check(path)
    except AgentError:
        _back(path, safety)
        raise
    reached("checked")
    return Swapped(safety)


def _over(path: Path, new: Path) -> Path:
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)  # the old file, whatever has its name later
    try:
        try:
            # SQLite would copy the log into whatever the file is when it closes it, and remove the log.
            if os.pread(handle, len(MAGIC), 0) != MAGIC:
                return _over_none(path, new, handle)
            old = _alone(path)
        except (NoDatabase, Damaged):
            return _over_none(path, new, handle)
        try:
            reached("alone")
            safety = keep(path)
            reached("kept")
            _rename(new, path)
            reached("renamed")
            _end(handle)
        finally:
            old.close()
    finally:
        os.close(handle)
    return safety


def _alone(path: Path) -> sqlite3.Connection:
    """The database, which nobody else has open and which is one file now. Raises InUse, NoDatabase, Damaged.

    Leaving WAL mode takes that nobody else is there, copies all of the log into the file and removes it: SQLite's own
    way, safe at every moment. Whoever opens it later turns the log on again.
    """
    ground.check_file(path)
    with told(path):
        connection = sqlite3.connect(path, 1.0, isolation_level=None)
        try:
            mode = connection.execute("PRAGMA journal_mode = DELETE").fetchone()[0]
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            connection.close()
            if "locked" in str(error):
                who = "; ".join(ground.users(path)) or "another process"
                raise InUse(f"{path} is in use: {who}.", "Stop what writes there and its protector first.") from error
            raise
        except BaseException:
            connection.close()
            raise
    if mode != "delete":
        connection.close()
        raise InUse(f"{path} stays in {mode} mode.", "Stop what has it open.")
    return connection


def _over_none(path: Path, new: Path, handle: int) -> Path:
    """The old one is no database, with its log or without: it is kept with all that lies beside it."""
    who = ground.users(path)
    if who:
        raise InUse(f"{path} is in use: {'; '.join(who)}.", "Stop what writes there and its protector first.")
    safety = keep(path)
    reached("kept")
    _bare(path)
    _rename(new, path)
    reached("renamed")
    _end(handle)
    return safety


def _without_database(path: Path) -> Path | None:
    """No file is there; a log that one left would be taken for the new one's."""
    if not any(one.exists() for one in sidecars(path)):
        return None
    safety = keep(path)
    _bare(path)
    return safety


def _bare(path: Path) -> None:
    """Nothing of SQLite's lies beside it any more."""
    for one in sidecars(path):
        one.unlink(missing_ok=True)
    files.sync_folder(path.parent)
    reached("bare")


def keep(path: Path) -> Path:
    """A copy of the file and of what lies beside it, byte for byte and on the disk: a new folder in pre_restore."""
    partial = new_folder(path)
    for one in (path, *sidecars(path)):
        if one.exists():
            _copied(one, partial / one.name)
    return published(partial)


def new_folder(path: Path) -> Path:
    """Where a copy of the old one goes until it is whole; what a killed restore left half done is removed."""
    folder = path.parent / SAFETY
    folder.mkdir(exist_ok=True, mode=0o750)
    for torn in folder.glob(f"{_PARTIAL}*"):
        shutil.rmtree(torn)
    partial = folder / f"{_PARTIAL}{clock.label(one.name for one in folder.iterdir())}F"
    partial.mkdir(mode=0o750)
    return partial


def published(partial: Path) -> Path:
    """Give it its name."""
    whole = partial.with_name(partial.name.removeprefix(_PARTIAL))
    files.publish(partial, whole)
    return whole


def _copied(source: Path, target: Path) -> None:
    """By a process of its own: a handle of the database that is closed here would give our locks back."""
    command = ["cp", "--reflink=auto", "--preserve=mode,ownership,timestamps", "--", str(source), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AgentError(f"{source} was not kept: {done.stderr.strip().rstrip('.')}.", "Is there room?")
    copying.sync(target)


def _rename(new: Path, path: Path) -> None:
    copying.sync(new)
    new.rename(path)
    files.sync_folder(path.parent)


def _end(handle: int) -> None:
    """The old file has no name any more. Whoever opened it a moment ago is not to write into it unseen."""
    if not os.fstat(handle).st_nlink:
        os.pwrite(handle, b"\0" * _HEADER, 0)


def _same_owner(path: Path, new: Path) -> None:
    found = path.stat()
    with suppress(PermissionError):
        os.chown(new, found.st_uid, found.st_gid)
    new.chmod(found.st_mode & 0o777)


def _back(path: Path, safety: Path | None) -> None:
    """The old one, as it was, in its place again."""
    copying.discard(path.with_name(f".{path.name}.back"))
    if safety is None or not (safety / path.name).exists():
        return
    for one in sidecars(path):
        one.unlink(missing_ok=True)
    log = sidecar(safety / path.name, "-wal")
    if log.exists():
        _copied(log, sidecar(path, "-wal"))
    back = path.with_name(f".{path.name}.back")
    _copied(safety / path.name, back)
    _rename(back, path)


def kept(path: Path) -> list[Path]:
    """Old ones, as restores left them."""
    return list((path.parent / SAFETY).glob(f"*/{path.name}"))


def note(path: Path, **said: object) -> None:
    """One line of the database's history of restores."""
    files.append(path.parent / "restores.jsonl", json.dumps({"at": time.time(), **said}))


def history(path: Path) -> list[dict[str, object]]:
    """The newest first."""
    try:
        lines = (path.parent / "restores.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        with suppress(ValueError):
            found.append(json.loads(line))
    return found[::-1]


def open_again(path: Path) -> None:
    """What `swap` asks of a database in its place."""
    with closing(session.connect(path)) as connection:
        session.write_ahead(connection, path)
