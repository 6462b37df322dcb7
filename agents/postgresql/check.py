"""Whether the archive really takes WAL: a segment that is forced now must be found in it, with the right content.

    python3 -m agents.postgresql.check         one JSON object; exit 1 when the archive does not have the segment

A restore point of a name that nobody can guess is written into the primary's WAL and the segment closed. The archive
must then hold a segment of that name whose content has the hash in its file's name, is of this cluster and timeline,
has the restore point in it, and is byte for byte what the primary has. `pg_stat_archiver` is no witness: it believes
archive_command. An archive that lacks segments which a backup needs is a failure too, and its gaps are named.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2

from agents.base.errors import AgentError, run
from agents.jobs.config import PATH, Settings, load
from agents.postgresql import words
from agents.postgresql.primary import find_primary
from agents.postgresql.wal import files
from agents.postgresql.wal.archive import Repository, look
from agents.postgresql.wal.segment import header, holds

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

_FIND_S = 10.0
_EVERY_S = 0.25
_BEGIN = "SELECT pg_walfile_name(pg_current_wal_insert_lsn()), (SELECT system_identifier FROM pg_control_system())"
_FORCE = "SELECT pg_walfile_name(pg_create_restore_point(%s))"
_ARCHIVER = (
    "SELECT coalesce(last_archived_wal, ''), coalesce(last_failed_wal, ''), current_setting('archive_mode'), "
    "current_setting('archive_command') FROM pg_stat_archiver"
)
_SHA256 = "SELECT public.mystocks_wal_sha256(%s)"
_TOLD_GAPS = 3
_LIE_S = 5.0  # archive-push returns when the segment is there; a listing may lag behind by less


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
    sentence: str


def check(settings: Settings) -> Checked:
    """Raises AgentError that says what the archive lacks, NoPrimary when nobody takes writes."""
    words.require_started(settings.stanza)
    repository = Repository(settings.stanza)
    said = _info(repository)
    archive_id = _archive_id(said, settings.stanza)
    primary = find_primary(settings.database, _FIND_S, "mystocks-check")
    connection = primary.connection
    try:
        connection.autocommit = True
        started = time.monotonic()
        forced = force(connection, primary.name)
        words.require_same_cluster(said, primary.name, forced.system_id, settings.stanza)
        await_segment(repository, archive_id, forced, connection, settings.archive_wait_s)
        seconds = time.monotonic() - started
        with tempfile.TemporaryDirectory(prefix="mystocks-check-") as folder:
            path = files.fetch(repository, archive_id, forced.segment, Path(folder) / "segment")
            judge(path.read_bytes(), forced, sha256(connection, forced), in_force(connection))
    finally:
        connection.close()
    found = look(repository)
    history = require_no_gap(found)
    require_known_timelines(found, forced, settings.stanza)
    sentence = f"{forced.segment} of {forced.primary} was in the archive after {seconds:.1f} s, with the right content"
    sentence += f"; {history}" if history else ""
    return Checked(forced.primary, forced.segment, round(seconds, 3), sentence)


def await_segment(
    repository: Repository, archive_id: str, forced: Forced, connection: Connection, limit_s: float
) -> None:
    """Raises AgentError when it does not come within the limit, or soon after archive_command said that it is there."""
    started, claimed_at = time.monotonic(), 0.0
    while files.find(repository, archive_id, forced.segment) is None:
        now = time.monotonic()
        claimed_at = claimed_at or (now if _claimed(connection, forced) else 0.0)
        if now - started > limit_s or (claimed_at and now - claimed_at > _LIE_S):
            raise AgentError(_missing(connection, forced, now - started), _HINT)
        time.sleep(_EVERY_S)


def _claimed(connection: Connection, forced: Forced) -> bool:
    """Whether archive_command ended well for this segment, whatever it did."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(_ARCHIVER)
            (archived, *_) = cursor.fetchone() or ("",)
    except psycopg2.Error:
        return False
    return bool(archived[:24] >= forced.segment)


def _info(repository: Repository) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = json.loads(
        repository.ask(f"--stanza={repository.stanza}", "--output=json", "info")
    )
    return said


def _archive_id(said: Sequence[Mapping[str, Any]], name: str) -> str:
    """The archive of the newest cluster version, such as 17-1."""
    newest = max((one for stanza in said for one in stanza.get("db") or ()), key=lambda one: one["id"], default=None)
    if newest is None:
        raise AgentError(f"The repository has no stanza {name}.", "./dr deploy makes it.")
    return f"{newest['version']}-{newest['id']}"


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


_HINT = "Compare archive_command on the primary (./dr drift), look at its log and at the repository's disk."


def _missing(connection: Connection, forced: Forced, waited_s: float) -> str:
    lacks = f"The archive does not have {forced.segment}, which {forced.primary} closed {waited_s:.0f} s ago"
    try:
        with connection.cursor() as cursor:
            cursor.execute(_ARCHIVER)
            archived, failed, mode, command = cursor.fetchone() or ("", "", "?", "?")
    except psycopg2.Error as error:
        return f"{lacks}; {forced.primary} no longer answers: {str(error).strip()}."
    if mode == "off":
        return f"{lacks}: archive_mode is off."
    if archived[:24] >= forced.segment:
        return f"{lacks}: archive_command says that it archived it, and it did not. In force is {command!r}."
    if failed:
        return f"{lacks}: archive_command fails on {failed}. In force is {command!r}."
    return f"{lacks}: nothing is being archived. In force is archive_command {command!r}."


def in_force(connection: Connection) -> str:
    """archive_command as the server has it now."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('archive_command')")
        (command,) = cursor.fetchone() or ("?",)
    return str(command)


def sha256(connection: Connection, forced: Forced) -> str:
    """The hash of the primary's own copy of the segment."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(_SHA256, (forced.segment,))
            (found,) = cursor.fetchone() or (None,)
    except psycopg2.Error as error:
        said = str(error).strip().splitlines()[0]
        raise AgentError(
            f"{forced.primary} does not tell the hash of its WAL: {said}.", "./dr deploy grants it."
        ) from error
    if found is None:
        raise AgentError(
            f"{forced.primary} has no longer {forced.segment} to compare the archive with.", "Run it again."
        )
    return str(found)


def require_no_gap(found: Mapping[str, Any]) -> str:
    """What the archive lacks for ever and only moments before the newest sound backup need, as a sentence.

    Raises AgentError naming what it lacks of what that backup needs.
    """
    good = [one["start"] for one in found["backups"] if not one["error"]]
    needed_from = max(good, default="")
    gaps = [gap for gap in found["gaps"] if gap["last"][8:] >= needed_from[8:]]
    if gaps:
        raise AgentError(
            f"The archive has {'gaps' if len(gaps) > 1 else 'a gap'}: missing {_told(gaps)}.",
            "./dr mend-archive, if the primary still has them; else ./dr backup.run --type full, now: nothing behind a "
            "gap can be restored from a backup before it.",
        )
    if not found["gaps"]:
        return ""
    return f"before the newest backup it lacks {_told(found['gaps'])}, up to which older ones are restored"


def _told(gaps: Sequence[Mapping[str, Any]]) -> str:
    told = "; ".join(
        f"{gap['first']} to {gap['last']} ({gap['segments']})" if gap["segments"] > 1 else str(gap["first"])
        for gap in gaps[:_TOLD_GAPS]
    )
    return f"{told} and {len(gaps) - _TOLD_GAPS} more" if len(gaps) > _TOLD_GAPS else told


def require_known_timelines(found: Mapping[str, Any], forced: Forced, stanza: str) -> None:
    """Raises AgentError for a timeline in the archive that the primary does not come from, and that is newer.

    A restore to the newest timeline would follow it, and a standby that is promoted would begin behind it.
    """
    mine = int(forced.segment[:8], 16)
    known = {int(number) for number in found["histories"]} | {one["timeline"] for one in found["timelines"]}
    strange = [number for number in sorted(known) if number > mine]
    if strange:
        names = ", ".join(f"{number:08X}.history" for number in strange)
        where = f"archive/{stanza}/{found['archive_id']}"
        raise AgentError(
            f"The archive holds {names}, and {forced.primary} is on timeline {mine}: another server archived there.",
            f"Find and stop it. When nothing of it is wanted, move that file and the folders {strange[0]:08X}* out of "
            f"/var/lib/pgbackrest/{where} on the backup host.",
        )


def judge(content: bytes, forced: Forced, digest: str, command: str) -> None:
    """Raises AgentError unless this is the segment that was closed, byte for byte."""
    real = hashlib.sha256(content).hexdigest()
    if real == digest:
        return
    found = header(content)
    if (found.system_id, found.timeline) != (forced.system_id, int(forced.segment[:8], 16)):
        wrong = f"it is of cluster {found.system_id}, timeline {found.timeline}"
    elif not holds(content, forced.marker.encode()):
        wrong = f"the restore point {forced.marker} is not in it"
    else:
        wrong = f"its SHA-256 is {real[:12]}, not {digest[:12]}"
    raise AgentError(
        f"The archive holds a {forced.segment} that is not {forced.primary}'s: {wrong}. "
        f"In force is archive_command {command!r}.",
        _HINT,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="agents.postgresql.check", description="Force a segment and find it in the archive."
    )
    parser.add_argument("--config", type=Path, default=PATH)
    print(json.dumps(asdict(check(load(parser.parse_args(arguments).config)))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
