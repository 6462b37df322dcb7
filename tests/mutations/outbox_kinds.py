"""Kinds of damage to an outbox's file, by a hand that opens it with sqlite3, and who tells: tried on a file of its own.

The file has three records of ten orders each, of which the last one is a dead letter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agents.base.errors import BadRow
from agents.writing.letters import Letters
from agents.writing.outbox import Outbox
from tests.unit.agent_fixtures import orders, tables

RECORDS, ROWS = 3, 10
ACCOUNT = "the account of `replay-outbox`"
LETTER, SHOWN = "`outbox.dead`, once the replayer has read it", "`outbox.dead --show`"
REFUSED = "refused"


@dataclass(frozen=True)
class OutboxKind:
    """`who` tells it, in these `words`; empty where nobody does, and `hole` says why."""

    name: str
    sql: tuple[str, ...]
    who: str = ""
    words: str = ""
    hole: str = ""

    @property
    def says(self) -> str:
        return self.name.replace("-", " ")


_OLDEST, _DEAD = "(SELECT min(id) FROM outbox_queue WHERE status = 'pending')", "status = 'dead'"
KINDS = (
    OutboxKind("record-lost", (f"DELETE FROM outbox_queue WHERE id = {_OLDEST}",), ACCOUNT, f"{ROWS} rows missing"),
    OutboxKind(
        "record-altered", (f"UPDATE outbox_queue SET data = replace(data, 'O10', 'O1O') WHERE id = {_OLDEST}",), LETTER,
        "the checksum of the record does not match its data",
    ),
    OutboxKind(
        "dead-letter-altered", (f"UPDATE outbox_queue SET data = replace(data, 'O30', 'O3O') WHERE {_DEAD}",),
        SHOWN, "its checksum is wrong",
    ),
    OutboxKind("totals-lowered", ("UPDATE outbox_totals SET enqueued = enqueued - 5",), ACCOUNT, "-5 rows missing"),
    OutboxKind(
        "dead-letter-hidden", (f"DELETE FROM outbox_queue WHERE {_DEAD}",),
        hole="it counts as given up, and no check holds what was given up against the journal, which has no word of it",
    ),
    OutboxKind(
        "record-called-applied", (f"UPDATE outbox_queue SET status = 'applied' WHERE id = {_OLDEST}",),
        hole="it has no number of an application, by which rows are looked for in the store, and its account is even",
    ),
)  # fmt: skip


def filled(folder: Path) -> Outbox:
    outbox, known = Outbox(folder / "outbox.db"), tables(folder)
    for number in range(1, RECORDS + 1):
        outbox.enqueue(orders(known, ROWS * number, ROWS * number + ROWS - 1), known, 7)
    outbox.bury(outbox.pending(1000)[-1], REFUSED)
    return outbox


def told(outbox: Outbox) -> Mapping[str, str]:
    """What is said of the file, by who says it; nothing by whom it has nothing to say."""
    missing = [account.missing for account in outbox.accounts() if account.missing]
    outbox.pending(1000)  # as the replayer reads
    letters = Letters(outbox.path)
    said = {
        ACCOUNT: f"{missing[0]} rows missing" if missing else "",
        LETTER: " ".join(str(one.last_error) for one in letters.page() if one.last_error != REFUSED),
        SHOWN: _shown(letters),
    }
    return {who: words for who, words in said.items() if words}


def _shown(letters: Letters) -> str:
    """Of those that a store refused."""
    for letter in letters.page():
        try:
            if letter.last_error == REFUSED:
                letters.rows(letter.id)
        except BadRow as error:
            return str(error)
    return ""
