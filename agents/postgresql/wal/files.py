"""WAL segments out of the repository, decrypted and unpacked into a directory of their own."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from agents.base.errors import AgentError
from agents.postgresql.wal.archive import Repository

_UNPACK = {".zst": "zstd", ".gz": "gzip", ".lz4": "lz4", ".bz2": "bzip2"}


@dataclass(frozen=True)
class Stored:
    """One segment as the repository names it: `digest` is the SHA-1 of the content that archive-push was given."""

    path: str
    digest: str


class SegmentMissing(AgentError):  # noqa: N818 - named after what is wrong
    """The repository does not hold this segment."""


class SegmentDamaged(AgentError):  # noqa: N818
    """What the repository holds of this segment cannot be unpacked, or is not what was pushed."""


def find(repository: Repository, archive_id: str, segment: str) -> Stored | None:
    """The segment's entry. Raises AgentError when it is there twice, since nobody can say which one is right.

    One that is still being written there has a longer name, and is no segment yet.
    """
    folder = f"archive/{repository.stanza}/{archive_id}/{segment[:16]}"
    whole = f"^{segment}-[0-9a-f]{{40}}([.][a-z0-9]+)?$"
    listed = repository.ask("repo-ls", "--output=json", f"--filter={whole}", folder)
    names = [one for one in json.loads(listed or "{}") if one != "."]
    if len(names) > 1:
        raise SegmentDamaged(f"The repository holds segment {segment} {len(names)} times.", "One archiver too many?")
    return Stored(f"{folder}/{names[0]}", names[0][25:65]) if names else None


def fetch(repository: Repository, archive_id: str, segment: str, target: Path) -> Path:
    """Unpack the segment into the file `target`. Raises SegmentMissing, SegmentDamaged."""
    stored = find(repository, archive_id, segment)
    if stored is None:
        raise SegmentMissing(f"The repository does not hold WAL segment {segment}.", "./dr backup.list names gaps.")
    unpack = _UNPACK.get(Path(stored.path).suffix)
    with target.open("wb") as out, subprocess.Popen(
        repository.command("repo-get", stored.path), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL, cwd="/",
    ) as source:  # fmt: skip
        assert source.stdout is not None
        assert source.stderr is not None
        if unpack:
            unpacked = subprocess.run(
                [unpack, "-dc"], stdin=source.stdout, stdout=out, stderr=subprocess.PIPE, check=False
            )
            trouble = unpacked.stderr.decode(errors="replace") if unpacked.returncode else ""
        else:
            shutil.copyfileobj(source.stdout, out)
            trouble = ""
        source.stdout.close()
        said = source.stderr.read().decode(errors="replace")
    if source.returncode or trouble:
        raise SegmentDamaged(
            f"WAL segment {segment} cannot be read from the repository: {' '.join((said or trouble).split())[:200]}",
            "`pgbackrest verify` on the backup host lists every damaged file.",
        )
    if (real := digest(target, "sha1")) != stored.digest:
        raise SegmentDamaged(
            f"WAL segment {segment} in the repository is damaged: its content has SHA-1 {real[:12]}, "
            f"its name says {stored.digest[:12]}.",
            "A backup that is newer than this segment can be restored without it.",
        )
    return target


def digest(path: Path, algorithm: str) -> str:
    """Hash of a file's content, read in pieces."""
    found = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            found.update(piece)
    return found.hexdigest()
