"""The kinds of questions that the trading system asks, each once: whether they are answered, and how long that takes.

A span of time of one symbol, bars made of bars, the newest rows, bars with what belongs to them, and an upsert. Of that
nothing is written: it is planned, which fails where the key that it goes by is not enforced any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from inventories.catalog.tables import Store, Tables
from inventories.errors import TargetFailed
from runbooks.probes.postgresql.tables import Server
from runbooks.table_copy.names import listed, qualified, quoted
from runbooks.table_copy.source import plain_settings
from runbooks.validation import yielding
from runbooks.validation.difference import Check, Difference, Looked
from runbooks.validation.questions import SNAPSHOT, Answer

BARS, ORDERS, UPSERT = "daily_kline", "order_records", "upsert, planned"
_YEAR = (
    f"symbol = (SELECT symbol FROM {BARS} ORDER BY trade_date DESC LIMIT 1) "
    f"AND trade_date > (SELECT max(trade_date) FROM {BARS}) - 366"
)


@dataclass(frozen=True)
class Sample:
    """A SELECT, and the tables that it reads."""

    tables: tuple[str, ...]
    select: str


SAMPLES: Mapping[str, Sample] = {
    "time range": Sample(
        (BARS,), f"SELECT trade_date, open, high, low, close, volume FROM {BARS} WHERE {_YEAR}"
    ),
    "K-lines of a week": Sample(
        (BARS,),
        "SELECT date_trunc('week', trade_date) AS week, (array_agg(open ORDER BY trade_date))[1] AS open, "
        "max(high) AS high, min(low) AS low, (array_agg(close ORDER BY trade_date DESC))[1] AS close, "
        f"sum(volume) AS volume FROM {BARS} WHERE {_YEAR} GROUP BY 1",
    ),
    "newest rows": Sample(
        (ORDERS,),
        f"SELECT * FROM {ORDERS} WHERE symbol = (SELECT symbol FROM {ORDERS} LIMIT 1) "
        "ORDER BY order_time DESC LIMIT 100",
    ),
    "join": Sample(
        (BARS, "symbols", "technical_indicators"),
        "SELECT k.symbol, k.trade_date, k.close, k.pct_chg, s.sector, i.indicator_name, i.indicator_value "
        f"FROM (SELECT * FROM {BARS} WHERE {_YEAR}) k LEFT JOIN symbols s ON s.symbol = k.symbol "
        "LEFT JOIN technical_indicators i ON i.symbol = k.symbol AND i.calc_date = k.trade_date",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """What was answered: milliseconds by name; `refused`: why not; `nothing`: those for which there was no row to ask
    of. `rows` is of the answers together.
    """

    ms: Mapping[str, float]
    refused: Mapping[str, str] = field(default_factory=dict)
    rows: int = 0
    nothing: tuple[str, ...] = ()


def fitting(known: Tables, chosen: Collection[str]) -> tuple[str, ...]:
    """The names of those whose tables are all chosen, and in the catalogue."""
    there = {table.name for table in known.of(Store.POSTGRESQL)} & set(chosen)
    names = [name for name, sample in SAMPLES.items() if there.issuperset(sample.tables)]
    return (*names, *([UPSERT] if BARS in there else []))


def ask(server: Server, known: Tables, names: Iterable[str], timeout: float) -> Asked:
    """Raises DrError where the server does not answer at all."""
    names = tuple(names)
    said = yielding.ask(server, {name: _timed(SAMPLES[name].select) for name in names if name in SAMPLES}, timeout)
    if UPSERT in names:
        said[UPSERT] = _upsert(server, known, timeout)
    ms = {name: float(one.rows[0]["ms"]) for name, one in said.items() if one.rows}
    rows = sum(int(one.rows[0]["n"]) for one in said.values() if one.rows)
    return Asked(ms, {name: one.why for name, one in said.items() if not one.rows}, rows)


def _timed(select: str) -> str:
    """Every column of every row is made: what nobody reads is not computed. The moment is taken before the first."""
    return (
        "SELECT s.n, extract(epoch FROM clock_timestamp() - b.began) * 1000 AS ms "
        "FROM (SELECT clock_timestamp() AS began OFFSET 0) b, LATERAL (SELECT count(*) AS n, max(length(q::text)) "
        f"FROM ({select}) q WHERE b.began IS NOT NULL) s"
    )


def _upsert(server: Server, known: Tables, timeout: float) -> Answer:
    """As the writer writes it, of the newest bar; EXPLAIN alone may be asked in a transaction that only reads."""
    table = known[BARS]
    names = [column.name for column in table.columns]
    sets = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in names if name not in table.key)
    moment = "SELECT extract(epoch FROM clock_timestamp()) * 1000;"
    text = (
        f"{plain_settings()}{SNAPSHOT}{moment}\nEXPLAIN INSERT INTO {qualified(BARS)} AS t ({listed(names)}) "
        f"SELECT {listed(names)} FROM {qualified(BARS)} ORDER BY trade_date DESC LIMIT 1 "
        f"ON CONFLICT ({listed(table.key)}) DO UPDATE SET {sets} WHERE excluded.event_id >= t.event_id;\n"
        f"{moment}\nROLLBACK;\n"
    )
    try:
        lines = server.ask(text, timeout).splitlines()
    except TargetFailed as error:
        return Answer(None, str(error).splitlines()[0])
    return Answer([{"n": 0, "ms": float(lines[-1]) - float(lines[0])}])


def judge(
    asked: Asked, before: Mapping[str, float], spoilt: Collection[str], of: Mapping[str, Sample] = SAMPLES
) -> Looked:
    """`before`: what they took at the baseline, in milliseconds. `spoilt`: tables that are not as declared, which is
    told already: what is refused because of them is no difference of its own.
    """
    told = [name + _took(ms, before.get(name)) for name, ms in asked.ms.items()]
    told += [f"{name} found nothing to ask of" for name in asked.nothing]
    found = []
    for name, why in asked.refused.items():
        tables = of[name].tables if name in of else (BARS,)
        if set(tables) & set(spoilt):
            told.append(f"{name} refused, as a table of it is not as declared")
        else:
            found.append(Difference(Check.SAMPLE, tables[0], name, "an answer", why))
    number = len(asked.ms) + len(asked.refused) + len(asked.nothing)
    return Looked(Check.SAMPLE, f"queries with {asked.rows:,} rows", number, ", ".join(told), tuple(found))


def _took(ms: float, before: float | None) -> str:
    then = "" if before is None else f" (baseline {before:.1f} ms)"
    return f" {ms:.1f} ms{then}"
