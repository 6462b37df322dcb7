"""TDengine's databases and supertables held against the catalogue, and which of these no backup has rows of."""

from __future__ import annotations

from collections.abc import Collection

from inventories.catalog.tdengine import shape
from runbooks.hosts import Estate
from runbooks.probes.tdengine import servers
from runbooks.validation.difference import Check, Difference, Looked

CLUSTER = "(TDengine)"  # what is of no supertable


def look(estate: Estate, compared: Collection[str]) -> Looked:
    """`compared` are the supertables of the backup; of others nobody looks at a row."""
    seen = servers.survey(estate)
    speaker, wanted = servers.speaker(seen), servers.shape(estate)
    if speaker is None:
        why = "; ".join(one.why or f"{one.name} is no part of the cluster" for one in seen)
        nobody = Difference(Check.STRUCTURE, CLUSTER, "servers", "an answer", why)
        return Looked(Check.STRUCTURE, "supertables", 0, "", (nobody,))
    found = [
        Difference(Check.STRUCTURE, CLUSTER, "shape", "as declared", line)
        for line in shape.differences(wanted, speaker.databases, speaker.columns)
    ]
    lacks = [table.name for table in wanted.tables if table.name not in compared]
    unknown = f"rows of {', '.join(lacks)}, which the backup does not have" if lacks else ""
    return Looked(Check.STRUCTURE, "supertables", len(wanted.tables), "", tuple(found), unknown=unknown)
