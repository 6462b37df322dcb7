"""Ask whether what was committed is protected: on another host's disk, with all that is needed to bring it back."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.base.errors import AgentError


class NotProtected(AgentError):  # noqa: N818 - named after what is wrong, as in the rest of the repository
    """What was committed is on this host's disk alone, as far as anybody can tell; it may be asked again."""


@dataclass(frozen=True)
class Protected:
    """All that was committed before the question is protected, up to transaction `tx` of `stream`, read at `at`."""

    stream: str
    epoch: int
    salts: str
    frame: int
    tx: int
    at: float
    based: bool


class Asking:
    """A connection to the protector of one database, for one thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def protected(self, deadline_s: float = 5.0) -> Protected:
        """Raises NotProtected, also where no snapshot is there yet on which the changes could be laid."""
        found = self.position(deadline_s)
        if not found.based:
            raise NotProtected("There is no snapshot of this stream of changes yet.", "One is being taken; ask again.")
        return found

    def position(self, deadline_s: float = 5.0) -> Protected:
        """How far the receiver is, which has all that was committed before. Raises NotProtected."""
        try:
            said = self._asked(deadline_s)
        except (OSError, ValueError) as error:
            self.close()
            raise NotProtected(
                f"The protector at {self._path} does not answer: {error}.", "systemctl status 'mystocks-sqlite@*'"
            ) from error
        if "error" in said:
            raise NotProtected(f"What was committed is not protected: {said['error']}", "It is tried again and again.")
        return Protected(**said)

    def _asked(self, deadline_s: float) -> dict[str, Any]:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(deadline_s)
            self._socket.connect(str(self._path))
        self._socket.settimeout(deadline_s)
        self._socket.sendall(b"?")
        text = b""
        while not text.endswith(b"\n"):
            block = self._socket.recv(4096)
            if not block:
                raise OSError("it ended")
            text += block
        said = json.loads(text)
        if not isinstance(said, dict):
            raise ValueError("an answer that is no object")
        return said

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
