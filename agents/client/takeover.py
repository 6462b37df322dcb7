"""Take over a recovery queue that the trading system left: its pending items are saved as any rows are.

    python3 -m agents.client.takeover [--config FILE] QUEUE

Each item is as old as its created_at: its rows never win over what was saved since, where the table keeps the newest.
Its rows keep their event ids (agents/client/imported.py), so that taking it over twice leaves one copy. An item is
marked completed when every row of it is acknowledged. One that is damaged, or has rows that the catalogue refuses,
stays in the file, marked failed and named in the answer; its sound rows are saved. A file that cannot be written is
taken over all the same, unmarked.

Prints {"items", "rows", "by_store", "by_outbox", "set_aside": [{"id", "classification", "rows", "why"}],
"failed_before", "left", "marked", "why_left"}. Exit code 1 when anything was set aside or is left.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from agents.base.config import DEFAULT
from agents.base.errors import BadConfig, BadRow, run
from agents.client.client import Acknowledgement, Client, NotAcknowledged
from agents.client.imported import A_SECOND, Imported, SecondFull
from agents.client.recovery_queue import EVENT_IDS, QueueUnusable, opened, readable
from agents.writing.writer import By

MOST_ROWS = 131_072  # of an item: the trading system saves up to 100,000
FUTURE_S = 86_400
REASONS = 3


class Damaged(Exception):  # noqa: N818 - named after what the item is
    """An item of which nobody can tell the rows; the text says why."""


@dataclass(frozen=True)
class Item:
    id: int
    classification: str
    data_json: str
    created_at: object


@dataclass(frozen=True)
class SetAside:
    """`rows`: how many of it are not saved; None where nobody can tell."""

    id: int
    classification: str
    rows: int | None
    why: str


@dataclass
class Taken:
    items: int = 0
    rows: int = 0
    by_store: int = 0
    by_outbox: int = 0
    set_aside: list[SetAside] = field(default_factory=list)
    failed_before: int = 0
    left: int = 0
    marked: bool = True
    why_left: str = ""


def take_over(client: Client, path: Path) -> Taken:
    """Save every pending item. Raises QueueUnusable for a file that is none; nothing is deleted from it."""
    taken = Taken()
    if path.stat().st_size == 0:
        hint = "Look for it beside this one, with its -wal: a copy that was half written starts like that."
        raise QueueUnusable(f"{path} is empty: nothing was ever put into it, or it is no copy of the queue.", hint)
    with closing(Imported(client.folder, client.node)) as imported, opened(path) as queue:
        taken.failed_before = _count(queue, "failed")
        for item in _pending(queue):
            try:
                status = _take(client, imported, item, taken)
            except NotAcknowledged as error:
                taken.why_left = str(error)
                break
            taken.items += 1
            _mark(queue, item, status, taken)
        # Where nothing could be marked, what was taken is counted as pending still.
        taken.left = _count(queue, "pending") - (0 if taken.marked else taken.items)
    return taken


def _take(client: Client, imported: Imported, item: Item, taken: Taken) -> str:
    """Its new status."""
    try:
        rows, table_name, given = rows_of(item.data_json)
        target = _target(client, item.classification, table_name)
        ids = [of_save or own for of_save, own in zip(given, event_ids(imported, item, rows), strict=True)]
        prepared = client.prepare(target, rows, ids)
    except (Damaged, BadRow) as why:
        taken.set_aside.append(SetAside(item.id, item.classification, None, str(why)))
        return "failed"
    ack = client.write(prepared)
    time.sleep(ack.slow_down_s)
    _add(taken, ack)
    if ack.complete:
        return "completed"
    reasons = "; ".join(str(one) for one in ack.refused[:REASONS])
    more = "" if len(ack.refused) <= REASONS else f"; and {len(ack.refused) - REASONS} more"
    refused = len({one.row for one in ack.refused})
    taken.set_aside.append(SetAside(item.id, item.classification, refused, reasons + more))
    return "failed"


def _add(taken: Taken, ack: Acknowledgement) -> None:
    for piece, one in zip(ack.pieces, ack.acks, strict=True):
        n = len(piece.rows)
        taken.rows += n
        taken.by_store += n if one.by is By.STORE else 0
        taken.by_outbox += n if one.by is By.OUTBOX else 0


def _target(client: Client, classification: str, table_name: str) -> str:
    """By the classification; by the table's name where that says nothing to the catalogue, or not enough."""
    try:
        return client.table(classification).name
    except BadRow:
        if table_name not in client.tables:
            raise
        return table_name


def rows_of(text: str) -> tuple[list[Any], str, list[int | None]]:
    """The rows of an item, the table's name, and for each row the event id under which it may be in the store already.
    As its manager puts it: a set of words with rows below `data`; also bare rows, and a frame by columns. Raises
    Damaged.
    """
    try:
        found = json.loads(text, object_pairs_hook=_distinct)
    except (ValueError, RecursionError, TypeError) as error:
        raise Damaged(f"its data are no JSON ({error})") from error
    table, given = "", None
    if isinstance(found, dict) and "data" in found and "columns" not in found:
        kind = str(found.get("operation_type") or "save").lower()
        if kind not in ("save", "update"):
            raise Damaged(f"it is a {kind}, which saves nothing")
        table, words, found = str(found.get("table_name") or ""), found.get("kwargs"), found["data"]
        given = words.get(EVENT_IDS) if isinstance(words, dict) else None
    rows = _records(found)
    if not rows:
        raise Damaged("it holds no rows")
    if given is None:
        return rows, table, [None] * len(rows)
    known = isinstance(given, list) and all(one is None or type(one) is int for one in given)
    if not known or len(given) != len(rows):
        raise Damaged(f"its {EVENT_IDS} are not one for each row")
    return rows, table, given


def _records(found: Any) -> list[Any]:
    if isinstance(found, list):
        return found
    if not isinstance(found, dict):
        raise Damaged(f"its data are {type(found).__name__}, no rows")
    if set(found) >= {"columns", "data"} and isinstance(found["columns"], list) and isinstance(found["data"], list):
        index = found.get("index", [])
        if not isinstance(index, list) or any(type(at) is not int for at in index):
            raise Damaged("its index holds values, and nobody knows of which column")
        return [_row(found["columns"], row, number) for number, row in enumerate(found["data"])]
    values = list(found.values())
    if values and all(isinstance(value, list) for value in values):
        if len({len(value) for value in values}) > 1:
            raise Damaged("its columns are not of one length, so nobody knows which values are one row")
        return [dict(zip(found, row, strict=True)) for row in zip(*values, strict=True)]
    # By column and then by the number of the row; with other keys it is one row of documents.
    if values and all(isinstance(value, dict) and all(key.isdecimal() for key in value) for value in values):
        if len({frozenset(value) for value in values}) > 1:
            raise Damaged("its columns do not have the same rows")
        return [{name: column[key] for name, column in found.items()} for key in values[0]]
    return [found]


def _row(columns: list[Any], values: Any, number: int) -> dict[Any, Any]:
    """One row of a frame that was split into names and values."""
    if not isinstance(values, list) or len(values) != len(columns):
        n = len(values) if isinstance(values, list) else 1
        raise Damaged(f"its row {number} has {n} values for {len(columns)} columns")
    return _distinct([(str(name), value) for name, value in zip(columns, values, strict=True)])


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; of two values under one name nobody knows which is meant. Raises Damaged."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise Damaged(f"{next(name for name in names if names.count(name) > 1)} is there twice")
    return found


def event_ids(imported: Imported, item: Item, rows: Sequence[Any]) -> list[int]:
    """Of its rows, in the second in which it was put into the queue. Raises Damaged."""
    if len(rows) > MOST_ROWS:
        raise Damaged(f"it holds {len(rows)} rows, {MOST_ROWS} are the most")
    try:
        moment = datetime.fromisoformat(str(item.created_at))
    except ValueError:
        raise Damaged(f"its created_at is {item.created_at!r}, so nobody knows how old it is") from None
    second = int((moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp())
    if not 0 < second < time.time() + FUTURE_S:
        raise Damaged(f"its created_at is {item.created_at!r}, which is still to come or long before its time")
    try:
        return imported.event_ids(second, (item.id, item.classification), rows)
    except SecondFull:
        raise Damaged(f"its second, {item.created_at}, has {A_SECOND} rows already, which are the most") from None


def _pending(queue: sqlite3.Connection) -> Iterator[Item]:
    """Oldest first; one at a time, since one may be large. An item that is no text is handed on as its text."""
    after = 0
    query = (
        "SELECT id, CAST(classification AS TEXT), data_json, created_at FROM outbox_queue"
        " WHERE status = 'pending' AND id > ? ORDER BY id LIMIT 1"
    )
    queue.text_factory = readable
    while (row := queue.execute(query, (after,)).fetchone()) is not None:
        after = row[0]
        data = readable(row[2]) if isinstance(row[2], bytes) else str(row[2])
        yield Item(row[0], str(row[1]), data, row[3])


def _mark(queue: sqlite3.Connection, item: Item, status: str, taken: Taken) -> None:
    """Read-only is told at the end and changes nothing: the item's event ids make it harmless to take it twice."""
    if not taken.marked:
        return
    change = "UPDATE outbox_queue SET status = ?, retry_count = retry_count + ? WHERE id = ?"
    try:
        queue.execute(change, (status, int(status == "failed"), item.id))
    except sqlite3.OperationalError as error:
        if "readonly" not in str(error):
            raise
        taken.marked = False


def _count(queue: sqlite3.Connection, status: str) -> int:
    return int(queue.execute("SELECT count(*) FROM outbox_queue WHERE status = ?", (status,)).fetchone()[0])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.client.takeover", description="Take over a recovery queue's file.")
    parser.add_argument("--config", type=Path, default=DEFAULT)
    parser.add_argument("queue", type=Path)
    options = parser.parse_args(arguments)
    if not options.queue.is_file():
        raise BadConfig(f"There is no file {options.queue} on this host.", "Name the queue that was left here.")
    with Client.open(options.config, pool=1) as client:
        taken = take_over(client, options.queue)
    print(json.dumps(asdict(taken)), flush=True)
    return 1 if taken.set_aside or taken.left else 0


if __name__ == "__main__":
    sys.exit(run(main))
