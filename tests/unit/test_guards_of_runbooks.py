"""What a resumed run asks of the hosts before it goes on: every runbook's guards, and what each of them refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from inventories.errors import DrError, Refused
from runbooks.engine.context import Context
from runbooks.knock import Door
from runbooks.probes import network
from runbooks.procedures.postgresql import detach, failover, guards, pitr_swap, start_cluster, switchover
from runbooks.procedures.postgresql.detach import Detach
from runbooks.procedures.postgresql.failover import Failover, FailoverOptions
from runbooks.procedures.postgresql.pitr_state import RestorePitr
from runbooks.procedures.postgresql.rejoin import Rejoin
from runbooks.procedures.postgresql.roles import Roles
from runbooks.procedures.postgresql.start_cluster import StartCluster
from runbooks.procedures.postgresql.switchover import Switchover
from runbooks.run import PROCEDURES
from tests.unit.start_kit import SYSTEM
from tests.unit.test_walk import FENCED, NEW
from tests.unit.walk_kit import ESTATE, Eyes, Pg, World

# Steps that prove something which nothing later depends on, or which every later step asks for itself.
UNGUARDED = {"tdengine-restart"}


def test_every_runbook_asks_anew_what_it_assessed() -> None:
    assert PROCEDURES
    bare = {name for name, known in PROCEDURES.items() if known.procedure.steps[0].still is None}
    assert bare == UNGUARDED


def test_every_fence_and_every_promotion_is_proved_again() -> None:
    names = {"fence", "promote", "step-down", "stop"}
    found = [step for known in PROCEDURES.values() for step in known.procedure.steps if step.name in names]
    assert len(found) >= 8
    assert [step.name for step in found if step.still is None] == []


@pytest.fixture
def eyes(monkeypatch: pytest.MonkeyPatch) -> Eyes:
    looking = Eyes()
    looking.put_on(monkeypatch)
    monkeypatch.setattr(network, "look_from", lambda viewers, *_: {one.name: Door.SILENT for one in viewers})
    return looking


def context(**words: Any) -> Any:
    heard: list[str] = []
    return Context(ESTATE, FailoverOptions(**words), None, say=heard.append)  # type: ignore[arg-type]


ROLES: dict[str, Any] = {"primary": "pg2", "other": "pg1", "old_timeline": 1, "system": SYSTEM}
LOST = World(pg1=FENCED, pg2=Pg(), changing="failover")
DONE = World(pg1=FENCED, pg2=NEW, noted="degraded", waits=False, recorded=("pg2", 2))
BACK = World(pg1=Pg(role="primary"), pg2=Pg(), changing="failover")  # its fence was taken back by hand
HALF = World(pg1=Pg(up=False, stepped_down=True), pg2=Pg(), changing="switchover")
FOLLOWED = World(noted="synchronous")
HUNG = Pg(role="primary", hung=True)
PITR = RestorePitr.model_construct(primary="pg1", other="pg2", old_timeline=1, timeline=2)
Guard = Callable[[Any, Any], None]


@pytest.mark.parametrize(
    ("guard", "state", "world"),
    [
        (failover.nobody_writes, Failover(**ROLES), LOST),
        (failover.nobody_writes, Failover(**ROLES), DONE),  # promoted, and killed before that was told
        (failover.nobody_writes, Failover(**ROLES, timeline=2), DONE),
        (failover.still_fenced, Failover(**ROLES, fenced_by="ssh"), LOST),
        (failover.still_fenced, Failover(**ROLES, fenced_by="hook"), replace(LOST, pg1=replace(FENCED, on=False))),
        (failover.still_fenced, Failover(**ROLES, fenced_by="hook"), replace(LOST, pg1=replace(FENCED, fenced=False))),
        (failover.still_fenced, Failover(**ROLES, fenced_by="nobody (accepted)"), BACK),
        (guards.is_primary, Failover(**ROLES, timeline=2), DONE),
        (start_cluster.still_fenced, StartCluster(**ROLES, fence=("pg1",), fenced_by="ssh"), LOST),
        (switchover.as_assessed, Switchover(**ROLES, was_synchronous=True), FOLLOWED),
        (switchover.as_assessed, Switchover(**ROLES, was_synchronous=True), HALF),
        (switchover.as_assessed, Switchover(**ROLES, was_synchronous=True), DONE),
        (switchover.stepped_down, Switchover(**ROLES), HALF),
        (detach.as_assessed, Detach(primary="pg1", other="pg2", timeline=1, old_timeline=1), World(pg2=Pg(on=False))),
        (guards.other_is_quiet, Rejoin(primary="pg2", other="pg1", timeline=2), DONE),
        (guards.other_is_quiet, Rejoin(primary="pg2", other="pg1"), replace(DONE, pg1=Pg(hung=True))),  # it starts
        (pitr_swap.nobody_else, PITR, World(pg1=replace(FENCED, full=True), pg2=Pg(up=False, fenced=True))),
        (pitr_swap.nobody_else, PITR, FOLLOWED),  # it was undone, and goes on
        (pitr_swap.nobody_else, PITR, World(pg1=replace(NEW, timeline=2), recorded=("pg1", 2))),
        (guards.nobody_but_its_own, Roles(primary="pg2", other="pg1", timeline=2), DONE),
    ],
)
def test_a_run_goes_on_while_what_it_proved_is_so(eyes: Eyes, guard: Guard, state: Roles, world: World) -> None:
    eyes.world = world
    guard(context(), state)


@pytest.mark.parametrize(
    ("guard", "state", "world", "words"),
    [
        (failover.nobody_writes, Failover(**ROLES), BACK, "pg1 takes writes on timeline 1"),  # finding 6
        (failover.nobody_writes, Failover(**ROLES, timeline=2), replace(DONE, pg1=Pg(role="primary")), "pg1 takes"),
        (failover.nobody_writes, Failover(**ROLES), replace(LOST, recorded=("pg3", 4), noted="degraded"), "pg3"),
        (failover.still_fenced, Failover(**ROLES, fenced_by="ssh"), BACK, "pg1 takes writes"),
        (failover.still_fenced, Failover(**ROLES, fenced_by="hook"), BACK, "pg1 takes writes"),
        (
            failover.still_fenced, Failover(**ROLES, fenced_by="ssh"),
            replace(LOST, pg1=replace(FENCED, fenced=False)), "took the fence of pg1 back",
        ),
        (
            failover.still_fenced, Failover(**ROLES, fenced_by="hook"),
            replace(LOST, pg1=Pg(role="primary", hung=True)), "hangs",
        ),
        (start_cluster.still_fenced, StartCluster(**ROLES, fence=("pg1",), fenced_by="ssh"), BACK, "pg1 takes writes"),
        (guards.is_primary, Failover(**ROLES, timeline=2), LOST, "was primary on timeline 2"),
        (guards.is_primary, Failover(**ROLES, timeline=2), replace(DONE, pg2=replace(NEW, timeline=3)), "timeline 3"),
        (guards.is_primary, Failover(**ROLES, timeline=2), replace(DONE, pg2=replace(NEW, on=False)), "no answer"),
        (switchover.as_assessed, Switchover(**ROLES, was_synchronous=True), BACK, "does not keep up"),
        (switchover.as_assessed, Switchover(**ROLES), FOLLOWED, "whether pg1 waits"),
        (switchover.stepped_down, Switchover(**ROLES), FOLLOWED, "pg1 takes writes"),
        (switchover.as_assessed, Switchover(**ROLES), World(pg2=NEW, waits=False), "both take writes"),
        (detach.as_assessed, Detach(primary="pg1", other="pg2", timeline=1), FOLLOWED, "pg2 follows pg1 again"),
        (guards.other_is_quiet, Rejoin(primary="pg2", other="pg1"), replace(DONE, pg1=Pg(role="primary")), "pg1 takes"),
        (guards.other_is_quiet, Rejoin(primary="pg2", other="pg1"), replace(DONE, pg1=HUNG), "hangs"),
        (pitr_swap.nobody_else, PITR, DONE, "pg2 takes writes"),
        (pitr_swap.nobody_else, PITR.model_copy(update={"timeline": 0}), LOST, "does not take writes any more"),
        (guards.nobody_but_its_own, Roles(primary="pg1", other="pg2"), DONE, "pg2 takes writes"),
    ],
)  # fmt: skip
def test_a_run_does_not_go_on_over_what_somebody_else_has_done(
    eyes: Eyes, guard: Guard, state: Roles, world: World, words: str
) -> None:
    eyes.world = world
    with pytest.raises(DrError, match=words) as refused:
        guard(context(), state)
    assert isinstance(refused.value, Refused) and refused.value.hint


def test_a_primary_that_nobody_here_reaches_is_not_promoted_beside(eyes: Eyes) -> None:
    eyes.world = World(pg1=Pg(role="primary", on=False), pg2=Pg(), changing="failover")
    address = ESTATE.host("pg1").address
    with pytest.raises(Refused, match=f"a primary at {address} takes writes from app1"):
        guards.nobody_else_writes(context(), Failover(**ROLES), address)
