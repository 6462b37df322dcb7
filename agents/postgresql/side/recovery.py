"""Start recovery and see it to its target, from the server's own log: a server that is up has reached nothing yet."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

from agents.base.errors import AgentError
from agents.postgresql import pgbackrest
from agents.postgresql.side.place import Place
from agents.postgresql.side.settings import controldata, demanded
from agents.postgresql.side.target import Target
from agents.postgresql.wal.archive_map import SEGMENT_BYTES
from agents.postgresql.wal.archive_map import lsn as position

_ROUNDS = 6  # of questions for one segment, of one or more timelines; what is there is asked for once
_STOP = re.compile(r"LOG:\s+(recovery stopping .*)")
_LAST = re.compile(r"last completed transaction was at log time (.+)")


class NotReached(AgentError):  # noqa: N818 - named after what is wrong, as in the rest of the repository
    """Recovery ended, and not at the target. `last_commit_at` is the time of the last commit there is."""

    def __init__(self, sentence: str, hint: str, last_commit_at: str | None = None) -> None:
        super().__init__(sentence, hint)
        self.last_commit_at = last_commit_at


class NeedsMore(Exception):  # noqa: N818
    """Recovery needs larger settings than it was started with."""

    def __init__(self, settings: dict[str, int]) -> None:
        super().__init__(str(settings))
        self.settings = settings


@dataclass(frozen=True)
class Reached:
    """What the log says of the stop, and how long it took from the start of the server."""

    stopped: str
    seconds: float


def recover(
    place: Place,
    target: Target,
    label: str,
    repository: pgbackrest.Repository | None,
    patience: float,
    accept_gap: bool = False,
) -> Reached:
    """Start the server and wait until it is paused at the target.

    `patience`: seconds without any progress after which it is given up; `accept_gap`: the end of the archive may be
    a gap in it. Raises NotReached, NeedsMore, AgentError.
    """
    log, began = _Log(place), time.monotonic()
    server = place.launch()
    moved, asked = began, _asked(place)
    while True:
        ended, grown, text = server.poll() is not None, log.read(), log.text
        before, asked = asked, _asked(place)
        if grown or asked != before:
            moved = time.monotonic()
        if ended or (_fatal(text) and time.monotonic() - moved > 30):
            raise _why(place, text, target, label, repository)
        stop = _STOP.search(text)
        if stop and "pausing at the end of recovery" in text and "ready to accept read-only connections" in text:
            return Reached(stop.group(1), time.monotonic() - began)
        if stop and re.search(r"database system is ready to accept connections", text):
            # Nobody could connect at the target, so PostgreSQL would not wait there; it stopped at the right place.
            return Reached(stop.group(1), time.monotonic() - began)
        if "insufficient parameter settings" in text and demanded(text):
            raise NeedsMore(demanded(text))
        if place.is_standby and "ready to accept read-only connections" in text and _in_vain(place):
            raise _not_reached(target, _read_until(place), None, None)
        if target.kind == "latest":
            damaged = _broken(place, text)
            if damaged and text.count(damaged) > 1:  # a standby asks for the same segment for ever
                raise _damaged_wal(place, damaged, target, _read_until(place))
            if _at_the_end(place, text):
                _require_no_gap(place, repository, accept_gap)
                return Reached("paused at the end of the archive", time.monotonic() - began)
        if time.monotonic() - moved > patience:
            raise AgentError(
                f"Recovery of {label} made no progress for {patience:g} s.", f"Its log is {place.log}."
            )
        time.sleep(0.05)


def _in_vain(place: Place) -> bool:
    """Whether a standby asks for the same segment again and again: there is no more, and it would wait for ever."""
    asked = re.findall(r"^[0-9A-F]{8}([0-9A-F]{16}) \d+$", _read(place.wal_log, 4096), re.MULTILINE)[-_ROUNDS:]
    return len(asked) == _ROUNDS and len(set(asked)) == 1


def _at_the_end(place: Place, text: str) -> bool:
    """Whether a standby has asked for a segment that is not there, and stands; then it is paused."""
    # Only this line says that no timeline has the segment; one that lacks it is asked before another that has it.
    if "waiting for WAL to become available" not in text or "ready to accept read-only connections" not in text:
        return False
    if _absent(_read(place.wal_log, 4096)) is None:
        return False
    place.query("select pg_wal_replay_pause()")
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if place.query("select pg_get_wal_replay_pause_state()") == "paused":
            return True
        time.sleep(0.05)
    raise AgentError("Recovery could not be paused at the end of the archive.", f"Its log is {place.log}.")


def _absent(asked: str) -> str | None:
    """The segment that the archive did not have when it was asked last, by the newest timeline that could have it."""
    lines = re.findall(r"^([0-9A-F]{24}) (\d+)$", asked, re.MULTILINE)
    if not lines or lines[-1][1] != "1":
        return None
    suffix = lines[-1][0][8:]
    return str(max(name for name, code in lines if code == "1" and name[8:] == suffix))


def _require_no_gap(place: Place, repository: pgbackrest.Repository | None, accept_gap: bool) -> None:
    """The end of the archive must be one. Raises Missing when the archive goes on behind it."""
    absent = _absent(_read(place.wal_log, 4096))
    later = None if accept_gap else _later(repository, absent)
    if later:
        until = _read_until(place)
        raise pgbackrest.Missing(
            f"WAL segment {absent} is missing from the archive, which goes on to {later}"
            f"{f'; the last commit before the gap was at {until}' if until else ''}.",
            "--accept-gap stops there; a backup from after the gap has what came later.",
        )


def _why(
    place: Place, log: str, target: Target, label: str, repository: pgbackrest.Repository | None
) -> Exception:
    """Why recovery ended, as an exception to raise."""
    needs = demanded(log)
    if needs:
        return NeedsMore(needs)
    fatal = _fatal(log)
    said = fatal[0] if fatal else "the server ended without a word"
    last = _LAST.findall(log)
    at = last[-1].strip() if last else None
    asked = [line.split() for line in _read(place.wal_log).splitlines() if line.strip()]
    absent = _absent(_read(place.wal_log, 4096))
    if "could not restore file" in said or any(code not in ("0", "1") for _, code in asked):
        code = next((code for _, code in reversed(asked) if code not in ("0", "1")), "125")
        name = next((name for name, code in reversed(asked) if code not in ("0", "1")), "a segment")
        return _not_fetched(int(code), _read(place.folder / "wal.err"), name)
    if "before consistent recovery point" in said:
        return NotReached(
            f"The target, {target}, lies before the end of backup {label}.", "Choose an older backup with --set.", at
        )
    never = target.kind == "immediate" and absent is not None and "target was reached" in said
    if never or "WAL ends before" in said or "could not locate" in said or "could not find redo" in said:
        return pgbackrest.Missing(
            f"WAL that backup {label} needs to be consistent is missing from the archive: {absent or said}.",
            "Restore another backup; ./dr backup.check names every gap.",
        )
    if "target was reached" in said or "ended before" in said:
        broken = _broken(place, log)
        if broken and absent is None:
            return _damaged_wal(place, broken, target, at)
        return _not_reached(target, at, absent, repository)
    if "is not a child" in said or "does not exist" in said:
        return NotReached(
            f"Timeline {target.timeline} cannot be reached from backup {label}: {said}.",
            "Choose another --timeline, or a backup of that timeline.", at,
        )  # fmt: skip
    if "No space left" in log:
        return pgbackrest.NoSpace(f"The disk became full during recovery: {said}.", "Make room, then run it again.")
    return AgentError(f"Recovery of {label} failed: {said}.", f"Its log is {place.log}.")


def _broken(place: Place, log: str) -> str | None:
    """What the server found wrong with a record of the last segment that the archive gave, if it did."""
    found = re.findall(
        r"LOG:\s+((?:incorrect|invalid|unexpected|record with|there is no contrecord|out-of-sequence).* at .*)", log
    )
    # Zeros behind the last record are how a segment that was closed early ends.
    found = [line for line in found if "got 0" not in line]
    return found[-1] if found else None


def _not_fetched(code: int, said: str, name: str) -> Exception:
    """Why the archive did not give a file. The key has opened the repository, so what does not decrypt is damaged."""
    if re.search(r"FormatError|ChecksumError|CryptoError|zst error|decompress|decrypt", said):
        return pgbackrest.Damaged(
            f"WAL segment {name} of the archive is damaged: {pgbackrest.first_error(said, code)}.",
            "Choose an earlier target, or a backup from after it; `pgbackrest verify` names the file.",
            (name,),
        )
    return pgbackrest.failure(code, said, f"WAL segment {name}")


def _damaged_wal(place: Place, said: str, target: Target, at: str | None) -> Exception:
    given = re.findall(r"^([0-9A-F]{24}) 0$", _read(place.wal_log), re.MULTILINE)
    until = f"; the last commit before it was at {at}" if at else ""
    return pgbackrest.Damaged(
        f"WAL segment {given[-1] if given else ''} of the archive is damaged ({said}) before {target}{until}.",
        "Choose an earlier target, or a backup from after it; `pgbackrest verify` names the file.",
        tuple(given[-1:]),
    )


def _read_until(place: Place) -> str | None:
    try:
        return place.query("select pg_last_xact_replay_timestamp()") or None
    except AgentError:
        return None


def _not_reached(
    target: Target, at: str | None, absent: str | None, repository: pgbackrest.Repository | None
) -> Exception:
    until = f"the last commit there is was at {at}" if at else "no commit came after the backup"
    later = _later(repository, absent)
    if later:
        return pgbackrest.Missing(
            f"WAL segment {absent} is missing from the archive, which goes on to {later}: {target} lies behind "
            f"the gap; {until}.",
            "Choose a target before the gap, or a backup from after it; ./dr backup.check names every gap.",
        )
    return NotReached(
        f"The target, {target}, was not reached: {until}.", "Choose an earlier target, or --type latest.", at
    )


def _later(repository: pgbackrest.Repository | None, absent: str | None) -> str | None:
    """The newest archived segment when it comes after the one that is absent, on its timeline."""
    if repository is None or absent is None:
        return None
    try:
        newest = max((one.archive_max for one in repository.backups()), default="")
    except AgentError:
        return None
    return newest if newest[:8] == absent[:8] and newest > absent else None


def facts(place: Place) -> dict[str, object]:
    """Position, timeline and last commit of a running side cluster, and whether it is paused or promoted."""
    sql = """select json_build_object('recovering', pg_is_in_recovery(),
      'lsn', case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end,
      'last_commit_at', pg_last_xact_replay_timestamp(),
      'pause', case when pg_is_in_recovery() then pg_get_wal_replay_pause_state() end)"""
    said = json.loads(place.query(sql))
    return {
        "lsn": said["lsn"],
        "timeline": _timeline(place, said["lsn"]) if said["recovering"] else _own_timeline(place),
        "last_commit_at": said["last_commit_at"],
        "paused": said["pause"] == "paused",
        "promoted": not said["recovering"],
    }


def wal_served(place: Place) -> int:
    """How many WAL segments the archive has given."""
    return len(re.findall(r"^[0-9A-F]{24} 0$", _read(place.wal_log), re.MULTILINE))


def _timeline(place: Place, lsn: str | None) -> int:
    """The timeline of the segment that holds `lsn`, as the archive gave it; else the control file's."""
    if lsn:
        at = max(0, position(lsn) - 1)
        suffix = f"{at >> 32:08X}{(at & 0xFFFFFFFF) // SEGMENT_BYTES:08X}"
        given = re.findall(rf"^([0-9A-F]{{8}}){suffix} 0$", _read(place.wal_log), re.MULTILINE)
        if given:
            return int(given[-1], 16)
    return int(controldata(place)["Latest checkpoint's TimeLineID"])


def _own_timeline(place: Place) -> int:
    return int(place.query("select ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int"))


def _asked(place: Place) -> tuple[int, int]:
    """Differs whenever the archive was asked once more, whatever the clock says."""
    try:
        found = place.wal_log.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)


class _Log:
    """What the server has written since, without the line that it writes for every segment of WAL."""

    def __init__(self, place: Place) -> None:
        self._path = place.log
        self._at = place.log.stat().st_size if place.log.exists() else 0
        self._rest = ""
        self.text = ""

    def read(self) -> bool:
        """Whether anything was added."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                added = file.read()
        except OSError:
            return False
        self._at += len(added)
        lines = (self._rest + added.decode(errors="replace")).split("\n")
        self._rest = lines.pop()
        self.text += "".join(f"{line}\n" for line in lines if "restored log file" not in line)
        return bool(added)


def _fatal(log: str) -> list[str]:
    """What ended the server; what it told somebody who connected too early did not."""
    found: list[str] = re.findall(r"(?:FATAL|PANIC):\s+(.*)", log)
    return [line for line in found if not line.startswith("the database system is")]


def _read(path: Path, tail: int | None = None) -> str:
    """A file's text, or its last `tail` bytes; empty where there is none."""
    try:
        with path.open("rb") as file:
            if tail is not None:
                file.seek(max(0, path.stat().st_size - tail))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
