"""What a figure is, and one reading of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

PREFIX = "mystocks_"


@dataclass(frozen=True)
class Figure:
    """One name. Moments are unix seconds, never ages. `only_while`: there only while it is so, as a finding is; any
    other one that is missing was not measured.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()
    only_while: bool = False

    @property
    def exported(self) -> str:
        return f"{PREFIX}{self.name}"


@dataclass(frozen=True)
class Sample:
    """One value. `says` and `hint`: a sentence and what to run, where whoever measured it knows them."""

    figure: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    says: str = ""
    hint: str = ""

    def fits(self, where: Mapping[str, str]) -> bool:
        return all(self.labels.get(name) == value for name, value in where.items())


@dataclass(frozen=True)
class Reading:
    """What was read at `at` (unix seconds). `read`: figures that were asked for, whether there was a value or not;
    `blind`: (figure, labels) of which nobody can tell this time.
    """

    at: float
    samples: tuple[Sample, ...] = ()
    read: frozenset[str] = frozenset()
    blind: tuple[tuple[str, Mapping[str, str]], ...] = ()

    def can_tell(self, figure: Figure, labels: Mapping[str, str]) -> bool:
        """Whether the absence of a sample with these labels says that it is not so any more."""
        if figure.name not in self.read or not figure.only_while:
            return False
        unseen = [where for name, where in self.blind if name == figure.name]
        return not any(all(labels.get(name) == value for name, value in where.items()) for where in unseen)


def together(at: float, readings: Iterable[Reading]) -> Reading:
    """Several readings as one, as of `at`."""
    all_of = tuple(readings)
    return Reading(
        at, tuple(one for reading in all_of for one in reading.samples),
        frozenset().union(*(reading.read for reading in all_of)),
        tuple(one for reading in all_of for one in reading.blind),
    )  # fmt: skip
