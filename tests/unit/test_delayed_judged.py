"""A delayed standby on the screens: behind on purpose, promoted by nobody, its window and its trouble told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from drills import gate
from drills.calendar.ways import ways
from inventories.inventory import HostEntry
from runbooks.hosts import Host
from runbooks.judge import feasibility, objectives, roles
from runbooks.judge.feasibility import Measured, Sample, Sizes, Verdict
from runbooks.judge.finding import Finding
from runbooks.look.status import Status
from runbooks.probes.postgresql import server
from runbooks.probes.postgresql.server import Node, Standby
from tests.unit.test_objectives import LIMITS, NOW, PRIMARY, STREAMS, WHOLE

BEHIND = HostEntry(name="pg3", ssh_hostname="192.0.2.3", apply_delay="1h", synchronous=False)
THIRD = Node(
    Host("pg3", BEHIND, Path("/nowhere")), ssh=True, online=True, in_recovery=True, timeline=1, written=9 << 30,
    replayed=1 << 20, replay_age_s=3600.0, since_s=3600.0, standby_signal=True, receiving_from="pg1",
)  # fmt: skip
SEEN = Standby("pg3", "streaming", "async", 9 << 30, 1 << 20, 3600.0)
RESTARTED = replace(THIRD, receiving_from=None, written=None, delaying=True)


def status(third: Node, *seen: Standby) -> Status:
    primary = replace(PRIMARY, written=9 << 30, standbys=(replace(STREAMS, flushed=9 << 30, replayed=9 << 30), *seen))
    return replace(WHOLE, nodes=(primary, WHOLE.nodes[1], third))


def found(third: Node, *seen: Standby) -> tuple[Finding, ...]:
    return objectives.findings(status(third, *seen), LIMITS)


@pytest.mark.parametrize("third", [THIRD, RESTARTED])
def test_what_it_is_behind_and_that_it_receives_later_is_as_promised(third: Node) -> None:
    assert found(third, SEEN) == () and third.follows
    assert objectives.degraded(status(third, SEEN)) == ()


def test_that_it_waits_for_its_delay_is_said_of_it_and_not_that_it_does_not_stream() -> None:
    assert server.told((RESTARTED,)) == "pg3: a standby that waits for its delay"
    assert server.told((replace(RESTARTED, delaying=False),)) == "pg3: a standby that does not stream"


def test_one_that_neither_streams_nor_waits_for_its_delay_is_found() -> None:
    (one,) = found(replace(RESTARTED, delaying=False))
    assert (one.objective, one.measured) == ("pg3 as a standby", "does not stream")
    assert "./dr rejoin pg3" in one.hint


def test_its_replay_is_found_when_it_is_paused() -> None:
    assert [one.objective for one in found(replace(THIRD, replay_paused=True))] == ["replay of pg3"]


def test_one_that_a_restore_has_left_open_is_named_and_given_back_by_a_rejoin() -> None:
    left = replace(THIRD, online=False, in_recovery=None, receiving_from=None, opened="pitr", runs=True)
    (one,) = found(left)
    assert (one.measured, one.objective) == ("open as pitr", "pg3 as a delayed standby")
    assert "./dr rejoin pg3 --yes" in one.hint
    assert roles.cells(status(left), left)[0] == "standby, open as pitr"


@pytest.mark.parametrize("hangs", [False, True])
def test_where_it_alone_is_left_no_failover_is_named_which_would_refuse(hangs: bool) -> None:
    first = replace(PRIMARY, online=False, in_recovery=None, written=None, standbys=())
    second = replace(WHOLE.nodes[1], online=False, in_recovery=None, receiving_from=None, runs=hangs)
    third = replace(THIRD, receiving_from=None)
    seen = replace(status(third), nodes=(first, second, third))
    hints = [one.hint for one in objectives.findings(seen, LIMITS) if one.objective == "pg2 as a standby"]
    assert len(hints) == 1 and "failover" not in hints[0]


def test_it_is_no_copy_that_anybody_promotes() -> None:
    alone = replace(status(THIRD, SEEN).nodes[0], synchronous=False, standbys=(SEEN,))
    loss = objectives.possible_loss(replace(status(THIRD), nodes=(alone, THIRD)))
    assert "pg3" not in loss.sentence


def test_its_window_is_told_from_the_last_commit_that_it_has_replayed() -> None:
    role, _, _, _, window = roles.cells(status(THIRD, SEEN), THIRD)
    assert role == "standby, 1h behind"
    assert window == "window from 09-21 13:13:20+00 to now" and NOW == 1_790_000_000.0


def test_it_follows_onto_the_timeline_whose_history_it_has() -> None:
    assert replace(RESTARTED, heard=2).follows_on(2) and not replace(RESTARTED, heard=2).follows_on(1)
    assert not RESTARTED.follows_on(2) and RESTARTED.follows_on(1)
    assert THIRD.follows_on(1) and not replace(THIRD, heard=2).follows_on(2), "it streams from the old one still"


def test_a_drill_takes_an_estate_with_it_for_whole() -> None:
    sync = replace(STREAMS, name="pg2")
    nodes = (replace(PRIMARY, standbys=(sync,)), WHOLE.nodes[1], RESTARTED)
    assert gate._nodes_wrong(nodes, least=1) == "" and gate._all_follow(nodes)
    out = (*nodes[:2], replace(RESTARTED, delaying=False))
    assert gate._nodes_wrong(out, least=1) and gate._out(out) == ("pg3",)


def test_the_plan_reckons_with_the_wal_that_it_has_before_it() -> None:
    sizes = Sizes(restore=1 << 40, wal=40 << 30, wal_every_s=14_400, repository=1 << 40, behind_s=3600)
    assert sizes.behind == 10 << 30
    measured = Measured(replay=[Sample(20 << 30, 100, "a proof")], fixed={"restore-table": [4.0, 6.0]})
    (answer,) = feasibility.answers({"dropped-table-delayed": 60}, sizes, measured)
    assert [(part.name, part.seconds) for part in answer.parts] == [("catching up", 50.0), ("fixed", 6.0)]
    assert answer.verdict is Verdict.FITS
    (late,) = feasibility.answers({"dropped-table-delayed": 50}, sizes, measured)
    assert late.verdict is Verdict.TOO_SLOW and "a shorter apply_delay" in late.lever


def test_its_drills_fit_estates_that_have_one() -> None:
    (way,) = ways("bad-update-delayed")
    assert not way.fits(2) and not way.fits(3) and way.fits(2, behind=True)
    assert way.command == "DR_LAB_POSTGRES=3 DR_LAB_DELAY=1h ./dr drill --scenario bad-update-delayed"
