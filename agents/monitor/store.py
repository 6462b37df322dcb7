"""Put lines of a spool into the monitoring database. A line is

    {"kind": "operation", "data": {"operation_id": "...", ...}}

and its keys are columns of the kind's table. A line that was put already changes nothing; one that no table takes is
kept in `rejected` as it came, with the reason, so that it stops no other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

# Data that does not fit its column, or breaks a constraint; whatever else is wrong is not the line's fault.
_LINES_OWN = ("22", "23")
_SESSION = "SET LOCAL synchronous_commit = on"
Line = dict[str, Any]


@dataclass(frozen=True)
class Receipt:
    """What became of lines: `new` were not there, `rejected` go nowhere; the rest was there. `incarnation`: of what."""

    lines: int
    new: int
    rejected: int
    incarnation: str

    @property
    def as_json(self) -> dict[str, Any]:
        return {"lines": self.lines, "new": self.new, "rejected": self.rejected, "incarnation": self.incarnation}


def put(connection: Connection, texts: Sequence[str]) -> Receipt:
    """All of them in one transaction, on the disk when this returns. Raises psycopg2.Error: then none is there."""
    by_kind: dict[str, list[tuple[str, Line]]] = {}
    new = rejected = 0
    with connection, connection.cursor() as cursor:
        cursor.execute(_SESSION)
        for text in texts:
            line, why = parsed(text)
            if line is None:
                rejected += _reject(cursor, text, why)
            else:
                by_kind.setdefault(line["kind"], []).append((text, line["data"]))
        for kind, lines in by_kind.items():
            added, refused = _put_kind(cursor, kind, lines)
            new, rejected = new + added, rejected + refused
        cursor.execute("SELECT monitor_incarnation()")
        ((incarnation,),) = cursor.fetchall()
    return Receipt(len(texts), new, rejected, str(incarnation))


def parsed(text: str) -> tuple[Line | None, str]:
    """The line, or why it is none."""
    try:
        line = json.loads(text)
    except ValueError as error:
        return None, f"it is no JSON: {error}"
    if not isinstance(line, dict) or not isinstance(line.get("kind"), str) or not isinstance(line.get("data"), dict):
        return None, "it has no kind and data"
    return line, ""


def again(connection: Connection) -> int:
    """Try what was rejected; how many of them a table takes now."""
    taken = 0
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT line_id, line FROM rejected")
        for line_id, text in cursor.fetchall():
            line, _ = parsed(text)
            if line is not None and _put_kind(cursor, line["kind"], [(text, line["data"])])[1] == 0:
                cursor.execute("DELETE FROM rejected WHERE line_id = %s", (line_id,))
                taken += 1
    return taken


def _put_kind(cursor: Any, kind: str, lines: Sequence[tuple[str, Line]]) -> tuple[int, int]:
    """(new, rejected). All at once; where one of them does not fit, each for itself."""
    added, why = _tried(cursor, kind, [data for _, data in lines])
    if not why:
        return added, 0
    if len(lines) == 1:
        return 0, _reject(cursor, lines[0][0], why)
    found = [_put_kind(cursor, kind, [line]) for line in lines]
    return sum(new for new, _ in found), sum(refused for _, refused in found)


def _tried(cursor: Any, kind: str, rows: Iterable[Line]) -> tuple[int, str]:
    """How many are new; or why they cannot be put, and then nothing of them is there."""
    cursor.execute("SAVEPOINT lines")
    try:
        cursor.execute("SELECT monitor_put(%s, %s::jsonb)", (kind, json.dumps(list(rows))))
        added = int(cursor.fetchone()[0])
    except psycopg2.Error as error:
        if not (error.pgcode or "").startswith(_LINES_OWN):
            raise
        cursor.execute("ROLLBACK TO SAVEPOINT lines; RELEASE SAVEPOINT lines")
        return 0, str(error).splitlines()[0]
    cursor.execute("RELEASE SAVEPOINT lines")
    return added, ""


def _reject(cursor: Any, text: str, why: str) -> int:
    """As text: a NUL, which no text has, shows as what it stands for in JSON."""
    shown = text.replace("\0", "\\u0000")
    name = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    cursor.execute("SELECT monitor_reject(%s, %s, %s)", (name, shown, why.replace("\0", "")))
    return 1
