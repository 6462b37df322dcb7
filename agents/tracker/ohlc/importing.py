"""Import daily bars through the client: acknowledged rows are in the store, or in the outbox of this host.

    python3 -m agents.tracker.ohlc.importing rest --url URL --symbols VN30 --from 2016-01-01 [--to 2026-11-27]
        [--token-file FILE] [--page-size 100] [--again]
    python3 -m agents.tracker.ohlc.importing files FILE...

Prints one JSON object. Repeating it leaves the same rows: a bar's key is its symbol and day. An import that was broken
off goes on behind the years that are whole (--again asks for all of them); this year's are asked for each time.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from agents.base.errors import AgentError, BadConfig, run
from agents.client import Client
from agents.tracker.batches import DEFAULT
from agents.tracker.history.questions import ZONE, a_day
from agents.tracker.market import VN30
from agents.tracker.ohlc import files, progress
from agents.tracker.ohlc.bars import SYMBOL, Bar
from agents.tracker.ohlc.progress import Progress
from agents.tracker.ohlc.source import PAGE_SIZE, Range, Source
from agents.tracker.ohlc.web import Web
from agents.tracker.rows import DAILY


@dataclass
class Done:
    """Rows that were acknowledged, ranges they came in, and ranges that were there already."""

    rows: int = 0
    ranges: int = 0
    skipped: int = 0


def save(client: Client, bars: Sequence[Bar]) -> int:
    """All of them. Raises AgentError: a row is refused, or neither store nor outbox takes them."""
    if not bars:
        return 0
    ack = client.save(DAILY, [one.row() for one in bars])
    if not ack.complete:
        why = ack.refused[0]
        one = bars[why.row]
        raise AgentError(f"{one.symbol} of {one.date} is not taken: {why.column} {why.reason}.", "Correct its source.")
    return len(bars)


def from_source(
    client: Client, source: Source, wanted: Sequence[Range], noted: Progress, today: date, again: bool = False
) -> Iterator[Done]:
    """Range by range, each whole or not at all; what was imported so far. Raises AgentError."""
    done = Done()
    for one in wanted:
        if noted.has(source.url, one) and not again:
            done.skipped += 1
            continue
        rows = save(client, source.bars(one))
        done.rows += rows
        done.ranges += 1
        if one.last < today:  # of today the bar is not the last word
            noted.note(source.url, one, rows)
        yield done
    yield done


def from_files(client: Client, paths: Sequence[Path]) -> Done:
    """Every file is read and checked before a row of any is saved. Raises AgentError."""
    read = [files.bars(path) for path in paths]
    return Done(sum(save(client, one) for one in read), len(read))


def ranges(symbols: Sequence[str], first: date, last: date) -> list[Range]:
    """A year of one symbol at a time."""
    return [
        Range(symbol, max(first, date(year, 1, 1)), min(last, date(year, 12, 31)))
        for symbol in symbols for year in range(first.year, last.year + 1)
    ]  # fmt: skip


def symbols_of(text: str) -> tuple[str, ...]:
    """Raises BadConfig."""
    names = VN30 if text.upper() == "VN30" else tuple(one.strip().upper() for one in text.split(",") if one.strip())
    wrong = [one for one in names if not SYMBOL.fullmatch(one)]
    if wrong or not names:
        raise BadConfig(f"{wrong[0] if wrong else text!r} is no symbol.", "Give VN30, or symbols: VCB,HPG.")
    return tuple(dict.fromkeys(names))


def day(text: str, word: str) -> date:
    """Raises BadConfig."""
    if found := a_day(text):
        return found
    raise BadConfig(f"{word} {text!r} is no day.", "Write it as 2026-11-27.")


def _rest(options: argparse.Namespace, client: Client, stop: threading.Event) -> Done:
    today = datetime.now(ZONE).date()
    first, last = day(options.first, "--from"), day(options.last, "--to") if options.last else today
    if first > last:
        raise BadConfig(f"--from {first} is after --to {last}.", "Exchange them.")
    if not 1 <= options.page_size <= 1000:
        raise BadConfig(f"--page-size is {options.page_size}.", "It is 1 to 1000.")
    source = Source(Web(options.url, options.token_file, stop), options.page_size)
    wanted = ranges(symbols_of(options.symbols), first, min(last, today))
    done = Done()
    for done in from_source(client, source, wanted, Progress(options.progress), today, options.again):
        if stop.is_set():
            raise Stopped("The import was stopped.", f"{done.ranges} ranges are whole; repeat it to go on.")
    return done


class Stopped(AgentError):  # noqa: N818 - what happened
    """By a signal, between two ranges."""

    exit_code = 4


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agents.tracker.ohlc.importing", description="Import daily bars.")
    parser.add_argument("--config", type=Path, default=DEFAULT)
    kinds = parser.add_subparsers(dest="kind", required=True)
    rest = kinds.add_parser("rest")
    rest.add_argument("--url", required=True)
    rest.add_argument("--symbols", default="VN30")
    rest.add_argument("--from", dest="first", required=True)
    rest.add_argument("--to", dest="last", default="")
    rest.add_argument("--token-file", type=Path)
    rest.add_argument("--page-size", type=int, default=PAGE_SIZE)
    rest.add_argument("--progress", type=Path, default=progress.DEFAULT)
    rest.add_argument("--again", action="store_true")
    kinds.add_parser("files").add_argument("paths", type=Path, nargs="+")
    options = parser.parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Client.open([options.config], pool=1) as client:
        done = _rest(options, client, stop) if options.kind == "rest" else from_files(client, options.paths)
    said: dict[str, Any] = {"rows": done.rows, "ranges": done.ranges, "skipped": done.skipped}
    print(json.dumps(said), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
