"""The witness: which acknowledgements mean two primaries, and what it says when it saw nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from drills import killing
from drills.rounds.witness import FILE, Ack, Witnessed, read, two_primaries
from runbooks.engine.context import Options
from runbooks.procedures.postgresql.rejoin import RejoinOptions


def ack(host: str, timeline: int, began: float, took: float = 0.01, life: int = 1) -> Ack:
    return Ack(life, host, timeline, began, began + took)


def test_roles_that_change_hands_are_one_primary_at_a_time() -> None:
    acks = [ack("pg1", 1, 1.0), ack("pg2", 2, 2.0), ack("pg1", 3, 3.0), ack("pg2", 4, 0.1, life=2)]
    assert not list(two_primaries(acks))
    assert not list(two_primaries(reversed(acks)))


@pytest.mark.parametrize(
    "late",
    [ack("pg1", 1, 2.5), ack("pg1", 1, 0.5, life=2)],
    ids=["in the same life of the witness", "after the witness was started again"],
)
def test_an_old_primary_that_takes_a_write_after_the_new_one_did_is_told(late: Ack) -> None:
    told = list(two_primaries([ack("pg1", 1, 1.0), ack("pg2", 2, 2.0), late, late]))
    assert told == ["Two hosts took writes: pg2 on timeline 2, and after it pg1 on 1."]


def test_a_commit_that_was_under_way_while_the_other_was_promoted_is_none() -> None:
    assert not list(two_primaries([ack("pg1", 1, 1.9, took=0.5), ack("pg2", 2, 2.0)]))


def test_two_hosts_on_one_timeline_are_told() -> None:
    assert len(list(two_primaries([ack("pg1", 1, 1.0), ack("pg2", 1, 2.0), ack("pg1", 1, 3.0)]))) >= 1


def test_what_it_said_in_all_its_lives_is_read_and_torn_lines_are_not(tmp_path: Path) -> None:
    said = [
        (1, {"kind": "looks", "at": 1.0, "hosts": {"pg1": 5, "pg2": 5}}),
        (1, {"kind": "looks", "at": 2.0, "hosts": {"pg1": 9, "pg2": 8}}),
        (1, {"kind": "ack", "host": "pg1", "timeline": 1, "began": 1.0, "ended": 1.1}),
        (2, {"kind": "looks", "at": 1.0, "hosts": {"pg1": 3, "pg2": 4}}),
    ]
    lines = [line(life, heard, words) for heard, (life, words) in enumerate(said, 1)]
    over = line(2, 5.0, {"kind": "over"})
    (tmp_path / FILE).write_text("\n".join([*lines, '{"life": 2}\t{"kind": "ack", "ho', over]))
    found = read(tmp_path)
    assert (found.looks, found.acks, found.two) == ({"pg1": 12, "pg2": 12}, {"pg1": 1}, ())
    assert (found.silent_s, found.died) == (1.0, 1)
    assert found.saw and not list(found.reasons(may_die=1))


def line(life: int, heard: float, words: dict[str, object]) -> str:
    return json.dumps({"life": life, "heard": heard}) + "\t" + json.dumps(words)


def looks(life: int, heard: float, at: float) -> str:
    return line(life, heard, {"kind": "looks", "at": at, "hosts": {"pg1": 1, "pg2": 1}})


ACK = line(1, 1.0, {"kind": "ack", "host": "pg1", "timeline": 1, "began": 0.9, "ended": 1.0})
OVER = {"kind": "over"}


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([ACK, looks(1, 2.0, 2.0), looks(1, 40.0, 40.0), line(1, 41.0, OVER)], "said nothing for 38 s"),
        ([ACK, looks(1, 2.0, 2.0), line(1, 60.0, OVER)], "said nothing for 58 s"),
        ([looks(1, 30.0, 0.5), ACK.replace('"heard": 1.0', '"heard": 30.1'), line(1, 31.0, OVER)], "nothing for 30 s"),
        ([ACK, looks(1, 2.0, 2.0)], "not there to the end"),
        ([ACK, looks(1, 2.0, 2.0), looks(2, 3.0, 0.1), line(2, 4.0, OVER)], "again: 1; that its host lost power: 0"),
    ],
    ids=["stood still", "fell silent", "came late", "was cut off", "died by itself"],
)  # fmt: skip
def test_a_time_in_which_it_did_not_look_is_no_good_news(tmp_path: Path, lines: list[str], told: str) -> None:
    (tmp_path / FILE).write_text("\n".join(lines))
    (why,) = read(tmp_path).reasons(may_die=0)
    assert told in why


def test_what_a_slow_line_delivers_late_was_seen_in_its_time(tmp_path: Path) -> None:
    late = [looks(1, 50.0, float(at)) for at in range(2, 50)]
    (tmp_path / FILE).write_text("\n".join([ACK, *late, line(1, 51.0, OVER)]))
    assert not list(read(tmp_path).reasons(may_die=0))


def test_a_host_that_is_off_says_nothing_and_is_no_silence(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("\n".join([ACK, looks(1, 2.0, 2.0), looks(2, 90.0, 0.1), line(2, 91.0, OVER)]))
    assert not list(read(tmp_path).reasons(may_die=1))


@pytest.mark.parametrize(
    "seen",
    [
        Witnessed(silent_s=1.0),
        Witnessed(silent_s=1.0, looks={"pg1": 4, "pg2": 4}),
        Witnessed(silent_s=1.0, looks={"pg1": 4, "pg2": 0}, acks={"pg1": 4}),
        Witnessed(silent_s=11.0, looks={"pg1": 4, "pg2": 4}, acks={"pg1": 4}),
    ],
    ids=["nobody was there", "nobody took a write", "one was never tried", "it was silent"],
)
def test_having_seen_nothing_is_no_good_news(seen: Witnessed) -> None:
    assert not seen.saw and list(seen.reasons(may_die=0))


def test_a_file_that_is_not_there_is_a_witness_that_saw_nothing(tmp_path: Path) -> None:
    assert list(read(tmp_path).reasons(may_die=0))


def test_a_killed_operator_had_typed_what_the_drill_says() -> None:
    assert killing.words(RejoinOptions(yes=True, host="pg1", reclone=True)) == ("--yes", "--host", "pg1", "--reclone")
    assert killing.words(Options()) == ()
