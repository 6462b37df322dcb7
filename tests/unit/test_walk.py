"""The walk over hints: from every state of the estate what status and refusals name leads to a whole one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import doors
from tests.unit.test_readme import PROSE, ROOT, doors_and_below
from tests.unit.walk_kit import Advice, Eyes, Pg, World, advice, findings, follow, whole

CRASHED = Pg(role="primary", up=False)
OFF = Pg(role="primary", up=False, on=False)
LOST = replace(OFF, lost=True)
STANDBY_DOWN = Pg(up=False)
FENCED = Pg(role="primary", up=False, fenced=True, full=False)
HELD = replace(FENCED, full=True)  # nobody has succeeded it yet
NEW = Pg(role="primary", timeline=2)
AFTER_FAILOVER = World(pg1=FENCED, pg2=NEW, noted="degraded", waits=False, recorded=("pg2", 2))
STALE = Pg(up=True, full=False)  # a standby that was away while the primary committed alone
DETACHED = World(pg2=Pg(on=False, up=False, full=False), noted="degraded", waits=False)

STATES: dict[str, World] = {
    "whole": World(),
    "standby's host off": World(pg2=Pg(on=False, up=False)),
    "standby's host lost": World(pg2=Pg(on=False, up=False, lost=True)),
    "standby down": World(pg2=STANDBY_DOWN),
    "standby damaged": World(pg2=Pg(up=False, data="damaged")),
    "standby up and not streaming": World(pg2=Pg(streams=False)),
    "standby paused": World(pg2=Pg(streams=True, paused=True)),
    "standby too small": World(pg2=Pg(streams=True, paused=True, small=True)),
    "standby too small, restarted by hand": World(pg2=Pg(up=False, small=True)),
    "standby blank": World(pg2=Pg(up=False, data="blank", full=False)),
    "primary's host off": World(pg1=OFF),
    "primary's host lost": World(pg1=LOST),
    "primary crashed": World(pg1=CRASHED, pg2=Pg()),
    "primary hung": World(pg1=Pg(role="primary", hung=True)),
    "primary cut off from the operator": World(pg1=Pg(role="primary", on=False)),
    "both down whole": World(pg1=CRASHED, pg2=STANDBY_DOWN),
    "both off": World(pg1=OFF, pg2=Pg(on=False, up=False)),
    "both down, primary damaged": World(pg1=replace(CRASHED, data="damaged"), pg2=STANDBY_DOWN),
    "both down, standby damaged": World(pg1=CRASHED, pg2=Pg(up=False, data="damaged")),
    "both down, both damaged": World(pg1=replace(CRASHED, data="damaged"), pg2=Pg(up=False, data="damaged")),
    "both down, standby behind": World(pg1=CRASHED, pg2=Pg(up=False, full=False), noted="degraded", waits=False),
    "both down, primary an older copy": World(pg1=replace(CRASHED, full=False), pg2=STANDBY_DOWN),
    "both down, standby foreign": World(pg1=CRASHED, pg2=Pg(up=False, data="foreign")),
    "both down, primary foreign": World(pg1=replace(CRASHED, data="foreign"), pg2=STANDBY_DOWN),
    "both down as primaries of one timeline": World(pg1=CRASHED, pg2=CRASHED),
    "both down, backup host away": World(pg1=CRASHED, pg2=STANDBY_DOWN, backup=False),
    "both down, application host away": World(pg1=CRASHED, pg2=STANDBY_DOWN, app=False),
    "both down, nothing noted": World(pg1=CRASHED, pg2=STANDBY_DOWN, noted=""),
    "both lost": World(pg1=LOST, pg2=Pg(on=False, up=False, lost=True)),
    "both blank": World(pg1=Pg(role="primary", up=False, data="blank"), pg2=Pg(up=False, data="blank")),
    "primary off, standby down": World(pg1=OFF, pg2=STANDBY_DOWN),
    "primary lost, standby down": World(pg1=LOST, pg2=STANDBY_DOWN),
    "primary lost, standby down and behind": World(pg1=LOST, pg2=Pg(up=False, full=False), noted="degraded"),
    "primary down, standby off": World(pg1=CRASHED, pg2=Pg(on=False, up=False)),
    "primary down, standby lost": World(pg1=CRASHED, pg2=Pg(on=False, up=False, lost=True)),
    "promoted half way": World(
        pg1=HELD, pg2=Pg(role="half", up=False, timeline=2), changing="failover"
    ),
    "fenced, not yet promoted": World(pg1=HELD, pg2=Pg(), changing="failover"),
    "fenced, not yet promoted, down": World(pg1=HELD, pg2=STANDBY_DOWN, changing="failover"),
    "fenced and alone": World(pg1=replace(FENCED, full=True), pg2=Pg(on=False, up=False, lost=True)),
    "fenced, the other off": World(pg1=replace(FENCED, full=True), pg2=Pg(on=False, up=False)),
    "fenced by a failover, the other lost": World(
        pg1=HELD, pg2=Pg(on=False, up=False, lost=True), changing="failover"
    ),
    "fenced by a failover, the other off": World(pg1=HELD, pg2=Pg(on=False, up=False), changing="failover"),
    "abandoned, not confirmed": World(pg1=CRASHED, pg2=Pg(up=False, fenced=True), noted="degraded", changing="abandon"),
    "primary up, the old one fenced": AFTER_FAILOVER,
    "the same, down": replace(AFTER_FAILOVER, pg2=replace(NEW, up=False)),
    "the same, the old one cut off by its power": replace(
        AFTER_FAILOVER, pg1=replace(FENCED, fenced=False), pg2=replace(NEW, up=False)
    ),
    "the new primary lost, the old one fenced": replace(AFTER_FAILOVER, pg2=replace(LOST, timeline=2)),
    "switchover half done": World(pg1=Pg(up=False, stepped_down=True), pg2=Pg(), changing="switchover"),
    "switchover half done, down": World(
        pg1=Pg(up=False, stepped_down=True), pg2=STANDBY_DOWN, changing="switchover"
    ),
    "switchover undone, not confirmed": World(changing="switchover"),
    "switchover promoted, down": World(
        pg1=Pg(up=False, stepped_down=True, full=False), pg2=replace(NEW, up=False), noted="degraded", waits=False,
        recorded=("pg2", 2),
    ),
    "two primaries": World(pg2=NEW, waits=False),
    "two primaries of one timeline": World(pg2=Pg(role="primary"), waits=False),
    "detached": DETACHED,
    "detached, standby back and behind": replace(DETACHED, pg2=STALE),
    "detached, then the primary crashed": replace(DETACHED, pg1=CRASHED, pg2=STALE),
    "detached, then the primary's host off": replace(DETACHED, pg1=OFF, pg2=STALE),
    "detached, then the primary's host lost": replace(DETACHED, pg1=LOST, pg2=STALE),
    "detached, standby in step again, not noted": World(noted="degraded"),
    "backup host away": World(backup=False),
    "application host away": World(app=False),
    "backup host away, primary's host off": World(pg1=OFF, backup=False),
}
# States from which nobody can promise every acknowledged row: the only copy is gone, or nothing tells two apart.
MAY_LOSE = {"detached, then the primary's host lost", "primary lost, standby down and behind"}


@pytest.fixture
def eyes(monkeypatch: pytest.MonkeyPatch) -> Eyes:
    looking = Eyes()
    looking.put_on(monkeypatch)
    return looking


def advised(eyes: Eyes) -> list[Advice]:
    return list(dict.fromkeys(one for finding in findings(eyes) for one in advice(finding.hint)))


def accepted(eyes: Eyes, given: Advice, seen: frozenset[Advice] = frozenset()) -> Iterator[tuple[Advice, World]]:
    """What it leads to: the next state, or that of what its refusal names, and so on without going round."""
    after = follow(eyes, given)
    if after.world is not None:
        yield given, after.world
        return
    for other in advice(after.hint):
        if other not in seen and other != given:
            yield from accepted(eyes, other, seen | {given})


def careless(given: Advice) -> bool:
    return "--accept-loss" in given.words or given.what in ("restore-cluster", "right directory")


def walk(eyes: Eyes, begin: World, *, careful: bool = False) -> dict[World, list[Advice]]:
    """Every state that hints lead to, and the shortest way there."""
    found: dict[World, list[Advice]] = {begin: []}
    queue = [begin]
    while queue:
        world = queue.pop(0)
        eyes.world = world
        if whole(eyes):
            continue
        for given in advised(eyes):
            for done, after in accepted(eyes, given):
                if after not in found and not (careful and careless(done)):
                    found[after] = [*found[world], done]
                    queue.append(after)
    return found


def wholes(eyes: Eyes, found: dict[World, list[Advice]]) -> list[World]:
    def is_whole(world: World) -> bool:
        eyes.world = world
        return whole(eyes)

    return [world for world in found if is_whole(world)]


@pytest.mark.parametrize("name", STATES)
def test_named_commands_lead_from_every_state_to_a_whole_estate(eyes: Eyes, name: str) -> None:
    eyes.world = STATES[name]
    if name == "whole":
        assert whole(eyes)
        return
    assert findings(eyes), f"status says nothing of {name}"
    ends = wholes(eyes, walk(eyes, STATES[name]))
    assert ends, f"no hint leads out of {name}: {[finding.hint for finding in findings(eyes)]}"


@pytest.mark.parametrize("name", STATES)
def test_no_command_that_a_hint_names_sends_round_in_a_circle(eyes: Eyes, name: str) -> None:
    """Whatever is typed of what was named, its refusal leads on to something that is done and changes the estate."""
    for world in walk(eyes, STATES[name]):
        eyes.world = world
        for finding in findings(eyes):
            given = list(advice(finding.hint))
            leads = [after for one in given for _, after in accepted(eyes, one)]
            assert not given or leads, f"{finding.objective}: {finding.hint} goes round in {world}"
        if not whole(eyes):
            ways = [after for one in advised(eyes) for _, after in accepted(eyes, one) if after != world]
            assert ways, f"nothing that is named changes {world}: {[one.hint for one in findings(eyes)]}"


@pytest.mark.parametrize("name", [name for name in STATES if name not in MAY_LOSE])
def test_where_a_host_still_has_every_row_the_way_out_keeps_them(eyes: Eyes, name: str) -> None:
    ends = wholes(eyes, walk(eyes, STATES[name]))
    kept = [world for world in ends if not world.lost]
    assert kept, f"every way out of {name} loses rows"


@pytest.mark.parametrize("name", STATES)
def test_no_row_is_lost_unless_the_word_for_it_was_said(eyes: Eyes, name: str) -> None:
    for world, way in walk(eyes, STATES[name], careful=True).items():
        assert not world.lost, f"{[str(step) for step in way]} loses rows from {name}"


def test_a_site_that_lost_its_power_is_told_the_one_command_first(eyes: Eyes) -> None:
    eyes.world = STATES["both down whole"]
    assert advised(eyes)[0] == Advice("start-cluster")
    assert all(one.what == "start-cluster" or one.what == "status" for one in advised(eyes))


@pytest.mark.parametrize("name", ["fenced, not yet promoted", "promoted half way", "switchover half done"])
def test_what_stopped_half_way_can_be_given_up_and_every_row_is_kept(eyes: Eyes, name: str) -> None:
    eyes.world = STATES[name]
    given = Advice("runbook.abandon", ("--yes",))
    assert given in advised(eyes)
    after = follow(eyes, given).world
    assert after is not None and after.primaries == ["pg1"] and not after.lost and not after.changing
    assert not after.pg2.writes
    assert wholes(eyes, walk(eyes, after))


def test_what_may_have_been_promoted_and_cannot_be_looked_at_is_not_taken_back(eyes: Eyes) -> None:
    eyes.world = STATES["fenced by a failover, the other off"]
    refused = follow(eyes, Advice("runbook.abandon", ("--yes",)))
    assert refused.world is None and "bring pg2 back" in refused.hint


@pytest.mark.parametrize(
    ("state", "hint"), [("primary up, the old one fenced", "./dr rejoin pg1 --yes"), ("whole", "./dr switchover")]
)
def test_the_primary_named_to_rejoin_is_told_what_it_is(eyes: Eyes, state: str, hint: str) -> None:
    """A slip of a name is no cluster that is down."""
    eyes.world = STATES.get(state, World())
    name = eyes.world.primaries[0]
    assert hint in follow(eyes, Advice("rejoin", (name, "--yes"))).hint


def test_a_hint_that_goes_round_is_caught(eyes: Eyes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk itself, with the hints as they were: failover sends to rejoin, and that back."""
    from runbooks.judge import objectives
    from runbooks.probes.postgresql import server

    circle = "./dr failover promotes the standby; ./dr rejoin pg1"
    monkeypatch.setattr(server, "way_to_a_primary", lambda _: circle)
    monkeypatch.setattr(objectives, "_down", lambda *_: "./dr rejoin pg1")
    assert not wholes(eyes, walk(eyes, STATES["both down whole"]))


# ---- every command that is named anywhere exists


def sentences(path: Path) -> Iterator[str]:
    """Every text of a file, pieces joined as Python joins them; what is filled in stands as X."""
    tree = ast.parse(path.read_text())
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield node.value


def commands(text: str) -> Iterator[str]:
    """A task and the options that follow it, with their values; prose ends it."""
    for task, rest in re.findall(r"\./dr ([a-z]+(?:[.-][a-z]+)*)((?: (?:--[a-z][a-z-]*|[A-Z][A-Z0-9,-]*|X))*)", text):
        words = [word for word in rest.split() if word not in ("X",)]
        yield " ".join([task, *words])


def named_in_the_code() -> set[str]:
    sources = [path for folder in doors_and_below() for path in folder.rglob("*.py")]
    return {command for path in sources for text in sentences(path) for command in commands(text)}


def test_every_command_that_a_hint_names_exists_with_its_options() -> None:
    named = {command for command in named_in_the_code() if command.partition(" ")[0] not in PROSE}
    assert len(named) > 40
    contexts = doors.ns.to_contexts()
    known = {str(name): set(one.flags) for one in contexts for name in (one.name, *one.aliases)} | {"help": set()}
    wrong = []
    for command in sorted(named):
        task, *words = command.split()
        lacking = [word for word in words if word.startswith("--") and word not in known.get(task, ())]
        wrong += [f"./dr {command}"] if task not in known or lacking else []
    assert wrong == []


def test_the_source_is_searched_where_hints_are_made_of_pieces() -> None:
    assert ROOT.joinpath("runbooks/procedures/postgresql/start_choice.py").exists()
    assert "start-cluster --host HOST --yes" in named_in_the_code()
