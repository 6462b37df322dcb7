"""Restore a backup into a side cluster and recover it to a target; on failure nothing is left but its log."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agents.base import signals
from agents.base.errors import AgentError
from agents.postgresql import engines, pgbackrest
from agents.postgresql.engines import FULL, Engine, PgBackRest, Speed
from agents.postgresql.pgbackrest import Backup, Repository
from agents.postgresql.side.content import collations, missing_library, require_usable
from agents.postgresql.side.place import PORT, BadRequest, Place, find
from agents.postgresql.side.recovery import NeedsMore, facts, recover, wal_served
from agents.postgresql.side.settings import MAX_WAL, NOBODY, Served, library, write
from agents.postgresql.side.target import Target
from agents.postgresql.wal.archive_map import SEGMENT_BYTES
from agents.postgresql.wal.archive_map import lsn as position

HEADROOM = 1.3


@dataclass(frozen=True)
class Request:
    """What was asked for; the same again is answered by what is there."""

    name: str
    target: Target
    set: str = ""
    repo: int = 1
    config: str = str(pgbackrest.CONFIG)
    speed: Speed = FULL
    patience: float = 600
    accept_gap: bool = False
    engine: str = "pgbackrest"
    served: Served = NOBODY

    @property
    def key(self) -> dict[str, Any]:
        names = ("set", "repo", "accept_gap", "engine")
        # As JSON gives it back: lists, no tuples.
        served = {"served": json.loads(json.dumps(asdict(self.served)))} if self.served.listen else {}
        return {"target": asdict(self.target), **{name: getattr(self, name) for name in names}, **served}


def restore(request: Request, replace: bool = False) -> dict[str, Any]:
    """Restore, recover, stay paused; the side cluster's description. Raises AgentError."""
    known = find(request.name)
    # The same request waits for the one that works on it, another one does not.
    patience = request.patience if known is not None and known.state().get("request") == request.key else 0
    with Place(request.name, 0).locked(patience) as lock, signals.as_errors():
        known = find(request.name)
        if known is not None and known.state().get("phase") == "ready" and not replace:
            if known.state().get("request") != request.key:
                raise BadRequest(
                    f"There is a side cluster {request.name} of another request on this host.",
                    "Drop it, use another --name, or give --replace.",
                )
            resume(known, request.patience)
            return describe(known)
        return _anew(request, known, lock)


def _anew(request: Request, known: Place | None, lock: int) -> dict[str, Any]:
    """Restore where nothing, or nothing whole, is; everything that can be known beforehand is checked first."""
    engine = engines.of(request.engine, Path(request.config), request.repo)
    backup = choose(engine, request)
    place = Place(request.name, backup.version)
    _require_server(backup)
    if known is not None:
        known.remove()
    _require_space(place, backup)
    place.folder.mkdir(parents=True, mode=0o700)
    place.note(phase="restoring", request=request.key, set=backup.label, engine=engine.name)
    try:
        return _restore(request, engine, backup, place, lock)
    except BaseException as error:
        place.remove(keep_log=True)
        place.note(phase="failed", sentence=str(error))
        raise


def _restore(request: Request, engine: Engine, backup: Backup, place: Place, lock: int) -> dict[str, Any]:
    began = time.monotonic()
    place.data.mkdir(mode=0o700)
    engine.restore(backup, place, request.speed, lock)
    restore_s = time.monotonic() - began
    keep_settings(place)
    (place.data / ("standby.signal" if request.target.kind == "latest" else "recovery.signal")).touch(0o600)
    place.note(phase="recovering", restore_s=round(restore_s, 3), bytes=backup.size)
    repository = engine.repository if isinstance(engine, PgBackRest) else None
    begin_recovery(place, request, backup.label, repository, engine.wal(place))
    return describe(place)


def begin_recovery(
    place: Place, request: Request, label: str, repository: Repository | None, wal: list[str] | None
) -> None:
    """Write the settings, start, wait for the target, note what it took. Settings too small are made larger."""
    more: dict[str, int] = {}
    began = time.monotonic()
    for last in (False, False, False, True):
        write(place, request.target.settings(), wal, more, request.served)
        try:
            reached = recover(place, request.target, label, repository, request.patience, request.accept_gap)
            break
        except NeedsMore as needs:
            place.halt("immediate")
            more.update(needs.settings)
            if last:
                raise AgentError(
                    f"Recovery of {label} asks for ever larger settings: {needs}.", f"See {place.log}."
                ) from needs
    place.note(
        replay_s=round(time.monotonic() - began, 3), stopped=reached.stopped, target=asdict(request.target),
        wal=wal, demanded=more,
    )  # fmt: skip
    require_usable(place)
    now = facts(place)
    place.note(phase="ready", ready_at=int(time.time()), collations=collations(place), reached=now["lsn"], **now)


def resume(place: Place, patience: float = 600) -> None:
    """Start a side cluster that is down; one that was paused at its target is paused there again."""
    if place.running():
        return
    state = place.state()
    if state.get("phase") != "ready":
        raise BadRequest(f"The side cluster {place.name} was never restored whole.", "Restore it again.")
    if any((place.data / name).exists() for name in ("recovery.signal", "standby.signal")):
        recover(place, Target(**state["target"]), state["set"], None, patience, accept_gap=True)
        return
    server = place.launch()
    deadline = time.monotonic() + 120
    while True:
        try:
            place.query("select 1", timeout=10)
            return
        except AgentError:
            if time.monotonic() > deadline or server.poll() is not None:
                raise
            time.sleep(0.1)


def describe(place: Place) -> dict[str, Any]:
    """The side cluster as one JSON object, with what it says of itself now when it runs."""
    state, running = place.state(), place.running()
    now = facts(place) if running and state.get("phase") == "ready" else {}
    if now:
        # After a restart nothing was replayed, and nobody remembers the last commit but the state.
        now["last_commit_at"] = now["last_commit_at"] or state.get("last_commit_at")
    segments, asked = wal_served(place), state.get("request", {})
    return {
        "name": place.name, "data": str(place.data), "socket": str(place.folder), "port": PORT,
        "version": place.version, "phase": state.get("phase", "failed"), "running": running,
        "set": state.get("set"), "engine": state.get("engine"), "target": state.get("target"),
        "repo": asked.get("repo"), "readers": [name for name, _ in asked.get("served", {}).get("readers", ())],
        "restore_s": state.get("restore_s"), "replay_s": state.get("replay_s"), "bytes": state.get("bytes"),
        "wal_segments": segments, "wal_bytes": segments * SEGMENT_BYTES, "stopped": state.get("stopped"),
        "lsn": state.get("lsn"), "timeline": state.get("timeline"), "last_commit_at": state.get("last_commit_at"),
        "paused": False, "promoted": state.get("promoted", False), "sentence": state.get("sentence"),
        "collations": state.get("collations", []), "reached": state.get("reached"),
        "standby": place.is_standby, **now,
    }  # fmt: skip


def choose(engine: Engine, request: Request) -> Backup:
    """The backup that was named, or the newest that ended before the target. Raises Missing."""
    if request.engine == "native" and request.target.kind != "immediate":
        raise BadRequest("A native backup is restored as it ended.", "--type immediate, or another --engine.")
    backups = engine.backups()
    if request.set:
        named = [one for one in backups if one.label == request.set]
        if named:
            return named[0]
        known = ", ".join(one.label for one in backups) or "none"
        raise pgbackrest.Missing(f"There is no {engine.name} backup {request.set}.", f"There is {known}.")
    found = request.target.starts_from(backups)
    if found is None:
        oldest = f"the oldest, {backups[0].label}, ended at {_utc(backups[0].stopped_at)}" if backups else "it has none"
        raise pgbackrest.Missing(
            f"No sound backup of repository {request.repo} ended before the target, {request.target}: {oldest}.",
            "Choose a later target; ./dr backup.list shows what is covered.",
        )
    return found


def keep_settings(place: Place) -> None:
    """Put the primary's ALTER SYSTEM settings, and what pgBackRest wrote among them, out of the server's sight."""
    path = place.data / "postgresql.auto.conf"
    if path.exists():
        shutil.copyfile(path, place.folder / "postgresql.auto.conf")
    path.write_text("")
    path.chmod(0o600)
    for name in ("recovery.signal", "standby.signal"):
        (place.data / name).unlink(missing_ok=True)


def _require_server(backup: Backup) -> None:
    """The backup's PostgreSQL and TimescaleDB must be installed here, to the very version for the extension."""
    if not Path(f"/usr/lib/postgresql/{backup.version}/bin/postgres").exists():
        raise AgentError(
            f"Backup {backup.label} is of PostgreSQL {backup.version}, which this host does not have.",
            f"Install postgresql-{backup.version}.",
        )
    try:
        versions = json.loads(backup.annotation.get("versions", "{}"))
    except ValueError:
        versions = {}
    wanted = versions.get("timescaledb") if isinstance(versions, dict) else None
    if wanted and not library(backup.version, f"timescaledb-{wanted}").exists():
        raise missing_library(f"timescaledb-{wanted}", backup.version, backup.label)


def _require_space(place: Place, backup: Backup) -> None:
    parent = place.data.parent
    parent.mkdir(parents=True, exist_ok=True)
    wal = min(MAX_WAL, _span(backup))
    needed, free = int(backup.size * HEADROOM) + wal, shutil.disk_usage(parent).free
    if free < needed:
        raise pgbackrest.NoSpace(
            f"{parent} has {free >> 20} MiB free, restoring {backup.label} takes {needed >> 20} MiB "
            f"({backup.size >> 20} MiB x {HEADROOM}, {wal >> 20} MiB of WAL).",
            "Make room, or restore on another host.",
        )


def _span(backup: Backup) -> int:
    """Bytes of WAL from the backup's beginning to the end of the archive, at least one segment."""
    newest = backup.archive_max
    if len(newest) < 24:
        return SEGMENT_BYTES
    end = (int(newest[8:16], 16) << 32) + (int(newest[16:24], 16) + 1) * SEGMENT_BYTES
    return max(SEGMENT_BYTES, end - position(backup.lsn_start))


def _utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(seconds))
