"""Every backup with what it covers and whether it was proven, and the check of the archive."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from inventories.catalog.tracker import DATABASE
from inventories.errors import DrError
from runbooks import agent
from runbooks.engine.budgets import budget
from runbooks.hosts import Estate
from runbooks.layout import STANZA
from runbooks.probes import jobs
from runbooks.probes.postgresql import archive, backups, pgbackrest
from runbooks.probes.postgresql.archive import Archive, Covered
from runbooks.probes.postgresql.pgbackrest import Backup, Repository
from runbooks.probes.postgresql.server import as_lsn

ENGINE_STORE = "postgresql"


@dataclass(frozen=True)
class Span:
    """What can be restored from a backup: LSNs, and times as unix seconds (`to_at` None: nobody noted it)."""

    from_lsn: str
    from_at: int
    to_lsn: str
    to_at: int | None


@dataclass(frozen=True)
class Listed:
    """One backup. Bytes: `size` of the restored cluster, `taken` of what this backup holds of it, `stored` of that in
    the repository. `proven_at` (unix seconds) is when it was last restored and found whole; `trouble` says why it may
    not be used, empty when it may; `span` is None where nothing can be restored from it along the newest timeline.
    """

    store: str
    label: str
    kind: str
    started_at: int
    ended_at: int
    age_s: float
    timeline: int
    size_bytes: int
    taken_bytes: int
    stored_bytes: int
    span: Span | None
    proven_at: float | None
    copies: tuple[str, ...]
    key_id: str
    trouble: str
    revision: str = ""  # of the stock tracker's database, as it was when the backup ended; empty where it had none

    @property
    def ratio(self) -> float | None:
        return self.taken_bytes / self.stored_bytes if self.stored_bytes else None


@dataclass(frozen=True)
class Listing:
    """All backups, oldest first, and what is wrong with the repository: gaps, segments stored twice, its own words.

    `covered` is what all of them cover together, None when that is nothing.
    """

    at: float
    backups: tuple[Listed, ...]
    timeline: int
    covered: Span | None
    gaps: tuple[str, ...]
    troubles: tuple[str, ...]

    @property
    def sound(self) -> bool:
        return not (self.gaps or self.troubles or [one for one in self.backups if one.trouble]) and bool(self.backups)

    def as_json(self) -> dict[str, Any]:
        plain = asdict(self)
        for one, listed in zip(plain["backups"], self.backups, strict=True):
            one["ratio"] = listed.ratio and round(listed.ratio, 2)
        return plain | {"sound": self.sound}


@dataclass(frozen=True)
class Checked:
    """A WAL segment that was forced on the primary was in the archive after `seconds`, byte for byte."""

    primary: str
    segment: str
    seconds: float
    sentence: str


def look(estate: Estate) -> Listing:
    """Ask the backup host. Raises DrError when it does not answer."""
    host = estate.backup
    known = pgbackrest.info(host, STANZA)
    held = archive.look(host, STANZA)
    copied_at, where, said = _offsite(estate)
    proven, failed = backups.last_passed(host), backups.failed_proofs(host)
    return listing(known, held, proven, failed, (copied_at, where), time.time(), tuple(said))


def listing(
    known: Repository, held: Archive, proven: Mapping[str, float], failed: Mapping[str, str],
    offsite: tuple[float | None, str], at: float, troubles: tuple[str, ...] = (),
) -> Listing:  # fmt: skip
    """Put together what was asked for; `offsite` is when the copy there was last whole, and its host's name."""
    timeline = held.newest_timeline
    covered = {one.label: one for one in held.backups}
    listed = tuple(
        _listed(one, covered.get(one.label), timeline, proven, failed, offsite, at)
        for one in sorted(known.backups, key=lambda backup: backup.place)
    )
    spans = [one.span for one in listed if one.span and not one.trouble]
    whole = Span(spans[0].from_lsn, spans[0].from_at, spans[-1].to_lsn, spans[-1].to_at) if spans else None
    told = (*_of_repository(known, held), *troubles)
    return Listing(at, listed, timeline, whole, tuple(map(str, held.gaps)), told)


def _listed(
    one: Backup, covered: Covered | None, timeline: int, proven: Mapping[str, float], failed: Mapping[str, str],
    offsite: tuple[float | None, str], at: float,
) -> Listed:  # fmt: skip
    copied_at, where = offsite
    copies = ["repository 1", *([where] if copied_at is not None and one.stopped_at <= copied_at else [])]
    trouble = backups.why_not(one, failed) or (str(covered.missing[0]) if covered and covered.missing else "")
    return Listed(
        store=ENGINE_STORE, label=one.label, kind=one.type, started_at=one.started_at, ended_at=one.stopped_at,
        age_s=at - one.stopped_at, timeline=one.timeline, size_bytes=one.size_bytes, taken_bytes=one.taken_bytes,
        stored_bytes=one.repository_bytes, span=_span(covered, timeline), proven_at=proven.get(one.label),
        copies=tuple(copies), key_id=one.annotations.get("key-id", ""), trouble=trouble,
        revision=one.revisions.get(DATABASE, ""),
    )  # fmt: skip


def _span(covered: Covered | None, timeline: int) -> Span | None:
    """Along the newest timeline; a backup that does not lead to it covers what its own one has."""
    if covered is None:
        return None
    reach = covered.reach.get(timeline) or covered.reach.get(covered.timeline)
    if reach is None:
        return None
    return Span(as_lsn(covered.stop_lsn), covered.stopped_at, as_lsn(reach.end), reach.at)


def _of_repository(known: Repository, held: Archive) -> Iterator[str]:
    if known.status:
        yield f"the repository: {known.trouble or known.message}"
    for line in held.lines:
        for segment in line.twice:
            yield f"the archive holds WAL segment {segment} with two contents: two servers archived it"


def _offsite(estate: Estate) -> tuple[float | None, str, list[str]]:
    """When the off-site copy last succeeded, where it is, and what is wrong with asking."""
    try:
        seen = jobs.look(estate.backup, timeout=30)
    except DrError as error:
        return None, "", [f"the jobs of {estate.backup} do not say when the off-site copy was made: {error}"]
    done = next((one.last_success_at for one in seen.jobs if one.name == "offsite"), None)
    return done, seen.offsite or "", []


def check(estate: Estate) -> Checked:
    """Force a WAL segment on the primary and require it in the archive, byte for byte, within a budget.

    Raises DrError that names the segment and the archive_command in force, or the archive's gaps.
    """
    said = agent.ask(estate.backup, "postgresql.check", timeout=budget("archive.check"))
    return Checked(**{name: said[name] for name in Checked.__dataclass_fields__})
