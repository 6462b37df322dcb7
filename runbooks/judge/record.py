"""Judge the estate record against the hosts: every disagreement is a finding, with the command that mends it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

from runbooks.judge.finding import Finding
from runbooks.look.status import Status
from runbooks.probes.durations import span
from runbooks.probes.postgresql.server import Node
from runbooks.record.read import of_system
from runbooks.record.types import SETTLE, Answer, Copy, Record, Unknown

_WHAT = "estate record"
_DEPLOY = "./dr deploy records what is so"
GONE_S = 300.0  # a run that lives leaves a sign of life every few seconds


def answer(status: Status) -> Answer:
    if status.record is None:
        return Unknown(status.unknown.get("record", "nobody was asked"))
    found = status.record.answer
    return of_system(found, status.primary.system) if status.primary else found


def record(status: Status) -> Record | None:
    """What it says, be it a copy; None where nobody knows."""
    found = answer(status)
    return None if isinstance(found, Unknown) else found.record


def vouches(status: Status) -> bool:
    """Whether the arbiter itself says that a standby has every acknowledged row, and nothing is under way."""
    found = answer(status)
    return not isinstance(found, Unknown | Copy) and found.record.steady and bool(found.record.synchronous)


def sentence(status: Status) -> str:
    """For people: what it says, where it was read, and who is acting."""
    found = answer(status)
    if isinstance(found, Unknown):
        return f"unknown: {found.why}"
    acting = status.record.arbiter.acting if status.record else None
    who = f". {acting['owner']} is running {acting['procedure']}" if acting else ""
    return f"{found.record.says} (epoch {found.record.epoch}, read from {found.source}){who}"


def findings(status: Status) -> Iterator[Finding]:
    """Nothing is said twice: an arbiter that is away is a finding of its host's already."""
    yield from _held_by_nobody(status)
    found = answer(status)
    if isinstance(found, Unknown):
        if status.repository is not None or (status.record and not status.record.arbiter.away):
            yield Finding(_WHAT, f"unknown: {found.why}", "known", found.hint or _DEPLOY)
        return
    if isinstance(found, Copy) and found.arbiter_lost:
        yield Finding(_WHAT, f"lost: {found.why}", "on the backup host", "./dr deploy writes it there again")
    if not isinstance(found, Copy) and found.carry:
        yield Finding(_WHAT, f"read from {found.source}", "on the backup host", "./dr deploy carries it there")
    yield from _under_way(status, found.record)
    if status.primary and found.record.steady:
        yield from _against(status, status.primary, found.record)
    if status.record and not isinstance(found, Copy):
        stale = [page.host for page in status.record.copies if not page.away and page.record != found.record]
        if stale and not found.carry:
            yield Finding(f"{_WHAT}'s copy", f"not the newest on {' and '.join(stale)}", "the newest", _DEPLOY)


def _held_by_nobody(status: Status) -> Iterator[Finding]:
    """A lock whose holder is gone ends by a person's word alone, and until then no watch fails over."""
    arbiter = status.record.arbiter if status.record else None
    if arbiter is None or not arbiter.acting:
        return
    with suppress(ValueError):  # what is no moment is judged where the record is
        beaten = datetime.fromisoformat(str(arbiter.acting.get("heartbeat"))).timestamp()
        silent_s = status.at + status.clocks.get(arbiter.host, 0.0) - beaten
        if silent_s > GONE_S:
            who = f"{arbiter.acting.get('owner')}, running {arbiter.acting.get('procedure')}"
            hint = "./dr lock.break once that machine is gone; until then nobody else acts, and no watch fails over"
            yield Finding("estate's lock", f"held by {who}: no sign of life for {span(silent_s)}", "a run", hint)


def _under_way(status: Status, known: Record) -> Iterator[Finding]:
    if known.changing is None:
        return
    acting = status.record.arbiter.acting if status.record else None
    if acting and str(acting.get("run_dir", "")).endswith(known.changing.run):
        hint = f"{acting['owner']} is running it; ./dr lock.status shows whether it lives"
    else:
        hint = (
            f"./dr {known.changing.command} --resume --yes ends it, ./dr runbook.abandon --yes takes it back; "
            f"{_DEPLOY} once one primary answers"
        )
    yield Finding(_WHAT, known.changing.says, "steady", hint)


def _against(status: Status, primary: Node, known: Record) -> Iterator[Finding]:
    """The hosts and the record, the unsafe disagreements first."""
    is_so = f"{primary.name} on timeline {primary.timeline}"
    if (known.primary, known.timeline) != (primary.name, primary.timeline):
        newer = known.timeline > (primary.timeline or 0)
        hint = f"./dr rejoin {primary.name} --yes when {known.primary} is up; {SETTLE}" if newer else _DEPLOY
        yield Finding("recorded primary", f"{known.primary} on timeline {known.timeline}", is_so, hint)
        return
    if known.synchronous and not primary.synchronous:
        measured = f"synchronous since {known.since}, and {primary.name} waits for nobody"
        hint = "./dr deploy makes commits wait for the standby, or records that they do not; no failover before that"
        yield Finding("recorded mode", measured, "what is so", hint)
        return
    if _several(primary, known):
        yield from _against_quorum(primary, known)
        return
    waits_for = tuple(sorted(s.name for s in primary.standbys if s.streams and s.sync in ("sync", "quorum")))
    if primary.synchronous and waits_for and waits_for != known.synchronous:
        listed = " and ".join(known.synchronous) or "nobody"
        measured = f"{listed} has every acknowledged row, since {known.since}"
        hint = f"{_DEPLOY}; until then a failover refuses"
        yield Finding("recorded mode", measured, f"{' and '.join(waits_for)}", hint)


def _several(primary: Node, known: Record) -> bool:
    """Whether commits may wait for one of several, by the server or by the record."""
    return len(known.synchronous) > 1 or (
        primary.waits_for is not None and len(primary.waits_for.others(primary.name)) > 1
    )


def _against_quorum(primary: Node, known: Record) -> Iterator[Finding]:
    """Whether one of them streams just now decides nothing: rows are on those that confirmed them."""
    waits = primary.waits_for
    if waits is None or not primary.synchronous:
        return
    is_so = (waits.others(primary.name), waits.least)
    if known.synchronous and (known.synchronous, known.least) != is_so:
        each = f"each row is on {known.least} of {' and '.join(known.synchronous)}, since {known.since}"
        hint = f"{_DEPLOY}; until then a failover may refuse"
        yield Finding("recorded mode", each, f"{is_so[1]} of {' and '.join(is_so[0])}", hint)
    elif not known.synchronous and sum(s.sync in ("sync", "quorum") for s in primary.standbys) >= waits.least:
        hint = f"{_DEPLOY}; until then a failover refuses"
        yield Finding("recorded mode", f"nobody has every row, since {known.since}", " and ".join(is_so[0]), hint)
