"""A session as TDengine's root user, on a server's own host.

Until a deploy has changed it, the server takes the password that everybody knows. The new one lies in PASSFILE,
readable by root alone, before the server is told: whatever happens between, one of both is right.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from agents.base import files
from agents.base.errors import AgentError
from agents.tdengine.session import Session, Settings, TdengineError

PASSFILE = Path("/etc/mystocks-dr/tdengine-root.pass")
SERVER_CONFIG = Path("/etc/taos/taos.cfg")
DEFAULT_PASSWORD = "taosdata"  # noqa: S105 - the vendor's, which a deploy replaces
READY_S = 60.0
AUTHENTICATION = (0x0357, 0x0303)  # wrong password; invalid user
PORT = 6030


def own_name() -> str:
    """The name by which this host's server calls itself."""
    for line in SERVER_CONFIG.read_text(encoding="utf-8").splitlines():
        words = line.split()
        if words[:1] == ["fqdn"]:
            return words[1]
    raise AgentError(f"{SERVER_CONFIG} has no fqdn.", "Deploy this host again.")


def open_session(*others: str) -> tuple[Session, bool]:
    """A session, and whether the vendor's password opened it. `others` are tried after the one of PASSFILE."""
    settings = Settings(((own_name(), PORT),), "root", PASSFILE, "")
    kept = [PASSFILE.read_text(encoding="utf-8").strip()] if PASSFILE.exists() else []
    for password in (*kept, *others):
        try:
            return Session(settings, password=password), False
        except TdengineError as error:
            if error.code not in AUTHENTICATION:
                raise
    return Session(settings, password=DEFAULT_PASSWORD), True


def patient(*others: str) -> tuple[Session, bool]:
    """The same, waiting for a server that is just starting."""
    end = time.monotonic() + READY_S
    while True:
        try:
            return open_session(*others)
        except TdengineError as error:
            if error.code in AUTHENTICATION or time.monotonic() > end:
                raise
            time.sleep(0.2)


def keep_password(password: str) -> None:
    """Put root's password into PASSFILE, whole or not at all."""
    files.replace(PASSFILE, f"{password}\n", 0o600)


def endpoints(names: Sequence[str]) -> list[str]:
    """Names as TDengine's tables of nodes have them."""
    return [f"{name}:{PORT}" for name in names]
