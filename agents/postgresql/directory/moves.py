"""Renames of a data directory: what belongs to it goes along, and what cannot be renamed is known before anything is.

A rename is there or not; nothing is copied. The directory itself is the last: whoever is killed before leaves a cluster
that is whole under its old name, and a repetition goes on with what is left to do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agents.base import files
from agents.base.errors import AgentError
from agents.postgresql.directory.facts import Seen


class Refused(AgentError):  # noqa: N818 - named after what is meant
    """Nothing was touched."""

    exit_code = 3


@dataclass(frozen=True)
class Move:
    """`link`: the symbolic link that leads to it, to be pointed at its new name."""

    source: Path
    target: Path
    link: Path | None = None

    @property
    def is_begun(self) -> bool:
        """Renamed already, by somebody who was killed before the link was."""
        return not os.path.lexists(self.source) and self.target.exists()


def aside(seen: Seen, suffix: str) -> tuple[Move, ...]:
    """What has to be renamed for the directory to be out of the way under `suffix`, itself last. Raises Refused."""
    require_no_mounts(seen)
    moves = (*_linked(seen, suffix), Move(seen.real, seen.real.with_name(seen.real.name + suffix)))
    for move in moves:
        if not move.is_begun:
            require(move)
    return moves


def require_no_mounts(seen: Seen) -> None:
    """Raises Refused where another file system is mounted below it: a rename would take that along."""
    if seen.mounts:
        raise Refused(
            f"{' and '.join(seen.mounts)} below {seen.path} is a file system of its own.",
            "Mount it elsewhere and let a symbolic link lead there, or move the directory by hand, then repeat.",
        )


def _linked(seen: Seen, suffix: str) -> Iterator[Move]:
    """pg_wal and tablespaces that lie elsewhere: what comes in the directory's place may want the same places."""
    links = [seen.real / "pg_wal"] if seen.wal else []
    links += [seen.real / "pg_tblspc" / oid for oid in seen.tablespaces]
    for link in links:
        target = Path(os.path.normpath(link.parent / link.readlink()))
        if not target.name.endswith(suffix):
            yield Move(target, target.with_name(target.name + suffix), link)


def require(move: Move) -> None:
    """Raises Refused, before anything is touched, for what no rename moves."""
    source, target = move.source, move.target
    if not source.is_dir():
        raise Refused(f"{source} is no directory.", "See what became of it.")
    if os.path.ismount(source):
        raise Refused(
            f"{source} is a file system of its own and cannot be renamed.",
            "Move its contents to another file system by hand, then repeat.",
        )
    if source.is_symlink():
        raise Refused(f"{source} is a symbolic link.", "Put a directory there, or name the one that it leads to.")
    if source.stat().st_dev != source.parent.stat().st_dev:
        raise Refused(f"{source} is on another file system than {source.parent}.", "Move it by hand, then repeat.")
    if os.path.lexists(target):
        raise Refused(f"{target} is there already.", "Remove it when nobody needs it any more, then repeat.")


def carry_out(moves: tuple[Move, ...]) -> None:
    """Each of them, with its link."""
    for move in moves:
        if not move.is_begun:
            move.source.rename(move.target)
        if move.link is not None:
            _point(move.link, move.target)
        files.sync_folder(move.target.parent)


def _point(link: Path, target: Path) -> None:
    owner = link.lstat()
    partial = link.with_name(f".{link.name}.new")
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    os.lchown(partial, owner.st_uid, owner.st_gid)
    partial.replace(link)
