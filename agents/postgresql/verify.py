"""`pgbackrest verify`, judged: it ends with 0 whatever it finds, calls an empty repository well, and sees no gap.

    python3 -m agents.postgresql.verify  exit 0 when every file is what it was and the archive is whole where it must be
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agents.base.errors import AgentError, run
from agents.jobs import verification
from agents.jobs.config import PATH, load
from agents.postgresql import pgbackrest
from agents.postgresql.pgbackrest import Backup
from agents.postgresql.wal import archive
from agents.postgresql.wal.archive import Repository

_ARCHIVE = re.compile(r"archiveId: (\S+), total WAL checked: (\d+), total valid WAL: (\d+)")
_BACKUP = re.compile(r"backup: (\S+), status: ([^,]+), total files checked: (\d+), total valid files: (\d+)")
_BAD = re.compile(r"INFO: (?:invalid|missing|size|unable)\b[^']*'([^']+)'")
_SEGMENT = re.compile(r"/([0-9A-F]{24})-[0-9a-f]{40}")
_NAMED = 5


@dataclass(frozen=True)
class Verdict:
    """Files looked at, those that are not what they were (as pgBackRest names them), and sentences on what is wrong."""

    backups: int
    files: int
    segments: int
    damaged: tuple[str, ...]
    wrong: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)  # of the backups that are damaged, and how


def judge(report: str, log: str) -> Verdict:
    """From what verify wrote on its outputs. Nothing looked at is wrong too."""
    archives = [(name, int(total), int(valid)) for name, total, valid in _ARCHIVE.findall(report)]
    backups = [(label, state, int(total), int(valid)) for label, state, total, valid in _BACKUP.findall(report)]
    damaged = tuple(dict.fromkeys(_BAD.findall(log)))
    wrong = [f"backup {label} is {state}" for label, state, _, _ in backups if state != "valid"]
    wrong += [
        f"{total - valid} of {total} WAL segments of {name} are damaged"
        for name, total, valid in archives
        if total != valid
    ]
    segments, files = sum(one[1] for one in archives), sum(one[2] for one in backups)
    if not files:
        wrong.append("no file of any backup was looked at")
    if not segments:
        wrong.append("no WAL segment was looked at")
    if not wrong and not re.search(r"^status: ok$", report, re.MULTILINE):
        wrong.append("pgBackRest does not call the repository ok")
    spoilt = {label: _how(label, state, damaged) for label, state, _, _ in backups if state != "valid"}
    return Verdict(len(backups), files, segments, damaged, tuple(wrong), spoilt)


def _how(label: str, state: str, damaged: Sequence[str]) -> str:
    """What is wrong with a backup: the files that are named, else its state in pgBackRest's word."""
    mine = [name for name in damaged if name.startswith(f"{label}/")]
    return ", ".join(mine[:_NAMED]) or f"pgBackRest calls it {state}"


def without_wal(damaged: Sequence[str], backups: Sequence[Backup]) -> dict[str, str]:
    """Backups whose own WAL is damaged, without which they are not consistent."""
    bad = [(segment, name) for name in damaged for segment in _SEGMENT.findall(f"/{name}")]
    return {
        one.label: name for one in backups for segment, name in bad
        if one.wal_start[8:] <= segment[8:] <= one.wal_stop[8:] and segment[:8] == one.wal_stop[:8]
    }  # fmt: skip


def note(path: Path, found: Verdict, backups: Sequence[Backup]) -> None:
    """Write down what is damaged, for every decision that follows."""
    segments = {segment: name for name in found.damaged for segment in _SEGMENT.findall(f"/{name}")}
    verification.note(path, {**segments, **without_wal(found.damaged, backups), **found.labels})


def verify(stanza: str) -> Verdict:
    """Read every file in the repository and compare it with its checksum."""
    command = [
        "pgbackrest", f"--stanza={stanza}", "--log-level-console=off", "--log-level-stderr=info", "--output=text",
        "--verbose", "verify",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    print(done.stderr, done.stdout, sep="", file=sys.stderr)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "ERROR" in line] or ["no message"]
        raise AgentError(f"pgBackRest could not verify: {said[-1]}.", "Its log is in /var/log/pgbackrest.")
    return judge(done.stdout, done.stderr)


def holes(stanza: str) -> tuple[list[str], list[str]]:
    """Sentences on what the archive lacks: what the newest backup without errors needs to be restored up to now, and
    what only earlier moments need."""
    found = archive.look(Repository(stanza))
    good = [one for one in found["backups"] if not one["error"]]
    needed_from = max(one["start"] for one in good) if good else ""
    now: list[str] = []
    before: list[str] = []
    for gap in found["gaps"]:
        span = gap["first"] if gap["segments"] == 1 else f"{gap['first']} to {gap['last']} ({gap['segments']} segments)"
        (now if gap["last"][8:] >= needed_from[8:] else before).append(span)
    return now, before


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.postgresql.verify", description="Verify the repository.")
    parser.add_argument("--config", type=Path, default=PATH)
    settings = load(parser.parse_args(arguments).config)
    stanza = settings.stanza
    found = verify(stanza)
    note(settings.proofs, found, pgbackrest.Repository(number=1, stanza=stanza).backups())
    now, before = holes(stanza)
    wrong = [*found.wrong, *(f"the archive lacks {span}" for span in now)]
    looked = f"{found.files} files of {found.backups} backups and {found.segments} WAL segments"
    history = f"; before the newest backup the archive lacks {', '.join(before[:_NAMED])}" if before else ""
    names = f": {', '.join(found.damaged[:_NAMED])}" if found.damaged else ""
    sentence = f"{'; '.join(wrong)}{names}" if wrong else f"{looked} are what they were{history}"
    verification.ended(settings.proofs, sentence if wrong else "")
    said = {"damaged": found.damaged, "wrong": wrong, "gaps": [*now, *before], "sentence": sentence}
    print(json.dumps(said), flush=True)
    if wrong:
        hint = "./dr prove-backup says what can be restored; a new full backup begins a sound history."
        raise AgentError(f"The repository is not sound: {sentence}.", hint)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
