"""A deploy lets standbys confirm commits once they stream, and the record is never better than the truth meanwhile."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from inventories.errors import BadInput
from inventories.quorum import parsed, setting
from runbooks.actions.postgresql import server as act
from runbooks.hosts import Estate, Host
from runbooks.layout import Layout
from runbooks.letting_in import due, let_in
from runbooks.look import drift
from runbooks.probes.postgresql import server
from runbooks.probes.postgresql.server import Node, Standby
from runbooks.record.keep import Keeper
from runbooks.record.types import Known
from tests.unit.record_kit import Desk, a_record
from tests.unit.record_kit import desk as desk
from tests.unit.test_electing import BOTH, NAMES, estate, node
from tests.unit.test_record import acts

OF_TWO, OF_THREE = setting(NAMES[:2], 1), setting(NAMES, 1)


def primary(now: str, stream: tuple[str, ...] = BOTH) -> Node:
    standbys = tuple(Standby(name, "streaming", "async", 100, 100, 0.0) for name in stream)
    waits: dict[str, Any] = {"synchronous": bool(now), "waits_for": parsed(now), "standbys": standbys}
    return node("pg1", in_recovery=False, standby_signal=False, receiving_from=None, **waits)


def of_two() -> Estate:
    """pg3 was taken out of the inventory."""
    return replace(estate(), groups={**estate().groups, "pg_standby": ("pg2",)})


@pytest.mark.parametrize(
    ("now", "stream", "of", "wanted"),
    [
        (OF_TWO, BOTH, estate(), OF_THREE),  # a third one has come
        (OF_TWO, BOTH, estate(least=2), setting(NAMES, 2)),
        (OF_THREE, BOTH, estate(least=2), setting(NAMES, 2)),
        (OF_TWO, BOTH, estate("pg3"), ""),  # asynchronous by declaration
        (OF_TWO, ("pg2",), estate(), ""),  # it was let go, and is still away
        (OF_TWO, ("pg3",), estate(), ""),
        (OF_THREE, BOTH, estate(), ""),
        (OF_THREE, ("pg2",), estate(), ""),
        (OF_THREE, ("pg2",), of_two(), OF_TWO),
        (OF_THREE, (), of_two(), ""),
        (setting(("pg1", "pg2", "pg4"), 1), ("pg2",), estate(), OF_TWO),
        ("", BOTH, estate(), ""),  # off: a deploy switches it on itself, and no record vouches for anybody
    ],
)
def test_whom_commits_are_to_wait_for(now: str, stream: tuple[str, ...], of: Estate, wanted: str) -> None:
    assert due(of, primary(now, stream)) == parsed(wanted)


class Let:
    """An estate of three whose record says that pg2 has every row; whom commits wait for is set on pg1."""

    def __init__(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        self.desk, self.set = desk, list[tuple[tuple[str, ...], Any]]()
        desk.everywhere(a_record())
        self.keeper = Keeper(estate(), acts(desk), desk.heard.append)
        monkeypatch.setattr(server, "survey", lambda _: (primary(OF_TWO), *map(node, BOTH)))
        monkeypatch.setattr(act, "synchronous_on", self.on)

    def on(self, host: Host, _layout: object, names: tuple[str, ...], _least: int = 1) -> None:
        said = self.desk.answer
        assert isinstance(said, Known) and host.name == "pg1"
        self.set.append((names, (said.record.synchronous, said.record.quorum)))


@pytest.fixture
def letting(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Let:
    return Let(desk, monkeypatch)


def test_the_record_says_less_before_a_further_standby_may_confirm(letting: Let) -> None:
    """It came to stream during the deploy, whether or not it answered before."""
    assert let_in(letting.keeper) == "Commits on pg1 wait for 1 of pg2 and pg3 from now on"
    assert letting.set == [(NAMES, (BOTH, 1))]


def test_a_deploy_of_other_hosts_lets_nobody_in(letting: Let) -> None:
    assert let_in(letting.keeper, ("pg3",)) == "" and letting.set == []
    assert let_in(letting.keeper, ("pg1",)) and letting.set


@pytest.mark.parametrize("how", ["away", "damaged", "old"])
def test_nobody_is_let_in_where_the_record_cannot_say_so(
    letting: Let, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "away":
        letting.desk.away.add("backup1")
    elif how == "damaged":
        letting.desk.document("backup1").write_text("{ nope")
    else:
        monkeypatch.setattr(Keeper, "widened", lambda *_: (_ for _ in ()).throw(BadInput("unknown field: quorum")))
    assert let_in(letting.keeper) == "" and letting.set == []
    assert "not pg2 and pg3" in letting.desk.heard[-1]


@pytest.fixture
def chosen(letting: Let, monkeypatch: pytest.MonkeyPatch) -> Let:
    """The same estate, asynchronous by declaration from now on."""
    letting.keeper = replace(letting.keeper, estate=estate(least="none"))
    monkeypatch.setattr(act, "synchronous_off", lambda host, _: letting.on(host, None, (), 0))
    return letting


def test_the_record_says_that_nobody_has_every_row_before_the_first_commit_that_is_alone(chosen: Let) -> None:
    assert 'wait for nobody from now on: commits wait for no standby' in let_in(chosen.keeper)
    assert chosen.set == [((), ((), None))]
    said = chosen.desk.answer
    assert isinstance(said, Known) and 'synchronous_standbys = "none"' in said.record.why


@pytest.mark.parametrize("how", ["away", "damaged", "under way"])
def test_commits_go_on_waiting_where_the_record_cannot_say_that_nobody_has_them(chosen: Let, how: str) -> None:
    if how == "away":
        chosen.desk.away.add("backup1")
    elif how == "damaged":
        chosen.desk.document("backup1").write_text("{ nope")
    else:
        chosen.desk.everywhere(a_record(changing={"procedure": "failover", "run": "r", "to": "pg2"}, revision=9))
    assert let_in(chosen.keeper) == "" and chosen.set == []
    assert "go on waiting" in chosen.desk.heard[-1]


def test_nobody_is_let_go_twice_nor_by_a_deploy_of_other_hosts(chosen: Let, monkeypatch: pytest.MonkeyPatch) -> None:
    assert let_in(chosen.keeper, ("pg3",)) == ""
    monkeypatch.setattr(server, "survey", lambda _: (primary(""), *map(node, BOTH)))
    assert let_in(chosen.keeper) == "" and chosen.set == []


def test_a_start_of_such_an_estate_writes_nobody_down() -> None:
    """start-cluster and switchover write whom commits wait for before it is known who streams."""
    done: list[str] = []
    host: Any = type("Heard", (), {"run": lambda _self, command, *_: done.append(command)})()
    act.write_names(host, Layout(17), NAMES, 0)
    assert done == ["rm -f %s"]
    act.write_names(host, Layout(17), NAMES, 1)
    assert "tee" in done[1]


def test_drift_tells_commits_that_wait_in_an_asynchronous_estate() -> None:
    (found,) = drift._waits(estate(least="none"), primary(OF_TWO))
    assert found.host == "pg1" and "by the inventory they wait for nobody" in found.detail
    assert list(drift._waits(estate(least="none"), primary(""))) == []


def test_a_record_of_another_primary_vouches_for_nobody_here(letting: Let) -> None:
    letting.desk.everywhere(a_record(primary="pg2", synchronous=("pg1",), revision=7))
    before = letting.desk.document("backup1").read_text()
    assert let_in(letting.keeper) and letting.desk.document("backup1").read_text() == before


def test_drift_tells_a_standby_that_streams_and_that_nobody_waits_for() -> None:
    (found,) = drift._waits(estate(), primary(OF_TWO))
    assert found.host == "pg1" and "1 of pg2 and pg3" in found.detail
    assert list(drift._waits(estate(), primary(OF_THREE))) == []
