"""What every action, probe of evidence and gate is given: estate, options, voice, run folder, clock."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, SecretStr

from runbooks.engine.lock import Held, Owner


class Estate(Protocol):
    """The hosts a procedure acts on; the engine needs only the name, for lock and journal."""

    @property
    def name(self) -> str: ...


class Options(BaseModel):
    """What the operator said on the command line; a procedure subclasses it for switches of its own.

    `added_later` may be said to a run that is resumed although it was begun without: consent, and how much of it is
    done. Everything else says what is done, and to what; that cannot change half way. A field in `only_if_said` is set
    by its task only where the operator said it: the default's own value is a word of theirs, too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    added_later: ClassVar[frozenset[str]] = frozenset()
    only_if_said: ClassVar[frozenset[str]] = frozenset()

    yes: bool = False


E = TypeVar("E", bound=Estate)
O = TypeVar("O", bound=Options)  # noqa: E741 - a type variable, not a number


class Note(Protocol):
    """Puts on record what a step did beside its own action."""

    def __call__(self, what: str, **data: Any) -> None: ...


def _unrecorded(what: str, **data: Any) -> None:
    """Notes of a caller that keeps no journal."""


def _silent(_sentence: str) -> None:
    """The voice of a caller that listens to nothing."""


@dataclass
class Granted:
    """Seconds that a step spent on work which made progress all the while: they do not count against its budget."""

    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass(frozen=True)
class Context(Generic[E, O]):
    """One run's surroundings. `secrets` are masked in the journal, in errors and in everything said."""

    estate: E
    options: O
    run_dir: Path
    say: Callable[[str], None] = _silent
    clock: Callable[[], float] = time.monotonic
    note: Note = _unrecorded  # into the journal; the runner sets it for each step
    secrets: tuple[SecretStr, ...] = ()
    deadline: float | None = None  # on `clock`, without what is granted; the runner sets it for each step
    granted: Granted = field(default_factory=Granted)  # the runner begins anew with each step
    owner: Owner | None = None  # who is acting; the runner sets it while it holds the estate's lock
    held: Held | None = None  # that lock, likewise

    def remaining(self) -> float:
        """Seconds left of the step's budget, never negative; infinite outside a step."""
        return math.inf if self.deadline is None else max(0.0, self.deadline + self.granted.seconds - self.clock())
