"""Slow statements, as PostgreSQL's own log tells them: `log_min_duration_statement` with their plans by auto_explain.

    2026-11-29 08:00:00.123 UTC [77] writer@quant_research feed LOG:  duration: 5003.215 ms  plan:
    <tab>Query Text: SELECT ...
    <tab>Seq Scan on ...
    2026-11-29 08:00:00.124 UTC [77] writer@quant_research feed LOG:  duration: 5003.9 ms  statement: SELECT ...

A plan belongs to the next statement of the same process. Nothing is asked of the server, and it waits for nobody.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from agents.monitor import growing
from agents.monitor.seen import Seen
from agents.monitor.spool import line

_ENTRY = re.compile(
    r"^(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) UTC \[(?P<pid>\d+)\] "
    r"(?:(?P<user>[^@\s]*)@(?P<database>\S*) (?P<application>.*?) )?(?P<level>[A-Z]+[0-9]?):  (?P<says>.*)$"
)
_TOOK = re.compile(
    r"^duration: (?P<ms>[0-9.]+) ms  (?:(?P<plan>plan):|(?:statement|execute [^:]*): )(?P<rest>.*)", re.DOTALL
)
_SETTLES_S = 2.0  # what was written last may go on in the next moment
_LONGEST = 8000  # of a statement or plan
SLOW_MS, WARN_MS = 5000.0, 2000.0


@dataclass(frozen=True)
class Entry:
    """One message of the log; `begins`: its first byte."""

    begins: int
    at: str
    pid: str
    user: str
    database: str
    application: str
    says: str


@dataclass(frozen=True)
class Statement:
    """`ms` that it took; `plan` is empty where auto_explain was not loaded."""

    entry: Entry
    ms: float
    sql: str
    plan: str = ""

    def as_line(self, host: str, slow_ms: float) -> str:
        one = self.entry
        name = hashlib.sha256(f"{host}\n{one.at}\n{one.pid}\n{self.sql}".encode()).hexdigest()[:32]
        return line("query", {
            "metric_id": name, "metric_name": "statement", "metric_type": "duration", "metric_value": self.ms,
            "metric_unit": "ms", "database_type": "postgresql", "is_slow_query": self.ms >= slow_ms,
            "query_sql": self.sql[:_LONGEST], "execution_plan": self.plan[:_LONGEST] or None,
            "tags": {"host": host, "user": one.user, "database": one.database, "application": one.application},
            "created_at": f"{one.at}+00",
        })  # fmt: skip


@dataclass
class Found:
    """`upto`: from this byte on it has to be read again, as a plan may still wait for its statement."""

    statements: list[Statement] = field(default_factory=list)
    upto: int = 0


def gather(log: Path, host: str, seen: Seen, slow_ms: float = SLOW_MS, warn_ms: float = WARN_MS) -> list[str]:
    """Lines for the spool. Saved is nothing here: `seen` is told how far it came."""
    lines: list[str] = []
    for path, at, data in growing.since(log, seen.get(str(log))):
        # Behind half a chunk nothing is waited for: where the log is never quiet it would be read again for ever.
        settled = path != log or len(data) > growing.CHUNK // 2 or time.time() - path.stat().st_mtime > _SETTLES_S
        found = statements(data, at, settled)
        lines += [one.as_line(host, slow_ms) for one in found.statements if one.ms >= warn_ms]
        if path == log:
            seen.put(str(log), growing.mark(log, found.upto))
    return lines


def statements(data: bytes, at: int, settled: bool) -> Found:
    """Of whole lines that begin at byte `at`; where the log is not `settled` its last entry may still grow."""
    every = list(entries(data, at))
    end = at + len(data)
    found = Found(upto=end)
    if every and not settled:
        found.upto = every.pop().begins
    plans: dict[str, Statement] = {}
    for entry in every:
        took = _TOOK.match(entry.says)
        if took is None:
            continue
        if took["plan"]:
            text = took["rest"].strip().removeprefix("Query Text: ")
            plans[entry.pid] = Statement(entry, float(took["ms"]), text, text)
        else:
            of_plan = plans.pop(entry.pid, None)
            one = Statement(entry, float(took["ms"]), took["rest"].strip())
            if of_plan is not None and of_plan.plan.startswith(one.sql):
                one = replace(one, plan=of_plan.plan[len(one.sql) :].strip())
            found.statements.append(one)
    if plans and not settled:
        found.upto = min(found.upto, *(one.entry.begins for one in plans.values()))
    elif plans:  # its statement is none that is logged: a cursor's, or one that was cancelled
        found.statements += [_alone(one) for one in plans.values()]
    return found


def _alone(one: Statement) -> Statement:
    """The text of a statement goes on until the plan's first line, which names its cost."""
    lines = one.plan.split("\n")
    first = next((n for n, text in enumerate(lines) if "(cost=" in text), len(lines))
    return replace(one, sql="\n".join(lines[:first]).strip(), plan="\n".join(lines[first:]).strip())


def entries(data: bytes, at: int) -> Iterator[Entry]:
    """A message goes on in lines that begin with a tab."""
    parts: list[str] = []
    known: re.Match[str] | None = None
    begins = at
    for raw in data.splitlines(keepends=True):
        text = raw.decode(errors="replace").rstrip("\n")
        found = _ENTRY.match(text)
        if found:
            if known:
                yield _entry(known, parts, begins)
            known, parts, begins = found, [found["says"]], at
        elif known:
            parts.append(text.removeprefix("\t"))
        at += len(raw)
    if known:
        yield _entry(known, parts, begins)


def _entry(found: re.Match[str], parts: list[str], begins: int) -> Entry:
    told = {name: found[name] or "" for name in ("at", "pid", "user", "database", "application")}
    return Entry(begins, says="\n".join(parts), **told)
