"""The only code that deletes, overwrites, fills, swaps or moves a PostgreSQL data directory.

Each of these looks first and judges what lies there (judge.py). A directory in which somebody works, or whose file
system is not mounted, is touched by none of them. One at a time on a host: the lock is inherited by what is started, so
a second restore or rewind does not begin while an orphan of the first is alive.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from agents.base import files, locks
from agents.base.errors import AgentError
from agents.postgresql.directory import moves
from agents.postgresql.directory.facts import LOST_FOUND, Seen, look, position
from agents.postgresql.directory.judge import Answer, Claim, Judged, Successor, judge, read_claim, write_claim
from agents.postgresql.directory.moves import Move, Refused

CLAIMS = Path("/var/lib/mystocks-dr")
RECORD = CLAIMS / "estate.json"  # see agents/guard/record.py
LOCK = Path("/run/lock/mystocks-data-directory.lock")
CLONE = ".clone"  # what a clone is called until it is whole
REPLACED = re.compile(r"main\.(replaced|wrecked)-[A-Za-z0-9]{1,40}")
_LEAST_SEGMENT = 1 << 20  # of WAL, that initdb makes
_SIDE = re.compile(r"side-[a-z][a-z0-9-]{0,30}")
Run = Callable[[Sequence[str | Path], int], None]


@dataclass(frozen=True)
class Place:
    """One data directory, and how its programs are run. Tests put theirs elsewhere."""

    path: Path
    programs: Path
    stanza: str = "main"
    user: str = "postgres"
    claims: Path = CLAIMS
    record: Path = RECORD
    patience_s: float = 10.0  # for the last processes of a server that was killed

    @property
    def claim(self) -> Path:
        return self.claims / f"restoring-{self.path.name}.json"


@dataclass(frozen=True)
class Wanted:
    """What is to come into the directory, and what may become of what lies there.

    `label`: the backup, empty for the newest. `aside`: the suffix under which anything else is put aside, empty without
    the operator's consent. `successor`: the living primary from which an older copy may be rebuilt in place; `host` is
    what the record calls this host. `end`: the newest segment of the archive. `needs`: bytes. `links`: where
    the backup's tablespaces go. `only_look`: nothing is changed, everything is refused that would be.
    """

    label: str = ""
    aside: str = ""
    successor: Successor | None = None
    host: str = ""
    end: str = ""
    needs: int = 0
    links: tuple[str, ...] = ()
    only_look: bool = False


@dataclass(frozen=True)
class Room:
    """What `room` found and did: `aside` is where what lay there lies now, `in_place` that it is to be overwritten."""

    judged: Judged
    seen: Seen
    aside: str = ""
    in_place: bool = False


def only_one(place: Place, patience_s: float = 0.0, lock: Path = LOCK) -> AbstractContextManager[int]:
    """Hold this host's data directories. Raises AgentError while somebody else does."""
    busy = AgentError(
        f"Something else works on {place.path} or a directory beside it, or what it started has not ended.",
        "Let it end: ps -ef | grep -E 'pgbackrest|pg_rewind|pg_basebackup' names it.",
    )
    return locks.held(lock, busy, patience_s)


def seen_and_judged(place: Place, patience_s: float = 0.0) -> tuple[Seen, Judged]:
    """Changes nothing. Whoever works there is given `patience_s` to end."""
    seen = _look_when_quiet(place.path, place.programs, patience_s)
    return seen, judge(seen, read_claim(place.claim), _recorded(place).get("system_identifier", ""))


def _look_when_quiet(path: Path, programs: Path, patience_s: float) -> Seen:
    """As soon as nobody works there, or when the patience is over."""
    ends = time.monotonic() + patience_s
    seen = look(path, programs)
    while seen.worker and time.monotonic() < ends:
        time.sleep(0.1)
        seen = look(path, programs)
    return seen


def room(place: Place, wanted: Wanted) -> Room:
    """Make room for a restore, and claim the directory for it. Raises Refused with nothing touched.

    What initdb made and an unfinished restore stay, for a restore writes over them; an older copy of what the
    successor carries on may stay to be rebuilt in place, and anything else is renamed where `aside` consents to it.
    """
    seen, judged = seen_and_judged(place, 0.0 if wanted.only_look else place.patience_s)
    # A server that runs now may be one that is going to be stopped.
    _require_quiet(replace(seen, worker="") if wanted.only_look else seen)
    if seen.names == (LOST_FOUND,):
        raise Refused(
            f"{seen.real} holds {LOST_FOUND}, which no restore can leave where it is.",
            f"rmdir {seen.real}/{LOST_FOUND} (fsck makes it anew), or mount the file system one directory higher.",
        )
    in_place = judged.answer is Answer.OTHER and _is_left_behind(place, seen, wanted)
    put_aside: tuple[Move, ...] = ()
    if judged.answer is Answer.OTHER and not in_place:
        put_aside = _consented(seen, judged, wanted)
    _require_bytes(seen, wanted, in_place or judged.answer is Answer.UNFINISHED)
    _require_links(wanted, seen, put_aside, place)
    target = str(put_aside[-1].target) if put_aside else ""
    if wanted.only_look:
        return Room(judged, seen, target, in_place)
    if judged.answer is not Answer.OTHER and not _can_go_on(seen):
        _empty(seen)
    moves.carry_out(put_aside)
    _prepared(place, seen)
    _claim(place, seen, wanted)
    return Room(judged, seen, target, in_place)


def restore(place: Place, wanted: Wanted, processes: int, run: Run, lock: int) -> Room:
    """Make room, then bring the backup in as a standby, copying only what differs. Raises AgentError."""
    seen, judged = seen_and_judged(place)
    claim = read_claim(place.claim)
    if claim is not None and claim.label == wanted.label != "" and claim.has_come(seen):
        return Room(judged, seen)
    found = room(place, wanted)
    claim = read_claim(place.claim) or Claim(str(place.path), 0)
    command = [
        "pgbackrest", f"--stanza={place.stanza}", f"--pg1-path={place.path}",
        *([f"--set={wanted.label}"] if wanted.label else []), "--delta", "--type=standby",
        *([f"--process-max={processes}"] if processes else []),
        # pg_wal stays where this host has it, whatever the backup's host had.
        *([f"--link-map=pg_wal={claim.wal}"] if claim.wal else []), "restore",
    ]  # fmt: skip
    run(command, lock)
    _declared_only(place.path / "postgresql.auto.conf")
    came = look(place.path, place.programs)
    end = _ends(wanted.end, came.segment_bytes) if wanted.end and came.segment_bytes else claim.end
    write_claim(place.claim, replace(claim, done=True, end=end))
    return found


def rewind(place: Place, wanted: Wanted, source: str, configuration: Path, run: Run, lock: int) -> None:
    """Turn an older copy of what the successor carries on into a copy of it at the fork.

    Raises Refused for anything else, AgentError where pg_rewind does not succeed.
    """
    seen, judged = seen_and_judged(place, place.patience_s)
    _require_quiet(seen)
    if not _is_left_behind(place, seen, wanted):
        raise Refused(f"{place.path} {judged.why}: pg_rewind has nothing to work from.", "A re-clone may do.")
    (seen.real / "postmaster.pid").unlink(missing_ok=True)
    place.claim.unlink(missing_ok=True)  # whatever was restored here once: it is no restore any more
    command: list[str | Path] = [
        place.programs / "pg_rewind", "-D", place.path, f"--source-server={source}", "--restore-target-wal",
        f"--config-file={configuration}",
    ]  # fmt: skip
    run(command, lock)


def clone(place: Place, source: str, slot: str, run: Run, lock: int) -> Judged:
    """Copy the primary into an empty directory; under another name until it is whole. Raises AgentError."""
    seen, judged = seen_and_judged(place, place.patience_s)
    _require_quiet(seen)
    if judged.answer is Answer.OTHER:
        raise Refused(
            f"{place.path} {judged.why}, and nothing is cloned over it.",
            "./dr rejoin HOST --reclone --yes rebuilds a standby; what is of no use any more is moved away by hand.",
        )
    moves.require_no_mounts(seen)
    inside = seen.mounted or place.path.is_symlink()
    partial = seen.real / CLONE if inside else seen.real.with_name(seen.real.name + CLONE)
    _drop_partial(place, partial)
    if inside or seen.wal:
        _empty(seen)
    _prepared(place, seen)
    _claim(place, seen, Wanted())
    before = look(place.path, place.programs)
    command: list[str | Path] = [
        place.programs / "pg_basebackup", "-d", source, "-D", partial, "-X", "stream", "-c", "fast", "-S", slot,
        "--no-password",
        *(["--waldir", seen.wal] if seen.wal else []),
    ]  # fmt: skip
    run(command, lock)
    (partial / "standby.signal").touch(0o600)
    _own(partial / "standby.signal", partial)
    if inside:
        _raise_up(partial, seen.real)
        write_claim(place.claim, replace(read_claim(place.claim) or Claim(str(place.path), 0), done=True))
    else:
        _empty(_unchanged(before, look(place.path, place.programs)))
        partial.replace(seen.real)
        files.sync_folder(seen.real.parent)
    return judged


def require_swap(place: Place, side: str) -> None:
    """Raises Refused unless the directory `side` beside it can take its place by a rename; changes nothing."""
    main, other = look(place.path, place.programs), look(_side(place, side), place.programs)
    if other.is_nothing or other.control is None:
        raise Refused(f"{other.path} holds {other}.", "Restore it again.")
    for one in (main, other):
        if one.unmounted:
            raise _not_mounted(one)
        moves.require_no_mounts(one)
        if one.wal:
            raise Refused(f"{one.path}/pg_wal is a symbolic link, and the other's is none.", _BY_HAND)
        if one.tablespaces:
            raise Refused(
                f"{one.path} has tablespaces in {', '.join(one.tablespaces.values())}, which no rename of it moves.",
                _BY_HAND,
            )
    if place.path.is_symlink():
        raise Refused(f"{place.path} is a symbolic link, so no rename can swap it.", _BY_HAND)
    if main.mounted or other.mounted or main.real.stat().st_dev != other.real.stat().st_dev:
        raise Refused(
            f"{main.real} and {other.real} are not on one file system, so no rename can swap them.", _BY_HAND
        )
    if main.system and main.system != other.system:
        raise Refused(f"{other.path} is of system {other.system}, {main.path} of {main.system}.", "Look at both.")


def swap(place: Place, side: str, stamp: str, timeline: int) -> str:
    """Rename main to main.replaced-STAMP and the directory `side`, on `timeline`, to main; where main lies now.

    Whoever was killed between the two goes on here.
    """
    other, kept = _side(place, side), place.path.with_name(_replaced(stamp))
    if not kept.exists():
        require_swap(place, side)
        _require_quiet(seen_and_judged(place, place.patience_s)[0])
        seen = look(other, place.programs)
        _require_quiet(seen)
        if seen.timeline != timeline or seen.in_recovery:
            raise Refused(f"{other} holds {seen}, not the one that was promoted.", "Look at it before anything else.")
        place.path.rename(kept)
    if not place.path.exists():
        other.rename(place.path)
    files.sync_folder(place.path.parent)
    return str(kept)


def put_back(place: Place, side: str, stamp: str) -> bool:
    """Undo `swap` as far as it came; nothing is deleted. False where there was nothing to undo."""
    other, kept = _side(place, side), place.path.with_name(_replaced(stamp))
    if not kept.exists():
        return False
    if place.path.exists():
        _require_quiet(seen_and_judged(place, place.patience_s)[0])
        if other.exists():
            raise Refused(f"{place.path}, {other} and {kept} are all there.", "Look at them before anything else.")
        place.path.rename(other)
    kept.rename(place.path)
    files.sync_folder(place.path.parent)
    return True


def drop_replaced(place: Place, name: str) -> None:
    """Delete a directory that was put aside, for good. Raises Refused for any other, and while somebody works in it."""
    if not REPLACED.fullmatch(name):
        raise Refused(f"{name} is no directory that was put aside.", "main.replaced-STAMP is one.")
    gone = look(place.path.with_name(name), place.programs)
    main = look(place.path, place.programs)
    _require_quiet(gone)
    if gone.mounted or gone.path.is_symlink():
        raise Refused(f"{gone.path} is a mount point or a link.", "Remove it by hand.")
    if main.control is None or (gone.system and gone.system != main.system):
        raise Refused(f"{place.path} holds {main}, {gone.path} {gone}: neither is deleted.", "Look at both.")
    moves.require_no_mounts(gone)
    if gone.inode:
        shutil.rmtree(gone.path)


def left_over(place: Place, side: str, aside: str) -> str:
    """Put aside what lies where a side cluster is to be and belongs to none: where it lies now, empty for nothing.

    A swap that was undone leaves the cluster that was the main one for a while, with whatever was written to it.
    """
    path = _side(place, side)
    seen = look(path, place.programs)
    if seen.is_nothing or path.with_name(f"{path.name}.d").exists():
        return ""
    _require_quiet(seen)
    if not aside:
        raise Refused(
            f"{path} holds {seen}, which no side cluster left: a swap that was undone may have.",
            "Look at it; --replace moves it aside and deletes nothing.",
        )
    away = moves.aside(seen, aside)
    moves.carry_out(away)
    return str(away[-1].target)


def discard_side(data: Path, tablespaces: Path, programs: Path, patience_s: float = 10.0) -> None:
    """Delete the data of a side cluster that its own folder beside it describes.

    The restore that was just interrupted, or the server that was killed, is given `patience_s` to end.
    """
    if os.path.lexists(data):
        if not _SIDE.fullmatch(data.name) or not data.with_name(f"{data.name}.d").is_dir() or data.is_symlink():
            raise Refused(f"{data} is no side cluster's directory.", "Look at it, and remove it by hand.")
        seen = _look_when_quiet(data, programs, patience_s)
        _require_quiet(seen)
        if seen.mounted:
            raise Refused(f"{data} is a file system of its own.", "Unmount it.")
        moves.require_no_mounts(seen)
        shutil.rmtree(data, ignore_errors=True)
    if tablespaces == data.with_name(f"{data.name}.tablespaces"):
        shutil.rmtree(tablespaces, ignore_errors=True)


_BY_HAND = "Swap by hand, as docs/runbooks/restore-pitr.md says; the side cluster stays open."


# ---- what must be so first


def _require_quiet(seen: Seen) -> None:
    if seen.worker:
        raise Refused(f"{seen.path}: {seen.worker}.", "Stop it, or let it end, then repeat.")
    if seen.unmounted:
        raise _not_mounted(seen)


def _unchanged(before: Seen, now: Seen) -> Seen:
    """A copy takes hours, in which somebody may have begun to use what was judged before. Raises Refused."""
    _require_quiet(now)
    if now.control != before.control or set(now.names) - set(before.names):
        raise Refused(
            f"{now.path} was used while the primary was cloned, and is not deleted.", "Look at it, then repeat."
        )
    return now


def _not_mounted(seen: Seen) -> Refused:
    return Refused(
        f"{seen.unmounted} is declared in /etc/fstab and not mounted, so {seen.path} is not what it should be.",
        f"mount {seen.unmounted}, then repeat.",
    )


def _is_left_behind(place: Place, seen: Seen, wanted: Wanted) -> bool:
    """An older copy of what lives on elsewhere. This host's copy of the record may be old, but never contradicts it."""
    if wanted.successor is None or not wanted.successor.has_left(seen):
        return False
    record = _recorded(place)
    same = record.get("system_identifier") == seen.system and record.get("primary") == wanted.host
    return not (same and int(record.get("timeline") or 0) >= wanted.successor.timeline)


def _consented(seen: Seen, judged: Judged, wanted: Wanted) -> tuple[Move, ...]:
    if not wanted.aside:
        raise Refused(f"{seen.path} {judged.why}.", "--replace moves it aside and deletes nothing.")
    return moves.aside(seen, wanted.aside)


def _require_bytes(seen: Seen, wanted: Wanted, counts_what_is_there: bool) -> None:
    if counts_what_is_there:
        return
    parent = next(one for one in (seen.real, *seen.real.parents) if one.exists())
    free = shutil.disk_usage(parent).free
    if free < wanted.needs:
        raise Refused(
            f"{seen.path} has {free / 2**30:.1f} GiB free, {wanted.needs / 2**30:.1f} GiB are needed.",
            "Make room there: directories that were put aside before are named main.replaced-*.",
        )


def _require_links(wanted: Wanted, seen: Seen, put_aside: tuple[Move, ...], place: Place) -> None:
    """Tablespaces of the backup go where they were: that must be free, or this cluster's own, and can be made."""
    going = {str(move.source) for move in put_aside}
    mine = {os.path.normpath(target) for target in seen.tablespaces.values()}
    for link in wanted.links:
        path = Path(link)
        if link in going or os.path.normpath(link) in mine:
            continue
        if path.is_dir() and any(path.iterdir()):
            raise Refused(
                f"the backup's tablespace goes to {link}, where something lies already.", "Move it away by hand."
            )
        near = path if path.exists() else path.parent
        owner = near.owner() if near.is_dir() else ""
        if owner != place.user:
            raise Refused(
                f"the backup's tablespace goes to {link}, where {place.user} may not write.",
                f"install -d -o {place.user} -g {place.user} -m 0700 {link}",
            )


# ---- what is done


def _can_go_on(seen: Seen) -> bool:
    """pgBackRest copies only what differs where it finds either; else it refuses to write among files."""
    return "PG_VERSION" in seen.names or "backup.manifest" in seen.names


def _empty(seen: Seen) -> None:
    """The contents of a directory that was judged, and of pg_wal where it lies elsewhere; never the directories."""
    moves.require_no_mounts(seen)
    folders = [Path(os.path.normpath(seen.real / seen.wal))] if seen.wal else []
    for folder in (*folders, seen.real):
        for entry in folder.iterdir() if folder.is_dir() else ():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def _prepared(place: Place, seen: Seen) -> None:
    """It is there, its owner's alone, and no number of a dead server lies in it."""
    real = seen.real
    if not real.exists():
        real.mkdir(mode=0o700, parents=True)
    real.chmod(0o700)
    if os.geteuid() == 0:
        shutil.chown(real, place.user, place.user)
    (real / "postmaster.pid").unlink(missing_ok=True)


def _claim(place: Place, seen: Seen, wanted: Wanted) -> None:
    before = read_claim(place.claim)
    inode = seen.real.stat().st_ino
    same = before if before and before.inode == inode and before.label == wanted.label else None
    end = wanted.end
    write_claim(
        place.claim,
        Claim(
            str(place.path), inode, wanted.label,
            system=same.system if same else wanted.successor.system if wanted.successor else "",
            timeline=int(end[:8], 16) if end else same.timeline if same else 0,
            # Until the files say how large segments are here, they count as the smallest: `restore` says it then.
            end=_ends(end, seen.segment_bytes or _LEAST_SEGMENT) if end else same.end if same else 0,
            wal=seen.wal or (same.wal if same else ""),
            done=same is not None and same.has_come(seen) and seen.has_label,
        ),
    )  # fmt: skip


def _ends(segment: str, size: int) -> int:
    return (int(segment[8:16], 16) << 32) + (int(segment[16:24], 16) + 1) * size


def _declared_only(auto: Path) -> None:
    """Our restore_command is declared in postgresql.conf; the one that pgBackRest writes would hide it for ever."""
    if auto.exists():
        lines = auto.read_text().splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith(("restore_command", "recovery_target"))]
        owner = auto.stat()
        files.replace(auto, "".join(kept), 0o600, (owner.st_uid, owner.st_gid) if os.geteuid() == 0 else None)


def _drop_partial(place: Place, partial: Path) -> None:
    """What a clone that was killed left: it never was started, as nobody starts anything under that name."""
    if not os.path.lexists(partial):
        return
    seen = look(partial, place.programs)
    _require_quiet(seen)
    moves.require_no_mounts(seen)
    # What is put in place loses PG_VERSION first, without which nothing starts, and its control file last.
    never_started = seen.control is None or seen.has_label or "PG_VERSION" not in seen.names
    if partial.is_symlink() or seen.mounted or not never_started:
        raise Refused(f"{partial} holds {seen}, which no broken-off clone left.", "Look at it, and move it away.")
    shutil.rmtree(partial)


def _raise_up(partial: Path, real: Path) -> None:
    """The clone's entries one directory up, PG_VERSION first. `global` has the control file and comes last: until then
    nothing starts.
    """
    names = sorted((one.name for one in partial.iterdir()), key=lambda name: (name == "global", name != "PG_VERSION"))
    for name in names:
        (partial / name).rename(real / name)
    partial.rmdir()
    files.sync_folder(real)


def _own(path: Path, like: Path) -> None:
    if os.geteuid() == 0:
        owner = like.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def _side(place: Place, side: str) -> Path:
    if not _SIDE.fullmatch(side):
        raise Refused(f"{side} is no side cluster's directory.", "side-NAME is one.")
    return place.path.with_name(side)


def _replaced(stamp: str) -> str:
    name = f"main.replaced-{stamp}"
    if not REPLACED.fullmatch(name):
        raise Refused(f"{stamp!r} is no stamp.", "Letters and digits.")
    return name


def _recorded(place: Place) -> dict[str, str]:
    """This host's copy of the estate record; empty where there is none that can be read."""
    try:
        said = json.loads(place.record.read_text())["record"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return said if isinstance(said, dict) else {}


def as_user(user: str) -> Run:
    """Run a program as this user, its words going where ours go. Whoever is its child holds the lock too."""

    def run(command: Sequence[str | Path], lock: int) -> None:
        words = [str(word) for word in command]
        if os.geteuid() == 0:
            words = ["runuser", "-u", user, "--", *words]
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, cwd="/", pass_fds=(lock,)
        )
        said = f"{done.stdout}{done.stderr}".strip()
        if done.returncode:
            told = [line for line in said.splitlines() if re.search(r"\b(ERROR|FATAL|PANIC|error|fatal)\b", line)]
            last = (told or said.splitlines() or ["it said nothing"])[-1].strip()
            raise AgentError(f"{Path(command[0]).name} ended with {done.returncode}: {last[:300]}")

    return run


__all__ = ["Place", "Refused", "Room", "Wanted", "position"]
