"""A delayed standby of real servers, opened through the runbook's own words: what it proves, and what it refuses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inventories.errors import Refused, VerificationFailed
from runbooks.engine.context import Context
from runbooks.probes.postgresql import server, side, window
from runbooks.procedures.postgresql import delayed
from runbooks.procedures.postgresql.pitr_state import RestorePitr
from runbooks.procedures.postgresql.targets import parse
from tests.unit.delayed_kit import Failed, Pair, delayed_pair
from tests.unit.postgres_server import DATABASE

COUNT = "select count(*) from kept"


@pytest.fixture(scope="module")
def made() -> Iterator[Pair]:
    with delayed_pair() as pair:
        pair.primary.sql("create table kept (n int)")
        yield pair


@pytest.fixture
def pair(made: Pair) -> Iterator[Pair]:
    """Two rows are there, which the standby has replayed, and a third one, at whose commit it stands."""
    made.primary.sql("truncate kept", "insert into kept values (1), (2)")
    made.fresh()
    made.primary.sql("insert into kept values (3)")
    yield made
    with suppress(Failed):
        made.drop()
    made.standby.stop("fast")
    made.standby.start()


def judge(monkeypatch: pytest.MonkeyPatch, said: dict[str, Any], stop: str, **changes: Any) -> list[str]:
    """What the runbook says of where this side cluster stands. Raises VerificationFailed."""
    seen = side.parse({**said, **changes})
    monkeypatch.setattr(delayed, "side_of", lambda *_: seen)
    told: list[str] = []
    context: Any = Context(estate=SimpleNamespace(), options=None, run_dir=Path("run"), say=told.append)  # type: ignore[arg-type]
    state = RestorePitr(
        target=parse(to_xid="743"), primary="pg1", delayed="pg3", at="pg3", stop_lsn=server.lsn(stop) or 0,
        side_lsn=server.lsn(seen.reached) or 0,
    )  # fmt: skip
    monkeypatch.setattr(delayed, "closed", lambda *_: told.append("given back"))
    try:
        delayed.reached(context, state)
    except VerificationFailed:
        assert told == ["given back"]
        raise
    return told


def opened(pair: Pair, stop: str) -> dict[str, Any]:
    pair.standby.stop("fast")
    return pair.open(stop)


@pytest.mark.parametrize("kind", ["name", "xid", "lsn"])
def test_a_restore_point_and_what_is_included_are_proved_as_well(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The record that is applied last ends behind the position before which recovery stops."""
    point = str(pair.primary.sql("select pg_create_restore_point('mark')")[0][0])
    pair.primary.sql("insert into kept values (4)", "insert into kept values (5)")
    pair.arrived()
    fourth = pair.window("name", "mark")["after"]
    assert point < fourth["lsn"]
    value = {"name": "mark", "xid": str(fourth["xid"]), "lsn": fourth["lsn"]}[kind]
    place = pair.window(kind, value, inclusive=kind != "name")
    said = opened(pair, place["stop"])
    assert pair.ask(said, COUNT) == ("3" if kind == "name" else "4")
    assert "stands at" in judge(monkeypatch, said, place["stop"])[0]
    with pytest.raises(VerificationFailed, match="stands at"):
        judge(monkeypatch, said, "7/0")
    with pytest.raises(VerificationFailed, match="stands at"):
        judge(monkeypatch, said, place["stop"], reached="7/0")


def test_a_position_that_is_included_is_applied_and_no_commit_behind_it(pair: Pair) -> None:
    """As PostgreSQL does: what lies at the position is a row of a transaction that commits later."""
    position = pair.primary.sql("select pg_current_wal_insert_lsn()::text")[0][0]
    pair.primary.sql("delete from kept")
    pair.arrived()
    place = pair.window("lsn", str(position), inclusive=True)
    assert pair.ask(opened(pair, place["stop"]), COUNT) == "3"


def test_no_commit_that_it_has_replayed_is_later_than_its_window_begins(pair: Pair) -> None:
    """After a restart the checkpoint tells, whose time is in whole seconds."""
    pair.fresh()
    time.sleep(1.2 - time.time() % 1)
    pair.primary.sql("insert into kept values (4)")
    last = float(str(pair.primary.sql("select extract(epoch from clock_timestamp())")[0][0]))
    pair.primary.sql("checkpoint")
    pair.fresh()
    pair.standby.sql("checkpoint")
    pair.standby.stop("fast")
    pair.standby.start()
    assert pair.standby.sql("select pg_last_xact_replay_timestamp()") == [(None,)]
    assert float(str(pair.standby.sql(window._SQL)[0][2])) >= last - 0.1


class Asked:
    """The standby as a host that is asked."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair

    def query(self, sql: str, database: str = "postgres") -> list[dict[str, Any]]:
        rows = self.pair.standby.sql(f"select coalesce(json_agg(q), '[]') from ({sql}) q", database=database)
        return list(rows[0][0])  # type: ignore[call-overload]


def test_a_dropped_table_that_was_given_back_is_the_repositorys_before_anything_is_opened(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by whoever looks first and repeats it with --yes: meanwhile it went on to the commit, and holds the lock."""
    pair.primary.sql("create table doomed (n int)", "insert into doomed values (1)")
    pair.fresh()
    pair.primary.sql("insert into kept values (4)")
    bad = str(pair.primary.sql("drop table doomed; select pg_current_xact_id()::text")[0][0])  # one transaction
    pair.primary.sql("insert into kept values (5)")
    pair.arrived()
    first = pair.window("xid", bad)
    said: list[str] = []
    assert _stop(pair, monkeypatch, first, said) == server.lsn(first["locks"][0]["lsn"]) and len(said) == 1
    assert pair.ask(opened(pair, first["locks"][0]["lsn"]), "select count(*) from doomed") == "1"
    pair.drop()
    pair.standby.start()
    pair.until(f"select exists ({window.LOCKED})")
    with pytest.raises(Refused, match="doomed had been locked before its window"):
        _stop(pair, monkeypatch, pair.window("xid", bad), said)


def _stop(pair: Pair, monkeypatch: pytest.MonkeyPatch, said: dict[str, Any], told: list[str]) -> int:
    monkeypatch.setattr(window.agent, "ask", lambda *_, **__: said)
    host: Any = Asked(pair)
    place = window.locate(host, 0, 1, 15, "xid", "743", False, 1)
    context: Any = SimpleNamespace(estate=SimpleNamespace(data={"database": DATABASE}), say=told.append)
    return delayed._before_locks(context, host, place, ("public.doomed",))


def test_it_is_opened_where_a_run_had_stopped_it_already(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator's machine was lost between the stop and the opening: nobody is there who could be told to wait."""
    host, done = SimpleNamespace(name="pg3", address="192.0.2.3"), []
    monkeypatch.setattr(delayed.beside, "host_of", lambda *_: host)
    monkeypatch.setattr(delayed.beside, "readers", lambda _: ())
    monkeypatch.setattr(delayed, "layout", lambda _: SimpleNamespace(version=17))
    monkeypatch.setattr(delayed, "_hold_still", lambda *_: pytest.fail("its server is down"))
    monkeypatch.setattr(side, "look", lambda *_: None)
    monkeypatch.setattr(server, "look", lambda one, *_: server.Node(one, ssh=True))
    monkeypatch.setattr(delayed.act, "stop", lambda *_: done.append("stop"))
    monkeypatch.setattr(delayed.sides, "open_standby", lambda *_: done.append("open"))
    monkeypatch.setattr(delayed, "side_of", lambda *_: SimpleNamespace(reached="0/6000100"))
    context: Any = Context(estate=SimpleNamespace(), options=None, run_dir=Path("run"), say=done.append)  # type: ignore[arg-type]
    assert delayed.opened(context, aim()).side_lsn == 0x6000100
    assert done == ["stop", "open"]


def aim() -> RestorePitr:
    return RestorePitr(target=parse(to_xid="743"), primary="pg1", delayed="pg3", at="pg3", stop_lsn=0x6000100)
