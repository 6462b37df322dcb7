"""What the benchmarks write into a page, and how a table is known to be older than the code it measured."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from drills.benches import pages
from drills.benches.headline import Bench, Figure
from drills.benches.pages import PAGES, Page, code_hash, mark, outdated
from drills.measuring.fingerprint import Fingerprint
from inventories.errors import BadInput

ROOT = Path(__file__).resolve().parents[2]
FIGURES = (
    Figure("bare: pgbackrest restore", "s", (6.04,)),
    Figure("restore-cluster", "s", (12.0,), 30),
    Figure("points reached", "", (20.0,), 20, at_least=True),
    Figure("restore-pitr", "s", (3.0, 9.0, 4.0)),
    Figure("rows lost", "rows", (0.0, 0.0), 0, every=True),
    Figure("of taosdump's rate", "times", (1.404,), 0.8, at_least=True),
)
MARK = mark("restores")
CODE = '''
"""What it is."""

import os
from json import (
    dumps,
)

def take(n: int) -> str:
    """Take."""
    # why
    return dumps(n)
'''


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with one file of one layer."""
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "take.py").write_text(CODE)
    return tmp_path


TAKE = Page("./dr bench", ("agents/*take.py",))


def test_each_figure_is_a_line_with_its_target_and_the_worst_of_several() -> None:
    assert pages.table("restores", FIGURES).splitlines()[2:] == [
        "| bare: pgbackrest restore | 6.0 s |  |",
        "| restore-cluster | 12.0 s | 30.0 s |",
        "| points reached | 20 | at least 20 |",
        "| restore-pitr | 4.0 s; 9.0 s at worst |  |",
        "| rows lost | 0 rows | 0 rows |",
        "| of taosdump's rate | 1.40 times | at least 0.80 times |",
    ]


def test_a_page_says_when_and_on_what_it_was_measured() -> None:
    machine = Fingerprint(2, 23.4, "6.1", "podman 4.3.1")
    said = pages.page("restores", Bench(FIGURES, {"pgbackrest": "2.55.1"}), machine, "2026-11-27")
    assert said.startswith("| restores | measured | target |\n")
    assert said.endswith("\n\n2026-11-27, 2 cores, 23.4 GiB, podman 4.3.1; pgbackrest 2.55.1.\n")


def test_the_page_keeps_everything_outside_the_marks_and_says_which_code_was_measured(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"before\n{MARK}\nold\n{MARK}\nafter\n")
    pages.write(path, "restores", "table\n")
    pages.write(path, "restores", "table\n")
    said = f"<!-- code {code_hash(PAGES['restores'])} -->"
    assert path.read_text() == f"before\n{MARK}\n{said}\ntable\n{MARK}\nafter\n"


def test_a_page_without_its_marks_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("no marks\n")
    with pytest.raises(BadInput, match="two marks"):
        pages.write(path, "restores", "table\n")
    assert path.read_text() == "no marks\n"


def test_our_own_page_has_the_marks_of_every_table() -> None:
    text = (ROOT / "README.md").read_text()
    assert [name for name in PAGES if text.count(mark(name)) != 2] == []


@pytest.mark.parametrize("name", PAGES)
def test_each_pattern_of_a_table_finds_code(name: str) -> None:
    matched = pages.files(PAGES[name])
    assert [pattern for pattern, paths in matched.items() if not paths] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("What it is.", "What it really is."),
        ("import os\n", ""),
        ("from json import (\n    dumps,\n)", "from json import dumps"),
        ("    # why\n", "\n\n"),
        ('    """Take."""\n', '    """Take.\n\n    More.\n    """\n'),
    ],
)
def test_comments_docstrings_and_imports_are_not_what_was_measured(tree: Path, old: str, new: str) -> None:
    before = code_hash(TAKE, tree)
    assert old in CODE
    (tree / "agents" / "take.py").write_text(CODE.replace(old, new))
    assert code_hash(TAKE, tree) == before


def test_a_file_may_move_within_its_layer(tree: Path) -> None:
    before = code_hash(TAKE, tree)
    (tree / "agents" / "writing").mkdir()
    (tree / "agents" / "take.py").rename(tree / "agents" / "writing" / "take.py")
    assert code_hash(TAKE, tree) == before


def test_a_changed_statement_makes_other_code(tree: Path) -> None:
    before = code_hash(TAKE, tree)
    (tree / "agents" / "take.py").write_text(CODE.replace("dumps(n)", "dumps(n + 1)"))
    assert code_hash(TAKE, tree) != before


def test_what_decides_nothing_is_no_part_of_it(tree: Path) -> None:
    page = Page(TAKE.command, ("agents/*",), besides=("agents/probe.py",))
    before = code_hash(page, tree)
    (tree / "agents" / "probe.py").write_text("print(1)\n")
    assert code_hash(page, tree) == before
    (tree / "agents" / "other.py").write_text("print(1)\n")
    assert code_hash(page, tree) != before


def test_a_pattern_that_finds_nothing_is_told(tree: Path) -> None:
    with pytest.raises(BadInput, match=r"agents/\*gone\.py"):
        code_hash(Page("./dr bench", ("agents/*take.py", "agents/*gone.py")), tree)


def test_a_table_that_is_older_than_its_code_is_named_with_the_command(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGES", {"restores": TAKE})
    path = tree / "README.md"
    path.write_text(f"{MARK}\n{MARK}\n")
    assert outdated(path.read_text(), tree) == (
        "README.md: the table `restores` does not say which code it was measured with; `./dr bench` measures it again.",
    )
    pages.write(path, "restores", "table\n", tree)
    assert outdated(path.read_text(), tree) == ()
    (tree / "agents" / "take.py").write_text(textwrap.dedent(CODE) + "\nTAKEN = 1\n")
    (said,) = outdated(path.read_text(), tree)
    assert "the table `restores` was measured with other code than this; `./dr bench` measures it again." in said
    assert "is missing" in outdated("nothing", tree)[0]
