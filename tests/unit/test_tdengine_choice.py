"""Which TDengine backup a restore starts from, and what the operator is told when there is none."""

from __future__ import annotations

import pytest

from inventories.errors import BadInput, Refused
from runbooks.probes.tdengine.backups import Backup
from runbooks.procedures.tdengine.choice import choose, since_lost, span

OLD, MID, NEW = "20261119-190000F", "20261120-190000F", "20261121-190000F"


def backup(label: str, why: str = "", tables: tuple[str, ...] = ("depth_data", "tick_data")) -> Backup:
    return Backup(label, "full", 1.0, 2.0, 100, 100, 1000, "key", (label,), why, tables)


def test_the_newest_sound_one_is_taken_and_broken_ones_are_told() -> None:
    known = [backup(OLD), backup(MID), backup(NEW, "data-0001 is missing")]
    chosen, passed = choose(known, {MID: "an hour differs"}, "", ())
    assert chosen.label == OLD
    assert passed == ((NEW, "data-0001 is missing"), (MID, "an hour differs"))


def test_a_backup_taken_after_a_table_was_dropped_does_not_bring_it_back() -> None:
    known = [backup(OLD), backup(NEW, tables=("depth_data",))]
    assert choose(known, {}, "", ("tick_data",))[0].label == OLD
    assert choose(known, {}, "", ())[0].label == NEW


def test_an_unknown_table_is_bad_input_that_names_those_there_are() -> None:
    with pytest.raises(BadInput, match="tick_dat") as told:
        choose([backup(OLD)], {}, "", ("tick_dat",))
    assert told.value.hint == "they hold depth_data, tick_data"


def test_a_label_that_is_not_there_and_one_that_is_broken_are_told_apart() -> None:
    known = [backup(OLD), backup(NEW, "the manifest was edited")]
    with pytest.raises(BadInput, match="no TDengine backup 'x'") as told:
        choose(known, {}, "x", ())
    assert OLD in told.value.hint
    with pytest.raises(Refused, match="the manifest was edited"):
        choose(known, {}, NEW, ())
    assert choose(known, {OLD: "failed"}, OLD, ())[0].label == OLD, "who names one has seen what its proof found"


def test_without_any_backup_it_is_refused() -> None:
    with pytest.raises(Refused, match="there is no TDengine backup"):
        choose([], {}, "", ())
    with pytest.raises(Refused, match=r"none of the TDengine backups can be restored: .*torn"):
        choose([backup(OLD, "torn")], {}, "", ())


def test_backups_taken_after_rows_had_gone_are_left_out_while_the_fuller_one_is_there() -> None:
    known = [backup(OLD), backup(MID), backup(NEW)]
    assert [one.label for one in since_lost(known, MID)] == [OLD, MID]
    assert [one.label for one in since_lost(known, "20250101-000000F")] == [OLD, MID, NEW]
    assert since_lost([], MID) == ()


@pytest.mark.parametrize(("seconds", "words"), [(5, "5 s"), (600, "10 min"), (36_000, "10.0 h")])
def test_ages_are_told_in_words(seconds: float, words: str) -> None:
    assert span(seconds) == words
