"""Operations on a TDengine server. Statements and passwords travel on standard input, to taospy on the host itself."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any

from pyinfra import host
from pyinfra.api import FactBase, OperationError, QuoteString, StringCommand, operation

Commands = Generator[str | StringCommand, None, None]
_ADMIN = "cd /opt/mystocks-dr && python3 -m agents.tdengine_admin"


class TdState(FactBase[dict[str, Any]]):
    """What the server is, asked with the root password given on standard input of agents.tdengine_admin.

    Keys: up, default_password, users, dnodes, mnodes, databases, supertables; empty when it does not answer.
    """

    default = dict

    def command(self) -> StringCommand:
        return StringCommand("sh", "-c", QuoteString(f"{_ADMIN} state 2>/dev/null || echo '{{}}'"))

    def process(self, output: Iterable[str]) -> dict[str, Any]:
        text = "\n".join(output).strip()
        return dict(json.loads(text)) if text else {}


def _admin(command: str, **facts: object) -> StringCommand:
    return StringCommand("sh", "-c", QuoteString(f"{_ADMIN} {command}"), _stdin=json.dumps(facts) + "\n")


@operation()
def td_unpack(archive: str, folder: str) -> Commands:
    """Unpack beside what is there, whole or not at all."""
    script = f"rm -rf {folder}.new && mkdir -p {folder}.new && tar -xf {archive} -C {folder}.new --no-same-owner && rm -rf {folder} && mv {folder}.new {folder}"
    yield StringCommand("sh", "-c", QuoteString(script))
