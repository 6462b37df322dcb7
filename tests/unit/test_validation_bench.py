"""What `./dr bench --validation` asks a server is answered, and its figures are held to what was promised."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from drills.benches.validation import Asked, bench, figures, measure
from inventories.errors import BadInput
from tests.unit.postgres_server import Server
from tests.unit.validation_kit import Validated, validated


@pytest.fixture
def database(copying_server: Server) -> Iterator[Validated]:
    with validated(copying_server, 500) as made:
        yield made


def test_a_round_times_each_question_on_a_server(database: Validated) -> None:
    found = measure(database.asked)
    assert all(0 < seconds < 60 for seconds in (found.scan, found.bare, found.ours, found.rival, found.locating))


def test_ratios_are_of_one_round_and_held_to_their_targets() -> None:
    rounds = (Asked(0.1, 1.0, 1.2, 6.6, 0.03), Asked(0.1, 2.0, 3.2, 6.4, 0.04), Asked(0.1, 1.0, 1.4, 7.7, 0.7))
    met = {figure.name: (round(figure.median, 2), figure.met) for figure in figures(1000, rounds)}
    assert met["of the bare aggregate's time"] == (1.4, True)
    assert met["as fast as the md5"] == (5.5, True)
    assert met["one row that differs, located, of the hashes' time"] == (0.03, True)


@pytest.mark.parametrize(("rows", "rounds"), [(10, 5), (100_000, 0)])
def test_a_benchmark_of_nothing_is_bad_input(rows: int, rounds: int) -> None:
    with pytest.raises(BadInput, match="would measure nothing"):
        bench("nobodys", rows, rounds, lambda _: None)
