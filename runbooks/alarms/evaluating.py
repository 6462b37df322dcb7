"""Which rules hold for what was read; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from string import Formatter

from inventories.catalog.alarms import Alarms, Rule
from inventories.errors import BadInput
from runbooks.figures.kinds import Figure, Reading, Sample
from runbooks.figures.names import FIGURES
from runbooks.probes.durations import span

_VALUES = ("value", "age")
_LISTED = 6


@dataclass(frozen=True)
class Condition:
    """One thing that is so now: of this rule, about this subject (the labels in words)."""

    rule: str
    subject: str
    labels: Mapping[str, str]
    says: str
    hint: str


@dataclass(frozen=True)
class Seen:
    """`holding`: what is so. `quiet`: (rule, subject) of what was measured and is not so."""

    reading: Reading
    holding: tuple[Condition, ...]
    quiet: frozenset[tuple[str, str]]


def require_known(alarms: Alarms) -> None:
    """Raises BadInput for a rule that names a figure, a label or a word in a sentence that there is not."""
    for name, rule in alarms.rules.items():
        figure = FIGURES.get(rule.figure)
        at = f"inventories/catalog/alarms.yaml: rules.{name}"
        if figure is None:
            raise BadInput(f"{at}.figure is {rule.figure!r}, and nobody exports such a figure", _near(rule.figure))
        for label in rule.where:
            if label not in figure.labels:
                there = ", ".join(figure.labels) or "none"
                raise BadInput(f"{at}.where names {label!r}, and {figure.name} has no such label", f"it has {there}")
        words = {word for _, word, *_ in Formatter().parse(rule.says) if word is not None}
        for word in sorted(words - {*figure.labels, *_VALUES}):
            known = ", ".join((*figure.labels, *_VALUES))
            raise BadInput(f"{at}.says names {{{word}}}, which nobody fills in", f"there are {known}")


def _near(name: str) -> str:
    """Figures that begin or end alike, so that a misspelt one is found."""
    alike = [one for one in FIGURES if set(one.split("_")) & set(name.split("_"))] or list(FIGURES)
    return f"there are {', '.join(alike[:_LISTED])}, and all of runbooks/figures/names.py"


def evaluate(alarms: Alarms, reading: Reading) -> Seen:
    """A sample is the business of the first rule that fits it and holds."""
    holding: dict[tuple[str, str], Condition] = {}
    quiet: set[tuple[str, str]] = set()
    for sample in reading.samples:
        taken = False
        for name, rule in alarms.rules.items():
            if rule.figure != sample.figure or not sample.fits(rule.where):
                continue
            key = (name, subject(sample.labels))
            if not taken and rule.holds(sample.value, reading.at):
                holding[key] = Condition(*key, sample.labels, _says(rule, sample, reading.at), _hint(rule, sample))
                taken = True
            else:
                quiet.add(key)
    return Seen(reading, tuple(holding.values()), frozenset(quiet - holding.keys()))


def is_over(seen: Seen, rule: str, about: str, figure: str, labels: Mapping[str, str]) -> bool:
    """Whether an alarm that is not among what holds was seen not to be so; nobody knows otherwise."""
    known = FIGURES.get(figure)
    return (rule, about) in seen.quiet or (known is not None and seen.reading.can_tell(known, labels))


def subject(labels: Mapping[str, str]) -> str:
    """What an alarm is about, in words: `pg1`, `standbys, pg2 as a standby`; empty without labels."""
    return ", ".join(labels.values())


def _says(rule: Rule, sample: Sample, now: float) -> str:
    if rule.says:
        age = span(max(0.0, now - sample.value))
        return rule.says.format(**sample.labels, value=f"{sample.value:g}", age=age)
    if sample.says:
        return sample.says
    return f"{sample.figure}{_labels(FIGURES[sample.figure], sample)} is {sample.value:g}, {_bound(rule)}"


def _labels(figure: Figure, sample: Sample) -> str:
    told = [sample.labels[name] for name in figure.labels if name in sample.labels]
    return f" of {', '.join(told)}" if told else ""


def _bound(rule: Rule) -> str:
    if rule.older_than is not None:
        return f"older than {rule.older_than}"
    return f"above {rule.above:g}" if rule.above is not None else f"below {rule.below:g}"


def _hint(rule: Rule, sample: Sample) -> str:
    return rule.hint or sample.hint


def unread(alarms: Alarms, reading: Reading) -> Iterator[str]:
    """Rules of which nothing was asked here: they fire where their figures are, and nowhere else."""
    for name, rule in alarms.rules.items():
        if rule.figure not in reading.read:
            yield name
