"""Which rows do not agree across stores at a mark: orders without fills, fills without ticks, bars without ticks.

The catalogue says which tables those are. What is looked at lies before the mark, what it must have may lie after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from inventories.catalog.agreement import Agreement, Fills, Orders
from inventories.catalog.tables import Tables
from inventories.errors import DrError
from runbooks.probes.durations import utc
from runbooks.probes.tdengine.agreement import Lacking, Minute, Wanted
from runbooks.table_copy.names import literal, qualified, quoted
from runbooks.validation.difference import Check, Difference, Looked
from runbooks.validation.questions import Answer

NAMED = 100  # of one kind
MOST = 50_000  # minutes of symbols with fills
DAY_S = 86400
_ORDERS, _FILLS = "agreement orders", "agreement fills"
Look = Callable[[Wanted], tuple[Lacking, Lacking]]


@dataclass(frozen=True)
class Span:
    """Of unix seconds, both ends included."""

    first: float
    last: float

    def holds(self, column: str) -> str:
        return f"{quoted(column)} BETWEEN to_timestamp({self.first!r}) AND to_timestamp({self.last!r})"


def questions(agreement: Agreement | None, span: Span) -> dict[str, str]:
    """For PostgreSQL, by name; none where nothing of it is declared."""
    if agreement is None or agreement.fills is None:
        return {}
    asked = {_FILLS: _fills(agreement, agreement.fills, span)} if agreement.ticks else {}
    if agreement.orders:
        asked[_ORDERS] = _orders(agreement, agreement.orders, agreement.fills, span)
    return asked


def _orders(agreement: Agreement, orders: Orders, fills: Fills, span: Span) -> str:
    filled = (
        f"SELECT {quoted(orders.key)}::text AS key, min({quoted(orders.time)}) AS at FROM {qualified(orders.table)} "
        f"WHERE {span.holds(orders.time)} AND {quoted(agreement.symbol)} ~ {literal(agreement.symbols)} "
        f"AND ({orders.filled}) GROUP BY 1"
    )
    has = f"SELECT FROM {qualified(fills.table)} f WHERE f.{quoted(fills.order)} = o.key"
    return (
        f"WITH o AS MATERIALIZED ({filled}), l AS MATERIALIZED (SELECT * FROM o WHERE NOT EXISTS ({has})) "
        "SELECT (SELECT count(*) FROM o) AS n, (SELECT count(*) FROM l) AS lacks, (SELECT json_agg(to_json(s)) FROM "
        f"(SELECT key, extract(epoch FROM at) AS at FROM l ORDER BY l.at, key LIMIT {NAMED}) s) AS some"
    )


def _fills(agreement: Agreement, fills: Fills, span: Span) -> str:
    """One row a symbol and minute: the newest ones, where there are too many."""
    return (
        f"SELECT {quoted(agreement.symbol)} AS symbol, floor(extract(epoch FROM {quoted(fills.time)}) / 60)::bigint AS "
        f"minute, count(*) AS n, min({quoted(fills.key)}::text) AS key FROM {qualified(fills.table)} "
        f"WHERE {span.holds(fills.time)} AND {quoted(agreement.symbol)} ~ {literal(agreement.symbols)} "
        f"GROUP BY 1, 2 ORDER BY 2 DESC, 1 LIMIT {MOST + 1}"
    )


def judge(
    agreement: Agreement | None, known: Tables, span: Span, answers: Mapping[str, Answer], look: Look | None
) -> Looked:
    """`look` asks TDengine; None where the estate has none."""
    over = "orders, minutes of fills, and bars"
    if agreement is None:
        return Looked(Check.AGREEMENT, over, 0, "quality.yaml declares no agreement: not judged", required=False)
    number, found, notes = _of_orders(agreement, answers)
    more, others, said = _of_ticks(agreement, known, span, answers, look)
    between = f"from {utc(span.first)} to {utc(span.last)}"
    return Looked(
        Check.AGREEMENT, over, number + more, "; ".join([between, *notes, *said]), (*found, *others), required=False
    )  # fmt: skip


_Part = tuple[int, list[Difference], list[str]]  # how many were looked at, what differs, what is to be said


def _of_orders(agreement: Agreement, answers: Mapping[str, Answer]) -> _Part:
    orders, fills = agreement.orders, agreement.fills
    if orders is None or fills is None:
        return 0, [], ["orders and fills are not both declared: not judged"]
    answer = answers.get(_ORDERS, Answer(None, "no answer"))
    if not answer.rows:
        return 0, [Difference(Check.AGREEMENT, orders.table, "orders", "an answer", answer.why)], []
    [row] = answer.rows
    wanted = f"a fill in {fills.table}"
    found = [
        Difference(Check.AGREEMENT, orders.table, f"order {one['key']} of {utc(one['at'])}", wanted, "none")
        for one in row["some"] or ()
    ]
    found += _further(orders.table, "orders", wanted, int(row["lacks"]) - len(found))
    return int(row["n"]), found, []


def _of_ticks(
    agreement: Agreement, known: Tables, span: Span, answers: Mapping[str, Answer], look: Look | None
) -> _Part:
    if agreement.ticks is None or not (agreement.fills or agreement.bars):
        return 0, [], ["ticks, and fills or bars, are not declared: not judged"]
    if look is None:
        return 0, [], ["no TDengine here: nothing is held against ticks"]
    answer = answers.get(_FILLS, Answer([]))
    if answer.rows is None:
        table = agreement.fills.table if agreement.fills else agreement.ticks.table
        return 0, [Difference(Check.AGREEMENT, table, "fills", "an answer", answer.why)], []
    rows = {(str(row["symbol"]), int(row["minute"])): row for row in answer.rows[:MOST]}
    try:
        fills, bars = look(_wanted(agreement, known, span, [*rows]))
    except DrError as error:
        return 0, [Difference(Check.AGREEMENT, agreement.ticks.table, "ticks", "an answer", str(error))], []
    tick = f"a tick of it within {agreement.within_min} min in {agreement.ticks.table}"
    found: list[Difference] = []
    if agreement.fills:
        found += _listed(agreement.fills.table, {one: _fill(row) for one, row in rows.items()}, fills, tick)
    if agreement.bars:
        found += _listed(agreement.bars.table, {}, bars, tick)
    notes = [f"of the fills only the newest {MOST:,} minutes"] if len(answer.rows) > MOST else []
    for what, looked in (("fills", fills.looked), ("bars", bars.looked)):
        if getattr(agreement, what) is None:
            notes.append(f"{what} are not declared: not judged")
        elif not looked:
            notes.append(f"no {what} of that time")
    return fills.looked + bars.looked, found, notes


def _fill(row: Mapping[str, Any]) -> str:
    more = f" and {row['n'] - 1:,} more" if row["n"] > 1 else ""
    return f"fill {row['key']}{more}"


def _wanted(agreement: Agreement, known: Tables, span: Span, fills: list[Minute]) -> Wanted:
    assert agreement.ticks is not None
    bars, ticks = agreement.bars, agreement.ticks

    def placed(name: str) -> str:
        return f"`{known[name].database}`.`{name}`"

    return Wanted(
        int(span.first), int(span.last), placed(ticks.table), agreement.within_min, f"`{agreement.symbol}`",
        agreement.symbols, fills, placed(bars.table) if bars else "",
        " AND ".join([*([f"`{bars.volume}` > 0"] if bars.volume else []), *([f"({bars.only})"] if bars.only else [])])
        if bars else "",
    )  # fmt: skip


def _listed(table: str, names: Mapping[Minute, str], lacking: Lacking, wanted: str) -> Iterator[Difference]:
    some = lacking.some[:NAMED]
    for one in some:
        symbol, minute = one
        what = f"{names.get(one, 'bar')} of {symbol} at {utc(minute * 60)}"
        yield Difference(Check.AGREEMENT, table, what, wanted, "none")
    yield from _further(table, "minutes", wanted, lacking.lacks - len(some))


def _further(table: str, what: str, wanted: str, number: int) -> Iterator[Difference]:
    if number > 0:
        yield Difference(Check.AGREEMENT, table, f"further {what}", wanted, f"none for {number:,}")
