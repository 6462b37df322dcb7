"""What of a database can be seen at a cost that does not grow with its rows."""

from __future__ import annotations

import time
from typing import Any

from inventories.catalog.quality import Quality
from inventories.catalog.tables import Tables
from runbooks.probes.postgresql import schema, structure
from runbooks.probes.postgresql.tables import Server
from runbooks.validation import rules, yielding
from runbooks.validation import structure as judging
from runbooks.validation.difference import Check, Looked
from runbooks.validation.questions import answers, script

LEAVES = 0.8  # of the time: who hangs is told of, and its caller is not late for that


def glance(server: Server, known: Tables, quality: Quality, limit: float) -> tuple[Looked, ...]:
    """The structure, and whether each table has rows at all: what costs the same however many there are.

    `limit`: seconds for all of it, of which some are left. Raises DrError.
    """
    over = time.monotonic() + LEAVES * limit

    def left() -> float:
        return max(0.1, over - time.monotonic())

    def query(sql: str) -> list[dict[str, Any]]:
        return server.query(sql, timeout=left())

    live, more = schema.read(query), structure.read(query)
    # One answer a table at no cost: nothing that would have to give way to production, and be asked again and again.
    said = answers(server.ask(script(rules.glances(known, live), yielding.SESSION), left()))
    there = Looked(Check.STRUCTURE, "tables", len(more.tables), "", judging.judge(known, live, more))
    return there, rules.judge_glance(known, quality, said)
