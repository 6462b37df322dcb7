from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from drills.measuring.events import Acked, By, Clock, Ended, Malformed, parse_line
from drills.measuring.ledger import Ledger, read_ledger
from drills.measuring.tally import Feed, Writing, tally
from inventories.errors import BadInput, TargetFailed, TimedOut

START = {"kind": "start", "run": 1790000000, "rate": 6000.0, "tables": ["orders", "trades"]}
STOP = {"kind": "stop", "acked": 10, "outbox_pending": 0}
DOWN = {"kind": "store_down", "why": "connection lost"}


def ack(by: str, first: int, last: int, table: str = "orders", timeline: int = 1) -> dict[str, object]:
    host = (
        {"host": "192.0.2.21", "timeline": timeline} if by != "outbox" else {"host": None, "timeline": None}
    )
    kind = {"kind": "replayed"} if by == "replayed" else {"kind": "ack", "by": by}
    return kind | {"rows": {table: [first, last]}, "n": last - first + 1} | host


@dataclass
class Pipe:
    ledger: Ledger
    path: Path
    feed: IO[bytes]

    def say(self, *lines: object) -> None:
        self.feed.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))

    def end(self) -> None:
        self.feed.close()
        self.ledger.close()


@contextmanager
def piped(folder: Path) -> Iterator[Pipe]:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as source, os.fdopen(write, "wb", buffering=0) as feed:
        pipe = Pipe(Ledger(folder / "ledger.jsonl", source), folder / "ledger.jsonl", feed)
        yield pipe
        pipe.end()


def test_it_counts_rows_by_who_acknowledged_them(tmp_path: Path) -> None:
    with piped(tmp_path) as pipe:
        pipe.say(START, ack("store", 1, 4), DOWN, ack("outbox", 5, 9), ack("replayed", 5, 7, timeline=2))
        view = pipe.ledger.wait_for(lambda now: now.replayed == 3, 5, "the replay")
    assert (view.run, view.tables) == (1790000000, ("orders", "trades"))
    assert (view.acked, view.by_store, view.by_outbox, view.awaiting_replay) == (9, 4, 5, 2)
    assert view.writing is Writing.OUTBOX
    assert view.last_store_ack and (view.last_store_ack.host, view.last_store_ack.timeline) == (
        "192.0.2.21",
        2,
    )
    assert view.last_ack_at and view.last_ack_at <= view.last_store_ack.at
    assert list(pipe.ledger.acked_ids()["orders"].ranges()) == [(1, 9)]
    assert list(pipe.ledger.replayed_ids()["orders"].ranges()) == [(5, 7)]


def test_each_turn_to_the_outbox_is_one_outage(tmp_path: Path) -> None:
    up = {"kind": "store_up", "host": "192.0.2.21", "timeline": 1}
    with piped(tmp_path) as pipe:
        pipe.say(START, ack("store", 1, 4), DOWN, DOWN, ack("outbox", 5, 9), up, ack("store", 10, 12))
        view = pipe.ledger.wait_for(lambda now: now.acked == 12, 5, "the store again")
        assert (view.outages, view.writing) == (1, Writing.STORE)
        pipe.say(ack("outbox", 13, 13))
        assert pipe.ledger.wait_for(lambda now: now.acked == 13, 5, "the outbox again").outages == 2


def test_what_counts_is_on_disk(tmp_path: Path) -> None:
    with piped(tmp_path) as pipe:
        pipe.say(START, ack("store", 1, 500))
        pipe.ledger.wait_for(lambda now: now.acked == 500, 5, "the first rows")
        assert tally(read_ledger(pipe.path)).view.acked == 500


def test_a_row_acknowledged_twice_counts_once(tmp_path: Path) -> None:
    with piped(tmp_path) as pipe:
        pipe.say(START, ack("store", 1, 10), ack("outbox", 6, 15), STOP)
    assert pipe.ledger.view().acked == 15


def test_the_end_without_a_stop_is_a_death(tmp_path: Path) -> None:
    with piped(tmp_path) as pipe:
        pipe.say(START, ack("store", 1, 2))
    assert pipe.ledger.view().feed is Feed.DIED
    assert isinstance(read_ledger(pipe.path)[-1], Ended)


def test_a_stop_is_no_death(tmp_path: Path) -> None:
    with piped(tmp_path) as pipe:
        pipe.say(START, STOP)
    assert pipe.ledger.view().feed is Feed.STOPPED
    assert pipe.ledger.view().outbox_pending == 0


def test_a_line_torn_off_by_death_is_kept_and_not_counted(tmp_path: Path) -> None:
    with piped(tmp_path) as pipe:
        pipe.say(START, ack("store", 1, 2))
        pipe.feed.write(b'{"kind":"ack","by":"sto')
    view = pipe.ledger.view()
    assert (view.acked, view.malformed, view.feed) == (2, 1, Feed.DIED)
    assert [event.text for event in read_ledger(pipe.path) if isinstance(event, Malformed)] == [
        '{"kind":"ack","by":"sto'
    ]


def test_a_whole_last_line_without_its_newline_counts(tmp_path: Path) -> None:
    with piped(tmp_path) as pipe:
        pipe.feed.write(json.dumps(ack("store", 1, 2)).encode())
    assert (pipe.ledger.view().acked, pipe.ledger.view().malformed) == (2, 0)


def test_lines_split_over_reads_arrive_whole(tmp_path: Path) -> None:
    with piped(tmp_path) as pipe:
        for byte in json.dumps(ack("store", 1, 2)).encode() + b"\n":
            pipe.feed.write(bytes([byte]))
    assert pipe.ledger.view().acked == 2


def test_waiting_in_vain_says_for_what(tmp_path: Path) -> None:
    with piped(tmp_path) as pipe, pytest.raises(TimedOut, match="for the first row; the feed is running"):
        pipe.ledger.wait_for(lambda now: now.acked > 0, 0.05, "the first row")


def test_a_ledger_that_cannot_be_written_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with piped(tmp_path) as pipe:
        monkeypatch.setattr(os, "fsync", full)
        pipe.say(START, ack("store", 1, 2))
        with pytest.raises(TargetFailed, match="cannot be written: No space left"):
            pipe.ledger.wait_for(lambda now: now.acked > 0, 5, "the first row")
        with pytest.raises(TargetFailed):
            pipe.ledger.view()


def test_an_open_pipe_is_not_closed_silently(tmp_path: Path) -> None:
    with piped(tmp_path) as pipe, pytest.raises(TimedOut, match="still open"):
        pipe.ledger.close(0.01)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("Traceback (most recent call last):", "Expecting value"),
        ("[]", "not an object"),
        ("{}", "no 'kind'"),
        ('{"kind":"weather"}', "unknown kind 'weather'"),
        ('{"kind":"ack","by":"cat","rows":{"t":[1,2]},"n":2}', "neither store nor outbox"),
        ('{"kind":"ack","by":"replayed","rows":{"t":[1,2]},"n":2}', "neither store nor outbox"),
        ('{"kind":"ack","by":"outbox","rows":{"t":[1,9]},"n":5}', "n is 5, but the ranges span 9 rows"),
        ('{"kind":"ack","by":"outbox","rows":{"t":[2,1]},"n":0}', "not a range"),
        ('{"kind":"ack","by":"outbox","rows":{},"n":0}', "at least one table"),
        ('{"kind":"ack","by":"store","rows":{"t":[1,2]},"n":2}', "no 'host'"),
        ('{"kind":"ack","by":"store","rows":{"t":[1,2]},"n":2,"host":null,"timeline":1}', "is not text"),
        ('{"kind":"ack","by":"store","rows":{"t":[1,2]},"n":true,"host":"h","timeline":1}', "whole number"),
    ],
)
def test_a_line_that_breaks_the_contract_is_malformed(line: str, why: str) -> None:
    event = parse_line(line, 1.0)
    assert isinstance(event, Malformed)
    assert why in event.why


def test_reading_back_gives_the_times_of_arrival(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text(
        '{"at":5.5,"kind":"clock","wall":"2026-01-01T00:00:00Z"}\n'
        '{"at":6.25,"kind":"ack","by":"outbox","rows":{"orders":[1,3]},"n":3}\n'
        '{"at":6.5,"kind":"ack","by":"outb'
    )
    clock, acked, torn = read_ledger(path)
    assert clock == Clock(5.5, "2026-01-01T00:00:00Z")
    assert acked == Acked(6.25, By.OUTBOX, {"orders": (1, 3)}, 3, None, None)
    assert isinstance(torn, Malformed) and torn.at == 6.25


def test_a_missing_ledger_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is no ledger at"):
        read_ledger(tmp_path / "none.jsonl")


def test_a_feed_whose_host_died_goes_on_in_the_same_ledger(tmp_path: Path) -> None:
    with piped(tmp_path) as pipe:
        pipe.say(START, ack("store", 1, 10), ack("outbox", 11, 20))
        pipe.feed.write(b'{"kind": "ack", "by": "st')  # cut off by the power
    died = pipe.ledger.view()
    assert (died.feed, died.malformed) == (Feed.DIED, 1)
    with piped(tmp_path) as pipe:
        assert pipe.ledger.view().feed is Feed.RUNNING
        pipe.say(START, ack("replayed", 11, 20), ack("store", 101, 110), STOP)
    view = pipe.ledger.view()
    assert (view.feed, view.acked, view.awaiting_replay) == (Feed.STOPPED, 30, 0)
    assert (view.malformed, view.first_malformed) == (0, "")
    again = tally(read_ledger(pipe.path)).view
    assert (again.feed, again.acked, again.malformed) == (view.feed, view.acked, 0)
    assert sum(isinstance(event, Clock) for event in read_ledger(pipe.path)) == 1


def test_a_line_that_no_death_cut_off_stays_a_trouble_when_the_feed_goes_on(tmp_path: Path) -> None:
    with piped(tmp_path) as pipe:
        pipe.say(START, "nonsense", ack("store", 1, 10))
    with piped(tmp_path) as pipe:
        pipe.say(START, ack("store", 101, 110), STOP)
    assert pipe.ledger.view().malformed == 1
