"""Every kind of damage is reported by the right check, with its table, and by no other; the page says which."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.mutations import page
from tests.mutations.drawn import rounds
from tests.mutations.engine import Engine, engine
from tests.mutations.kinds import By, load, wrong

KINDS = load()
SAMPLE = (
    "sequence-reset", "key-not-enforced", "rule-that-swallows-rows", "table-emptied", "newest-rows-missing",
    "position-off-by-a-fill", "row-removed", "values-swapped-between-rows", "sign-flipped", "index-lacks-a-row",
    "write-that-the-disk-lost",
)  # fmt: skip
FEWEST = 40


@pytest.fixture(scope="module")
def server() -> Iterator[Engine]:
    with engine() as made:
        yield made


def test_rows_without_damage_are_reported_by_nothing(server: Engine) -> None:
    assert server.undamaged() == {}


@pytest.mark.parametrize(
    "name", [name if name in SAMPLE else pytest.param(name, marks=pytest.mark.long) for name in KINDS]
)
def test_damage_is_reported_by_the_right_check_and_no_other(server: Engine, name: str) -> None:
    assert wrong(KINDS[name], server.report(KINDS[name])) == []


@pytest.mark.parametrize(
    ("seed", "wanted"),
    [(20261128, 12), pytest.param(20261129, 1000, marks=(pytest.mark.long, pytest.mark.timeout(3600)))],
)
def test_damage_drawn_at_random_is_never_missed_and_no_sound_table_is_blamed(
    server: Engine, seed: int, wanted: int
) -> None:
    found = list(rounds(server, seed, wanted))
    assert sum(len(one.differ) for one in found) >= wanted
    assert [one for one in found if one.missed] == []
    assert [one for one in found if one.blamed] == []


def test_there_are_many_kinds_and_every_check_has_some() -> None:
    assert len(KINDS) >= FEWEST
    assert {by for kind in KINDS.values() for by in kind.told} == set(By)
    assert set(SAMPLE) <= set(KINDS)


def test_the_page_has_the_matrix_as_it_is() -> None:
    assert page.on_page() == page.body().strip(), "python -m tests.mutations.page writes it anew"
