"""A realistic ledger and result of a made-up drill, for tests of the report and for looking at it.

python tests/unit/sample_drill.py FOLDER     writes
FOLDER/{passed,failed,refused,interrupted,standby}/report.html
"""

from __future__ import annotations

import json
import random
import sys
from datetime import UTC, datetime
from pathlib import Path

from drills.judging.compare import Comparison, FoundIds, compare, with_phantom_row
from drills.judging.fate import Fate, Target, Window, fate
from drills.judging.junit import write_junit
from drills.judging.result import (
    Check,
    CheckOutcome,
    DrillResult,
    Fact,
    NegativeTwin,
    Objectives,
    Outcome,
    Step,
    write_result,
)
from drills.judging.verdict import judge
from drills.measuring.events import Acked, Event, parse_line
from drills.measuring.fingerprint import fingerprint
from drills.measuring.measure import Mark, Moments, Phase, measure, phases
from drills.measuring.tally import Tally, tally
from drills.page.report import write_report

CLOCK = 5000.0  # the drill's start on the monotonic clock
FAULT, FAILOVER, RESUMED, STOP = 24.37, 25.62, 26.79, 58.0
TABLES = {"order_records": 0.5, "transaction_records": 0.3, "position_history": 0.15, "daily_kline": 0.05}
STARTED = datetime(2026, 3, 2, 6, 41, 7, tzinfo=UTC)


class _Feed:
    """Writes the lines that a feed of 6,000 rows/s in batches of 500 would."""

    def __init__(self) -> None:
        self.random = random.Random(7)
        self.lines: list[str] = []
        self.seq = 0
        self.waiting: list[dict[str, list[int]]] = []

    def say(self, at: float, **line: object) -> None:
        self.lines.append(json.dumps({"at": round(CLOCK + at, 4)} | line))

    def batch(self, at: float, by: str, timeline: int) -> None:
        rows: dict[str, list[int]] = {}
        for table, share in TABLES.items():
            count = round(500 * share)
            rows[table] = [self.seq + 1, self.seq + count]
            self.seq += count
        if by == "outbox":
            self.waiting.append(rows)
        store = {"host": f"192.0.2.{20 + timeline}", "timeline": timeline} if by == "store" else {}
        self.say(at, kind="ack", by=by, rows=rows, n=500, ms=9.5, **store)

    def replay(self, at: float) -> None:
        rows = self.waiting.pop(0)
        self.say(at, kind="replayed", rows=rows, n=500, host="192.0.2.22", timeline=2)


def power_loss_ledger() -> list[str]:
    """Lines of a ledger: the store, then the outbox from 0.9 s after the fault on, then the new primary with
    a short replay.
    """
    feed = _Feed()
    feed.say(2.0, kind="clock", wall=STARTED.isoformat())
    feed.say(2.1, kind="start", run=1790000000, rate=6000, tables=list(TABLES))
    at = 2.4
    while at < STOP:
        at += feed.random.gauss(0.083, 0.012)
        if at < FAULT:
            feed.batch(at, "store", 1)
        elif at < RESUMED:
            if at > FAULT + 0.62:
                feed.batch(at, "outbox", 1)
        elif feed.waiting:
            feed.replay(at)
            feed.replay(at + 0.02)
            feed.replay(at + 0.045)
            feed.batch(at + 0.06, "outbox" if len(feed.waiting) > 3 else "store", 2)
            while 0 < len(feed.waiting) <= 3:
                feed.replay(at + 0.07)
        else:
            feed.batch(at, "store", 2)
    feed.say(STOP + 0.2, kind="stop", acked=feed.seq, outbox_pending=0)
    feed.say(STOP + 0.25, kind="eof")
    return feed.lines


def standby_loss_ledger() -> list[str]:
    feed = _Feed()
    feed.say(2.1, kind="start", run=1790000000, rate=6000, tables=list(TABLES))
    at = 2.4
    while at < STOP:
        at += feed.random.gauss(0.083, 0.012) + (0.7 if FAULT < at < FAULT + 0.1 else 0)
        feed.batch(at, "store", 1)
    feed.say(STOP + 0.2, kind="stop", acked=feed.seq, outbox_pending=0)
    return feed.lines


def events_of(lines: list[str]) -> tuple[Event, ...]:
    return tuple(parse_line(line, json.loads(line)["at"]) for line in lines)


def found_as_acknowledged(counted: Tally) -> Comparison:
    return compare(Fate(counted.acked), lambda table: FoundIds(counted.acked[table], 0, len(counted.acked[table])))


def begun(scenario: str = "primary-power-loss") -> DrillResult:
    """A drill that knows who, when and what was promised, and nothing else."""
    return DrillResult(
        name=f"drill {scenario}",
        scenario=scenario,
        run_id=f"20260302-064107-{scenario}",
        lab="lab",
        host="bench-2",
        started_at=STARTED,
        duration_s=83.4,
        objectives=Objectives(rto_s=5, rpo_rows=0, rto_from_failover_s=2, max_ack_gap_s=1, rows_per_s=5000),
        fingerprint=fingerprint("podman 4.3.1, runc"),
        versions={
            "PostgreSQL": "17.11 (Debian 17.11-0+deb13u1)",
            "TimescaleDB": "2.19.3 (Apache)",
            "pgBackRest": "2.55.1",
            "mystocks-dr": "0.1.0",
        },
    )


def power_loss() -> tuple[DrillResult, list[str]]:
    """A drill that passes, judged, and its ledger's lines."""
    lines = power_loss_ledger()
    events = events_of(lines)
    counted = tally(events)
    moments = Moments(CLOCK, CLOCK + FAULT, CLOCK + FAULT + 1.21, CLOCK + FAILOVER, CLOCK + STOP)
    replayed = {table: len(ids) for table, ids in counted.replayed.items()}
    draft = (
        begun()
        .model_copy(update={"outcome": Outcome.PASSED, "expects_new_timeline": True})
        .model_copy(update={"phases": _phases(), "steps": _steps()})
        .with_feed(counted.view)
        .with_measured(measure(events, moments))
        .with_comparison(found_as_acknowledged(counted), replayed)
        .with_checks(_checks())
    )
    said = "pg2 ran alone for 38.6 s: its writes were not replicated synchronously until pg1 had rejoined."
    reason = "1 of 168,001 acknowledged rows was reported lost in order_records."
    twin = NegativeTwin(name="phantom row", held=True, reason=reason)
    return judge(draft.model_copy(update={"degraded": (said,), "negative_twin": twin})), lines


def failed() -> tuple[DrillResult, list[str]]:
    result, lines = power_loss()
    counted = tally(events_of(lines))
    forged, _ = with_phantom_row(Fate(counted.acked))
    replayed = {table: len(ids) for table, ids in counted.replayed.items()}
    twice = {"daily_kline": 2}
    comparison = compare(forged, lambda table: FoundIds(counted.acked[table], twice.get(table, 0)))
    broken = Check(
        name="the old primary refuses writes",
        outcome=CheckOutcome.FAILED,
        host="pg1",
        detail="INSERT 0 1 was answered",
    )
    strict = result.objectives.model_copy(update={"rto_s": 2.0})
    slow = result.model_copy(update={"objectives": strict, "negative_twin": None})
    return judge(slow.with_comparison(comparison, replayed).with_checks((broken,))), lines


def restored() -> tuple[DrillResult, list[str]]:
    """A bad statement was taken back by a restore to just before it: what the store took after it went too."""
    lines = power_loss_ledger()
    events = events_of(lines)
    counted = tally(events)
    before = [event for event in events if isinstance(event, Acked) and event.at < CLOCK + FAULT - 0.5]
    target = Target(1, {table: max(ack.rows[table][1] for ack in before) for table in TABLES})
    expected = fate(events, target)
    moments = Moments(CLOCK, CLOCK + FAULT - 0.5, CLOCK + FAULT + 1.21, CLOCK + FAILOVER, CLOCK + STOP)
    draft = (
        begun("bad-update")
        .model_copy(update={"phases": _phases(), "expects_new_timeline": True, "outcome": Outcome.PASSED})
        .with_feed(counted.view)
        .with_measured(measure(events, moments))
        .with_comparison(compare(expected, lambda table: FoundIds(expected.required[table])))
        .with_checks(_checks())
    )
    facts = (
        Fact(label="bad statement", says="transaction 91,204 set every quantity to -7 in 28,110 rows"),
        Fact(label="restored", says="backup 20260302-030001F, to just before transaction 91,204"),
    )
    goals = Objectives(rto_s=60, rpo_rows=0, detection_s=5)
    told = {"objectives": goals, "facts": facts, "alarm": "28,110 positions have the quantity -7"}
    summary = "An UPDATE without WHERE spoils a table under load."
    return judge(draft.model_copy(update={**told, "summary": summary})), lines


def lost_with_hosts() -> tuple[DrillResult, list[str]]:
    """Both database hosts are lost with their disks: what was not in the repository yet went with them."""
    lines = power_loss_ledger()
    events = events_of(lines)
    counted = tally(events)
    expected = fate(events, window=Window(1, CLOCK + FAULT - 2))
    moments = Moments(CLOCK, CLOCK + FAULT, CLOCK + FAULT + 1, CLOCK + FAILOVER, CLOCK + STOP)
    held = {table: ids.difference(expected.excusable[table]) for table, ids in expected.required.items()}
    draft = (
        begun("cluster-loss")
        .model_copy(update={"phases": _phases(), "expects_new_timeline": True, "outcome": Outcome.PASSED})
        .with_feed(counted.view)
        .with_measured(measure(events, moments))
        .with_comparison(compare(expected, lambda table: FoundIds(held[table])), oldest_missing_s=1.98)
        .with_checks(_checks())
    )
    goals = Objectives(rto_s=120, rpo_rows=0, rpo_s=60)
    return judge(draft.model_copy(update={"objectives": goals, "summary": "Both database hosts are gone."})), lines


def standby() -> tuple[DrillResult, list[str]]:
    lines = standby_loss_ledger()
    events = events_of(lines)
    counted = tally(events)
    draft = begun("standby-loss").with_feed(counted.view)
    draft = draft.with_measured(measure(events, Moments(CLOCK, CLOCK + FAULT, stop_asked=CLOCK + STOP)))
    draft = draft.with_comparison(found_as_acknowledged(counted)).with_checks(_checks())
    goals = Objectives(rto_s=5, rpo_rows=0, max_ack_gap_s=1)
    return judge(draft.model_copy(update={"outcome": Outcome.PASSED, "objectives": goals})), lines


def refused() -> DrillResult:
    reason = "The standby pg2 is 48,211,968 bytes behind the primary; the gate allows 16,777,216."
    hint = "Wait until it has caught up: ./dr status"
    return begun().model_copy(
        update={"outcome": Outcome.REFUSED, "reasons": (reason,), "hint": hint, "duration_s": 1.8}
    )


def interrupted() -> DrillResult:
    reasons = ("Interrupted by SIGINT during step 4 of 11 of failover (prove the fence).",)
    stopped = begun().model_copy(update={"outcome": Outcome.INTERRUPTED, "reasons": reasons})
    return stopped.model_copy(update={"hint": "./dr failover --resume", "steps": _steps()[:3]})


def _phases() -> tuple[Phase, ...]:
    names = [
        ("normal", 0.0), ("fault", FAULT), ("detect", FAULT + 0.05), ("gate", FAULT + 1.21),
        ("assess", FAILOVER), ("fence", FAILOVER + 0.14), ("prove fence", FAILOVER + 0.48),
        ("promote", FAILOVER + 0.66), ("first write", FAILOVER + 0.93), ("drain", RESUMED),
        ("verify", RESUMED + 3.1), ("rejoin", 42.2), ("verify again", 61.4),
    ]  # fmt: skip
    return phases([Mark(name, at) for name, at in names], 83.4)


def _steps() -> tuple[Step, ...]:
    told = [
        ("gate", "pg2", 0.21, "pg2 streams from pg1, 0 bytes behind"),
        ("assess the standby", "pg2", 0.14, "received 0/5A3C1F8, replayed 0/5A3C1F8, possible loss 0 bytes"),
        ("fence the old primary", "pg1", 0.34, "fencing hook: lab-pg1 is stopped"),
        ("prove the fence", "app1", 0.18, "3 of 3 write attempts refused"),
        ("promote", "pg2", 0.27, "pg_is_in_recovery() is false, timeline 2"),
        ("verify the write path", "app1", 0.24, "a row written through the multi-host DSN, read back"),
        ("drain the outbox", "app1", 2.91, "0 records pending"),
    ]
    steps = [_step("failover", *step) for step in told]
    return (*steps, _step("rejoin", "rewind", "pg1", 6.3, "pg_rewind: done; 1 file kept aside"))


def _step(procedure: str, name: str, host: str, seconds: float, evidence: str) -> Step:
    return Step(
        procedure=procedure, name=name, host=host, outcome="passed", seconds=seconds, evidence=evidence
    )


def _checks() -> tuple[Check, ...]:
    told = [
        ("pg2", "PostgreSQL takes writes", "timeline 2"),
        ("pg2", "archiving works", "last segment 00000002000000000000005B"),
        ("pg1", "standby streams from pg2", "lag 0 bytes"),
        ("pg1", "data checksums are on", ""),
        ("app1", "the replayer runs and the outbox is empty", "0 pending"),
        ("backup1", "a backup on timeline 2 is in the repository", "20260302-064201F_20260302-064228I"),
    ]
    passed = CheckOutcome.PASSED
    checks = [Check(name=name, outcome=passed, host=host, detail=detail) for host, name, detail in told]
    why = "no TDengine package was named"
    return (*checks, Check(name="TDengine answers", outcome=CheckOutcome.SKIPPED, detail=why))


def write_samples(folder: Path) -> None:
    """Write one folder a kind of drill, with all its evidence."""
    none: list[str] = []
    samples = {
        "passed": power_loss(),
        "failed": failed(),
        "standby": standby(),
        "restored": restored(),
        "lost-with-hosts": lost_with_hosts(),
        "refused": (refused(), none),
        "interrupted": (interrupted(), none),
    }
    for name, (result, lines) in samples.items():
        into = folder / name
        into.mkdir(parents=True, exist_ok=True)
        if lines:
            (into / "ledger.jsonl").write_text("".join(line + "\n" for line in lines))
        write_result(result, into)
        write_junit(result, into)
        write_report(result, into)


if __name__ == "__main__":
    write_samples(Path(sys.argv[1]))
