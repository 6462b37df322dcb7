"""Ship this machine's spool to the monitoring database, over SSH, and read the past from there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from agents.base.errors import AgentError
from agents.monitor import shipping
from agents.monitor.seen import Seen
from agents.monitor.shipping import Shipped
from agents.monitor.spool import Spool
from agents.monitor.store import Receipt
from inventories.errors import DrError, Refused, TargetFailed
from runbooks.agent import ask
from runbooks.engine.budgets import budget
from runbooks.hosts import Estate, Host
from runbooks.monitoring import where
from runbooks.probes import monitoring

Gather = Callable[[Seen], Iterable[str]]


def gathered(spool: Spool, sources: Sequence[Gather]) -> list[DrError]:
    """What has happened since the last time, into the spool; of which source nothing more could be read, and why: it
    keeps no other back. Raises TargetFailed where the spool takes nothing.
    """
    troubles: list[DrError] = []
    try:
        spool.make()
        seen = Seen(spool.folder)
        lines: list[str] = []
        for source in sources:
            try:
                lines.extend(source(seen))  # keeps what came before the error, as `seen` does
            except DrError as error:
                troubles.append(error)
        spool.put(lines)
        seen.save()
    except OSError as error:
        raise TargetFailed(f"the spool {spool.folder} takes nothing: {error.strerror}", "free space there") from error
    return troubles


def ship(estate: Estate, there: Host, sources: Sequence[Gather]) -> Shipped:
    """Gather, then ship all that waits.

    Raises DrError: what was not taken waits in the spool; or all is shipped but what a source did not tell.
    """
    spool = where.spool(estate.name)
    troubles = gathered(spool, sources)
    done = _shipped(estate, there, spool)
    if done.began_anew:  # another database, or one that was restored: everything is told to it
        troubles = gathered(spool, sources)
        more = _shipped(estate, there, spool)
        done = Shipped(done.lines + more.lines, done.new + more.new, done.rejected + more.rejected, True)
    if troubles:
        raise troubles[0]
    return done


def _shipped(estate: Estate, there: Host, spool: Spool) -> Shipped:
    def deliver(texts: Sequence[str]) -> Receipt:
        words = ("--dsn", where.dsn(estate))
        told = ask(there, "monitor.take", *words, timeout=budget("monitor.take"), stdin="\n".join(texts))
        return Receipt(**told)

    there.must_answer()
    try:
        return shipping.ship(spool, deliver)
    except shipping.Busy as error:
        raise Refused(str(error).rstrip("."), error.hint) from error
    except AgentError as error:
        raise TargetFailed(str(error).rstrip("."), error.hint) from error


def past(estate: Estate, there: Host, what: Sequence[str], since: datetime | None) -> dict[str, Any]:
    """See agents/monitor/history.py. Raises DrError where the database does not tell."""
    there.must_answer()
    words = [word for kind in what for word in ("--what", kind)]
    words += ["--since", since.isoformat()] if since else []
    told = ask(there, "monitor.history", "--dsn", where.dsn(estate), *words, timeout=budget("monitor.history"))
    assert isinstance(told, dict)
    return told


def restored(estate: Estate, there: Host) -> dict[str, Any]:
    """From the newest backup, see agents/monitor/backup.py. Raises DrError."""
    there.must_answer()
    told = ask(there, "monitor.backup", "restore", *monitoring.shelf(estate), timeout=budget("monitor.restore"))
    assert isinstance(told, dict)
    return told


def noted(estate: Estate, lines: Iterable[str], say: Callable[[str], object]) -> None:
    """Lines that nothing else keeps go into the spool, where there is such a database; that they cannot is said."""
    try:
        if monitoring.port(estate):
            where.spool(estate.name).put(lines)
    except (OSError, DrError) as error:
        with suppress(DrError):
            say(f"WARNING: this is not in the history of {estate.name}: {error}")
