"""Bars in TDengine, where the newest event of a key wins: by the writer, by the outbox, by some other host."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from runbooks.probes import app
from runbooks.probes.tdengine import ground

TABLE = "market_data.minute_kline"
SETTINGS = "agent-tdengine.json"
MINUTE_NS = 60 * 10**9
_PYTHON = "cd /opt/mystocks-dr && exec python3 -c %s "
_READY = """
import json, sys, threading, time
from pathlib import Path
from agents.base.config import load_config, load_tables
from agents.writing.batch import encode
from agents.writing.outbox import Outbox
from agents.writing.writer import Writer
config = load_config(Path('/etc/mystocks-dr/agent-tdengine.json'))
tables = load_tables(config.tables)
outbox = Outbox(config.outbox.path, config.outbox.max_bytes)
def bar(ts, event, close, symbol):
    return (ts, event, 1.0, 1.0, 1.0, close, 100, None, symbol, '1m')
"""
_PUT = f"""{_READY}
way, ts, event, close, symbol = sys.argv[1:]
batch = encode(tables, {{'minute_kline': [bar(int(ts), int(event), close, symbol)]}})
if way == 'outbox':
    outbox.enqueue(batch, tables, 5)
elif way == 'client':
    from datetime import datetime, timezone
    from agents.client import Client
    at = datetime.fromtimestamp(int(ts) // 10**9, timezone.utc)
    names = tables['minute_kline'].column_names
    row = dict(zip(names, bar(at, 0, float(close), symbol)))
    del row['event_id']
    with Client.open() as client:
        print(client.write(client.prepare('minute_kline', [row], [int(event)])).by.value)
else:
    writer = Writer(config, tables, outbox, 5)
    print(writer.write(batch).by.value)
    writer.close()
"""
# Every round gives each bar a newer event, until standard input ends.
_CORRECT = f"""{_READY}
symbol, first, bars, event = sys.argv[1], *map(int, sys.argv[2:])
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
writer, acked, by = Writer(config, tables, outbox, 6), {{}}, {{}}
print('begun', flush=True)
while not stop.wait(0.5):
    rows = [bar(first + nth * {MINUTE_NS}, event + nth, 1.0, symbol) for nth in range(bars)]
    event += bars
    ack = writer.write(encode(tables, {{'minute_kline': rows}}))
    by[ack.by.value] = by.get(ack.by.value, 0) + 1
    acked = {{row[0]: row[1] for row in rows}}
writer.close()
print(json.dumps({{'acked': acked, 'by': by}}), flush=True)
"""


def put(estate: Estate, way: str, ts: int, event: int, close: object, symbol: str) -> str:
    """One bar by way of the `store`, the `outbox`, or a `client` that is told its event; who acknowledged."""
    said = estate.app.run(_PYTHON + "%s %s %s %s %s", _PUT, way, ts, event, close, symbol, user="mystocks", timeout=60)
    return said.text or "outbox"


# Two of these, told one moment to begin at, meet at each bar within milliseconds.
_MEET = f"""{_READY}
import random
from datetime import datetime, timezone
from agents.client import Client
begin, symbol, first, bars = float(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
names, found = tables['minute_kline'].column_names, {{}}
with Client.open() as client:
    for nth in range(-1, bars):
        time.sleep(max(0.0, begin + nth * 0.03 - time.time()) + random.random() * 0.002)
        ts = first + nth * {MINUTE_NS}
        row = dict(zip(names, bar(datetime.fromtimestamp(ts // 10**9, timezone.utc), 0, 1.0, symbol)))
        del row['event_id']
        ack = client.save('minute_kline', [row])
        found[ts] = [ack.event_ids[0], ack.by.value]
print(json.dumps(found), flush=True)
"""


def meetings(estate: Estate, symbol: str, first: int, bars: int) -> list[dict[int, tuple[int, str]]]:
    """Two programs of a host save the same bars at the same moments; nanosecond -> event id and who acknowledged."""
    words = (_MEET, str(time.time() + 5), symbol, str(first), str(bars))
    both = [estate.app.start(_PYTHON + "%s %s %s %s", *words, user="mystocks") for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in both]
    return [{int(ts): (one[0], one[1]) for ts, one in json.loads(text).items()} for text in said]


def another_host_puts(server: Host, ts: int, event: int, close: float, symbol: str) -> None:
    """A bar that neither this application host's shadow nor its outbox knows."""
    name = ground.ask(server, f"SELECT DISTINCT TBNAME AS t FROM {TABLE} WHERE symbol = '{symbol}'")
    table = f"market_data.`{name[0]['t']}`" if name else ""
    assert table, "a bar of this symbol is there already, so that both write one subtable"
    ground.ask(
        server,
        f"INSERT INTO {table} (ts, event_id, open, high, low, close, volume) VALUES "
        f"({ts}, {event}, 1, 1, 1, {close}, 100)",
    )  # fmt: skip


def events(server: Host, symbol: str) -> dict[int, int]:
    """Nanosecond -> event id of a symbol's bars."""
    rows = ground.ask(server, f"SELECT CAST(ts AS BIGINT) AS ts, event_id FROM {TABLE} WHERE symbol = '{symbol}'")
    return {int(str(row["ts"])): int(str(row["event_id"])) for row in rows}


def drained(estate: Estate, seconds: float = 60) -> None:
    until(
        lambda: app.outbox(estate.app, settings=SETTINGS), seconds, what="an empty outbox", accept=lambda box: not (
            box.pending_records
        ),
    )  # fmt: skip


def minutes(days_ago: int) -> int:
    """A whole hour so long ago, in nanoseconds."""
    return (time.time_ns() // (60 * MINUTE_NS) - 24 * days_ago) * 60 * MINUTE_NS


@dataclass
class Corrections:
    """What a host that corrects the same bars again and again was told at last: nanosecond -> event id."""

    acked: dict[int, int] = field(default_factory=dict)
    by: dict[str, int] = field(default_factory=dict)


@contextmanager
def corrected(estate: Estate, symbol: str, first: int, bars: int, event: int) -> Iterator[Corrections]:
    """Bars of a symbol are corrected while the block runs."""
    told = Corrections()
    words = (_CORRECT, symbol, first, bars, event)
    process = estate.app.start(_PYTHON + "%s %s %s %s", *words, user="mystocks")
    assert process.stdin is not None and process.stdout is not None
    try:
        assert process.stdout.readline().strip() == b"begun"
        yield told
    finally:
        process.stdin.close()
        said = process.stdout.read().decode()
        process.wait(30)
    last = json.loads(said.splitlines()[-1])
    told.acked = {int(ts): event for ts, event in last["acked"].items()}
    told.by = last["by"]
