"""What `./dr drill` shows while it runs, on standard error: bars on a terminal, elsewhere each sentence on a line.

One thread does all of the writing, so that no drill waits for a terminal, not even for one that stands still, and
whatever goes wrong with it ends none.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TextIO

from rich.console import Console

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from drills.live.course import Writer
    from drills.live.snapshot import Rows, Snapshot
    from drills.stage import Stage

EVERY_S = 0.3  # costs what a spinner does that turns ten times a second
_BAR, _NAMES = 20, 10  # columns
_CLOSES_S = 2.0


@dataclass
class Shown:
    """`say` and `begun` are for the drill, and return at once."""

    _said: SimpleQueue[tuple[float, str]] = field(default_factory=SimpleQueue)
    _look: Callable[[], Snapshot | None] = lambda: None
    _current: tuple[float, str] = (0.0, "")

    def say(self, sentence: str) -> None:
        self._said.put((time.monotonic(), sentence))

    def begun(self, stage: Stage, writer: Writer) -> None:
        from drills.live.own import Own

        self._look = Own(stage, writer).look

    def turn(self, console: Console) -> RenderableType | None:
        """Print what is over, and give what is true now; None where nothing is drawn over."""
        for at, sentence in _waiting(self._said):
            self._finish(console, at)
            self._current = (at, sentence)
            if not console.is_terminal:
                console.print(sentence, markup=False, highlight=False, soft_wrap=True)
        return drawn(self._look(), *self._current) if console.is_terminal and self._current[1] else None

    def finish(self, console: Console) -> None:
        self._finish(console, time.monotonic())

    def _finish(self, console: Console, at: float) -> None:
        from rich.text import Text

        began, sentence = self._current
        if sentence and console.is_terminal:
            console.print(Text.assemble(f"  {sentence} ", (f"{at - began:.1f} s", "dim")))


class _Screen(Console):
    def on_broken_pipe(self) -> None:
        """Rich would take standard output, and so the result, from a drill that nobody listens to any more."""
        self.quiet = True


def _own(stream: TextIO) -> AbstractContextManager[TextIO]:
    """The stream by a file of its own: a thread that cannot write holds no lock that Python waits for at its end."""
    try:
        return os.fdopen(os.dup(stream.fileno()), "w", encoding=stream.encoding, errors="replace")
    except (OSError, ValueError):  # it is closed, or is no file
        return nullcontext(stream)


@contextmanager
def drilling() -> Iterator[Shown]:
    """Show what a drill says, and how far it is from `begun` on."""
    shown, over = Shown(), threading.Event()
    thread = threading.Thread(target=_show, args=(sys.stderr, shown, over), name="screen", daemon=True)
    thread.start()
    try:
        yield shown
    finally:
        over.set()
        thread.join(_CLOSES_S)


def _show(stream: TextIO, shown: Shown, over: threading.Event) -> None:
    with suppress(OSError, ValueError), _own(stream) as file:  # a terminal that is gone, or closed, hears nothing
        console = _Screen(file=file)
        with _drawn_over(console) as update:
            last = False
            while not last:
                last = over.wait(EVERY_S)
                with suppress(Exception):  # what cannot be shown is not: the drill says by itself what is wrong with it
                    if now := shown.turn(console):
                        update(now)
        shown.finish(console)


@contextmanager
def _drawn_over(console: Console) -> Iterator[Callable[[RenderableType], None]]:
    """Give what draws over what it drew before, on a terminal alone; what it drew goes at the end."""
    from rich.live import Live

    if not console.is_terminal:
        yield lambda now: None
        return
    with Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False) as drawn_over:
        yield lambda now: drawn_over.update(now, refresh=True)


def drawn(seen: Snapshot | None, began: float, sentence: str) -> RenderableType:
    """On a terminal: the sentence of the moment, and below it the bars."""
    from rich.console import Group
    from rich.spinner import Spinner
    from rich.text import Text

    now = time.monotonic()
    spinner = Spinner("dots", Text.assemble(f"{sentence} ", (f"{now - began:.1f} s", "dim")))
    spinner.start_time = 0.0  # one that is made anew would stand still
    return Group(spinner, _bars(seen)) if seen else spinner


def _bars(seen: Snapshot) -> Table:
    from rich.progress_bar import ProgressBar
    from rich.table import Column, Table
    from rich.text import Text

    columns = (Column(min_width=_NAMES), Column(min_width=_BAR), Column(no_wrap=True))
    table = Table(*columns, box=None, show_header=False, padding=(0, 1, 0, 1))
    whole = ProgressBar(1.0, seen.share or 0.0, _BAR, pulse=seen.share is None, animation_time=time.monotonic())
    table.add_row("drill", whole, Text.assemble((seen.phase, "bold"), f"; {_left(seen)}"))
    for one in seen.rows:
        table.add_row(one.store, _share(one), _rows(one))
    if seen.since_fault_s is not None:
        table.add_row("fault", "", Text.assemble((_seconds(seen.since_fault_s), "bold"), " ago"))
    return table


def _share(one: Rows) -> RenderableType:
    """Who acknowledged: the store's part of the rows, then the outbox's, in signs that need no colour."""
    from rich.text import Text

    total = one.by_store + one.by_outbox
    boxes = max(round(_BAR * one.by_outbox / total), 1) if one.by_outbox else 0
    return Text.assemble(("━" * (_BAR - boxes), "green"), ("┅" * boxes, "yellow"))


def _rows(one: Rows) -> str:
    wait = f", {one.waiting:,} wait" if one.waiting else ""
    return f"{one.by_store:,} by store, {one.by_outbox:,} by outbox{wait}"


def _left(seen: Snapshot) -> str:
    if seen.left_s is None:
        return "how long is unknown"  # it never passed here
    return f"about {_seconds(round(seen.left_s))} left" if seen.left_s >= 1 else "longer than the last time"


def _seconds(value: float) -> str:
    """A whole number as it is; else to the tenth, and of what takes minutes to the second."""
    minutes, rest = divmod(round(value), 60)
    told = f"{value} s" if isinstance(value, int) else f"{value:.1f} s"
    return told if value < 60 else f"{minutes} min {rest:02d} s"


def _waiting(said: SimpleQueue[tuple[float, str]]) -> Iterator[tuple[float, str]]:
    with suppress(Empty):
        while True:
            yield said.get_nowait()
