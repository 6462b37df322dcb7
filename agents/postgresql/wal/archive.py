"""What the backup repository's archive holds: segments and history files per timeline, gaps, what each backup needs.

Runs on the backup host as postgres and prints one JSON object:

    python3 -m agents.postgresql.wal.archive [--stanza main] [--repo 1] [--config FILE]

    {"archive_id": "17-1", "segment_bytes": 16777216,
     "timelines": [{"timeline": 1, "segments": 9, "bytes": 4711, "twice": [], "partial": [],
                    "runs": [{"first": "0000...01", "last": "0000...09", "first_at": 1795242095, "last_at": ...}]}],
     "histories": {"2": [[1, "0/5000148"]]},
     "backups": [{"label": ..., "kind": "full", "timeline": 1, "start": ..., "start_lsn": "0/3000028",
                  "started_at": 1795242095, "stop": ..., "stop_lsn": "0/4001068", "stopped_at": 1795242101,
                  "error": false, "missing": [GAP, ...],
                  "reach": {"2": ["0000000200...09", 1795242300]}}],   newest segment that each timeline is whole up to
     "gaps": [{"timeline": 1, "first": "0000...04", "last": "0000...05", "segments": 2}]}

`reach` is by timeline and lacks those that recovery from this backup does not lead to. A segment that the last
verification found damaged is as good as none. The listing is read as it
comes, so that a million segments take no more memory than a hundred.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any

from agents.base.errors import AgentError, run
from agents.jobs import proofs
from agents.postgresql.wal import archive_map
from agents.postgresql.wal.archive_map import Archive, Base, Piece, Timeline, joined, lsn, name, number

# A name holds no quote: repository paths are made of digits, letters and a few signs.
_ENTRY = re.compile(r'"([^"]+)":\{"type":"file"(?:,"size":(\d+))?(?:,"time":(\d+))?')
_FILE = re.compile(r"([0-9A-F]{24})(\.partial)?-[0-9a-f]{40}(?:\.\w+)?")
_HISTORY = re.compile(r"([0-9A-F]{8})\.history")
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Repository:
    """Where to look. Nothing secret is on a command line: key and path are in the configuration."""

    stanza: str = "main"
    number: int = 1
    config: str = "/etc/pgbackrest.conf"

    def command(self, *words: str) -> list[str]:
        return [
            "pgbackrest", f"--config={self.config}", f"--repo={self.number}", "--log-level-file=off",
            "--log-level-console=off", "--log-level-stderr=error", *words,
        ]  # fmt: skip

    def ask(self, *words: str) -> str:
        """A command's output. Raises AgentError with what pgBackRest said."""
        done = subprocess.run(
            self.command(*words), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, cwd="/"
        )
        if done.returncode:
            raise _failed(words[-1], done.returncode, done.stderr)
        return done.stdout


def look(repository: Repository, archive_id: str = "") -> dict[str, Any]:
    """The JSON object of the module's docstring. Raises AgentError when the repository cannot be read."""
    info = json.loads(repository.ask(f"--stanza={repository.stanza}", "--output=json", "info"))
    found = info[0] if info else {}
    archive_id = archive_id or next((one["id"] for one in reversed(found.get("archive") or [])), "")
    archive = read(repository, archive_id) if archive_id else Archive()
    # A backup of another database than the newest belongs to an archive of its own.
    newest = max((one["id"] for one in found.get("db") or []), default=0)
    mine = [one for one in found.get("backup") or [] if one["database"]["id"] == newest]
    backups = [one for one in mine if one["database"].get("repo-key", 1) == repository.number]
    return {"archive_id": archive_id, **told(archive, backups)}


def read(repository: Repository, archive_id: str) -> Archive:
    """List one archive. Raises AgentError."""
    folder = f"archive/{repository.stanza}/{archive_id}"
    command = repository.command("repo-ls", "--recurse", "--output=json", folder)
    archive, known = Archive(), []
    # Of the repository that is verified here; elsewhere, and of another one, nobody knows.
    bad = {one.label for one in proofs.spoilt(proofs.read())} if repository.number == 1 else set()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, cwd="/"
    ) as listing:
        assert listing.stdout is not None
        assert listing.stderr is not None
        for path, size, at in entries(listing.stdout):
            if path.rpartition("/")[2][:24] not in bad:
                known += [history] if (history := take(archive, path, size, at)) else []
        said = listing.stderr.read()
    if listing.returncode:
        raise _failed("repo-ls", listing.returncode, said)
    for history in known:
        text = repository.ask("repo-get", f"{folder}/{history:08X}.history")
        archive.histories[history] = archive_map.history(text)
    return archive


def entries(listing: IO[str]) -> Iterator[tuple[str, int, int]]:
    """(path, bytes, unix seconds) of every file in a listing, as it comes."""
    rest = ""
    while chunk := listing.read(_CHUNK):
        text = rest + chunk
        whole = text.rfind("}") + 1
        for match in _ENTRY.finditer(text, 0, whole):
            yield match[1], int(match[2] or 0), int(match[3] or 0)
        rest = text[whole:]


def take(archive: Archive, path: str, size: int, at: int) -> int | None:
    """Enter one file of the listing. The timeline when it is a history file."""
    base = path.rpartition("/")[2]
    if history := _HISTORY.fullmatch(base):
        return int(history[1], 16)
    match = _FILE.fullmatch(base)
    if match is None:
        return None  # backup labels
    timeline, segment = number(match[1], archive.segment_bytes)
    line = archive.timelines.setdefault(timeline, Timeline(timeline))
    if match[2]:
        line.partial.append(match[1])
    else:
        line.add(segment, size, at, archive.segment_bytes)
    return None


def told(archive: Archive, backups: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The archive and what it means for these backups (as `info` has them), as JSON values."""
    size = archive.segment_bytes
    bases = [_base(one, size) for one in backups]
    return {
        "segment_bytes": size,
        "timelines": [_timeline(archive.timelines[key], size) for key in sorted(archive.timelines)],
        "histories": {
            str(key): [[parent, archive_map.as_lsn(left)] for parent, left in value]
            for key, value in sorted(archive.histories.items())
        },
        "backups": [_backup(archive, base, one) for base, one in zip(bases, backups, strict=True)],
        "gaps": joined(archive.gaps(bases), size),
    }


def _base(said: dict[str, Any], size: int) -> Base:
    timeline, start = number(said["archive"]["start"], size)
    return Base(said["label"], timeline, start, number(said["archive"]["stop"], size)[1], lsn(said["lsn"]["stop"]))


def _timeline(line: Timeline, size: int) -> dict[str, Any]:
    runs = [
        asdict(one) | {"first": name(line.number, one.first, size), "last": name(line.number, one.last, size)}
        for one in line.runs
    ]
    return {
        "timeline": line.number, "segments": line.segments, "bytes": line.bytes, "twice": line.twice,
        "partial": line.partial, "runs": runs,
    }  # fmt: skip


def _backup(archive: Archive, base: Base, said: dict[str, Any]) -> dict[str, Any]:
    reached = {key: archive.reach(base, key) for key in sorted({*archive.timelines, *archive.histories})}
    return {
        "label": base.label, "kind": said["type"], "timeline": base.timeline, "start": said["archive"]["start"],
        "start_lsn": said["lsn"]["start"], "started_at": said["timestamp"]["start"],
        "stop": said["archive"]["stop"], "stop_lsn": said["lsn"]["stop"], "stopped_at": said["timestamp"]["stop"],
        "error": bool(said.get("error")), "missing": joined(archive.missing_of(base), archive.segment_bytes),
        "reach": {str(key): _end(archive, piece) for key, piece in reached.items() if piece},
    }  # fmt: skip


def _end(archive: Archive, piece: Piece) -> list[object]:
    """Name of the last segment, and when the repository got it (None inside a run, where no time is kept)."""
    runs = archive.timelines[piece.timeline].runs if piece.timeline in archive.timelines else []
    at = next((one.last_at for one in runs if one.last == piece.last), None)
    return [name(piece.timeline, piece.last, archive.segment_bytes), at]


def _failed(what: str, code: int, said: str) -> AgentError:
    lines = [line.strip() for line in said.splitlines() if "ERROR" in line] or [f"it ended with {code}"]
    return AgentError(f"pgBackRest cannot tell what the repository holds ({what}): {lines[0]}", "Run it by hand.")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="agents.postgresql.wal.archive", description="What the archive holds, as JSON."
    )
    parser.add_argument("--stanza", default=Repository.stanza)
    parser.add_argument("--repo", type=int, default=Repository.number)
    parser.add_argument("--config", default=Repository.config)
    options = parser.parse_args(arguments)
    print(json.dumps(look(Repository(options.stanza, options.repo, options.config))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
