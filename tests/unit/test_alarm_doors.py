"""What an operator types about alarms, and what comes back: an estate of which no host answers, and a real webhook."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbooks.alarms import far
from runbooks.alarms.spool import Spool
from runbooks.hosts import Ran
from tests.unit.alarms_kit import Hook
from tests.unit.test_bad_input import INVENTORY, Machine, machine

__all__ = ["machine"]
ALARMS = """
for _group in (pg_primary, pg_standby, backup, app):
    _group[1].update(alarm_channels={"hook": "@HOOK@"}, alarm_people={"operators": ["hook"], "lead": ["hook"]})
"""


@pytest.fixture
def hook(machine: Machine) -> Iterator[Hook]:
    made = Hook()
    made.start()
    path = Path(machine.inventory)
    path.write_text(path.read_text() + ALARMS.replace("@HOOK@", made.url))
    yield made
    made.stop()


def dr(machine: Machine, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = machine.dr(*words, "--inventory", machine.inventory, COLUMNS="200")
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """Before the hint, which is the last line."""
    lines = done.stderr.strip().splitlines()
    assert lines[-1].startswith("HINT: "), done.stderr
    return lines[-2]


def test_an_alarm_from_its_first_look_to_its_acknowledgement(machine: Machine, hook: Hook) -> None:
    dr(machine, "alarms.on", "--once")
    assert hook.got == []
    time.sleep(5.1)  # the rule wants it to last so long
    said = dr(machine, "alarms.on", "--once", code=1)
    assert "alarms fire; no messages wait" in said.stdout
    assert any("hosts that take writes" in title for title in hook.titles)
    listed = json.loads(dr(machine, "alarms", "--json", code=1).stdout)
    mine = next(one for one in listed["alarms"] if one["rule"] == "writes")
    assert mine["state"] == "fires" and not listed["late"]
    said = dr(machine, "alarms.ack", str(mine["id"]), "--note", "a new disk", "--by", "me@here")
    assert said.stdout.startswith(f"Alarm {mine['id']} is acknowledged: hosts that take writes")
    shown = dr(machine, "alarms", code=1).stdout
    assert "acknowledged by me@here: a new disk" in shown and "hook" in shown


def test_each_look_tells_its_figures_and_their_trouble_keeps_no_alarm(machine: Machine, hook: Hook) -> None:
    path = machine.folder / "mystocks.prom"
    dr(machine, "alarms.on", "--once", "--figures", str(path))
    figures = path.read_text()
    assert 'mystocks_alarms_firing{estate="nobodys",severity="critical"}' in figures and "mystocks_seen{" in figures
    away = str(machine.folder / "away" / "mystocks.prom")
    said = machine.dr("alarms.on", "--once", "--figures", away, "--inventory", machine.inventory)
    assert "no figures are told to Prometheus" in said.stderr and "messages wait" in said.stdout
    assert "does not end in .prom" in sentence(dr(machine, "alarms.on", "--figures", "mystocks.txt", code=2))


def test_a_test_of_the_channels(machine: Machine, hook: Hook) -> None:
    assert "hook (webhook): arrived." in dr(machine, "alarms.test").stdout
    assert "[TEST] nobodys" in hook.titles[0]
    hook.stop()
    said = dr(machine, "alarms.test", code=1)
    assert sentence(said) == "Nothing leaves on hook."
    assert "there is no channel 'fax'" in sentence(dr(machine, "alarms.test", "--channel", "fax", code=2))
    assert "no message of the last 7 days" in sentence(dr(machine, "alarms.test", "--confirm", "ABC", code=2))


def test_a_silence_from_its_beginning_to_its_end(machine: Machine, hook: Hook) -> None:
    assert dr(machine, "silence").stdout == "Nothing is silenced.\n"
    said = dr(machine, "silence", "--for", "2h", "--reason", "a new disk", "--rule", "standbys", "--about", "pg2")
    assert said.stdout.startswith("1: rule standbys about pg2 for 120 min more: a new disk (")
    assert "without an end" in sentence(dr(machine, "silence", "--reason", "x", code=2))
    assert "two things" in sentence(dr(machine, "silence", "--end", "1", "--for", "1h", code=2))
    assert dr(machine, "silence", "--end", "1").stdout == "Silence 1 is over.\n"
    assert "no silence 1 is in force" in sentence(dr(machine, "silence", "--end", "1", code=2))
    assert "is no number" in sentence(dr(machine, "silence", "--end", "one", code=2))


def test_without_channels_nobody_could_be_told(machine: Machine) -> None:
    assert "no alarm_channels" in sentence(dr(machine, "alarms.on", "--once", code=2))
    assert "were ever raised" in sentence(dr(machine, "alarms", code=2))


def test_a_second_one_on_this_machine_is_refused(machine: Machine, hook: Hook) -> None:
    from runbooks.alarms.held import held

    with held(machine.folder / "state" / "alarms" / "nobodys.db"):
        assert "raises these alarms already" in sentence(dr(machine, "alarms.on", "--once", code=3))


def test_a_damaged_spool_is_told_and_is_no_reason_for_silence(machine: Machine, hook: Hook) -> None:
    path = machine.folder / "state" / "alarms" / "nobodys.db"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database" * 999)
    assert "cannot be used" in sentence(dr(machine, "alarms", code=1))
    assert "it lies aside" in dr(machine, "alarms.on", "--once").stderr
    assert Spool(path).rows("select * from look")


def test_where_a_service_raises_them_the_same_command_runs_there(
    machine: Machine, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    from doors import alarms as door

    asked: list[tuple[str, ...]] = []
    Path(machine.inventory).write_text(Path(machine.inventory).read_text() + 'watch = ["backup1"]\n')

    def run(there: object, words: list[str]) -> Ran:
        asked.append((str(there), *words))
        return Ran(1, "a table\n", "HINT: there\n", 0.1)

    monkeypatch.setattr(far, "run", run)
    from invoke.exceptions import Exit

    for call in (
        lambda: door.list_.body(None, all=True, inventory=machine.inventory),
        lambda: door.ack.body(None, "3", by="me", inventory=machine.inventory),
        lambda: door.test.body(None, channel="hook", by="me", inventory=machine.inventory),
        lambda: door.silence.body(None, end="3", inventory=machine.inventory),
    ):
        with pytest.raises(Exit) as ended:
            call()
        assert (ended.value.code, ended.value.message) == (1, "HINT: there")
    assert asked == [
        ("backup1", "alarms", "--all"), ("backup1", "alarms.ack", "3", "--by", "me"),
        ("backup1", "alarms.test", "--channel", "hook", "--by", "me"), ("backup1", "silence", "--end", "3"),
    ]  # fmt: skip
    assert INVENTORY
