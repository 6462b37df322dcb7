"""Time the client library on this host, beside what it is held to: prints one JSON object.

    python3 -m agents.feed.client_rates --config FILE [--rows 30000] [--orders 300]

`outbox`: rows a second that an outbox of its own acknowledges durably, in batches of 300, while no store answers;
`poison`: the same with a row in every tenth batch that the catalogue refuses, sound rows counted. `store` and `feed`:
rows a second that the store acknowledges through the library and through the feed's own path, by turns. `save` and
`insert`: milliseconds of one order through the library and of one bare INSERT with its commit, by turns, each of them.
The rows stay in the database: this is for a lab.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from agents.base.config import DEFAULT, Config, Host, load_config, load_tables
from agents.base.errors import AgentError, run
from agents.client import By, Client
from agents.feed.market import Market, fitted
from agents.postgresql.primary import find_primary
from agents.writing.batch import encode
from agents.writing.outbox import Outbox
from agents.writing.writer import Writer

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

BATCH = 300
TABLE = "order_records"
NOBODY = Host("127.0.0.1", "127.0.0.1", 9)
PATIENCE_S = 30.0
_INSERT = (
    "INSERT INTO order_records (event_id, order_id, order_time, account_id, symbol, side, order_type, price, quantity,"
    " status) VALUES (%s, %s, %s, 'ACC1', '600000.SH', 'BUY', 'LIMIT', 10.5, 100, 'NEW')"
)


def batch(number: int, poison: bool = False) -> list[dict[str, object]]:
    """Rows as a program of the trading system has them."""
    now = datetime.now(timezone.utc)
    rows: list[dict[str, object]] = [
        {
            "order_id": f"B{number}-{n}", "order_time": now, "account_id": f"ACC{n % 2000:05d}", "symbol": "600000.SH",
            "side": "SELL" if n & 1 else "BUY", "order_type": "LIMIT", "price": 10.5 + n / 100, "quantity": 100 + n,
            "status": "NEW", "remark": None if n & 3 else "止损",
        }
        for n in range(BATCH)
    ]  # fmt: skip
    if poison:
        rows[BATCH // 2]["side"] = "SIDEWAYS"
    return rows


def to_outbox(config: Config, folder: Path, rows: int, poison: bool) -> float:
    """Sound rows a second."""
    place = folder / ("poison" if poison else "outbox")
    place.mkdir()
    alone = replace(config, hosts=(NOBODY,), shadow=None, outbox=replace(config.outbox, path=place / "outbox.db"))
    made = [batch(number, poison and number % 10 == 0) for number in range(rows // BATCH)]
    with closing(Client([alone], pool=1)) as client:
        _acknowledged(client, batch(-1), By.OUTBOX)  # finds out that nobody answers
        began = time.monotonic()
        sound = sum(_acknowledged(client, one, By.OUTBOX) for one in made)
        return sound / (time.monotonic() - began)


def to_store(config: Config, folder: Path, rows: int) -> tuple[float, float]:
    """Rows a second through the library and through the feed's path, batch by batch in turns."""
    apart = replace(config, outbox=replace(config.outbox, path=folder / "store.db"))
    if config.shadow:
        apart = replace(apart, shadow=replace(config.shadow, path=folder / "store.shadow"))
    tables = load_tables(config.tables)
    market = Market(int(time.time()) - 10**9)
    ours = theirs = 0.0
    with (
        closing(Client([apart], pool=1)) as client, closing(Outbox(folder / "feed.db")) as outbox,
        closing(Writer(apart, tables, outbox, 1)) as writer,
    ):  # fmt: skip
        for number in range(rows // BATCH + 1):
            dicts, tuples = batch(number), fitted(tables, {TABLE: market.batch(BATCH * 5 // 2)[TABLE][:BATCH]})
            began = time.monotonic()
            _acknowledged(client, dicts, By.STORE)
            between = time.monotonic()
            if writer.write(encode(tables, tuples)).by is not By.STORE:
                raise AgentError("The store did not acknowledge the feed's rows.", "./dr status")
            if number:  # the first pays for what is paid once
                ours, theirs = ours + between - began, theirs + time.monotonic() - between
    return rows // BATCH * BATCH / ours, rows // BATCH * BATCH / theirs


def one_by_one(config: Config, folder: Path, connection: Connection, n: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each save of one order, and of each bare INSERT."""
    apart = replace(config, shadow=None, outbox=replace(config.outbox, path=folder / "single.db"))
    saves, inserts = [], []
    base = int(time.time()) - 10**9 << 32
    with closing(Client([apart], pool=1)) as client:
        _acknowledged(client, batch(-1)[:1], By.STORE)
        for number in range(n):
            rows = batch(number)[:1]
            began = time.monotonic()
            _acknowledged(client, rows, By.STORE)
            between = time.monotonic()
            with connection.cursor() as cursor:
                cursor.execute(_INSERT, (base + number, f"I{number}", rows[0]["order_time"]))
            connection.commit()
            saves.append((between - began) * 1000)
            inserts.append((time.monotonic() - between) * 1000)
    return saves, inserts


def _acknowledged(client: Client, rows: list[dict[str, object]], by: By) -> int:
    ack = client.save(TABLE, rows)
    if ack.by is not by:
        raise AgentError(f"{ack.by and ack.by.value} acknowledged: {ack.why}.", "./dr status")
    return len(ack.taken)


def measure(config: Config, rows: int, orders: int) -> dict[str, object]:
    with (
        tempfile.TemporaryDirectory(dir=config.outbox.path.parent) as name,
        closing(find_primary(config, PATIENCE_S, "mystocks-client-rates").connection) as connection,
    ):
        folder = Path(name)
        outbox, poison = (to_outbox(config, folder, rows, poison=one) for one in (False, True))
        store, feed = to_store(config, folder, rows)
        saves, inserts = one_by_one(config, folder, connection, orders)
    return {
        "outbox": round(outbox, 1), "poison": round(poison, 1), "store": round(store, 1), "feed": round(feed, 1),
        "save": [round(one, 3) for one in saves], "insert": [round(one, 3) for one in inserts],
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.feed.client_rates", description="How fast the client library is.")
    parser.add_argument("--config", type=Path, default=DEFAULT)
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--orders", type=int, default=300)
    options = parser.parse_args(arguments)
    if options.rows < 10 * BATCH or options.orders < 100:
        raise AgentError("So few rows would measure nothing.", "--rows 30000 --orders 300")
    print(json.dumps(measure(load_config(options.config), options.rows, options.orders)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
