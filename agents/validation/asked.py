"""What the programs that ask TDengine for a validation share: a request on standard input, one session, JSON out."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from agents.base.errors import AgentError
from agents.tdengine.session import DEFAULT, Session, load_settings


class BadRequest(AgentError):  # noqa: N818
    """What came on standard input is no such request."""

    exit_code = 2


class Asked(Protocol):
    """As much of a session as is used."""

    def rows(self, sql: str) -> list[tuple[Any, ...]]: ...


def answer(program: str, says: str, look: Callable[[Asked, Any], Any], arguments: Sequence[str] | None) -> int:
    """Print what `look` finds of the request. Raises AgentError."""
    parser = argparse.ArgumentParser(prog=program, description=says)
    parser.add_argument("--config", type=Path, default=DEFAULT)
    options = parser.parse_args(arguments)
    try:
        request = json.loads(sys.stdin.read())
    except ValueError as error:
        raise BadRequest(f"The request is no JSON: {error}.") from error
    with Session(load_settings(options.config)) as session:
        print(json.dumps(look(session, request), default=str))
    return 0
