"""Which column of a copy goes into which of a table that was altered since."""

from __future__ import annotations

from runbooks.table_copy.fit import changes, fit
from runbooks.table_copy.pair import Pair
from runbooks.table_copy.shape import Column, Shape


def table(*columns: Column, oid: int = 7, key: tuple[str, ...] = ("id",)) -> Shape:
    return Shape(name="t", columns=columns, key=key, oid=oid)


def column(number: int, name: str, kind: str = "integer", **more: bool) -> Column:
    return Column(name=name, type=kind, number=number, type_id=23, **more)


THEN = table(column(1, "id"), column(2, "old"), column(3, "gone", "text"), column(4, "narrow", "character varying(9)"))


def test_a_table_that_is_as_it_was_is_read_as_it_stands() -> None:
    found = fit(THEN, THEN, {})
    assert found.same and not (found.told or found.lost or found.refused or changes(THEN, THEN))
    assert Pair(THEN, THEN, fit=found).origin == 'ONLY "public"."t" AS t'


def test_a_column_keeps_its_number_under_another_name() -> None:
    now = table(column(2, "new", "bigint"), column(1, "id"), column(4, "old", "character varying(9)"))
    found = fit(THEN, now, {"gone": 3})
    assert {one.name: one.expression for one in found.columns} == {
        "new": '"old"::bigint', "id": '"id"', "old": '"narrow"',
    }  # fmt: skip
    assert "t.old is called new now, and is restored into it" in found.told
    assert found.lost == ("t.gone is not in the table now: its 3 values do not come back",)
    origin = Pair(THEN, now, fit=found).origin
    assert origin == '(SELECT "old"::bigint AS "new", "id" AS "id", "narrow" AS "old" FROM ONLY "public"."t") AS t'


def test_a_table_that_was_made_again_is_matched_by_name() -> None:
    now = table(column(1, "old"), column(2, "id"), oid=8)
    assert {one.name: one.source for one in fit(THEN, now, {"gone": 0, "narrow": 0}).columns} == {
        "old": "old", "id": "id",
    }  # fmt: skip


def test_what_does_not_fit_stays_out_and_is_told() -> None:
    now = table(column(1, "id"), column(2, "old", "uuid"), column(3, "gone", "text"), column(4, "narrow", "text"))
    found = fit(THEN, now, {"old": None, "narrow": 0})
    assert found.added == ("old",)
    assert found.lost == (
        "t.old was integer and is uuid now: not every value can be converted, so none comes back",
    )
    assert "t.narrow was character varying(9) and is text now: every value fits" in found.told
    assert [change.source for change in changes(THEN, now)] == ["old", "narrow"]


def test_nothing_is_restored_without_its_key_or_what_must_have_a_value() -> None:
    must = table(*THEN.columns, column(9, "must", nullable=False))
    assert "t.must must have a value" in fit(THEN, must, {}).refused
    filled = table(*THEN.columns, column(9, "must", nullable=False, filled=True))
    assert not fit(THEN, filled, {}).refused
    other = table(*THEN.columns, column(9, "no"), key=("no",))
    assert "nothing for no of its key" in fit(THEN, other, {}).refused
    computed = table(*THEN.columns, column(9, "twice", generated=True), key=("id", "twice"))
    assert not fit(THEN, computed, {}).refused


def test_a_type_of_somebodys_own_travels_as_text() -> None:
    ours = table(column(1, "id"), Column(name="mood", type="mood", number=2, type_id=17000))
    rights = table(column(1, "id"), Column(name="acl", type="aclitem[]", number=2, type_id=1034))
    assert Pair(ours, ours).format == Pair(ours, None).format == Pair(rights, None).format == "text"
    assert Pair(THEN, ours).format == "text"
    assert Pair(THEN, None).format == "binary"
