"""Try one committed write and say what happened.

    python3 -m agents.writing.write_probe --config FILE [--host NAME_OR_ADDRESS] [--timeout S] [--expect-failure]
        [--when-told]

Without --host: to whichever host is the primary (proves the write path). With --host: to exactly that one,
whatever its role (proves a fence, with --expect-failure). Prints {"wrote", "stage", "host", "timeline", "ms",
"error"}; `stage` is how far it came: search, connect, insert, commit, done. Exit 0 when the outcome is the
expected one. A write that got as far as its commit without an answer is no proof of a fence: the host took
the row, only its standby did not confirm. With --when-told nothing is tried before the line "go" has come on
standard input: a fence is proved by what is tried after it, and start-up need not wait for that.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg2

from agents.base.config import DEFAULT, Config, Host, load_config
from agents.base.deadline import Deadline, DeadlineExceeded
from agents.base.errors import AgentError, NoPrimary, run
from agents.postgresql.primary import SESSION, STATE, connect, find_primary, peer

INSERT = "INSERT INTO public.dr_probe (run) VALUES (%s)"


@dataclass
class Outcome:
    wrote: bool = False
    stage: str = "search"
    host: str | None = None
    timeline: int | None = None
    ms: float = 0.0
    error: str | None = None


def probe(config: Config, name: str | None, timeout_s: float) -> Outcome:
    """One write within `timeout_s` seconds. Never raises for what the database does."""
    outcome, started = Outcome(), time.monotonic()
    end = started + timeout_s
    # In a thread, because a login cannot be bounded below libpq's two seconds.
    worker = threading.Thread(target=_try, args=(config, name, end, outcome), daemon=True)
    worker.start()
    worker.join(max(0.0, end - time.monotonic()) + 0.05)
    result = Outcome(**asdict(outcome))  # the worker may still be at it; what counts is what was true in time
    if not result.wrote and result.error is None:
        result.error = f"no answer within {timeout_s:g} s"
    result.ms = round((time.monotonic() - started) * 1000, 1)
    return result


def _try(config: Config, name: str | None, end: float, outcome: Outcome) -> None:
    try:
        if name is None:
            primary = find_primary(config, end - time.monotonic(), "mystocks-probe")
            connection, outcome.host = primary.connection, primary.host
        else:
            outcome.stage = "connect"
            connection = connect(config, _named(config, name), "mystocks-probe", SESSION)
            outcome.host = peer(connection)
        with Deadline(connection, end - time.monotonic()), connection.cursor() as cursor:
            outcome.stage = "insert"
            cursor.execute(INSERT, (str(int(time.time())),))
            cursor.execute(STATE)
            row = cursor.fetchone()
            outcome.timeline = int(row[1], 16) if row and row[1] else None
            del connection.notices[:]
            outcome.stage = "commit"
            connection.commit()
        if connection.notices:
            outcome.error = connection.notices[-1].strip()
        else:
            outcome.wrote, outcome.stage = True, "done"
        connection.close()
    except (NoPrimary, psycopg2.Error, DeadlineExceeded, OSError) as error:
        outcome.error = (str(error).strip().splitlines() or [type(error).__name__])[0]


def _named(config: Config, name: str) -> Host:
    for host in config.hosts:
        if name in (host.name, host.address):
            return host
    known = ", ".join(host.name for host in config.hosts)
    raise AgentError(f"No host {name} in the configuration.", f"One of {known}.")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.writing.write_probe", description="Try one committed write.")
    parser.add_argument("--config", type=Path, default=DEFAULT)
    parser.add_argument("--host", help="exactly this host, whatever its role")
    parser.add_argument("--timeout", type=float, default=2.0, help="seconds")
    parser.add_argument(
        "--expect-failure", action="store_true", help="exit 0 when the host refuses the write"
    )
    parser.add_argument("--when-told", action="store_true", help='wait for a line that says "go"')
    options = parser.parse_args(arguments)
    config = load_config(options.config)
    if options.host is not None:
        _named(config, options.host)
    if options.when_told and sys.stdin.readline().strip() != "go":
        return 1  # nobody wants to know any more
    outcome = probe(config, options.host, options.timeout)
    print(json.dumps(asdict(outcome), ensure_ascii=False), flush=True)
    if options.expect_failure:
        return 0 if not outcome.wrote and outcome.stage != "commit" else 1
    return 0 if outcome.wrote else 1


if __name__ == "__main__":
    sys.exit(run(main))
