"""Which record is evidence for which control of which standard: read from controls.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from drills.evidence.results import Kind, Told
from inventories.catalog.base import Entry, Label, contradiction
from inventories.catalog.load import load_model, load_recovery
from inventories.errors import BadInput

CONTROLS = Path(__file__).resolve().parent / "controls.yaml"


class Control(Entry):
    """What it asks in our words, and what answers it."""

    says: str
    promises: Annotated[list[Label], Field(min_length=1)] | Literal["all"] | None = None
    twins: bool = False

    @model_validator(mode="after")
    def _is_answered(self) -> Self:
        if self.promises is None and not self.twins:
            raise contradiction("promises", None, "nothing would be evidence for it", "Name promises, or twins: true.")
        return self

    def answered_by(self, told: Told) -> bool:
        """Whether this result is shown for it; what decides nothing, and a run of rounds as a whole, is not."""
        if told.twin:
            return self.twins and told.held is not None
        if not told.decides or told.kind is Kind.ROUNDS or self.promises is None:
            return False
        return self.promises == "all" or told.promise in self.promises


class Standard(Entry):
    title: str
    controls: Annotated[dict[str, Control], Field(min_length=1)]


class Standards(Entry):
    version: Literal[1]
    standards: Annotated[dict[Label, Standard], Field(min_length=1)]


@lru_cache(maxsize=4)
def load_standards(path: Path = CONTROLS) -> Mapping[str, Standard]:
    """Raises BadInput for a file that is none, or that speaks of a promise nobody makes."""
    found = load_model(path, Standards).standards
    promised = load_recovery().scenarios
    for name, standard in found.items():
        for number, control in standard.controls.items():
            for promise in control.promises if isinstance(control.promises, list) else ():
                if promise not in promised:
                    raise BadInput(
                        f"{path.name}: standards.{name}.controls.{number} speaks of {promise}, which nobody promises",
                        "correct it; the promises are scenarios in inventories/catalog/recovery.yaml",
                    )
    return found


def standard(name: str) -> Standard:
    """Raises BadInput naming those there are."""
    known = load_standards()
    if name not in known:
        raise BadInput(f"there is no standard {name!r}", f"--control {', '.join(known)}")
    return known[name]
