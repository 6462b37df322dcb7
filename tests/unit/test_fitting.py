"""A standby that is smaller than its WAL asks for is made to fit before it starts. The host is pretended."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from inventories.errors import TargetFailed
from runbooks.engine.context import Context
from runbooks.layout import Layout
from runbooks.probes.postgresql.server import Node
from runbooks.procedures.postgresql import fitting, rejoin
from tests.unit.test_promoting import FITS, Estate, World, made

SMALL = {**FITS, "max_connections": "90"}


@dataclass
class Heard:
    said: list[str] = field(default_factory=list)
    noted: list[str] = field(default_factory=list)

    def context(self, folder: Path) -> Context[Any, Any]:
        def note(what: str, **data: Any) -> None:
            self.noted.append(f"{what}: {data['what_was']}")

        options = rejoin.RejoinOptions(yes=True)
        return Context(Estate(data={"postgres_version": 17}), options, folder, say=self.said.append, note=note)


def test_what_fits_is_left_as_it_is(tmp_path: Path) -> None:
    heard, world = Heard(), World()
    assert not fitting.fit(heard.context(tmp_path), Layout(17), made("pg1", world))
    assert (world.did, heard.said, heard.noted) == ([], [], [])


def test_what_the_control_file_asks_for_is_raised_and_told(tmp_path: Path) -> None:
    heard, world = Heard(), World(settings=dict(SMALL), up=False)
    assert fitting.fit(heard.context(tmp_path), Layout(17), made("pg1", world))
    assert world.did == ["set max_connections"]
    assert world.settings["max_connections"] == "100"
    assert heard.noted == ["raised: max_connections is 100 now, it was 90: its WAL asks for that"]
    assert "./dr drift" in heard.said[0]


def test_what_its_primary_has_is_asked_for_too_and_nothing_else_is_touched(tmp_path: Path) -> None:
    """A standby's own control file tells only what it has replayed; hindrances of a promotion are no matter of size."""
    world = World(settings={**FITS, "max_connections": "110", "summarize_wal": "on"})
    larger = World(needs=120)
    assert fitting.fit(Heard().context(tmp_path), Layout(17), made("pg1", world), made("pg2", larger))
    assert world.settings == {**FITS, "max_connections": "120", "summarize_wal": "on"}


@pytest.mark.parametrize("meets", [120, 0])
def test_a_rejoin_starts_once_more_what_met_a_larger_primary_in_its_wal(tmp_path: Path, meets: int) -> None:
    """After a re-clone: the backup was small, the WAL behind it is not, and its primary is small again by now."""
    heard, world = Heard(), World(up=False, meets=meets, starts=bool(meets))
    if meets:
        rejoin._start(heard.context(tmp_path), made("pg1", world))
        assert world.did == ["start", "set max_connections", "start"]
        assert world.up
    else:  # what fails for another reason fails as before
        with pytest.raises(TargetFailed):
            rejoin._start(heard.context(tmp_path), made("pg1", world))
        assert world.did == ["start"]


def test_one_that_receives_and_has_paused_is_brought_back_where_it_is_named() -> None:
    node = Node(made("pg2", World()), True, online=True, in_recovery=True, receiving_from="pg1", replay_paused=True)
    assert node.streams
    assert rejoin._is_out(node, "pg2")
    assert not rejoin._is_out(node, "")
    assert not rejoin._is_out(node, "pg1")
