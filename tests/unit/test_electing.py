"""Of several standbys the one with most is promoted, by what they say once the old primary is fenced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploys.postgresql.operations import _to_wait_for
from inventories.errors import BadInput, Refused, TargetFailed, TimedOut
from inventories.inventory import HostEntry
from inventories.quorum import Quorum, setting
from runbooks.actions.postgresql import server as act
from runbooks.engine.context import Context
from runbooks.hosts import Estate, Host
from runbooks.probes.postgresql import progress, server
from runbooks.probes.postgresql.server import Node, Standby
from runbooks.procedures.postgresql import detach, electing, failover, rejoin, start_cluster, streaming, switchover
from runbooks.procedures.postgresql.detach import DetachOptions
from runbooks.procedures.postgresql.failover import Failover, FailoverOptions
from runbooks.procedures.postgresql.rejoin import Rejoin, RejoinOptions
from runbooks.procedures.postgresql.roles import Roles
from runbooks.procedures.postgresql.start_choice import Noted
from runbooks.procedures.postgresql.start_cluster import StartCluster
from runbooks.procedures.postgresql.switchover import SwitchoverOptions
from runbooks.record import keep
from runbooks.record.types import Change, Copy, Known, Unknown
from tests.unit.record_kit import SYSTEM, a_record
from tests.unit.start_kit import standby as stopped_standby

NAMES = ("pg1", "pg2", "pg3")
BOTH = ("pg2", "pg3")


def estate(*asynchronous: str, least: int | str = 1) -> Estate:
    def host(name: str) -> Host:
        entry = HostEntry(name=name, ssh_hostname="192.0.2.1", synchronous=name not in asynchronous)
        return Host(name, entry, Path("/nowhere"))

    groups = {"pg_primary": ("pg1",), "pg_standby": BOTH, "backup": ("backup1",), "app": ("app1",)}
    hosts = tuple(host(name) for name in (*NAMES, "backup1", "app1"))
    return Estate("three", "lab", hosts, groups, {"postgres_version": 17, "synchronous_standbys": least})


def node(name: str, written: int | None = 100, **more: Any) -> Node:
    usual: dict[str, Any] = {
        "ssh": True, "online": True, "in_recovery": True, "system": SYSTEM, "timeline": 1, "written": written,
        "replayed": written, "standby_signal": True, "receiving_from": "192.0.2.1",
    }  # fmt: skip
    return Node(more.pop("estate", estate()).host(name), **{**usual, **more})


def known(**changes: Any) -> Known:
    return Known(a_record(**{"synchronous": BOTH, "quorum": 1, **changes}), "backup1", 1)


def context(options: Any, *asynchronous: str, least: int | str = 1) -> Any:
    return Context(estate(*asynchronous, least=least), options, Path("/runs/20260101T000000Z-run"))


# ---- who


def test_the_one_with_most_is_chosen_of_those_that_the_record_names() -> None:
    others = [node("pg2", 100), node("pg3", 200)]
    assert electing.best_of(known(), others).name == "pg3"
    assert electing.best_of(known(synchronous=("pg2",), quorum=None), others).name == "pg2"
    assert electing.best_of(Unknown("it is away"), others).name == "pg3"


def test_a_timeline_that_the_record_does_not_know_is_not_the_right_one() -> None:
    strange = node("pg3", 900, timeline=2)
    assert electing.best_of(known(), [node("pg2"), strange]).name == "pg2"


def test_a_standby_that_started_since_has_what_it_replayed() -> None:
    assert electing.best_of(known(), [node("pg2", 100), node("pg3", None, replayed=200)]).name == "pg3"


@pytest.mark.parametrize(("waits", "counts"), [(True, BOTH), (False, ("pg2",))])
def test_one_that_still_replays_what_it_has_is_not_known(
    monkeypatch: pytest.MonkeyPatch, waits: bool, counts: tuple[str, ...]
) -> None:
    """It may have more than anybody, and only its end would tell."""
    monkeypatch.setattr(electing, "budget", lambda _: 0.05)
    monkeypatch.setattr(progress, "replay", lambda _: progress.Replay(True, 90, None, 1, waits))
    standbys = [node("pg2"), node("pg3", None, replayed=90)]
    assert electing.seen(context(FailoverOptions()), known(), standbys) == counts


def test_of_one_standby_nobody_else_is_asked() -> None:
    assert electing.seen(context(FailoverOptions()), known(synchronous=("pg2",), quorum=None), [node("pg2")]) == ()


def test_one_that_is_asynchronous_by_declaration_is_never_promoted() -> None:
    lone = [node("pg3", estate=estate("pg3"))]
    with pytest.raises(Refused, match="only pg3 answers, asynchronous by declaration") as told:
        electing.electable(lone)
    assert told.value.hint
    assert [one.name for one in electing.electable([node("pg2"), *lone])] == ["pg2"]


# ---- what may be lost


@pytest.mark.parametrize(
    ("record", "others", "safe"),
    [
        ({}, ("pg2", "pg3"), True),
        ({}, ("pg2",), False),  # what only pg3 confirmed is gone with it
        ({"quorum": None}, ("pg2",), True),  # each had every row: both may be lost at once
    ],
)
def test_rows_that_another_standby_may_have_confirmed_are_no_loss_only_when_it_was_seen(
    record: dict[str, Any], others: tuple[str, ...], safe: bool
) -> None:
    loss, reason = failover.possible_loss(known(**record), node("pg2"), False, others)
    assert (loss == 0) is safe
    assert safe or "how far pg3 got cannot be asked" in reason


@pytest.mark.parametrize(
    ("procedure", "seen", "safe"),
    [("failover", BOTH, True), ("failover", ("pg3",), False), ("detach", BOTH, False)],
)
def test_who_was_to_be_promoted_and_is_seen_as_a_standby_was_not(
    procedure: str, seen: tuple[str, ...], safe: bool
) -> None:
    """A failover to pg2 was interrupted, and pg3 is the one with most by now."""
    begun = known(changing=Change(procedure=procedure, run="20260101T000000Z-failover", to="pg2"))
    assert (failover.possible_loss(begun, node("pg3"), False, seen)[0] == 0) is safe


def test_of_a_quorum_it_is_not_said_that_every_commit_waited_for_one() -> None:
    assert "waited for" not in failover.possible_loss(known(), node("pg2"), False, BOTH)[1]
    alone = known(synchronous=("pg2",), quorum=None)
    assert "every commit has waited for pg2" in failover.possible_loss(alone, node("pg2"))[1]


def test_a_copy_is_still_no_word_for_it() -> None:
    copy = Copy(known().record, "pg2", "backup1 does not answer")
    assert failover.possible_loss(copy, node("pg2"), False, BOTH)[0] is None


@pytest.mark.parametrize(
    ("unseen", "covers"), [((), True), (("pg1",), True), (("pg3",), False), (("pg1", "pg3"), False)]
)
def test_a_cluster_that_is_down_is_judged_by_the_same_rule(unseen: tuple[str, ...], covers: bool) -> None:
    assert Noted(BOTH, 1, "then", "deployed", 1).covers(stopped_standby("pg2"), unseen) is covers
    assert Noted(BOTH, 1, "then", "deployed").covers(stopped_standby("pg2"), unseen)


# ---- once the old primary is fenced


def looks(monkeypatch: pytest.MonkeyPatch, *nodes: Node) -> None:
    seen = {one.name: one for one in nodes}
    monkeypatch.setattr(server, "look", lambda host, *_: seen[host.name])
    monkeypatch.setattr(server, "ask", lambda host, *_: seen[host.name])


def test_standbys_that_are_too_busy_to_answer_at_once_are_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old primary is fenced, and nobody may be awake: one silence of a second must not leave nobody promoted."""
    looks(monkeypatch, node("pg2", 100), node("pg3", 101))
    monkeypatch.setattr(server, "look", lambda host, *_: Node(host, ssh=True, runs=True, why="did not answer"))
    assert electing.elected(context(FailoverOptions()), known().record, BOTH, False).name == "pg3"


def test_nobody_is_asked_twice_where_enough_have_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    looks(monkeypatch, node("pg2", 100), Node(estate().host("pg3"), ssh=False, why="no answer"))
    monkeypatch.setattr(server, "ask", lambda host, *_: pytest.fail(f"{host} was asked again"))
    assert electing.elected(context(FailoverOptions()), known().record, BOTH, True).name == "pg2"
    assert electing.elected(context(FailoverOptions()), known(quorum=None).record, BOTH, False).name == "pg2"


def test_those_who_are_gone_are_named_in_a_whole_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    looks(monkeypatch, *(Node(estate().host(name), ssh=False, why="no answer") for name in BOTH))
    with pytest.raises(TargetFailed, match="pg2 and pg3 do not say any more how far their WAL reaches"):
        electing.elected(context(FailoverOptions()), known().record, BOTH, False)


def test_who_got_further_until_the_fence_is_promoted(monkeypatch: pytest.MonkeyPatch) -> None:
    looks(monkeypatch, node("pg2", 100), node("pg3", 101))
    assert electing.elected(context(FailoverOptions()), known().record, BOTH, False).name == "pg3"


def test_nobody_is_promoted_when_one_is_gone_that_may_have_more(monkeypatch: pytest.MonkeyPatch) -> None:
    looks(monkeypatch, node("pg2"), Node(estate().host("pg3"), ssh=False, why="no answer"))
    with pytest.raises(TargetFailed, match="pg3 does not say any more") as told:
        electing.elected(context(FailoverOptions()), known().record, BOTH, False)
    assert "--accept-loss" in told.value.hint
    assert electing.elected(context(FailoverOptions()), known().record, BOTH, True).name == "pg2"
    assert electing.elected(context(FailoverOptions()), known(quorum=None).record, BOTH, False).name == "pg2"


@pytest.mark.parametrize("answer", [known(), Copy(known().record, "pg2", "backup1 does not answer")], ids=type)
def test_who_got_further_is_looked_for_whoever_kept_the_record(
    monkeypatch: pytest.MonkeyPatch, answer: Known | Copy
) -> None:
    """Until the fence the old primary may confirm rows to the one that was behind, with or without an arbiter."""
    lost = Node(estate().host("pg1"), ssh=False)
    monkeypatch.setattr(failover, "_looked", lambda _: (answer, (lost, node("pg2", 101), node("pg3", 100)), None))
    for where, name in ((failover.ahead, "get_ready"), (failover.ahead, "ask_archive"), (failover, "_record")):
        monkeypatch.setattr(where, name, lambda *_: None)
    monkeypatch.setattr(failover, "fence", lambda _, state: state)
    monkeypatch.setattr(failover.fence_proof, "look", lambda *_: ())
    monkeypatch.setattr(keep, "changing", lambda *_, **__: None)
    looks(monkeypatch, node("pg2", 101), node("pg3", 102))
    run = context(FailoverOptions(accept_no_arbiter=True))
    state = failover.assess(run, Failover())
    assert state.primary == "pg2"
    assert failover.begin(run, Failover.model_validate_json(state.model_dump_json())).primary == "pg3"


def test_the_record_says_before_that_the_role_moves_to_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(keep, "changing", lambda _, to, **__: written.append(to))
    state = Failover(primary="pg2", other="pg1", old_timeline=1, rivals=BOTH, recorded=known())
    after = failover._instead(context(FailoverOptions()), state, node("pg3", 200))
    assert (written, after.primary, after.other) == (["pg3"], "pg3", "pg1")
    assert failover._instead(context(FailoverOptions()), state, node("pg2")) is state and written == ["pg3"]


def test_a_server_that_hangs_and_is_no_standby_stops_a_failover() -> None:
    hung = Node(estate().host("pg3"), ssh=True, runs=True, why="PostgreSQL hangs")
    lost = Node(estate().host("pg1"), ssh=False)
    best = node("pg2")
    with pytest.raises(Refused, match="pg3 is no standby by its files"):
        failover._nobody_else_may_write((lost, best, hung), best, lost)
    failover._nobody_else_may_write((lost, best, replace(hung, standby_signal=True)), best, lost)


# ---- commits wait again


class Primary:
    """pg2 as primary: whom its commits wait for changes as it is told; `done` is what was done, in its order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *stream: str) -> None:
        self.done: list[str] = []
        self.node = node("pg2", 500, in_recovery=False, timeline=2, replayed=None, receiving_from=None)
        self.stream = stream
        monkeypatch.setattr(server, "survey", lambda _: (self.look(self.node.host), node("pg1"), node("pg3")))
        monkeypatch.setattr(server, "look", lambda host, *_: self.look(host))
        monkeypatch.setattr(act, "synchronous_on", self.on)
        monkeypatch.setattr(keep, "widened", lambda _c, _p, names, least: self.done.append(f"{least} of {names}"))
        monkeypatch.setattr(keep, "settled", self.settled)
        monkeypatch.setattr(streaming, "budget", lambda _: 0.05)

    def look(self, host: Host) -> Node:
        if host.name != "pg2":
            return node(host.name, timeline=2)
        sync = "quorum" if self.node.waits_for else "async"
        standbys = tuple(Standby(name, "streaming", sync, 500, 500, 0.0) for name in self.stream)
        return replace(self.node, standbys=standbys, synchronous=bool(self.node.waits_for))

    def on(self, _host: Host, _layout: object, names: tuple[str, ...], least: int = 1) -> None:
        self.done.append(setting(names, least))
        self.node = replace(self.node, waits_for=Quorum(min(least, len(names) - 1), names))

    def settled(self, _context: object, truth: keep.Truth) -> object:
        self.done.append(f"{truth.synchronous}, {truth.quorum}")
        return truth


ROLES = Roles(primary="pg2", other="pg1", timeline=2)


def test_the_record_is_made_to_say_less_before_others_may_confirm_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    primary = Primary(monkeypatch, "pg1", "pg3")
    state = streaming.now_synchronous(context(FailoverOptions()), ROLES)
    assert primary.done == ["1 of ('pg1', 'pg3')", 'ANY 1 ("pg1", "pg2", "pg3")', "('pg1', 'pg3'), 1"]
    assert state.beside == ("pg3",)


def test_only_those_that_stream_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    primary = Primary(monkeypatch, "pg1")
    said: list[str] = []
    state = streaming.now_synchronous(replace(context(FailoverOptions()), say=said.append), ROLES)
    assert primary.done == ["1 of ('pg1',)", 'FIRST 1 ("pg1", "pg2")', "('pg1',), None"]
    assert state.beside == () and any("pg3 does not stream" in one for one in said)


def test_the_other_host_is_waited_for_though_it_drops_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that names the primary alone waits for nobody."""
    primary = Primary(monkeypatch)
    monkeypatch.setattr(streaming, "until_it_is", lambda *_: None)  # it streamed a moment ago
    monkeypatch.setattr(streaming, "while_it_moves", lambda look, *_, **__: look())
    streaming.now_synchronous(context(FailoverOptions()), ROLES)
    assert 'FIRST 1 ("pg1", "pg2")' in primary.done


def test_two_of_two_are_waited_for_where_that_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    primary = Primary(monkeypatch, "pg1", "pg3")
    streaming.now_synchronous(context(FailoverOptions(), least=2), ROLES)
    assert primary.done[-2:] == ['ANY 2 ("pg1", "pg2", "pg3")', "('pg1', 'pg3'), None"]


def test_nobody_is_waited_for_in_an_estate_that_is_asynchronous_by_declaration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the record says that no standby has every row, so that nothing promotes one unasked."""
    primary = Primary(monkeypatch, "pg1", "pg3")
    said: list[str] = []
    streaming.now_synchronous(replace(context(FailoverOptions(), least="none"), say=said.append), ROLES)
    assert primary.done == ["(), None"]
    assert 'synchronous_standbys = "none"' in said[0]


def test_nobody_waits_for_one_that_is_asynchronous_by_declaration(monkeypatch: pytest.MonkeyPatch) -> None:
    primary = Primary(monkeypatch, "pg1", "pg3")
    streaming.now_synchronous(context(FailoverOptions(), "pg1"), ROLES)
    assert primary.done == []
    streaming.now_synchronous(context(FailoverOptions(), "pg1"), ROLES.model_copy(update={"other": "pg3"}))
    assert primary.done[1] == 'FIRST 1 ("pg2", "pg3")'


@pytest.mark.parametrize(("timeline", "told"), [(1, ["pg3"]), (2, [])])
def test_a_standby_that_still_waits_for_the_dead_primary_is_told_to_look_for_the_new_one(
    monkeypatch: pytest.MonkeyPatch, timeline: int, told: list[str]
) -> None:
    """Without that it would wait for its own timeout, and every new row would exist once for so long."""
    seen, done = [node("pg3", timeline=timeline), node("pg3", timeline=2)], []
    monkeypatch.setattr(server, "look", lambda *_: seen.pop(0))
    monkeypatch.setattr(act, "look_for_primary", lambda host: done.append(host.name))
    assert electing._follows(context(FailoverOptions()), ROLES, estate().host("pg3"))
    assert done == told


def test_a_standby_that_does_not_come_leaves_a_started_cluster_time_for_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("hold_wal", "start"):
        monkeypatch.setattr(act, name, lambda *_: None)
    left: dict[str, float] = {}

    def follows_soon(run: Any, state: Roles) -> None:
        left[state.other] = run.remaining()
        if state.other == "pg2":
            raise TimedOut("pg2 does not stream")

    monkeypatch.setattr(streaming, "follows_soon", follows_soon)
    state = StartCluster(primary="pg1", other="pg2", standbys=BOTH)
    run = replace(context(FailoverOptions()), clock=lambda: 0.0, deadline=100.0)
    done = start_cluster.follow(run, state)
    assert done.following and done.other == "pg3" and set(left) == set(BOTH) and max(left.values()) <= 50
    start_cluster.follow(run, state.model_copy(update={"standbys": ("pg3",)}))
    assert left["pg3"] == 100  # the one standby of an estate of two has all of it


# ---- who is let go, who rejoins, who takes over


def waiting(least: int, *stream: str) -> Node:
    standbys = tuple(Standby(name, "streaming", "quorum", 100, 100, 0.0) for name in stream)
    return node(
        "pg1", in_recovery=False, standbys=standbys, waits_for=Quorum(least, NAMES), synchronous=True,
        receiving_from=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("least", "left", "host", "lets_go"),
    [
        (1, ("pg2",), "", ""),  # commits go on
        (1, ("pg2",), "pg3", "pg3"),  # so that no failover has to ask it any more
        (1, ("pg2",), "pg2", ""),  # it follows
        (2, ("pg2",), "", "pg3"),  # the quorum is gone
        (1, (), "", "pg2"),
    ],
)
def test_a_standby_is_let_go_only_where_the_quorum_is_gone_or_it_is_named(
    least: int, left: tuple[str, ...], host: str, lets_go: str
) -> None:
    out = [Node(estate().host(name), ssh=False) for name in BOTH if name not in left]
    run, primary = context(DetachOptions(host=host)), waiting(least, *left)
    if lets_go:
        assert detach._let_go(run, primary, left, out).name == lets_go
        return
    with pytest.raises(Refused, match="nothing waits in vain"):
        detach._let_go(run, primary, left, out)


def test_a_standby_that_follows_and_is_not_waited_for_answers_no_commit() -> None:
    """pg3 came back and was not let in yet: with pg2 gone every commit hangs, although somebody follows."""
    primary = replace(waiting(1, "pg3"), waits_for=Quorum(1, NAMES[:2]))
    out = [Node(estate().host("pg2"), ssh=False)]
    assert detach._let_go(context(DetachOptions()), primary, ("pg3",), out).name == "pg2"


def test_of_several_that_are_out_the_one_that_rejoins_is_named() -> None:
    out = [node("pg2", receiving_from=None), node("pg3", receiving_from=None)]
    with pytest.raises(Refused, match="pg2 and pg3 are out") as told:
        rejoin._which(out, "")
    assert told.value.hint == "./dr rejoin pg2 --yes; ./dr rejoin pg3 --yes"
    assert rejoin._which(out[1:], "").name == "pg3"
    assert rejoin._which([Node(estate().host("pg2"), ssh=False), out[1]], "").name == "pg3"


def test_who_takes_over_may_be_named_unless_it_is_never_promoted() -> None:
    assert switchover.wanted(context(SwitchoverOptions(host="pg3")))
    with pytest.raises(Refused, match="pg3 is asynchronous by declaration"):
        switchover.wanted(context(SwitchoverOptions(host="pg3"), "pg3"))
    for wanted in (switchover.wanted, detach.wanted):
        options: Callable[..., Any] = SwitchoverOptions if wanted is switchover.wanted else DetachOptions
        with pytest.raises(BadInput, match="'pg9' is no PostgreSQL host"):
            wanted(context(options(host="pg9")))


# ---- what a deploy makes of it

@pytest.mark.parametrize(
    ("now", "stream", "names", "wanted"),
    [
        ("", {"pg2"}, NAMES[:2], NAMES[:2]),
        ("", set(), NAMES, ()),
        ("", {"pg2"}, NAMES, NAMES[:2]),  # pg3 is away: nobody could tell what it has
        ("", {"pg2", "pg3"}, NAMES, NAMES),
        ("FIRST 1 (pg1, pg2)", {"pg2"}, NAMES[:2], ()),
        ("FIRST 1 (pg1, pg2)", {"pg2", "pg3"}, NAMES, ()),  # the record says that pg2 has every row
        (setting(NAMES, 1), {"pg2", "pg4"}, ("pg1", "pg2", "pg4"), ()),
    ],
)
def test_pyinfra_makes_commits_wait_where_they_wait_for_nobody_and_knows_no_record(
    now: str, stream: set[str], names: tuple[str, ...], wanted: tuple[str, ...]
) -> None:
    assert _to_wait_for("pg1", now, stream, names) == wanted


@pytest.mark.parametrize(
    ("end", "signal_goes"), [(0x6000000, False), (0x7000090, True), (0x8000000, True)], ids=["behind", "at", "beyond"]
)
def test_a_lost_standby_that_had_received_more_than_the_promoted_one_is_rewound(
    monkeypatch: pytest.MonkeyPatch, end: int, signal_goes: bool
) -> None:
    done: list[str] = []
    monkeypatch.setattr(act, "fence", lambda *_: done.append("fence"))
    monkeypatch.setattr(act, "as_primary", lambda *_: done.append("as_primary"))
    monkeypatch.setattr(rejoin.files, "survey", lambda *_: (stopped_standby("pg3", end),))
    monkeypatch.setattr(server, "fork_points", lambda *_: {1: 0x7000090})
    state = Rejoin(primary="pg2", other="pg3", timeline=2, was_standby=True)
    after = rejoin.stop(context(RejoinOptions()), state)
    assert done == ["fence", *(["as_primary"] if signal_goes else [])]
    assert after.was_standby is not signal_goes
