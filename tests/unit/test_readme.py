"""What README and runbooks tell an operator to type exists: tasks, options, scenarios, twins, runbooks, files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from invoke.exceptions import ParseError
from invoke.parser import Parser

import doors
from doors.main import arguments
from drills.scenarios.catalogue import ROUND_TWINS, SCENARIOS, TWINS
from drills.scenarios.parts import Scenario
from drills.stores import TDENGINE
from runbooks.run import PROCEDURES

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
PAGES = (ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("**/*.md"))
PROSE = {"lists", "that", "with"}  # `./dr lists the tasks`


def in_blocks(text: str) -> Iterator[str]:
    """Lines of fenced blocks marked sh, without their comments."""
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from (line.partition(" #")[0].strip() for line in block.splitlines() if not line.startswith("#"))


def in_sentences(text: str) -> Iterator[str]:
    return iter(re.findall(r"`(\./dr[^`]*)`", text))


def commands() -> list[str]:
    texts = [page.read_text() for page in PAGES]
    found = {line for text in texts for line in (*in_blocks(text), *in_sentences(text)) if line.startswith("./dr")}
    assert len(found) > 20, "hardly any command was found: the pages changed their form"
    return sorted(found)


def parse(words: list[str]) -> list[str]:
    """Names of the tasks that would run, with nothing executed. Raises ParseError."""
    kept = words[: words.index("--")] if "--" in words else words
    typed = arguments([] if kept[:1] == ["help"] else kept)[1:]
    return [str(context.name) for context in Parser(contexts=doors.ns.to_contexts()).parse_argv(typed) if context.name]


@pytest.mark.parametrize("command", commands())
def test_a_command_that_is_named_exists_with_its_options(command: str) -> None:
    words = shlex.split(command)[1:]
    parse(words)
    for option, known in (("--scenario", SCENARIOS), ("--twin", TWINS | ROUND_TWINS)):
        named = [after for word, after in pairwise(words) if word == option]
        assert {name for names in named for name in names.split(",")} <= set(known) | {"NAME"}
    if words[:1] == ["runbook.show"]:
        assert words[1] in PROCEDURES


@pytest.mark.parametrize("command", ["./dr nope", "./dr failover --nope", "./dr drill --scenario"])
def test_a_command_that_does_not_exist_is_caught(command: str) -> None:
    with pytest.raises(ParseError):
        parse(shlex.split(command)[1:])


def test_the_table_of_tasks_is_what_the_launcher_lists() -> None:
    rows = dict(re.findall(r"^\| `([a-z.-]+)` \| (.*?) \|$", README, re.MULTILINE))
    wanted = {name: (doors.ns[name].__doc__ or "").strip().splitlines()[0] for name in doors.ns.task_names}
    assert rows == wanted


def test_every_hint_in_the_code_names_a_task_that_there_is() -> None:
    sources = [path for folder in doors_and_below() for path in folder.rglob("*.py")]
    named = {
        (path.relative_to(ROOT).as_posix(), task)
        for path in sources
        for task in re.findall(r"\./dr ([a-z]+(?:[.-][a-z]+)*)", path.read_text())
    }
    assert named, "no hint was found"
    shorter = {alias for aliases in doors.ns.task_names.values() for alias in aliases}
    there = {*doors.ns.task_names, *shorter, "help"} | PROSE
    assert {(path, task) for path, task in named if task not in there} == set()


def doors_and_below() -> list[Path]:
    return [ROOT / name for name in ("agents", "deploys", "drills", "inventories", "lab", "runbooks", "doors")]


def test_every_file_that_a_page_links_to_is_there() -> None:
    links = [(page, link) for page in PAGES for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text())]
    assert links
    assert [(page.name, link) for page, link in links if not (page.parent / link).exists()] == []


def job_of(one: Scenario) -> str:
    if TDENGINE in one.stores:
        return "tdengine"
    return "delayed" if one.delayed else "several" if one.nodes > 2 else "drill"


def test_the_weekly_drill_leaves_no_scenario_and_no_twin_out() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/drill.yml").read_text())["jobs"]
    drilled = {name: jobs[name]["strategy"]["matrix"]["what"] for name in ("drill", "tdengine", "several", "delayed")}
    rounds = ["--rounds 25", "--rounds 10 --kill", *(f"--rounds 2 --twin {name}" for name in ROUND_TWINS)]
    wanted: dict[str, list[str]] = {"drill": rounds, "tdengine": [], "several": [], "delayed": []}
    for name, one in SCENARIOS.items():
        wanted[job_of(one)].append(f"--scenario {name}")
    for name, twin in TWINS.items():
        wanted[job_of(SCENARIOS[twin.scenario])].append(f"--twin {name}")
    assert {name: sorted(what) for name, what in drilled.items()} == {n: sorted(w) for n, w in wanted.items()}


def test_a_paper_runbook_is_linked_for_each_runbook() -> None:
    assert [name for name in PROCEDURES if f"(docs/runbooks/{name}.md)" not in README] == []


def test_the_numbers_stand_between_their_marks() -> None:
    assert README.count("<!-- measured -->") == 2
