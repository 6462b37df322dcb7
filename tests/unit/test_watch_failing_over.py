"""What counts as an act of the watch: whatever touched something, and nothing else. Real runs, notes and sessions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from agents.guard import notes
from inventories.errors import BadInput, DrError, Interrupted, Refused, TargetFailed
from inventories.inventory import HostEntry
from runbooks.engine import runner
from runbooks.engine.context import Context
from runbooks.engine.lock import LockLost
from runbooks.engine.outcome import Outcome
from runbooks.engine.step import Evidence
from runbooks.hosts import Estate, Host
from runbooks.procedures.postgresql.failover import FAILOVER, Failover
from runbooks.watch import failing_over
from runbooks.watch.deputy import Deed
from runbooks.watch.desk import Desk
from runbooks.watch.failing_over import AFRESH, fail_over
from runbooks.watch.notes import Notes

ROOT = Path(__file__).resolve().parents[2]
_SERVES = "import sys, pathlib; from agents.guard import notes; sys.exit(notes.serve(pathlib.Path(sys.argv[1])))"
HOST = Host("backup1", HostEntry(name="backup1", ssh_hostname="192.0.2.1"), Path("/nowhere"))


@dataclass
class Watch:
    """A watch's notes, and a failover of which the step with a name in `raising` raises that."""

    folder: Path
    notes: Notes
    said: list[str] = field(default_factory=list)
    raising: dict[str, BaseException] = field(default_factory=dict)

    def execute(self, _procedure: object, estate: Any, options: Any, say: Callable[[str], None]) -> Any:
        if "before" in self.raising:
            raise self.raising["before"]
        steps = tuple(
            replace(step, action=self._does(step.name), evidence=Evidence("it is so"), when=None)
            for step in FAILOVER.steps
            if step.name in ("assess", "fence", "promote")
        )
        context: Any = Context(estate, options, self.folder / "run", say=say)
        context.run_dir.mkdir()
        toy = replace(FAILOVER, steps=steps, gate=())
        return runner.run(toy, context, budgets={step.budget: 5.0 for step in steps})

    def _does(self, name: str) -> Callable[[Any, Failover], Failover]:
        def does(_context: object, state: Failover) -> Failover:
            if name in self.raising:
                raise self.raising[name]
            return state

        return does

    def acts(self) -> Deed:
        estate = Estate("toy", "toy", (HOST,), {"backup": ("backup1",)}, {})
        token = self.notes.act("pg1", 3600)
        deed = fail_over(estate, self.said.append)
        self.notes.judge(token, deed)
        return deed

    @property
    def noted(self) -> bool:
        return notes.show(self.folder)["acted"] is not None


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    pipe = subprocess.PIPE
    argv = [sys.executable, "-c", _SERVES, str(tmp_path)]
    monkeypatch.setattr(Host, "start", lambda *_, **__: subprocess.Popen(
        argv, stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT
    ))  # fmt: skip
    monkeypatch.setenv("DR_STATE", str(tmp_path / "state"))
    desk = Desk(HOST)
    said: list[str] = []
    made = Watch(tmp_path, Notes(desk, said.append), said)
    monkeypatch.setattr(failing_over, "execute", made.execute)
    yield made
    desk.end()


@pytest.mark.parametrize(
    ("where", "error", "outcome"),
    [
        ("before", BadInput("cannot make a run folder: no space left"), Outcome.FAILED),
        ("before", OSError(28, "No space left on device"), Outcome.FAILED),
        ("before", Interrupted("failover was interrupted"), Outcome.INTERRUPTED),
        ("assess", TargetFailed("an agent failed"), Outcome.FAILED),
        ("assess", KeyboardInterrupt("SIGTERM"), Outcome.INTERRUPTED),
        ("assess", Refused("a primary lives"), Outcome.REFUSED),
        ("fence", Refused("pg1 cannot be fenced"), Outcome.REFUSED),
    ],
)
def test_what_touched_nothing_does_not_count(watch: Watch, where: str, error: BaseException, outcome: Outcome) -> None:
    watch.raising[where] = error
    assert watch.acts().outcome is outcome
    assert not watch.noted


@pytest.mark.parametrize(
    ("where", "error", "outcome"),
    [
        ("fence", TargetFailed("it is half done"), Outcome.FAILED),
        ("fence", KeyboardInterrupt("SIGTERM"), Outcome.INTERRUPTED),
        ("promote", Refused("somebody else acts"), Outcome.FAILED),
        ("promote", LockLost("somebody broke the lock"), Outcome.FAILED),
    ],
)
def test_what_came_beyond_the_first_look_counts_and_is_no_refusal(
    watch: Watch, where: str, error: BaseException, outcome: Outcome
) -> None:
    watch.raising[where] = error
    assert watch.acts().outcome is outcome
    assert watch.noted


def test_lock_that_is_lost_between_fence_and_promotion_is_no_refusal(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = runner.lock.Held.require
    asked: list[bool] = []

    def require(held: Any, *, observes: bool = False) -> None:
        real(held, observes=observes)
        asked.append(observes)
        if asked == [True, False, False]:
            raise LockLost("somebody broke the lock")

    monkeypatch.setattr(runner.lock.Held, "require", require)
    assert watch.acts().outcome is Outcome.FAILED
    assert watch.noted


def test_failover_that_passes_counts(watch: Watch) -> None:
    assert watch.acts().outcome is Outcome.PASSED
    assert watch.noted


@pytest.mark.parametrize("hint", ["", "see what it left, then --resume"])
def test_hint_is_one_that_works_where_the_journal_is_not(watch: Watch, hint: str) -> None:
    watch.raising["promote"] = TargetFailed("it hangs", hint)
    assert watch.acts().hint == AFRESH


def test_note_that_cannot_be_taken_back_now_is_taken_back_later(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    real, away = Desk.change, [True]

    def change(desk: Desk, verb: str, request: dict[str, Any]) -> dict[str, Any]:
        if verb == "back" and away:
            raise TargetFailed("its session has ended")
        return real(desk, verb, request)

    monkeypatch.setattr(Desk, "change", change)
    watch.raising["fence"] = Refused("pg1 cannot be fenced")
    watch.acts()
    assert watch.noted and "counts as done" in watch.said[-1]
    away.clear()
    watch.notes.settle()
    assert not watch.noted


def test_act_that_nobody_answers_leaves_no_note(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Desk.change

    def change(desk: Desk, verb: str, request: dict[str, Any]) -> dict[str, Any]:
        said = real(desk, verb, request)
        if verb == "act":
            raise TargetFailed("backup1 has not answered within 3 s")
        return said

    monkeypatch.setattr(Desk, "change", change)
    with pytest.raises(DrError, match="has not answered"):
        watch.acts()
    assert not watch.noted
