"""Data to restore: rows as the feed writes them, made on the server itself, until the database is as large as asked."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from runbooks.hosts import Estate, Host
from runbooks.probes.postgresql import server

RUN = 1  # a feed's run number is a unix time, so this is nobody's
_CHUNK = 250_000
_DAYS = 30
# Shares of a database: the table that a restore brings back alone, and the one that makes it large.
_ORDERS_OF_A_GIB = 1_000_000
_ORDERS = """
INSERT INTO public.order_records SELECT {base} + g, 'O' || to_hex({base} + g), now() - (g % {days}) * interval '1 day',
  'ACC' || lpad((random() * 1999)::int::text, 5, '0'), 'momentum', 'S' || lpad((random() * 4999)::int::text, 5, '0'),
  'BUY', 'LIMIT', (random() * 1000)::numeric(18, 4), 100 + (random() * 20)::int * 100, 'FILLED', md5(g::text)
FROM generate_series({first}, {last}) g;
"""
_TRADES = """
INSERT INTO public.transaction_records SELECT {base} + g, 'T' || to_hex({base} + g),
  now() - (g % {days}) * interval '1 day', 'O' || to_hex({base} + g),
  'ACC' || lpad((random() * 1999)::int::text, 5, '0'), 'S' || lpad((random() * 4999)::int::text, 5, '0'), 'SELL',
  (random() * 1000)::numeric(18, 4), (random() * 2000)::int,
  (random() * 100000)::numeric(24, 4), (random() * 10)::numeric(18, 4), (random() * 10)::numeric(18, 4)
FROM generate_series({first}, {last}) g;
"""
_HURRY_S = 600.0


def fill(estate: Estate, gib: float, say: Callable[[str], None]) -> int:
    """Write a million orders a GiB, and trades until the database has so many GiB. Returns the number of orders."""
    primary = server.the_primary(server.survey(estate)).host
    database, orders, trades = str(estate.data["database"]), max(1, round(gib * _ORDERS_OF_A_GIB)), 0
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda first: _write(primary, database, _ORDERS, first, orders), range(1, orders + 1, _CHUNK)))
        while (there := size_bytes(primary, database)) < gib * 2**30:
            say(f"{there / 2**30:.1f} of {gib:g} GiB are written")
            list(pool.map(lambda first: _write(primary, database, _TRADES, first), (trades + 1, trades + 1 + _CHUNK)))
            trades += 2 * _CHUNK
    primary.execute("CHECKPOINT;", timeout=_HURRY_S)
    return orders


def orders(estate: Estate, rows: int) -> None:
    """So many orders, and nothing else."""
    primary, database = server.the_primary(server.survey(estate)).host, str(estate.data["database"])
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda first: _write(primary, database, _ORDERS, first, rows), range(1, rows + 1, _CHUNK)))
    primary.execute("CHECKPOINT;", timeout=_HURRY_S)


def size_bytes(host: Host, database: str) -> int:
    return int(host.query(f"select pg_database_size('{database}') as bytes")[0]["bytes"])


def _write(host: Host, database: str, sql: str, first: int, most: int | None = None) -> None:
    last = first + _CHUNK - 1 if most is None else min(first + _CHUNK - 1, most)
    text = sql.format(base=RUN << 32, days=_DAYS, first=first, last=last)
    host.execute(f"SET synchronous_commit = local; {text}", database, timeout=_HURRY_S)
