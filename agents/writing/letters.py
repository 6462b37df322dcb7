"""Dead letters: rows that were acknowledged and that the store refused. List, show, export, edit, try again, give up.

Nothing is changed or given up without a line in the outbox's own journal, in the same transaction: who, when, why, and
what the row was. A letter is tried again under its own event id ("own"), so that it loses against what was written
since, or as the newest of its key ("newest"). The rule: a row of an append-only table keeps its id, which is a part of
its key; a row that was edited is what somebody says today, and is the newest; any other keeps its time.
"""

from __future__ import annotations

import getpass
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from agents.base.config import Table
from agents.base.errors import BadRow
from agents.writing.batch import EVENT_ID, Part, copy_text, rows_of
from agents.writing.outbox_file import OutboxFile
from agents.writing.records import Newer, checksum_of, data_of, parts_of, ranges_in, ranges_of
from agents.writing.sqlite_errors import told

Row = dict[str, str | None]
Ids = Callable[[int], Sequence[int]]  # so many, each greater than all before
EDITED, RETRIED, DISCARDED, BURIED = "edited", "retried", "discarded", "buried"
OWN, NEWEST = "own", "newest"


@dataclass(frozen=True)
class Letter:
    """One dead record, without its rows. `tables` maps a table to [first event id, last event id, rows]."""

    id: int
    tables: dict[str, list[int]]
    n_rows: int
    created_at: float
    retry_count: int
    last_error: str | None


class Letters(OutboxFile):
    """One connection to the file, for whoever decides about dead letters."""

    def page(self, after: int = 0, at_most: int = 1000) -> list[Letter]:
        """Oldest first, from the one behind `after`."""
        rows = self._all(
            "SELECT id, tables, n_rows, created_at, retry_count, last_error FROM outbox_queue"
            " WHERE status = 'dead' AND id > ? ORDER BY id LIMIT ?",
            after, at_most,
        )  # fmt: skip
        return [Letter(row[0], ranges_in(row[1]), *row[2:]) for row in rows]

    def every(self, table: str = "", after: int = 0) -> Iterator[Letter]:
        """All of them, or those with rows of one table, however many."""
        while page := self.page(after):
            yield from (letter for letter in page if not table or table in letter.tables)
            after = page[-1].id

    def rows(self, number: int) -> list[tuple[str, Row]]:
        """(table, column -> value) of each row; values as text, None for NULL. Raises BadRow."""
        return [
            (part.table, dict(zip(part.columns, values, strict=True)))
            for part in self._parts(number)
            for values in rows_of(part)
        ]

    def history(self, number: int) -> list[dict[str, object]]:
        """What was done to a letter, oldest first."""
        return [
            {"at": at, "who": who, "deed": deed, "reason": reason, **json.loads(what)}
            for at, who, deed, reason, what in self._all(
                "SELECT at, who, deed, reason, what FROM outbox_journal WHERE letter = ? ORDER BY id", number
            )
        ]

    def edit(self, number: int, values: Mapping[str, str | None], reason: str, event: int | None = None) -> Row:
        """Give a row other values, and return what it is now; `event` names one of several rows. Raises BadRow."""
        with self._transaction():
            return self._edited(number, values, reason, event)

    def _edited(self, number: int, values: Mapping[str, str | None], reason: str, event: int | None) -> Row:
        parts = self._parts(number)
        chosen = [
            (at, nth, dict(zip(part.columns, found, strict=True)))
            for at, part in enumerate(parts)
            for nth, found in enumerate(rows_of(part))
            if event is None or found[part.columns.index(EVENT_ID)] == str(event)
        ]
        if len(chosen) != 1:
            raise BadRow(f"Letter {number} has {len(chosen)} such rows, one is edited at a time.", "--event names one.")
        at, nth, before = chosen[0]
        unknown = sorted(set(values) - set(before) | set(values) & {EVENT_ID})
        if unknown:
            raise BadRow(f"{unknown[0]} cannot be edited in {parts[at].table}.", f"It has {', '.join(before)}.")
        now = {**before, **values}
        lines = [line + "\n" for line in parts[at].text.split("\n")[:-1]]
        lines[nth] = copy_text([[now[name] for name in parts[at].columns]])
        parts[at] = replace(parts[at], text="".join(lines))
        changes = {name: [before[name], value] for name, value in values.items() if before[name] != value}
        self._write(number, parts)
        what = {"table": parts[at].table, "event": before[EVENT_ID], "values": changes}
        self._journal(number, EDITED, reason, what)
        return now

    def retry(
        self, numbers: Sequence[int], tables: Mapping[str, Table], reason: str, ids: Ids, as_: str = ""
    ) -> tuple[int, list[int]]:
        """Put letters back into the queue; how many, and those that are damaged and stay. `as_` overrides the rule;
        `ids` gives the next event ids of this host, which a row gets that is to be the newest.
        """
        damaged = []
        for number in numbers:
            try:
                with self._transaction():
                    self._retried(number, tables, reason, ids, as_)
            except BadRow:
                damaged.append(number)
        return len(numbers) - len(damaged), damaged

    def _retried(self, number: int, tables: Mapping[str, Table], reason: str, ids: Ids, as_: str) -> None:
        parts = self._parts(number)
        edited = any(deed["deed"] == EDITED for deed in self.history(number))
        chosen = [self._timed(part, tables.get(part.table), edited, ids, as_) for part in parts]
        if chosen != parts:
            self._write(number, chosen)
        self._db.execute(
            "UPDATE outbox_queue SET status = 'pending', held = NULL, retry_count = 0 WHERE id = ?", (number,)
        )
        self._journal(number, RETRIED, reason, {"as": NEWEST if chosen != parts else OWN})

    def discard(self, numbers: Sequence[int], reason: str) -> int:
        """Give letters up; the journal keeps what they were. Returns how many."""
        done = 0
        for number in numbers:
            with self._transaction():
                row = self._one(
                    "SELECT CAST(data AS BLOB), last_error FROM outbox_queue WHERE id = ? AND status = 'dead'", number
                )
                if row is None:
                    continue
                what = {"data": row[0].decode(errors="backslashreplace"), "error": row[1]}
                self._journal(number, DISCARDED, reason, what)
                done += self._db.execute("DELETE FROM outbox_queue WHERE id = ?", (number,)).rowcount
        return done

    def bury(self, table: str, reason: str, at_most: int = 500) -> int:
        """What waits for this table is dead now, so that somebody decides about it; returns how many records."""
        done = 0
        while True:
            with self._transaction():
                query = "SELECT id FROM outbox_queue WHERE status = 'pending' AND held = ? ORDER BY id LIMIT ?"
                found = [row[0] for row in self._all(query, table, at_most)]
                for number in found:
                    self._db.execute("UPDATE outbox_queue SET status = 'dead', held = NULL WHERE id = ?", (number,))
                    self._journal(number, BURIED, reason, {"table": table})
            done += len(found)
            if not found:
                return done

    def _parts(self, number: int) -> list[Part]:
        with told(self.path), closing(
            self._db.execute(
                "SELECT CAST(data AS BLOB), checksum FROM outbox_queue WHERE id = ? AND status = 'dead'", (number,)
            )
        ) as cursor:
            row = cursor.fetchone()
        if row is None:
            raise BadRow(f"There is no dead letter {number}.", "./dr outbox.dead lists them.")
        try:
            parts = parts_of(row[0], row[1])
        except Newer as error:
            raise BadRow(f"Letter {number} cannot be read: {error}.", "Deploy the newest agents.") from error
        if parts is None:
            raise BadRow(f"Letter {number} is damaged: its checksum is wrong.", "Write its rows anew, discard it.")
        return list(parts)

    def _timed(self, part: Part, table: Table | None, edited: bool, ids: Ids, as_: str) -> Part:
        newest = as_ == NEWEST if as_ else edited
        if not newest or table is None or table.on_conflict != "newest":
            return part
        # By the clock of all who save here: later than whatever they saved, and not than what they are about to save.
        events, at = ids(part.n), part.columns.index(EVENT_ID)
        rows = [
            [str(event) if nth == at else value for nth, value in enumerate(row)]
            for event, row in zip(events, rows_of(part), strict=True)
        ]
        return replace(part, first=min(events), last=max(events), text=copy_text(rows))

    def _write(self, number: int, parts: Sequence[Part]) -> None:
        data = data_of(parts)
        self._db.execute(
            "UPDATE outbox_queue SET data = ?, checksum = ?, tables = ? WHERE id = ? AND status = 'dead'",
            (data, checksum_of(data), ranges_of(parts), number),
        )

    def _journal(self, number: int, deed: str, reason: str, what: object) -> None:
        self._db.execute(
            "INSERT INTO outbox_journal (at, who, letter, deed, reason, what) VALUES (?, ?, ?, ?, ?, ?)",
            (time.time(), getpass.getuser(), number, deed, reason, json.dumps(what, ensure_ascii=False)),
        )

