"""Take one backup, run by agents.jobs.runner, which holds the repository's lock.

    python3 -m agents.postgresql.backup full|diff|incr [--io-timeout SECONDS]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from agents.base.errors import AgentError, run
from agents.jobs.config import PATH, Settings, load
from agents.jobs.retention import Backup
from agents.postgresql import manifest, words
from agents.postgresql.expire import backups

_SAID = 2000  # lines of which the reason is looked for


def take(stanza: str, kind: str, io_timeout_s: float = 0, annotations: Sequence[str] = ()) -> Backup:
    """Take it and return what the repository then says of it. Raises AgentError when there is nothing new."""
    words.require_started(stanza)
    before = {one.label for one in backups(stanza)}
    patience = [f"--io-timeout={io_timeout_s:g}"] if io_timeout_s else []
    command = ["pgbackrest", f"--stanza={stanza}", f"--type={kind}", *patience, *annotations, "backup"]
    code, said = _told(command)
    if code:
        raise words.refused(code, said, f"{kind} backup")
    made = [one for one in backups(stanza) if one.label not in before]
    if not made:
        raise AgentError("pgBackRest ended well, and the repository holds no new backup.", "Look at its log.")
    if made[-1].error:
        raise AgentError(f"Backup {made[-1].label} met damaged pages.", "Its log names them; amcheck tells more.")
    return made[-1]


def _told(command: Sequence[str]) -> tuple[int, str]:
    """Exit code and output, which goes on to the job's own as it comes."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, errors="replace"
    ) as child:
        assert child.stdout is not None
        said = []
        for line in child.stdout:
            print(line, end="", file=sys.stderr, flush=True)
            said.append(line)
    return child.returncode, "".join(said[-_SAID:])


def _annotated(settings: Settings, label: str) -> tuple[str, ...]:
    """Count again and note it with the backup; what could not be. The backup is there in any case."""
    try:
        return manifest.after(settings, label).left_out
    except AgentError as error:
        return (str(error),)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.postgresql.backup", description="Take one backup.")
    parser.add_argument("kind", choices=("full", "diff", "incr"))
    parser.add_argument("--io-timeout", type=float, default=0.0)
    parser.add_argument("--config", type=Path, default=PATH)
    options = parser.parse_args(arguments)
    settings = load(options.config)
    known = manifest.before(settings)
    made = take(settings.stanza, options.kind, options.io_timeout, known.options())
    left_out = [*known.left_out, *_annotated(settings, made.label)]
    unknown = f"; not annotated: {'; '.join(dict.fromkeys(left_out))}" if left_out else ""
    sentence = f"{made.label}: {made.type}, {made.bytes / 2**20:.1f} MiB in the repository{unknown}"
    print(json.dumps({"label": made.label, "type": made.type, "bytes": made.bytes, "sentence": sentence}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
