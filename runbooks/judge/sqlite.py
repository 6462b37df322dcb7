"""SQLite databases that are gone, that lie on one host alone, or whose backups nobody can restore."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runbooks.judge.finding import Finding
from runbooks.probes.durations import span
from runbooks.probes.sqlite.databases import Glance


def findings(hosts: Mapping[str, tuple[Glance, ...]], max_age_h: float) -> Iterator[Finding]:
    """By application host what its programs said of each database."""
    for host, ones in hosts.items():
        for one in ones:
            yield from _of(host, one, max_age_h)


def _of(host: str, one: Glance, max_age_h: float) -> Iterator[Finding]:
    name = f"{one.name} on {host}"
    if not one.there:
        if one.streamed:  # an outbox that nobody has used yet has no file
            way = f"./dr sqlite-restore --database {one.name} --host {host} --yes brings it back"
            yield Finding(name, f"there is no {one.path}", "there", way)
        return
    if one.streamed and not one.protected:
        way = f"journalctl -u mystocks-sqlite@{one.name} there, and -u mystocks-sqlite-receiver on the backup host"
        yield Finding(f"protection of {name}", one.why, "every commit is on the backup host", way)
    if one.damaged:
        way = f"./dr sqlite-restore --database {one.name} --host {host} --list names those that are sound"
        yield Finding(f"snapshot of {name}", one.damaged, "restored and found whole", way)
    yield from _old(f"snapshot of {name}", one.snapshot_age_s, max_age_h, host, one.name)
    yield from _old(f"proof of {name}", one.proven_age_s, max_age_h, host, one.name)


def _old(what: str, age_s: float | None, max_age_h: float, host: str, name: str) -> Iterator[Finding]:
    if age_s is None or age_s > max_age_h * 3600:
        measured = "never" if age_s is None else f"{span(age_s)} old"
        way = f"journalctl -u mystocks-sqlite@{name} on {host}"
        yield Finding(what, measured, f"at most {max_age_h:g} h old", way)
