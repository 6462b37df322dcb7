"""Take one backup of TDengine, run by agents.jobs, and tell the application host what it covers.

    python3 -m agents.td_take full|incr

Prints what agents.td_backup prints.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from agents import td_backup, td_cover, td_settings
from agents.errors import AgentError, run


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.td_take", description="Back TDengine up, and say what is covered.")
    parser.add_argument("kind", choices=("full", "incr"))
    parser.add_argument("--config", type=Path, default=td_settings.PATH)
    options = parser.parse_args(arguments)
    settings = td_settings.load(options.config)
    made = td_backup.take(settings, options.kind)
    said = td_backup.told(made)
    try:
        td_cover.publish(settings.server(), made.label, made.started_at)
    except AgentError as error:  # the backup is there in any case; the shadow merely stays as it is
        said["sentence"] += f"; the application host was not told: {error}"
    print(json.dumps(said), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
