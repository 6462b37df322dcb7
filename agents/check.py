"""Whether the archive really takes WAL: a segment that is forced now must be found in it, with the right content.

    python3 -m agents.check         one JSON object; exit 1 when the archive does not have the segment

A restore point of a name that nobody can guess is written into the primary's WAL and the segment closed. The archive
must then hold a segment of that name whose content has the hash in its file's name, is of this cluster and timeline,
and has the restore point in it. `pg_stat_archiver` is no witness: it believes archive_command.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2

from agents import archive
from agents.archive import Stored
from agents.errors import AgentError, run
from agents.jobs_config import PATH, Settings, load
from agents.primary import find_primary

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

_FIND_S = 10.0
_EVERY_S = 0.25
_BEGIN = "SELECT pg_walfile_name(pg_current_wal_insert_lsn()), (SELECT system_identifier FROM pg_control_system())"
_FORCE = "SELECT pg_walfile_name(pg_create_restore_point(%s))"
_ARCHIVER = "SELECT coalesce(last_archived_wal, ''), coalesce(last_failed_wal, '') FROM pg_stat_archiver"


@dataclass(frozen=True)
class Forced:
    """The segment that the primary closed for us, with the marker in it."""

    primary: str
    segment: str
    system_id: int
    marker: str


@dataclass(frozen=True)
class Checked:
    """The segment was in the archive after `seconds`, with its content right."""

    primary: str
    segment: str
    seconds: float
    path: str
    sentence: str


def check(settings: Settings) -> Checked:
    """Raises AgentError that says what the archive lacks, NoPrimary when nobody takes writes."""
    primary = find_primary(settings.database, _FIND_S, "mystocks-check")
    connection = primary.connection
    try:
        connection.autocommit = True
        started = time.monotonic()
        forced = force(connection, primary.name)
        there = wait_for(settings, connection, forced)
    finally:
        connection.close()
    seconds = time.monotonic() - started
    judge(archive.content(settings.stanza, there), there, forced)
    sentence = f"{forced.segment} of {forced.primary} was in the archive after {seconds:.1f} s, with the right content"
    return Checked(forced.primary, forced.segment, round(seconds, 3), there.path, sentence)


def force(connection: Connection, name: str) -> Forced:
    """Write the marker and close its segment; again when the marker lies across the end of one."""
    begins, segment = "", "?"
    try:
        with connection.cursor() as cursor:
            while begins != segment:
                marker = f"mystocks-check-{secrets.token_hex(8)}"
                cursor.execute(_BEGIN)
                begins, system_id = cursor.fetchone() or ("", 0)
                cursor.execute(_FORCE, (marker,))
                (segment,) = cursor.fetchone() or ("",)
            cursor.execute("SELECT pg_switch_wal()")
    except psycopg2.Error as error:
        said = str(error).strip().splitlines()[0]
        raise AgentError(f"{name} does not close a WAL segment: {said}.", "./dr deploy grants it.") from error
    return Forced(name, segment, int(system_id), marker)


def wait_for(settings: Settings, connection: Connection, forced: Forced) -> Stored:
    """The segment in the repository. Raises AgentError when it is not there in time."""
    ends = time.monotonic() + settings.archive_wait_s
    while True:
        found = archive.stored(settings.stanza, forced.segment)
        if found:
            return found[-1]
        if time.monotonic() > ends:
            raise AgentError(_missing(connection, forced, settings.archive_wait_s), _HINT)
        time.sleep(_EVERY_S)


_HINT = "Compare archive_command on the primary (./dr drift), look at its log and at the repository's disk."


def _missing(connection: Connection, forced: Forced, waited_s: float) -> str:
    lacks = f"The archive does not have {forced.segment}, which {forced.primary} closed {waited_s:.0f} s ago"
    try:
        with connection.cursor() as cursor:
            cursor.execute(_ARCHIVER)
            archived, failed = cursor.fetchone() or ("", "")
    except psycopg2.Error as error:
        return f"{lacks}; {forced.primary} no longer answers: {str(error).strip()}."
    if archived[:24] >= forced.segment:
        return f"{lacks}: archive_command says that it archived it, and it did not."
    return f"{lacks}: archive_command fails on {failed}." if failed else f"{lacks}: nothing is being archived."


def judge(content: bytes, there: Stored, forced: Forced) -> None:
    """Raises AgentError unless this is the segment that was closed."""
    found = archive.header(content)
    timeline = int(forced.segment[:8], 16)
    if hashlib.sha1(content).hexdigest() != there.sha1:  # noqa: S324 - pgBackRest's own choice, no signature
        wrong = "its content does not have the hash in its name"
    elif (found.system_id, found.timeline) != (forced.system_id, timeline):
        wrong = f"it is of cluster {found.system_id}, timeline {found.timeline}"
    elif not archive.holds(content, forced.marker.encode()):
        wrong = f"the restore point {forced.marker} is not in it"
    else:
        return
    raise AgentError(f"The archive holds a {forced.segment} that is not {forced.primary}'s: {wrong}.", _HINT)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.check", description="Force a segment and find it in the archive.")
    parser.add_argument("--config", type=Path, default=PATH)
    print(json.dumps(asdict(check(load(parser.parse_args(arguments).config)))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
