"""Make a standby as large as the WAL that it is to replay asks for, before it starts.

A server with less than its primary had ends at that record, at every start, also after a re-clone: nothing but a larger
setting leads on, whatever is declared. What was raised so is told by ./dr drift.
"""

from __future__ import annotations

from runbooks.actions.postgresql import promotion as way
from runbooks.hosts import Host, Run
from runbooks.layout import Layout
from runbooks.probes.postgresql import promotion


def fit(context: Run, paths: Layout, host: Host, source: Host | None = None) -> bool:
    """Raise what its own control file asks for, and its primary's; whether anything was too small. Raises DrError."""
    mine = promotion.configured(host, paths)
    raised = mine.too_small(promotion.configured(source, paths).needed if source else {})
    for name, size in raised.items():
        what = f"{name} is {size} now, it was {mine.settings[name]}: its WAL asks for that"
        context.note("raised", host=host.name, what_was=what)
        context.say(f"raised on {host.name}: {what}; ./dr drift tells where it differs from what is declared")
        way.settle(host, paths, name, str(size))
    return bool(raised)
