"""What an operator may say of a target, and the backup that is chosen for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from inventories.errors import BadInput, Refused
from runbooks.probes.postgresql.archive import Archive, Covered, Gap, Reach
from runbooks.procedures.postgresql.targets import Target, choose, moment, parse

SEGMENT = 16 << 20


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-11-21 10:00:00+08", "2026-11-21 02:00:00.000000"),
        ("2026-11-21T10:00:00+08:00", "2026-11-21 02:00:00.000000"),
        ("2026-11-21 10:00 +0530", "2026-11-21 04:30:00.000000"),
        ("2026-11-20 22:00:00.5-04", "2026-11-21 02:00:00.500000"),
        ("2026-11-21 02:00:00Z", "2026-11-21 02:00:00.000000"),
        ("2026-11-21 02:00:00 UTC", "2026-11-21 02:00:00.000000"),
        ("2026-11-21 10:00:00.123456 Asia/Shanghai", "2026-11-21 02:00:00.123456"),
    ],
)
def test_time_with_any_zone_becomes_utc(text: str, utc: str) -> None:
    assert parse(to_time=text) == Target(kind="time", value=f"{utc}+00:00")
    assert moment(text).utcoffset() == datetime.now(UTC).utcoffset()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2026-11-21 10:00:00", "has no time zone"),
        ("2026-11-21T10:00", "has no time zone"),
        ("yesterday", "is no time"),
        ("2026-13-01 10:00:00Z", "month must be"),
        ("2026-11-21 25:00:00Z", "hour must be"),
        ("2026-11-21 10:00:00 Asia/Nowhere", "is no time zone"),
        ("2026-11-21 10:00:00+99", "no zone is +99"),
        ("2026-10-25 02:30:00 Europe/Berlin", "no single moment"),
        ("2026-03-29 02:30:00 Europe/Berlin", "no single moment"),
        ("2026-11-21 10:00:00 ../../etc/passwd", "is no time zone"),
        ("0001-01-01 00:00:00+08", "is no time that there is"),
        ("9999-12-31 23:59:59-08", "is no time that there is"),
        ("9999-12-31 23:59:59 America/New_York", "is no time that there is"),
    ],
)
def test_time_that_is_no_single_moment_is_bad_input_with_an_example(text: str, words: str) -> None:
    with pytest.raises(BadInput, match=words.replace("+", r"\+")) as told:
        parse(to_time=text)
    assert "+08" in told.value.hint


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "no target"),
        ({"to_lsn": "0/1", "to_xid": "743"}, "two targets"),
        ({"to_lsn": "3000060"}, "no LSN"),
        ({"to_lsn": "0/3000060'; drop"}, "no LSN"),
        ({"to_xid": "-5"}, "no transaction id"),
        ({"to_xid": "2"}, "no transaction id"),
        ({"to_xid": str(1 << 64)}, "no transaction id"),
        ({"to_name": "two\nlines"}, "no name of a restore point"),
        ({"to_name": "x" * 64}, "no name of a restore point"),
        ({"to_name": "点" * 22}, "no name of a restore point"),
    ],
)
def test_what_is_no_target_is_bad_input(given: dict[str, str], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        parse(**given)  # type: ignore[arg-type]


def test_other_targets_are_taken_as_postgresql_reads_them() -> None:
    assert parse(to_lsn="a/3000060", inclusive=True) == Target(kind="lsn", value="A/3000060", inclusive=True)
    assert parse(to_lsn="A/3000060").position == 0xA03000060
    assert parse(to_xid="0743").value == "743"
    assert parse(to_name="before the update", inclusive=True) == Target(kind="name", value="before the update")
    assert parse(to_name="it's \\ 开盘" + "点" * 16).kind == "name", "recovery is never told a name"
    assert parse(to_xid=str((1 << 64) - 1)).value == "18446744073709551615"
    assert str(parse(to_xid="743")) == "transaction 743, that excluded"


def backup(
    label: str, ended: int, lsn: int, timeline: int = 1, reach: dict[int, int] | None = None, error: bool = False
) -> Covered:
    ends = {1: 100} if reach is None else reach
    return Covered(
        label, "full", timeline, lsn * SEGMENT, ended, error, (),
        {line: Reach(f"{line:08X}00000000{end - 1:08X}", end * SEGMENT, None) for line, end in ends.items()},
        (lsn - 1) * SEGMENT, ended - 60,
    )  # fmt: skip


def archive(*backups: Covered) -> Archive:
    return Archive("17-1", SEGMENT, (), {}, backups, ())


ENDED = int(datetime(2026, 11, 21, 2, tzinfo=UTC).timestamp())
OLD, NEW = backup("old", ENDED - 3600, 10), backup("new", ENDED, 50)


def at(text: str) -> Target:
    return parse(to_time=f"2026-11-21 {text}Z")


def test_newest_backup_that_ended_before_the_target_is_chosen() -> None:
    both = archive(OLD, NEW)
    assert choose(at("02:30:00"), both, 1, {}).backup is NEW
    assert choose(at("01:30:00"), both, 1, {}).backup is OLD
    assert choose(at("02:00:00.5"), both, 1, {}).backup is OLD, "two clocks may differ by that much"
    assert choose(parse(to_lsn="0/31FFFFFF"), both, 1, {}).backup is OLD
    assert choose(parse(to_lsn="0/32000000"), both, 1, {}).backup is NEW
    assert choose(parse(to_xid="743"), both, 1, {}, located=20 * SEGMENT).backup is OLD
    assert choose(at("02:30:00"), both, 1, {}, wanted="old").backup is OLD


def test_a_backup_of_a_clock_that_was_ahead_is_not_taken_for_the_newest() -> None:
    ahead = replace(OLD, label="ahead", stopped_at=ENDED + 366 * 86400)
    assert choose(parse(to_lsn="0/32000000"), archive(ahead, NEW), 1, {}).backup is NEW


def test_damaged_backup_is_passed_over_and_said() -> None:
    choice = choose(at("02:30:00"), archive(OLD, NEW), 1, {"new": "its newest proof failed: pg_class"})
    assert (choice.backup, choice.skipped) == (OLD, ("new: its newest proof failed: pg_class",))
    broken = backup("new", ENDED, 50, error=True)
    assert "damaged pages" in choose(at("02:30:00"), archive(OLD, broken), 1, {}).skipped[0]


def test_backup_of_a_branch_that_was_left_is_passed_over() -> None:
    left = backup("left", ENDED, 50, timeline=1, reach={1: 60})
    old = backup("old", ENDED - 3600, 10, timeline=1, reach={1: 60, 2: 70})
    choice = choose(at("02:30:00"), archive(old, left), 2, {})
    assert choice.backup is old
    assert "does not lead to timeline 2" in choice.skipped[0]


def test_position_behind_a_gap_is_refused_and_the_gap_is_told() -> None:
    short = backup("old", ENDED, 10, reach={1: 20})
    with pytest.raises(Refused, match="whole up to 000000010000000000000013 only"):
        choose(parse(to_lsn="0/20000000"), archive(short), 1, {})
    unwhole = Covered("old", "full", 1, SEGMENT, ENDED, False, (Gap(1, "A", "B", 2),), {}, 0, ENDED - 60)
    with pytest.raises(Refused, match="2 WAL segments of timeline 1 are missing, A to B"):
        choose(at("02:30:00"), archive(unwhole), 1, {})


def test_target_before_every_backup_is_refused_with_where_they_begin() -> None:
    with pytest.raises(Refused, match=r"before anything .* old, is whole from 2026-11-21 01:00:00\+00 on, LSN 0/A0"):
        choose(at("00:30:00"), archive(OLD, NEW), 1, {})
    with pytest.raises(Refused, match="backup new is whole from"):
        choose(at("01:30:00"), archive(OLD, NEW), 1, {}, wanted="new")


def test_target_inside_a_backups_own_wal_is_refused_with_where_that_ends() -> None:
    taken = replace(NEW, start_lsn=48 * SEGMENT)
    for target in (parse(to_lsn="0/31000000"), at("01:59:30"), at("02:00:00.5")):
        with pytest.raises(Refused, match="inside backup new's own WAL, LSN 0/30000000 to 0/32000000: ") as told:
            choose(target, archive(taken), 1, {})
        assert "choose a later target" in told.value.hint
        with pytest.raises(Refused, match="inside backup new's own WAL") as told:
            choose(target, archive(OLD, taken), 1, {}, wanted="new")
        assert "leave --set out" in told.value.hint
        assert choose(target, archive(OLD, taken), 1, {}).backup is OLD
    with pytest.raises(Refused, match="inside backup new's own WAL"):
        choose(parse(to_xid="743"), archive(taken), 1, {}, located=49 * SEGMENT)


def test_unknown_label_is_bad_input_and_no_backup_at_all_is_refused() -> None:
    with pytest.raises(BadInput, match="no backup 'x'") as told:
        choose(at("02:30:00"), archive(OLD, NEW), 1, {}, wanted="x")
    assert told.value.hint == "it holds old, new"
    with pytest.raises(Refused, match="holds no backup"):
        choose(at("02:30:00"), archive(), 1, {})
