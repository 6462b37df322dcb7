"""Programs are started by dotted names in strings, which no import checks: every one that is named exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("agents", "deploys", "doors", "docs", "drills", "inventories", "runbooks", "templates", "tests")
NAMED = re.compile(r"(?<![\w./])agents((?:\.[a-z_]+)+)\b(?!\()")
# What has `agents.` put before it: by runbooks/agent.py, or as in f"{_AGENTS}tdengine.seed export".
ASKED = re.compile(
    r"""(?:\bask\(\s*[\w.]+,\s*|\bagent\.run\(\s*[\w.]+,\s*|\bagent\.work\(\s*|_PROGRAM = )"([a-z_.]+)"|"""
    r"""\{_?AGENTS?\}([a-z_.]+)"""
)
ATTRIBUTE_OF = 1  # a name may go one step into a module, as in `monkeypatch.setattr("agents.x.y", ...)`


def named() -> dict[str, set[str]]:
    """Dotted name of a program of ours -> the files that name it."""
    found: dict[str, set[str]] = {}
    for folder in FOLDERS:
        for path in (path for path in (ROOT / folder).rglob("*") if _told(path)):
            text, where = path.read_text(), str(path.relative_to(ROOT))
            for name in (f"agents{match[1]}" for match in NAMED.finditer(text)):
                found.setdefault(name, set()).add(where)
            for name in (f"agents.{match[1] or match[2]}" for match in ASKED.finditer(text) if folder == "runbooks"):
                found.setdefault(name, set()).add(where)
    return found


def _told(path: Path) -> bool:
    return path.suffix in (".py", ".md", ".j2", ".yaml") and path != Path(__file__)


def exists(name: str) -> bool:
    parts = name.split(".")
    candidates = [parts[:length] for length in range(len(parts), max(1, len(parts) - ATTRIBUTE_OF) - 1, -1)]
    paths = [ROOT.joinpath(*candidate) for candidate in candidates]
    return any(path.with_suffix(".py").exists() for path in paths) or paths[0].is_dir()


def test_every_program_that_is_named_exists() -> None:
    names = named()
    assert len(names) > 60, "too few names: the pattern no longer fits what the sources say"
    assert {name: files for name, files in names.items() if not exists(name)} == {}


def test_programs_are_found_however_they_are_named() -> None:
    told = (
        'ask(host, "one")', 'agent.ask(\n    estate.backup, "two", 1)', 'agent.run(host, "three")',
        '_PROGRAM = "four.more"', 'agent.work(\n    "six.more", "x"', 'host.run(f"{_AGENTS}five.more export")',
    )  # fmt: skip
    found = [match[1] or match[2] for one in told for match in ASKED.finditer(one)]
    assert found == ["one", "two", "three", "four.more", "six.more", "five.more"]


def test_a_program_that_moved_is_missed() -> None:
    assert not exists("agents.td_backup")
    assert exists("agents.jobs.runner")
