"""One TDengine session in a process of its own, so that a call that hangs can be ended.

TDengine's client is a C library without a deadline: a host that is gone keeps a call for minutes, and nothing in the
same process can take it back. Here the whole process goes. Frames on standard input: length (4 bytes, big endian) and
one statement; on standard output one JSON object a line: {"affected": n}, {"rows": [...]} or {"error", "code"}.

    python3 -m agents.tdengine.worker --config FILE [--node NAME]
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from agents.base.errors import AgentError
from agents.tdengine.session import DEFAULT, Session, TdengineError, load_settings

LENGTH = struct.Struct(">I")


def serve(session: Session, source: BinaryIO, answers: BinaryIO) -> None:
    """Answer statement after statement until the input ends."""
    while len(header := source.read(LENGTH.size)) == LENGTH.size:
        statement = source.read(LENGTH.unpack(header)[0]).decode()
        try:
            if statement.startswith("SELECT"):
                _say(answers, rows=session.rows(statement))
            else:
                _say(answers, affected=session.execute(statement))
        except TdengineError as error:
            _say(answers, error=str(error), code=error.code)


def _say(answers: BinaryIO, **facts: object) -> None:
    answers.write(json.dumps(facts, default=str).encode() + b"\n")
    answers.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.tdengine.worker", description="One TDengine session.")
    parser.add_argument("--config", type=Path, default=DEFAULT)
    parser.add_argument("--node", default="", help="which of the nodes is asked first")
    options = parser.parse_args(arguments)
    # The library prints to standard output; our answers keep a descriptor of their own.
    with os.fdopen(os.dup(1), "wb", buffering=0) as answers, open(0, "rb", closefd=False) as source:
        os.dup2(2, 1)
        try:
            settings = load_settings(options.config)
            # The client library holds on to a host that is gone; one that answers goes first.
            nodes = sorted(settings.nodes, key=lambda node: node[0] != options.node)
            session = Session(replace(settings, nodes=tuple(nodes)))
        except AgentError as error:
            _say(answers, error=str(error), code=getattr(error, "code", 0))
            return error.exit_code
        _say(answers, affected=0)
        serve(session, source, answers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
