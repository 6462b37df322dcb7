"""A delayed standby, stopped where it is, opened as a side cluster: replayed to a target, paused there and read.

Nothing is copied, so that it takes the time of that replay whatever the size. standby.signal stays where it is: whoever
starts the host's own server again, be it a reboot, has the standby that it was.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from agents.base import signals
from agents.base.errors import AgentError
from agents.postgresql import engines
from agents.postgresql.engines import PgBackRest
from agents.postgresql.side import local
from agents.postgresql.side.place import ROOT, STANDBY, BadRequest, Place, find
from agents.postgresql.side.restore import Request, begin_recovery, describe


def open_standby(request: Request, root: Path = ROOT) -> dict[str, Any]:
    """Replay to the target and pause; the side cluster's description. Raises AgentError, and nothing is left then.

    The same request again is answered by what is open.
    """
    with Place(request.name, 0).locked(request.patience), signals.as_errors():
        known = find(request.name, root)
        if known is not None and known.is_standby and known.running():
            if known.state().get("request") != request.key:
                raise BadRequest(f"The standby is open as {request.name} for another request.", "Drop that first.")
            return describe(known)
        if known is not None and not known.is_standby and known.state().get("phase") == "ready":
            raise BadRequest(f"The side cluster {request.name} was restored from a backup.", "Drop it, or use another.")
        if known is not None:
            known.remove()
        place = Place(request.name, _version(root), root)
        place.folder.mkdir(parents=True, mode=0o700)
        (place.folder / STANDBY).touch(0o600)
        place.note(phase="recovering", request=request.key, set=STANDBY)
        try:
            _require_stopped(place)
            return _opened(place, request)
        except BaseException as error:
            place.remove(keep_log=True)
            place.note(phase="failed", sentence=str(error))
            raise


def _opened(place: Place, request: Request) -> dict[str, Any]:
    engine = engines.of(request.engine, Path(request.config), request.repo)
    wal = local.look(place.data)
    for name, segments in (("local", wal.whole), ("begun", wal.begun)):
        (place.folder / name).write_text("".join(f"{one}\n" for one in sorted(segments)))
    repository = engine.repository if isinstance(engine, PgBackRest) else None
    begin_recovery(place, request, "the standby", repository, engine.wal(place))
    return describe(place)


def _version(root: Path) -> int:
    """The newest cluster of this host that is a standby."""
    found = sorted(int(path.parent.parent.name) for path in root.glob("[0-9]*/main/standby.signal"))
    if not found:
        raise AgentError("This host has no standby.", "./dr rejoin makes it one.")
    return found[-1]


def _require_stopped(place: Place) -> None:
    """Raises AgentError while the host's own server runs on it; what it was when it ended matters to nobody."""
    done = subprocess.run([place.program("pg_ctl"), "-D", place.data, "status"], capture_output=True, check=False)
    if done.returncode == 0:
        raise AgentError("The standby runs.", "Stop its unit first.")
