"""The shape of alarms.yaml: which figure raises an alarm, how bad it is, who is told, and when it is escalated."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from inventories.catalog.base import Entry, Identifier, Label, contradiction, seconds


class Severity(IntEnum):
    """How bad: the order decides who may sleep."""

    INFO = 0
    WARNING = 1
    CRITICAL = 2

    @property
    def word(self) -> str:
        return self.name.lower()


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:  # also for a name that is a path
        hint = "Give one of the tz database, such as Asia/Shanghai or UTC; the package tzdata has them."
        raise contradiction("", name, "nobody knows a time zone of that name", hint) from error
    return name


Span = Annotated[str, StringConstraints(pattern=r"^[0-9]+(s|min|h|d)$")]
Clock = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Word = Literal["info", "warning", "critical"]
Number = Annotated[float, Field(allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]


class Escalation(Entry):
    """Who is told besides, once it has fired for so long and nobody has acknowledged it."""

    after: Span
    to: Annotated[tuple[Label, ...], Field(min_length=1, strict=False)]

    @property
    def after_s(self) -> float:
        return seconds(self.after)


class Rule(Entry):
    """An alarm for each set of labels with which `figure` is beyond a bound.

    `where`: only with these labels; exactly one of `above`, `below` and `older_than` (of a moment). It fires after it
    was so `for` some time, and is resolved after it was not for `gone`. `says` may name labels, {value} and {age}; a
    figure with a sentence of its own needs none.
    """

    figure: Identifier
    where: Mapping[Identifier, str] = {}
    above: Number | None = None
    below: Number | None = None
    older_than: Span | None = None
    lasts: Annotated[Span, Field(alias="for")] = "0s"
    gone: Span = "30s"
    severity: Word
    to: Annotated[tuple[Label, ...], Field(min_length=1, strict=False)]
    escalate: Escalation | None = None
    says: str = ""
    hint: str = ""

    @property
    def level(self) -> Severity:
        return Severity[self.severity.upper()]

    @property
    def lasts_s(self) -> float:
        return seconds(self.lasts)

    @property
    def gone_s(self) -> float:
        return seconds(self.gone)

    def holds(self, value: float, now: float) -> bool:
        """Whether this value is beyond the bound; `now` in unix seconds."""
        if self.older_than is not None:
            return now - value > seconds(self.older_than)
        if self.above is not None:
            return value > self.above
        return self.below is not None and value < self.below

    @model_validator(mode="after")
    def _has_one_bound(self) -> Self:
        bounds = [name for name in ("above", "below", "older_than") if getattr(self, name) is not None]
        if len(bounds) != 1:
            hint = "Give one of above, below and older_than."
            raise contradiction("figure", self.figure, f"{' and '.join(bounds) or 'no bound'} is given for it", hint)
        return self


class Quiet(Entry):
    """Hours in which messages of less than `spares` wait for the end of them. `until` may be on the next day."""

    begins: Annotated[Clock, Field(alias="from")]
    until: Clock
    zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    spares: Word = "critical"

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.begins == self.until:
            hint = "Give another end, or take quiet out."
            raise contradiction("until", self.until, "it begins at the same time, so it would never end", hint)
        return self

    @property
    def level(self) -> Severity:
        return Severity[self.spares.upper()]


class Sending(Entry):
    """A channel has `try_s` for a message; after a failure it is tried again in `first_s`, then twice that, up to
    `most_s`, for ever.
    """

    try_s: Seconds = 20
    first_s: Seconds = 5
    most_s: Seconds = 300


class Alarms(Entry):
    """The whole of alarms.yaml. The first rule that fits and holds takes a figure: order them from worst to least.

    `every_s`: how often everything is looked at; `keep_days`: how long resolved ones are kept; `silent_s`: for how long
    an application host hears nothing of the host that alarms before it says so itself.
    """

    version: Literal[1]
    every_s: Seconds = 10
    silent_s: Seconds = 300
    keep_days: Annotated[int, Field(ge=1)] = 400
    quiet: Quiet | None = None
    sending: Sending = Sending()
    rules: Annotated[dict[Label, Rule], Field(min_length=1)]

    @property
    def recipients(self) -> tuple[str, ...]:
        """Whoever any rule tells, each once."""
        rules = self.rules.values()
        told = [*(rule.to for rule in rules), *(rule.escalate.to for rule in rules if rule.escalate)]
        return tuple(dict.fromkeys(name for names in told for name in names))
