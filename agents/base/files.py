"""Files that are whole or not there, whatever moment the power goes: contents first, then the name, then the folder."""

from __future__ import annotations

import os
from pathlib import Path


def replace(path: Path, text: str, mode: int = 0o666, owner: tuple[int, int] | None = None) -> None:
    """Put `text` in the place of whatever `path` is. Readers see the old or the new; the new is on the disk afterwards.

    `mode` is cut by the umask; `owner` is (user, group) where it is not who writes.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.new")
    partial.unlink(missing_ok=True)
    try:
        new(partial, text, mode, owner)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def new(path: Path, content: str | bytes, mode: int = 0o666, owner: tuple[int, int] | None = None) -> None:
    """Write a file that is not there yet; its contents are on the disk afterwards, its name with the folder's."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(handle, "wb") as out:
        out.write(content.encode() if isinstance(content, str) else content)
        out.flush()
        if owner:
            os.fchown(handle, *owner)
        os.fsync(handle)


def publish(partial: Path, target: Path) -> None:
    """Give a finished folder its name. It is there whole, or under its old name, whatever happens."""
    sync_folder(partial)
    partial.rename(target)
    sync_folder(target.parent)


def append(path: Path, line: str) -> None:
    """Add one line, on the disk when this returns. What an earlier write left torn stays a line of its own."""
    is_new = not path.exists()
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    with os.fdopen(handle, "r+b", buffering=0) as out:
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        rest = (("\n" if torn else "") + line + "\n").encode()
        while rest:
            rest = rest[out.write(rest) :]
        os.fsync(handle)
    if is_new:
        sync_folder(path.parent)


def give_to_owner_of_folder(handle: int, path: Path) -> None:
    """What root makes in somebody's folder is that one's, who could not use it otherwise; nothing for anybody else."""
    if os.geteuid() == 0 and os.fstat(handle).st_uid == 0:
        folder = path.parent.stat()
        if folder.st_uid:
            os.fchown(handle, folder.st_uid, folder.st_gid)


def is_named(opened: os.stat_result, path: Path, *, follow_symlinks: bool = True) -> bool:
    """Whether `path` is still the name of the file that was opened, and not of none or of another one in its place."""
    try:
        return os.path.samestat(opened, path.stat(follow_symlinks=follow_symlinks))
    except (FileNotFoundError, NotADirectoryError):
        return False


def sync_folder(path: Path) -> None:
    """Its names are on the disk when this returns."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
