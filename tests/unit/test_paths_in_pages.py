"""Every file that the pages, the comments and the hints of the sources speak of is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/decisions.md", "docs/adding-a-store.md")
# A path from the root, in backticks: with a slash, or a file that lies at the top.
QUOTED = re.compile(r"`([A-Za-z0-9_./*<>-]+)`")
TOP = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")} | {".ci", ".github"}
MADE = ("bench/", "runs", "conf.d")  # by a run, or on a host
SOURCES = ("agents/", "deploys/", "docs/", "doors/", "drills/", "inventories/", "lab/", "runbooks/", "templates/")
# A path in a comment, a hint or a page, whatever stands around it; one on a host begins with a slash.
NAMED = re.compile(r"(?<![\w./*<>{}-])((?:[a-z_]+/)+[a-z_]+\.(?:py|j2))\b")
OPERATORS = {"inventories/production.py"}  # copied from the example, and no file of ours


def spoken_of(text: str) -> set[str]:
    """Paths of this repository that a text names; a placeholder such as <name> stands for anything."""
    quoted = {one.rstrip("/") for one in QUOTED.findall(text)}
    return {one for one in quoted if one.partition("/")[0] in TOP and "/" in one and not one.startswith(MADE)}


def is_there(path: str, tracked: frozenset[str]) -> bool:
    if "*" in path or "<" in path:
        pattern = re.compile(re.sub(r"<[a-z]+>|\\\*", "[^/]+", re.escape(path).replace(r"\<", "<").replace(r"\>", ">")))
        return any(pattern.fullmatch(one) for one in tracked)
    return path in tracked or any(one.startswith(f"{path}/") for one in tracked)


@pytest.fixture(scope="module")
def tracked() -> frozenset[str]:
    """Of git, with what is new and not ignored; without git, what lies here."""
    asked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    found = asked.stdout.split() or [str(path.relative_to(ROOT)) for path in ROOT.rglob("*")]
    return frozenset(one for one in found if (ROOT / one).exists())


@pytest.mark.parametrize("page", PAGES)
def test_every_path_in_a_page_is_there(page: str, tracked: frozenset[str]) -> None:
    named = spoken_of((ROOT / page).read_text())
    assert len(named) > 15, "too few paths: the page or the pattern changed its form"
    assert sorted(path for path in named if not is_there(path, tracked)) == []


def test_every_path_in_the_sources_is_there(tracked: frozenset[str]) -> None:
    """An operator who follows a hint finds the file; a template is named from the folder of templates."""
    texts = {
        path: (ROOT / path).read_text() for path in tracked
        if path.startswith(SOURCES) and path.endswith((".py", ".j2", ".md", ".yaml"))
    }  # fmt: skip
    named = {(one, path) for path, text in texts.items() for one in NAMED.findall(text)}
    assert len(named) > 80, "too few paths: the pattern no longer fits what the sources say"
    gone = {(one, path) for one, path in named if not {one, f"templates/{one}"} & tracked and one not in OPERATORS}
    assert sorted(gone) == []


def test_a_path_that_is_gone_is_missed(tracked: frozenset[str]) -> None:
    text = "`agents/td_backup.py`, `deploys/<component>.py`, `tests/*/nowhere.py`, `runs/x`, `FIRST 1`, `/etc/x`"
    assert spoken_of(text) == {"agents/td_backup.py", "deploys/<component>.py", "tests/*/nowhere.py"}
    assert [is_there(one, tracked) for one in sorted(spoken_of(text))] == [False, True, False]
    hint = "or its lines of catalog/ddl.py; see /opt/x/start_guard.py, conf.d/*.py and postgres/pg_hba.conf.j2."
    assert NAMED.findall(hint) == ["catalog/ddl.py"]


@pytest.mark.parametrize("store", ["tdengine", "sqlite"])
def test_the_page_on_stores_names_every_folder_of_a_store(store: str) -> None:
    """Wherever one has a folder of its own the next store of its kind needs one too."""
    page = (ROOT / "docs/adding-a-store.md").read_text()
    folders = {
        path.relative_to(ROOT).as_posix()
        for top in ("agents", "deploys", "doors", "drills", "inventories", "runbooks", "templates")
        for path in (ROOT / top).rglob(store)
        if path.is_dir() and any(path.iterdir())
    }
    assert len(folders) > 7
    assert sorted(one for one in folders if f"`{one}/" not in page) == []
