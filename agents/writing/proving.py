"""That what left the outbox is in the store, row by row and by event id: a reconciliation that only counts proves less.

A row of an append-only table is there under its event id. One of a table whose newest row wins is there under its key,
itself or a newer one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from agents.base.config import Config, Table
from agents.writing.backend import backend
from agents.writing.batch import Part
from agents.writing.outbox import Outbox

CONNECT_S, ASK_S = 10.0, 60.0
ROWS = 2000
EXAMPLES = 10


@dataclass
class Proof:
    """Rows that are in the store, and that are not; `unknown` are of tables that nobody can ask about."""

    proven: int = 0
    missing: int = 0
    unknown: int = 0
    examples: list[str] = field(default_factory=list)
    last_applied_no: int = 0


def prove(config: Config, tables: Mapping[str, Table], outbox: Outbox, after: int) -> Proof:
    """Of everything that was applied after this number and is still in the file. Raises NoPrimary or a Failure."""
    reached = backend(config, "mystocks-proof")
    store = reached.open(reached.connect(CONNECT_S, None), tables)
    proof = Proof(last_applied_no=outbox.last_applied_no())
    try:
        for part in _applied(outbox, after):
            if part.table not in tables:
                proof.unknown += part.n
                continue
            for piece in part.chunks(ROWS):
                absent = store.absent(piece, ASK_S)
                proof.proven += piece.n - len(absent)
                proof.missing += len(absent)
                room = EXAMPLES - len(proof.examples)
                proof.examples += [f"event {event} of {piece.table}" for event in absent[: max(0, room)]]
    finally:
        store.close()
    return proof


def _applied(outbox: Outbox, after: int) -> Iterator[Part]:
    for parts in outbox.applied_after(after):
        yield from parts
