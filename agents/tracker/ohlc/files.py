"""Daily bars from files: CSV with a header, JSON (a list, or an object with `data`), JSON lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from agents.base.errors import AgentError
from agents.tracker.ohlc.bars import Bar, NoBar, bar

_HINT = "Nothing of the file was kept: correct it, then repeat."


class BadFile(AgentError):  # noqa: N818 - named after what is wrong
    """A file that holds no daily bars, or a row that is none."""

    exit_code = 2


def bars(path: Path) -> list[Bar]:
    """All of a file, each day of a symbol once. Raises BadFile naming the row."""
    try:
        rows = list(_rows(path))
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror}.", "Name a file that is there.") from error
    except UnicodeDecodeError as error:
        raise BadFile(f"{path} is not UTF-8 at byte {error.start}.", "Save it as UTF-8.") from error
    except (ValueError, RecursionError, csv.Error) as error:
        raise BadFile(f"{path} cannot be read: {error}.", _HINT) from error
    found: dict[tuple[str, object], tuple[int, Bar]] = {}
    for number, raw in rows:
        try:
            one = bar(raw)
        except NoBar as why:
            raise BadFile(f"{path}, row {number} is no daily bar: {why}.", _HINT) from why
        before = found.setdefault((one.symbol, one.date), (number, one))
        if before[1] != one:
            both = f"rows {before[0]} and {number}"
            raise BadFile(f"{path} has {one.symbol} of {one.date} in {both}, differently.", _HINT)
    if not found:
        raise BadFile(f"{path} holds no row.", "A CSV has a header: symbol,date,open,high,low,close,volume.")
    return [one for _, one in found.values()]


def _rows(path: Path) -> Iterator[tuple[int, object]]:
    """Rows with their numbers: lines of a CSV or of JSON lines, else from 1."""
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix == ".csv":
        reader = csv.DictReader(text.splitlines(), strict=True)
        for row in reader:
            if None in row or None in row.values():
                raise ValueError(f"line {reader.line_num} has not as many values as the header")
            yield reader.line_num, row
    elif path.suffix in (".jsonl", ".ndjson"):
        yield from ((number, _json(line)) for number, line in enumerate(text.splitlines(), 1) if line.strip())
    elif path.suffix == ".json":
        yield from enumerate(_list(_json(text)), 1)
    else:
        raise ValueError(f"{path.suffix or 'a name without an ending'} is none of .csv, .json, .jsonl")


def _json(text: str) -> object:
    return json.loads(text, parse_float=str)  # a float would round a price


def _list(said: object) -> Iterable[object]:
    rows = said.get("data") if isinstance(said, dict) else said
    if not isinstance(rows, list):
        raise ValueError("it is no list of rows")
    return rows
