"""The watch as it runs: real threads, sessions and notes; what the eyes see is played, the runbook is only counted."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agents.guard import notes, record
from inventories.catalog.recovery import Watch
from inventories.errors import TargetFailed
from inventories.inventory import HostEntry
from runbooks.engine.outcome import Outcome
from runbooks.hosts import Estate, Host
from runbooks.watch import alarms, eyes, watching
from runbooks.watch.deputy import Deed
from runbooks.watch.desk import Desk
from runbooks.watch.settings import Settings
from runbooks.watch.sights import Look, Sight
from runbooks.watch.watching import Watching, What
from tests.unit.record_kit import a_record

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = Settings(**Watch(every_s=0.1, look_s=0.1, patience_s=0.5, restart_s=0.7, blind_s=1.0).model_dump())
_SEES = """
import json, pathlib, sys, time
for line in sys.stdin:
    asked = json.loads(line)
    seen = pathlib.Path(sys.argv[1]).read_text()
    while seen == "hangs":
        time.sleep(0.05)
        seen = pathlib.Path(sys.argv[1]).read_text()
    if seen == "silent":
        time.sleep(asked["within"])
    print(json.dumps({"n": asked["n"], "seen": seen, "why": ""}), flush=True)
"""
_SERVES = "import sys, pathlib; from agents.guard import notes; sys.exit(notes.serve(pathlib.Path(sys.argv[1])))"


@dataclass
class Scene:
    """What each host's eyes see, what lies on the backup host, what the watch has said, and how often it acted."""

    folder: Path
    said: list[tuple[What, str, float]] = field(default_factory=list)
    acted: list[str] = field(default_factory=list)
    rung: list[str] = field(default_factory=list)
    readied: list[str] = field(default_factory=list)
    outcome: Outcome = Outcome.PASSED
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def estate(self) -> Estate:
        names = ("app1", "pg1", "pg2", "backup1")
        hosts = tuple(Host(name, HostEntry(name=name, ssh_hostname="192.0.2.1"), Path("/nowhere")) for name in names)
        groups = {"app": ("app1",), "pg_primary": ("pg1",), "pg_standby": ("pg2",), "backup": ("backup1",)}
        return Estate("toy", "toy", hosts, groups, {"postgres_version": 17})

    def see(self, sight: str, *hosts: str) -> None:
        for host in hosts or ("app1", "pg1", "pg2"):
            (self.folder / f"{host}.new").write_text(sight)
            (self.folder / f"{host}.new").replace(self.folder / host)

    def write(self, **changes: Any) -> None:
        (self.folder / record.NAME).unlink(missing_ok=True)
        record.copy(self.folder, {"record": a_record(**changes).model_dump(mode="json")})

    def start(self, host: Host, command: str, **_: object) -> subprocess.Popen[bytes]:
        program = _SERVES if "guard.notes" in command else _SEES
        what = self.folder if "guard.notes" in command else self.folder / host.name
        pipe = subprocess.PIPE
        argv = [sys.executable, "-c", program, str(what)]
        return subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT)

    def fail_over(self, primary: Host) -> Deed:
        assert notes.show(self.folder)["acted"]["primary"] == primary.name
        self.acted.append(primary.name)
        if self.outcome is Outcome.REFUSED:
            return Deed(self.outcome, "pg1 cannot be fenced", "make sure by hand", touched=False)
        self.write(primary="pg2", timeline=2, mode="degraded", synchronous=(), why="failover")
        self.see("serves")
        return Deed(self.outcome, "failover passed")

    def deputy(self, _estate: Estate, _say: object) -> Any:
        """In the place of the process that would run the runbook."""
        nothing: Any = lambda *_: None  # noqa: E731
        return SimpleNamespace(
            expect=lambda primary, _: self.readied.append(primary.name), fail_over=self.fail_over, rest=nothing,
            dismiss=nothing, interrupt=nothing,
        )  # fmt: skip

    def hears(self, what: What, words: str, seconds: float = 8.0) -> float:
        """When it was said. Fails the test where it is not."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for kind, says, at in list(self.said):
                if kind is what and words in says:
                    return at
            time.sleep(0.02)
        raise AssertionError(f"{what} {words!r} not in {self.said}")


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    made = Scene(tmp_path)
    made.see("serves")
    made.write()
    monkeypatch.setattr(Host, "start", lambda host, command, *_, **more: made.start(host, command, **more))
    monkeypatch.setattr(eyes, "_knocked", lambda *_: (Sight((tmp_path / "pg1").read_text()), ""))
    monkeypatch.setattr(watching, "Deputy", made.deputy)
    monkeypatch.setattr(alarms.agent, "run", lambda *_, stdin, **__: made.rung.append(stdin))
    return made


@pytest.fixture
def watch(scene: Scene) -> Iterator[Watching]:
    yield from running(scene, act=True)


@pytest.fixture
def looker(scene: Scene) -> Iterator[Watching]:
    yield from running(scene, act=False)


def running(scene: Scene, act: bool) -> Iterator[Watching]:
    made = Watching(
        scene.estate, SETTINGS, act, lambda what, says: scene.said.append((what, says, time.monotonic()))
    )
    thread = threading.Thread(target=made.run, args=(scene.over,))
    thread.start()
    scene.hears(What.SEES, "pg1 serves")
    yield made
    scene.over.set()
    thread.join(20)
    assert not thread.is_alive()


def test_lost_primary_is_failed_over_once_and_the_new_one_is_watched(scene: Scene, watch: Watching) -> None:
    lost = time.monotonic()
    scene.see("silent")
    acts = scene.hears(What.ACTS, "hear nothing of it")
    assert acts - lost >= SETTINGS.patience_s - SETTINGS.every_s - SETTINGS.look_s, "it had no patience"
    scene.hears(What.LOOKS, "pg2 is primary by the estate record now")
    scene.hears(What.SEES, "pg2 serves")
    scene.see("silent")
    scene.hears(What.DECLINES, "acknowledged rows may be lost")
    assert scene.acted == scene.readied[:1] == ["pg1"]
    assert any("failover passed" in line for line in scene.rung)


def test_second_loss_within_the_cooldown_is_for_a_person(scene: Scene, watch: Watching) -> None:
    scene.see("silent")
    scene.hears(What.SEES, "pg2 serves")
    scene.write(primary="pg2", timeline=2, synchronous=("pg1",))
    scene.see("silent")
    scene.hears(What.DECLINES, "a watch has acted within the last 60 minutes")
    assert scene.acted == ["pg1"]


def test_silence_that_is_shorter_than_patience_is_told_to_nobody(scene: Scene, watch: Watching) -> None:
    longest = 0.0
    for _ in range(4):
        began = time.monotonic()
        scene.see("silent")
        time.sleep(0.25)
        scene.see("serves")
        longest = max(longest, time.monotonic() - began)
        time.sleep(0.3)
    if longest > 0.4:
        pytest.skip(f"this machine stood still: a silence of 0.25 s lasted {longest:.2f} s")
    assert [what for what, _, _ in scene.said if what is not What.LOOKS] == [What.SEES]
    assert not scene.rung


@pytest.mark.parametrize("hears", ["app1", "pg2", "pg1"])
def test_eyes_that_disagree_are_cut_off_and_nobody_acts(scene: Scene, watch: Watching, hears: str) -> None:
    scene.see("silent", *({"app1", "pg1", "pg2"} - {hears}))
    scene.hears(What.SEES, "cut off")
    time.sleep(1.0)
    assert not scene.acted
    assert any("cut off" in line for line in scene.rung)


def test_host_that_hangs_delays_nobody_and_keeps_a_loss_from_being_told(scene: Scene, watch: Watching) -> None:
    scene.see("hangs", "app1")
    scene.see("silent", "pg1", "pg2")
    scene.hears(What.SEES, "nobody sees through app1")
    assert not scene.acted
    scene.see("silent", "app1")
    scene.hears(What.ACTS, "hear nothing of it")


def test_slow_primary_is_told_and_left_alone(scene: Scene, watch: Watching) -> None:
    scene.see("alive")
    scene.hears(What.SEES, "pg1 is slow")
    time.sleep(1.0)
    assert not scene.acted


def test_maintenance_is_honoured_and_when_it_ends_the_watch_acts(scene: Scene, watch: Watching) -> None:
    notes.declare(scene.folder, {"for_s": 60, "reason": "a new disk", "by": "eve"})
    scene.see("silent")
    scene.hears(What.DECLINES, "a new disk")
    assert not scene.acted
    notes.end(scene.folder, {})
    scene.hears(What.ACTS, "hear nothing of it")


def test_what_keeps_it_from_acting_is_said_once(scene: Scene, watch: Watching) -> None:
    scene.write(mode="degraded", synchronous=(), why="detached")
    scene.see("silent")
    scene.hears(What.DECLINES, "a person may run ./dr failover --yes")
    time.sleep(2.5)
    assert [what for what, _, _ in scene.said].count(What.DECLINES) == 1


def test_somebody_else_acts(scene: Scene, watch: Watching) -> None:
    document = json.loads((scene.folder / record.NAME).read_text())
    document["acting"] = {
        "token": "t", "machine_id": "m", "boot_id": "b", "pid_space": "", "pid": 1, "started": "1", "owner": "eve@ops",
        "procedure": "switchover", "run_dir": "/r", "since": "now", "heartbeat": "now", "beat_boot": "b",
        "beat_ticks": 1.0,
    }  # fmt: skip
    (scene.folder / record.NAME).write_text(json.dumps(document))
    scene.see("silent")
    scene.hears(What.DECLINES, "eve@ops is running switchover")
    assert not scene.acted


def test_watch_that_only_looks_raises_the_alarm(scene: Scene, looker: Watching) -> None:
    scene.see("silent")
    scene.hears(What.DECLINES, "only looks")
    scene.see("serves")
    scene.hears(What.SEES, "pg1 serves")
    assert not scene.acted
    assert any("pg1 is lost" in line for line in scene.rung)


def test_what_the_runbook_refuses_is_not_tried_again(scene: Scene, watch: Watching) -> None:
    scene.outcome = Outcome.REFUSED
    scene.see("silent")
    scene.hears(What.DECLINES, "pg1 cannot be fenced; a person may run make sure by hand")
    time.sleep(2.0)
    assert scene.acted == ["pg1"]


def test_note_that_is_answered_too_late_is_taken_back_and_asked_again(
    scene: Scene, watch: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first `act` reaches the desk, which notes it, and its answer does not come in time."""
    real, asked = Desk.change, []

    def change(desk: Desk, verb: str, request: dict[str, Any]) -> dict[str, Any]:
        asked.append(verb)
        said = real(desk, verb, request)
        if asked == ["act"]:
            raise TargetFailed("backup1 has not answered within 3 s")
        return said

    monkeypatch.setattr(Desk, "change", change)
    scene.see("silent")
    scene.hears(What.DECLINES, "backup1 has not answered within 3 s; a person may run ./dr failover --yes")
    scene.hears(What.ACTED, "failover passed")
    assert asked == ["act", "back", "act"] and scene.acted == ["pg1"]


def test_that_it_acts_is_told_at_once_and_for_as_long_as_it_does(scene: Scene, watch: Watching) -> None:
    told: list[tuple[bool, int]] = []
    watch.acts = lambda: told.append((watch.as_json()["acting"], len(scene.acted)))
    scene.see("silent")
    scene.hears(What.ACTED, "failover passed")
    assert told == [(True, 0), (False, 1)]


def test_watch_that_could_not_see_a_loss_tells_it_once_and_when_that_is_over(scene: Scene, watch: Watching) -> None:
    scene.see("hangs", "app1")
    scene.hears(What.SEES, "pg1 serves; its loss could not be seen, for nobody sees through app1")
    time.sleep(1.0)
    (rung,) = scene.rung
    assert "its loss could not be seen" in rung
    scene.said.clear()
    scene.see("serves")
    scene.hears(What.SEES, "pg1 serves")
    time.sleep(0.5)
    assert scene.rung[1:] == ["The watch: pg1 serves\n"]


def test_eye_that_meets_with_an_error_of_this_machine_is_blind_and_looks_again(
    scene: Scene, watch: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, broken = eyes.look, threading.Event()
    broken.set()

    def look(glass: eyes.Glass, *words: Any) -> Look:
        if broken.is_set() and glass.host.name == "app1":
            raise OSError(24, "Too many open files")
        return real(glass, *words)

    monkeypatch.setattr(eyes, "look", look)
    scene.hears(What.SEES, "nobody sees through app1")
    scene.said.clear()
    broken.clear()
    scene.hears(What.SEES, "pg1 serves")


def test_alarm_that_fails_in_whatever_way_is_not_the_last_one(
    scene: Scene, watch: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = alarms.agent.run

    def run(*words: Any, **more: Any) -> Any:
        if not scene.rung:
            scene.rung.append("lost")
            raise OSError(11, "Resource temporarily unavailable")
        return real(*words, **more)

    monkeypatch.setattr(alarms.agent, "run", run)
    scene.see("alive")
    scene.hears(What.WARNING, "nobody could be told by the alarm command of backup1")
    scene.said.clear()
    scene.see("serves")
    scene.hears(What.SEES, "pg1 serves")
    time.sleep(0.3)
    assert scene.rung == ["lost", "The watch: pg1 serves\n"]


def test_record_that_nobody_tells_keeps_it_from_acting(scene: Scene, watch: Watching) -> None:
    (scene.folder / record.NAME).write_text("{")
    scene.see("silent")
    scene.hears(What.DECLINES, "record is not known")
    assert not scene.acted


def test_watch_that_stood_still_begins_its_patience_anew(
    scene: Scene, watch: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own clock jumps by a minute while everything is silent for less than patience."""
    scene.see("silent")
    time.sleep(SETTINGS.patience_s * 0.6)
    jump, real = 60.0, time.monotonic
    monkeypatch.setattr(watching.time, "monotonic", lambda: real() + jump)
    stalled = scene.hears(What.STALLED, "stood still")
    scene.see("serves")
    assert stalled and not scene.acted
