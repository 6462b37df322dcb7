"""Certificates that end soon, and those that were renewed and are not the ones that a server shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runbooks.judge.finding import Finding
from runbooks.probes.certificates import Certificate

_DAY_S = 86400.0
# Both read their files again when they are told to, without a pause.
_RELOADS = {"PostgreSQL": "psql -c 'select pg_reload_conf()'", "pgBackRest": "systemctl reload pgbackrest-server"}


def findings(seen: Mapping[str, tuple[Certificate, ...]], at: float, min_days: float) -> Iterator[Finding]:
    for host, certificates in seen.items():
        for one in certificates:
            yield from _of(host, one, at, min_days)


def _of(host: str, one: Certificate, at: float, min_days: float) -> Iterator[Finding]:
    what = f"certificate of {one.service} on {host}"
    if one.file_ends is None:
        yield Finding(what, "cannot be read", "good", f"./dr deploy --limit {host} puts it there again")
        return
    left = (one.file_ends - at) / _DAY_S
    if left < min_days:
        yield Finding(what, _told(left), f"{min_days:g} days", f"./dr deploy --limit {host} renews it")
    elif one.served_ends is not None and one.served_ends != one.file_ends:
        shown = _told((one.served_ends - at) / _DAY_S)
        hint = f"{_RELOADS[one.service]} on {host} loads it"
        yield Finding(f"{what}, as clients are shown it", f"{shown}; the file's is another", "the file's", hint)


def _told(days: float) -> str:
    span = "1 day" if f"{abs(days):.0f}" == "1" else f"{abs(days):.0f} days"
    return f"ended {span} ago" if days < 0 else f"ends in {span}"


__all__ = ["findings"]
