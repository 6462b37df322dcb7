"""Raise an alarm for somebody else: sentences on standard input, one a line, go where the jobs' own alarms go.

    python3 -m agents.jobs.raising < SENTENCES
"""

from __future__ import annotations

import sys

from agents.base.errors import run
from agents.jobs import alarm, config


def main(text: str) -> int:
    alarm.raise_alarm(config.load(), [line.strip() for line in text.splitlines() if line.strip()])
    return 0


if __name__ == "__main__":
    sys.exit(run(lambda: main(sys.stdin.read())))
