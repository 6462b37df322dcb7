"""Which rows of a backup are wanted: tables, symbols, a span of time."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np

from agents.base.errors import AgentError
from agents.tdengine import instant
from agents.tdengine.backup.block import Array, Block
from agents.tdengine.backup.manifest import HOUR_NS, Manifest, Subtable, Window

EVER = 2**63 - 1


class BadRequest(AgentError):  # noqa: N818 - named after what is wrong, as in the rest of the agents
    """What was asked for is nothing that this backup or server can give."""

    exit_code = 2


@dataclass(frozen=True)
class Selection:
    """Empty `tables` or `symbols`: all of them. `start` and `end` in nanoseconds of unix time, the end exclusive."""

    tables: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    start: int = -EVER
    end: int = EVER

    @property
    def whole_hours(self) -> bool:
        """Whether the rows of an hour are wanted all or not at all."""
        return not self.symbols and (self.start, self.end) == (-EVER, EVER)

    def has_hour(self, hour: int) -> bool:
        """Whether any row of it may be wanted."""
        return hour * HOUR_NS < self.end and (hour + 1) * HOUR_NS > self.start

    def has(self, subtable: Subtable) -> bool:
        """Whether its rows may be wanted. A symbol is the first tag."""
        if self.tables and subtable.stable not in self.tables:
            return False
        return not self.symbols or (bool(subtable.tags) and str(subtable.tags[0]) in self.symbols)

    def rows(self, block: Block) -> Array:
        """bool[rows]: which of them lie in the span of time."""
        ts = block.words(0)
        return (ts >= np.int64(self.start)) & (ts < np.int64(self.end))

    def windows(self, manifest: Manifest) -> dict[str, dict[int, Window]]:
        """The manifest's hours that hold wanted rows. Raises BadRequest for what it does not have at all."""
        for name in self.tables:
            if name not in manifest.tables:
                known = ", ".join(sorted(manifest.tables))
                why = f": {manifest.left_out[name]}" if name in manifest.left_out else "."
                raise BadRequest(f"Backup {manifest.label} has no table {name}{why}", f"It has {known}.")
        known_symbols = {str(one.tags[0]) for one in manifest.subtables if one.tags}
        for symbol in self.symbols:
            if symbol not in known_symbols:
                raise BadRequest(
                    f"Backup {manifest.label} has no subtable of {symbol!r}.",
                    "A symbol is the first tag, such as 600000.",
                )
        found = {
            stable: {hour: window for hour, window in windows.items() if self.has_hour(hour)}
            for stable, windows in manifest.windows.items()
            if not self.tables or stable in self.tables
        }
        if not any(found.values()) and not (self.tables and self.whole_hours):  # a table without rows is one too
            raise BadRequest(f"Backup {manifest.label} holds no row of what was asked for.", _span(manifest))
        return found


def _span(manifest: Manifest) -> str:
    hours = [hour for windows in manifest.windows.values() for hour in windows]
    if not hours:
        return "It holds no row at all."
    first, last = (datetime.fromtimestamp(hour * 3600, timezone.utc) for hour in (min(hours), max(hours) + 1))
    return f"Its rows are from {first:%Y-%m-%dT%H:%MZ} to {last:%Y-%m-%dT%H:%MZ}."


def nanoseconds(text: str, unset: int) -> int:
    """A moment with its zone, such as 2026-11-21T10:00:00+08:00, in ns of unix time. Raises BadRequest."""
    if not text:
        return unset
    try:
        found = instant.nanoseconds(text)
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"{text!r} is no time: {error}.", "Write it as 2026-11-21T10:00:00+08:00.") from error
    if found is None:
        raise BadRequest(f"{text!r} has no time zone.", f"Write {text}+08:00, or {text}Z for UTC.")
    return found


def add_options(parser: argparse.ArgumentParser) -> None:
    """What a restore and a comparison are asked for alike."""
    parser.add_argument("--label", default="", help="the backup (default: the newest)")
    parser.add_argument("--into", default="", help="database (default: the backup's own)")
    parser.add_argument("--tables", default="", help="tables, with commas (default: all)")
    parser.add_argument("--symbols", default="", help="first tags, with commas (default: all)")
    parser.add_argument("--from", default="", help="from this time on, with its zone")
    parser.add_argument("--to", default="", help="up to and without this time")


def chosen(options: argparse.Namespace) -> Selection:
    """What these options select. Raises BadRequest."""
    start, end = nanoseconds(getattr(options, "from"), -EVER), nanoseconds(options.to, EVER)
    return Selection(names(options.tables), names(options.symbols), start, end)


def names(text: str) -> tuple[str, ...]:
    """A list with commas."""
    return tuple(dict.fromkeys(_words(text.split(","))))


def _words(parts: Iterable[str]) -> Iterable[str]:
    return (part.strip() for part in parts if part.strip())
