"""The demonstration: one drill, told as a story."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.tasks import task
from rich.console import Console
from rich.status import Status
from rich.text import Text

from doors.drills import exit_unless_passed
from doors.support import LAB_HELP, door, progress, screen

if TYPE_CHECKING:
    from drills.page.story import Cast

_COLUMNS = 80
_NARROW = 40  # a terminal of 0 columns is one that does not know, and must not end the drill
_CLOCK = 9  # the column of seconds before each line of the story


@task(help={"lab": LAB_HELP})
@door
def demo(c: Context, lab: str = "") -> None:
    """Pull the plug on a database and watch, in two minutes."""
    from drills import prepare
    from drills.gate import gate
    from drills.page import story
    from drills.run import Plan
    from drills.run import drill as run_drill
    from drills.scenarios import catalogue
    from lab import state
    from runbooks import hosts

    page = Page(screen(highlight=False))
    if not state.files(lab).lab_json.exists():
        page.line("There is no lab here yet. Making one takes some minutes, once; the story starts by itself then.")
    with progress() as say:
        prepare.estate(lab, say)
    estate = hosts.load("lab")
    primary, standby = gate(estate)
    cast = story.Cast(estate.app.name, primary.name, standby.name, estate.backup.name)
    plan = Plan()
    for paragraph in story.opening(cast, plan.rate):
        page.line(paragraph)
    with page.narrator(cast) as narrate:
        result, folder = run_drill(catalogue.scenario(story.SCENARIO), lab, narrate, plan)
    for sentence in story.ending(result, cast):
        page.line(sentence)
    if promises := story.promises(result):
        page.columns(promises)
    page.line(f"The page that proves it:\n{story.where(folder)}")
    page.columns(tuple((f"  {command}", says) for command, says in story.NEXT))
    exit_unless_passed(result, folder)


@dataclass
class Page:
    """The story on the screen: short lines, seconds since the fault in front, and what goes on now below."""

    console: Console
    began: float | None = None

    def __post_init__(self) -> None:
        if self.console.width < _NARROW:
            self.console.width = _NARROW

    def line(self, text: str) -> None:
        """A paragraph; a line that is a path stays whole."""
        for part in text.split("\n"):
            self._print(part if part.startswith("/") else textwrap.fill(part, self._width))
        self._print("")

    def event(self, text: str) -> None:
        """Something that happened, and when."""
        since = "" if self.began is None else f"{time.monotonic() - self.began:.1f} s"
        indent = " " * _CLOCK
        told = textwrap.fill(text, self._width, initial_indent=indent, subsequent_indent=indent)
        self._print(f"{since:>{_CLOCK - 2}}  {told[_CLOCK:]}")

    def columns(self, rows: tuple[tuple[str, ...], ...]) -> None:
        """Rows of words below each other; the last column takes as many lines as it needs."""
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
        for *words, last in rows:
            before = "".join(f"{word:<{width}}  " for word, width in zip(words, widths, strict=True))
            self._print(textwrap.fill(last, self._width, initial_indent=before, subsequent_indent=" " * len(before)))
        self._print("")

    @contextmanager
    def narrator(self, cast: Cast) -> Iterator[Callable[[str], None]]:
        """What the drill says, told: the story's words stay, its own are shown while they are true."""
        from drills.page import story

        with Status("", console=self.console) as now:

            def narrate(sentence: str) -> None:
                if story.is_fault(sentence):
                    self.began = time.monotonic()
                now.update(Text(textwrap.shorten(sentence, self._width - 4, placeholder=" ..."), style="dim"))
                if told := story.tell(sentence, cast):
                    self.event(told)

            yield narrate
        self._print("")

    @property
    def _width(self) -> int:
        return min(self.console.width, _COLUMNS)

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)


TOP_LEVEL = (demo,)
