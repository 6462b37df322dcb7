"""Make a promoted side cluster's directory fit to become the main cluster by a rename."""

from __future__ import annotations

import re
import shutil
from typing import Any

from agents.base import files
from agents.base.errors import AgentError
from agents.postgresql.side.place import Place
from agents.postgresql.side.settings import controldata

# What a recovery is told, by us or by pgBackRest, and what a clone of another host would be told by its own file.
_NOT_KEPT = re.compile(
    r"\s*(recovery_target\w*|restore_command|archive_cleanup_command|recovery_end_command|archive_mode|"
    r"archive_command|primary_conninfo|primary_slot_name|synchronous_standby_names|hot_standby|port|listen_addresses|"
    r"unix_socket_directories|data_directory|config_file|hba_file|ident_file)\s*=",
    re.IGNORECASE,
)
_SEGMENT = re.compile(r"[0-9A-F]{24}|[0-9A-F]{8}\.history")


def release(place: Place) -> dict[str, Any]:
    """Stop it cleanly and take away everything that made it a side cluster; only for one that is promoted.

    One that was merely paused would go on, as a main cluster, to the end of the WAL it has: past its target.
    What it wrote on its own timeline while nothing was archived is left marked for the archiver.
    """
    if not place.state().get("promoted"):
        raise AgentError(
            f"The side cluster {place.name} is not promoted; as the main cluster it would replay past its target.",
            f"python3 -m agents.postgresql.side.cluster promote --name {place.name}",
        )
    if place.tablespaces.exists():
        raise AgentError(
            f"{place.tablespaces} holds tablespaces, which no rename of the data directory moves.",
            "Move them by hand, then release again.",
        )
    place.halt("fast", 600)
    timeline = int(place.state()["timeline"])
    for name in ("recovery.signal", "standby.signal", "postmaster.pid", "postmaster.opts"):
        (place.data / name).unlink(missing_ok=True)
    kept = place.folder / "postgresql.auto.conf"
    before = kept.read_text().splitlines() if kept.exists() else []
    lines = [line for line in before if not _NOT_KEPT.match(line)]
    files.replace(place.data / "postgresql.auto.conf", "".join(f"{line}\n" for line in lines), 0o600)
    archived = _to_archive(place, timeline)
    shutil.rmtree(place.folder)
    return {
        "name": place.name, "released": True, "data": str(place.data), "timeline": timeline,
        "to_archive": archived, "settings": [line for line in lines if line.strip() and not line.startswith("#")],
    }  # fmt: skip


def _to_archive(place: Place, timeline: int) -> list[str]:
    """Mark the new timeline's history and its finished segments: the archiver takes what is marked, nothing else."""
    wal = place.data / "pg_wal"
    status = wal / "archive_status"
    status.mkdir(mode=0o700, exist_ok=True)
    mine = sorted(
        path.name for path in wal.iterdir() if _SEGMENT.fullmatch(path.name) and path.name.startswith(f"{timeline:08X}")
    )
    segments = [name for name in mine if not name.endswith(".history")]
    # The newest ones are being written or were made in advance; the server marks those itself when they are full.
    current = _current(place)
    marked = [name for name in mine if name.endswith(".history")] + [name for name in segments if name < current]
    for name in marked:
        if not (status / f"{name}.done").exists():
            (status / f"{name}.ready").touch(0o600)
    return marked


def _current(place: Place) -> str:
    """The segment of the last checkpoint of a cluster that was shut down."""
    return controldata(place)["Latest checkpoint's REDO WAL file"]
