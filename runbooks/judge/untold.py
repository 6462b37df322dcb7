"""Alarms of the backup host that its alarm command did not take: whoever should know does not."""

from __future__ import annotations

from collections.abc import Iterator

from runbooks.judge.finding import Finding
from runbooks.probes.durations import span
from runbooks.probes.jobs import Jobs

_TELLING_S = 60.0  # one that is being told is in its file for as long as the command may take


def findings(jobs: Jobs | None) -> Iterator[Finding]:
    """A backup host that does not answer has a finding of its own."""
    waits = [one for one in (jobs.untold if jobs else ()) if one.age_s > _TELLING_S]
    if waits:
        more = f" (and {len(waits) - 1} more)" if len(waits) > 1 else ""
        hint = "run the alarm_command on the backup host by hand; `journalctl -t mystocks-dr` there says why it failed"
        measured = f"not taken for {span(waits[0].age_s)}: {waits[0].line.rstrip('.')}{more}"
        yield Finding("alarm command", measured, "takes every alarm", hint)
