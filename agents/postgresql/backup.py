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
from agents.postgresql import manifest
from agents.postgresql.expire import backups


def take(stanza: str, kind: str, io_timeout_s: float = 0, annotations: Sequence[str] = ()) -> Backup:
    """Take it and return what the repository then says of it. Raises AgentError when there is nothing new."""
    before = {one.label for one in backups(stanza)}
    patience = [f"--io-timeout={io_timeout_s:g}"] if io_timeout_s else []
    command = ["pgbackrest", f"--stanza={stanza}", f"--type={kind}", *patience, *annotations, "backup"]
    done = subprocess.run(command, stdout=sys.stderr, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise AgentError(f"pgBackRest took no {kind} backup ({done.returncode}): the lines above say why.")
    made = [one for one in backups(stanza) if one.label not in before]
    if not made:
        raise AgentError("pgBackRest ended well, and the repository holds no new backup.", "Look at its log.")
    if made[-1].error:
        raise AgentError(f"Backup {made[-1].label} met damaged pages.", "Its log names them; amcheck tells more.")
    return made[-1]


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
