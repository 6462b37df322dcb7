"""A lost TDengine node comes back: elections are waited for, and the tool's own database never stands in the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agents.tdengine import admin
from agents.tdengine.backup import cover
from agents.tdengine.session import OWN_DATABASE
from inventories.errors import BadInput, Refused, TimedOut
from runbooks.engine import budgets
from runbooks.judge import tdengine as judge
from runbooks.probes.tdengine import servers as tdengine
from runbooks.probes.tdengine.servers import OURS, Server, parse
from runbooks.procedures.tdengine import common, reaching, rejoin, restart
from tests.unit.test_probe_tdengine import SAID, host, server

OFFLINE = {**SAID["dnodes"], "tsdb1:6030": "offline"}
LED = {"id": 2, "database": "market_data",
       "replicas": {"1": ["offline", 0, 0], "2": ["leader", 9, 9], "3": ["follower", 9, 9]}}  # fmt: skip
ELECTING = {**LED, "replicas": {**LED["replicas"], "2": ["candidate", 9, 9]}}
ALONE = {"id": 4, "database": OURS, "replicas": {"1": ["offline", 0, 0]}}
MNODES = {"tsdb1:6030": "offline", "tsdb2:6030": "leader", "tsdb3:6030": "follower"}
VOTING = {"tsdb1:6030": "offline", "tsdb2:6030": "candidate", "tsdb3:6030": "follower"}


def seen(vgroups: Sequence[dict[str, Any]] = (LED,), mnodes: dict[str, str] = MNODES) -> tuple[Server, ...]:
    said = {"dnodes": OFFLINE, "mnodes": mnodes, "vgroups": list(vgroups)}
    return tuple(server(name, **said) for name in ("tsdb1", "tsdb2", "tsdb3"))


class Run:
    """What a step is told of its run."""

    estate = "lab"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Server, ...]]:
    """What the cluster says, survey after survey; at the end it goes on saying the last."""
    answers: list[tuple[Server, ...]] = []
    monkeypatch.setattr(tdengine, "survey", lambda estate: answers.pop(0) if len(answers) > 1 else answers[0])
    monkeypatch.setattr(budgets, "_catalogue", lambda: {"tdengine.elect": 0.05})
    monkeypatch.setattr("runbooks.engine.wait.time.sleep", lambda _: None)
    return answers


def led(first: tuple[Server, ...]) -> Server:
    context: Any = Run()
    return rejoin._led_by_others(context, "tsdb1", first)


def test_an_election_is_waited_for(waits: list[tuple[Server, ...]]) -> None:
    waits += [seen(mnodes=VOTING), seen([ELECTING]), seen()]
    assert led(seen(mnodes=VOTING)).name == "tsdb2"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (seen(mnodes=VOTING), "1 of 3 nodes manage the cluster, which is no majority without tsdb1"),
        (seen([ELECTING]), "vgroup 2 of market_data has no leader on another node"),
    ],
)
def test_one_that_does_not_end_is_refused_in_its_own_words(
    waits: list[tuple[Server, ...]], state: tuple[Server, ...], said: str
) -> None:
    waits += [state]
    with pytest.raises(Refused, match=said):
        led(state)


@pytest.mark.parametrize("named", ["", "tsdb1"])
def test_hosts_that_are_blank_leave_no_majority_and_that_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """The one that is left keeps silent for half a minute, and was asked twice."""
    blank = tuple(parse(host(name), None) for name in ("tsdb1", "tsdb2"))
    asked: list[float | None] = []

    def survey(estate: object, timeout: float | None = None) -> tuple[Server, ...]:
        asked.append(timeout)
        return (*blank, Server(host("tsdb3"), ssh=True, why="ended with 124"))

    monkeypatch.setattr(tdengine, "survey", survey)
    context: Any = Run()
    context.options = rejoin.TdengineRejoinOptions(host=named)
    said = "no TDengine is installed on tsdb1 and tsdb2, and 1 of 3 nodes is no majority"
    with pytest.raises(Refused, match=said) as refused:
        rejoin.assess(context, rejoin.TdengineRejoin())
    assert "tdengine-rebuild" in refused.value.hint
    assert asked == [rejoin.LOOK_S]


@pytest.mark.parametrize(
    ("first", "times"),
    [
        (Server(host("tsdb1"), ssh=False, why="no route"), 1),
        (parse(host("tsdb1"), None), 1),
        (Server(host("tsdb1"), ssh=False, slow=True, why="did not finish within 5 s"), 2),
        (Server(host("tsdb1"), ssh=True, why="ended with 124"), 2),
    ],
    ids=["unreachable", "blank", "slow", "silent"],
)
def test_who_told_enough_in_the_first_look_is_not_asked_in_full(
    monkeypatch: pytest.MonkeyPatch, first: Server, times: int
) -> None:
    """More time changes only what a server that kept silent may say."""
    asked: list[float | None] = []

    def survey(estate: object, timeout: float | None = None) -> tuple[Server, ...]:
        asked.append(timeout)
        return (first, *seen()[1:])

    def chosen(*_: object) -> Server:
        raise Refused("enough is known")

    monkeypatch.setattr(tdengine, "survey", survey)
    monkeypatch.setattr(rejoin, "_choose", chosen)
    context: Any = Run()
    context.options = rejoin.TdengineRejoinOptions()
    with pytest.raises(Refused, match="enough is known"):
        rejoin.assess(context, rejoin.TdengineRejoin())
    assert asked == [rejoin.LOOK_S, None][:times]


@pytest.mark.parametrize("ask", [rejoin.wanted, rejoin.three_nodes, restart.has_nodes, common.deployed])
def test_an_estate_without_tdengine_is_told_how_it_gets_one(monkeypatch: pytest.MonkeyPatch, ask: Any) -> None:
    """tdengine-rejoin NAME said that its TDengine hosts are none, which led nowhere."""
    monkeypatch.setattr(tdengine, "hosts", lambda estate: ())
    context: Any = Run()
    context.estate = SimpleNamespace(inventory="plain")
    context.options = rejoin.TdengineRejoinOptions(host="tsdb1")
    with pytest.raises(BadInput, match="inventory plain has no host in group tdengine") as refused:
        ask(context)
    assert "tdengine_package" in refused.value.hint and "./dr deploy" in refused.value.hint


def test_one_node_is_led_to_its_restart_or_its_rebuild(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tdengine, "hosts", lambda estate: (host("tsdb1"),))
    with pytest.raises(Refused, match="names 1 TDengine host, so no other") as refused:
        rejoin.three_nodes(cast(Any, Run()))
    assert "./dr tdengine-restart" in refused.value.hint and "./dr tdengine-rebuild" in refused.value.hint


def test_one_blank_host_beside_a_slow_one_is_no_verdict() -> None:
    """Of whom nobody knows anything may be the majority's."""
    slow = Server(host("tsdb2"), ssh=False, slow=True, why="did not finish within 5 s")
    rejoin._some_majority((parse(host("tsdb1"), None), slow, server("tsdb3")), "tsdb1")
    with pytest.raises(Refused, match="on tsdb2, and 1 of 3 nodes is no majority that could fill tsdb1"):
        rejoin._some_majority((server("tsdb1"), parse(host("tsdb2"), None), server("tsdb3")), "tsdb1")


def test_a_leader_is_taken_out_on_purpose_where_the_others_are_enough_to_elect_another() -> None:
    """--replace of a node that serves was refused: "vgroup 2 has no leader on another node", for it was the leader."""
    leads = {**LED, "replicas": {"1": ["leader", 9, 9], "2": ["follower", 9, 9], "3": ["follower", 9, 9]}}
    roles = {"tsdb1:6030": "leader", "tsdb2:6030": "follower", "tsdb3:6030": "follower"}
    rejoin._others_lead(seen([leads], roles)[1], "tsdb1", leaves=True)
    with pytest.raises(Refused, match="no leader on another node"):
        rejoin._others_lead(seen([leads], roles)[1], "tsdb1")
    alone = {**LED, "replicas": {"1": ["leader", 9, 9], "2": ["follower", 9, 9], "3": ["offline", 0, 0]}}
    with pytest.raises(Refused, match="no leader on another node"):
        rejoin._others_lead(seen([alone], roles)[1], "tsdb1", leaves=True)


def copies(leader: int, follower: int, back: int | None = None) -> tuple[Server, ...]:
    """Positions as the cluster tells them of copies, each of a moment of its own; tsdb1's is away, or `back`."""
    mine = ["offline", 0, 0] if back is None else ["follower", back, back]
    replicas = {"1": mine, "2": ["leader", leader, leader], "3": ["follower", follower, follower]}
    dnodes = OFFLINE if back is None else SAID["dnodes"]
    return tuple(replace(one, dnodes=tdengine._by_host(dnodes)) for one in seen([{**LED, "replicas": replicas}]))


SILENT = Server(host("tsdb2"), ssh=True, why="ended with 124")


@pytest.fixture
def returning(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[Server]]:
    """A run that has little time, and what the node that speaks says, look after look; at the end always the last."""
    answers: list[Server] = []
    monkeypatch.setattr(tdengine, "look", lambda *_: answers.pop(0) if len(answers) > 1 else answers[0])
    monkeypatch.setattr(tdengine, "local", lambda *_: tdengine.Local(1, "c", (2,), running=True))
    monkeypatch.setattr(rejoin.act, "stop", lambda *_: None)
    monkeypatch.setattr(rejoin.act, "execute", lambda *_: [])
    monkeypatch.setattr("runbooks.engine.wait.time.sleep", lambda _: None)
    return SimpleNamespace(estate=SimpleNamespace(host=host), remaining=lambda: 0.05), answers


@pytest.mark.parametrize(
    ("told", "agreed"),
    [
        ([(100, 100), (105, 111), (117, 112)], True),  # under load no two are alike at once
        ([(100, 100), (101, 101)], True),
        ([(100, 100), (105, 100), (130, 100)], False),
        ([(100, 100), (100, 100)], False),
    ],
    ids=["written to", "quiet", "one is behind", "nothing was committed"],
)
def test_the_others_agree_on_an_entry_newer_than_the_loss_also_while_rows_are_written(
    returning: tuple[Any, list[Server]], told: list[tuple[int, int]], agreed: bool
) -> None:
    """On three real nodes a feed of 2,000 rows a second kept the step waiting until its time was over."""
    context, answers = returning
    answers += [copies(*one)[1] for one in told]
    state = rejoin.TdengineRejoin(host="tsdb1", asked="tsdb2", lacking=(2,))
    if agreed:
        assert rejoin.settled(context, state).committed[2] >= 101
    else:
        with pytest.raises(TimedOut, match="vgroup 2"):
            rejoin.settled(context, state)


@pytest.mark.parametrize("looks", [[SILENT], [copies(100, 100)[1], SILENT]], ids=["from the first", "afterwards"])
def test_a_node_that_does_not_answer_agrees_to_nothing(
    returning: tuple[Any, list[Server]], looks: list[Server]
) -> None:
    """One that was too slow to tell of any vgroup let the step pass: none of none was behind."""
    context, answers = returning
    answers += looks
    with pytest.raises(TimedOut, match="ended with 124"):
        rejoin.settled(context, rejoin.TdengineRejoin(host="tsdb1", asked="tsdb2", lacking=(2,)))


@pytest.mark.parametrize(
    ("told", "filled"),
    [
        ([(500, 480, 90), (520, 510, 505), (540, 530, 525), (560, 550, 545)], True),  # behind at any moment
        ([(500, 500, 500)], True),
        ([(500, 480, 90), (520, 510, 505), (540, 530, 505)], False),
        ([(500, 480, 90), (520, 510, 499)], False),
    ],
    ids=["written to", "quiet", "came once and follows no more", "one entry behind"],
)
def test_a_returning_copy_has_caught_up_also_while_rows_are_written(
    returning: tuple[Any, list[Server]], told: list[tuple[int, int, int]], filled: bool
) -> None:
    """It had to have what the leader told at the same moment: a race of four hours that chance ends."""
    context, answers = returning
    answers += [copies(*one)[1] for one in told]
    state = rejoin.TdengineRejoin(host="tsdb1", asked="tsdb2", lacking=(2,), committed={2: 100})
    if filled:
        rejoin.caught_up(context, state)
    else:
        with pytest.raises(TimedOut, match="vgroup 2"):
            rejoin.caught_up(context, state)


@pytest.mark.parametrize(
    ("last", "held"),
    [
        (copies(500, 500)[1], (2,)),
        (copies(500, 500, 500)[1], ()),
        (copies(90, 90, 90)[1], (2,)),
        (SILENT, (2,)),
    ],
    ids=["away", "nothing on its disk", "older than the settling", "nobody tells"],
)
def test_what_is_no_copy_has_not_caught_up(
    returning: tuple[Any, list[Server]], monkeypatch: pytest.MonkeyPatch, last: Server, held: tuple[int, ...]
) -> None:
    context, answers = returning
    answers += [last]
    monkeypatch.setattr(tdengine, "local", lambda *_: tdengine.Local(1, "c", held, running=True))
    state = rejoin.TdengineRejoin(host="tsdb1", asked="tsdb2", lacking=(2,), committed={2: 100})
    with pytest.raises(TimedOut):
        rejoin.caught_up(context, state)


def test_a_lost_copy_of_our_own_database_hinders_nobody(waits: list[tuple[Server, ...]]) -> None:
    waits += [seen([LED, ALONE])]
    asked = led(seen([LED, ALONE]))
    assert asked.vgroups[1].is_ours_alone(1) and not asked.vgroups[1].is_ours_alone(2)
    assert not asked.vgroups[0].is_ours_alone(1)
    assert [group.id for group in reaching.fillable(asked, 1)] == [2], "nobody can fill it, so nobody waits for it"


def test_a_lost_copy_of_somebody_elses_database_does(waits: list[tuple[Server, ...]]) -> None:
    theirs = {**ALONE, "database": "market_data"}
    waits += [seen([LED, theirs])]
    with pytest.raises(Refused, match="vgroup 4 of market_data has no leader"):
        led(seen([LED, theirs]))


def test_status_leads_from_it_to_the_rejoin() -> None:
    found = {one.objective: one.hint for one in judge.findings(seen([LED, ALONE]))}
    assert "./dr tdengine-rejoin HOST has it made again" in found[f"vgroup 4 of {OURS}"]


class Session:
    """A server with so many nodes, and our own database with so many copies."""

    def __init__(self, nodes: int, copies: int = 0) -> None:
        self.nodes, self.copies, self.said = nodes, copies, list[str]()

    def __call__(self, *_: Any) -> Session:
        return self

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def rows(self, sql: str) -> list[tuple[int]]:
        return [(self.nodes,)] if "ins_dnodes" in sql else [(self.copies,)]

    def execute(self, sql: str) -> int:
        self.said.append(sql)
        return 0


@pytest.mark.parametrize(
    ("nodes", "copies", "made", "altered"), [(1, 1, 1, False), (3, 3, 3, False), (3, 1, 3, True), (2, 3, 1, False)]
)
def test_what_is_ours_has_as_many_copies_as_productions(
    monkeypatch: pytest.MonkeyPatch, nodes: int, copies: int, made: int, altered: bool
) -> None:
    session: Any = Session(nodes, copies)
    monkeypatch.setattr(cover, "Session", session)
    cover.publish(session, "20261121-100000F", 5.0)
    assert f"REPLICA {made}" in session.said[0]
    assert ("ALTER DATABASE" in session.said[-1]) is altered


def test_a_deploy_waits_for_no_leader_of_our_own_database(monkeypatch: pytest.MonkeyPatch) -> None:
    assert OURS == OWN_DATABASE
    monkeypatch.setattr(admin, "vgroups", lambda session: [ALONE, LED])
    session: Any = None
    assert admin._leaderless(session) == ""
    monkeypatch.setattr(admin, "vgroups", lambda session: [ALONE, ELECTING])
    assert admin._leaderless(session) == "vgroup 2"
