"""A real database with rows of a trading day, as validations are given it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from inventories.catalog import load_quality, load_tables
from runbooks.hosts import Host
from runbooks.probes.postgresql.tables import Server as Asked
from runbooks.validation import run
from runbooks.validation.difference import Difference, Looked
from runbooks.validation.exchange import Absent, Days
from tests.unit.copying_kit import Local
from tests.unit.postgres_server import DATABASE, Server

LIVE = "validated"
# The days of ROWS are open ones; the exchange's day may be one ahead of the server's.
CALENDAR = (
    "INSERT INTO trade_calendar (event_id, exchange, calendar_date, is_open) SELECT 1, 'SH', d, true "
    "FROM generate_series(current_date - 6, current_date + 1, interval '1 day') d"
)
COLUMNS = {
    "order_records": "(event_id, order_id, order_time, account_id, strategy_id, symbol, side, order_type, price, "
    "quantity, status)",
    "transaction_records": "(event_id, transaction_id, trade_time, order_id, account_id, symbol, side, price, quantity,"
    " amount, commission, stamp_duty)",
    "position_records": "(event_id, account_id, symbol, record_date, quantity, available_quantity, cost_price, "
    "market_price, market_value, unrealized_pnl)",
    "daily_kline": "(event_id, symbol, trade_date, open, high, low, close, volume, amount, pct_chg, adj_factor)",
}
# Orders of five days of the exchange, all at ten o'clock, the newest of today; of three in four a fill.
ROWS = (
    f"INSERT INTO order_records {COLUMNS['order_records']} SELECT i, 'O' || i, "
    "((now() AT TIME ZONE 'Asia/Shanghai')::date - i % 5 + time '10:00') AT TIME ZONE 'Asia/Shanghai', "
    "'A' || i % 7, 's1', '60000' || i % 10 || '.SH', CASE i % 2 WHEN 0 THEN 'BUY' ELSE 'SELL' END, 'LIMIT', "
    "10 + i % 100 * 0.01, 100 * (1 + i % 9), 'FILLED' FROM generate_series(1, {n}) i",
    f"INSERT INTO transaction_records {COLUMNS['transaction_records']} SELECT 1000000 + event_id, 'T' || event_id, "
    "order_time, order_id, account_id, symbol, side, price, quantity, price * quantity, 5, 0 FROM order_records "
    "WHERE event_id % 4 > 0",
    f"INSERT INTO position_records {COLUMNS['position_records']} SELECT 2000000 + i, 'B' || i, 'S' || i, "
    "current_date, 100, 100, 10, 11, 1100, 100 FROM generate_series(1, {n} / 10) i",
    f"INSERT INTO daily_kline {COLUMNS['daily_kline']} SELECT 3000000 + i, 'G' || i % 20 || '.SIM', "
    "current_date - i / 20, 10, 12, 9, 11, 1000, 11000, 1, 1 FROM generate_series(1, {n} / 10) i",
)


def no_package(name: str) -> Days:
    """What tests hold rows to is the table's days, whatever is installed here."""
    raise Absent("no package is asked here")


@dataclass
class Validated:
    """One database of the server; differences that a server without TimescaleDB always has are left out."""

    server: Server
    database: str = LIVE

    @property
    def asked(self) -> Asked:
        connect: Sequence[str] = ("-U", "postgres", "-h", str(self.server.folder), "-p", str(self.server.port))
        return Asked(cast(Host, Local(connect)), self.database, " ".join(connect))

    def sql(self, *statements: str) -> list[tuple[object, ...]]:
        return self.server.sql(*statements, database=self.database)

    def fill(self, n: int = 1000) -> None:
        self.sql(*(statement.replace("{n}", str(n)) for statement in ROWS))

    def looked(self, level: run.Level = run.Level.FULL, *tables: str) -> tuple[Looked, ...]:
        known = load_tables()
        names = run.chosen(known, tables)
        return run.look(self.asked, known, load_quality().fits(known), names, level, lambda _: None, no_package)

    def found(self, level: run.Level = run.Level.FULL, *tables: str) -> list[Difference]:
        looked = self.looked(level, *tables)
        return [one for check in looked for one in check.differences if one.what != "hypertable"]

    def told(self, level: run.Level = run.Level.FULL) -> list[str]:
        return [str(one) for one in self.found(level)]


@contextmanager
def validated(server: Server, rows: int) -> Iterator[Validated]:
    """A database of its own with so many orders, as the catalogue declares it."""
    remove = f"DROP DATABASE IF EXISTS {LIVE} WITH (FORCE)"
    server.sql(remove, f"CREATE DATABASE {LIVE} TEMPLATE {DATABASE}", database="postgres")
    made = Validated(server)
    made.fill(rows)
    yield made
    server.sql(remove, database="postgres")
