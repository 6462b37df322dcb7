"""Of several standbys: on how many each acknowledged row is, as the record says it and as it is settled."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from agents.guard import record as program
from inventories.quorum import Quorum
from runbooks.judge import record as judge
from runbooks.probes.postgresql.server import Standby
from runbooks.record.settle import settle
from runbooks.record.types import Known
from tests.unit.record_kit import Desk, a_record
from tests.unit.record_kit import desk as desk
from tests.unit.test_record import acts, hosts_are, node, written

__all__ = ["hosts_are"]

BOTH = ("pg2", "pg3")


def of_three(*, flushed: tuple[int | None, int | None] = (100, 100), least: int = 1) -> dict[str, Any]:
    """pg1 with two standbys; None: that one is away."""
    there = [(name, at) for name, at in zip(BOTH, flushed, strict=True) if at is not None]
    streams = tuple(Standby(name, "streaming", "quorum", at, at, 0.0) for name, at in there)
    return {"standbys": streams, "waits_for": Quorum(least, ("pg1", *BOTH))}


@pytest.mark.parametrize(
    ("changes", "standbys", "quorum"),
    [
        (of_three(), BOTH, 1),  # either may have a row that the other has not
        (of_three(flushed=(100, None)), BOTH, 1),  # one is away, and may have some from before
        (of_three(flushed=(50, 100)), BOTH, 1),  # one lags
        (of_three(least=2), BOTH, None),  # each has every row
        (of_three(least=2, flushed=(100, 50)), (), None),  # what was committed alone has not arrived on both
        (of_three(flushed=(50, 50)), (), None),
    ],
)
def test_of_several_standbys_it_is_recorded_on_how_many_each_row_is(
    desk: Desk, hosts_are: Callable[..., None], changes: dict[str, Any], standbys: tuple[str, ...], quorum: int | None
) -> None:
    hosts_are(**changes)
    settle(desk.keeper(acts(desk)))
    for name in ("backup1", "pg1", "pg2"):
        said = written(desk, name)
        assert (tuple(said["synchronous"]), said.get("quorum")) == (standbys, quorum)


def test_the_document_of_one_standby_has_no_quorum(desk: Desk, hosts_are: Callable[..., None]) -> None:
    hosts_are(waits_for=Quorum(1, ("pg1", "pg2")))
    settle(desk.keeper(acts(desk)))
    assert "quorum" not in written(desk, "backup1")


@pytest.mark.parametrize(("quorum", "schema"), [(1, 2), (None, 1)])
def test_a_version_that_knows_no_quorum_says_that_a_later_one_wrote_it(
    desk: Desk, quorum: int | None, schema: int
) -> None:
    """It would call the record damaged, and write another one. What has no quorum it goes on reading."""
    desk.everywhere(a_record(synchronous=BOTH, quorum=quorum))
    mine = acts(desk)
    for name in ("backup1", "pg1", "pg2"):
        assert json.loads(desk.document(name).read_text())["schema"] == schema
    assert isinstance(desk.answer, Known)
    desk.keeper(mine).without(desk.answer, "pg3", "its data are replaced")
    assert json.loads(desk.document("backup1").read_text())["schema"] == 1


def test_a_quorum_that_was_written_before_its_version_was_raised_is_still_read(desk: Desk) -> None:
    desk.everywhere(a_record(synchronous=BOTH, quorum=1))
    for name in ("backup1", "pg1", "pg2"):
        path = desk.document(name)
        path.write_text(path.read_text().replace('"schema": 2', '"schema": 1'))
    assert isinstance(desk.answer, Known)
    assert program.show(desk.folder("backup1"))["state"] == "known"


def test_a_quorum_that_hangs_is_not_taken_back(desk: Desk, hosts_are: Callable[..., None]) -> None:
    desk.everywhere(a_record(synchronous=BOTH, quorum=1))
    hosts_are(**of_three(flushed=(None, None)))
    settle(desk.keeper(acts(desk)))
    assert written(desk, "backup1")["synchronous"] == list(BOTH)


@pytest.mark.parametrize(
    ("before", "names", "least", "after"),
    [
        (("pg2",), BOTH, 1, (BOTH, 1)),  # another one is let in: who had all has not from now on
        (("pg2",), BOTH, 2, (BOTH, 1)),
        (BOTH, BOTH, 1, (BOTH, 1)),  # one less is waited for
        (BOTH, ("pg2",), 1, (BOTH, 1)),
    ],
)
def test_before_others_may_confirm_commits_the_record_says_no_more_than_holds(
    desk: Desk, before: tuple[str, ...], names: tuple[str, ...], least: int, after: tuple[tuple[str, ...], int]
) -> None:
    desk.everywhere(a_record(synchronous=before))
    desk.keeper(acts(desk)).widened(desk.answer, names, least)
    said = written(desk, "backup1")
    assert (tuple(said["synchronous"]), said["quorum"]) == after


@pytest.mark.parametrize(
    ("quorum", "after"), [(1, ([], "degraded")), (None, (["pg2"], "synchronous"))], ids=["one of two", "each"]
)
def test_what_a_replaced_standby_alone_had_confirmed_is_nobodys_any_more(
    desk: Desk, quorum: int | None, after: tuple[list[str], str]
) -> None:
    desk.everywhere(a_record(synchronous=BOTH, quorum=quorum))
    desk.keeper(acts(desk)).without(desk.answer, "pg3", "its data are replaced")
    said = written(desk, "backup1")
    assert (said["synchronous"], said["mode"]) == after and "quorum" not in said


def test_nothing_is_written_where_nothing_is_widened(desk: Desk) -> None:
    desk.everywhere(a_record())
    assert desk.keeper(acts(desk)).widened(desk.answer, ("pg2",), 1) is None


@pytest.mark.parametrize("quorum", [0, 2, 3, "1", True])
def test_a_quorum_that_cannot_be_is_not_believed(quorum: object) -> None:
    good = a_record(synchronous=BOTH, quorum=1).model_dump(mode="json")
    assert program.wrong_record(good) == ""
    assert program.wrong_record({**good, "quorum": quorum})


@pytest.mark.parametrize(
    ("quorum", "seen", "lacks"),
    [
        (1, {"pg2"}, ("pg3",)),  # pg3 alone may have it
        (1, {"pg2", "pg3"}, ()),
        (None, {"pg2"}, ()),  # each has every row
        (None, set(), ("pg2", "pg3")),
    ],
)
def test_whose_absence_leaves_rows_unknown(quorum: int | None, seen: set[str], lacks: tuple[str, ...]) -> None:
    assert a_record(synchronous=BOTH, quorum=quorum).lacks(seen) == lacks


@pytest.mark.parametrize(
    ("known", "changes", "words"),
    [
        ({"synchronous": BOTH, "quorum": 1}, of_three(), ""),
        ({"synchronous": BOTH, "quorum": 1}, of_three(flushed=(100, None)), ""),  # one is away: nothing has changed
        ({}, of_three(), "each row is on 1 of pg2"),  # pg3 confirms commits, and nobody knows
        ({"synchronous": BOTH}, of_three(), "each row is on 2 of pg2 and pg3"),
        ({"synchronous": (), "mode": "degraded"}, of_three(), "nobody has every row"),
    ],
)
def test_a_record_that_promises_other_standbys_than_the_server_waits_for_is_told(
    known: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    primary = replace(node("pg1"), in_recovery=False, written=100, synchronous=True, timeline=1, **changes)
    found = [one.measured for one in judge._against(None, primary, a_record(**known))]  # type: ignore[arg-type]
    assert [words in one for one in found] == ([True] if words else [])
