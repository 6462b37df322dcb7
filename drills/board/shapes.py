"""What the page draws, worked out to coordinates: RTO trends of each drill, and backups on a line of time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from drills.board.facts import Facts
from drills.calendar.judge import Row
from drills.history import Entry
from drills.page.shapes import Scale, Tick, ceiling

SPARK_W, SPARK_H, _PAD = 320.0, 84.0, 8.0
SHOWN = 30  # drills of a trend
LINE_W, LINE_LEFT, LINE_RIGHT, _LANE = 1000.0, 96.0, 12.0, 46.0
_TOP = 8.0
_MOST_DAYS, _LEAST_DAYS = 28, 2
_FULL = "full"


@dataclass(frozen=True)
class Dot:
    x: float
    y: float
    title: str
    last: bool


@dataclass(frozen=True)
class Trend:
    """RTOs of one drill in the order in which they were measured. `promised`: where the promise lies, None off the
    drawing; `says` is what one who does not see it is told.
    """

    name: str
    says: str
    grown: str
    dots: tuple[Dot, ...]
    line: str
    promised: float | None
    width: float = SPARK_W
    height: float = SPARK_H


@dataclass(frozen=True)
class Mark:
    """One backup; `kind` is proven, unproven or damaged."""

    x: float
    y: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True)
class Gap:
    x: float
    y: float
    width: float
    title: str


@dataclass(frozen=True)
class Lane:
    store: str
    y: float
    marks: tuple[Mark, ...]
    gaps: tuple[Gap, ...]


@dataclass(frozen=True)
class Line:
    """Backups of each store on its own lane."""

    lanes: tuple[Lane, ...]
    ticks: tuple[Tick, ...]
    height: float
    bottom: float
    width: float = LINE_W
    left: float = LINE_LEFT
    right: float = LINE_W - LINE_RIGHT

    @property
    def gaps(self) -> tuple[Gap, ...]:
        return tuple(gap for lane in self.lanes for gap in lane.gaps)


def trends(rows: Sequence[Row]) -> tuple[Trend, ...]:
    """One for each drill that was measured at least once, those that grew slower first."""
    found = [_trend(one) for one in rows if one.rtos]
    return tuple(sorted(found, key=lambda one: not one.grown))


def _trend(row: Row) -> Trend:
    rtos = row.rtos[-SHOWN:]
    promised = row.last.promised_rto_s if row.last else None
    # A promise far above would press the line to the ground: it is then told and not drawn.
    drawn = promised if promised is not None and promised <= 4 * max(rtos) else None
    top = ceiling([*rtos, *([drawn] if drawn else [])])
    across = Scale(0, max(len(rtos) - 1, 1), _PAD, SPARK_W - _PAD)
    up = Scale(0, top, SPARK_H - _PAD, _PAD)
    dots = tuple(
        Dot(across(nr) if len(rtos) > 1 else SPARK_W / 2, up(rto), f"{rto:.2f} s", nr == len(rtos) - 1)
        for nr, rto in enumerate(rtos)
    )
    line = "M" + "L".join(f"{dot.x} {dot.y}" for dot in dots)
    name = row.wanted.scenario if row.wanted.place == "lab" else f"{row.wanted.scenario}, {row.wanted.place}"
    return Trend(name, _told(rtos, promised), row.grown, dots, line, up(drawn) if drawn else None)


def _told(rtos: Sequence[float], promised: float | None) -> str:
    goal = f", promised {promised:g} s" if promised is not None else ""
    if len(rtos) == 1:
        return f"RTO {rtos[0]:.2f} s, measured once{goal}"
    return f"RTO {rtos[-1]:.2f} s; of {len(rtos)} drills {min(rtos):.2f} to {max(rtos):.2f} s{goal}"


def timeline(facts: Facts) -> Line | None:
    """None where nobody says which backups there are, or there is none."""
    if not facts.backups:
        return None
    end = facts.at
    oldest = min(one.at for one in facts.backups)
    days = min(max((end - oldest).total_seconds() / 86400, _LEAST_DAYS), _MOST_DAYS)
    begin = end - timedelta(days=days)
    across = Scale(begin.timestamp(), end.timestamp(), LINE_LEFT, LINE_W - LINE_RIGHT)
    stores = sorted({_store(one) for one in facts.backups})
    lanes = tuple(_lane(facts, store, _TOP + nr * _LANE, across) for nr, store in enumerate(stores))
    bottom = _TOP + len(stores) * _LANE
    return Line(lanes, tuple(_days(begin, end, across)), bottom + 24, bottom)


def _lane(facts: Facts, store: str, y: float, across: Scale) -> Lane:
    mine = sorted((one for one in facts.backups or () if _store(one) == store), key=lambda one: one.at)
    marks = tuple(_mark(one, y, across) for one in mine if one.at.timestamp() >= across.low)
    return Lane(store, y, marks, tuple(_gaps(mine, y, across, facts)))


def _mark(one: Entry, y: float, across: Scale) -> Mark:
    tall = _LANE - 14 if one.name.endswith(_FULL) else (_LANE - 14) / 2
    kind = "damaged" if one.outcome != "passed" else "unproven" if "never proven" in one.says else "proven"
    title = f"{one.name}, {one.at:%Y-%m-%d %H:%M} UTC: {one.says}"
    return Mark(across(one.at.timestamp()), y + _LANE - 4 - tall, tall, kind, title)


def _gaps(mine: Sequence[Entry], y: float, across: Scale, facts: Facts) -> Iterator[Gap]:
    """Where two backups, or the newest and now, are further apart than was promised."""
    moments = [*(one.at for one in mine if one.outcome == "passed"), facts.at]
    for before, after in pairwise(moments):
        seconds = (after - before).total_seconds()
        if seconds > facts.max_gap_s and after.timestamp() > across.low:
            x = across(before.timestamp())
            until = "now" if after == facts.at else f"{after:%Y-%m-%d %H:%M}"
            title = f"no backup for {seconds / 3600:.0f} h, {before:%Y-%m-%d %H:%M} to {until} UTC"
            yield Gap(x, y + 4, round(across(after.timestamp()) - x, 2), title)


def _days(begin: datetime, end: datetime, across: Scale) -> Iterator[Tick]:
    step = max(1, round((end - begin).days / 10))
    day = begin.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    while day <= end:
        yield Tick(across(day.timestamp()), f"{day:%m-%d}")
        day += timedelta(days=step)


def _store(one: Entry) -> str:
    return one.name.partition(" ")[0]
