"""Scheduled validations that found something, could not look, or do not come any more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runbooks.judge.finding import Finding
from runbooks.probes.durations import span
from runbooks.probes.validations import Kept, Outcome

AHEAD_S = 600.0  # by which clocks may differ here; what judges clocks is stricter


def findings(found: Sequence[Kept] | None, now: float) -> Iterator[Finding]:
    """Of the newest one of each store; a backup host that does not answer has a finding of its own."""
    for one in found or ():
        ago, again = span(now - one.at), f"./dr validate --store {one.store}"
        if one.outcome is Outcome.DIFFERS:
            measured = f"not whole {ago} ago: {one.says}"
            level = f" --level {one.level}" if one.level else ""
            yield Finding(f"validation of {one.store}", measured, "whole", f"{again}{level} tells all of it")
        elif one.outcome is Outcome.FAILED:
            measured = f"could not look {ago} ago: {one.says}"
            yield Finding(f"validation of {one.store}", measured, "whole", f"{again} --scheduled looks again")
        if one.warns:
            hint = "fill the calendar, or bring its package up to date; the next validation on schedule looks again"
            yield Finding(f"warning of the validation of {one.store}", f"{ago} ago: {one.warns}", "none", hint)


def late(found: Sequence[Kept] | None, most_s: float, now: float) -> Iterator[Finding]:
    """Once somebody has validated a store on a schedule, an answer is missed where none came; how old one is of which
    the moment is yet to come nobody can tell.
    """
    for one in found or ():
        since = one.looked_at
        if one.at - now > AHEAD_S:
            hint = f"a clock was wrong: ./dr status; ./dr validate --store {one.store} --scheduled keeps one of now"
            ahead = f"{span(one.at - now)} in the time to come"
            yield Finding(f"age of the newest validation of {one.store}", ahead, span(most_s), hint)
        elif since is not None and now - since > most_s:
            hint = f"cron on the machine that runs it ({one.by}); ./dr validate --store {one.store} --scheduled runs it"
            yield Finding(f"age of the newest validation of {one.store}", span(now - since), span(most_s), hint)


def sentence(found: Sequence[Kept], now: float) -> str:
    """For people: a store after the other."""
    return "; ".join(_sentence(one, now) for one in found) or "none on a schedule (README, step 11)"


def _sentence(one: Kept, now: float) -> str:
    words = {Outcome.WHOLE: "whole", Outcome.DIFFERS: "NOT whole", Outcome.FAILED: "could not be looked at"}
    level = f", level {one.level}" if one.level else ""
    against = f" against {one.against}" if one.against else ""
    return f"{one.store} {words[one.outcome]} {span(now - one.at)} ago{level}{against}, took {span(one.seconds)}"
