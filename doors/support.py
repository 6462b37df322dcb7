"""What every door shares: errors as a sentence with a hint, the lab's name, progress on the screen."""

from __future__ import annotations

import errno
import functools
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from invoke.exceptions import Exit

from inventories.errors import DrError, ExitCode
from runbooks.engine.signals import interruptible

if TYPE_CHECKING:
    from rich.console import Console

PIPED_COLUMNS = 160

P = ParamSpec("P")
R = TypeVar("R")
INVENTORY_HELP = "name of an inventory, or its path (default: $DR_INVENTORY, else lab)"
# Not a mistake of ours, hence a sentence and no traceback.
_MACHINE_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
_GENERAL_HINT = {ExitCode.BAD_INPUT: "./dr help TASK explains a task and its options"}
LAB_HELP = "name of the lab (default: $DR_LAB, else lab)"


def door(task: Callable[P, R]) -> Callable[P, R]:
    """Turn a DrError into ``sentence, HINT`` and its exit code, and resolve ``lab`` for a task that has it.

    Goes between invoke's ``@task`` and the function. A task's parameter ``lab`` arrives as the name, never
    empty, and ``DR_LAB`` is set to it for what the task starts.
    """

    @functools.wraps(task)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        if "lab" in kwargs:
            kwargs["lab"] = os.environ["DR_LAB"] = str(kwargs["lab"] or os.environ.get("DR_LAB") or "lab")
        try:
            with interruptible():  # what has to be undone is, however a task is ended
                return task(*args, **kwargs)
        except DrError as error:
            hint = error.hint or _GENERAL_HINT.get(error.exit_code, "./dr status shows what each host is")
            raise Exit(f"{error}\nHINT: {hint}", code=int(error.exit_code)) from error
        except OSError as error:
            if error.errno not in _MACHINE_TROUBLE:
                raise
            where = error.filename or "a file"
            raise Exit(f"{where}: {error.strerror}.\nHINT: Check its rights and df -h.", code=1) from error
        except KeyboardInterrupt:
            raise Exit("Interrupted.", code=int(ExitCode.INTERRUPTED)) from None

    return guarded


def utc(at: float) -> str:
    """A moment (unix seconds) for people, to the minute."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at))


def caller_path(path: str) -> Path:
    """A path as the operator meant it: ``./dr`` changes into the repository, they did not."""
    return Path(os.environ.get("DR_CALLER_CWD", ".")) / path


def screen(highlight: bool = True) -> Console:
    """Where tables are printed. A pipe or a file has no width, and none of rich's 80 columns that cut names short."""
    from rich.console import Console

    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if known else PIPED_COLUMNS, highlight=highlight)


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Give a function that says what goes on now: a spinner with seconds on a terminal, else plain lines.

    What was said before is left standing with the time it took. Everything goes to standard error.
    """
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    started = time.monotonic()
    current = ""
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )

    def finish() -> None:
        if current and console.is_terminal:
            console.print(f"  {current} [dim]{time.monotonic() - started:.1f} s[/dim]", highlight=False)

    def say(sentence: str) -> None:
        nonlocal current, started
        finish()
        current, started = sentence, time.monotonic()
        if console.is_terminal:
            for task in bar.task_ids:
                bar.remove_task(task)
            bar.add_task(sentence, total=None)
        else:
            console.print(sentence, highlight=False, soft_wrap=True)

    with bar if console.is_terminal else _nothing():
        yield say
    finish()


@contextmanager
def _nothing() -> Iterator[None]:
    yield
