"""The last word of a procedure of TDengine: its hosts against their specification."""

from __future__ import annotations

from typing import Any

from runbooks.engine.step import Evidence, Step
from runbooks.hosts import Run
from runbooks.procedures import checks

SPECIFICATIONS = ("test_tdengine.py",)


def specified(context: Run, state: Any) -> None:
    checks.passed(context, SPECIFICATIONS, "verify-tdengine.xml")


VERIFY: Step[Any] = Step(
    name="verify", role="TDengine hosts", budget="verify", action=lambda context, state: state,
    says="Check every TDengine host against its specification, in a fresh process.",
    evidence=Evidence("every testinfra check of TDengine passed", specified),
    commands=("./dr verify",),
)  # fmt: skip
