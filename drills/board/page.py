"""index.html: everything that was gathered, on one page that asks nobody for anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from drills.board.answer import STATES, VERDICTS, Cause, Colour, answer
from drills.board.facts import Facts
from drills.board.hints import pieces
from drills.board.shapes import Line, timeline, trends
from drills.calendar.due import Due
from drills.calendar.judge import Row, State, span
from drills.judging.result import write_whole
from drills.page.report import page, seconds
from inventories.errors import BadInput
from runbooks.judge import record, roles
from runbooks.judge.feasibility import Answer
from runbooks.judge.objectives import duration, size
from runbooks.probes.app import Outbox
from runbooks.probes.outbox import NAMES

FILE = "index.html"
_FIRST = 12  # causes that are named first; the others are below, each in its place
_BACKUPS = 40  # that are listed


@dataclass(frozen=True)
class Tile:
    value: str
    label: str
    colour: str = ""


@dataclass(frozen=True)
class Cell:
    colour: str
    state: str
    age: str


@dataclass(frozen=True)
class Promise:
    """One line of the matrix; `cells` by place, None where the calendar has none there."""

    name: str
    cells: tuple[Cell | None, ...]
    rto: str
    promised: str
    plan: Cell | None
    why: str


@dataclass(frozen=True)
class Twin:
    name: str
    cell: Cell
    why: str


@dataclass(frozen=True)
class Box:
    """One outbox, as pairs of label and value."""

    store: str
    pairs: tuple[tuple[str, str], ...]


def write(facts: Facts, folder: Path) -> Path:
    """Replace folder/index.html whole. Raises BadInput for what is no folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise BadInput(f"{folder} is no folder", "--out names the folder for index.html") from None
    return write_whole(folder / FILE, render(facts))


def render(facts: Facts, live: bool = False) -> str:
    """The page as text. Everything in it is escaped, and nothing in it is fetched from anywhere; `live`: but from the
    server that it is from, to follow a running drill.
    """
    safe, line, places = answer(facts), timeline(facts), _places(facts.due)
    promises = [row for row in facts.due.rows if not row.wanted.twin]
    made = [row for row in facts.due.rows if row.wanted.twin]
    return page(
        "board.html.j2",
        facts=facts,
        live=live,
        title=f"Estate {facts.estate}" if facts.estate else "No estate: there is no lab, and no inventory was named",
        made=facts.at,
        stale=facts.at + timedelta(seconds=facts.stale_s),
        safe=safe,
        todo=_todo(safe.causes),
        pieces=pieces,
        more=max(len(safe.causes) - _FIRST, 0),
        next_due=_next_due(facts.due),
        tiles=tuple(_tiles(facts)),
        headings=roles.HEADINGS,
        hosts=_hosts(facts),
        record=record.sentence(facts.now.status) if facts.now else "",
        outboxes=tuple(_outboxes(facts)),
        why_no_outbox=_why_no_outbox(facts),
        places=places,
        matrix=tuple(_matrix(promises, places, facts.plan)),
        counts=_counts(promises),
        twins=[Twin(row.wanted.scenario, _cell(row), _why(row)) for row in made],
        twins_says=f"Negative twins: {_counts(made)}",
        notes=[note for note in facts.due.notes if note],
        trends=trends(facts.due.rows),
        line=line,
        line_says=_line_says(line),
        backups=sorted(facts.backups or (), key=lambda one: one.at, reverse=True)[:_BACKUPS],
        max_gap=span(facts.max_gap_s),
    )


def _todo(causes: Sequence[Cause]) -> Sequence[Cause]:
    return causes[:_FIRST]


def _next_due(due: Due) -> str:
    left = [row.wanted.every_s - row.age_s for row in due.rows if row.age_s is not None]
    return span(min(left)) if left else "no time at all"


def _tiles(facts: Facts) -> Iterator[Tile]:
    """What a manager asks first."""
    if facts.now is None:
        return
    status, loss = facts.now.status, facts.now.loss
    primaries = [node.name for node in status.primaries]
    one = Colour.GOOD if len(primaries) == 1 else Colour.BAD
    yield Tile(" and ".join(primaries) or "none", "takes the writes", one)
    streaming = [node.name for node in status.nodes if node.streams]
    yield Tile(", ".join(streaming) or "none", "follow as standbys", Colour.GOOD if streaming else Colour.BAD)
    lost = "unknown" if loss.wal_bytes is None else "no row" if not loss.wal_bytes else size(loss.wal_bytes)
    colour = Colour.UNKNOWN if loss.wal_bytes is None else Colour.BAD if loss.wal_bytes else Colour.GOOD
    yield Tile(lost, "would be lost with the primary now", colour)
    newest = status.repository.newest if status.repository else None
    age = f"{duration(status.at - newest.stopped_at)} old" if newest else "none" if status.repository else "unknown"
    yield Tile(age, "newest backup", "" if newest else Colour.BAD if status.repository else Colour.UNKNOWN)
    yield _proof(facts)
    box = status.outbox
    rows = f"{box.pending_rows:,} rows" if box else "unknown"
    yield Tile(rows, "wait in the outbox", "" if box else Colour.UNKNOWN)


def _proof(facts: Facts) -> Tile:
    """When a backup was last restored and found whole."""
    status = facts.now.status if facts.now else None
    jobs = status.jobs.jobs if status and status.jobs else None
    if status is None or jobs is None:
        return Tile("unknown", "last proof of a backup, by restoring it", Colour.UNKNOWN)
    proven = [job.last_success_at for job in jobs if job.name == "prove" and job.last_success_at]
    said = f"{duration(status.at - max(proven))} ago" if proven else "never"
    return Tile(said, "last proof of a backup, by restoring it", "" if proven else Colour.BAD)


def _hosts(facts: Facts) -> list[tuple[str, ...]]:
    if facts.now is None:
        return []
    return [(node.name, *roles.cells(facts.now.status, node)) for node in facts.now.status.nodes]


def _outboxes(facts: Facts) -> Iterator[Box]:
    status = facts.now.status if facts.now else None
    for store, box in status.outboxes.items() if status else ():
        yield Box(NAMES[store], tuple(_box(NAMES[store], box)))


def _box(store: str, box: Outbox) -> Iterator[tuple[str, str]]:
    oldest = f", the oldest for {duration(box.oldest_age_s)}" if box.oldest_age_s is not None else ""
    yield store, f"{box.pending_rows:,} rows wait{oldest}"
    if box.empty_in_s is not None:
        yield "empty in", duration(box.empty_in_s)
    if box.held:
        yield "held", "; ".join(f"{table}: {why}" for table, why in box.held.items())
    yield "refused by the store", f"{box.dead_rows:,} rows"
    yield "room taken", f"{box.fill:.0%}, {size(box.size_bytes)}"
    yield "replayer", "runs" if box.replayer_running else "does not run"


def _why_no_outbox(facts: Facts) -> str:
    return facts.now.status.unknown.get("outbox", "") if facts.now else facts.why_not_seen


def _places(due: Due) -> tuple[str, ...]:
    return tuple(dict.fromkeys(row.wanted.place for row in due.rows if not row.wanted.twin)) or ("lab",)


def _matrix(rows: Sequence[Row], places: Sequence[str], plan: Sequence[Answer] | None) -> Iterator[Promise]:
    """A line for each drill; what is drilled outside the lab has one of its own below its promise."""
    answers = {one.scenario: one for one in plan or ()}
    for row in rows:
        cells = tuple(_cell(row) if place == row.wanted.place else None for place in places)
        last = row.last
        promised = f"{last.promised_rto_s:g} s" if last and last.promised_rto_s is not None else ""
        kept = answers.get(row.wanted.promise)
        yield Promise(
            row.wanted.named, cells, seconds(row.rtos[-1]) if row.rtos else "", promised,
            _planned(kept) if kept else None, _why(row),
        )  # fmt: skip


def _cell(row: Row) -> Cell:
    age = "" if row.age_s is None else f"{span(row.age_s)} ago"
    return Cell(STATES[row.state].value, row.state.value, age)


def _planned(one: Answer) -> Cell:
    total = "" if one.total_s is None else f"{one.total_s:.1f} of {one.rto_s:g} s"
    return Cell(VERDICTS[one.verdict].value, one.verdict.value, total)


def _why(row: Row) -> str:
    if row.state is State.NEVER:
        return row.wanted.command
    return "; ".join((*row.shortly, *([row.grown] if row.grown else [])))


def _counts(rows: Sequence[Row]) -> str:
    counts = [(sum(row.state is state for row in rows), state.value) for state in State]
    return ", ".join(f"{number} {word}" for number, word in counts if number) or "none"


def _line_says(line: Line | None) -> str:
    if line is None:
        return ""
    marks = sum(len(lane.marks) for lane in line.lanes)
    gaps = len(line.gaps)
    return f"{marks} backups of {len(line.lanes)} stores, {gaps or 'no'} gap{'' if gaps == 1 else 's'}"
