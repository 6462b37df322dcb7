"""What an operator may get wrong about the watch: one sentence, one hint, and nothing was touched."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path

import pytest
import yaml

from doors import drills
from drills.scenarios.catalogue import SCENARIOS
from inventories.catalog.load import RECOVERY, load_recovery
from inventories.errors import BadInput, Refused
from runbooks.watch import kept, maintenance
from tests.unit.record_kit import ESTATE
from tests.unit.test_bad_input import INVENTORY, ROOT, Machine, assert_told, machine

__all__ = ["machine"]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (("watch", "--act", "rejoin"), ("by failover alone", "'rejoin'")),
        (("watch.maintenance", "--reason", "a new disk"), ("without an end",)),
        (("watch.maintenance", "--for", "2h"), ("no --reason",)),
        (("watch.maintenance", "--for", "forever", "--reason", "r"), ("'forever'", "no length of time")),
        (("watch.maintenance", "--for", "8d", "--reason", "r"), ("longer than 7 days",)),
        (("watch.maintenance", "--end", "--for", "2h"), ("--end", "two things")),
        (("watch", "--beat", "1"), ("a beat is a line of JSON",)),
        (("watch", "--json", "--beat", "0.001"), ("a beat is a line of JSON", "0.001")),
        (("bench", "--patroni", "--readme"), ("no table of Patroni's",)),
        (("bench", "--nodes", "--readme"), ("no table of further nodes",)),
        (("bench", "--patroni", "--watch"), ("ten benchmarks",)),
        (("bench", "--noise", "5"), ("belong to the watch",)),
        (("bench", "--watch", "--client"), ("ten benchmarks",)),
        (("bench", "--watch", "--noise", "0"), ("'0' is no number of episodes",)),
        (("bench", "--watch", "--noise", "-1"), ("'-1' is no number of episodes",)),
        (("bench", "--watch", "--noise", "abc"), ("'abc' is no number of episodes",)),
        (("bench", "--watch", "--noise", "5", "--readme"), ("README",)),
        (("drill", "--by", "nobody"), ("'nobody'",)),
        (("drill", "--by", "watch", "--scenario", "primary-partition"), ("no watch acts on primary-partition",)),
        (("drill", "--by", "watch", "--twin", "phantom-row"), ("no watch acts on", "phantom-row")),
        (
            ("drill", "--by", "watch", "--rounds", "3", "--scenario", "primary-partition,planned-switchover"),
            ("no watch acts on primary-partition or planned-switchover",),
        ),
    ],
)
def test_bad_input(machine: Machine, typed: tuple[str, ...], words: tuple[str, ...]) -> None:
    where = () if typed[0] in ("drill", "bench") else ("--inventory", machine.inventory)
    assert_told(machine.dr(*typed, *where), 2, *words)


def test_watch_without_a_standby_has_too_few_eyes(machine: Machine) -> None:
    text = "\n".join(line for line in INVENTORY.splitlines() if not line.startswith("pg_standby"))
    Path(machine.inventory).write_text(text.replace("@SECRETS@", "s").replace("@PKI@", "p"))
    assert_told(machine.dr("watch", "--inventory", machine.inventory), 2, "there is no standby")


def test_second_watch_of_a_machine_is_refused(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_STATE", str(machine.folder / "state"))
    with kept.held("nobodys", act=False):
        assert_told(machine.dr("watch", "--inventory", machine.inventory), 3, "runs on this machine already")


def test_watch_that_acts_is_not_stopped(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_STATE", str(machine.folder / "state"))
    with kept.held("nobodys", act=True) as mine:
        mine.write({"acting": True})
        assert_told(machine.dr("watch.stop", "--inventory", machine.inventory), 3, "running a failover")


def test_no_watch_is_no_mistake(machine: Machine) -> None:
    done = machine.dr("watch.stop", "--inventory", machine.inventory)
    assert (done.returncode, done.stdout) == (0, "No watch runs.\n")


def settings(tmp_path: Path, **watch: float) -> Path:
    said = yaml.safe_load(RECOVERY.read_text())
    said["watch"].update(watch)
    path = tmp_path / "recovery.yaml"
    path.write_text(yaml.safe_dump(said))
    return path


@pytest.mark.parametrize(
    ("watch", "words"),
    [
        ({"cooldown_s": 0}, "watch.cooldown_s is 0"),
        ({"cooldown_s": 60}, "to and fro"),
        ({"cooldown_s": -1}, "watch.cooldown_s is -1"),
        ({"patience_s": 0}, "watch.patience_s is 0"),
        ({"patience_s": 1}, "proves nothing"),
        ({"every_s": 0}, "watch.every_s is 0"),
        ({"every_s": 1e-9, "look_s": 1e-9, "patience_s": 1e-8}, "watch.every_s is 1e-09"),
        ({"look_s": 0.01}, "taken for silent"),
        ({"restart_s": 0.001}, "watch.restart_s is 0.001"),
        ({"patience_s": 1e9}, "never acts before a person"),
        ({"blind_s": 0.5}, "watch.blind_s is 0.5"),
        ({"stall_s": 0.1}, "watch.stall_s is 0.1"),
        ({"stall_s": 1e9}, "watch.stall_s is 1000000000.0"),
        ({"hurry": 1}, "watch.hurry"),
    ],
)
def test_settings_of_a_hasty_watch_are_refused(tmp_path: Path, watch: dict[str, float], words: str) -> None:
    with pytest.raises(BadInput, match=words) as told:
        load_recovery(settings(tmp_path, **watch))
    assert told.value.hint


def test_broken_settings_are_told_once(machine: Machine, tmp_path: Path) -> None:
    """Whoever takes the lock reads the same file, and could only warn that it was not taken."""
    root = tmp_path / "copy"
    shutil.copytree(
        ROOT, root, ignore=shutil.ignore_patterns(".git", ".venv", "tests", "runs", "bench", "docs", "__pycache__")
    )
    said = yaml.safe_load(RECOVERY.read_text())
    said["watch"]["cooldown_s"] = 0
    (root / RECOVERY.relative_to(ROOT)).write_text(yaml.safe_dump(said))
    for task in ("deploy", "record.settle"):
        done = machine.dr(task, "--inventory", machine.inventory, root=root)
        assert_told(done, 2, "watch.cooldown_s is 0")
        assert done.stderr.count("cooldown_s") == 1, done.stderr


def test_settings_may_be_left_out(tmp_path: Path) -> None:
    said = yaml.safe_load(RECOVERY.read_text())
    shipped = load_recovery().watch
    del said["watch"]
    path = tmp_path / "recovery.yaml"
    path.write_text(yaml.safe_dump(said))
    assert load_recovery(path).watch == shipped


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30min", 1800), ("2h", 7200), ("7d", 604800)])
def test_lengths_of_time(text: str, seconds: int) -> None:
    assert maintenance.seconds(text) == seconds


def test_file_of_a_watch_that_was_killed_is_no_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_STATE", str(tmp_path))
    path = kept.path_of(ESTATE.name)
    path.parent.mkdir(parents=True)
    path.write_text('{"pid": 1}')
    path.with_suffix(".lock").touch()
    assert kept.read(ESTATE.name) is None
    with path.with_suffix(".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert kept.read(ESTATE.name) == {"pid": 1}
        with pytest.raises(Refused), kept.held(ESTATE.name, act=False):
            pass


@pytest.mark.parametrize(
    ("asked", "scenario", "twin", "who"),
    [
        ("", "primary-power-loss", "", "watch"),
        ("operator", "primary-power-loss", "", "operator"),
        ("", "primary-power-loss", "phantom-row", "operator"),
        ("", "primary-partition", "", "operator"),
    ],
)
def test_nobody_is_awake_in_a_drill_unless_it_needs_a_person(asked: str, scenario: str, twin: str, who: str) -> None:
    assert drills._who(asked, SCENARIOS[scenario], twin) == who
