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

Gather = Callable[[Seen], Iterable[str]]


def gathered(spool: Spool, sources: Sequence[Gather]) -> int:
    """What has happened since the last time, into the spool: how many lines. Raises DrError."""
    try:
        spool.make()
        seen = Seen(spool.folder)
        lines = [one for source in sources for one in source(seen)]
        spool.put(lines)
        seen.save()
    except OSError as error:
        raise TargetFailed(f"the spool {spool.folder} takes nothing: {error.strerror}", "free space there") from error
    return len(lines)


def ship(estate: Estate, there: Host, sources: Sequence[Gather]) -> Shipped:
    """Gather, then ship all that waits. Raises DrError: what was not taken waits in the spool."""
    spool = where.spool(estate.name)
    gathered(spool, sources)
    done = _shipped(estate, there, spool)
    if done.began_anew:  # another database, or one that was restored: everything is told to it
        gathered(spool, sources)
        more = _shipped(estate, there, spool)
        return Shipped(done.lines + more.lines, done.new + more.new, done.rejected + more.rejected, True)
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
    words = ("--dsn", f"port={where.port(estate)}", "--folder", where.BACKUPS)
    told = ask(there, "monitor.backup", "restore", *words, timeout=budget("monitor.restore"))
    assert isinstance(told, dict)
    return told


def noted(estate: Estate, lines: Iterable[str], say: Callable[[str], object]) -> None:
    """Lines that nothing else keeps go into the spool, where there is such a database; that they cannot is said."""
    if not where.port(estate):
        return
    try:
        where.spool(estate.name).put(lines)
    except OSError as error:
        with suppress(DrError):
            say(f"WARNING: this is not in the history of {estate.name}: {error}")
