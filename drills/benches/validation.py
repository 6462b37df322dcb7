"""Measure the hashes of `./dr validate --level full`, beside the bare hash aggregate and data-diff's md5."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from drills import gather, prepare
from drills.benches import filling
from drills.benches.headline import Bench, Figure
from drills.benches.own_lab import own_lab
from inventories.catalog import load_tables
from inventories.errors import BadInput
from lab.engine import find_engine
from runbooks import hosts
from runbooks.probes.postgresql import server as probing
from runbooks.probes.postgresql.tables import Server
from runbooks.table_copy.names import quoted
from runbooks.table_copy.shape import Column
from runbooks.validation import copies
from runbooks.validation.hashing import Hashed, parts_for
from runbooks.validation.questions import answers, script

TABLE = "order_records"
LEAST_ROWS = 1000
_LIMIT_S = 3600.0
_SESSION = "mystocks-bench"


@dataclass(frozen=True)
class Asked:
    """Seconds of one round: a scan, the bare aggregate, ours, the rival's, and what finds one row that differs."""

    scan: float
    bare: float
    ours: float
    rival: float
    locating: float


def bench(lab: str, rows: int, rounds: int, say: Callable[[str], None]) -> Bench:
    """In a lab of its own that is removed afterwards. Raises BadInput, Refused."""
    if rows < LEAST_ROWS or rounds < 1:
        raise BadInput(f"{rows:,} rows in {rounds} rounds would measure nothing", "--rows 2000000 --runs 5")
    with own_lab(find_engine(), lab, say):
        prepare.estate(lab, say)
        estate = hosts.load("lab")
        say(f"Writing {rows:,} orders")
        filling.orders(estate, rows)
        primary = probing.the_primary(probing.survey(estate)).host
        asked = Server(primary, str(estate.data["database"]))
        asked.ask(f"VACUUM (FREEZE, ANALYZE) {TABLE};", _LIMIT_S)
        found = []
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            found.append(measure(asked))
        return Bench(figures(rows, tuple(found)), gather.versions(estate))


def measure(server: Server) -> Asked:
    """One round, each question in a session of its own as a validation has it. Raises DrError."""
    tables, _ = copies.hashed(load_tables(), (TABLE,), server)
    of = tables[TABLE]
    # A first time, so that each finds in memory what it reads.
    days = [(int(str(row["bucket"])), int(str(row["n"]))) for row in _ask(server, of.buckets())]
    seconds = {name: _timed(server, select) for name, select in questions(of).items()}
    return Asked(**seconds, locating=_locate(server, of, *days[len(days) // 2]))


def questions(of: Hashed) -> Mapping[str, str]:
    values = ", ".join(f"t.{quoted(column.name)}" for column in of.columns)
    bare = f"bit_xor(hash_record_extended(ROW({values}), 0))"
    text = ", '|', ".join(f"coalesce({_as_text(column)}, '<null>')" for column in of.columns)
    rival = f"sum(('x' || substring(md5(concat({text})), 21))::bit(48)::bigint)"
    rows = f"FROM {of.shape.rows} AS t"
    return {
        "scan": f"SELECT count(*) AS n {rows}",
        "bare": f"SELECT count(*) AS n, {bare} AS hash {rows}",
        "ours": of.buckets(),
        "rival": f"SELECT count(*) AS n, {rival} AS hash {rows}",
    }


def _as_text(column: Column) -> str:
    """As data-diff makes values of several databases comparable."""
    name = f"t.{quoted(column.name)}"
    if column.plain.startswith("timestamp"):
        return f"RPAD(LEFT(to_char({name}::timestamp(6), 'YYYY-mm-dd HH24:MI:SS.US'), 26), 26, '0')"
    if column.plain == "numeric" and "," in column.type:
        scale = column.type.partition(",")[2].rstrip(")")
        return f"{name}::decimal(38, {scale})::varchar"
    return f"{name}::varchar"


def _locate(server: Server, of: Hashed, day: int, rows: int) -> float:
    """What is asked of one side where a row of that day differs: its key ranges, then one of them, before and after."""
    parts = parts_for(rows)
    began = time.monotonic()
    ranges = _ask(server, of.ranges((day,), parts))
    for _ in range(2):
        _ask(server, of.rows(((day, int(str(ranges[0]["part"]))),), parts))
    return time.monotonic() - began


def _timed(server: Server, select: str) -> float:
    began = time.monotonic()
    _ask(server, select)
    return time.monotonic() - began


def _ask(server: Server, select: str) -> list[dict[str, object]]:
    rows = answers(server.ask(script({"one": select}, _SESSION), _LIMIT_S))["one"].rows
    assert rows is not None, "the server refused what a validation asks"
    return rows


def figures(rows: int, rounds: tuple[Asked, ...]) -> tuple[Figure, ...]:
    """What each took, and ours held to what was promised."""

    def each(name: str) -> tuple[float, ...]:
        return tuple(float(getattr(one, name)) for one in rounds)

    def of(over: str, under: str) -> tuple[float, ...]:
        return tuple(a / b for a, b in zip(each(over), each(under), strict=True))

    return (
        Figure("rows of order_records", "rows", (float(rows),)),
        Figure("bare: count(*)", "s", each("scan")),
        Figure("bare: bit_xor(hash_record_extended(ROW(...), 0))", "s", each("bare")),
        Figure("md5 of concatenated text, as data-diff has it", "s", each("rival")),
        Figure("validate's hashes of every day", "s", each("ours")),
        Figure("of the bare aggregate's time", "times", of("ours", "bare"), 1.5),
        Figure("as fast as the md5", "times", of("rival", "ours"), 5.0, at_least=True),
        Figure("one row that differs, located, of the hashes' time", "times", of("locating", "ours"), 0.05),
    )
