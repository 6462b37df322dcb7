"""The twin of a watch: it acts on the first silence. Noise must have it act on a primary that serves.

    python -m drills.hasty        in the place of ./dr watch --act failover --json
"""

from __future__ import annotations

import json
import sys
import threading
import time

from inventories.catalog.recovery import Watch
from runbooks import hosts
from runbooks.watch.watching import Watching, What

# Made past the checks that recovery.yaml has to pass.
SETTINGS = Watch.model_construct(
    every_s=0.1, look_s=0.1, patience_s=0.0, restart_s=0.0, blind_s=5.0, stall_s=60.0, cooldown_s=3600.0
)


def say(what: What, says: str) -> None:
    sys.stdout.write(json.dumps({"at": round(time.monotonic(), 4), "what": str(what), "says": says}) + "\n")
    sys.stdout.flush()


def main() -> int:
    Watching(hosts.load(), SETTINGS, True, say).run(threading.Event())
    return 0


if __name__ == "__main__":
    sys.exit(main())
