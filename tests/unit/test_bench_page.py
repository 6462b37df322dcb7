"""What the benchmark of restores writes into a page, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from drills.benches.headline import Figure
from drills.benches.restore import MARK, page, write_page
from inventories.errors import BadInput

FIGURES = (
    Figure("bare: pgbackrest restore", "s", (6.04,)),
    Figure("restore-cluster", "s", (12.0,), 30),
    Figure("points reached", "", (20.0,), 20, at_least=True),
    Figure("restore-pitr", "s", (3.0, 9.0, 4.0)),
    Figure("rows lost", "rows", (0.0, 0.0), 0, every=True),
)


def test_each_figure_is_a_line_with_its_target_and_the_worst_of_several() -> None:
    assert page(FIGURES).splitlines()[2:] == [
        "| bare: pgbackrest restore | 6.0 s |  |",
        "| restore-cluster | 12.0 s | 30.0 s |",
        "| points reached | 20 | at least 20 |",
        "| restore-pitr | 4.0 s; 9.0 s at worst |  |",
        "| rows lost | 0 rows | 0 rows |",
    ]


def test_the_page_keeps_everything_outside_the_marks(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"before\n{MARK}\nold\n{MARK}\nafter\n")
    write_page(FIGURES, path)
    write_page(FIGURES, path)
    assert path.read_text() == f"before\n{MARK}\n{page(FIGURES)}{MARK}\nafter\n"


def test_a_page_without_its_marks_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("no marks\n")
    with pytest.raises(BadInput, match="two marks"):
        write_page(FIGURES, path)
    assert path.read_text() == "no marks\n"


def test_our_own_page_has_the_marks() -> None:
    assert (Path(__file__).resolve().parents[2] / "README.md").read_text().count(MARK) == 2
