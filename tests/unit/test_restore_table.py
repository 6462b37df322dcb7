"""What restore-table decides without a server: names, modes, structure, order, refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from inventories.errors import BadInput, Refused
from runbooks.engine.context import Context
from runbooks.hosts import Run
from runbooks.probes.postgresql import tables
from runbooks.procedures.postgresql import table_copy
from runbooks.procedures.postgresql.restore_table import (
    RESTORE_TABLE,
    RestoreTableOptions,
    mode_of,
    tables_of,
    wanted,
)
from runbooks.table_copy.counts import Counts, Mode, TablePlan, held, remarks, sentence
from runbooks.table_copy.shape import Column, ForeignKey, Shape, parents_first

TIME = "2026-11-21 10:00:00+08"
NOBODY = tables.Server(None, "nowhere")  # type: ignore[arg-type]


class _Nowhere:
    name = "nowhere"


def context(**said: object) -> Run:
    return Context(estate=_Nowhere(), options=RestoreTableOptions.model_validate(said), run_dir=Path("run"))  # type: ignore[arg-type]


def refers(child: str, parent: str) -> ForeignKey:
    return ForeignKey(
        name=f"{child}_{parent}", child=child, columns=("up",), parent=parent, parent_columns=("id",),
        definition=f"FOREIGN KEY (up) REFERENCES {parent}(id)",
    )  # fmt: skip


def shape(name: str, *parents: str) -> Shape:
    return Shape(
        name=name, columns=(Column(name="id", type="integer"), Column(name="up", type="integer")), key=("id",),
        foreign_keys=tuple(refers(name, parent) for parent in parents),
    )  # fmt: skip


def plan(name: str = "kids", live: bool = True, **counts: object) -> TablePlan:
    seen = Counts.model_validate({"table": name, "restored": 10, **counts})
    return TablePlan(copied=shape(name, "parents"), live=shape(name, "parents") if live else None, counts=seen)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"to_time": TIME}, "no table was named"),
        ({"tables": ("a", "b", "a"), "to_time": TIME}, "a is named twice"),
        ({"tables": ("a",)}, "no target was given"),
        ({"tables": ("a",), "to_time": "2026-11-21 10:00:00"}, "no time zone"),
        ({"tables": ("a",), "to_time": TIME, "to_xid": "743"}, "two targets"),
        ({"tables": ("a",), "to_time": TIME, "source": "pitr"}, "both given"),
    ],
)
def test_what_cannot_be_meant_is_bad_input_before_a_host_is_asked(said: dict[str, object], words: str) -> None:
    with pytest.raises(BadInput, match=words) as told:
        wanted(context(**said))
    assert told.value.hint


def test_an_open_side_cluster_needs_no_target() -> None:
    state = wanted(context(tables=("a",), source="pitr"))
    assert (state.side, state.aim) == ("pitr", None)


def test_an_unknown_mode_names_those_there_are() -> None:
    with pytest.raises(BadInput, match="'overwrite'") as told:
        mode_of("overwrite")
    assert told.value.hint == "--mode is one of merge, replace, beside"
    assert mode_of(" Replace ") is Mode.REPLACE


def test_a_slip_of_the_pen_is_told_with_the_nearest_and_all_others() -> None:
    with pytest.raises(BadInput, match="'order_record'") as told:
        table_copy.known_names(["order_record"], {}, anything=False)
    assert "did you mean order_records" in told.value.hint
    assert "account_funds" in told.value.hint
    assert table_copy.known_names(["order_record"], {}, anything=True) == ()
    assert table_copy.known_names(["mine"], {"mine"}, anything=False) == ()


def test_a_dropped_table_that_the_catalogue_does_not_know_is_looked_for_in_the_copy() -> None:
    there = {"orders_2024", "audit.notes"}
    assert table_copy.known_names(["orders_2025", "audit.gone"], there, anything=False) == ("orders_2025", "audit.gone")


def test_what_an_earlier_restore_left_is_never_overwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"a_replaced", "audit.b_restored"}
    monkeypatch.setattr(tables, "taken", lambda _live, names: tuple(name for name in names if name in there))
    with pytest.raises(Refused, match="a_replaced is there already"):
        table_copy.free_names(["a"], Mode.REPLACE, True, NOBODY)
    with pytest.raises(Refused, match=r"audit\.b_restored is there already"):
        table_copy.free_names(["audit.b"], Mode.BESIDE, True, NOBODY)
    table_copy.free_names(["a", "b"], Mode.MERGE, True, NOBODY)
    table_copy.free_names(["a", "b"], Mode.REPLACE, False, NOBODY)
    for name in ("x" * 60, "录" * 19):
        with pytest.raises(BadInput, match="63 bytes"):
            table_copy.free_names([name], Mode.BESIDE, True, NOBODY)


def test_a_name_that_cannot_be_read_is_bad_input() -> None:
    assert tables_of('orders, audit."a.b"') == ("orders", 'audit."a.b"')
    with pytest.raises(BadInput, match=r"a\.b\.c") as told:
        tables_of("orders, a.b.c")
    assert "double quotes" in told.value.hint


def test_parents_come_before_their_children_and_circles_end() -> None:
    shapes = [shape("c", "b"), shape("b", "a"), shape("a", "a")]
    assert parents_first(shapes) == ("a", "b", "c")
    assert set(parents_first([shape("x", "y"), shape("y", "x")])) == {"x", "y"}


def test_nothing_to_restore_is_a_refusal_not_a_success() -> None:
    with pytest.raises(Refused, match="had no rows at that point"):
        table_copy.judge([plan(restored=0)], Mode.REPLACE)
    table_copy.judge([plan(live=False, restored=0)], Mode.MERGE)  # a dropped table was empty: it comes back so


def test_rows_without_their_parent_are_refused_with_the_parent_proposed() -> None:
    orphaned = plan(missing=3, orphans={"kids_parents": 3})
    with pytest.raises(Refused, match="3 rows to be restored into kids") as told:
        table_copy.judge([orphaned], Mode.MERGE)
    assert "--tables parents,kids" in told.value.hint
    table_copy.judge([orphaned], Mode.BESIDE)


def test_a_foreign_key_of_a_living_table_comes_back_with_its_parent() -> None:
    kids = refers("kids", "parents")
    parents = TablePlan(copied=shape("parents"), referred_by=(kids,))
    assert table_copy.lost_keys([parents, plan(live=True)]) == (kids,)
    assert table_copy.lost_keys([plan(live=True).model_copy(update={"referred_by": (kids,)})]) == ()


def test_children_that_a_replacement_would_reach_are_told_with_what_it_would_do() -> None:
    fk = refers("audit.notes", "kids").model_copy(update={"on_delete": "c", "on_update": "n"})
    live = shape("kids").model_copy(update={"referred_by": (fk,)})
    found = plan(only_live=2, bereaved={fk.label: 4}).model_copy(update={"live": live})
    with pytest.raises(Refused, match=r"4 live rows of audit\.notes .*ON DELETE CASCADE ON UPDATE SET NULL") as told:
        table_copy.judge([found], Mode.REPLACE)
    assert "--tables kids,audit.notes" in told.value.hint
    table_copy.judge([found], Mode.MERGE)


def test_a_value_that_is_taken_is_told_with_who_has_it() -> None:
    found = plan(missing=5, collisions={"kids_no_key": {"rows": 5, "some": [["(3)", "(30)"], ["(4)", "(40)"]]}})
    with pytest.raises(Refused, match=r"5 rows .* in kids_no_key: \(3\) meets \(30\), \(4\) meets \(40\), \.\.\."):
        table_copy.judge([found], Mode.MERGE)
    table_copy.judge([found], Mode.BESIDE)
    table_copy.judge([plan(missing=5, collisions={"kids_no_key": {"rows": 0}})], Mode.MERGE)


def test_what_does_not_come_back_needs_consent() -> None:
    lossy = plan().model_copy(update={"lost": ("kids.old is gone: its 3 values do not come back", "more")})
    with pytest.raises(Refused, match=r"kids\.old is gone.*and 1 more") as told:
        table_copy.judge_losses([lossy], Mode.MERGE, accepted=False)
    assert "--accept-loss" in told.value.hint
    table_copy.judge_losses([lossy], Mode.MERGE, accepted=True)
    table_copy.judge_losses([lossy], Mode.BESIDE, accepted=False)
    assert "does not come back: kids.old is gone: its 3 values do not come back" in remarks(lossy, Mode.MERGE)


@pytest.mark.parametrize("where", ["1 = 1; DROP TABLE x", "1 = 1 -- all", "/* */ true"])
def test_more_than_a_condition_never_reaches_a_server(where: str) -> None:
    with pytest.raises(BadInput, match="more than one condition"):
        table_copy.check_condition(None, [], where)  # type: ignore[arg-type]


def test_the_plan_says_what_each_mode_would_do() -> None:
    found = plan(missing=2, differing=3, superseded=1, only_live=1)
    assert "2 are inserted, 2 altered rows stay as they are" in sentence(found, Mode.MERGE)
    assert "2 are inserted, 3 overwritten, 1 deleted" in sentence(found, Mode.REPLACE)
    assert "all 10 go to kids_restored" in sentence(found, Mode.BESIDE)
    assert "made again with its 10 rows" in sentence(plan(live=False), Mode.MERGE)


def test_an_aggregate_is_refreshed_by_force_as_nobody_has_noted_what_was_written() -> None:
    known = plan(missing=1)
    assert known.live
    told = remarks(known.model_copy(update={"live": known.live.model_copy(update={"caggs": ("daily",)})}), Mode.MERGE)
    assert "kids: daily has to be refreshed by hand" in told[-1] and "force => true" in told[-1]


def test_without_consent_the_procedure_only_looks() -> None:
    writing = [step.name for step in RESTORE_TABLE.steps if not step.observes]
    assert writing == ["write", "check", "drop-side"]
    assert all(step.option == "yes" for step in RESTORE_TABLE.steps if step.name in writing)
    assert [step.name for step in RESTORE_TABLE.steps if step.destructive] == ["write"]


def test_rows_that_a_merge_left_with_other_values_are_told_at_its_end() -> None:
    found = {"table": "kids", "restored": 10, "superseded": 1}
    assert held(Counts.model_validate({**found, "differing": 1})) == (
        "kids: all 10 rows of the copy are there, 1 superseded since"
    )
    assert held(Counts.model_validate({**found, "differing": 4})).endswith(
        "1 superseded since, 3 with other values, as they were before"
    )
