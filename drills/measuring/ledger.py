"""Keep what the feed said it had acknowledged: stamped on arrival, on disk before it counts, outside the
estate that is being broken.

Two threads: one reads the pipe and stamps, so that a slow disk never makes a gap look longer; one writes,
fsyncs and only then counts. Whatever arrives during an fsync shares the next one.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Self

from drills.measuring.events import Event, Malformed, parse_line
from drills.measuring.ranges import RangeSet
from drills.measuring.tally import LedgerView, tally
from inventories.errors import BadInput, TargetFailed, TimedOut

_CHUNK = 1 << 16
_Stamped = tuple[float, str]


class Ledger:
    """The live ledger of one feed.

    `Ledger(path, process.stdout)`, then `view()`, `wait_for()` and `acked_ids()` from any thread. A path that holds a
    ledger already is gone on with: one run of a feed whose first process died.
    """

    def __init__(self, path: Path, source: IO[bytes], *, clock: Callable[[], float] = time.monotonic) -> None:
        """Start reading `source`: a pipe, by its descriptor, so nothing may have been read from it before."""
        self._clock = clock
        self.path = path
        before = read_ledger(path) if path.exists() else ()
        self._file = path.open("ab")
        self._queue: SimpleQueue[_Stamped | None] = SimpleQueue()
        self._changed = threading.Condition()
        self._tally = tally(before)
        self._trouble = ""
        self._source = source
        if before:
            self._tally.again()
        else:
            self._keep([_clock_line(clock())])
        self._threads = [
            threading.Thread(target=self._stamp, name="ledger-stamp", daemon=True),
            threading.Thread(target=self._keep_all, name="ledger-keep", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def view(self) -> LedgerView:
        """What is safely on disk so far; TargetFailed when the ledger itself could not be written."""
        with self._changed:
            self._complain()
            return self._tally.view

    def acked_ids(self) -> dict[str, RangeSet]:
        """Acknowledged sequence numbers by table, whoever acknowledged them: a copy of the caller's own."""
        with self._changed:
            self._complain()
            return {table: ids.copy() for table, ids in self._tally.acked.items()}

    def replayed_ids(self) -> dict[str, RangeSet]:
        with self._changed:
            self._complain()
            return {table: ids.copy() for table, ids in self._tally.replayed.items()}

    def wait_for(self, enough: Callable[[LedgerView], bool], seconds: float, what: str) -> LedgerView:
        """Give the first view that is enough, woken by the ledger and not by polling.

        TimedOut says `what` was waited for in vain.
        """
        with self._changed:
            self._changed.wait_for(lambda: bool(self._trouble) or enough(self._tally.view), seconds)
            self._complain()
            if enough(self._tally.view):
                return self._tally.view
            view = self._tally.view
        raise TimedOut(
            f"Waited {seconds:g} s for {what}; the feed is {view.feed}, {view.acked:,} rows acknowledged.",
            hint="ledger.jsonl holds what the feed said.",
        )

    def close(self, seconds: float = 10.0) -> None:
        """Wait for the feed's pipe to end and for the last line to be on disk; end the feed first.

        TimedOut when the pipe stays open.
        """
        for thread in self._threads:
            thread.join(seconds)
        if any(thread.is_alive() for thread in self._threads):
            raise TimedOut(
                f"The feed's output is still open after {seconds:g} s.",
                hint="End the feed before closing its ledger.",
            )
        self._file.close()

    def _stamp(self) -> None:
        rest = b""
        try:
            while chunk := os.read(self._source.fileno(), _CHUNK):
                at = self._clock()
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._queue.put((at, line.decode(errors="replace")))
        except (OSError, ValueError) as error:  # a pipe closed under us is the end of the feed
            self._queue.put((self._clock(), f"reading stopped: {error}"))
        if rest:  # torn off by a death; a whole object without its newline still parses and counts
            self._queue.put((self._clock(), rest.decode(errors="replace")))
        self._queue.put((self._clock(), json.dumps({"kind": "eof"})))
        self._queue.put(None)

    def _keep_all(self) -> None:
        ended = False
        while not ended:
            batch = [self._queue.get(), *_waiting(self._queue)]
            ended = batch[-1] is None
            try:
                self._keep([stamped for stamped in batch if stamped is not None and stamped[1].strip()])
            except OSError as error:
                with self._changed:
                    self._trouble = f"The ledger cannot be written: {error.strerror or error}."
                    self._changed.notify_all()
                return

    def _keep(self, batch: list[_Stamped]) -> None:
        events = [parse_line(text, at) for at, text in batch]
        self._file.write(
            b"".join(_record(text, event) for (_, text), event in zip(batch, events, strict=True))
        )
        self._file.flush()
        os.fsync(self._file.fileno())
        with self._changed:
            for event in events:
                self._tally.take(event)
            self._changed.notify_all()

    def _complain(self) -> None:
        if self._trouble:
            raise TargetFailed(
                self._trouble,
                hint="Free space for the runs folder; rows that did not reach the ledger prove nothing.",
            )


def read_ledger(path: Path) -> tuple[Event, ...]:
    """The events of a ledger file, in order; a torn last line is Malformed, a missing file is BadInput."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise BadInput(f"There is no ledger at {path}.") from None
    return tuple(_events(text))


def _events(text: str) -> Iterator[Event]:
    last_seen = 0.0
    for line in filter(str.strip, text.split("\n")):
        at = _at(line)
        last_seen = last_seen if at is None else at
        yield parse_line(line, last_seen)


def _at(line: str) -> float | None:
    try:
        at = json.loads(line)["at"]
    except (ValueError, TypeError, KeyError):
        return None
    return float(at) if isinstance(at, int | float) else None


def _record(text: str, event: Event) -> bytes:
    said = (
        {"kind": "malformed", "text": event.text, "why": event.why}
        if isinstance(event, Malformed)
        else json.loads(text)
    )
    at = {"at": round(event.at, 6)}  # named twice: it comes first, and the feed cannot set it
    return json.dumps(at | said | at, separators=(",", ":")).encode() + b"\n"


def _clock_line(at: float) -> _Stamped:
    return at, json.dumps({"kind": "clock", "wall": datetime.now(UTC).isoformat(timespec="milliseconds")})


def _waiting(queue: SimpleQueue[_Stamped | None]) -> Iterator[_Stamped | None]:
    while True:
        try:
            yield queue.get_nowait()
        except Empty:
            return
