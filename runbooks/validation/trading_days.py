"""Days and sessions of rows against the calendar. A day that no calendar knows is unknown, and never good news."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from inventories.catalog.market import Calendar, Held
from inventories.catalog.quality import Quality
from inventories.catalog.tables import Table, Tables
from runbooks.table_copy.names import literal, qualified, quoted
from runbooks.validation import exchange
from runbooks.validation.difference import Check, Difference, Looked
from runbooks.validation.known_days import Known, Open, Package
from runbooks.validation.questions import Answer

NAMED = 5  # days of one table
_TODAY, _OWN = "calendar today", "calendar own"
_OVER = "days of rows"


def questions(tables: Tables, quality: Quality, names: Iterable[str]) -> dict[str, str]:
    """Questions by name; none where none of these tables is held to a calendar."""
    calendar = quality.calendar
    held = {name: calendar.held[name] for name in names if name in calendar.held} if calendar else {}
    if calendar is None or not held:
        return {}
    exchanges = ", ".join(map(literal, calendar.exchanges))
    own = (
        "SELECT calendar_date::text AS day, bool_or(is_open) AS some, bool_and(is_open) AS every "
        f"FROM {qualified(calendar.table)} WHERE exchange IN ({exchanges}) AND isfinite(calendar_date) GROUP BY 1"
    )
    today = f"SELECT (now() AT TIME ZONE {literal(calendar.zone)})::date::text AS today"
    return {_TODAY: today, _OWN: own, **{_question(name): _days(calendar, tables[name], held[name]) for name in held}}


def _question(name: str) -> str:
    return f"days {name}"


def _days(calendar: Calendar, table: Table, held: Held) -> str:
    """A row a day: rows, those of them `beside` every session with the first time of such, an event id of each kind."""
    column = table.column(held.column)
    assert column is not None  # the catalogue was looked through
    at, beside = f"{quoted(held.column)}::timestamp", "false"
    if column.type != "date":
        at = f"({quoted(held.column)} AT TIME ZONE {literal(calendar.zone)})"
        within = " OR ".join(
            f"date_trunc('minute', at)::time BETWEEN {literal(first)} AND {literal(last)}"
            for first, _, last in (session.partition("-") for session in calendar.sessions)
        )
        beside = f"NOT ({within})" if within else "false"
    return (
        "SELECT at::date::text AS day, count(*) AS n, min(event_id) AS event, "
        f"count(*) FILTER (WHERE {beside}) AS beside, min(event_id) FILTER (WHERE {beside}) AS beside_event, "
        f"(min(at::time) FILTER (WHERE {beside}))::text AS beside_at "
        f"FROM (SELECT {at} AS at, event_id FROM {qualified(table.name)} "
        f"WHERE {quoted(held.symbol)} ~ {literal(calendar.symbols)} AND isfinite({quoted(held.column)})) r GROUP BY 1"
    )


@dataclass
class _Judged:
    """So far: days of rows that a calendar knows, those that none does, and what differs."""

    days: int
    unknown: dict[str, list[str]]
    found: list[Difference]


def judge(quality: Quality, answers: Mapping[str, Answer], load: Package = exchange.days) -> tuple[Looked, ...]:
    """One check, or none where nothing was asked. `load` gives a package's calendar."""
    calendar = quality.calendar
    if calendar is None or _OWN not in answers:
        return ()
    known, so_far = _known(calendar, answers, load), _Judged(0, {}, [])
    for name, held in calendar.held.items():
        if (answer := answers.get(_question(name))) is not None:
            _judge_table(known, name, held, answer, so_far)
    unknown = "; ".join(f"{_span(days)} of {name}" for name, days in so_far.unknown.items())
    return (
        Looked(
            Check.CALENDAR, _OVER, so_far.days, "" if so_far.days or unknown else "no row of this market",
            tuple(so_far.found), required=bool(unknown) and calendar.table not in quality.may_be_empty,
            unknown=f"{unknown}, which no calendar has ({known.why_unknown()})" if unknown else "",
            warns="; ".join(known.ending()) if so_far.days or unknown else "",
        ),
    )  # fmt: skip


def _known(calendar: Calendar, answers: Mapping[str, Answer], load: Package) -> Known:
    own = answers[_OWN]
    days = {row["day"]: Open(row["some"], row["every"], calendar.table) for row in own.rows or ()}
    told = (answers.get(_TODAY) or Answer(None)).rows
    today = date.fromisoformat(told[0]["today"]) if told else date.today()
    return Known(calendar, today, days, load, own.why)


def _judge_table(known: Known, name: str, held: Held, answer: Answer, so_far: _Judged) -> None:
    if answer.rows is None:
        so_far.found.append(Difference(Check.CALENDAR, name, "days", "an answer", answer.why))
        return
    rows = {str(row["day"]): row for row in answer.rows}
    said = {day: known.of(day) for day in sorted(rows)}
    if unknown := [day for day, one in said.items() if one is None]:
        so_far.unknown[name] = unknown
    so_far.days += len(said) - len(unknown)
    closed = [_closed(name, rows[day], one) for day, one in said.items() if one is not None and not one.some]
    open_days = [rows[day] for day, one in said.items() if one is None or one.some]
    beside = [_beside(known, name, row) for row in open_days if row["beside"]]
    without = [_without(known, name, day) for day in _gaps(known, rows)] if held.every_open_day else []
    for found in (closed, beside, without):
        so_far.found += _named(name, found)


def _gaps(known: Known, rows: Mapping[str, Any]) -> Iterator[str]:
    if rows:
        yield from (day for day in known.open_between(min(rows), max(rows)) if day not in rows)


def _closed(name: str, row: Mapping[str, Any], said: Open) -> Difference:
    found = f"{row['n']:,} rows, one of them event_id={row['event']}"
    return Difference(Check.CALENDAR, name, f"rows of {row['day']}", f"none, a closed day by {said.source}", found)


def _beside(known: Known, name: str, row: Mapping[str, Any]) -> Difference:
    found = f"{row['beside']:,} others, at {row['beside_at']} for one, and event_id={row['beside_event']}"
    wanted = f"all within {', '.join(known.calendar.sessions)} ({known.calendar.zone})"
    return Difference(Check.CALENDAR, name, f"times of {row['day']}", wanted, found)


def _without(known: Known, name: str, day: str) -> Difference:
    said = known.of(day)
    by = said.source if said else known.calendar.table
    return Difference(Check.CALENDAR, name, f"rows of {day}", f"some, an open day by {by}", "none")


def _named(name: str, found: Sequence[Difference]) -> Iterator[Difference]:
    yield from found[:NAMED]
    if len(found) > NAMED:
        more = f"{len(found) - NAMED:,} as the first ones"
        yield Difference(Check.CALENDAR, name, "further days", found[NAMED].expected, more)


def _span(days: Sequence[str]) -> str:
    return f"{days[0]}" if len(days) == 1 else f"{len(days):,} days, {days[0]} to {days[-1]},"
