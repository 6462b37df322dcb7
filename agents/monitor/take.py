"""On the host of the monitoring database: put the lines that come on standard input. Whoever has SSH ships by it.

    python3 -m agents.monitor.take --dsn "dbname=monitoring port=5434" < lines

Prints a receipt, see agents/monitor/store.py. Exit codes: 0 every line is there or rejected; 1 nothing is there.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing

import psycopg2

from agents.base.errors import AgentError, run
from agents.monitor import store

HINT = "./dr deploy makes the cluster and brings its schema; what was to be shipped waits in the spool."
CONNECT_S = 5


def take(dsn: str, texts: Sequence[str]) -> store.Receipt:
    """Raises AgentError."""
    try:
        with closing(psycopg2.connect(dsn, connect_timeout=CONNECT_S)) as connection:
            return store.put(connection, texts)
    except psycopg2.Error as error:
        says = (str(error).strip().splitlines() or ["it does not answer"])[0]
        raise AgentError(f"The monitoring database took nothing: {says}.", HINT) from error


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.monitor.take", description="Put lines into the monitoring database.")
    parser.add_argument("--dsn", required=True)
    dsn = parser.parse_args(arguments).dsn
    texts = sys.stdin.buffer.read().decode(errors="replace").split("\n")
    print(json.dumps(take(dsn, [text for text in texts if text]).as_json))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
