"""Raise an alarm for somebody else: sentences on standard input, one a line, go where the jobs' own alarms go.

    python3 -m agents.jobs.raising < SENTENCES

Exit codes: 0 told, or there is no alarm command; 1 the alarm command failed.
"""

from __future__ import annotations

import sys

from agents.base.errors import run
from agents.jobs import alarm, config


def main(text: str) -> int:
    failed = alarm.raise_alarm(config.load(), [line.strip() for line in text.splitlines() if line.strip()])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run(lambda: main(sys.stdin.read())))
