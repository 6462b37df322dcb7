"""Random moments of a loaded estate, each restored beside it: is the reached commit the last one before the target?

What is true is read with pg_waldump from the primary's own WAL: every commit in its order, with transaction and time.
Numbered marks, one commit each, are written beside the feed; in a side cluster the marks committed before the target
must be there, and the next one must not.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from drills import feed as feeds
from inventories.errors import DrError, ExitCode, VerificationFailed
from runbooks.actions.postgresql import side
from runbooks.engine.result import RunResult
from runbooks.hosts import Estate, Host
from runbooks.layout import Layout
from runbooks.probes.postgresql import server
from runbooks.probes.postgresql import side as side_probe
from runbooks.procedures.postgresql.delayed import REPOSITORY
from runbooks.procedures.postgresql.restore_pitr import RESTORE_PITR, SIDE, RestorePitr, RestorePitrOptions
from runbooks.run import execute

Say = Callable[[str], None]
_REACHED = "select n from dr_marks where n >= {}"
KINDS: tuple[Literal["time", "lsn", "xid"], ...] = ("time", "lsn", "xid")
_COMMIT = re.compile(r"tx:\s*(\d+), lsn: ([0-9A-F]+/[0-9A-F]+), .*desc: COMMIT (\S+ \S+) UTC")
_MADE = "create table if not exists dr_marks (n bigserial primary key, xid xid8 not null default pg_current_xact_id())"
_MARK = "insert into dr_marks default values returning n, xid; select pg_sleep({})::text is null;\n"


@dataclass(frozen=True)
class Commit:
    """One commit as the primary's WAL has it."""

    lsn: int
    xid: int
    at: datetime


@dataclass
class History:
    """Commits in the order of the WAL, and the marks among them: transaction -> number."""

    timeline: int
    commits: list[Commit] = field(default_factory=list)
    marks: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Aim:
    """A target as restore-pitr takes it, and how many of the history's commits lie before it."""

    kind: Literal["time", "lsn", "xid"]
    value: str
    before: int


@dataclass(frozen=True)
class Hit:
    """What became of one aim: `wrong` is empty when the side cluster stood exactly there. `seconds` of the whole
    restore, of which it took `open_s` until the side cluster was open; infinite where it never was.
    """

    aim: Aim
    seconds: float
    wrong: str
    open_s: float = float("inf")


def shoot(estate: Estate, count: int, seed: int, folder: Path, say: Say, *, rate: float = 1000.0) -> tuple[Hit, ...]:
    """Write marks under a feed that goes on, then restore `count` random moments of it one after the other."""
    dice = random.Random(seed)  # noqa: S311 - moments, no secrets
    with feeds.running(estate.app, rate, 1, folder):
        seen = record(estate, max(40, 4 * count), dice)
        hits = []
        for nr in range(1, count + 1):
            aimed = aim(seen, KINDS[nr % len(KINDS)], dice)
            hits.append(restored(estate, seen, aimed, folder))
            told = hits[-1].wrong or "reached the last commit before it, the next is absent"
            say(f"target {nr} of {count}, {aimed.kind} {aimed.value}: {told} ({hits[-1].seconds:.1f} s)")
    side.drop(_primary(estate), SIDE, 60)
    return tuple(hits)


def record(estate: Estate, marks: int, dice: random.Random) -> History:
    """Write marks at random intervals, and read every commit of that while from the primary's WAL."""
    primary, database = _primary(estate), str(estate.data["database"])
    primary.execute(f"{_MADE};", database)
    node = server.look(primary, server.version(estate))
    seen, begin = History(node.timeline or 0), node.written or 0
    script = "".join(_MARK.format(f"{dice.uniform(0.005, 0.06):.4f}") for _ in range(marks))
    said = primary.run("psql -qAtX -v ON_ERROR_STOP=1 -d %s", database, user="postgres", stdin=script, timeout=120)
    for line in said.stdout.splitlines():
        if "|" in line:
            number, xid = line.split("|")
            seen.marks[int(xid)] = int(number)
    end = server.look(primary, server.version(estate)).written or 0
    seen.commits += commits(primary, Layout(server.version(estate)), seen.timeline, begin, end)
    if len(seen.marks) != marks or not seen.marks.keys() <= {commit.xid for commit in seen.commits}:
        raise VerificationFailed(f"{marks} marks were written, the primary's WAL does not have them all")
    return seen


def commits(primary: Host, layout: Layout, timeline: int, begin: int, end: int) -> Iterator[Commit]:
    """Every commit between two positions, from the primary's own files."""
    said = primary.run(
        f"TZ=UTC {layout.bin}/pg_waldump --path=%s --rmgr=Transaction --timeline=%s --start=%s --end=%s",
        f"{layout.data}/pg_wal", timeline, server.as_lsn(begin), server.as_lsn(end), user="postgres", timeout=120,
    ).stdout  # fmt: skip
    for line in said.splitlines():
        match = _COMMIT.search(line)
        if match:
            at = datetime.fromisoformat(f"{match[3]}+00:00")
            yield Commit(server.lsn(match[2]) or 0, int(match[1]), at)


def aim(seen: History, kind: Literal["time", "lsn", "xid"], dice: random.Random) -> Aim:
    """A random target between the first and the last mark, so that there is one on either side."""
    at = [nr for nr, commit in enumerate(seen.commits) if commit.xid in seen.marks]
    first, last = at[0] + 1, at[-1]
    if kind == "xid":
        before = dice.randint(first, last)
        return Aim(kind, str(seen.commits[before].xid), before)
    if kind == "lsn":
        position = dice.randint(seen.commits[first].lsn, seen.commits[last].lsn)
        before = next(nr for nr, commit in enumerate(seen.commits) if commit.lsn >= position)
        return Aim(kind, server.as_lsn(position), before)
    span = (seen.commits[last].at - seen.commits[first].at) / timedelta(microseconds=1)
    moment = seen.commits[first].at + timedelta(microseconds=dice.randint(0, int(span)))
    # Recovery stops at the first commit in the WAL that is not earlier, and two may be in another order there.
    before = next(nr for nr, commit in enumerate(seen.commits) if commit.at >= moment)
    return Aim(kind, moment.isoformat(sep=" ", timespec="microseconds"), before)


def restored(estate: Estate, seen: History, aimed: Aim, folder: Path, source: str = REPOSITORY) -> Hit:
    """Restore one aim and compare what is in it with the history. `source` as --from takes it."""
    options = RestorePitrOptions(
        replace=True, hurry=True, source=source, **{f"to_{aimed.kind}": aimed.value}  # type: ignore[arg-type]
    )
    result: RunResult[RestorePitr] = execute(RESTORE_PITR, estate, options, _unheard, runs=folder / "runbooks")
    if result.exit_code is ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if result.exit_code:
        return Hit(aimed, result.seconds, f"{result.error} ({result.hint})")
    try:
        wrong = compare(estate, seen, aimed, result.state)
    except DrError as error:
        wrong = str(error)
    opened = next(step for step in result.steps if step.name == "side-restore")
    return Hit(aimed, result.seconds, wrong, opened.started + opened.seconds - result.started)


def compare(estate: Estate, seen: History, aimed: Aim, state: RestorePitr) -> str:
    """What is in the side cluster that should not be, or lacks; empty when nothing does."""
    last = seen.commits[aimed.before - 1]
    told = state.before[-1] if state.before else "none"
    if f"transaction {last.xid} " not in told:
        return f"the last commit in it is {told}, not transaction {last.xid}"
    wanted = [seen.marks[commit.xid] for commit in seen.commits[: aimed.before] if commit.xid in seen.marks]
    sql = _REACHED.format(min(seen.marks.values()))
    host = estate.host(state.at) if state.at else _primary(estate)
    there = side_probe.query(host, SIDE, str(estate.data["database"]), sql)
    numbers = {int(row["n"]) for row in there}
    if numbers != set(wanted):
        return f"{len(set(wanted) - numbers)} marks are missing, {len(numbers - set(wanted))} are too many"
    return ""


def _primary(estate: Estate) -> Host:
    return server.the_primary(server.survey(estate)).host


def _unheard(_: str) -> None:
    """Twenty restores tell too much."""


__all__ = ["Aim", "Commit", "History", "Hit", "aim", "compare", "record", "restored", "shoot"]
