"""What TDengine's runbooks decide without a server: selections, refusals, the words of the agents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inventories.errors import BadInput, DrError, Refused, TargetFailed
from runbooks.actions import app as app_actions
from runbooks.actions.app import Replayed
from runbooks.agent import ask, failure
from runbooks.backups.tdengine_validation import Validation
from runbooks.engine.context import Context
from runbooks.hosts import Host, Ran, Run
from runbooks.probes.tdengine import ground as td_ground
from runbooks.probes.tdengine import restore as td_restore
from runbooks.probes.tdengine.ground import Ground
from runbooks.probes.tdengine.servers import Server
from runbooks.procedures.tdengine import common, rebuild
from runbooks.procedures.tdengine import restore as tdengine_restore
from runbooks.procedures.tdengine.rebuild import TDENGINE_REBUILD, TdengineRebuildOptions
from runbooks.procedures.tdengine.restore import TDENGINE_RESTORE, TdengineRestore, TdengineRestoreOptions
from runbooks.tdengine.selection import TdMode, TdSelection, check_name, mode_of

SAID = {
    "label": "20261121-100000F", "database": "market_data", "started_at": 1.0, "seconds": 0.5,
    "tables": {"tick_data": {"rows": 10, "missing": 4, "other": 1, "live": 6}},
    "missing": [["tick_data", 494000, 4]], "flaws": [], "sentence": "4 of 10 rows are NOT in market_data",
}  # fmt: skip


class FakeHost:
    """A host whose one command ends as told: the process boundary."""

    name = "backup1"

    def __init__(self, rc: int = 0, stdout: str = "", stderr: str = "") -> None:
        self._ran = Ran(rc, stdout, stderr, 0.1)
        self.asked: tuple[object, ...] = ()

    def run(self, command: str, *args: object, **_: object) -> Ran:
        self.asked = (command, *args)
        return self._ran

    def __str__(self) -> str:
        return self.name


class _Nowhere:
    name, inventory, data = "nowhere", "lab", {"tdengine_database": "market_data"}


def context(options: Any) -> Run:
    return Context(estate=_Nowhere(), options=options, run_dir=Path("20261121T100000Z-tdengine"))  # type: ignore[arg-type]


def host(*ended: Any) -> Any:
    return FakeHost(*ended)


@pytest.mark.parametrize(("rc", "family"), [(1, TargetFailed), (2, BadInput), (3, Refused), (-9, TargetFailed)])
def test_an_agent_that_ended_badly_is_an_error_of_its_family(rc: int, family: type[DrError]) -> None:
    with pytest.raises(family, match=r"backup1: KEEP refuses\.") as told:
        ask(host(rc, "", "Restoring data-0001\nKEEP refuses.\nHINT: ALTER it.\n"), "tdengine.backup.restore", timeout=5)
    assert type(told.value) is family
    assert told.value.hint == "ALTER it."


def test_an_agent_that_says_nothing_is_still_a_sentence() -> None:
    assert str(failure(host(), Ran(1, "", "", 0.0))) == "backup1: it said nothing"


@pytest.mark.parametrize(
    ("rc", "said"),
    [
        (1, "python3: No module named agents.jobs.runner"),
        (2, "The request names what nobody knows: at."),
        (2, "can't cd to /opt"),
    ],
)
def test_agents_of_another_version_are_brought_by_a_deploy(rc: int, said: str) -> None:
    assert failure(host(), Ran(rc, "", f"{said}\n", 0.0)).hint.startswith("./dr deploy brings the agents")
    assert failure(host(), Ran(rc, "", f"{said}\nHINT: its own\n", 0.0)).hint == "its own"


def test_a_comparison_that_found_rows_missing_is_an_answer_and_anything_else_is_not() -> None:
    found = td_restore.compare(host(1, json.dumps(SAID)), TdSelection(), 5)
    assert (found.lost, found.other, found.sound) == (4, 1, False)
    with pytest.raises(TargetFailed, match="lets nobody in"):
        td_restore.compare(host(1, "", "TDengine lets nobody in.\n"), TdSelection(), 5)


def test_what_was_selected_reaches_the_agent_word_by_word() -> None:
    here = host(0, json.dumps(SAID))
    selection = TdSelection(label="L", tables=("a", "b"), symbols=("600000",), since="T", until="U", into="side")
    td_restore.compare(here, selection, 5)
    words = ("--label=L", "--into=side", "--tables=a,b", "--symbols=600000", "--from=T", "--to=U")
    assert here.asked[1:] == words
    assert selection.is_part and not TdSelection(label="L").is_part


def test_a_symbol_that_looks_like_an_option_stays_a_symbol() -> None:
    assert tuple(TdSelection(symbols=("--plan",)).words()) == ("--symbols=--plan",)


def test_modes_and_names_that_there_are_not_are_bad_input() -> None:
    assert mode_of(" Overwrite ") is TdMode.OVERWRITE
    with pytest.raises(BadInput, match="'upsert'"):
        mode_of("upsert")
    for name in ("information_schema", "mystocks_dr", "a b", "Ä", "x`y", "1st"):
        with pytest.raises(BadInput, match="is no name"):
            check_name(name)
    check_name("")
    check_name("market_side")


def test_jobs_out_of_range_are_bad_input_before_a_host_is_asked() -> None:
    with pytest.raises(BadInput, match="--jobs is 99"):
        TDENGINE_RESTORE.initial(context(TdengineRestoreOptions(jobs=99)))


@pytest.mark.parametrize(
    ("own", "mode", "lost", "there", "wanted"),
    [
        (True, TdMode.MISSING, 5, True, True),
        (True, TdMode.MISSING, 0, True, False),
        (True, TdMode.MISSING, 0, False, True),
        (True, TdMode.OVERWRITE, 5, True, False),  # the shadow would bring back what is taken back
        (False, TdMode.MISSING, 5, False, False),
    ],
)
def test_the_shadow_is_written_again_only_where_production_lost_rows(
    own: bool, mode: TdMode, lost: int, there: bool, wanted: bool
) -> None:
    state = TdengineRestore(own=own, mode=mode, lost=lost, there=there)
    assert tdengine_restore.lost_rows_of_production(context(TdengineRestoreOptions()), state) is wanted


@pytest.mark.parametrize(
    ("own", "mode", "lost", "tables", "wanted"),
    [
        (True, TdMode.OVERWRITE, 0, (), True),
        (True, TdMode.OVERWRITE, 0, ("minute_kline",), True),
        (True, TdMode.OVERWRITE, 0, ("tick_data",), False),  # a tick's event is part of its key
        (True, TdMode.MISSING, 0, (), True),
        (False, TdMode.OVERWRITE, 5, (), False),
    ],
)
def test_what_was_corrected_while_a_restore_wrote_is_written_again_in_production(
    own: bool, mode: TdMode, lost: int, tables: tuple[str, ...], wanted: bool
) -> None:
    state = TdengineRestore(own=own, mode=mode, lost=lost, selection=TdSelection(tables=tables))
    assert tdengine_restore.is_written_beside(context(TdengineRestoreOptions()), state) is wanted


class _Box:
    def __init__(self, shadow_bytes: int | None) -> None:
        self.shadow_bytes, self.dead_rows = shadow_bytes, 3


def test_corrections_are_looked_for_since_the_restore_began_to_write_and_the_clocks_may_differ(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The older value of a bar was written over one that came between the restore's look and its write."""
    asked: list[tuple[float, tuple[str, ...]]] = []

    def replayed(host: object, since: float, tables: tuple[str, ...], timeout: float) -> Replayed:
        asked.append((since, tables))
        return Replayed(7, 0, 0)

    monkeypatch.setattr(_Nowhere, "app", "app1", raising=False)
    monkeypatch.setattr(common, "outbox", lambda context: _Box(10))
    monkeypatch.setattr(app_actions, "replay_shadow", replayed)
    here = context(TdengineRestoreOptions())
    monkeypatch.setattr(type(here), "remaining", lambda self: 5.0)
    state = TdengineRestore(own=True, mode=TdMode.OVERWRITE, backup_at=1000.0, writing_at=9000.0)
    state = tdengine_restore.requeue(here, state)
    ((since, tables),) = asked
    assert since == 9000.0 - common.CLOCKS_S
    assert "minute_kline" in tables and "tick_data" not in tables
    assert state.dead_before == 3 and state.requeued == 0
    assert "7 rows of" in state.told[0]

    monkeypatch.setattr(common, "outbox", lambda context: _Box(None))
    assert "may have its older value" in common.correct(here, state).degraded[0]
    assert len(asked) == 1


def test_a_table_that_the_application_host_does_not_write_is_restored_and_nothing_is_queued_again() -> None:
    """A table of somebody else's was dropped: "There is no table bars" ended the restore after its rows were back."""
    state = TdengineRestore(own=True, lost=80, selection=TdSelection(tables=("bars",)))
    assert not tdengine_restore.is_written_beside(context(TdengineRestoreOptions()), state)
    assert common.written_tables(("bars", "tick_data")) == ("tick_data",)


def ground(name: str, **facts: Any) -> Ground:
    return Ground(Host(name, entry=None, ssh_config=Path()), ssh=True, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "replace", "words", "hint"),
    [
        ([{"online": True, "rows": 7, "holds": True}], False, "serves 7 rows", "tdengine-restore"),
        ([{"holds": True}], False, "holds data, and TDengine does not run", "--replace"),
        ([{"holds": True}, {}, {}], False, "holds a copy of the rows, and without the others", "acknowledged since"),
        ([{"holds": True, "mounted": True}], True, "file system of its own", "by hand"),
        ([{}, {"online": True, "rows": 7, "holds": True}], True, "tsdb2 serves 7 rows", "tdengine-rejoin"),
    ],
)
def test_what_is_not_lost_is_not_rebuilt(
    monkeypatch: pytest.MonkeyPatch, seen: list[dict[str, Any]], replace: bool, words: str, hint: str
) -> None:
    hosts = tuple(ground(f"tsdb{number}", **facts) for number, facts in enumerate(seen, 1))
    monkeypatch.setattr(td_ground, "survey", lambda estate, database: hosts)
    with pytest.raises(Refused, match=words) as told:
        rebuild.nothing_is_served(context(TdengineRebuildOptions(replace=replace)))
    assert hint in told.value.hint


@pytest.mark.parametrize(
    ("facts", "replace"),
    [({}, False), ({"online": True, "rows": 0, "holds": True}, False), ({"holds": True}, True)],
)
def test_a_blank_host_an_empty_server_and_data_to_be_moved_aside_are_rebuilt(
    monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any], replace: bool
) -> None:
    monkeypatch.setattr(td_ground, "survey", lambda estate, database: (ground("tsdb1", **facts),))
    rebuild.nothing_is_served(context(TdengineRebuildOptions(replace=replace)))


@pytest.mark.parametrize(
    ("vnodes", "member", "online", "holds"),
    [("yes", "", False, True), ("", "yes", False, True), ("", "yes", True, False), ("", "", False, False)],
    ids=["data", "waits for a lost cluster", "serves nothing yet", "blank"],
)
def test_a_node_that_waits_for_a_cluster_which_is_gone_is_in_the_way_of_another(
    monkeypatch: pytest.MonkeyPatch, vnodes: str, member: str, online: bool, holds: bool
) -> None:
    """A deploy put blank nodes into a cluster that had no majority; a rebuild's own ended at 'Mnode not found'."""
    said = f"holds={vnodes}\nmember={member}\nmounted=\nfree=1000\n"
    one = ground("tsdb1").host
    monkeypatch.setattr(td_ground.servers, "look", lambda _: Server(one, ssh=True, online=online))
    monkeypatch.setattr(td_ground, "rows", lambda *_: 0)
    monkeypatch.setattr(Host, "run", lambda *_, **__: Ran(0, said, "", 0.1))
    assert td_ground.look(one, "market_data").holds is holds


def test_data_are_moved_to_the_same_place_by_every_attempt_of_a_run() -> None:
    assert rebuild.aside(context(TdengineRebuildOptions())) == "/var/lib/taos.replaced-20261121T100000Z"


def test_rows_come_from_the_shadow_before_the_backup_and_what_waits_comes_last() -> None:
    names = TDENGINE_REBUILD.step_names
    order = ("deploy", "requeue", "restore", "correct", "drain-outbox")
    assert sorted(order, key=names.index) == list(order)
    assert names.index("validate") < names.index("backup"), "what is not whole is not backed up as the newest"


def test_a_validation_tells_each_table_and_what_to_run() -> None:
    text = Validation(td_restore.parse(SAID), 3, 1).render()
    assert "tick_data: 10 rows in 20261121-100000F, 4 missing, 1 with other content, 6 live" in text
    assert "3 rows wait, 1 dead letters" in text
    assert "HINT: ./dr tdengine-restore" in text
    whole = td_restore.parse({**SAID, "tables": {"tick_data": {"rows": 10, "missing": 0, "other": 0, "live": 10}}})
    assert Validation(whole, 0, 0).sound
    assert not Validation(whole, 0, 1).sound, "a dead letter is a row that is lost"


def test_a_validation_over_no_row_proves_nothing() -> None:
    empty = td_restore.parse({**SAID, "tables": {"tick_data": {"rows": 0, "missing": 0, "other": 0, "live": 0}}})
    for found in (empty, td_restore.parse({**SAID, "tables": {}})):
        validation = Validation(found, 0, 0)
        assert not validation.sound
        assert "no row was compared, which proves nothing" in validation.render()


def test_a_tick_that_is_not_what_it_was_is_no_correction() -> None:
    tables = {name: {"rows": 10, "missing": 0, "other": 3, "live": 10} for name in ("tick_data", "minute_kline")}
    found = Validation(td_restore.parse({**SAID, "tables": tables}), 0, 0, growing=frozenset({"tick_data"}))
    assert not found.sound and len(found.wrong) == 1
    assert "3 rows of tick_data are not what they were" in found.brief
    assert "HINT: ./dr tdengine-restore --mode overwrite" in found.render()
    bars = td_restore.parse({**SAID, "tables": {"minute_kline": tables["minute_kline"]}})
    assert Validation(bars, 0, 0, growing=frozenset({"tick_data"})).sound, "a bar that was corrected"
