"""The paper runbooks that are committed are those of the steps that run."""

from doors.runbooks import ROOT, pages


def test_the_committed_pages_are_the_rendered_ones() -> None:
    wanted = pages()
    assert wanted, "there is no runbook"
    stale = [path.name for path, text in wanted.items() if not path.is_file() or path.read_text() != text]
    assert not stale, f"{', '.join(stale)} differ from the procedures: run ./dr runbook.render and commit"


def test_no_page_outlives_its_runbook() -> None:
    there = set((ROOT / "docs/runbooks").glob("*.md"))
    assert there == set(pages())
