"""How much longer production's commits take beside a restore: the slowest of a hundred, over enough of them."""

from __future__ import annotations

import pytest

from drills.benches.beside import Commits, p99
from inventories.errors import VerificationFailed


def test_the_slowest_of_a_hundred_is_told_in_milliseconds() -> None:
    took = [1000 * n for n in range(1, 1001)]
    assert p99(list(reversed(took))) == 991.0
    assert Commits(8.0, 10.0, 20.0).times == 1.25


def test_too_few_commits_are_no_measure_and_none_is_none() -> None:
    for few in ([], [5] * 499):
        with pytest.raises(VerificationFailed, match="no measure"):
            p99(few)
