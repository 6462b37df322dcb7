"""Which rows differ for good and which only moved; and what a snapshot knows of a transaction's number."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runbooks.table_copy import rowhash
from runbooks.validation import yielding
from runbooks.validation.judge import Judged, Kind, Version, judge
from runbooks.validation.questions import Answer
from runbooks.validation.snapshot import NAME, Snapshot, snapshot_of
from tests.unit.postgres_server import Server
from tests.unit.validation_kit import Validated, validated

OLD, NEW, LATE = Version("a", 10), Version("b", 50), Version("c", 60)
K = ("k",)


def settled(xid: int) -> bool:
    return xid < 40


@pytest.mark.parametrize(
    ("before", "other", "after", "kind", "moving"),
    [
        (OLD, OLD, OLD, None, False),
        (OLD, None, OLD, Kind.MISSING, False),
        (OLD, Version("x", 10), OLD, Kind.ALTERED, False),
        (OLD, NEW, OLD, Kind.ALTERED, False),  # the base had the old one all the while
        (None, Version("x", 10), None, Kind.EXTRA, False),
        (None, NEW, None, None, True),  # inserted and deleted between the looks
        (OLD, NEW, NEW, None, False),
        (OLD, OLD, NEW, None, False),
        (OLD, NEW, LATE, None, True),
        (OLD, None, None, None, True),  # deleted between the looks
        (None, NEW, NEW, None, False),
        (None, None, NEW, None, True),
    ],
)
def test_a_row_is_wrong_only_where_the_base_stood_still(
    before: Version | None, other: Version | None, after: Version | None, kind: Kind | None, moving: bool
) -> None:
    sides = [{K: side} if side else {} for side in (before, other, after)]
    found = judge(sides[0], sides[1], sides[2], settled, moves=True)
    assert (found.wrong.get(K), K in found.moving) == (kind, moving)


@pytest.mark.parametrize(
    ("base", "live", "kind"),
    [
        (OLD, NEW, None),  # written later
        (OLD, Version("x", 10), Kind.ALTERED),
        (OLD, None, Kind.MISSING),
        (None, NEW, None),
        (None, Version("x", 10), Kind.EXTRA),
    ],
)
def test_production_may_have_gone_on_from_a_base_that_stands_still(
    base: Version | None, live: Version | None, kind: Kind | None
) -> None:
    before = {K: base} if base else {}
    found = judge(before, {K: live} if live else {}, before, settled, moves=False)
    assert (found.wrong.get(K), found.moving) == (kind, frozenset())


def snapshot(text: str, lsn: int = 1) -> Snapshot:
    row = {"snapshot": text, "system": "1", "version": 17, "recovery": False, "lsn": lsn, "at": 0.0}
    return snapshot_of({NAME: Answer([row])})


def test_numbers_of_transactions_go_round() -> None:
    wrapped = snapshot(f"{2**32 + 5}:{2**32 + 9}:{2**32 + 5},{2**32 + 7}")
    assert wrapped.running == (2**32 + 5, 2**32 + 7)
    assert [xid for xid in (2, 3, 4, 5, 6, 2**32 - 1) if wrapped.settled(xid)] == [2, 3, 4, 2**32 - 1]
    seen = "(age(t.xmin) > age('9'::xid) OR age(t.xmin) < 1) AND t.xmin <> ALL (ARRAY['5', '7']::xid[])"
    assert wrapped.seen("t.xmin") == seen


def test_what_seems_to_be_yet_to_come_is_old() -> None:
    """A frozen row keeps its number for good."""
    base = snapshot(f"{3 * 10**9}:{3 * 10**9}:")
    late = 3 * 10**9 + 500
    assert [base.settled(xid, late) for xid in (700, 3 * 10**9 - 1, late - 1, late)] == [True, True, False, True]
    assert [base.settled(xid) for xid in (700, late)] == [False, False]


@pytest.mark.parametrize(("behind", "kept"), [(24, 0), (40, 0), (48, 48)])
def test_a_position_behind_the_header_of_an_empty_page_is_the_page(behind: int, kept: int) -> None:
    assert snapshot("1:2:", 8192 * 9 + behind).lsn == 8192 * 9 + kept


@pytest.fixture(scope="module")
def database(copying_server: Server) -> Iterator[Validated]:
    with validated(copying_server, 100) as made:
        yield made


def test_what_two_rows_have_swapped_is_seen_by_the_mixed_sum_alone(database: Validated) -> None:
    """The sum as it is forgets it, modulo 2^64: which is why it is mixed."""

    def sums(a: int, b: int) -> tuple[int, int]:
        rows = f"(VALUES (1, {a}), (2, {b})) v(x, y)"
        row_hash = "hash_record_extended(ROW(x, y), 0)"
        [(plain, mixed)] = database.sql(f"SELECT sum({row_hash}), sum({rowhash.mixed(row_hash, 1)}) FROM {rows}")
        return int(str(plain)) % 2**64, int(str(mixed))

    for n in range(50):
        (plain, mixed), (other_plain, other_mixed) = sums(n, n + 1000), sums(n + 1000, n)
        assert plain == other_plain
        assert mixed != other_mixed


def test_all_64_bits_of_a_hash_are_mixed(database: Validated) -> None:
    """Of a bigint the server would hash 32: 0 and 4294967297 would come to the same."""
    [(one, other)] = database.sql(f"SELECT {rowhash.mixed('0::bigint', 1)}, {rowhash.mixed('4294967297', 1)}")
    assert one != other


def test_a_question_that_fails_ends_no_other(database: Validated) -> None:
    asked = {"a": "SELECT 1 AS n", "b": "SELECT nobody AS n", "c": "SELECT 'it''s' AS n"}
    for whole in (True, False):
        found = yielding.ask(database.asked, asked, 60, whole)
        assert [found[name].rows for name in "abc"] == [[{"n": 1}], None, [{"n": "it's"}]]
        assert found["b"].why == 'column "nobody" does not exist'


def test_nothing_is_written(database: Validated) -> None:
    for whole in (True, False):
        found = yielding.ask(database.asked, {"w": "SELECT nextval('dr_probe_probe_id_seq') AS n"}, 60, whole)
        assert found["w"].rows is None
        assert "read-only transaction" in found["w"].why


def test_a_row_that_was_written_again_is_unknown_and_in_a_table_that_grows_it_is_wrong() -> None:
    def found(grows: bool) -> Judged:
        return judge({K: OLD}, {K: NEW}, {K: OLD}, settled, moves=False, grows=grows)

    assert (found(False).wrong, found(False).rewritten) == ({}, {K})
    assert (found(True).wrong, found(True).rewritten) == ({K: Kind.ALTERED}, set())
