"""What a runbook expects of the estate where it is not whole; the specifications of tests/verify read it.

It travels as JSON in DR_VERIFY_EXPECT, because specifications run in a process of their own. Without it the estate
is expected to be whole: one primary, every other PostgreSQL host its synchronous standby.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, ValidationError

from inventories.errors import BadInput

VARIABLE = "DR_VERIFY_EXPECT"


class Expected(BaseModel):
    """`primary`: who must be it. `fenced`: hosts whose PostgreSQL must be down and stay down. `off`: hosts that cannot
    be looked at, fenced or not. `degraded`: no standby streams and commits wait for nobody.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    primary: str | None = None
    fenced: tuple[str, ...] = ()
    off: tuple[str, ...] = ()
    degraded: bool = False

    @property
    def named(self) -> frozenset[str]:
        return frozenset([*self.fenced, *self.off, *([self.primary] if self.primary else [])])

    def env(self) -> dict[str, str]:
        """For the process that runs the specifications."""
        return {VARIABLE: self.model_dump_json()}


WHOLE = Expected()


def from_environment(environment: Mapping[str, str] = os.environ) -> Expected:
    """What DR_VERIFY_EXPECT says, the whole estate without it. Raises BadInput."""
    text = environment.get(VARIABLE, "").strip()
    if not text:
        return WHOLE
    try:
        return Expected.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = f"{where}: {first['msg']}" if where else first["msg"]
        example = '{"primary": "pg2", "fenced": ["pg1"], "off": ["pg1"], "degraded": true}'
        raise BadInput(
            f"{VARIABLE} is {text[:120]!r}, which cannot be right: {reason}", f"write it like {example}"
        ) from error
