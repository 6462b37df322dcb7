"""The estate's lock on the backup host, where operators on different machines meet."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import ValidationError

from inventories.errors import Refused, Unreachable
from runbooks.engine.lock import Owner, takeover
from runbooks.hosts import Host

PATH = "/run/mystocks-dr-lock.json"  # a reboot of the backup host ends every lock, as it ends every SSH session
# noclobber makes look-and-take one system call on the host itself
_TAKE = "set -C; if { printf '%%s' %s > %s; } 2>/dev/null; then echo taken; else cat %s; fi"


class BackupHostLock:
    """Implements runbooks.engine.lock.RemoteLock."""

    def __init__(self, host: Host, say: Callable[[str], None]) -> None:
        self._host, self._say = host, say

    def acquire(self, owner_json: str) -> None:
        """Take the lock, or take it over from an owner that `takeover` declares gone. Raises Refused, Unreachable."""
        if not self._host.reachable():
            raise Unreachable(f"{self._host} does not answer")
        answer = self._host.run(_TAKE, owner_json, PATH, PATH, timeout=5).text
        if answer == "taken":
            return
        try:
            holder = Owner.model_validate_json(answer)
        except ValidationError as error:
            raise Refused(
                f"the lock {PATH} on {self._host} cannot be read, so its owner is unknown",
                "make sure that no procedure runs, then remove it",
            ) from error
        self._say(takeover(holder, Owner.model_validate_json(owner_json)))
        self.heartbeat(owner_json)

    def heartbeat(self, owner_json: str) -> None:
        self._host.run("printf '%%s' %s > %s.new && mv %s.new %s", owner_json, PATH, PATH, PATH, timeout=5)

    def release(self) -> None:
        self._host.run("rm -f %s", PATH, timeout=5)
