"""Programs are started by dotted names in strings, which no import checks: every one that is named exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("agents", "deploys", "doors", "docs", "drills", "inventories", "runbooks", "templates", "tests")
NAMED = re.compile(r"(?<![\w./])agents((?:\.[a-z_]+)+)\b(?!\()")
# What has `agents.` put before it: by runbooks/agent.py, by an agent() of a drill or a lab test, by a pattern, or as in
# f"{_AGENTS}tdengine.seed export".
ASKED = re.compile(
    r"""
    (?: \bask\(\s*[\w.]+,\s* | \bagent\.run\(\s*[\w.]+,\s* | \bagent\.work\(\s* | \b_PROGRAM[ ]=[ ]
      | (?:\b_AGENT|\))[ ]%[ ] )"([a-z_.]+)"
    | \b_?agent\(\s*[\w.]+,\s*f?"([a-z_.]+)[ "]
    | \{_?AGENTS?\}([a-z_.]+)
    """,
    re.VERBOSE,
)
BY_HAND = ("agent-tracker.json",)  # the stock tracker's: no deploy places it yet
ATTRIBUTE_OF = 1  # a name may go one step into a module, as in `monkeypatch.setattr("agents.x.y", ...)`


def named() -> dict[str, set[str]]:
    """Dotted name of a program of ours -> the files that name it."""
    found: dict[str, set[str]] = {}
    for folder in FOLDERS:
        for path in (path for path in (ROOT / folder).rglob("*") if _told(path)):
            text, where = path.read_text(), str(path.relative_to(ROOT))
            for name in (f"agents{match[1]}" for match in NAMED.finditer(text)):
                found.setdefault(name, set()).add(where)
            for name in asked(text) if not where.startswith("tests/unit/") else ():  # no host is asked there
                found.setdefault(f"agents.{name}", set()).add(where)
    return found


def asked(text: str) -> list[str]:
    return [next(filter(None, match.groups())).removeprefix("agents.") for match in ASKED.finditer(text)]


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
        '_PROGRAM = "four.more"', 'host.run(f"{_AGENTS}five.more export")', 'host.run(f"{AGENT}six take")',
        '_AGENT % "seven.more" + " --x"', '_PROGRAM.format(settings) % "eight"', '_agent(estate, f"nine --rows {n}")',
        'agent(backup, "ten.more")', 'agent(stage, "agents.eleven run %s", job)', 'agent.work(\n    "twelve.more", "x"',
    )  # fmt: skip
    numbers = "one two three four.more five.more six seven.more eight nine ten.more eleven twelve.more"
    assert [name for one in told for name in asked(one)] == numbers.split()


def test_a_program_that_moved_is_missed() -> None:
    assert not exists("agents.td_backup")
    assert exists("agents.jobs.runner")


def test_every_settings_file_that_a_program_asks_for_is_one_that_a_deploy_places() -> None:
    """By its name in a string below /etc/mystocks-dr: a file that nobody places is missed only on a lab that has it."""
    asked = re.compile(r"(?:\{(?:\w+\.)?ETC\}|/etc/mystocks-dr)/([a-z][\w.-]*\.(?:json|pass|crt|key))")
    placed = {name for path in ROOT.glob("deploys/**/*.py") for name in asked.findall(path.read_text())}
    placed |= {
        name for path in ROOT.glob("deploys/**/*.py") for name in re.findall(r'"([a-z][\w.-]*\.\w+)"', path.read_text())
    }
    found: dict[str, set[str]] = {}
    for room in ("tests/verify", "runbooks", "agents", "drills", "lab"):
        for path in ROOT.glob(f"{room}/**/*.py"):
            for name in asked.findall(path.read_text()):
                found.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    assert len(found) >= 8, found
    assert {name: where for name, where in found.items() if name not in placed and name not in BY_HAND} == {}
