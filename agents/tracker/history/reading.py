"""A reader for drills: asks the history again and again, and tells of each answer on standard output.

    python3 -m agents.tracker.history.reading [--url http://127.0.0.1:8435/api/history/alerts] [--every 0.1]

    {"ok": true, "ms": 3.1, "source": "pg1 (primary, timeline 3)"}     {"ok": false, "ms": 2000.4, "why": "..."}

Stops when standard input is closed, or on SIGTERM.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from agents.base.errors import BadConfig, run
from agents.tracker.ending import when_told
from agents.tracker.history.service import PORT

PATIENCE_S = 5.0


def asked(url: str) -> dict[str, object]:
    """One answer, whole or not."""
    started = time.monotonic()
    try:
        with urlopen(url, timeout=PATIENCE_S) as answer:  # noqa: S310 - http, as main has looked
            said = json.load(answer)
        told: dict[str, object] = {"ok": isinstance(said["rows"], list), "source": said["source"]}
    except HTTPError as error:
        told = {"ok": False, "why": f"{error.code} {error.reason}"}
    except (URLError, OSError, ValueError, KeyError, TypeError) as error:
        told = {"ok": False, "why": str(error)[:200] or type(error).__name__}
    return {**told, "ms": round((time.monotonic() - started) * 1000, 1)}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.tracker.history.reading", description="Read history in a drill.")
    parser.add_argument("--url", default=f"http://127.0.0.1:{PORT}/api/history/alerts")
    parser.add_argument("--every", type=float, default=0.1, help="seconds")
    options = parser.parse_args(arguments)
    if not options.url.startswith("http://"):
        raise BadConfig(f"{options.url} is no address of the history.", "It begins with http://.")
    stop = when_told()
    while not stop.is_set():
        print(json.dumps(asked(options.url)), flush=True)
        stop.wait(options.every)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
