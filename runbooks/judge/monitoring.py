"""Whether the monitoring database is there, and whether a loss of it would cost history."""

from __future__ import annotations

from collections.abc import Iterator

from runbooks.judge.finding import Finding
from runbooks.probes.durations import span
from runbooks.probes.monitoring import Monitoring

_AWAY = (
    "nothing is lost, it waits: systemctl status 'postgresql@*-monitoring' on the backup host; where its data are gone "
    "make the cluster anew (README, Production), then ./dr monitor.restore --yes"
)
_BACKUP = "on the backup host journalctl -t mystocks-monitoring; `agents.monitor.backup take` and `prove` by hand"


def findings(seen: Monitoring | None) -> Iterator[Finding]:
    """None where there is no such database, or nobody can tell."""
    if seen is None:
        return
    if seen.trouble:
        yield Finding("monitoring database", seen.trouble.rstrip("."), "answers", _AWAY)
    wrong = _wrong(seen)
    if wrong:
        limit = f"proven, and at most {span(seen.keep_s)} old"
        yield Finding("backup of the monitoring database", wrong, limit, _BACKUP)


def sentence(seen: Monitoring) -> str:
    """For people: whether all of the history would come back."""
    answers = "does not answer" if seen.trouble else "answers"
    proven = [one for one in seen.backups if one.proven]
    told = _wrong(seen) or f"its newest backup is {_old(seen)}, {proven[-1].label} was proven by a restore"
    return f"{answers}; {told}"


def _wrong(seen: Monitoring) -> str:
    """What keeps its own backup from bringing all of it back; empty where nothing does."""
    if not seen.backups:
        return "there is no backup of it"
    newest = seen.backups[-1]
    if newest.proven is False:
        return f"the newest, {newest.label}, was found damaged"
    if newest.age_s > seen.keep_s:
        return f"the newest is {_old(seen)}, and spools keep what they shipped for {span(seen.keep_s)}"
    return "" if any(one.proven for one in seen.backups) else "none was ever proven by a restore"


def _old(seen: Monitoring) -> str:
    return f"{span(seen.backups[-1].age_s)} old"
