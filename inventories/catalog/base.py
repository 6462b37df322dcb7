"""What both files share: frozen models that refuse unknown keys, contradictions that name their place."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints
from pydantic_core import PydanticCustomError


class Entry(BaseModel):
    """A piece of the catalogue: read once, never changed, no key that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


# Lower case, so that quoting an identifier never changes its meaning; 63 bytes is PostgreSQL's limit.
Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Label = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*$")]

_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


def seconds(span: str) -> int:
    """`5s`, `15min`, `2h`, `30d`."""
    found = re.fullmatch(r"([0-9]+)([a-z]+)", span)
    assert found is not None  # the pattern of its type
    return int(found[1]) * _UNITS[found[2]]


def contradiction(at: str, value: object, why: str, hint: str) -> PydanticCustomError:
    """A mistake that no single value shows.

    `at` is the dotted path below the entry; `why` ends the sentence '<path> is <value>, but ...'.
    """
    # The message is built by load.py: PydanticCustomError would read braces in `why` as its own template.
    return PydanticCustomError(
        "contradiction", "contradiction", {"at": at, "value": value, "why": why, "hint": hint}
    )
