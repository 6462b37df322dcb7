"""The off-site copy of the backups of all stores and their records, kept by restic on a host that offers only that.

    python3 -m agents.offsite.copies copy                   run by agents.jobs.runner, which holds the repository's lock
    python3 -m agents.offsite.copies list                               the snapshots, as JSON
    python3 -m agents.offsite.copies holds                              why none of them may go now, and what stays
    python3 -m agents.offsite.copies restore [--snapshot ID] [--target DIR] [--only PATH]
                                         into a host whose repository is empty; with --target beside everything else
    python3 -m agents.offsite.copies restore --only /var/lib/mystocks-dr/tdengine[/LABEL]
                                         brings TDengine's backups back, or one of them, where they are lost
    python3 -m agents.offsite.copies restore --only /var/lib/mystocks-dr/sqlite[/HOST-DATABASE]
                                         brings of SQLite's what is not there, beside what is
    python3 -m agents.offsite.copies shelves                 which SQLite databases the newest snapshot holds

Prints one JSON object. No job writes the repository during a copy; WAL that arrives meanwhile is in the next.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from agents.base.clock import has_been
from agents.base.errors import AgentError, run
from agents.jobs import state as jobs_state
from agents.jobs.config import PATH, Offsite, Settings, load
from agents.offsite import law, restic, shelves
from agents.postgresql.expire import backups

TAG = "mystocks-dr"
# The last three are backups and files that are being made or removed.
_NOT_COPIED = (".backup.lock", "*.pgbackrest.tmp", "*.lock", ".partial-*", ".gone-*", ".*.new")


def copied(settings: Settings) -> list[str]:
    """What a snapshot holds: the backups of all stores, the state of the jobs, the proofs."""
    every = (
        settings.repository, settings.states, settings.proofs, settings.td_proofs, *settings.td_folders,
        settings.sqlite,
    )  # fmt: skip
    return [str(path) for path in every if path.exists()]


def copy(settings: Settings) -> dict[str, Any]:
    """Take a snapshot, let old ones go, read a part back. Raises AgentError."""
    offsite = _offsite(settings)
    _worth_copying(settings)
    first = _ready(offsite)
    excluded = [word for pattern in _NOT_COPIED for word in ("--exclude", pattern)]
    with shelves.still(settings):
        told = restic.summary(
            restic.run(offsite, "backup", "--host", settings.stanza, "--tag", TAG, *excluded, *copied(settings))
        )
    snapshot, added = str(told.get("snapshot_id", "")), told.get("data_added_packed", told.get("data_added", 0))
    if not snapshot:
        raise AgentError("restic ended well and named no snapshot.", "`restic snapshots` shows what is there.")
    # What is damaged there is known before anything that may have it whole is let go.
    checked = law.read_back(settings, offsite, first)
    kept = _forget(settings, offsite)
    sentence = f"snapshot {snapshot[:8]} on {offsite.host}: {int(added) / 2**20:.1f} MiB new; {kept}{checked}"
    return {"snapshot": snapshot, "host": offsite.host, "bytes_added": int(added), "sentence": sentence}


def _offsite(settings: Settings) -> Offsite:
    if settings.offsite is None:
        raise AgentError("This estate has no off-site host.", "Add a group `offsite` to the inventory; ./dr deploy.")
    return settings.offsite


def _worth_copying(settings: Settings) -> None:
    """Copying an emptied repository day after day would push the good copies out."""
    if not backups(settings.stanza):
        holds_none = f"{settings.repository} holds no backups of {settings.stanza}"
        raise AgentError(f"{holds_none}, so it is not copied.", "./dr backup.list")
    taken = [jobs_state.read(job, settings.states) for job in ("td-full", "td-incr") if job in settings.jobs]
    if any(state and state.last_success_at for state in taken) and not _td_backups(settings):
        gone = f"{settings.td_folders[0]} holds none of the TDengine backups that were taken"
        raise AgentError(f"{gone}, so nothing is copied.", f"Bring them back: {_WAY_BACK}.")
    shelves.worth_copying(settings)


def _td_backups(settings: Settings) -> list[str]:
    """Their labels, oldest first."""
    return sorted(path.parent.name for path in settings.td_folders[0].glob("[0-9]*/manifest.json"))


_WAY_BACK = "python3 -m agents.offsite.copies restore --only /var/lib/mystocks-dr/tdengine"


def _ready(offsite: Offsite) -> bool:
    """Make the repository once; True when it is new. Locks of processes that are gone are taken away."""
    try:
        restic.run(offsite, "cat", "config")
    except restic.NoRepository:
        restic.run(offsite, "init")
        return True
    restic.run(offsite, "unlock")
    return False


def _forget(settings: Settings, offsite: Offsite) -> str:
    """Retention, held back as that of the backups here is; where this host can only add, it is the operator's."""
    held = holds(settings)
    if held:
        return f"nothing expires there: {held[0]}"
    if offsite.append_only:
        return "none can go from here: ./dr backup.expire --offsite lets them go there"
    groups = restic.run(offsite, "forget", "--group-by=", "--tag", TAG, "--prune", *rules(offsite))
    gone = sum(len(group.get("remove") or ()) for group in groups)
    left = sum(len(group.get("keep") or ()) for group in groups)
    return f"{left} snapshots stay, {gone} went"


def holds(settings: Settings) -> list[str]:
    """Why no snapshot may go now; empty when they may."""
    return law.holds(settings, [one.label for one in backups(settings.stanza)], _td_backups(settings))


def rules(offsite: Offsite) -> list[str]:
    """What stays, in restic's words."""
    kept = {"last": offsite.keep_last, "daily": offsite.keep_daily, "weekly": offsite.keep_weekly}
    return [f"--keep-{name}={count}" for name, count in kept.items()]


def snapshots(settings: Settings) -> list[dict[str, Any]]:
    """Oldest first: {"id", "at", "paths"}."""
    listed = restic.run(_offsite(settings), "snapshots", "--tag", TAG)
    found = [{"id": one["id"], "at": one["time"], "paths": one.get("paths", [])} for one in listed if "id" in one]
    return sorted(found, key=lambda one: str(one["at"]))


def known_shelves(settings: Settings) -> dict[str, Any]:
    """{"host", "shelves": {HOST-DATABASE: its snapshots}} of the newest that there is; none where there is no copy."""
    if settings.offsite is None:
        return {"host": "", "shelves": {}}
    found: dict[str, int] = {}
    try:
        newest = _newest(snapshots(settings))
    except restic.NoRepository:
        newest = []
    if newest and str(settings.sqlite) in newest[0]["paths"]:
        nodes = restic.run(settings.offsite, "ls", str(newest[0]["id"]), str(settings.sqlite), "--recursive")
        found = shelves.listed(settings, nodes)
    return {"host": settings.offsite.host, "shelves": found}


def restore(settings: Settings, snapshot: str, target: Path | None, only: str) -> dict[str, Any]:
    """Bring a snapshot back. Raises AgentError when it would go over backups that are there."""
    offsite, started = _offsite(settings), time.monotonic()
    there = Path(only) if only else settings.repository
    merged = target is None and bool(only) and there.is_relative_to(settings.sqlite)
    if target is None and not merged and _holds_something(there if only else there / "backup"):
        hint = f"Move {there} aside, or give --target to restore beside it."
        raise AgentError(f"{there} holds backups, and nothing is restored over them.", hint)
    if target is None and only and not there.exists() and not os.access(there.parent, os.W_OK):
        raise AgentError(f"There is no {there}, and it cannot be made here.", "./dr deploy makes it, empty.")
    known = snapshots(settings)
    chosen = [one for one in known if str(one["id"]).startswith(snapshot)] if snapshot != "latest" else _newest(known)
    if len(chosen) != 1:
        listed = ", ".join(str(one["id"])[:8] for one in known) or "none"
        raise AgentError(f"{offsite.host} holds no snapshot {snapshot}.", f"It holds {listed}.")
    files = size = 0
    paths = [only] if only else [path for path in chosen[0]["paths"] if target or not _in_the_way(settings, path)]
    for path in paths:
        if target is None and Path(path).is_relative_to(settings.sqlite):
            told = _beside(settings, offsite, str(chosen[0]["id"]), path)
        else:
            told = _bring(offsite, str(chosen[0]["id"]), path, target or Path("/"))
        files, size = files + int(told.get("files_restored", 0)), size + int(told.get("bytes_restored", 0))
    if not files and not merged:
        raise AgentError(f"Nothing was restored from snapshot {chosen[0]['id'][:8]}.", "`list` shows what it holds.")
    seconds = time.monotonic() - started
    sentence = f"snapshot {chosen[0]['id'][:8]} of {chosen[0]['at']}: {files} files, {size / 2**20:.1f} MiB"
    return {
        "snapshot": chosen[0]["id"], "at": chosen[0]["at"], "files": files, "bytes": size,
        "seconds": round(seconds, 3), "sentence": f"{sentence} in {seconds:.1f} s",
    }  # fmt: skip


def _newest(known: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The last that was taken. One dated ahead of now was, by a clock that was wrong, before others that are not."""
    been = [one for one in known if has_been(_unix(str(one["at"])), time.time())]
    return list(been or known)[-1:]


def _unix(at: str) -> float:
    """restic writes nanoseconds, which Python 3.10 does not read."""
    return datetime.fromisoformat(re.sub(r"\.\d+", "", at).replace("Z", "+00:00")).timestamp()


def _holds_something(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.exists()


def _in_the_way(settings: Settings, path: str) -> bool:
    """Backups of TDengine that are here stay as they are; a host that never had any has no place for them. SQLite's
    are laid beside those that are here.
    """
    place = Path(path)
    if place == settings.sqlite:
        return not os.access(place if place.exists() else place.parent, os.W_OK)
    if place not in (*settings.td_folders, settings.td_proofs):
        return False
    if not place.exists():
        return not os.access(place.parent, os.W_OK)
    return place.is_dir() and any(place.glob("[0-9]*"))


def _beside(settings: Settings, offsite: Offsite, snapshot: str, path: str) -> Mapping[str, Any]:
    """SQLite's: elsewhere on its file system first, then what is not there into its place."""
    settings.sqlite.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=settings.sqlite) as scratch:
        told = _bring(offsite, snapshot, path, Path(scratch))
        found = Path(scratch) / str(settings.sqlite).lstrip("/")
        with shelves.still(settings):
            new = shelves.merge(found, settings.sqlite) if found.is_dir() else 0
    return told if new else {}


def _bring(offsite: Offsite, snapshot: str, path: str, target: Path) -> Mapping[str, Any]:
    """One path of a snapshot to the same path below `target`: a file, or a folder with all that is in it.

    A folder that is there keeps its owner: postgres may not change that of what root made.
    """
    parent = str(Path(path).parent)
    into = target / parent.lstrip("/")
    if not into.exists():
        into.mkdir(parents=True)
    name = Path(path).name
    if restic.version() < restic.FOLDERS_SINCE:
        return _brought_whole(offsite, snapshot, path, into / name)
    return restic.summary(
        restic.run(offsite, "restore", f"{snapshot}:{parent}", "--target", str(into), "--include", f"/{name}")
    )


def _brought_whole(offsite: Offsite, snapshot: str, path: str, there: Path) -> Mapping[str, Any]:
    """The same with a restic that names no folder of a snapshot: it makes every folder above anew, so elsewhere first.

    That is on the same file system, so that what was brought is moved and not copied.
    """
    beside = next(one for one in (there, there.parent, restic.CACHE) if one.is_dir() and os.access(one, os.W_OK))
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=beside) as scratch:
        restic.run(offsite, "restore", snapshot, "--target", scratch, "--include", path)
        found = Path(scratch) / path.lstrip("/")
        sizes = [one.stat().st_size for one in (found, *found.rglob("*")) if one.is_file()]
        _move(found, there)
    return {"files_restored": len(sizes), "bytes_restored": sum(sizes)}


def _move(source: Path, there: Path) -> None:
    """Into the place of what is there; folders are merged, and a file whose name may not be replaced is rewritten."""
    if source.is_dir() and there.is_dir():
        for child in source.iterdir():
            _move(child, there / child.name)
    elif there.is_file() and not os.access(there.parent, os.W_OK):
        shutil.copyfile(source, there)
    elif source.exists():
        shutil.move(source, there)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.offsite.copies", description="The off-site copy.")
    parser.add_argument("--config", type=Path, default=PATH)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("copy", help="take a snapshot")
    commands.add_parser("list", help="the snapshots")
    commands.add_parser("holds", help="why no snapshot may go, and which stay")
    commands.add_parser("shelves", help="which SQLite databases the newest holds")
    bringing = commands.add_parser("restore", help="bring a snapshot back")
    bringing.add_argument("--snapshot", default="latest")
    bringing.add_argument("--target", type=Path, default=None)
    bringing.add_argument("--only", default="", metavar="PATH")
    options = parser.parse_args(arguments)
    settings = load(options.config)
    if options.command == "copy":
        answer: Any = copy(settings)
    elif options.command == "list":
        answer = {"snapshots": snapshots(settings)}
    elif options.command == "holds":
        answer = {"holds": holds(settings), "rules": ["--group-by=", "--tag", TAG, *rules(_offsite(settings))]}
    elif options.command == "shelves":
        answer = known_shelves(settings)
    else:
        answer = restore(settings, options.snapshot, options.target, options.only)
    print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
