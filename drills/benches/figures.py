"""The record of the gate: how many times as long as its yardstick each headline figure took when it was best.

`docs/figures.yaml` is written by `./dr bench --gate --record` and read by the gate. Pure: nothing is measured here.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from inventories.catalog.base import Entry, contradiction
from inventories.catalog.load import load_model, shown
from inventories.errors import BadInput

TOLERANCE = 1 / 3
_ROUNDED = 0.001  # medians are kept in milliseconds
_BY_HAND = "./dr bench --gate --record --reason TEXT writes a worse one; or restore the file from version control"


@dataclass(frozen=True)
class Headline:
    """One figure of the gate: what of ours is timed, and the bare thing that it is divided by."""

    name: str
    ours: str
    yardstick: str


HEADLINES: Mapping[str, Headline] = {
    one.name: one
    for one in (
        Headline(
            "store", "rows through the feed's synchronous path", "bare COPY and commit of as many rows, batch by batch"
        ),
        Headline("replay", "the outbox drained into the database", "one bare COPY a table of as many rows"),
        Headline("deploy", "a deploy that changes nothing", "50 bare SSH round trips a host, hosts side by side"),
        Headline("restore", "a backup restored beside the primary", "bare pgbackrest restore and start of the same"),
        Headline(
            "failover",
            "start of `failover` to the first row on the new primary",
            "bare pg_promote and reconnect on a server with PostgreSQL's own settings",
        ),
    )
}


@dataclass(frozen=True)
class Measured:
    """One figure as it was measured, in seconds. `why` says what went wrong; infinite where nothing came to its end."""

    name: str
    ours: tuple[float, ...]
    yardstick: tuple[float, ...]
    why: str = ""

    @property
    def ours_s(self) -> float:
        return statistics.median(self.ours)

    @property
    def yardstick_s(self) -> float:
        return statistics.median(self.yardstick)

    @property
    def times(self) -> float:
        """Medians are divided, not pairs: one slow run of either side then moves nothing."""
        return self.ours_s / self.yardstick_s


def _number(value: object) -> object:
    """YAML's `yes` is no 1.0, and a quoted number is a text."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PydanticCustomError("no_number", "input should be a number")
    return float(value)


Positive = Annotated[float, BeforeValidator(_number), Field(gt=0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]


class Worse(Entry):
    """A worse figure that was recorded all the same."""

    day: date
    was: Positive
    became: Positive
    reason: Text


class Reached(Entry):
    """One figure of the record: the ratio, the medians that it came from, when and on what."""

    times: Positive
    ours_s: Positive
    yardstick_s: Positive
    day: date
    versions: Text
    machine: Text
    size: str = ""
    worse: tuple[Worse, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _is_what_was_measured(self) -> Self:
        """A ratio that was written by hand, without its medians, would let anything pass and give no reason."""
        was = self.ours_s / self.yardstick_s
        if abs(self.times - was) > 0.01 * was + _ROUNDED * self.times / min(self.yardstick_s, self.ours_s):
            why = f"{self.ours_s:g} s of ours by {self.yardstick_s:g} s of the yardstick are {was:.3f}"
            raise contradiction("times", self.times, why, _BY_HAND)
        return self


class Record(Entry):
    """Every figure of the gate by name; `figures` has no other names."""

    version: Annotated[int, Field(ge=1, le=1)]
    figures: dict[str, Reached]


class Verdict(Enum):
    """How a measured figure stands to its record."""

    BETTER = "better"
    AS_BEFORE = "as before"
    WORSE = "worse"
    NEW = "new"


@dataclass(frozen=True)
class Judged:
    """A measured figure beside its record; `limit` is the ratio from which on it is worse."""

    measured: Measured
    reached: Reached | None
    tolerance: float

    @property
    def name(self) -> str:
        return self.measured.name

    @property
    def limit(self) -> float | None:
        return None if self.reached is None else self.reached.times * (1 + self.tolerance)

    @property
    def verdict(self) -> Verdict:
        if self.measured.why:
            return Verdict.WORSE  # whatever the record says
        if self.reached is None or self.limit is None:
            return Verdict.NEW
        if self.measured.times > self.limit:
            return Verdict.WORSE
        return Verdict.BETTER if self.measured.times < self.reached.times else Verdict.AS_BEFORE

    def sentence(self) -> str:
        """Both numbers, and what each of them is."""
        headline, times = HEADLINES[self.name], self.measured.times
        if not math.isfinite(times):
            return f"{self.name} {self.measured.why}"
        wrong = f", and {self.measured.why}" if self.measured.why else ""
        record = "none" if self.reached is None else f"{self.reached.times:.2f}, the limit {self.limit:.2f}"
        return (
            f"{self.name} takes {times:.2f} times as long as its yardstick, the record is {record} ({headline.ours}: "
            f"{self.measured.ours_s:.2f} s; {headline.yardstick}: {self.measured.yardstick_s:.2f} s){wrong}"
        )


def load(path: Path) -> Record:
    """Raises BadInput: one sentence with file, path and value."""
    record = load_model(path, Record)
    unknown = [name for name in record.figures if name not in HEADLINES]
    if unknown:
        raise BadInput(
            f"{shown(path)}: figures.{unknown[0]} is no figure of the gate", f"the figures are {', '.join(HEADLINES)}"
        )
    return record


def chosen(names: str) -> tuple[str, ...]:
    """`failover,store` as names in the gate's own order; nothing means all. Raises BadInput."""
    asked = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in asked if name not in HEADLINES]
    if unknown:
        raise BadInput(f"the gate has no figure {unknown[0]!r}", f"its figures are {', '.join(HEADLINES)}")
    return tuple(name for name in HEADLINES if not asked or name in asked)


def require(record: Record, names: Collection[str], path: Path) -> None:
    """Raises BadInput for a figure that has no record to be held to."""
    for name in names:
        if name not in record.figures:
            raise BadInput(
                f"{shown(path)}: figures.{name} is missing, so there is nothing to hold it to",
                f"./dr bench --gate --figures {name} --record writes it, or restore the file from version control",
            )


def judge(measured: Sequence[Measured], record: Record, tolerance: float) -> tuple[Judged, ...]:
    return tuple(Judged(one, record.figures.get(one.name), tolerance) for one in measured)


def recorded(
    record: Record, judged: Sequence[Judged], day: date, versions: str, machine: str, sizes: Mapping[str, str],
    reason: str = "",
) -> Record:  # fmt: skip
    """The record with what is better or new; with a `reason` also what is worse, and the reason with it."""
    figures = dict(record.figures)
    for one in judged:
        measured, before = one.measured, one.reached
        if measured.why or (before and measured.times >= before.times and not reason):
            continue
        worse = before.worse if before else ()
        if before and measured.times > before.times:
            worse = (*worse, Worse(day=day, was=before.times, became=round(measured.times, 3), reason=reason))
        figures[one.name] = Reached(
            times=round(measured.times, 3), ours_s=round(measured.ours_s, 3),
            yardstick_s=round(measured.yardstick_s, 3), day=day, versions=versions, machine=machine,
            size=sizes.get(one.name, ""), worse=worse,
        )  # fmt: skip
    ordered = {name: figures[name] for name in HEADLINES if name in figures}
    return Record(version=1, figures=ordered)


_HEAD = """\
# What the headline figures reached, each as a ratio to a yardstick of the same run; larger is worse.
# Written by ./dr bench --gate --record, held by ./dr bench --gate. A worse ratio is kept with its reason only.
"""


class _Plain(yaml.SafeDumper):
    """Says a date that comes twice twice, where YAML would refer to the first one."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def write(record: Record, path: Path) -> None:
    document = record.model_dump(exclude_defaults=True)
    text = yaml.dump(document, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=110)
    path.write_text(_HEAD + text, encoding="utf-8")


def table(record: Record) -> str:
    """The record as a Markdown table."""
    lines = ["| figure | ours | its yardstick | ratio | recorded |", "|---|---|---|---|---|"]
    for name, one in record.figures.items():
        headline = HEADLINES[name]
        size = f" ({one.size})" if one.size else ""
        lines.append(
            f"| {name} | {headline.ours}{size}: {one.ours_s:.2f} s | {headline.yardstick}: {one.yardstick_s:.2f} s "
            f"| {one.times:.2f} | {one.day:%Y-%m-%d} |"
        )
    return "\n".join(lines) + "\n"
