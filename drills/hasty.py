"""The twin of a watch: it acts on the first silence. Noise must have it act on a primary that serves.

    python -m drills.hasty        in the place of ./dr watch --act failover --json
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Mapping

from drills.beats import BEAT_S, Beating, line
from runbooks import hosts
from runbooks.watch.settings import Settings
from runbooks.watch.watching import What

# Made past the checks that recovery.yaml has to pass.
SETTINGS = Settings(
    every_s=0.1, look_s=0.1, patience_s=0.0, restart_s=0.0, blind_s=5.0, stall_s=60.0, cooldown_s=3600.0
)


def say(what: What, says: str) -> None:
    tell({"at": round(time.monotonic(), 4), "what": str(what), "says": says})


def tell(told: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def main() -> int:
    Beating(hosts.load(), SETTINGS, True, say, BEAT_S, lambda looked: tell(line(looked))).run(threading.Event())
    return 0


if __name__ == "__main__":
    sys.exit(main())
