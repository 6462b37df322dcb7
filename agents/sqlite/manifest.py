"""What a snapshot is, and of which moment; sealed, so that only the key's owner can have written it."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from typing import Any

from agents.sqlite.seal import Broken, Seal

PIECE = struct.Struct(">I")  # before each locked piece of `data`: its bytes


@dataclass(frozen=True)
class Manifest:
    """`stream` to `tx` say where in a stream of changes it stands, empty and 0 for a database that has none; `at` is
    the moment (unix seconds) of its newest transaction, `taken_at` when it was taken. `sha3` is SQLite's own hash of
    schema and rows, `bytes` what the database takes, `pieces` how many locked pieces there are.
    """

    database: str
    label: str
    stream: str
    epoch: int
    salts: str
    frame: int
    tx: int
    at: float
    taken_at: float
    bytes: int
    pieces: int
    rows: dict[str, int]
    sha3: str
    key_id: str

    def sealed(self, seal: Seal) -> dict[str, Any]:
        return {**asdict(self), "seal": seal.close(b"", self._text).hex()}

    @property
    def _text(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    def check(self, seal: Seal, mark: str) -> None:
        """Raises Broken."""
        try:
            seal.open(bytes.fromhex(mark), self._text)
        except (Broken, ValueError) as error:
            why = "it was edited" if self.key_id == seal.key_id else f"its key is {self.key_id}, ours {seal.key_id}"
            raise Broken(f"The manifest of {self.label} is not sealed by our key: {why}.", "Choose another.") from error


def opened(raw: dict[str, Any], seal: Seal | None) -> Manifest:
    """Raises Broken; without a key it is believed as it stands."""
    try:
        mark = str(raw["seal"])
        found = Manifest(**{name: value for name, value in raw.items() if name != "seal"})
    except (KeyError, TypeError) as error:
        raise Broken(f"The manifest of {raw.get('label')} cannot be read: {error!r}.", "Choose another.") from error
    if seal is not None:
        found.check(seal, mark)
    return found


def place(database: str, label: str, number: int, *, last: bool) -> str:
    """What piece `number` of a snapshot is locked to."""
    return f"piece {number}{' and last' if last else ''} of {label} of {database}"
