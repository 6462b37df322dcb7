"""What no unit test may depend on: the environment of whoever runs it."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Budgets are those of the catalogue, though they are multiplied for the lab's tests of the same run."""
    monkeypatch.delenv("DR_SLOW", raising=False)
