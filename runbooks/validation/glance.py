"""What of a database can be seen at a cost that does not grow with its rows."""

from __future__ import annotations

from functools import partial

from inventories.catalog.quality import Quality
from inventories.catalog.tables import Tables
from runbooks.probes.postgresql import schema, structure
from runbooks.probes.postgresql.tables import Server
from runbooks.validation import rules, yielding
from runbooks.validation import structure as judging
from runbooks.validation.difference import Check, Looked


def glance(server: Server, known: Tables, quality: Quality, limit: float) -> tuple[Looked, ...]:
    """The structure, and whether each table has rows at all: what costs the same however many there are.

    `limit`: seconds for each question. Raises DrError.
    """
    query = partial(server.query, timeout=limit)
    live, more = schema.read(query), structure.read(query)
    said = yielding.ask(server, rules.glances(known, live), limit)
    there = Looked(Check.STRUCTURE, "tables", len(more.tables), "", judging.judge(known, live, more))
    return there, rules.judge_glance(known, quality, said)
