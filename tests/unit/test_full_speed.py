"""A feed that nobody holds back: one that died was not fast, one whose store came late starts again, once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drills.benches import full_speed
from drills.measuring.tally import Feed
from drills.stores import POSTGRESQL
from inventories.errors import TargetFailed, TimedOut

ESTATE: Any = SimpleNamespace(app="app1")
START = {"at": 1.0, "kind": "start", "run": 1790000000, "rate": 50000, "tables": ["ticks"]}
ACK = {"at": 2.0, "kind": "ack", "rows": {"ticks": [1, 300]}, "n": 300, "ms": 2.0}
STORE = {"rows": {"ticks": [301, 600]}, "by": "store", "host": "192.0.2.11", "timeline": 1}


class Fed:
    """A feed that runs on, or has died."""

    def __init__(self, died: bool = False) -> None:
        self.ledger, self.died, self.by_store = self, died, 0

    def view(self) -> Any:
        self.by_store += 500
        return SimpleNamespace(by_store=self.by_store, feed=Feed.DIED if self.died else Feed.RUNNING)

    def wait_for(self, wanted: Any, seconds: float, _: str) -> Any:
        if not wanted(self.view()):
            raise TimedOut("time is over")


class Toy:
    """Feeds one after another: each one of `feeds`, or where that is None one which the store never acknowledges.

    `late` is what such a one leaves in its ledger.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *feeds: Fed | None) -> None:
        self.feeds, self.late = list(feeds), [START, {**ACK, "by": "outbox"}]
        self.folders: list[Path] = []
        self.drained: list[object] = []
        self.said: list[str] = []
        monkeypatch.setattr(full_speed.feeds, "running", self.running)
        monkeypatch.setattr(full_speed, "emptied", lambda host, _: self.drained.append(host))

    @contextmanager
    def running(self, _host: object, _rate: float, _seed: int, folder: Path) -> Iterator[Fed]:
        assert len(self.drained) == len(self.folders), "rows that wait would have these wait behind them"
        self.folders.append(folder)
        feed = self.feeds.pop(0)
        if feed is None:
            (folder / POSTGRESQL.ledger).write_text("".join(json.dumps(line) + "\n" for line in self.late))
            raise TimedOut("Waited 20 s for the first row acknowledged by the store; 300 rows acknowledged.")
        yield feed

    def rows_per_s(self, folder: Path) -> float:
        return full_speed.rows_per_s(ESTATE, 1.0, 0.0, folder, self.said.append)


def test_feed_that_runs_is_measured_and_says_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    toy = Toy(monkeypatch, Fed())
    assert toy.rows_per_s(tmp_path) > 0
    assert (toy.said, toy.drained) == ([], [])


def test_feed_that_died_was_not_fast(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(TargetFailed, match="the feed on app1 died"):
        Toy(monkeypatch, Fed(died=True)).rows_per_s(tmp_path)


def test_feed_that_fills_its_outbox_alone_starts_again_once_that_has_drained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    toy = Toy(monkeypatch, None, Fed())
    assert toy.rows_per_s(tmp_path) > 0
    assert toy.drained == ["app1"]
    assert toy.folders == [tmp_path, tmp_path / "again"], "each feed has a ledger of its own"
    (said,) = toy.said
    assert said.startswith("Waited 20 s") and said.endswith("it drains, and the feed starts again, once.")


def test_feed_that_is_late_again_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    toy = Toy(monkeypatch, None, None)
    with pytest.raises(TimedOut, match="Waited 20 s"):
        toy.rows_per_s(tmp_path)
    assert len(toy.folders) == 2


@pytest.mark.parametrize("late", [[START], [START, {**ACK, "by": "outbox"}, {**ACK, **STORE}]])
def test_only_rows_that_lie_in_the_outbox_are_a_reason_to_start_again(
    late: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    toy = Toy(monkeypatch, None)
    toy.late = late
    with pytest.raises(TimedOut):
        toy.rows_per_s(tmp_path)
    assert (toy.said, toy.drained) == ([], [])
