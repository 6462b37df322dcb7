"""After a restore: whether it brought an older revision of the stock tracker's database, and what to run then."""

from __future__ import annotations

from inventories.errors import DrError
from runbooks import hosts
from runbooks.judge import tracker
from runbooks.probes.postgresql import server
from runbooks.probes.tracker import has_it, schema


def way_on(inventory: str) -> str:
    """One sentence with the migrations to run, empty where none is missing. Never raises: the restore has succeeded."""
    try:
        estate = hosts.load(inventory or None)
        if not has_it(estate):
            return ""
        primary = server.the_primary(server.survey(estate)).host
        return tracker.sentence(primary.name, {primary.name: schema.revision(primary) or ""})
    except DrError as error:
        return f"the revision of the stock tracker's database is not known: {error}"
