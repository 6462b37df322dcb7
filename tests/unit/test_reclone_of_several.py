"""A standby of several is re-cloned: commits go on with the others, and the record goes on naming those."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inventories.quorum import parsed, setting
from runbooks.actions.postgresql import directory
from runbooks.actions.postgresql import server as act
from runbooks.engine.context import Context
from runbooks.engine.lock import this_process
from runbooks.hosts import Host
from runbooks.probes import durations
from runbooks.probes.postgresql import server
from runbooks.probes.postgresql.server import Node, Standby
from runbooks.procedures.postgresql import rebuilding, rejoin, streaming
from runbooks.procedures.postgresql.rejoin import Rejoin, RejoinOptions
from runbooks.record.lock import take
from runbooks.record.types import Known
from tests.unit.record_kit import SYSTEM, Desk, a_record
from tests.unit.record_kit import desk as desk
from tests.unit.test_electing import BOTH, NAMES, estate, node
from tests.unit.test_record import ARBITER

ROOM, COMING = directory.Room("", "", True), directory.Incoming(host="pg3", system=SYSTEM, timeline=1)


class Three:
    """pg1 with pg2, while it streams, and pg3, which is out; `then` is what the record said when its data went."""

    def __init__(self, desk: Desk, monkeypatch: pytest.MonkeyPatch, least: int, stream: tuple[str, ...]) -> None:
        self.desk, self.stream, self.then = desk, stream, list[tuple[str, ...]]()
        self.estate, self.waits = estate(least=least), setting(NAMES, least)
        desk.everywhere(a_record(synchronous=BOTH, quorum=least if least < 2 else None))
        put = monkeypatch.setattr
        put(server, "look", self.look)
        put(streaming, "following", lambda *_: set(stream))
        put(act, "synchronous_on", self.on)
        for name in ("checkpoint", "hold_wal", "make_standby"):
            put(act, name, lambda *_, **__: None)
        put(rebuilding, "incoming", lambda *_: COMING)
        put(rebuilding, "would_make_room", lambda *_: ROOM)
        put(durations, "restore", lambda *_: "")
        put(directory, "recloning", lambda *_: False)
        put(directory, "reclone", self.reclone)

    def look(self, host: Host, *_: object) -> Node:
        if host.name != "pg1":
            return node(host.name, estate=self.estate)
        streams = tuple(Standby(name, "streaming", "quorum", 100, 100, 0.0) for name in self.stream)
        return replace(
            node("pg1", in_recovery=False, standby_signal=False, estate=self.estate), synchronous=True,
            waits_for=parsed(self.waits), standbys=streams,
        )  # fmt: skip

    def on(self, _host: Host, _layout: object, names: tuple[str, ...], least: int) -> None:
        self.waits = setting(names, least)

    def reclone(self, *_: object) -> directory.Room:
        answer = self.desk.answer
        assert isinstance(answer, Known) and answer.record.quorum is None
        self.then.append(answer.record.synchronous)
        return ROOM

    def rebuild(self) -> None:
        owner = this_process("rejoin", Path("/runs/20260101T000000Z-run"), resumes=False)
        take(ARBITER, owner, self.desk.heard.append)
        options: Any = RejoinOptions(reclone=True)
        run = Context(self.estate, options, owner.run_dir, say=self.desk.heard.append, owner=owner)
        rejoin.rebuild(run, Rejoin(primary="pg1", other="pg3", timeline=1))


@pytest.mark.parametrize(
    ("least", "stream", "waits", "then"),
    [
        (1, ("pg2",), setting(NAMES[:2], 1), ("pg2",)),
        (1, (), setting(NAMES, 1), ()),  # nobody is left who could have every row
        (2, ("pg2",), setting(NAMES, 2), ("pg2",)),  # commits wait for pg3 until an operator lets go of it
    ],
)
def test_commits_wait_for_those_that_are_left_where_they_suffice(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, least: int, stream: tuple[str, ...], waits: str, then: tuple[str, ...]
) -> None:
    three = Three(desk, monkeypatch, least, stream)
    three.rebuild()
    assert (three.waits, three.then) == (waits, [then])


def test_the_record_of_an_estate_is_read_of_its_own_primary_only(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    three = Three(desk, monkeypatch, 1, ("pg2",))
    desk.everywhere(a_record(primary="pg2", synchronous=("pg1", "pg3"), quorum=1, revision=5))
    three.rebuild()
    assert three.waits == setting(NAMES, 1)


