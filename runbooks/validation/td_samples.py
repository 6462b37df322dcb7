"""The trading system's kinds of queries to TDengine, each once: whether they are answered, and how long that takes.

A span of time of the symbol with the newest tick, bars made of that, and its newest rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from inventories.catalog.tables import Store, Tables
from runbooks.hosts import Host
from runbooks.probes.tdengine import questions
from runbooks.probes.tdengine.questions import Question
from runbooks.validation.samples import Asked, Sample

TICKS = "tick_data"
_NEWEST = f"SELECT LAST_ROW(ts), symbol FROM @.{TICKS}"
_DAY = f"symbol = {{1}} AND ts > {{0:-{86400 * 10**9}}} AND ts <= {{0}}"  # in nanoseconds, as these databases have it
# @ stands for the database.
SAMPLES: Mapping[str, Sample] = {
    "time range": Sample((TICKS,), f"SELECT ts, price, volume, amount FROM @.{TICKS} WHERE {_DAY}"),
    "K-lines of five minutes": Sample(
        (TICKS,),
        "SELECT _wstart, FIRST(price), MAX(price), MIN(price), LAST(price), SUM(volume) "
        f"FROM @.{TICKS} WHERE {_DAY} INTERVAL(5m)",
    ),
    "newest rows": Sample((TICKS,), f"SELECT * FROM @.{TICKS} WHERE symbol = {{1}} ORDER BY ts DESC LIMIT 100"),
}


def fitting(known: Tables, chosen: Collection[str]) -> tuple[str, ...]:
    """The names of those whose tables are all in the catalogue, and chosen, of which none is every one."""
    there = {table.name for table in known.of(Store.TDENGINE) if not chosen or table.name in chosen}
    return tuple(name for name, sample in SAMPLES.items() if there.issuperset(sample.tables))


def ask(backup: Host, database: str, names: Iterable[str], timeout: float) -> Asked:
    """Raises DrError where nobody answers."""
    asked = {
        name: Question(SAMPLES[name].select.replace("@", f"`{database}`"), _NEWEST.replace("@", f"`{database}`"))
        for name in names
    }
    said = questions.ask(backup, asked, timeout)
    return Asked(
        {name: one.ms for name, one in said.items() if one.ms is not None},
        {name: one.why for name, one in said.items() if one.n is None},
        sum(one.n or 0 for one in said.values()),
        tuple(name for name, one in said.items() if one.n == 0 and one.ms is None),
    )
