"""Of which parts this look cannot tell whether they are as promised: no finding there is no proof that all is well."""

from __future__ import annotations

from collections.abc import Iterator

from runbooks.look.status import Status


def parts(status: Status) -> frozenset[str]:
    """Parts by the names of `objectives.by_part`. What is silent is a finding of its own, and no part here."""
    return frozenset(_parts(status))


def _parts(status: Status) -> Iterator[str]:
    servers = {node.name for node in status.nodes}
    if servers - set(status.promotions):
        yield "promotion"
    if status.primary is None:
        yield "replication"
    if status.primary is None or status.primary.name not in status.archiving:
        yield "archive"
    if status.record is None:
        yield "record"
    if status.jobs is None:
        yield from ("jobs", "alarm-command")
    if status.validations is None:
        yield from ("validation", "validation-age")
    if "monitoring" in status.unknown:
        yield "monitoring"
    if status.jobs is None or status.outbox is None or (status.tdengine and status.tdengine_outbox is None):
        yield "shadows"
    if status.tdengine and status.tdengine_outbox is None:
        yield "tdengine-outbox"
    if status.tdengine and (status.tdengine_backups is None or status.jobs is None):
        yield "tdengine-backups"
    if any(not server.online for server in status.tdengine):
        yield "tdengine"
    if any(part.startswith("SQLite on ") for part in status.unknown):
        yield "sqlite"
    if "tracker's outbox" in status.unknown:
        yield "tracker"
    if status.tracker and (status.primary is None or status.primary.name not in status.tracker):
        yield "tracker"
    if servers - set(status.locks):
        yield "locks"
    # Which hosts there are the look does not say; where one that has a server is silent, another may be, too.
    if status.unknown or any(not node.ssh for node in status.nodes):
        yield from ("disks", "clocks", "certificates", "watch", "marks", "standbys")
