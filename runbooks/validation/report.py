"""What a validation says: a line for each check, one for each difference, and the sentence that ends it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from runbooks.validation.difference import Difference, Looked


@dataclass(frozen=True)
class Report:
    """`against` is what content was held against, empty without any; `samples`: milliseconds of each sample query.

    `note`: what was not done, and why.
    """

    store: str
    host: str
    level: str
    against: str
    tables: int
    checks: tuple[Looked, ...]
    seconds: float
    samples: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def differences(self) -> tuple[Difference, ...]:
        return tuple(one for check in self.checks for one in check.differences)

    @property
    def sound(self) -> bool:
        """A check that went over nothing has failed, and so has a validation without any."""
        return bool(self.checks) and all(check.sound for check in self.checks)

    @property
    def warns(self) -> str:
        """What will be wrong before long; empty where nothing will."""
        return "; ".join(check.warns for check in self.checks if check.warns)

    @property
    def brief(self) -> str:
        """One sentence; of differences the first."""
        more = f", the first: {self.differences[0]}" if self.differences else ""
        return f"{[*self.lines()][-1].rstrip('.')}{more}"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "sound": self.sound, "differences": [asdict(one) for one in self.differences]}

    def render(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        yield from map(str, self.differences)
        yield from map(str, self.checks)
        yield from (f"WARNING: {check.warns}." for check in self.checks if check.warns)
        if self.note:
            yield f"{self.note}."
        held = f" against {self.against}" if self.against else ""
        where = f"{self.tables} tables of {self.store} on {self.host}"
        if self.sound:
            unknown = ", ".join(check.check.value for check in self.checks if check.unknown)
            whole = f"Whole as far as anybody can tell ({unknown}: unknown)" if unknown else "Whole"
            yield f"{whole}: {where}, level {self.level}{held}, in {self.seconds:.1f} s."
        else:
            number = f"{len(self.differences):,} differences" if self.differences else "a check went over nothing"
            yield f"NOT whole: {number} in {where}, level {self.level}{held}, in {self.seconds:.1f} s."
