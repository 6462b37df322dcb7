"""Which source a restore takes where a standby is delayed: that standby, another one, the repository, or a refusal."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inventories.errors import BadInput, DrError, Refused, Unreachable, VerificationFailed
from inventories.inventory import HostEntry
from runbooks.engine.context import Context
from runbooks.hosts import Host, Run
from runbooks.probes.postgresql import server, side, window
from runbooks.probes.postgresql.archive import Commit
from runbooks.probes.postgresql.window import Family, Lock, Place, Window
from runbooks.procedures.postgresql import delayed, restore_table
from runbooks.procedures.postgresql.pitr_state import RestorePitr, RestorePitrOptions
from runbooks.procedures.postgresql.restore_table import RestoreTable, RestoreTableOptions
from runbooks.procedures.postgresql.targets import parse
from runbooks.table_copy.counts import Counts, TablePlan

AT = datetime(2026, 11, 28, 12, tzinfo=UTC)
BEFORE, BAD = Commit(0x6000000, 742, AT), Commit(0x6000100, 743, AT.replace(hour=13))
FOUND = Place(stop=0x6000100, times=1, before=BEFORE, after=BAD)
LOCK = Lock(0x60000F0, 743, 16384, 500, 0)
ORDERS, OTHER = (Family(frozenset({n}), frozenset({n})) for n in (500, 600))


def host(name: str) -> Host:
    entry = HostEntry(name=name, ssh_hostname="192.0.2.23", apply_delay="1h", synchronous=False)
    return Host(name, entry, Path("ssh_config"))


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the delayed standbys say; a test changes it."""
    world: dict[str, Any] = {
        "window": Window(0x5000000, AT.timestamp(), 740), "place": FOUND, "sides": (), "away": "", "families": {},
    }  # fmt: skip

    def answers(one: Host) -> None:
        if one.name == world["away"]:
            raise Unreachable(f"{one.name} does not answer")

    monkeypatch.setattr(Host, "must_answer", answers)
    monkeypatch.setattr(side, "every", lambda *_: world["sides"])
    monkeypatch.setattr(server, "look", lambda one, *_: server.Node(one, ssh=True, online=True, in_recovery=True))
    monkeypatch.setattr(window, "look", lambda _: world["window"])
    monkeypatch.setattr(window, "locate", lambda *_: world["place"])
    monkeypatch.setattr(window, "relations", lambda *_: (world["families"], 16384))
    return world


def run(said: list[str], options: Any = None, *names: str) -> Run:
    estate = SimpleNamespace(
        name="nowhere", inventory="nowhere", delayed=tuple(map(host, names)),
        data={"database": "quant_research", "postgres_version": 17},
    )  # fmt: skip
    context: Any = Context(
        estate=estate, options=options or RestorePitrOptions(), run_dir=Path("run"), say=said.append  # type: ignore[arg-type]
    )
    return replace(context, deadline=context.clock() + 60)


def aim(**target: Any) -> RestorePitr:
    return RestorePitr(target=parse(**target), primary="pg1", goal=2, old_timeline=2)


XID = {"to_xid": "743"}
OPEN = SimpleNamespace(name="t", standby=True, running=True, ready=True)
OF_A_BACKUP = SimpleNamespace(name="pitr", standby=False, ready=True)


def test_a_target_before_a_delayed_standby_is_opened_there_and_that_is_said(
    said: list[str], there: dict[str, Any]
) -> None:
    state = delayed.found(run(said, None, "pg3"), aim(**XID))
    assert (state.delayed, state.at, state.stop_lsn) == ("pg3", "pg3", 0x6000100)
    assert str(state.stop) == "LSN 0/6000100, that excluded"
    assert "transaction 742" in state.before[0] and "transaction 743" in state.after[0]
    assert "pg3, 1h behind, has transaction 743" in said[0]


def test_without_one_nothing_is_said_and_the_repository_is_taken(said: list[str], there: dict[str, Any]) -> None:
    state = aim(**XID)
    assert delayed.found(run(said), state) == state and said == []


@pytest.mark.parametrize(
    "options",
    [
        {"source": "repository"}, {"swap": True}, {"backup_set": "full"}, {"repo": 2}, {"on": "backup1"},
    ],
)
def test_who_asks_for_a_backup_gets_one(said: list[str], there: dict[str, Any], options: dict[str, Any]) -> None:
    state = aim(**XID)
    assert delayed.found(run(said, RestorePitrOptions(**options), "pg3"), state) == state and said == []


@pytest.mark.parametrize(
    ("world", "target", "why"),
    [
        ({"away": "pg3"}, XID, "pg3 does not answer"),
        ({}, {"to_xid": str(743 + (1 << 32))}, "is not in its window"),
        ({"sides": (OF_A_BACKUP,)}, XID, "a side cluster pitr of a backup"),
        ({"place": Place(None)}, XID, "is not in its window, which is 2026-11-28 12:00:00+00 to now"),
        ({"place": replace(FOUND, stop=0x4000000)}, XID, "is not in its window"),
        ({"place": replace(FOUND, times=2)}, {"to_name": "etl"}, "stands 2 times in its window"),
        ({}, {"to_time": "2026-11-28 12:00:00Z"}, "lies before its window, which is 2026-11-28 12:00:00+00 to now"),
        ({"sides": (OPEN,)}, XID, "open as side cluster t"),
    ],
)
def test_why_it_cannot_give_the_target_is_said_and_the_repository_is_taken_unless_only_it_was_asked_for(
    said: list[str], there: dict[str, Any], world: dict[str, Any], target: dict[str, str], why: str
) -> None:
    there.update(world)
    state = aim(**target)
    assert delayed.found(run(said, None, "pg3"), state) == state
    assert why in said[0] and said[0].startswith("from the repository, and not from a delayed standby: pg3: ")
    with pytest.raises(Refused, match="no delayed standby can give") as refused:
        delayed.found(run(said, RestorePitrOptions(source="delayed"), "pg3"), state)
    assert why in str(refused.value) and "repository" in refused.value.hint


def test_along_another_timeline_than_its_own_it_gives_nothing(said: list[str], there: dict[str, Any]) -> None:
    """As a mark names one, which is its own as a rule."""
    options = RestorePitrOptions(timeline=2)
    assert delayed.found(run(said, options, "pg3"), aim(**XID)).delayed == "pg3"
    state = aim(**XID).model_copy(update={"goal": 1})
    assert delayed.found(run(said, options, "pg3"), state) == state
    assert "it follows timeline 2, and timeline 1 was asked for" in said[-1]


def test_of_two_the_one_that_can_give_it_is_taken(said: list[str], there: dict[str, Any]) -> None:
    there["away"] = "pg3"
    assert delayed.found(run(said, None, "pg3", "pg4"), aim(**XID)).delayed == "pg4"
    assert len(said) == 1


def test_what_a_transaction_in_flight_has_locked_is_read_just_before_its_lock(
    said: list[str], there: dict[str, Any]
) -> None:
    there["place"] = replace(FOUND, locks=(LOCK,))
    there["families"] = {"public.orders": Family(frozenset({500}), frozenset({499, 500}))}
    assert delayed.found(run(said, None, "pg3"), aim(**XID), ("public.orders",)).stop_lsn == 0x60000F0
    there["families"] = {"public.other": OTHER}
    assert delayed.found(run(said, None, "pg3"), aim(**XID), ("public.other",)).stop_lsn == 0x6000100
    assert delayed.found(run(said, None, "pg3"), aim(**XID)).stop_lsn == 0x6000100, "to look at, it is as asked for"


def test_a_table_that_is_not_there_yet_may_be_any_that_is_locked(said: list[str], there: dict[str, Any]) -> None:
    there.update(place=replace(FOUND, locks=(LOCK,)), families={"public.new": Family()})
    assert delayed.found(run(said, None, "pg3"), aim(**XID), ("public.new",)).stop_lsn == 0x60000F0


def test_tables_that_others_wrote_while_one_of_them_was_locked_are_refused_together(
    said: list[str], there: dict[str, Any]
) -> None:
    there.update(
        place=replace(FOUND, locks=(replace(LOCK, commits=3),)),
        families={"public.orders": ORDERS, "public.fills": OTHER},
    )
    options = RestorePitrOptions(source="delayed")
    with pytest.raises(Refused, match=r"when others still wrote public\.fills, and both cannot be read"):
        delayed.found(run(said, options, "pg3"), aim(**XID), ("public.orders", "public.fills"))
    there["place"] = replace(FOUND, locks=(LOCK,))  # nobody committed in between
    assert delayed.found(run(said, options, "pg3"), aim(**XID), ("public.orders", "public.fills")).stop_lsn == 0x60000F0


@pytest.mark.parametrize(
    ("options", "names", "why"),
    [
        ({}, (), "has no delayed standby"), ({"swap": True}, ("pg3",), "--from delayed and --swap"),
        ({"backup_set": "full"}, ("pg3",), "--from delayed and --set"), ({"on": "pg1"}, ("pg3",), "and --on"),
        ({"repo": 2}, ("pg3",), "and --repo"),
    ],
)
def test_from_delayed_goes_with_no_word_for_a_backup(
    said: list[str], options: dict[str, Any], names: tuple[str, ...], why: str
) -> None:
    with pytest.raises(BadInput, match=why) as refused:
        delayed.fitting(run(said, RestorePitrOptions(source="delayed", **options), *names))
    assert refused.value.hint
    delayed.fitting(run(said, RestorePitrOptions(**options), *names))


def test_from_names_nothing_else(said: list[str]) -> None:
    with pytest.raises(BadInput, match="--from pitr names no source"):
        delayed.fitting(run(said, RestorePitrOptions(source="pitr"), "pg3"))
    delayed.fitting(run(said, RestoreTableOptions(source="pitr"), "pg3"), is_open=True)


def test_from_names_a_source_with_a_target_and_a_side_cluster_without(said: list[str]) -> None:
    options = RestoreTableOptions(tables=("orders",), source="delayed", to_xid="743")
    state = restore_table.wanted(run(said, options, "pg3"))
    assert state.aim is not None and state.side == restore_table.SIDE
    options = RestoreTableOptions(tables=("orders",), source="pitr")
    assert restore_table.wanted(run(said, options, "pg3")).aim is None
    with pytest.raises(BadInput, match="a target and --from were both given"):
        restore_table.wanted(run(said, RestoreTableOptions(tables=("orders",), source="pitr", to_xid="743"), "pg3"))
    with pytest.raises(BadInput, match="no target was given"):
        restore_table.wanted(run(said, RestoreTableOptions(tables=("orders",), source="delayed"), "pg3"))


def test_it_is_given_back_whatever_goes_wrong_while_it_is_read(
    said: list[str], there: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    monkeypatch.setattr(delayed, "closed", lambda context, state: closed.append(state.delayed))
    context, state = run(said, None, "pg3"), aim(**XID)
    with pytest.raises(DrError), delayed.given_back(context, state):
        raise VerificationFailed("a backup that was restored is dropped by nobody here")
    assert closed == []
    opened = delayed.found(context, state)
    for trouble in (Refused("no"), KeyboardInterrupt()):
        with pytest.raises(type(trouble)), delayed.given_back(context, opened):
            raise trouble
    with delayed.given_back(context, opened):
        pass
    assert closed == ["pg3", "pg3"]


def test_a_partition_that_was_locked_alone_tells_nothing_of_the_rest_of_its_table(
    said: list[str], there: dict[str, Any]
) -> None:
    """As drop_chunks does it: others go on writing the table's other partitions."""
    there["families"] = {"public.orders": Family(frozenset({400}), frozenset({400, 500}))}
    there["place"] = replace(FOUND, locks=(replace(LOCK, commits=2),))
    with pytest.raises(Refused, match=r"still wrote public\.orders"):
        delayed.found(run(said, RestorePitrOptions(source="delayed"), "pg3"), aim(**XID), ("public.orders",))
    there["place"] = replace(FOUND, locks=(LOCK,))
    assert delayed.found(run(said, None, "pg3"), aim(**XID), ("public.orders",)).stop_lsn == 0x60000F0


def test_a_run_that_gave_it_back_is_told_to_start_afresh_and_of_nothing_that_stays_open(
    said: list[str], there: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore_table.beside, "host_of", lambda *_: host("pg3"))
    opened = delayed.found(run(said, None, "pg3"), aim(**XID))
    state = RestoreTable(tables=("orders",), primary="pg1", at="pg3", aim=opened)
    with pytest.raises(Refused) as refused:
        restore_table.source_of(run(said, None, "pg3"), state)
    assert refused.value.hint == "start afresh, without --resume"
    counts = Counts(table="orders", live=1, restored=2, missing=1)
    plan = TablePlan.model_construct(name="orders", counts=None, live=None)
    with pytest.raises(VerificationFailed) as failed:
        restore_table._all_there(state.model_copy(update={"plans": (plan,)}), (counts,))
    assert "pg3 was given back" in failed.value.hint and "open" not in failed.value.hint
